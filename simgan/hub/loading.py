"""Find the two files of a network, in a folder or on the Hub, and read and write them.

Loading is strict: only safetensors, never pickle. A missing configuration, an unknown key or a tensor that does not fit
is an error with a sentence.
"""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
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
from torch import nn

from simgan.errors import ModelError, SimGANError
from simgan.hub import VERSION

CONFIG, WEIGHTS = "config.json", "model.safetensors"
SHIPPED = Path(__file__).parents[1] / "pretrained"
Loaded = TypeVar("Loaded", bound=nn.Module)


def load(cls: Callable[[Any], Loaded], config_class: type, name: str, subfolder: str, fetch: dict[str, Any]) -> Loaded:
    """Build a network of `cls` and load its weights; `fetch` holds the arguments of `Pretrained.from_pretrained`.

    `ModelError` where the name stands for no model, or the model cannot be loaded.
    """
    kind = cls.__name__.lower()
    local = local_folder(name)
    root = local or _snapshot(name, subfolder, kind, fetch)
    folder = root / subfolder
    place = str(folder) if local else _join(name, subfolder)
    _check_files(place, [path.name for path in folder.glob("*")], kind)
    network: Any = cls(_read_config(folder / CONFIG, place, config_class, kind))
    network.metadata = _read_weights(network, folder / WEIGHTS, place, kind)
    network.origin, network.revision = name, None if local else root.name
    loaded: Loaded = network
    return loaded


def save(network: Any, target: Path, metadata: dict[str, str] | None) -> None:
    """Write both files of a network into a folder, each aside and then renamed; the same network gives the same bytes.

    `metadata` goes into the header of the weights; without it, what the weights came with.
    """
    target.mkdir(parents=True, exist_ok=True)
    values = {name: value for name, value in dataclasses.asdict(network.config).items() if value is not None}
    config = {"model_type": f"simgan-{type(network).__name__.lower()}", **values}
    tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    header = metadata or network.metadata or {"simgan_version": VERSION}
    aside = Path(tempfile.mkdtemp(prefix=".saving-", dir=target))
    try:
        (aside / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        (aside / WEIGHTS).write_bytes(_ordered(safetensors.torch.save(tensors, metadata={"format": "pt", **header})))
        for file in (WEIGHTS, CONFIG):
            (aside / file).replace(target / file)
    finally:
        shutil.rmtree(aside)


def local_folder(name: str) -> Path | None:
    """Return the folder of a model, given by its path or its shipped name; `None` if the name is a Hub repository's."""
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
    """Return the cached folder, named by its commit, that holds both files of a network; fetch what is missing."""
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
    """Return the files of a repository's folder, which say what it is where it lacks those of a network."""
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
    """Return a sentence that says why the Hub did not send a model, and what to do."""
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
    needed = {field.name for field in fields if field.default}  # what is off by default may be missing: it came later
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
    """Sort the metadata in the header of safetensors, whose order is otherwise random."""
    end = 8 + int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # as safetensors aligns its tensors
    return len(text).to_bytes(8, "little") + text + weights[end:]


def _read_weights(network: nn.Module, file: Path, place: str, kind: str) -> dict[str, str]:
    """Load weights into a network, and return the metadata of their header."""
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
