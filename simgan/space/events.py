"""What every event of the Space shares: one queue round the model, and errors told as a sentence."""

import functools
import html
import inspect
from collections.abc import Callable
from typing import Any

import gradio as gr

from simgan.errors import SimGANError

# One event at a time uses the model: two would only share the same cores. Visitors see their place while they wait.
MODEL_QUEUE: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a `SimGANError` of `function` into a `gr.Error`, whose text alone reaches pages and clients.

    The page renders that text as HTML, so what a visitor typed or named is escaped.
    """

    @functools.wraps(function)
    def event(*arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        except SimGANError as error:
            raise _sentence(error) from None

    @functools.wraps(function)
    def event_in_parts(*arguments: Any, **keywords: Any) -> Any:
        try:
            yield from function(*arguments, **keywords)
        except SimGANError as error:
            raise _sentence(error) from None

    return event_in_parts if inspect.isgeneratorfunction(function) else event


def _sentence(error: SimGANError) -> gr.Error:
    return gr.Error(html.escape(str(error), quote=False), print_exception=False)
