"""Domains: all that differs between one kind of image and another. The rest of simgan asks them.

A domain of your own is one file in your own repository: `simgan.register(Domain(...))`, or an entry point of the group
`simgan.domains` that names the `Domain`, in the `pyproject.toml` of your package:

    [project.entry-points."simgan.domains"]
    parts = "my_package.parts:PARTS"
"""

import functools
from collections.abc import Sequence
from importlib.metadata import entry_points

from simgan.domains.base import Domain, Label, MarkedWeight, PointsWeight, Recipe, SurfaceWeight, Terms, Words
from simgan.domains.eyes import EYES
from simgan.domains.hands import HANDS
from simgan.domains.images import IMAGES
from simgan.errors import ConfigError

__all__ = ["Domain", "Label", "MarkedWeight", "PointsWeight", "Recipe", "SurfaceWeight", "Terms", "Words"]

DEFAULT_PRESET = DEFAULT_MODEL = "eyes"
DEFAULT = EYES  # crops have its size where none is given

_registered: dict[str, Domain] = {domain.name: domain for domain in (EYES, HANDS, IMAGES)}


def register(domain: Domain) -> Domain:
    """Make a domain known to all of simgan, and return it; `ConfigError` where a name of it is another's."""
    for other in _registered.values():
        if other is domain:
            return domain
        if other.name == domain.name:
            raise ConfigError(f"there is a domain {domain.name!r} already: choose another name")
        if taken := sorted(set(other.recipes) & set(domain.recipes)):
            raise ConfigError(f"the preset {taken[0]!r} belongs to the domain {other.name!r}: choose another name")
        if differing := sorted(name for name, label in other.labels.items() if domain.labels.get(name, label) != label):
            raise ConfigError(f"the domain {other.name!r} has another label {differing[0]!r}: choose another name")
    _registered[domain.name] = domain
    return domain


@functools.cache
def _load_entry_points() -> None:
    for entry in entry_points(group="simgan.domains"):
        try:
            found = entry.load()
        except Exception as error:  # of somebody else's module
            raise ConfigError(f"the domain {entry.name!r} ({entry.value}) cannot be loaded: {error!r}") from error
        if not isinstance(found, Domain):
            raise ConfigError(f"the entry point {entry.name!r} ({entry.value}) is no Domain: name one")
        register(found)


def all_domains() -> tuple[Domain, ...]:
    """Return all registered domains, those of entry points included."""
    _load_entry_points()
    return tuple(_registered.values())


def find(name: str) -> Domain:
    """Return the domain of that name, or the general domain `images` where it is not registered here."""
    return next((domain for domain in all_domains() if domain.name == name), IMAGES)


def of_sources(sources: Sequence[str]) -> str:
    """Return the preset for training on these sources: of the domain that knows their kind, else `images`."""
    if not sources:
        return DEFAULT_PRESET
    for domain in all_domains():
        for preset, recipe in domain.recipes.items():
            embedded = [name for side in ("synthetic", "real") for name in recipe.training.get(side, ())]
            if any(name in embedded or name.partition(":")[0] in domain.terms for name in sources):
                return preset
    return IMAGES.name


def of_preset(name: str) -> tuple[Domain, Recipe]:
    """Return the domain and the recipe of a preset; an unknown name raises `ConfigError` that lists the known ones."""
    presets = {preset: (domain, recipe) for domain in all_domains() for preset, recipe in domain.recipes.items()}
    if name not in presets:
        raise ConfigError(f"unknown preset {name!r}: choose one of {', '.join(sorted(presets))}")
    return presets[name]
