"""The settings of a run: one frozen dataclass; a preset is an instance of it and says why it leaves the paper."""

import argparse
import dataclasses
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from simgan.domains import DEFAULT_PRESET, of_preset, of_sources
from simgan.domains.base import Size
from simgan.errors import ConfigError, TrainingError, require
from simgan.images import codecs
from simgan.losses import REALISM_LOSSES, TRANSFORMS

AUGMENTATIONS = ("brightness", "contrast", "translation", "distance")
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
# Names of settings, whether a value is right, and what it must be
_RULES: tuple[tuple[str, Callable[[Any], object], str], ...] = (
    ("steps refiner_updates discriminator_updates gradient_accumulation_steps", lambda n: n >= 1, "at least 1"),
    ("evaluate_every keep_checkpoints", lambda n: n >= 1, "at least 1"),
    ("seed refiner_warm_up discriminator_warm_up history_size push_every", lambda n: n >= 0, "at least 0"),
    ("regularization_weight label_weight gradient_penalty max_grad_norm", lambda x: x >= 0, "at least 0"),
    ("learning_rate max_shift max_median_shift max_faded", lambda x: 0 < x < math.inf, "greater than 0"),
    ("max_single_shift max_faded_95", lambda x: x is None or 0 < x < math.inf, "greater than 0"),
    ("holdout", lambda share: 0 < share < 1, "a share between 0 and 1"),
    ("decay", lambda share: 0 <= share <= 1, "in [0, 1]"),
    ("ema_decay", lambda share: 0 <= share < 1, "in [0, 1)"),
    ("betas", lambda shares: all(0 <= share < 1 for share in shares), "in [0, 1)"),
    ("batch_size", lambda n: n >= 2 and n % 2 == 0, "even, as half of it comes from the history"),
    ("window", lambda n: n in (None, 0) or n >= 16, "0 (whole images) or at least 16 pixels"),
    ("size", lambda size: size is None or min(size) >= 16, "at least 16 by 16 pixels"),
    ("channels", (None, 1, 3).__contains__, "1 or 3"),
    ("transform", TRANSFORMS.__contains__, f"one of {', '.join(TRANSFORMS)}"),
    ("realism_loss", REALISM_LOSSES.__contains__, f"one of {', '.join(REALISM_LOSSES)}"),
    ("reduction", ("mean", "sum").__contains__, "mean or sum"),
    ("scope", ("local", "global").__contains__, "local or global"),
    ("mixed_precision", ("auto", "no", "bf16", "fp16").__contains__, "auto, no, bf16 or fp16"),
    ("augment", set(AUGMENTATIONS).issuperset, f"of {', '.join(AUGMENTATIONS)}"),
    ("push_to_hub", lambda name: name is None or _HUB_ID.fullmatch(name), "the id of a Hub repository (org/name)"),
)


