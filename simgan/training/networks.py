"""The networks of a run, and the precision in which they are faster."""

import copy
import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import set_seed

from simgan.discriminator import Discriminator
from simgan.domains import of_preset
from simgan.errors import require
from simgan.refiner import Refiner
from simgan.runtime import has_fast_bfloat16
from simgan.training.config import TrainingConfig
from simgan.training.data import TrainingData
from simgan.training.graphs import WARM_UP, Captured

ROUNDS = 4  # of timing, after the warm-up
GAIN = 0.9  # bfloat16 is taken where it needs at most this share of float32's time


def build(
    config: TrainingConfig,
    learned: Mapping[str, Any],
    refiner: Refiner | None = None,
    discriminator: Discriminator | None = None,
) -> tuple[Refiner, Discriminator]:
    """Return the networks that a run begins with: those given, or of its preset, with the weights of `start_from`.

    `learned` are settings of the refiner that follow from the images. `ConfigError` where one has other channels.
    """
    set_seed(config.seed)
    domain, _ = of_preset(config.preset)
    prepared = dict(learned)
    if config.preparation and domain.fit_photometry:
        prepared["photometry"] = True
    if config.equalize:
        prepared["equalize"] = True
    channels = config.channels or 1
    refiner = refiner or Refiner.from_preset(config.preset, channels=channels, **prepared)
    # Of a global loss the one decision is on the whole image already.
    scope = {"scope": "global", "whole": 0} if config.scope == "global" else {}
    discriminator = discriminator or Discriminator.from_preset(config.preset, channels=channels, **scope)
    for own in (refiner, discriminator):
        fits = own.config.channels == channels
        require(fits, f"a {type(own).__name__} of {own.config.channels} channels cannot train on images of {channels}")
    if config.start_from:
        return refiner.start_from(config.start_from), discriminator.start_from(config.start_from)
    return refiner, discriminator


def faster_precision(config: TrainingConfig, data: TrainingData, **networks: Any) -> str:
    """Return "bf16" where the run's networks learn faster in it than in float32, "no" otherwise.

    A CPU with units for bfloat16 is faster in it on all presets; on a GPU small networks may lose more by conversions
    than they gain, so it is timed, unless the run is to be `deterministic`, as times differ between runs. A precision
    that `accelerate launch` was asked for is returned as it is.
    """
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")  # `accelerate launch` sets "no" by default
    device = PartialState().device
    if launched != "no" or not has_fast_bfloat16(device.type):
        return launched
    height, width = (config.window,) * 2 if config.window else data.synthetic[0][np.arange(1)].shape[1:3]
    shape = (config.batch_size, config.channels or 1, height, width)
    is_timed = device.type != "cpu" and not config.deterministic
    if is_timed and not learns_faster_in_bfloat16(build(config, data.learned, **networks), shape, device):
        return "no"
    return "bf16"


def learns_faster_in_bfloat16(networks: tuple[Any, Any], shape: tuple[int, ...], device: torch.device) -> bool:
    """Time the gradients of a refiner and a discriminator on images (B, C, H, W) in both precisions, in turns."""
    layout: Any = {"device": device, "memory_format": torch.channels_last}
    refiner, discriminator = (copy.deepcopy(network).to(**layout) for network in networks)
    images = torch.zeros(shape).to(**layout)

    def gradients(bfloat16: bool) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            refined = refiner(images, prepared=True)
            logits = discriminator(torch.cat([refined.float(), images]), sides=2)
        logits.float().sum().backward()
        for network in (refiner, discriminator):
            network.zero_grad(set_to_none=True)

    def timed(update: Captured) -> float:
        start = time.perf_counter()
        update()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    updates = [Captured(partial(gradients, which), capture=device.type == "cuda") for which in (False, True)]
    with torch.random.fork_rng():
        rounds = [[timed(update) for update in updates] for _ in range(WARM_UP + 1 + ROUNDS)]
    plain, bfloat16 = (min(times[-ROUNDS:]) for times in zip(*rounds, strict=True))
    return bfloat16 < GAIN * plain
