"""The Hub that tests hold: starts and stops the server, knows its users, switches faults."""

from __future__ import annotations

import secrets
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from loopback_hub.faults import Fault, Faults
from loopback_hub.server import build
from loopback_hub.storage import Storage


@dataclass(frozen=True)
class User:
    """Who a token belongs to; `write=False` is a token that may read only."""

    name: str
    organizations: tuple[str, ...] = ()
    write: bool = True

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Whose repositories this user owns."""
        return (self.name, *self.organizations)


class LoopbackHub:
    """A Hub on a port of 127.0.0.1, in a thread of this process, with its storage under `root`.

    `listener` is a bound socket (see `bind`) where the address has to be known before the Hub starts: the clients read
    `HF_ENDPOINT` when they are imported. Without one it takes a free port.
    """

    def __init__(self, root: Path, listener: socket.socket | None = None) -> None:
        self.storage = Storage(root)
        self.users: dict[str, User] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.upload_key = secrets.token_hex()
        self.listener = listener or self.bind()
        self.url = url_of(self.listener)
        app = Faults(build(self), self.faults, self.requests)
        config = uvicorn.Config(app, log_level="critical", lifespan="off", access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self.listener],), daemon=True)

    @staticmethod
    def bind() -> socket.socket:
        """A socket on a free port of 127.0.0.1. Until a Hub starts on it, connections are refused at once."""
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        return listener

    def start(self) -> LoopbackHub:
        """Listen, and come back when requests are answered."""
        self.listener.listen(128)  # connections wait in the queue until the server takes them
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port and all connections."""
        self._server.should_exit = self._server.force_exit = True
        self._thread.join()

    def __enter__(self) -> LoopbackHub:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def add_user(self, name: str, *, token: str = "", organizations: tuple[str, ...] = (), write: bool = True) -> str:
        """Make a user with a token (`hf_NAME` if none is given), or a further token; gives back the token."""
        token = token or f"hf_{name}"
        self.users[token] = User(name, tuple(organizations), write)
        return token

    def fail(
        self,
        path: str,
        *,
        method: str | None = None,
        times: int | None = None,
        status: int | None = None,
        retry_after: int | None = None,
        error_code: str | None = None,
        delay: float = 0.0,
        cut_after: int | None = None,
        cut_upload_after: int | None = None,
    ) -> Fault:
        """Switch a fault on for requests whose path matches a shell pattern, for the next `times` of them or for all.

        `status` answers with that, with `Retry-After: retry_after` and `X-Error-Code: error_code` if given; `delay`
        waits, in seconds; `cut_after` does the work and closes the connection after so many bytes of the answer;
        `cut_upload_after` closes it after so many bytes of the request, which is not carried out. Earlier faults
        come first; one that is spent lets the next have its turn. `hits` of what comes back counts.
        """
        headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
        headers |= {"X-Error-Code": error_code} if error_code else {}
        fault = Fault(path, method, times, status, headers, delay, cut_after, cut_upload_after)
        self.faults.append(fault)
        return fault

    def hold(self, path: str) -> threading.Event:
        """Let requests whose path matches wait until the event that is returned is set."""
        held = threading.Event()
        self.faults.append(Fault(path, held=held))
        return held

    def clear(self) -> None:
        """Forget repositories, users, faults and the list of requests."""
        self.storage.clear()
        self.users.clear()
        self.faults.clear()
        self.requests.clear()


def url_of(listener: socket.socket) -> str:
    """The address that clients take as `HF_ENDPOINT`."""
    return "http://{}:{}".format(*listener.getsockname())