@dataclass(frozen=True)
class TrainingConfig:
    """Train a refiner (Algorithm 1 of SimGAN)."""

    preset: str = DEFAULT_PRESET  # Networks and default settings: a preset of a domain (a wrong name lists them).
    synthetic: tuple[str, ...] = ()
    """Sources of labelled synthetic images, each an equal share of a mini-batch; if not given the preset's."""
    real: tuple[str, ...] = ()
    """Sources of unlabelled real images, each an equal share of a mini-batch; if not given the preset's."""
    output: Path = Path("runs") / DEFAULT_PRESET
    """Folder of the run: the best refiner at its root, checkpoints, samples, metrics."""
    limit: int | None = None  # Take at most so many images of each source.
    size: Size | None = (
        None  # Resize all images to this width and height, labels with them; else they stay as they are.
    )
    channels: int | None = None  # 1 (grey) or 3 (colour); if not given as the images are.
    equalize: bool = False  # Equalize the histograms of all images, as some presets do anyway. For grey images alone.
    seed: int = 0  # Fixes everything that is random.

    window: int | None = None
    """Train on windows of so many pixels at random places (of depth: about a random reading); 0: on whole images. By
    default windows of 64 where images differ in size or are large."""
    steps: int = 900  # Steps of Algorithm 1: K_g updates of the refiner, then K_d of the discriminator.
    refiner_updates: int = 2  # K_g.
    discriminator_updates: int = 1  # K_d.
    refiner_warm_up: int = 0  # Updates of the refiner with the self-regularization alone, before all else.
    discriminator_warm_up: int = 50  # Updates of the discriminator alone, after the refiner's warm-up.
    batch_size: int = 16  # b: images of a mini-batch, over all processes together.
    gradient_accumulation_steps: int = 1  # Micro-batches that one update adds up.
    history_size: int = 4096  # B: refined images in the history (section 2.3); 0 turns it off.

    regularization_weight: float = 1.0  # λ of eq. 1; where it is steered, its first value.
    transform: str = "identity+gradients"
    """ψ of eq. 4: identity, channel-mean, gradients, identity+gradients or structure."""
    realism_loss: str = "cross-entropy"  # ℓ_real of eq. 3.
    label_weight: float = 5.0
    """By how much more the self-regularization weighs pixels where the label must not move, as the domain defines."""
    weight: str | None = None
    """The column of labels that says where that is: points, boxes, polygons or a mask, as `simgan.images.marks`."""
    reduction: str = "mean"  # mean, or the paper's sum, over patches and pixels.
    gradient_penalty: float = 0.0
    """γ of R1, the penalty on the discriminator's gradient in real images, in every eighth of its updates; 0: none."""
    scope: str = "local"  # Adversarial loss: local (one decision a patch, section 2.2) or global (one an image).
    steer: bool = False  # Steer λ so that the held-out annotation shift stays within its bounds.
    max_shift: float = 1.1
    """Bound on the mean annotation shift (worst 5 % left out), in the domain's unit; 1.1 px is the paper's figure."""
    max_median_shift: float = 0.4  # Bound on the median annotation shift, in the same unit.
    max_single_shift: float | None = None
    """Bound on the shift of every single image, in the same unit, where labels tell what to measure; default: none."""
    max_faded: float = 0.3  # Bound on how much of the edges may fade, on average, where that is measured.
    max_faded_95: float | None = None  # Bound on how much of them may fade in 95 % of the images; default: none.

    learning_rate: float = 4e-4  # Of both networks (Adam).
    betas: tuple[float, float] = (0.5, 0.999)  # Of Adam; 0.5 as in DCGAN (Radford et al. 2016).
    decay: float = 0.5
    """Last share of the steps over which the learning rate falls linearly to 0 (CycleGAN, Zhu et al. 2017)."""
    max_grad_norm: float = 1.0  # Gradient clipping by norm (Pascanu et al. 2013); 0 turns it off.
    ema_decay: float = 0.998
    """Exponential moving average of the refiner's weights (Yazıcı et al. 2019), which is what ships; 0 turns it off."""
    augment: tuple[str, ...] = ("brightness", "contrast", "translation")
    """Differentiable augmentation (Zhao et al. 2020) of all that the discriminator sees; `distance` is
    for depth that was recorded nearer or farther than the simulator's."""
    preparation: bool = True
    """Apply the domain's closed forms (photometry, triangulation) before the network, learnt from the real images."""
    flip: bool = True  # Mirror half of the images, synthetic and real.

    holdout: float = 0.2  # Share of each source that is held out for the measures: whole persons, or contiguous blocks.
    evaluate_every: int = 150
    """Steps between two measures of realism and annotation shift, sample sheets and checkpoints."""
    keep_checkpoints: int = 2  # How many checkpoints stay.
    start_from: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Begin with both networks of this model: a shipped name, a folder, or a Hub id. Layers and widths are the model's,
    all else is this run's."""
    resume: bool = False
    """Continue the run in `output`, with its settings and from its newest checkpoint: bit for bit on a CPU and the same
    number of processes. `--resume DIR` says both."""
    mixed_precision: str = "auto"  # no, bf16, fp16, or auto: what the processor is fastest at.
    deterministic: bool = False
    """Use algorithms that compute the same bits each time on a GPU, which is slower; a CPU always does."""
    trackers: tuple[str, ...] = ("tensorboard",)  # Where Accelerate logs to.

    push_to_hub: str | None = None
    """Push the model at the end to this Hub repository (org/name), which is made if it does not exist."""
    private: bool = False  # Make a new repository private.
    hub_revision: str | None = None  # Push to this branch, not to main.
    push_every: int = 0  # Push after every so many checkpoints too, in the background.

    def __post_init__(self) -> None:
        domain, recipe = of_preset(self.preset)
        for side in ("synthetic", "real"):
            object.__setattr__(self, side, tuple(getattr(self, side) or recipe.training.get(side, ())))
        for names, is_right, must_be in _RULES:
            for name in names.split():
                value = getattr(self, name)
                require(is_right(value), f"{name} must be {must_be}, not {value!r}")
        require(
            self.history_size == 0 or self.history_size >= self.batch_size // 2,
            f"history_size {self.history_size} is less than half of batch_size {self.batch_size}, which comes from "
            f"the history: make it at least {self.batch_size // 2}, or 0 for no history",
        )
        codec = codecs.get(domain.codec)
        if domain.size is not None:  # what such images are is known; else the images that are found tell
            require(
                self.size in (None, domain.size),
                f"the preset {self.preset} is for images of {'×'.join(map(str, domain.size))}: leave size out, or take "
                "the preset images",
            )
            require(
                codec.is_depth or not self.window, f"{domain.name} are not cut to windows: choose the preset images"
            )
            require(
                not (codec.is_depth and self.weight),
                "weight is not for depth, which is cut to windows about its readings: leave it out",
            )
            object.__setattr__(self, "channels", self.channels or codec.channels)
            object.__setattr__(self, "window", self.window or 0)
        require(
            not self.equalize or self.channels != 3, "equalize is for grey images: add --channels 1, or leave it out"
        )
        require(self.push_to_hub or not self.push_every, "push_every counts checkpoints and needs --push-to-hub")

    def to_json(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2, default=str) + "\n"


