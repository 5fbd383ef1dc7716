"""Find the two files of a network: in a folder, in the package, or on the Hub."""

from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from simgan.errors import ModelError
from simgan.hub.access import check_access, proxy_of_hub
from simgan.hub.uploading import explain

CONFIG, WEIGHTS = "config.json", "model.safetensors"
ONNX = "model.onnx"  # of a refiner, for other engines
SHIPPED = Path(__file__).parents[1] / "pretrained"


def local_folder(name: str) -> Path | None:
    """Return the folder of a model, given by its path or its shipped name; `None` if the name is a Hub repository's."""
    folder, shipped = Path(name), SHIPPED / name
    is_folder = bool(name) and folder.is_dir()
    if name and "/" not in name and not name.startswith(".") and shipped.is_dir():
        if is_folder and folder.resolve() != shipped.resolve():
            raise ModelError(f"{name!r} is a shipped model and a folder here: write {f'./{name}'!r} for the folder")
        return shipped
    if is_folder:
        return folder
    if name.count("/") != 1 or name.startswith((".", "/")):
        known = ", ".join(sorted(path.name for path in SHIPPED.iterdir() if path.is_dir()))
        raise ModelError(f"no model {name!r}: it is no folder, no shipped model ({known}) and no Hub id (org/name)")
    return None


def fetch(name: str, subfolder: str, kind: str, options: dict[str, Any]) -> Path:
    """Return the cached folder of a Hub repository, named by its commit, with both files of a network."""
    wanted = [f"{subfolder}/{file}".lstrip("/") for file in (CONFIG, WEIGHTS)]
    try:
        if not options["local_files_only"]:
            check_access(options["token"])
        snapshot = Path(snapshot_download(name, allow_patterns=wanted, library_name="simgan", **options))
        if all((snapshot / file).is_file() for file in wanted):
            return snapshot
        if options["local_files_only"]:
            raise LocalEntryNotFoundError(f"only a part of {name} is in the cache")
        names = HfApi(token=options["token"]).list_repo_files(name, revision=snapshot.name)
    except Exception as error:  # the client's HTTP library, and so what it raises, differs between its versions
        why = explain(error, name, options["token"])[0]
        cause = error.__cause__
        is_told = isinstance(cause, HfHubHTTPError) or (cause is not None and proxy_of_hub())
        if isinstance(error, LocalEntryNotFoundError) and not is_told:
            why = (
                f"{name} is no folder here, and its {kind} is not in the cache: check the name and the network, or "
                "load it once without local_files_only and HF_HUB_OFFLINE"
            )
        raise ModelError(f"cannot load the {kind}: {why}") from None  # what clients raise may show token and passwords
    prefix = f"{subfolder}/".lstrip("/")
    inside = [path.removeprefix(prefix) for path in names if path.startswith(prefix)]
    check_files(f"{name}/{subfolder}".rstrip("/"), inside, kind)
    return snapshot


def check_files(place: str, names: list[str], kind: str) -> None:
    """Raise `ModelError` where a folder, which holds files with these names, lacks those of a network."""
    pickles = [name for name in sorted(names) if name.endswith((".bin", ".pt", ".pth", ".pkl", ".ckpt"))]
    if WEIGHTS not in names and pickles:
        raise ModelError(
            f"{place} holds only a pickle ({', '.join(pickles)}), which can run code: convert it to {WEIGHTS}"
        )
    for file in (CONFIG, WEIGHTS):
        if file not in names:
            raise ModelError(f"{place} holds no {file} of a simgan {kind}")
