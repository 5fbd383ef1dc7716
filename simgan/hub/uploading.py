"""Upload a folder to the Hub in one commit, with retries; files that are there already are not sent.

Nothing here depends on what the folder holds, except that its README.md is a card.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)

from simgan.errors import PublishError
from simgan.hub import VERSION

WAITS = (1, 2, 5)  # seconds before the next attempts, where the Hub is out of reach or answers with an error
AGAIN = {408, 409, 412, 425, 429}  # statuses that another attempt may not get
CARD = "README.md"
Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pushed:
    """What a push did: its address, whether anything was new, and whether another card was there and stays."""

    url: str
    changed: bool
    card_kept: bool = False

    def __str__(self) -> str:
        text = f"pushed: {self.url}" if self.changed else f"nothing new to push: {self.url}"
        if self.card_kept:
            text += f" (the {CARD} there stays; pass --replace-card to replace it)"
        return text


def upload(
    folder: Path,
    repo_id: str,
    *,
    message: str,
    repo_type: str = "model",
    revision: str | None = None,
    create_pr: bool = False,
    private: bool | None = None,
    token: str | bool | None = None,
    owned: Sequence[str] = (),
    replace_card: bool = False,
) -> Pushed:
    """Commit all files of a folder; create the repository and the branch where there are none.

    Args:
        folder: its files keep their relative names.
        repo_id: org/name.
        message: of the commit.
        repo_type: model, dataset or space.
        revision: a branch, made from main if it is new; main if not given.
        create_pr: propose the commit as a pull request.
        private: make a new repository private; one that exists and is public is refused.
        token: as everywhere in `huggingface_hub`.
        owned: folders ("samples/") of the repository whose files are deleted where `folder` has them no more, unless
            a card that stays there names them.
        replace_card: replace the card there; otherwise a card is only sent where there is none.

    Raises:
        PublishError: the Hub refused it, or was not reached in four attempts. Then nothing of it is on the Hub.
    """
    if repo_id.count("/") != 1:
        raise PublishError(f"{repo_id!r} is not the id of a repository: give org/name")
    api = HfApi(token=token, library_name="simgan", library_version=VERSION)
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    where: dict[str, Any] = {"repo_type": repo_type, "revision": revision}

    def attempt() -> Pushed:
        sdk = "gradio" if repo_type == "space" else None
        api.create_repo(repo_id, repo_type=repo_type, space_sdk=sdk, private=private or None, exist_ok=True)
        try:
            before = api.repo_info(repo_id, **where)
        except RevisionNotFoundError:
            if create_pr or str(revision).startswith("refs/"):
                raise
            api.create_branch(repo_id, branch=str(revision), repo_type=repo_type, exist_ok=True)
            before = api.repo_info(repo_id, **where)
        if private and not before.private:
            raise PublishError(f"{repo_id} exists and is public: make it private in its settings, or do not ask for it")
        sent = dict(files)
        card = _card(api, repo_id, where) if CARD in files and not replace_card else None
        kept = card if card is not None and card != files[CARD].read_text() else ""
        if kept:
            del sent[CARD]
        stored = api.list_repo_files(repo_id, **where) if owned else []
        gone = [name for name in stored if name.startswith(tuple(owned)) and name not in sent and name not in kept]
        commit = api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(name, str(path)) for name, path in sent.items()),
                *(CommitOperationDelete(name) for name in gone),
            ],
            commit_message=message,
            create_pr=create_pr,
            **where,
        )
        return Pushed(commit.pr_url or commit.commit_url, commit.oid != before.sha, bool(kept))

    return persistently(attempt, repo_id)


def persistently(attempt: Callable[[], Answer], repo_id: str) -> Answer:
    """Return what a function that talks to the Hub returns, with retries; `PublishError` where it fails."""
    for wait in (*WAITS, None):
        try:
            return attempt()
        except PublishError:
            raise
        except Exception as error:  # of any layer below: HTTP, sockets, files, the client
            why, may_pass = _explain(error, repo_id)
            if wait is None or not may_pass:
                raise PublishError(why) from error
            logger.warning("%s; next attempt in %d s", why, wait)
            time.sleep(wait)
    raise AssertionError  # the last wait is None


def permission_problem(repo_id: str, *, token: str | bool | None = None, patience: float = 10) -> str | None:
    """Return why a later push to `repo_id` would fail; None where no reason is known within `patience` seconds.

    It makes one request and never raises.
    """
    found: list[str | None] = []

    def ask() -> None:
        try:
            me = HfApi(token=token).whoami()
        except Exception as error:  # this is a warning, never a reason to stop
            found.append(_explain(error, repo_id)[0])
            return
        owner = repo_id.split("/")[0]
        names = {me.get("name"), *(organization.get("name") for organization in me.get("orgs", []))}
        role = me.get("auth", {}).get("accessToken", {}).get("role")
        if role == "read":
            found.append("the Hub token may only read: make one that may write")
        elif role != "fineGrained" and owner not in names:  # a fine-grained token need not list all names
            found.append(f"{me.get('name')} is no member of {owner} on the Hub")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience)
    return found[0] if found else None


def _card(api: HfApi, repo_id: str, where: dict[str, Any]) -> str | None:
    """Return the text of the card on the Hub; None where there is none."""
    with TemporaryDirectory() as folder:
        try:
            return Path(api.hf_hub_download(repo_id, CARD, local_dir=folder, **where)).read_text()
        except LocalEntryNotFoundError:  # not reached
            raise
        except EntryNotFoundError:
            return None


def _explain(error: BaseException, repo_id: str) -> tuple[str, bool]:
    """Return what went wrong, in a sentence, and whether another attempt may work."""
    if isinstance(error, RuntimeError) and error.__cause__ is not None:  # "Error while uploading", whatever it was
        error = error.__cause__
    status = getattr(getattr(error, "response", None), "status_code", None)
    log_in = "log in with `hf auth login`, set HF_TOKEN or pass a token"
    if isinstance(error, LocalTokenNotFoundError):
        return f"nobody is logged in to the Hub: {log_in}", False
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: unset it", False
    if isinstance(error, HFValidationError):
        return f"{repo_id!r} is not the id of a repository: give org/name", False
    if status == 401:
        return f"the Hub took no token for {repo_id} (401: none, wrong or expired): {log_in}", False
    if status == 403:
        return f"this token may not write to {repo_id} (403): use one that may, or propose it with --create-pr", False
    if status is not None:
        said = getattr(error, "server_message", None) or ""
        may_pass = status >= 500 or status in AGAIN
        return f"the Hub answered {status} for {repo_id}{': ' if said else ''}{said}", may_pass
    if isinstance(error, ValueError):  # a card that the Hub finds invalid
        return " ".join(str(error).split()), False
    first = next(iter(str(error).splitlines()), "")
    return f"the Hub was not reached ({type(error).__name__}: {first})", True
