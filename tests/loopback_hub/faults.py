"""Faults between the client and the Hub, in the order in which they were switched on."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import unquote

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass
class Fault:
    """What happens to the next `times` requests whose method and path match (`times=None`: to every one)."""

    path: str
    method: str | None = None
    times: int | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut_after: int | None = None
    cut_upload_after: int | None = None
    held: threading.Event | None = None
    hits: int = 0

    def takes(self, scope: Scope) -> bool:
        """Whether this request is one of them; counts it."""
        matches = fnmatchcase(unquote(scope["raw_path"].decode("ascii")), self.path)
        if not matches or (self.method or scope["method"]) != scope["method"] or self.hits == self.times:
            return False
        self.hits += 1
        return True


class Faults:
    """An ASGI layer that lets a request through, or makes it fail as the first matching fault says."""

    def __init__(self, app: ASGIApp, faults: list[Fault], log: list[tuple[str, str]]) -> None:
        self.app, self.faults, self.log = app, faults, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.log.append((scope["method"], unquote(scope["raw_path"].decode("ascii"))))
        fault = next((fault for fault in self.faults if fault.takes(scope)), None) if scope["type"] == "http" else None
        if fault is None:
            await self.app(scope, receive, send)
            return
        await asyncio.sleep(fault.delay)
        if fault.held is not None:
            await asyncio.to_thread(fault.held.wait)
        if fault.cut_upload_after is not None:
            await _cut_upload(fault.cut_upload_after, receive, send)
        elif fault.status is not None:
            answer = JSONResponse({"error": f"fault {fault.status}"}, fault.status, fault.headers)
            await answer(scope, receive, send)
        elif fault.cut_after is not None:
            await self.app(scope, receive, _Cut(send, fault.cut_after))
        else:
            await self.app(scope, receive, send)


class _Cut:
    """Sends the first bytes of an answer's body only. The server closes a connection whose answer is not whole."""

    def __init__(self, send: Send, limit: int) -> None:
        self.send, self.left = send, limit

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            body = message.get("body", b"")[: self.left]
            self.left -= len(body)
            message = {"type": "http.response.body", "body": body, "more_body": True}
        await self.send(message)


async def _cut_upload(limit: int, receive: Receive, send: Send) -> None:
    """Read some of the request, then close the connection: an answer that is never whole is the way to do it."""
    read, more = 0, True
    while more and read < limit:
        message = await receive()
        read += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": b"", "more_body": True})
