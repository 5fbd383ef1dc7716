"""ASGI middleware that checks each request before Gradio reads it.

Gradio opens any path of this machine that a call names without `meta`, fetches addresses that stand in place of files,
keeps links to a saved state for ever, and parses bodies of any length. What was checked is written anew.
"""

import asyncio
import json
import os
import re
import shutil
import tempfile
from typing import Any

from gradio.utils import get_upload_folder
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY = 256 * 1024  # bytes of a call
VALUES = 10_000  # JSON values of a call: 256 kB of empty lists would fill 5 MB
DEPTH = 20  # levels of its JSON
SECONDS = 10.0  # until the body of a call has arrived
UPLOAD = 288 * 2**20  # bytes of one upload with all its files; Gradio has a limit for each file
FREE = 2**30  # bytes of disk that uploads may not take
_TOO_LONG = f"A call may have {BODY // 1024} kB: upload files first, then name them in the call; pack many as a ZIP."
_TOO_MUCH = f"An upload may have {UPLOAD // 2**20} MB with all its files: send fewer at once."
_TOO_MANY = "The call has too many values: send fewer files at once, or pack them as a ZIP."
_ADDRESS = re.compile(r"\s*[a-z][a-z+.-]+:", re.IGNORECASE)
_ELSEWHERE = re.compile(r"/(file[=/]|proxy=)\s*https?:|/proxy=|/deep_link", re.IGNORECASE)
_UPLOAD = re.compile(r"/gradio_api/upload/?$")
_CALL = re.compile(r"/gradio_api/(queue/join|cancel|reset|(run|api|call(/v2)?)/[^/]+)/?$")


class Guard:
    """ASGI middleware in front of Gradio: `launch(app_kwargs={"middleware": [Middleware(Guard)]})`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that is refused, or pass it on."""
        if scope["type"] == "http":
            try:
                scope, receive = await _checked(scope, receive)
            except HTTPException as error:
                headers = {"Connection": "close"} if error.status_code == 408 else None
                return await JSONResponse({"detail": error.detail}, error.status_code, headers)(scope, receive, send)
        return await self.app(scope, receive, send)


async def _checked(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """Return the scope of a request and its body as they are passed on; `HTTPException` where it is refused."""
    path, is_upload = scope["path"], bool(_UPLOAD.search(scope["path"]))
    if _ELSEWHERE.search(path) or b"deep_link=" in scope["query_string"]:
        raise HTTPException(403, "This server fetches nothing from elsewhere.")
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return scope, receive
    if not is_upload and not _CALL.search(path):
        raise HTTPException(404, "There is no such call: see `Use via API` at the foot of the page.")
    most, text = (UPLOAD, _TOO_MUCH) if is_upload else (BODY, _TOO_LONG)
    length = Headers(scope=scope).get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise HTTPException(413, text)
    if is_upload:
        if shutil.disk_usage(tempfile.gettempdir()).free < FREE:
            raise HTTPException(507, "There is no room for uploads now: try again in an hour.")
        # Gradio answers 413 to these words, and deletes what it has written of the upload.
        return scope, _limited(receive, most, MultiPartException(f"{text} (maximum allowed size)"))
    try:
        whole = Request(scope, _limited(receive, most, HTTPException(413, text))).body()
        call = json.loads(await asyncio.wait_for(whole, SECONDS) or b"null")
    except (asyncio.TimeoutError, ClientDisconnect):
        raise HTTPException(408, f"The call did not arrive within {SECONDS:.0f} seconds: send it again.") from None
    except (ValueError, RecursionError):
        raise HTTPException(400, "A call is JSON.") from None
    if _count(call) > VALUES:
        raise HTTPException(413, _TOO_MANY)
    body = json.dumps(call).encode()
    headers = [pair for pair in scope["headers"] if pair[0] != b"content-length"]
    first: list[Message] = [{"type": "http.request", "body": body}]

    async def replaced() -> Message:
        return first.pop() if first else await receive()

    return {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}, replaced


def _limited(receive: Receive, most: int, error: Exception) -> Receive:
    """Return `receive` that raises an error where a body has more bytes than are allowed."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise error
        return message

    return counted


def _count(value: Any, depth: int = 0) -> int:
    """Return how many JSON values a value consists of; `HTTPException` where one has a path, but not of an upload."""
    if depth > DEPTH:
        raise HTTPException(413, _TOO_MANY)
    if isinstance(value, dict) and value.get("path") is not None:
        _check_path(value["path"])
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(_count(one, depth + 1) for one in inner)


def _check_path(path: Any) -> None:
    """Raise `HTTPException` where a path is not that of a file in the folder of uploads and results."""
    if isinstance(path, str) and _ADDRESS.match(path):
        raise HTTPException(400, "Files are taken, addresses are not: download the image and send the file.")
    folder = os.path.realpath(get_upload_folder())
    try:  # links and `..` are followed first
        inside = isinstance(path, str) and os.path.realpath(path).startswith(folder + os.sep)
    except ValueError:  # a NUL
        inside = False
    if not inside:
        text = "This is not a file that was uploaded here: upload it first, then name the path that this returns."
        raise HTTPException(403, text)
