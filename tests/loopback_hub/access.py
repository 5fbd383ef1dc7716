"""Who may see, read and write what; all requests are judged here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from loopback_hub.storage import Commit, Repository

if TYPE_CHECKING:
    from loopback_hub.hub import LoopbackHub, User


def refusal(status: int, message: str, code: str | None = None, **headers: str) -> HTTPException:
    """An error to raise; clients tell them apart by `X-Error-Code` and show the message."""
    return HTTPException(status, message, headers | ({"X-Error-Code": code} if code else {}))


async def refuse(request: Request, error: HTTPException) -> Response:
    """The answer to a request that raised a refusal."""
    message = error.detail.splitlines()[0].encode("ascii", "replace").decode()
    headers = {**(error.headers or {}), "X-Error-Message": message}
    return JSONResponse({"error": error.detail}, error.status_code, headers)


def owns(user: User | None, repository: Repository) -> bool:
    """Whether a repository is the user's or one of the user's organizations'."""
    return user is not None and repository.namespace in user.namespaces


class Access:
    """What all handlers share: from a request to its user, repository and commit."""

    def __init__(self, hub: LoopbackHub) -> None:
        self.hub, self.storage = hub, hub.storage

    def user(self, request: Request) -> User | None:
        """Whose token came with the request; an unknown token is refused whatever is asked for."""
        header = request.headers.get("authorization")
        if header is None:
            return None
        user = self.hub.users.get(header.removeprefix("Bearer "))
        if user is None:
            raise refusal(401, "Invalid credentials in Authorization header")
        return user

    def writer(self, request: Request, namespace: str) -> User:
        """Who may write there; anyone else is refused."""
        user = self.user(request)
        if user is None:
            raise refusal(401, "Invalid username or password.")
        if not user.write:
            raise refusal(403, "Forbidden: this token may only read, create one with the role write")
        if namespace not in user.namespaces:
            raise refusal(403, f'You don\'t have the rights to write in the namespace "{namespace}"')
        return user

    def repository(self, request: Request) -> Repository:
        """The repository of the request's path, if the user may know of it."""
        user, type = self.user(request), request.path_params["type"]
        id = "{org}/{name}".format(**request.path_params)
        repository = self.storage.repository(type, id)
        if repository is None or (repository.private and not owns(user, repository)):
            # As the Hub does: without a token one cannot tell a private repository from a missing one.
            status, message = (401, "Invalid username or password.") if user is None else (404, "Repository not found")
            raise refusal(status, message, "RepoNotFound")
        return repository

    def writable(self, request: Request) -> tuple[Repository, User]:
        """The repository and its writer. Who opens a pull request need only be logged in."""
        repository = self.repository(request)
        user = self.user(request)
        if request.query_params.get("create_pr") and user is not None and user.write:
            return repository, user
        return repository, self.writer(request, repository.namespace)

    def at_revision(self, request: Request, repository: Repository) -> Commit:
        """The commit that the request's path names."""
        revision = request.path_params.get("revision", "main")
        id = self.storage.resolve(repository, revision)
        if id is None:
            raise refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.storage.read_commit(repository, id)

    def page(self, repository: Repository) -> str:
        """The repository's address."""
        prefix = "" if repository.type == "models" else f"{repository.type}/"
        return f"{self.hub.url}/{prefix}{repository.id}"

    def check_gate(self, request: Request, repository: Repository) -> None:
        """Refuse the files of a gated repository to who has no access."""
        user = self.user(request)
        if not repository.gated or owns(user, repository) or (user and user.name in repository.granted):
            return
        message = f"Access to {repository.type[:-1]} {repository.id} is restricted. You must have access to it and be"
        raise refusal(403 if user else 401, f"{message} authenticated to access it.", "GatedRepo")
