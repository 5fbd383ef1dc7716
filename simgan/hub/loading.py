"""How both networks are stored and loaded: `config.json` and `model.safetensors`, nothing else.

One folder or Hub repository holds one model: the refiner at its root, its discriminator under `discriminator/`, so both
classes load from the same name. Loading is strict: only safetensors, never pickle; a missing configuration, an unknown
key or a tensor that does not fit is an error with a sentence.
"""

import dataclasses
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
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
    from simgan.hub.uploading import Pushed

CONFIG, WEIGHTS = "config.json", "model.safetensors"
SHIPPED = Path(__file__).parents[1] / "pretrained"


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

        Of a Hub repository: `revision` is a branch, tag, commit or `refs/pr/N` (its main branch by default), `token` an
        access token (by default that of the login; `False` sends none), `cache_dir` where downloads are kept. Without
        a network, or with `local_files_only`, the cache is used. Both files are always those of one commit.

        The network comes in evaluation mode, float32, on the CPU. What cannot be loaded raises `ModelError`.
        """
        kind = cls.__name__.lower()
        fetch = {"revision": revision, "token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        local = local_folder(str(name))
        root = local or _snapshot(str(name), cls.subfolder, kind, fetch)
        folder = root / cls.subfolder
        place = str(folder) if local else _join(str(name), cls.subfolder)
        _check_files(place, [path.name for path in folder.glob("*")], kind)
        network = cls(_read_config(folder / CONFIG, place, cls.config_class, kind))
        network.metadata = _read_weights(network, folder / WEIGHTS, place, kind)
        network.origin, network.revision = str(name), None if local else root.name
        return network.eval()

    def save_pretrained(self, folder: str | os.PathLike[str], *, metadata: dict[str, str] | None = None) -> None:
        """Write `config.json` and `model.safetensors` into `folder` (under `discriminator/` for a discriminator).

        Each file is written aside and renamed. `metadata`, text by text, goes into the safetensors header; without it,
        what the weights came with. The same weights and metadata give the same bytes.
        """
        target = Path(folder) / self.subfolder
        target.mkdir(parents=True, exist_ok=True)
        values = {name: value for name, value in dataclasses.asdict(self.config).items() if value is not None}
        config = {"model_type": f"simgan-{type(self).__name__.lower()}", **values}
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
        from simgan.hub.push import push_network

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


def local_folder(name: str) -> Path | None:
    """Find a model in a folder or among the shipped ones; `None` if the name is a Hub repository's."""
    if not name:
        raise ModelError(_unknown(name))
    folder = Path(name)
    shipped = SHIPPED / name
    is_shipped_name = "/" not in name and not name.startswith(".") and shipped.is_dir()
    if folder.is_dir() and is_shipped_name and folder.resolve() != shipped.resolve():
        raise ModelError(f"{name!r} is a shipped model and a folder here: write {f'./{name}'!r} for the folder")
    if folder.is_dir():
        return folder
    if is_shipped_name:
        return shipped
    if name.count("/") != 1 or name.startswith((".", "/")):
        raise ModelError(_unknown(name))
    return None


def _unknown(name: str) -> str:
    known = ", ".join(sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())) if SHIPPED.is_dir() else ""
    return f"no model {name!r}: it is no folder, no shipped model ({known}) and no Hub id (org/name)"


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _snapshot(name: str, subfolder: str, kind: str, fetch: dict[str, Any]) -> Path:
    """Fetch both files of a network into the cache, or find them there: in a folder that a commit gives its name."""
    wanted = [_join(subfolder, file) for file in (CONFIG, WEIGHTS)]
    try:
        snapshot = Path(snapshot_download(name, allow_patterns=wanted, library_name="simgan", **fetch))
        if not all((snapshot / file).is_file() for file in wanted):
            _check_files(_join(name, subfolder), _files_beside(name, snapshot.name, subfolder, fetch), kind)
        return snapshot
    except ModelError:
        raise
    except HFValidationError as error:
        raise ModelError(_unknown(name)) from error
    except Exception as error:  # the client's HTTP library, and so what it raises, differs between its versions
        raise ModelError(_refusal(name, kind, fetch["revision"], error)) from error


def _files_beside(name: str, commit: str, subfolder: str, fetch: dict[str, Any]) -> list[str]:
    """List the files of a repository's folder, which tell what it is if it lacks those that were asked for."""
    prefix = f"{subfolder}/" if subfolder else ""
    if fetch["local_files_only"]:
        raise LocalEntryNotFoundError(f"only a part of {name} is in the cache")
    try:
        paths = HfApi(library_name="simgan").list_repo_files(name, revision=commit, token=fetch["token"])
    except HfHubHTTPError:
        raise
    except Exception as error:  # no network: so the snapshot came from the cache, which holds only a part
        raise LocalEntryNotFoundError(f"only a part of {name} is in the cache") from error
    return [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]