def preset(name: str) -> TrainingConfig:
    """Return the settings of a preset; `ConfigError` where there is none of that name."""
    _, recipe = of_preset(name)
    return TrainingConfig(**{"preset": name, "output": Path("runs") / name, **recipe.training})


def from_command_line(arguments: Sequence[str] | None = None) -> TrainingConfig:
    """Read `--preset NAME` and the options that change its values; `ConfigError` where they do not fit.

    Without a preset the sources tell which kind of image it is; those of no known kind are of the preset `images`. With
    `--resume`, or `--resume DIR` for `--resume --output DIR`, the settings are those of the run in the folder.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset")
    parser.add_argument("--output")
    parser.add_argument("--resume", nargs="?", const="")
    for side in ("--synthetic", "--real"):
        parser.add_argument(side, nargs="*", default=[])
    options = list(sys.argv[1:] if arguments is None else arguments)
    given = parser.parse_known_args(options)[0]
    default = preset(given.preset or of_sources([*given.synthetic, *given.real]))
    if given.resume:  # a folder: its run is named twice for nothing
        options[options.index(given.resume, options.index("--resume"))] = "--output"
        options.insert(options.index("--output") + 1, given.resume)
    if given.resume is not None:
        folder = Path(given.resume or given.output or default.output)
        if (kept := of_run(folder)) is None:
            raise TrainingError(f"nothing to resume in {folder}: it holds no run; leave --resume out to start")
        default = kept
    return tyro.cli(TrainingConfig, default=default, args=options)


def of_run(folder: Path) -> TrainingConfig | None:
    """Return the settings of the run in a folder, None where there is none; `ConfigError` where they cannot be read."""
    file = folder / "training.json"
    if not file.is_file():
        return None
    try:
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()
        }
        return TrainingConfig(**values | {"output": folder})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{file} does not hold settings of this version of simgan ({error})") from error


def to_command_line(config: TrainingConfig) -> list[str]:
    """Give the options that `from_command_line` reads as these settings: the preset, and what differs from it."""
    default, options = vars(preset(config.preset)), ["--preset", config.preset]
    for name, value in vars(config).items():
        if value != default[name]:
            option = "from" if name == "start_from" else name.replace("_", "-")
            options.append(("--no-" if value is False else "--") + option)
            if not isinstance(value, bool):
                options += map(str, value if isinstance(value, tuple) else (value,))
    return options
