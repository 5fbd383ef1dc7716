"""Fetch a public model of the Hub, in a `simgan.space.uploads.Worker`, as a download has no time limit otherwise."""

import math
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.utils import disable_progress_bars

from simgan.errors import ModelError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FILES = [f"{folder}{file}" for folder in ("", "discriminator/") for file in (CONFIG, WEIGHTS)]
CONFIG_BYTES = 2**16
ANSWER = 10  # seconds that the Hub may take to answer


def fetch(place: tuple[str, int], name: str) -> Path:
    """Download a model of at most so many bytes into a folder, and return where its files are; else `ModelError`."""
    folder, most = place
    disable_progress_bars()
    try:
        info = HfApi(token=False).model_info(name, files_metadata=True, timeout=ANSWER)
        siblings = [file for file in info.siblings or [] if file.rfilename in FILES]
        sizes = {file.rfilename: math.inf if file.size is None else file.size for file in siblings}
        if missing := [file for file in (CONFIG, WEIGHTS) if file not in sizes]:
            raise ModelError(f"{name} holds no {missing[0]}, so it is no model of simgan (pickles are never loaded)")
        if (total := sum(sizes.values())) > most:
            raise ModelError(f"{name} has {total / 2**20:.0f} MB: at most {most / 2**20:.0f} are loaded here")
        if any(size > CONFIG_BYTES for file, size in sizes.items() if file.endswith(CONFIG)):
            raise ModelError(f"{name} has a {CONFIG} of more than {CONFIG_BYTES // 1024} kB: it is not loaded here")
        return Path(snapshot_download(name, revision=info.sha, allow_patterns=FILES, token=False, cache_dir=folder))
    except ModelError:
        raise
    except RepositoryNotFoundError as error:  # or a gated one
        raise ModelError(f"There is no public model {name} on the Hub: check the name") from error
    except Exception as error:  # by version of the client: errors of requests, httpx or httpx2, OSError, ValueError
        raise ModelError(f"{name} could not be fetched from the Hub: try later, or choose a shipped model") from error