def _refusal(name: str, kind: str, revision: str | None, error: BaseException) -> str:
    """Say in one sentence why the Hub did not give a model, and what to do."""
    if isinstance(error, GatedRepoError):
        return f"{name} is gated: ask for access on its page, then log in with `hf auth login` or pass token="
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"no repository {name} on the Hub, or it is private: check the name; for a private one log in with "
            "`hf auth login` or pass token="
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{name} has no revision {revision!r}: give a branch, tag or commit of it, or leave revision= out"
    uncached = isinstance(error, LocalEntryNotFoundError)
    cause = error.__cause__ or OfflineModeIsEnabled() if uncached else error
    if isinstance(cause, HfHubHTTPError) and cause.response.status_code == 401:
        return f"the Hub refuses the token for {name}: log in again with `hf auth login`, or pass another token="
    if isinstance(cause, HfHubHTTPError):
        return f"cannot load the {kind} of {name}: the Hub answers {cause.response.status_code}; try again later"
    missing = f"{name} is no folder here, and its {kind} is not in the cache"
    if isinstance(cause, OfflineModeIsEnabled):
        return f"{missing}: check the name, or load it once without local_files_only and HF_HUB_OFFLINE"
    if uncached:
        return f"{missing}; the Hub cannot be reached: check the name and the network"
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"cannot load the {kind} of {name} from the Hub ({reason}): try again"


def _check_files(place: str, names: list[str], kind: str) -> None:
    pickles = [name for name in sorted(names) if name.endswith((".bin", ".pt", ".pth", ".pkl", ".ckpt"))]
    if WEIGHTS not in names and pickles:
        raise ModelError(
            f"{place} holds only a pickle ({', '.join(pickles)}), which can run code: convert it to {WEIGHTS}"
        )
    for file in (CONFIG, WEIGHTS):
        if file not in names:
            raise ModelError(f"{place} holds no {file} of a simgan {kind}")


def _read_config(file: Path, place: str, config_class: type, kind: str) -> Any:
    try:
        values = json.loads(file.read_text())
        found = values.pop("model_type", None)
    except (ValueError, AttributeError, OSError) as error:
        raise ModelError(f"{place}/{CONFIG} cannot be read as JSON: {error}") from error
    if found != f"simgan-{kind}":
        raise ModelError(f"{place}/{CONFIG} is not of a simgan {kind}: its model_type is {found!r}")
    fields = dataclasses.fields(config_class)
    needed = {field.name for field in fields if field.default}  # what came later is off, and may be missing
    unknown = sorted(values.keys() - {field.name for field in fields})
    missing = sorted(needed - values.keys())
    if unknown:
        keys = ", ".join(unknown)
        raise ModelError(f"{place}/{CONFIG} has unknown keys {keys}: made by a newer simgan? Update simgan")
    if missing:
        raise ModelError(f"{place}/{CONFIG} lacks the keys {', '.join(missing)}")
    try:
        return config_class(**values)
    except (SimGANError, TypeError, ValueError) as error:
        raise ModelError(f"{place}/{CONFIG} does not describe a {kind}: {error}") from error


def _ordered(weights: bytes) -> bytes:
    """Sort the metadata in the header of safetensors, which come in another order every time."""
    end = 8 + int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # as safetensors aligns its tensors
    return len(text).to_bytes(8, "little") + text + weights[end:]


def _read_weights(network: nn.Module, file: Path, place: str, kind: str) -> dict[str, str]:
    """Load weights into a network, and give the metadata of their header."""
    try:
        with safe_open(file, "pt") as weights:
            metadata = weights.metadata() or {}
            tensors = {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{place}/{WEIGHTS} is not a whole safetensors file ({error}): delete {file.resolve()} and fetch it again"
        ) from error
    expected = network.state_dict()
    wrong = sorted(expected.keys() ^ tensors.keys())
    wrong += [key for key in expected.keys() & tensors.keys() if expected[key].shape != tensors[key].shape]
    if wrong:
        names = ", ".join(wrong[:3])
        raise ModelError(f"{place}/{WEIGHTS} is of another {kind} than its {CONFIG} says: {names} do not fit")
    with torch.no_grad():
        network.load_state_dict(tensors, strict=True)
    return {key: text for key, text in metadata.items() if key != "format"}
