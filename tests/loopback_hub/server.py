"""The addresses of the Hub's HTTP API.

Paths are matched as they were sent, quoted: in `/revision/refs%2Fpr%2F1` the revision is one segment. Handlers
await their request's body first and then do all their work at once, so each request sees and leaves a whole state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from loopback_hub.access import refuse
from loopback_hub.files import Files
from loopback_hub.repositories import Repositories
from loopback_hub.uploads import Uploads

if TYPE_CHECKING:
    from loopback_hub.hub import LoopbackHub


class _Segment(Convertor[str]):
    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value)

    def to_string(self, value: str) -> str:
        raise NotImplementedError


class _Rest(_Segment):
    regex = ".+"


class _Type(_Segment):
    regex = "models|datasets|spaces"


class _Owned(_Segment):  # in the addresses of pages, models have no prefix
    regex = "datasets/|spaces/|"

    def convert(self, value: str) -> str:
        return value.rstrip("/") or "models"


for name, convertor in {"part": _Segment, "rest": _Rest, "type": _Type, "owned": _Owned}.items():
    register_url_convertor(name, convertor())


class _QuotedPath:
    """Has the router match the path as it was sent."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "path": scope["raw_path"].decode("ascii")}, receive, send)


def build(hub: LoopbackHub) -> ASGIApp:
    """The application that answers for a Hub."""
    repositories, files, uploads = Repositories(hub), Files(hub), Uploads(hub)
    of_repository = "/api/{type:type}/{org:part}/{name:part}"
    routes = [
        Route("/api/whoami-v2", repositories.whoami),
        Route("/api/validate-yaml", repositories.validate_yaml, methods=["POST"]),
        Route("/api/repos/create", repositories.create, methods=["POST"]),
        Route("/api/repos/delete", repositories.delete, methods=["DELETE"]),
        Route("/api/{type:type}", repositories.list),
        Route(of_repository, repositories.info),
        Route(of_repository + "/revision/{revision:part}", repositories.info),
        Route(of_repository + "/settings", repositories.settings, methods=["PUT"]),
        Route(of_repository + "/user-access-request/grant", repositories.grant, methods=["POST"]),
        Route(of_repository + "/auth-check", repositories.auth_check),
        Route(of_repository + "/auth-check/write", repositories.auth_check_write),
        Route(of_repository + "/refs", repositories.references),
        Route(of_repository + "/commits/{revision:part}", repositories.commits),
        Route(of_repository + "/branch/{branch:part}", repositories.branch, methods=["POST", "DELETE"]),
        Route(of_repository + "/tag/{revision:part}", repositories.tag, methods=["POST", "DELETE"]),
        Route(of_repository + "/tree/{revision:part}", files.tree),
        Route(of_repository + "/tree/{revision:part}/{path:rest}", files.tree),
        Route(of_repository + "/paths-info/{revision:part}", files.paths_info, methods=["POST"]),
        Route(of_repository + "/preupload/{revision:part}", uploads.preupload, methods=["POST"]),
        Route(of_repository + "/commit/{revision:part}", uploads.commit, methods=["POST"]),
        Route("/lfs/{sha256:part}", uploads.lfs_upload, methods=["PUT"]),
        Route("/{type:owned}{org:part}/{name:part}.git/info/lfs/objects/batch", uploads.lfs_batch, methods=["POST"]),
        Route("/{type:owned}{org:part}/{name:part}.git/info/lfs/verify", uploads.lfs_verify, methods=["POST"]),
        Route("/{type:owned}{org:part}/{name:part}/resolve/{revision:part}/{path:rest}", files.resolve),
    ]
    handlers = {HTTPException: refuse}
    return _QuotedPath(Starlette(routes=routes, exception_handlers=handlers))  # type: ignore[arg-type]
