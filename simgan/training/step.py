"""The state of a run and the two updates of Algorithm 1, on Accelerate.

Every process holds the same networks, optimizers and history; mini-batches are drawn for all processes together and
each takes its slice. So two processes with b/2 images each compute what one does with b, the history included, and a
run resumes in any number of processes.
"""

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.distributed.nn  # before there is a process group: its functions' defaults would keep that alive for good
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast_object_list, parse_flag_from_env, set_seed
from numpy.typing import NDArray
from torch import Tensor, nn

from simgan.discriminator import REFINED, Discriminator
from simgan.domains import of_preset
from simgan.domains.weights import SurfaceWeight
from simgan.errors import ConfigError
from simgan.history import History
from simgan.images import codecs
from simgan.images.arrays import to_array, to_tensor
from simgan.losses import (
    discriminator_loss,
    get_transform,
    gradient_penalty,
    realism_loss,
    refiner_loss,
    self_regularization,
)
from simgan.preparation.photometry import LIGHTS
from simgan.refiner import Refiner
from simgan.runtime import has_fast_bfloat16, keep_freed_pages
from simgan.training.augmentation import augment, draw
from simgan.training.batches import Batches, Images, generator
from simgan.training.config import TrainingConfig

PENALIZED = 8  # updates of the discriminator from one with a penalty to the next


@dataclass
class Counters:
    """How far a run is; all that its random draws depend on beside the seed."""

    refiner_warm_up: int = 0
    discriminator_warm_up: int = 0
    step: int = 0
    synthetic: int = 0  # mini-batches drawn
    real: int = 0
    refiner_updates: int = 0


@dataclass
class TrainingData:
    """What a run learns from, a list of sources each: images to train on, and others to measure on."""

    synthetic: Sequence[Images]
    real: Sequence[Images]
    held_out_synthetic: Sequence[NDArray[Any]] = ()
    held_out_real: Sequence[NDArray[Any]] = ()
    held_out_labels: Sequence[Mapping[str, Any]] = ()  # of the held-out synthetic images, by column
    learned: Mapping[str, Any] = field(default_factory=dict)  # settings of the refiner, already applied to the images


