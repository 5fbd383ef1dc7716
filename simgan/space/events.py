"""What the tabs of the Space share: their texts, the queue of the model, and errors shown as a sentence."""

import asyncio
import contextlib
import functools
import html
import inspect
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from anyio.to_thread import run_sync
from jinja2 import Environment, FileSystemLoader

from simgan.errors import SimGANError

HERE = Path(__file__).parent
# What visitors read, each text by its name: `TEXTS.introduction(domains)`.
TEXTS: Any = Environment(loader=FileSystemLoader(HERE), trim_blocks=True, lstrip_blocks=True)
TEXTS = TEXTS.get_template("texts.jinja").module
# Events that read files and fetch models at the same time. Visitors see their place while they wait.
MODEL_QUEUE: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 4}
MODEL = threading.Lock()  # to hold while a model computes: two at the same time would share the same cores


def show_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an event whose `SimGANError` becomes a `gr.Error`: of all errors, only that text reaches visitors.

    The page renders the text as HTML, so it is escaped. An event that is cancelled ends when its thread, which cannot
    be interrupted, has ended, so that Gradio does not start the next one before.
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
        # It stays until it is closed.
        raise gr.Error(html.escape(str(error), quote=False), duration=None, print_exception=False) from None
