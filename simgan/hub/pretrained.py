"""The base of both networks: loaded, saved and pushed as `config.json` and `model.safetensors`, nothing else.

One folder or Hub repository holds one model: the refiner at its root, its discriminator under `discriminator/`, so both
classes load from the same name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from simgan.hub.loading import load, save
from simgan.hub.push import push_network
from simgan.hub.uploading import Pushed

if TYPE_CHECKING:
    from typing_extensions import Self


class Pretrained(nn.Module):
    """A network with a configuration, loaded and saved as a folder; the base of `Refiner` and `Discriminator`."""

    config_class: ClassVar[type]
    subfolder: ClassVar[str]
    config: Any
    metadata: dict[str, str] | None = None  # of the safetensors header that the weights came with
    origin: str | None = None  # the name that they were loaded by: a folder, a shipped name, an id on the Hub
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
        """Load trained weights from a folder, a shipped name, or a Hub repository ("org/name").

        Of a Hub repository: `revision` is a branch, tag, commit or `refs/pr/N` (its main branch by default), `token` an
        access token (by default that of the login; `False` sends none), `cache_dir` where downloads are kept. Without
        a network, or with `local_files_only`, the cache is used. Both files are always those of one commit.

        The network comes in evaluation mode, float32, on the CPU. What cannot be loaded raises `ModelError`.
        """
        fetch = {"revision": revision, "token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        return load(cls, cls.config_class, str(name), cls.subfolder, fetch).eval()

    def save_pretrained(self, folder: str | os.PathLike[str], *, metadata: dict[str, str] | None = None) -> None:
        """Write `config.json` and `model.safetensors` into `folder` (under `discriminator/` for a discriminator).

        Each file is written aside and renamed. `metadata`, text by text, goes into the safetensors header; without it,
        what the weights came with. The same weights and metadata give the same bytes.
        """
        save(self, Path(folder) / self.subfolder, metadata)

    def push_to_hub(self, repo_id: str, *, commit_message: str | None = None, **options: Any) -> Pushed:
        """Push this network to the Hub repository org/name in one commit; `url` of what is returned is the commit's.

        A refiner goes to the root, with a card where the repository has none; a discriminator under `discriminator/`.
        Files that are there already are not sent. Options: `private` for a new repository, a branch `revision` (made
        from main if it is new), `token`, and `create_pr`. `simgan push RUN org/name` pushes a run with its samples,
        figures and measures too.

        Raises:
            PublishError: the Hub refused it, or was not reached; its answer and the remedy.
        """
        return push_network(self, repo_id, commit_message=commit_message, **options)

    @property
    def number_of_parameters(self) -> int:
        """How many numbers training learns."""
        return sum(parameter.numel() for parameter in self.parameters())
