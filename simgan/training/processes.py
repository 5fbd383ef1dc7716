"""What the processes of a run do together. With one process, nothing is exchanged."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import torch
import torch.distributed.nn  # before there is a process group, or default arguments in it keep the group alive
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, parse_flag_from_env
from torch import nn

from simgan.errors import ConfigError, SimGANError
from simgan.runtime import use_deterministic_algorithms
from simgan.training.config import TrainingConfig

T = TypeVar("T")


def from_main(make: Callable[[], T]) -> T:
    """Call `make` in the main process alone; return its result, pickled, or raise its `SimGANError`, in every one."""
    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))  # as `Accelerator` makes it
    if state.num_processes == 1:
        return make()
    outcome: list[Any] = [None]
    if state.is_main_process:
        try:
            outcome = [make()]
        except SimGANError as error:
            outcome = [error]
    (result,) = broadcast_object_list(outcome)
    if isinstance(result, SimGANError):
        raise result
    return cast(T, result)


def average_gradients(accelerator: Accelerator, parameters: Iterable[nn.Parameter]) -> None:
    """Replace all gradients by their means over the processes, as one vector: sums always have the same order."""
    if accelerator.num_processes == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduction="mean")
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """Return the run's `Accelerator`; `ConfigError` where the device lacks the precision, or a tracker is missing."""
    if config.deterministic:
        use_deterministic_algorithms()
    precision = config.mixed_precision
    AcceleratorState._reset_state()  # of a run that failed as it began: this one may have another precision
    try:
        accelerator = Accelerator(
            mixed_precision=precision, log_with=list(config.trackers) or None, project_dir=str(config.output)
        )
    except ValueError as error:
        raise ConfigError(f"mixed_precision {precision}, trackers {', '.join(config.trackers)}: {error}") from error
    if precision == "fp16" and accelerator.device.type == "cpu":  # Accelerate would train in float32 instead
        raise ConfigError("mixed_precision fp16 is for GPUs: choose auto, bf16 or no on a CPU")
    kept = {str(getattr(tracker, "value", tracker)) for tracker in accelerator.log_with}
    if missing := sorted(set(config.trackers) - kept - {"all"}):  # Accelerate drops them silently
        raise ConfigError(f"tracker {', '.join(missing)} is not installed: install its package, or choose another")
    return accelerator
