"""The state of a run and the two updates of Algorithm 1, on Accelerate.

An update is a function of tensors that lie on the device all the time: banks of images, random draws, rates, λ. So a
GPU replays it as one captured graph (`simgan.training.graphs`); a CPU calls it.

Every process holds the same networks, optimizers and history, and computes its share of a mini-batch that is drawn for
all of them, so a run can be resumed on any number of processes. On the same number the results are the same bit for bit
(on a GPU: with `TrainingConfig.deterministic`); on another one weights differ by rounding (within 1e-6 in float64).
"""

import copy
import gc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from simgan.discriminator import GROUP, REFINED, Discriminator
from simgan.domains import of_preset
from simgan.domains.base import MarkedWeight, SurfaceWeight
from simgan.errors import require
from simgan.images import codecs
from simgan.images.arrays import to_array
from simgan.losses import REALISM_LOSSES, discriminator_loss, gradient_penalty, self_regularization
from simgan.preparation.photometry import LIGHTS
from simgan.refiner import Refiner
from simgan.runtime import keep_freed_pages, memory_of
from simgan.training.augmentation import augment
from simgan.training.bank import Bank, to_bits, to_floats
from simgan.training.config import TrainingConfig
from simgan.training.data import Images, TrainingData
from simgan.training.draws import Draws, Plan
from simgan.training.graphs import Captured
from simgan.training.history import History
from simgan.training.networks import build
from simgan.training.processes import average_gradients, from_main

PENALTY_INTERVAL = 8  # R1 is computed in every eighth update of the discriminator
DRAWN, STREAMED = 256, 64  # updates whose draws are sent to the device together; at most, if with their images
STREAMED_BYTES = 2**28  # of images that are sent together
SHARE = 0.25  # of the device's memory that each bank may take; a larger one is streamed
LOGGED = ("realism", "regularization", "change", "discriminator", "accuracy_refined", "accuracy_real", "stopped")


@dataclass
class Counters:
    """How far a run is. This and the seed determine all random draws."""

    refiner_warm_up: int = 0
    discriminator_warm_up: int = 0
    step: int = 0
    refiner_updates: int = 0
    discriminator_updates: int = 0


