"""What every event of the Space shares: one queue round the model, and errors told as a sentence."""

import functools
import html
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
            sentence = html.escape(str(error), quote=False)
            raise gr.Error(sentence, title="This did not work", print_exception=False) from None

    return event
