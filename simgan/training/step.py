"""The state of a run and the two updates of Algorithm 1, on Accelerate.

Every process holds the same networks, optimizers and history, and computes its share of a mini-batch that is drawn for
all of them, so a run can be resumed on any number of processes. On the same number the results are the same bit for bit
(on a GPU: with `TrainingConfig.deterministic`); on another one weights differ by rounding (within 1e-6 in float64).
"""

import copy
import gc
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from numpy.typing import NDArray
from torch import Tensor, nn

from simgan.discriminator import GROUP, REFINED, Discriminator
from simgan.domains import of_preset
from simgan.domains.base import MarkedWeight, SurfaceWeight
from simgan.errors import require
from simgan.history import History
from simgan.images import codecs
from simgan.images.arrays import to_array, to_tensor
from simgan.losses import REALISM_LOSSES, discriminator_loss, gradient_penalty, self_regularization
from simgan.preparation.photometry import LIGHTS
from simgan.refiner import Refiner
from simgan.runtime import keep_freed_pages
from simgan.training.augmentation import augment
from simgan.training.batches import Batches, Images, generator
from simgan.training.config import TrainingConfig
from simgan.training.processes import average_gradients, from_main

PENALTY_INTERVAL = 8  # R1 is computed in every eighth update of the discriminator


@dataclass
class Counters:
    """How far a run is. This and the seed determine all random draws."""

    refiner_warm_up: int = 0
    discriminator_warm_up: int = 0
    step: int = 0
    synthetic: int = 0  # images drawn; both updates take the next ones of one stream
    refiner_updates: int = 0
    discriminator_updates: int = 0


@dataclass
class TrainingData:
    """What a run learns from, each a list of sources: images to train on, and others to measure on."""

    synthetic: Sequence[Images]
    real: Sequence[Images]
    held_out_synthetic: Sequence[NDArray[Any]] = ()
    held_out_real: Sequence[NDArray[Any]] = ()
    held_out_labels: Sequence[Mapping[str, Any]] = ()  # of the held-out synthetic images, by column
    learned: Mapping[str, Any] = field(default_factory=dict)  # settings of the refiner, already applied to the images
    resolved: Mapping[str, Any] = field(default_factory=dict)  # settings of the run that follow from the images


