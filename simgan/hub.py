"""How both networks are stored and loaded: `config.json` and `model.safetensors`, nothing else.

One folder or Hub repository holds one model: the refiner at its root, its discriminator under `discriminator/`, so both
classes load from the same name. Loading is strict: only safetensors, never pickle; a missing configuration, an unknown
key or a tensor that does not fit is an error with a sentence.
"""

import dataclasses
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from typing_extensions import Self

from simgan import __version__
from simgan.errors import ModelError, SimGANError

if TYPE_CHECKING:
    from simgan.uploading import Pushed

CONFIG, WEIGHTS = "config.json", "model.safetensors"
SHIPPED = Path(__file__).parent / "pretrained"


class Pretrained(nn.Module):
    """A network with a configuration, loaded and saved as a folder; the base of `Refiner` and `Discriminator`."""

    config_class: ClassVar[type]
    subfolder: ClassVar[str]
    config: Any
    metadata: dict[str, str] | None = None  # of the safetensors header that the weights came with
    origin: str | None = None  # what they were loaded by: a folder, a shipped name, an id on the Hub
    revision: str | None = None  # the commit, where they came from the Hub

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
        """Load trained weights from a folder, a shipped name ("eyes"), or a Hub repository ("org/simgan-eyes").

        The network comes in evaluation mode, float32, on the CPU. What cannot be loaded raises `ModelError`.
        """
        kind = cls.__name__.lower()
        fetch = {"revision": revision, "token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        config_file = _locate(str(name), cls.subfolder, CONFIG, kind, fetch)
        weights_file = _locate(str(name), cls.subfolder, WEIGHTS, kind, fetch)
        network = cls(_read_config(config_file, cls.config_class, kind))
        network.metadata = _read_weights(network, weights_file, kind)
        network.origin = str(name)
        snapshot = re.search(r"/snapshots/([0-9a-f]{40})/", weights_file.as_posix())
        network.revision = snapshot[1] if snapshot else None
        return network.eval()

    def save_pretrained(self, folder: str | os.PathLike[str], *, metadata: dict[str, str] | None = None) -> None:
        """Write `config.json` and `model.safetensors` into `folder` (under `discriminator/` for a discriminator).

        Each file is written aside and renamed. `metadata`, text by text, goes into the safetensors header; without it,
        what the weights came with. The same weights and metadata give the same bytes.
        """
        target = Path(folder) / self.subfolder
        target.mkdir(parents=True, exist_ok=True)
        config = {"model_type": f"simgan-{type(self).__name__.lower()}", **dataclasses.asdict(self.config)}
        tensors = {key: value.detach().cpu().contiguous() for key, value in self.state_dict().items()}
        aside = Path(tempfile.mkdtemp(prefix=".saving-", dir=target))
        try:
            (aside / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
            told = metadata or self.metadata or {"simgan_version": __version__}
            (aside / WEIGHTS).write_bytes(_ordered(save(tensors, metadata={"format": "pt", **told})))
            for file in (WEIGHTS, CONFIG):
                (aside / file).replace(target / file)
        finally:
            shutil.rmtree(aside)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
    ) -> "Pushed":
        """Push this network to the Hub repository org/name, in one commit; `url` of what comes back is the commit's.

        A refiner goes to the root, with a card where the repository has none; a discriminator under `discriminator/`.
        A new repository is made `private` if asked for, a new branch `revision` from main. Nothing is sent that is
        there already. `simgan push RUN org/name` pushes a run with its samples, figures and measures too.

        Raises:
            PublishError: the Hub refused it (its answer and the remedy are told), or was not reached.
        """
        from simgan.publishing import push_network

        return push_network(
            self,
            repo_id,
            commit_message=commit_message,
            private=private,
            token=token,
            revision=revision,
            create_pr=create_pr,
        )

    @property
    def number_of_parameters(self) -> int:
        """How many numbers training learns."""
        return sum(parameter.numel() for parameter in self.parameters())


def _locate(name: str, subfolder: str, file: str, kind: str, fetch: dict[str, Any]) -> Path:
    """Find a model's file: in a folder, among the shipped models, or in a Hub repository (fetched or cached)."""
    folder = Path(name)
    shipped = SHIPPED / name
    is_shipped_name = "/" not in name and not name.startswith(".") and shipped.is_dir()
    if folder.is_dir() and is_shipped_name and folder.resolve() != shipped.resolve():
        raise ModelError(f"{name!r} is a shipped model and a folder here: write {f'./{name}'!r} for the folder")
    if folder.is_dir() or is_shipped_name:
        place = (folder if folder.is_dir() else shipped) / subfolder
        if not (place / file).is_file():
            raise ModelError(_missing(place, file, kind))
        return place / file
    if name.count("/") != 1 or name.startswith((".", "/")):
        known = ", ".join(sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())) if SHIPPED.is_dir() else ""
        raise ModelError(f"no model {name!r}: it is no folder, no shipped model ({known}) and no Hub id (org/name)")
    try:
        return Path(hf_hub_download(name, f"{subfolder}/{file}" if subfolder else file, library_name="simgan", **fetch))
    except GatedRepoError as error:
        raise ModelError(f"{name} is gated: ask for access on its page, then log in or pass token=") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"no repository {name} on the Hub, or it is private: check the name or pass token=") from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{name} has no revision {fetch['revision']!r}") from error
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{name} is no folder here, is not in the cache, and the Hub was not reached: check the name and the "
            "network (and HF_HUB_OFFLINE, local_files_only)"
        ) from error
    except EntryNotFoundError as error:
        raise ModelError(f"{name} on the Hub holds no {file} of a simgan {kind}") from error
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        raise ModelError(f"cannot load {file} of {name} from the Hub: {error}") from error


