"""Training from Python: images as objects, and one's own networks and losses."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from simgan.data.tables import remember
from simgan.domains import of_sources
from simgan.errors import ConfigError
from simgan.losses import REALISM_LOSSES, TRANSFORMS
from simgan.training.config import TrainingConfig, preset

Sources = Any  # a source by name, a folder, a list of these; or a `datasets` data set, an array, a list of PIL images
LOSSES: dict[str, dict[str, Any]] = {"transform": TRANSFORMS, "realism_loss": REALISM_LOSSES}


def configure(synthetic: Sources, real: Sources, output: str | Path, settings: dict[str, Any]) -> TrainingConfig:
    """Return the settings of a run as `simgan.train` describes them; `ConfigError` for an unknown one."""
    sides: dict[str, Any] = {"synthetic": _names(synthetic, "synthetic"), "real": _names(real, "real")}
    for setting, known in LOSSES.items():
        if callable(function := settings.get(setting)):
            known[function.__name__] = function
            settings = {**settings, setting: function.__name__}
    chosen = settings.pop("preset", None) or of_sources([*sides["synthetic"], *sides["real"]])
    known_names = {field.name for field in fields(TrainingConfig)}
    if unknown := sorted(settings.keys() - known_names):
        raise ConfigError(f"there is no setting {unknown[0]!r}: there are {', '.join(sorted(known_names))}")
    return replace(preset(chosen), **sides, output=Path(output), **settings)


def _names(sources: Sources, side: str) -> tuple[str, ...]:
    if isinstance(sources, str | Path):
        return (str(sources),)
    if isinstance(sources, list | tuple) and sources and all(isinstance(source, str | Path) for source in sources):
        return tuple(map(str, sources))
    if isinstance(sources, list | tuple) and sources and all(isinstance(source, Dataset) for source in sources):
        return tuple(remember(source, f"{side}-{number}") for number, source in enumerate(sources))
    return (remember(sources, side),)
