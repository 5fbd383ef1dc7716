"""Fetch a model of the Hub: public, safetensors, and no larger than is allowed, without this Space's own credentials.

It runs in a process of its own (`simgan.space.decoding.Worker`), because a download has no time limit otherwise.
"""

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from huggingface_hub.utils import disable_progress_bars

from simgan.errors import ModelError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FILES = [f"{folder}{file}" for folder in ("", "discriminator/") for file in (CONFIG, WEIGHTS)]
CONFIG_BYTES = 2**16
ANSWER = 10  # seconds that the Hub may take to answer


def fetch(name: str, folder: str, most: int) -> str:
    """Download the files of a model, of at most so many bytes, below a folder, and return their own folder.

       `ModelError` says why that failed.
    Nothing is downloaded before the sizes of all files are known.
    """
    disable_progress_bars()
    try:
        info = HfApi(token=False).model_info(name, files_metadata=True, timeout=ANSWER)
        sizes = {file.rfilename: file.size for file in info.siblings or [] if file.rfilename in FILES}
        _check_sizes(name, sizes, most)
        return snapshot_download(name, revision=info.sha, allow_patterns=FILES, token=False, cache_dir=folder)
    except ModelError:
        raise
    except GatedRepoError as error:
        raise ModelError(f"{name} is gated, and only public models are loaded here") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"There is no public model {name} on the Hub: check the name") from error
    except Exception as error:  # by version of the client: errors of requests, httpx or httpx2, OSError, ValueError
        raise ModelError(f"{name} could not be fetched from the Hub: try later, or choose a shipped model") from error


def _check_sizes(name: str, sizes: dict[str, int | None], most: int) -> None:
    for file in (CONFIG, WEIGHTS):
        if file not in sizes:
            raise ModelError(f"{name} holds no {file}, so it is no model of simgan (pickles are never loaded)")
    if any(size is None for size in sizes.values()):
        raise ModelError(f"The Hub does not say how large the files of {name} are, so they are not loaded here")
    total = sum(size or 0 for size in sizes.values())
    if total > most:
        raise ModelError(f"{name} has {total / 2**20:.0f} MB: at most {most / 2**20:.0f} are loaded here")
    if any((sizes.get(file) or 0) > CONFIG_BYTES for file in FILES if file.endswith(CONFIG)):
        raise ModelError(f"{name} has a {CONFIG} of more than {CONFIG_BYTES // 1024} kB, so it is not loaded here")