class Trainer:
    """Networks, optimizers, history and mini-batches of a run, and the updates of Algorithm 1."""

    def __init__(self, config: TrainingConfig, data: TrainingData, accelerator: Accelerator) -> None:
        self.config, self.data, self.accelerator = config, data, accelerator
        processes, micro = accelerator.num_processes, config.gradient_accumulation_steps
        if config.batch_size % (2 * processes * micro):
            raise ConfigError(
                f"batch_size {config.batch_size} must be a multiple of {2 * processes * micro}: half of it comes from "
                f"the history, for {processes} processes and {micro} micro-batches"
            )
        keep_freed_pages()
        set_seed(config.seed)
        layout: Any = {"memory_format": torch.channels_last}
        self.domain, _ = of_preset(config.preset)
        preparation = self.domain.preparation if config.preparation else None
        prepared = {**preparation.settings, **data.learned} if preparation else {}
        refiner = Refiner.from_preset(config.preset, channels=config.channels, **prepared)
        refiner.to(**layout)
        equalize = refiner.config.equalize
        drawn: Any = {"seed": config.seed, "equalize": equalize, "flip": config.flip, "window": config.window}
        self.synthetic = Batches("synthetic", data.synthetic, config.batch_size, **drawn)
        self.real = Batches("real", data.real, config.batch_size, **drawn)
        if preparation and preparation.fit:
            preparation.fit(refiner.photometry, *_spread(self.synthetic, self.real))
        discriminator = Discriminator.from_preset(config.preset, channels=config.channels, scope=config.scope)
        self.average = Refiner(refiner.config).to(accelerator.device, **layout).eval().requires_grad_(False)
        self.average.load_state_dict(refiner.state_dict())
        optimizers = [
            torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=config.betas)
            for network in (refiner, discriminator)
        ]
        self.refiner, self.discriminator, self.refiner_optimizer, self.discriminator_optimizer = accelerator.prepare(
            refiner, discriminator.to(**layout), *optimizers
        )
        self.transform = get_transform(config.transform)
        self.regularization_weight = config.regularization_weight
        self.stored = codecs.get(self.domain.codec).dtype
        self.history: History | None = None
        self.counters = Counters()
        self.sums: dict[str, Tensor] = {}
        self.numbers: dict[str, int] = {}

    # Algorithm 1: the two updates

    def update_refiner(self, adversarial: bool = True) -> None:
        """One update of θ on L_R (eq. 1), φ fixed, on a fresh synthetic mini-batch; warm-up: ℓ_reg alone."""
        refiner, discriminator = self._train(self.refiner, self.discriminator)
        synthetic = self._images(self.synthetic, self.counters.synthetic)
        weight = self._weight(synthetic)
        draws = self._draws("refiner", self.counters.refiner_updates, self.config.batch_size)
        for part, last in self._micro_batches(len(synthetic)):
            with self._synchronize(refiner, last), self.accelerator.autocast():
                refined = refiner(synthetic[part])
                kept = self.average.photometry(synthetic[part])
                loss = regularization = self_regularization(
                    refined,
                    kept,
                    self.transform,
                    weight if weight is None else weight[part],
                    self.config.reduction,
                )
                if adversarial:
                    realism = realism_loss(
                        discriminator(augment(refined, draws[part], self.config.augment)), self.config.reduction
                    )
                    loss = refiner_loss(realism, regularization, self.regularization_weight)
                    self._log(realism=realism)
                self.accelerator.backward(loss / self.config.gradient_accumulation_steps)
            self._log(regularization=regularization, change=(refined - kept).abs().mean())
        self._step(self.refiner, self.refiner_optimizer)
        self._average()
        self.counters.synthetic += 1
        self.counters.refiner_updates += 1

    def update_discriminator(self) -> None:
        """One update of φ on L_D (eq. 2), θ fixed; half of the refined mini-batch from the history (section 2.3)."""
        discriminator, refiner = self._train(self.discriminator, self.refiner)
        number, size = self.counters.real, self.config.batch_size
        rng = generator(self.config.seed, "history", number)
        past = self.history.sample(size // 2, rng) if self.history else np.empty(0)
        current = size - len(past)
        with torch.no_grad(), self.accelerator.autocast():
            synthetic = self._images(self.synthetic, self.counters.synthetic, current)
            shown = refined = refiner(synthetic).to(synthetic)
        if len(past):
            shown = torch.cat([refined, self._place(to_tensor_of(past[self._mine(len(past))]))])
        real = self._images(self.real, number)
        # Both halves of the refined mini-batch are cut for the processes, so their draws must be cut alike.
        halves = (current, len(past)) if len(past) else (current,)
        draws = [self._draws("refined", number, *halves), self._draws("real", number, size)]
        for part, last in self._micro_batches(len(real)):
            with self._synchronize(discriminator, last), self.accelerator.autocast():
                seen = [
                    augment(x[part], d[part], self.config.augment) for x, d in zip((shown, real), draws, strict=True)
                ]
                refined_logits, real_logits = discriminator(torch.cat(seen)).chunk(2)
                loss = discriminator_loss(refined_logits, real_logits, self.config.reduction)
                penalty = self._gradient_penalty(seen[1], number)
                self.accelerator.backward((loss + penalty) / self.config.gradient_accumulation_steps)
            self._log(
                discriminator=loss,
                accuracy_refined=(refined_logits.argmax(1) == REFINED).float().mean(),
                accuracy_real=(real_logits.argmax(1) != REFINED).float().mean(),
            )
        self._step(self.discriminator, self.discriminator_optimizer)
        if self.config.history_size:
            self._remember(self.accelerator.gather(refined.contiguous()), rng)
        self.counters.synthetic += 1
        self.counters.real += 1

    # What the updates are made of

    def _gradient_penalty(self, real: Tensor, number: int) -> Tensor | float:
        """R1 in update `number`: in every `PENALIZED`th, as many times as strong (lazily, Karras et al. 2020)."""
        if not self.config.gradient_penalty or number % PENALIZED:
            return 0.0
        real = real.detach().requires_grad_()
        logits = self.accelerator.unwrap_model(self.discriminator)(real)
        return PENALIZED * self.config.gradient_penalty / 2 * gradient_penalty(logits, real)

    def _train(self, learning: nn.Module, fixed: nn.Module) -> tuple[nn.Module, nn.Module]:
        """Let only `learning` take gradients; `fixed` comes unwrapped, so that DDP does not wait for it."""
        learning.requires_grad_(True)
        fixed.requires_grad_(False)
        return learning, self.accelerator.unwrap_model(fixed)

    def _mine(self, count: int) -> slice:
        """Give this process' slice of `count` images of a mini-batch."""
        share = count // self.accelerator.num_processes
        return slice(self.accelerator.process_index * share, (self.accelerator.process_index + 1) * share)

    def _place(self, images: Tensor) -> Tensor:
        return images.to(next(self.average.parameters())).contiguous(memory_format=torch.channels_last)

    def _images(self, batches: Batches, number: int, count: int | None = None) -> Tensor:
        part = self._mine(self.config.batch_size if count is None else count)
        return self._place(to_tensor(batches.draw(number, part)))

    def _weight(self, synthetic: Tensor) -> Tensor | None:
        """Return weights (B, 1, H, W) of the self-regularization: higher where the label must not move."""
        weight = self.domain.weight
        if weight is None or not self.config.label_weight:
            return None
        if isinstance(weight, SurfaceWeight):
            return 1 + self.config.label_weight * weight.masks(synthetic)
        masks = self.synthetic.masks(weight, self.counters.synthetic, self._mine(self.config.batch_size))
        return self._place(1 + self.config.label_weight * torch.from_numpy(masks)[:, None])

    def _draws(self, stream: str, number: int, *counts: int) -> Tensor:
        """Draw the augmentation of `counts` images, and give this process' slice of each count."""
        rng = generator(self.config.seed, f"augment/{stream}", number)
        return torch.cat([draw(count, rng)[self._mine(count)] for count in counts])

    def _micro_batches(self, count: int) -> Iterator[tuple[slice, bool]]:
        """Cut `count` images into micro-batches; the last one synchronizes the processes."""
        parts = self.config.gradient_accumulation_steps
        for i in range(parts):
            yield slice(i * count // parts, (i + 1) * count // parts), i == parts - 1

    def _synchronize(self, network: nn.Module, last: bool) -> AbstractContextManager[Any]:
        return nullcontext() if last else self.accelerator.no_sync(network)

    def _step(self, network: nn.Module, optimizer: Any) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self._rate()
        if self.config.max_grad_norm:
            self.accelerator.clip_grad_norm_(network.parameters(), self.config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _rate(self) -> float:
        """Constant, then linear to 0 over the last share `decay` of the steps."""
        left = 1 - self.counters.step / self.config.steps
        return min(1.0, left / self.config.decay) if self.config.decay else 1.0

    @torch.no_grad()
    def _average(self) -> None:
        n = self.counters.refiner_updates
        decay = min(self.config.ema_decay, (1 + n) / (10 + n)) if self.config.ema_decay else 0.0
        current = self.accelerator.unwrap_model(self.refiner)
        for average, value in zip(self.average.parameters(), current.parameters(), strict=True):
            average.lerp_(value, 1 - decay)

    def _remember(self, refined: Tensor, rng: np.random.Generator) -> None:
        images = as_stored(refined, self.stored)
        self._history_like(images).replace(images, rng)

    def restore_history(self, images: NDArray[Any]) -> None:
        """Take up the images of a saved history, (n, C, H, W)."""
        self._history_like(images).restore(images)

    def _history_like(self, images: NDArray[Any]) -> History:
        if self.history is None:
            channels, height, width = images.shape[1:]
            self.history = History(self.config.history_size, (channels, height, width), str(images.dtype))
        return self.history

    def _log(self, **values: Tensor) -> None:
        """Add up what is averaged until the next `take_log`, on the device."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, torch.zeros((), device=value.device)) + value.detach().float()
            self.numbers[name] = self.numbers.get(name, 0) + 1

    def take_log(self) -> dict[str, float]:
        """Give the means of what was logged since the last call, over all processes."""
        names = sorted(self.sums)
        if not names:
            return {}
        means = torch.stack([self.sums[name] / self.numbers[name] for name in names])
        self.sums, self.numbers = {}, {}
        values: list[float] = self.accelerator.reduce(means, reduction="mean").tolist()
        return dict(zip(names, values, strict=True))

    def end(self) -> None:
        """Leave the other processes, with the networks as they are.

        The group's threads end with whatever holds the group, wrapped networks too; a thread that lives longer than
        Python may abort the process as it exits.
        """
        self.refiner, self.discriminator = map(self.accelerator.unwrap_model, (self.refiner, self.discriminator))
        self.accelerator.free_memory()
        gc.collect()
        self.accelerator.end_training()


def _spread(synthetic: Batches, real: Batches) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return images of all sources of both sides to learn photometry from: `LIGHTS` real ones or a few more."""
    drawn = []
    for batches, most in ((synthetic, 2 * LIGHTS), (real, LIGHTS)):
        count = min(most, len(batches.sources) * max(map(len, batches.sources)))  # no image again and again
        drawn.append(np.concatenate([batches.draw(number) for number in range(-(-count // batches.size))]))
    return drawn[0], drawn[1]


def as_stored(images: Tensor, dtype: Any = "uint8") -> NDArray[np.generic]:
    """Map (B, C, H, W) in [−1, 1] to stored values in the same shape."""
    flat: NDArray[np.generic] = to_array(images.flatten(0, 1)[:, None], dtype)
    return flat.reshape(images.shape)


def to_tensor_of(stored: NDArray[Any]) -> Tensor:
    """Map stored values (B, C, H, W) back to [−1, 1]."""
    return to_tensor(stored.reshape(-1, *stored.shape[2:])).reshape(stored.shape)


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """Make the `Accelerator`: precision as asked for, or as the hardware is fastest at, the same in all processes."""
    precision = [config.mixed_precision]
    if precision == ["auto"]:
        launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")  # accelerate launch says "no" if it is not told
        fast = has_fast_bfloat16("cuda" if torch.cuda.is_available() else "cpu")
        precision = [launched if launched != "no" else "bf16" if fast else "no"]
        # As Accelerator itself does: otherwise two processes on a CPU would be two runs in one folder.
        PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
        broadcast_object_list(precision)  # processes on one machine time each other, and could differ
    try:
        accelerator = Accelerator(
            mixed_precision=precision[0], log_with=list(config.trackers) or None, project_dir=str(config.output)
        )
    except ValueError as error:  # of a precision that the device has not, or a tracker that Accelerate does not know
        raise ConfigError(f"mixed_precision {precision[0]}, trackers {', '.join(config.trackers)}: {error}") from error
    if precision[0] == "fp16" and accelerator.device.type == "cpu":  # Accelerate would train in float32 instead
        raise ConfigError("mixed_precision fp16 is for GPUs: choose auto, bf16 or no on a CPU")
    kept = {str(getattr(tracker, "value", tracker)) for tracker in accelerator.log_with}
    if missing := sorted(set(config.trackers) - kept - {"all"}):  # Accelerate leaves them out without a word
        raise ConfigError(f"tracker {', '.join(missing)} is not installed: install its package, or choose another")
    return accelerator