class Trainer:
    """Networks, optimizers, history and banks of images of a run, and the updates of Algorithm 1."""

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
        self.domain, _ = of_preset(config.preset)
        fit = self.domain.fit_photometry if config.preparation else None
        refiner, discriminator = build(config, data.learned, refiner, discriminator)
        self._check_batch_size(in_groups=bool(discriminator.config.whole))
        self.synthetic, self.real = self._banks(refiner.config.equalize)

        def initial() -> list[dict[str, Tensor]]:
            if fit:
                fit(refiner.photometry, _spread(self.synthetic, 2 * LIGHTS), _spread(self.real, LIGHTS))  # type: ignore[arg-type]
            return [refiner.state_dict(), discriminator.state_dict()]

        for network, weights in zip((refiner, discriminator), from_main(initial), strict=True):
            network.load_state_dict(weights)
        if refiner.config.photometry:
            with torch.no_grad():
                self.synthetic.change(refiner.photometry)
        device = accelerator.device
        layout: Any = {"memory_format": torch.channels_last}
        for bank in (self.synthetic, self.real):
            bank.hold(device, SHARE * memory_of(device))
        self.average = copy.deepcopy(refiner).to(device, **layout).eval().requires_grad_(False)

        def prepare(network: nn.Module) -> tuple[Any, Any]:
            # Not wrapped in DistributedDataParallel: `average_gradients` adds up in one fixed order.
            network = accelerator.prepare_model(network.to(**layout), evaluation_mode=True)
            on_gpu = {"capturable": True} if device.type == "cuda" else {}
            adam = torch.optim.Adam(
                network.parameters(), betas=config.betas, lr=self._scalars["rate"], fused=True, **on_gpu
            )
            return network, accelerator.prepare_optimizer(adam)

        self._scalars = {name: torch.zeros((), device=device) for name in ("rate", "lambda")}
        self._given: dict[str, float] = {}  # their values
        self.refiner, self.refiner_optimizer = prepare(refiner)
        self.discriminator, self.discriminator_optimizer = prepare(discriminator)
        self.networks = {"refiner": self.refiner, "discriminator": self.discriminator, "average": self.average}
        self.optimizers = {"refiner": self.refiner_optimizer, "discriminator": self.discriminator_optimizer}
        self.regularization_weight = config.regularization_weight
        self.history = History(config.history_size, config.batch_size) if config.history_size else None
        self.counters = Counters()
        self._logged = torch.zeros(len(LOGGED), 2, device=device)  # sums and counts
        length, banks = DRAWN, (self.synthetic, self.real)
        if not all(bank.held for bank in banks):
            an_update = sum(config.batch_size * bank.parts[0][0].nbytes for bank in banks)
            length = int(np.clip(STREAMED_BYTES // an_update, 1, STREAMED))
        plan = Plan(config, self.synthetic, self.real, self.history, accelerator)
        self._refiner_draws = Draws(plan.of_refiner, length, device)
        self._discriminator_draws = Draws(plan.of_discriminator, length, device)
        self._captured: dict[Any, Captured] = {}

    def _banks(self, equalize: bool) -> tuple[Bank, Bank]:
        """Fill the banks: in the main process first, which leaves files for the others."""
        config, weight = self.config, MarkedWeight(self.config.weight) if self.config.weight else self.domain.weight
        marked = weight if config.label_weight and not isinstance(weight, SurfaceWeight) else None

        def fill(stream: str, sources: Sequence[Images], weighed: Any = None) -> Bank:
            quiet = not self.accelerator.is_local_main_process
            settings: dict[str, Any] = {"equalize": equalize, "flip": config.flip, "window": config.window or 0}
            return Bank(stream, sources, config.batch_size, config.seed, weight=weighed, quiet=quiet, **settings)

        with self.accelerator.main_process_first():
            synthetic, real = fill("synthetic", self.data.synthetic, marked), fill("real", self.data.real)
        if isinstance(weight, SurfaceWeight) and config.label_weight:
            synthetic.weigh(weight.masks)
        return synthetic, real

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
        number = self.counters.refiner_updates
        self._run(self._refiner_draws, number, self._update_refiner, adversarial)
        self.counters.refiner_updates += 1

    def update_discriminator(self) -> None:
        """One update of φ on L_D (eq. 2), θ fixed; half of the refined images from the history (section 2.3)."""
        number = self.counters.discriminator_updates
        past = self.history.past(number) if self.history else 0
        penalized = bool(self.config.gradient_penalty) and number % PENALTY_INTERVAL == 0
        self._run(self._discriminator_draws, number, self._update_discriminator, past, penalized)
        self.counters.discriminator_updates += 1

    def _run(self, draws: Draws, number: int, update: Callable[..., None], *kind: Any) -> None:
        """Do an update with its draws and rates; updates of one kind are replayed where they can be captured."""
        draws.go_to(number)
        left = 1 - self.counters.step / self.config.steps
        rate = self.config.learning_rate * (min(1.0, left / self.config.decay) if self.config.decay else 1.0)
        for which, value in ("rate", rate), ("lambda", self.regularization_weight):
            if self._given.get(which) != value:
                self._scalars[which].fill_(value)
                self._given[which] = value
        key = (update.__name__, *kind)
        if key not in self._captured:
            # With fp16 the scale of gradients is a decision, which no graph makes.
            capture = self.accelerator.device.type == "cuda" and self.accelerator.scaler is None
            self._captured[key] = Captured(lambda: update(*kind), capture=capture)
        self._captured[key]()

    def _update_refiner(self, adversarial: bool) -> None:
        self.refiner.requires_grad_(True)
        self.discriminator.requires_grad_(False)
        reduction, row = self.config.reduction, self._refiner_draws.row()
        synthetic, masks = self.synthetic.take(_below("synthetic", row))
        for part in self._micro_batches(len(synthetic)):
            images = synthetic[part]
            refined = self.refiner(images, prepared=True)
            weight = None if masks is None else 1 + self.config.label_weight * masks[part]
            loss = regularization = self_regularization(refined, images, self.config.transform, weight, reduction)
            if adversarial:
                logits = self.discriminator(augment(refined, row["augment"][part], self.config.augment))
                realism = REALISM_LOSSES[self.config.realism_loss](logits, reduction)
                loss = realism + self._scalars["lambda"] * regularization  # eq. 1
                self._log(realism=self._of_batch(realism))
            self._backward(loss)
            self._log(regularization=self._of_batch(regularization), change=(refined - images).abs().mean())
        self._step("refiner")
        with torch.no_grad():
            averages: Any = [*self.average.parameters()]
            moved: Any = torch._foreach_sub([*self.refiner.parameters()], averages)
            torch._foreach_mul_(moved, 1 - row["decay"])
            torch._foreach_add_(averages, moved)

    def _update_discriminator(self, past: int, penalized: bool) -> None:
        self.discriminator.requires_grad_(True)
        self.refiner.requires_grad_(False)
        row, share = self._discriminator_draws.row(), self.config.batch_size // self.accelerator.num_processes
        new = share - past // self.accelerator.num_processes
        with torch.no_grad():
            images, _ = self.synthetic.take({name: values[:new] for name, values in _below("synthetic", row).items()})
            shown = refined = self.refiner(images, prepared=True).to(images)
        if past and self.history:
            shown = torch.cat([refined, to_floats(self.history.sample(row["past"])).to(refined)])
        real, _ = self.real.take(_below("real", row))
        draws = row["augment/refined"], row["augment/real"]
        for part in self._micro_batches(len(real)):
            seen = [augment(x[part], d[part], self.config.augment) for x, d in zip((shown, real), draws, strict=True)]
            refined_logits, real_logits = self.discriminator(torch.cat(seen), sides=2).chunk(2)
            loss = discriminator_loss(refined_logits, real_logits, self.config.reduction)
            self._backward(loss + self._gradient_penalty(seen[1]) if penalized else loss)
            self._log(
                discriminator=self._of_batch(loss),
                accuracy_refined=(refined_logits.argmax(1) == REFINED).float().mean(),
                accuracy_real=(real_logits.argmax(1) != REFINED).float().mean(),
            )
        self._step("discriminator")
        if self.history:
            bits = torch.uint8 if codecs.get(self.domain.codec).dtype == np.uint8 else torch.uint16
            count = min(self.config.batch_size - past, self.history.capacity)
            stored = to_bits(self.accelerator.gather(refined.contiguous()), bits)
            self.history.replace(stored, row["places"][:count])

    # What the updates are made of

    def _gradient_penalty(self, real: Tensor) -> Tensor:
        """R1, only every `PENALTY_INTERVAL`th time, but as much stronger (Karras et al. 2020)."""
        real = real.detach().requires_grad_()
        scale = self.accelerator.scaler.get_scale() if self.accelerator.scaler else 1.0
        penalty = gradient_penalty(self.discriminator(real), real, self.config.reduction, scale)
        return PENALTY_INTERVAL * self.config.gradient_penalty / 2 * penalty

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
        for group in optimizer.param_groups:
            group["lr"] = self._scalars["rate"]  # loading a state replaces it
        if self.config.max_grad_norm:
            self.accelerator.clip_grad_norm_(network.parameters(), self.config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def _log(self, **values: Tensor) -> None:
        """Add to sums and counts, which stay on the device until the next `take_log`."""
        for name, value in values.items():
            sums = self._logged[LOGGED.index(name)]
            sums[0] += value.detach()
            sums[1] += 1

    def take_log(self, stopped: bool = False) -> tuple[dict[str, float], bool]:
        """Return the means of what was logged since the last call, over all processes, and whether any is stopped."""
        self._log(stopped=torch.tensor(float(stopped)))
        sums, counts = self.accelerator.reduce(self._logged.clone(), reduction="mean").T.tolist()
        self._logged.zero_()
        rows = zip(LOGGED, sums, counts, strict=True)
        means = {name: total / count for name, total, count in rows if count}
        return means, means.pop("stopped") > 0

    def end(self) -> None:
        """Leave the other processes; the networks stay."""
        self.accelerator.free_memory()
        gc.collect()  # the process group's threads end with its last holder; one that outlives Python may abort it
        self.accelerator.end_training()


def _below(name: str, row: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}/"): values for key, values in row.items() if key.startswith(f"{name}/")}


def _spread(bank: Bank, most: int) -> NDArray[Any]:
    """Return stored images of all sources to learn photometry from: `most` or a few more, none again and again."""
    count = min(most, bank.longest)
    images = bank.draw(np.arange(-(-count // bank.size) * bank.size))
    return to_array(images, np.uint8 if bank.parts[0].dtype == torch.uint8 else np.uint16)
