"""Upload a folder to the Hub in one commit, with retries; files that are there already are not sent."""

import logging
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from simgan.errors import PublishError, hide
from simgan.hub import VERSION
from simgan.hub.access import check_access, proxy_of_hub

WAITS = (1, 2, 5)  # seconds before the next attempts, where the Hub is out of reach or answers with an error
AGAIN = {408, 409, 412, 425, 429}  # statuses that may be gone at the next attempt
CARD = "README.md"
NO_ID = "{!r} is not the id of a repository: give org/name"
LOG_IN = "log in with `hf auth login`, set HF_TOKEN or pass a token"
REFUSALS: dict[Any, str] = {  # classes and statuses of errors that stay however often one tries
    GatedRepoError: f"{{}} is gated: ask for access on its page, then {LOG_IN}",
    RepositoryNotFoundError: f"no repository {{}} on the Hub, or it is private: check the name, or {LOG_IN}",
    RevisionNotFoundError: "{} has no such revision: give a branch, tag or commit of it",
    LocalTokenNotFoundError: f"nobody is logged in to the Hub: {LOG_IN}",
    OfflineModeIsEnabled: "HF_HUB_OFFLINE is set: unset it",
    HFValidationError: NO_ID,
    401: f"the Hub took no token for {{}} (401: none, wrong or expired): {LOG_IN}",
    403: "this token may not write to {} (403): use one that may, or propose it with --create-pr",
}
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pushed:
    """What a push did: its address, whether anything was new, and whether another card was there and stays."""

    url: str
    changed: bool
    card_kept: bool = False

    def __str__(self) -> str:
        kept = f" (the {CARD} there stays; pass --replace-card to replace it)" if self.card_kept else ""
        return f"{'pushed' if self.changed else 'nothing new to push'}: {self.url}{kept}"


def upload(
    folder: Path,
    repo_id: str,
    *,
    message: str,
    repo_type: str = "model",
    space_sdk: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    private: bool | None = None,
    token: str | bool | None = None,
    owned: Sequence[str] = (),
    replace_card: bool = False,
) -> Pushed:
    """Commit all files of a folder, under their relative names, to a repository (org/name), which is made if it is new.

    `repo_type`: model, dataset or space; `space_sdk` is that of a new Space. `revision`: a branch, made from main if it
    is new; main if not given.
    `private`: make a new repository private, and refuse a public one. `owned`: folders ("samples/"), or files, that are
    deleted where `folder` has them no more, unless a card that stays there names them. `replace_card`: otherwise a card
    is only sent where there is none. `PublishError`: the Hub refused it or was not reached; nothing was committed.
    """
    if repo_id.count("/") != 1:
        raise PublishError(NO_ID.format(repo_id))
    api = HfApi(token=token, library_name="simgan", library_version=VERSION)
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    where: dict[str, Any] = {"repo_type": repo_type, "revision": revision}

    def attempt() -> Pushed:
        check_access(token)
        api.create_repo(repo_id, repo_type=repo_type, space_sdk=space_sdk, private=private or None, exist_ok=True)
        if revision and not create_pr and not revision.startswith("refs/"):
            api.create_branch(repo_id, branch=revision, repo_type=repo_type, exist_ok=True)
        before: Any = api.repo_info(repo_id, **where)
        if private and not before.private:
            raise PublishError(f"{repo_id} exists and is public: make it private on the Hub, or push without `private`")
        there = [file.rfilename for file in before.siblings or []]
        sent, kept = dict(files), ""
        if CARD in there and CARD in files and not replace_card:
            card = Path(api.hf_hub_download(repo_id, CARD, repo_type=repo_type, revision=before.sha)).read_text(
                encoding="utf-8"
            )
            if card != files[CARD].read_text(encoding="utf-8"):
                kept = card
                del sent[CARD]
        gone = [name for name in there if name.startswith(tuple(owned)) and name not in sent and name not in kept]
        operations: list[Any] = [CommitOperationAdd(name, str(path)) for name, path in sent.items()]
        operations += map(CommitOperationDelete, gone)
        commit = api.create_commit(repo_id, operations, commit_message=message, create_pr=create_pr, **where)
        return Pushed(commit.pr_url or commit.commit_url, commit.oid != before.sha, bool(kept))

    waits = iter(WAITS)
    while True:
        try:
            return attempt()
        except PublishError:
            raise
        except Exception as error:  # of any layer below: HTTP, sockets, files, the client
            why, may_pass = explain(error, repo_id, token)
            wait = next(waits, None) if may_pass else None
            if wait is None:
                raise PublishError(why) from None  # what clients raise may show token and passwords
            logger.warning("%s; next attempt in %d s", why, wait)
            time.sleep(wait)


def warn_of_refusal(repo_id: str) -> None:
    """Print a warning if a later push to a repository would fail now; it asks the Hub once, for at most 10 seconds."""
    found: list[str] = []

    def ask() -> None:
        try:
            check_access(None)
            me = HfApi().whoami()
        except Exception as error:  # this is a warning, never a reason to stop
            found.append(explain(error, repo_id)[0])
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
    thread.join(10)
    if found:
        print(hide(f"warning: a push to {repo_id} would fail now: {found[0]}"), file=sys.stderr, flush=True)


def explain(error: BaseException, name: str, token: object = None) -> tuple[str, bool]:
    """Return what went wrong with a repository, in a sentence, and whether another attempt may work.

    The sentence holds no password and not the token that was sent.
    """
    if isinstance(error, RuntimeError | LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # of "Error while uploading", or of what is not in the cache either
    why, may_pass = _explain(error, name)
    return hide(why, token), may_pass


def _explain(error: BaseException, name: str) -> tuple[str, bool]:
    status = getattr(getattr(error, "response", None), "status_code", None)
    for kind, sentence in REFUSALS.items():
        if kind == status if isinstance(kind, int) else isinstance(error, kind):
            return sentence.format(name), False
    through = f" through the proxy of {variable}" if (variable := proxy_of_hub()) else ""
    if status is not None:
        said = " ".join((getattr(error, "server_message", None) or "").split())
        told = f"the Hub answered {status} for {name}{through}{': ' if said else ''}{said}"
        return told, status >= 500 or status in AGAIN
    if isinstance(error, ValueError):  # a card that the Hub finds invalid
        return " ".join(str(error).split()), False
    if through:  # no words of the error, as they may be of the address, with its password
        return f"the Hub was not reached for {name}{through} ({type(error).__name__}): change or unset it", True
    first = next(iter(str(error).splitlines()), "")
    return f"the Hub was not reached for {name} ({type(error).__name__}: {first})", True
