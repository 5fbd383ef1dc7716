"""What the events of the Space share: the queue of the model, and errors shown as a sentence."""

import asyncio
import contextlib
import functools
import html
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from anyio.to_thread import run_sync

from simgan.errors import SimGANError

# Events that read files and fetch models at the same time. Visitors see their place while they wait.
MODEL_QUEUE: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 4}
_MODEL = threading.Lock()


def model_slot() -> threading.Lock:
    """Return the lock to hold while a model computes: two at the same time would share the same cores."""
    return _MODEL


def show_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an event whose `SimGANError` becomes a `gr.Error`: of all errors, only that text reaches visitors.

    The page renders the text as HTML, so it is escaped. The event runs in a thread, which cannot be interrupted: an
    event that is cancelled ends when its thread has ended, so that Gradio does not start the next one before.
    """

    @functools.wraps(function)
    async def event(*arguments: Any, **keywords: Any) -> Any:
        work = asyncio.ensure_future(run_sync(functools.partial(function, *arguments, **keywords)))
        with _shown():
            try:
                return await asyncio.shield(work)
            finally:
                while not work.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait([work])

    @functools.wraps(function)
    def event_in_parts(*arguments: Any, **keywords: Any) -> Any:
        with _shown():
            yield from function(*arguments, **keywords)

    return event_in_parts if inspect.isgeneratorfunction(function) else event


@contextlib.contextmanager
def _shown() -> Iterator[None]:
    try:
        yield
    except SimGANError as error:
        raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from None