def _missing(folder: Path, file: str, kind: str) -> str:
    pickles = [path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt") for path in folder.glob(pattern)]
    if file == WEIGHTS and pickles:
        return f"{folder} holds only a pickle ({', '.join(pickles)}), which can run code: convert it to {WEIGHTS}"
    return f"{folder} holds no {file} of a simgan {kind}"


def _read_config(file: Path, config_class: type, kind: str) -> Any:
    try:
        values = json.loads(file.read_text())
        found = values.pop("model_type", None)
    except (ValueError, AttributeError, OSError) as error:
        raise ModelError(f"{file} cannot be read as JSON: {error}") from error
    if found != f"simgan-{kind}":
        raise ModelError(f"{file} is not of a simgan {kind}: its model_type is {found!r}")
    names = {field.name for field in dataclasses.fields(config_class)}
    unknown, missing = sorted(values.keys() - names), sorted(names - values.keys())
    if unknown:
        raise ModelError(f"{file} has unknown keys {', '.join(unknown)}: made by a newer simgan? Update simgan")
    if missing:
        raise ModelError(f"{file} lacks the keys {', '.join(missing)}")
    try:
        return config_class(**values)
    except (SimGANError, TypeError, ValueError) as error:
        raise ModelError(f"{file} does not describe a {kind}: {error}") from error


def _ordered(weights: bytes) -> bytes:
    """Sort the metadata in the header of safetensors, which come in another order every time."""
    end = 8 + int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # as safetensors aligns its tensors
    return len(text).to_bytes(8, "little") + text + weights[end:]


def _read_weights(network: nn.Module, file: Path, kind: str) -> dict[str, str]:
    """Load weights into a network, and give the metadata of their header."""
    try:
        with safe_open(file, "pt") as weights:
            metadata = weights.metadata() or {}
            tensors = {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} is not a whole safetensors file ({error}): fetch it again") from error
    expected = network.state_dict()
    wrong = sorted(expected.keys() ^ tensors.keys())
    wrong += [key for key in expected.keys() & tensors.keys() if expected[key].shape != tensors[key].shape]
    if wrong:
        raise ModelError(f"{file} is of another {kind} than its {CONFIG} says: {', '.join(wrong[:3])} do not fit")
    with torch.no_grad():
        network.load_state_dict(tensors, strict=True)
    return {key: text for key, text in metadata.items() if key != "format"}
