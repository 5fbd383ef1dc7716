"""The queue of the Space: a limit of waiting events for each visitor, and turns between visitors.

Visitors take turns by start-time fair queueing (Goyal et al. 1996): an event gets a start tag, one more than the tag of
its visitor's previous event, and at least the tag of the event that started last. Gradio starts events, and computes
the places and waiting times that it shows, in the order of its list, so the list is sorted by tag.
"""

import ipaddress
import math
from typing import Any
from weakref import WeakKeyDictionary

from fastapi import HTTPException, Request
from gradio.data_classes import PredictBodyInternal
from gradio.queueing import Event, Queue

SESSION = 20  # events of one open page or client that may wait and run at the same time
ADDRESS = 60  # and of one address, which a classroom may share
SHARE = 4  # sessions of one address that take turns as visitors of their own
TOO_MANY = "{} of your calls are waiting, and at most {} are taken at a time: send more when some are done."


class FairQueue(Queue):
    """A queue that takes the place of another one, with a limit for each visitor, and turns."""

    def __init__(self, queue: Queue) -> None:
        vars(self).update(vars(queue))
        self._tags: WeakKeyDictionary[Event, float] = WeakKeyDictionary()
        self._latest: dict[tuple[str, str], float] = {}  # tags by queue, and by session or address
        self._started: dict[str, float] = {}  # tag of the event that started last, by queue

    async def push(self, body: PredictBodyInternal, request: Request, username: str | None) -> Any:
        """Append an event; `HTTPException` 429 where its visitor has too many."""
        address, events = address_of(request), list(self.event_ids_to_events.values())
        for limit, own in (
            (SESSION, sum(event.session_hash == body.session_hash for event in events)),
            (ADDRESS, sum(address_of(event.request) == address for event in events)),
        ):
            if own >= limit:
                raise HTTPException(429, TOO_MANY.format(own, limit))
        return await super().push(body, request, username)

    def broadcast_estimations(self, concurrency_id: str, after: int | None = None) -> None:
        """Put new events in their places, then send places and waiting times to visitors."""
        waiting = self.event_queue_per_concurrency_id[concurrency_id].queue
        for event in [event for event in waiting if event not in self._tags]:
            name, started, after = concurrency_id, self._started.get(concurrency_id, 0), None
            steps = {
                (name, f"session {event.session_hash}"): 1,
                (name, f"address {address_of(event.request)}"): 1 / SHARE,
            }
            own = {key: max(started, self._latest.get(key, -math.inf) + step) for key, step in steps.items()}
            self._tags[event] = max(own.values())
            self._latest = {key: latest for key, latest in self._latest.items() if key[0] != name or latest >= started}
            self._latest |= own
        waiting.sort(key=self._tags.__getitem__)
        super().broadcast_estimations(concurrency_id, after)

    def compute_analytics_summary(self, records: Any) -> Any:
        """Forget what was noted of events. Gradio computes statistics of 10,000 of them after each, for nobody here."""
        self.event_analytics.clear()

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """Return the event to start next."""
        if found := super().get_events():
            event, name = found[0][0], found[2]
            self._started[name] = max(self._started.get(name, 0), self._tags.get(event, 0))
        return found


def address_of(request: Request) -> str:
    """Return the address of a request: behind a private proxy the last public one; visitors can write others before."""
    host = request.client.host if request.client else ""
    named = request.headers.get("x-forwarded-for", "").split(",") if not _is_public(host) else []
    return next((part.strip() for part in reversed(named) if _is_public(part.strip())), host)


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return False
