"""The command `simgan space push`."""

from collections.abc import Callable
from typing import Any

from simgan.cli.arguments import Repository
from simgan.space.push import push_space


def push(
    repository: Repository,
    /,
    models: tuple[str, ...] = (),
    private: bool = False,
    token: str | None = None,
) -> None:
    """Push the demo as a Space of your own: app.py, this package, and what it needs. Again: only changes.

    Args:
        repository: org/name; made if it does not exist.
        models: Hub ids that the Space offers.
        private: make a new Space private.
        token: of the Hub; if not given HF_TOKEN, or that of `hf auth login`.
    """
    print(push_space(repository, models=models, private=private or None, token=token))


SPACES: dict[str, Callable[..., Any]] = {"push": push}
