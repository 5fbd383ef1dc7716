"""The base of both networks: `config.json` and `model.safetensors`, the discriminator's in a folder of its own."""

import dataclasses
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from typing_extensions import Self  # PyTorch needs it too

from simgan.domains import of_preset
from simgan.errors import ModelError, SimGANError
from simgan.hub import VERSION
from simgan.hub.cards.model import render_model_card
from simgan.hub.cards.records import read_records
from simgan.hub.loading import CONFIG, ONNX, WEIGHTS, check_files, fetch, local_folder
from simgan.hub.uploading import CARD, Pushed, upload
from simgan.refining.places import write


class Pretrained(nn.Module):
    """A network with a configuration, loaded and saved as a folder; the base of `Refiner` and `Discriminator`.

    A subclass of these is saved by its name, and loaded by `Refiner.from_pretrained` where its module was imported.
    """

    config_class: ClassVar[type]
    subfolder: ClassVar[str]
    shape: ClassVar[tuple[str, ...]]  # what the configuration says of layers and widths
    entering: ClassVar[tuple[str, ...]]  # the kernels that images enter by, as their first maps
    metadata: dict[str, str] | None = None  # of the safetensors header that the weights came with
    origin: str | None = None  # the name that they were loaded by: a folder, a shipped name, an id on the Hub
    revision: str | None = None  # the commit, where they came from the Hub

    _known: ClassVar[dict[str, type["Pretrained"]]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._known[cls.__name__] = cls

    @classmethod
    def kind(cls) -> str:
        """Return "refiner" or "discriminator"."""
        return next(one for one in reversed(cls.mro()) if one in cls._known.values()).__name__.lower()

    def __init__(self, config: Any = None) -> None:
        super().__init__()
        self.config = config or self.config_class()

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
    ) -> Self:
        """Load trained weights from a folder, a shipped name, or a Hub repository ("org/name").

        Of a Hub repository: `revision` is a branch, tag, commit or `refs/pr/N` (its main branch by default), `token` an
        access token (by default that of the login; `False` sends none), `cache_dir` where downloads are kept. Without
        a network, or with `local_files_only`, the cache is used. Both files are always those of one commit.

        The network comes in evaluation mode, float32, on the CPU. What cannot be loaded raises `ModelError`.
        """
        name, kind = str(name), cls.kind()
        options = {"revision": revision, "token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        local = local_folder(name)
        root = local or fetch(name, cls.subfolder, kind, options)
        folder = root / cls.subfolder
        place = str(folder) if local else f"{name}/{cls.subfolder}".rstrip("/")
        check_files(place, [path.name for path in folder.glob("*")], kind)
        config, own = _read_config(folder / CONFIG, place, cls.config_class, kind)
        if not issubclass(found := cls._known.get(own, cls) if own else cls, cls) or (own and own not in cls._known):
            raise ModelError(f"{place} holds a {own}, no {cls.__name__} that is known here: import its module first")
        network: Self = found(config)
        network.metadata = _read_weights(network, folder / WEIGHTS, place, kind)
        network.origin, network.revision = name, None if local else root.name
        return network.eval()

    def start_from(self, name: str | os.PathLike[str], **options: Any) -> Self:
        """Return a network with layers and weights of a trained one, and all else of this one, to be trained on.

        `name` and `options` as `from_pretrained` takes them. A grey network becomes one of colour: each channel enters
        with a third of the weights, and leaves with all of them. `ModelError` where a network of colour would have to
        become grey.
        """
        trained = type(self).from_pretrained(name, **options)
        if (trained.config.channels, self.config.channels) == (3, 1):
            raise ModelError(f"{name} is of colour, and a grey network cannot start from it: train with --channels 3")
        shape = {key: getattr(trained.config, key) for key in self.shape}
        network = type(self)(dataclasses.replace(self.config, **shape))
        for key, own in (weights := network.state_dict()).items():
            if (theirs := trained.state_dict().get(key)) is None:
                continue  # of closed forms, which are learnt anew
            if theirs.shape != own.shape and key in self.entering:
                of_image = (own.shape[1] - theirs.shape[1]) // 2  # of one channel; two more enter
                least = theirs[:, :of_image].repeat(1, 3, 1, 1) / 3
                theirs = torch.cat([least, theirs[:, of_image:]], 1)
            elif theirs.shape != own.shape:
                theirs = theirs.repeat(3, *[1] * (theirs.ndim - 1))
            weights[key] = theirs
        network.load_state_dict(weights)
        return network

    def save_pretrained(self, folder: str | os.PathLike[str], *, metadata: dict[str, str] | None = None) -> None:
        """Write `config.json` and `model.safetensors` into `folder` (under `discriminator/` for a discriminator).

        `metadata` goes into the safetensors header; without it, what the weights came with. The same gives the same
        bytes.
        """
        target = Path(folder) / self.subfolder
        values = {name: value for name, value in dataclasses.asdict(self.config).items() if value is not None}
        config = {"model_type": f"simgan-{self.kind()}", **values}
        if (name := type(self).__name__).lower() != self.kind():
            config["class"] = name
        tensors = {key: value.detach().cpu().contiguous() for key, value in self.state_dict().items()}
        header = {"format": "pt", **(metadata or self.metadata or {"simgan_version": VERSION})}
        write(target / WEIGHTS, _ordered(safetensors.torch.save(tensors, metadata=header)))
        write(target / CONFIG, (json.dumps(config, indent=2) + "\n").encode())

    def push_to_hub(self, repo_id: str, *, commit_message: str | None = None, **options: Any) -> Pushed:
        """Push this network to the Hub repository org/name in one commit; `url` of what is returned is the commit's.

        A refiner goes to the root, with a card where the repository has none; a discriminator under `discriminator/`.
        Options: `private` for a new repository, a branch `revision` (made from main if it is new), `token`, and
        `create_pr`. `simgan push RUN org/name` pushes a whole run. `PublishError`: the Hub's answer and the remedy.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            if not self.subfolder:
                (Path(folder) / CARD).write_text(
                    render_model_card(read_records(Path(folder)), repo_id), encoding="utf-8"
                )
            message = commit_message or type(self).__name__
            owned = [] if self.subfolder else [ONNX]  # which would be of other weights
            return upload(Path(folder), repo_id, message=message, owned=owned, **options)

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> "Self":
        """Build the untrained network of a preset, with `changes` of its configuration; `ConfigError` if unknown."""
        domain, recipe = of_preset(name)
        return cls(cls.config_class(**{"domain": domain.name, **getattr(recipe, cls.kind()), **changes}))

    @property
    def number_of_parameters(self) -> int:
        """How many numbers training learns."""
        return sum(parameter.numel() for parameter in self.parameters())


def _read_config(file: Path, place: str, config_class: type, kind: str) -> tuple[Any, str]:
    """Return the configuration, and the name of the subclass or ""."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        found, own = values.pop("model_type", None), values.pop("class", "")
    except (ValueError, AttributeError, OSError) as error:
        raise ModelError(f"{place}/{CONFIG} cannot be read as JSON: {error}") from error
    if found != f"simgan-{kind}":
        raise ModelError(f"{place}/{CONFIG} is not of a simgan {kind}: its model_type is {found!r}")
    fields = {field.name: field.default for field in dataclasses.fields(config_class)}
    if unknown := ", ".join(sorted(values.keys() - fields)):
        raise ModelError(f"{place}/{CONFIG} has unknown keys {unknown}: made by a newer simgan? Update simgan")
    # Keys that are off by default may be missing: older versions did not write them.
    if missing := ", ".join(name for name, default in fields.items() if default and name not in values):
        raise ModelError(f"{place}/{CONFIG} lacks the keys {missing}")
    try:
        return config_class(**values), own
    except (SimGANError, TypeError, ValueError) as error:
        raise ModelError(f"{place}/{CONFIG} does not describe a {kind}: {error}") from error


def _read_weights(network: nn.Module, file: Path, place: str, kind: str) -> dict[str, str]:
    """Load weights into a network, and return the metadata of their header."""
    try:
        with safe_open(file, "pt") as weights:
            metadata = weights.metadata() or {}
            tensors = {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
        network.load_state_dict(tensors)
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{place}/{WEIGHTS} is not a whole safetensors file ({error}): delete {file.resolve()} and fetch it again"
        ) from error
    except RuntimeError as error:  # its second line names the first tensors
        wrong = str(error).splitlines()[1].strip()[:200]
        raise ModelError(f"{place}/{WEIGHTS} is of another {kind} than its {CONFIG} says: {wrong}") from error
    return {key: text for key, text in metadata.items() if key != "format"}


def _ordered(weights: bytes) -> bytes:
    """Sort the metadata in the header of safetensors, whose order is otherwise random."""
    end = 8 + int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # as safetensors aligns its tensors
    return len(text).to_bytes(8, "little") + text + weights[end:]
