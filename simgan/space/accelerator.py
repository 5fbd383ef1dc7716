"""ZeroGPU: the Hub lends a Space a GPU for the time of a call, in a process of its own. Elsewhere the CPU computes.

The package `spaces` lends it; the Hub installs that package in each Space of Gradio. A GPU that it does not have to
lend, as it is there all the time, is used too.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch

from simgan.errors import SimGANError
from simgan.space.models import Model

try:
    import spaces  # it has to come before the first use of CUDA
except ModuleNotFoundError:
    spaces = None

SECONDS = 20  # of a GPU for one call, with the start of its process; who asks for less waits less
_held: dict[str, Model] = {}  # models on the GPU, by name: the process of a call inherits them


def hold(models: Iterable[Model]) -> None:
    """Copy models to the GPU, if there is one: once, in the main thread, after the page is built and before it opens.

    Later the process of the page may not touch the GPU, so models that are fetched then stay on the CPU.
    """
    if spaces is not None and torch.cuda.is_available():  # `spaces` says so for a GPU that it lends
        for model in models:
            own = copy.deepcopy(model)
            for network in filter(None, (own.refiner, own.discriminator)):
                network.to("cuda")
            _held[model.name] = own


def compute(function: Callable[..., Any], model: Model, *arguments: Any) -> Any:
    """Return `function(model, *arguments)`, on the GPU where the model is held there.

    The function is one of a module. Its arguments and its result are pickled, so they hold no tensors.
    """
    if model.name not in _held:
        return function(model, *arguments)
    result = _lent(function, model.name, arguments)
    if isinstance(result, SimGANError):
        raise result
    return result


def _on_gpu(function: Callable[..., Any], name: str, arguments: tuple[Any, ...]) -> Any:
    try:
        return function(_held[name], *arguments)
    except SimGANError as error:  # of what is raised there, only the name of its class would come back
        return error


_lent = spaces.GPU(duration=SECONDS)(_on_gpu) if spaces else _on_gpu
