"""Keeps what a visitor sends from making the Space ask another server for something.

Gradio takes addresses where it takes files: `{"path": "https://…"}` in a call, and `/gradio_api/file=https://…`. Both
make the server fetch them (from public hosts only), a proxy for whoever finds it. Nothing here needs that, so that such
requests end before Gradio sees them, as do links to a saved state, which would be kept on disk for ever.
"""

import json
import re
import shutil
import tempfile
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY = 16 * 2**20  # bytes of a call; files come through /upload, where Gradio has a limit for each
FREE = 2**30  # bytes of disk that uploads may not take
_ADDRESS = re.compile(r"\s*(https?|ftp|file):", re.IGNORECASE)
_ELSEWHERE = re.compile(r"/(file[=/]|proxy=)\s*https?:|/proxy=|/deep_link", re.IGNORECASE)


class Guard:
    """ASGI middleware in front of Gradio: `launch(app_kwargs={"middleware": [Middleware(Guard)]})`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request that names an address, or hand it on with its body."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if _ELSEWHERE.search(scope["path"]) or b"deep_link=" in scope["query_string"]:
            return await _refuse(scope, receive, send, 403, "This server fetches nothing from elsewhere.")
        if scope["method"] != "POST":
            return await self.app(scope, receive, send)
        if scope["path"].endswith("/gradio_api/upload"):
            if shutil.disk_usage(tempfile.gettempdir()).free < FREE:
                text = "There is no room for uploads now: try again in an hour, when those of others are deleted."
                return await _refuse(scope, receive, send, 507, text)
            return await self.app(scope, receive, send)
        body = await _read(receive)
        if body is None:
            text = f"A call may have {BODY // 2**20} MiB: upload files first, and call with what that gives."
            return await _refuse(scope, receive, send, 413, text)
        try:
            call = json.loads(body or b"null")
        except (ValueError, RecursionError):
            return await _refuse(scope, receive, send, 400, "A call is JSON.")
        if _names_an_address(call):
            text = "Files are taken, addresses are not: download the image and send the file."
            return await _refuse(scope, receive, send, 400, text)
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return await self.app(scope, again, send)


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    await JSONResponse({"detail": text}, status)(scope, receive, send)


async def _read(receive: Receive) -> bytes | None:
    """Give a request's whole body, None where it is too long."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _names_an_address(call: Any) -> bool:
    waiting = [call]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and _ADDRESS.match(path):
                return True
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return False