class Trainer:
    """Networks, optimizers, history and mini-batches of a run, and the updates of Algorithm 1."""

    def __init__(
        self,
        config: TrainingConfig,
        data: TrainingData,
        accelerator: Accelerator,
        refiner: Refiner | None = None,
        discriminator: Discriminator | None = None,
    ) -> None:
        self.config, self.data, self.accelerator = config, data, accelerator
        keep_freed_pages()
        set_seed(config.seed)
        self.domain, _ = of_preset(config.preset)
        fit = self.domain.fit_photometry if config.preparation else None
        prepared = {**data.learned, **({"photometry": True} if fit else {})}
        prepared |= {"equalize": True} if config.equalize else {}
        channels = config.channels or 1
        refiner = refiner or Refiner.from_preset(config.preset, channels=channels, **prepared)
        discriminator = discriminator or Discriminator.from_preset(config.preset, channels=channels, scope=config.scope)
        for own in (refiner, discriminator):
            fits = own.config.channels == channels
            require(
                fits, f"a {type(own).__name__} of {own.config.channels} channels cannot train on images of {channels}"
            )
        if config.start_from:
            refiner, discriminator = refiner.start_from(config.start_from), discriminator.start_from(config.start_from)
        self._check_batch_size(in_groups=bool(discriminator.config.whole))
        drawn = (config.batch_size, config.seed, refiner.config.equalize, config.flip, config.window or 0)
        self.synthetic = Batches("synthetic", data.synthetic, *drawn)
        self.real = Batches("real", data.real, *drawn)

        def initial() -> list[dict[str, Tensor]]:
            if fit:
                photometry: Any = refiner.photometry
                fit(photometry, _spread(self.synthetic, 2 * LIGHTS), _spread(self.real, LIGHTS))
            return [refiner.state_dict(), discriminator.state_dict()]

        for network, weights in zip((refiner, discriminator), from_main(initial), strict=True):
            network.load_state_dict(weights)
        layout: Any = {"memory_format": torch.channels_last}
        self.average = copy.deepcopy(refiner).to(accelerator.device, **layout).eval().requires_grad_(False)

        def prepare(network: nn.Module) -> tuple[Any, Any]:
            # Not wrapped in DistributedDataParallel: `average_gradients` adds up in one fixed order.
            network = accelerator.prepare_model(network.to(**layout), evaluation_mode=True)
            adam = torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=config.betas)
            return network, accelerator.prepare_optimizer(adam)

        self.refiner, self.refiner_optimizer = prepare(refiner)
        self.discriminator, self.discriminator_optimizer = prepare(discriminator)
        self.networks = {"refiner": self.refiner, "discriminator": self.discriminator, "average": self.average}
        self.optimizers = {"refiner": self.refiner_optimizer, "discriminator": self.discriminator_optimizer}
        self.regularization_weight = config.regularization_weight
        self.history = History(config.history_size) if config.history_size else None
        self.counters = Counters()
        self.logged: defaultdict[str, list[Tensor]] = defaultdict(list)

    def _check_batch_size(self, in_groups: bool) -> None:
        processes, micro = self.accelerator.num_processes, self.config.gradient_accumulation_steps
        unit, compared = 2 * processes * micro, ""
        if in_groups:
            unit = GROUP * processes * (math.lcm(2, micro) if self.config.history_size else micro)
            compared = f"its discriminator compares images in groups of {GROUP}, "
        require(
            self.config.batch_size % unit == 0,
            f"batch_size {self.config.batch_size} must be a multiple of {unit}: {compared}half of it may come from the "
            f"history, and {processes} processes and {micro} micro-batches share it",
        )

    # Algorithm 1: the two updates

    def update_refiner(self, adversarial: bool = True) -> None:
        """One update of θ on L_R (eq. 1), φ fixed, on the next synthetic mini-batch; warm-up: ℓ_reg alone."""
        self.refiner.requires_grad_(True)
        self.discriminator.requires_grad_(False)
        size, reduction = self.config.batch_size, self.config.reduction
        numbers = self.counters.synthetic + self._share(size)
        synthetic = self._to_device(to_tensor(self.synthetic.draw(numbers)))
        weight = self._weight(synthetic, numbers)
        draws = self._draws("refiner", self.counters.refiner_updates, size)
        for part in self._micro_batches(len(synthetic)):
            refined = self.refiner(synthetic[part], equalized=True)
            prepared = self.average.photometry(synthetic[part])
            of_part = None if weight is None else weight[part]
            loss = regularization = self_regularization(refined, prepared, self.config.transform, of_part, reduction)
            if adversarial:
                logits = self.discriminator(augment(refined, draws[part], self.config.augment))
                realism = REALISM_LOSSES[self.config.realism_loss](logits, reduction)
                loss = realism + self.regularization_weight * regularization  # eq. 1
                self._log(realism=self._of_batch(realism))
            self._backward(loss)
            self._log(regularization=self._of_batch(regularization), change=(refined - prepared).abs().mean())
        self._step("refiner")
        n = self.counters.refiner_updates
        decay = min(self.config.ema_decay, (1 + n) / (10 + n)) if self.config.ema_decay else 0.0
        with torch.no_grad():
            for average, value in zip(self.average.parameters(), self.refiner.parameters(), strict=True):
                average.lerp_(value, 1 - decay)
        self.counters.synthetic += size
        self.counters.refiner_updates += 1

    def update_discriminator(self) -> None:
        """One update of φ on L_D (eq. 2), θ fixed; half of the refined images from the history (section 2.3)."""
        self.discriminator.requires_grad_(True)
        self.refiner.requires_grad_(False)
        number, size = self.counters.discriminator_updates, self.config.batch_size
        rng = generator(self.config.seed, "history", number)
        past = self.history.sample(size // 2, rng) if self.history is not None else np.empty(0)
        current = size - len(past)
        with torch.no_grad():
            numbers = self.counters.synthetic + self._share(current)
            synthetic = self._to_device(to_tensor(self.synthetic.draw(numbers)))
            shown = refined = self.refiner(synthetic, equalized=True).to(synthetic)
        if len(past):
            stored = past[self._share(len(past))]
            earlier = to_tensor(stored.reshape(-1, *stored.shape[2:])).reshape(stored.shape)
            shown = torch.cat([refined, self._to_device(earlier)])
        real = self._to_device(to_tensor(self.real.draw(number * size + self._share(size))))
        # A process has a share of the new and of the past images, so it takes the same shares of their draws.
        draws = self._draws("refined", number, current, len(past)), self._draws("real", number, size)
        for part in self._micro_batches(len(real)):
            seen = [augment(x[part], d[part], self.config.augment) for x, d in zip((shown, real), draws, strict=True)]
            refined_logits, real_logits = self.discriminator(torch.cat(seen), sides=2).chunk(2)
            loss = discriminator_loss(refined_logits, real_logits, self.config.reduction)
            self._backward(loss + self._gradient_penalty(seen[1], number))
            self._log(
                discriminator=self._of_batch(loss),
                accuracy_refined=(refined_logits.argmax(1) == REFINED).float().mean(),
                accuracy_real=(real_logits.argmax(1) != REFINED).float().mean(),
            )
        self._step("discriminator")
        if self.history is not None:
            new = self.accelerator.gather(refined.contiguous())
            planes = to_array(new.flatten(0, 1)[:, None], codecs.get(self.domain.codec).dtype)
            self.history.replace(planes.reshape(new.shape), rng)
        self.counters.synthetic += current
        self.counters.discriminator_updates += 1

    # What the updates are made of

    def _gradient_penalty(self, real: Tensor, number: int) -> Tensor | float:
        """R1 in update `number`: only every `PENALTY_INTERVAL`th time, but as much stronger (Karras et al. 2020)."""
        if not self.config.gradient_penalty or number % PENALTY_INTERVAL:
            return 0.0
        real = real.detach().requires_grad_()
        scale = self.accelerator.scaler.get_scale() if self.accelerator.scaler else 1.0
        penalty = gradient_penalty(self.discriminator(real), real, self.config.reduction, scale)
        return PENALTY_INTERVAL * self.config.gradient_penalty / 2 * penalty

    def _share(self, count: int) -> NDArray[np.int64]:
        """Return which of `count` images of a mini-batch this process computes: a block of them, in order."""
        size = count // self.accelerator.num_processes
        return self.accelerator.process_index * size + np.arange(size)

    def _to_device(self, images: Tensor) -> Tensor:
        return images.to(next(self.average.parameters())).contiguous(memory_format=torch.channels_last)

    def _weight(self, synthetic: Tensor, numbers: NDArray[np.int64]) -> Tensor | None:
        """Return weights (B, 1, H, W) of the self-regularization: higher where the label must not move."""
        weight = MarkedWeight(self.config.weight) if self.config.weight else self.domain.weight
        if weight is None or not self.config.label_weight:
            return None
        if isinstance(weight, SurfaceWeight):
            return 1 + self.config.label_weight * weight.masks(synthetic)
        masks = self.synthetic.masks(weight, numbers)
        return self._to_device(1 + self.config.label_weight * torch.from_numpy(masks)[:, None])

    def _draws(self, stream: str, number: int, *counts: int) -> Tensor:
        """Return the draws of the augmentation for this process' share of each of `counts` images."""
        rng = generator(self.config.seed, f"augment/{stream}", number)
        drawn = [rng.uniform(-1, 1, (count, 4)).astype(np.float32)[self._share(count)] for count in counts]
        return torch.from_numpy(np.concatenate(drawn))

    def _micro_batches(self, count: int) -> Iterator[slice]:
        parts = self.config.gradient_accumulation_steps
        return (slice(i * count // parts, (i + 1) * count // parts) for i in range(parts))

    def _of_batch(self, loss: Tensor) -> Tensor:
        """Scale a micro-batch's loss so that the mean over micro-batches and processes is that of the mini-batch."""
        parts = self.config.gradient_accumulation_steps * self.accelerator.num_processes
        return loss if self.config.reduction == "mean" else loss * parts

    def _backward(self, loss: Tensor) -> None:
        self.accelerator.backward(self._of_batch(loss) / self.config.gradient_accumulation_steps)

    def _step(self, name: str) -> None:
        network, optimizer = self.networks[name], self.optimizers[name]
        average_gradients(self.accelerator, network.parameters())
        left = 1 - self.counters.step / self.config.steps
        rate = min(1.0, left / self.config.decay) if self.config.decay else 1.0
        for group in optimizer.param_groups:
            group["lr"] = self.config.learning_rate * rate
        if self.config.max_grad_norm:
            self.accelerator.clip_grad_norm_(network.parameters(), self.config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _log(self, **values: Tensor) -> None:
        """Keep values, on the device, until the next `take_log`."""
        for name, value in values.items():
            self.logged[name].append(value.detach().float())

    def take_log(self) -> dict[str, float]:
        """Return the means of what was logged since the last call, over all processes."""
        if not self.logged:
            return {}
        names = sorted(self.logged)
        means = torch.stack([sum(self.logged[name], torch.zeros(())) / len(self.logged[name]) for name in names])
        self.logged.clear()
        values: list[float] = self.accelerator.reduce(means, reduction="mean").tolist()
        return dict(zip(names, values, strict=True))

    def end(self) -> None:
        """Leave the other processes; the networks stay."""
        self.accelerator.free_memory()
        gc.collect()  # the process group's threads end with its last holder; one that outlives Python may abort it
        self.accelerator.end_training()


def _spread(batches: Batches, most: int) -> NDArray[Any]:
    """Return images of all sources to learn photometry from: `most` or a few more."""
    count = min(most, len(batches.sources) * max(map(len, batches.sources)))  # no image again and again
    return batches.draw(np.arange(-(-count // batches.size) * batches.size))
