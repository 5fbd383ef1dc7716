"""Errors that stay where the result would be, so that they are still there when one looks."""

import functools
import html
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from simgan.errors import SimGANError
from simgan.space.events import TEXTS, show_errors

GONE = "An upload is no longer here, as uploads are deleted after an hour: send it again"
UNKNOWN = "This failed here, and the log of the Space says why: try again, or with other files"


def in_place(function: Callable[..., Any], told: Callable[[str], Any]) -> Callable[..., Any]:
    """Return an event that returns what `told` makes of a sentence where it fails; for events that code cannot call."""

    @functools.wraps(function)
    def event(*arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        except Exception as error:
            return told(_sentence(error, function))

    return show_errors(event)


def stay_in_place(*others: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator of events whose first output is HTML, which becomes the sentence of an error.

    `others` are the values of the other outputs then. Code gets the same sentence as an error. Of errors that are not
    a visitor's, only the log says more.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def event(*arguments: Any, **keywords: Any) -> Iterator[Any]:
            try:
                if inspect.isgeneratorfunction(function):
                    yield from function(*arguments, **keywords)
                else:
                    yield function(*arguments, **keywords)
                return
            except Exception as error:
                told = _sentence(error, function)
            yield (TEXTS.failed(told), *others)
            raise gr.Error(html.escape(told, quote=False), visible=False, print_exception=False)

        return event

    return decorate


def _sentence(error: Exception, function: Callable[..., Any]) -> str:
    """Return what visitors read of an error; of one that is not theirs the log has more."""
    if isinstance(error, gr.Error):  # such as of a GPU that is not lent
        return str(error.message)
    if isinstance(error, SimGANError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return GONE
    logging.getLogger(__name__).error("%s", function.__name__, exc_info=error)
    return UNKNOWN
