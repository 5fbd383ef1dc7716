"""Errors that stay where the result would be, so that they are still there when one looks."""

import functools
import html
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from simgan.errors import SimGANError
from simgan.space.events import TEXTS

GONE = "An upload is no longer here, as uploads are deleted after an hour: send it again"
UNKNOWN = "This failed here, and the log of the Space says why: try again, or with other files"


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
            except gr.Error as error:  # such as of a GPU that is not lent
                yield (TEXTS.failed(error.message), *others)
                raise
            except SimGANError as error:
                told = str(error)
            except FileNotFoundError:
                told = GONE
            except Exception:
                logging.getLogger(__name__).exception("%s", function.__name__)
                told = UNKNOWN
            yield (TEXTS.failed(told), *others)
            raise gr.Error(html.escape(told, quote=False), visible=False, print_exception=False)

        return event

    return decorate
