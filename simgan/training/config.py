"""The settings of a run: one frozen dataclass; a preset is an instance of it and says why it leaves the paper."""

import dataclasses
import json
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from simgan.domains import DOMAINS, get_preset
from simgan.errors import ConfigError
from simgan.losses import get_transform

AUGMENTATIONS = ("brightness", "contrast", "translation", "distance")
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_BOUNDS = {
    1: (
        "steps",
        "refiner_updates",
        "discriminator_updates",
        "gradient_accumulation_steps",
        "evaluate_every",
        "keep_checkpoints",
    ),
    0: (
        "seed",
        "refiner_warm_up",
        "discriminator_warm_up",
        "history_size",
        "regularization_weight",
        "iris_weight",
        "surface_weight",
        "gradient_penalty",
        "max_grad_norm",
        "push_every",
    ),
}
_CHOICES: dict[str, tuple[object, ...]] = {
    "channels": (1, 3),
    "reduction": ("mean", "sum"),
    "scope": ("local", "global"),
    "mixed_precision": ("auto", "no", "bf16", "fp16"),
}


@dataclass(frozen=True)
class TrainingConfig:
    """Train a refiner (Algorithm 1 of SimGAN)."""

    preset: str = "eyes"
    """Networks and defaults: eyes, eyes-large, hands, eyes-paper or hands-paper."""
    synthetic: tuple[str, ...] = ("simulator:eyes",)
    """Sources of labelled synthetic images; each gives an equal share of a mini-batch."""
    real: tuple[str, ...] = ("camera:eyes",)
    """Sources of unlabelled real images; each gives an equal share of a mini-batch."""
    output: Path = Path("runs/eyes")
    """Folder of the run: the best refiner at its root, checkpoints, samples, metrics."""
    limit: int | None = None
    """Take at most so many images of each source."""
    channels: int = 1
    """1 (grey) or 3 (colour)."""
    seed: int = 0
    """Fixes everything that is random."""

    window: int = 0
    """Train on windows of so many pixels about a random pixel of the hand; 0: on whole images. For depth alone."""
    steps: int = 900
    """Steps of Algorithm 1: K_g updates of the refiner, then K_d of the discriminator."""
    refiner_updates: int = 2
    """K_g."""
    discriminator_updates: int = 1
    """K_d."""
    refiner_warm_up: int = 0
    """Updates of the refiner with the self-regularization alone, before all else."""
    discriminator_warm_up: int = 50
    """Updates of the discriminator alone, after the refiner's warm-up."""
    batch_size: int = 16
    """b: images of a mini-batch, over all processes together."""
    gradient_accumulation_steps: int = 1
    """Micro-batches that one update adds up."""
    history_size: int = 4096
    """B: refined images in the history (section 2.3); 0 turns it off."""

    regularization_weight: float = 1.0
    """λ of eq. 1; where it is steered, its first value."""
    transform: str = "identity+gradients"
    """ψ of eq. 4: identity, channel-mean, gradients or identity+gradients."""
    iris_weight: float = 5.0
    """How much more the self-regularization weighs on the iris, where a source tells where it is."""
    surface_weight: float = 0.0
    """How much more the self-regularization weighs on surfaces of depth, away from its edges."""
    reduction: str = "mean"
    """mean, or the paper's sum, over patches and pixels."""
    gradient_penalty: float = 0.0
    """γ of R1, the penalty on the discriminator's gradient in real images, in every eighth of its updates; 0: none."""
    scope: str = "local"
    """Adversarial loss: local (one decision a patch, section 2.2) or global (one an image)."""
    steer: bool = False
    """Steer λ so that the held-out annotation shift stays within its bounds."""
    max_shift: float = 1.1
    """Bound on the mean annotation shift (worst 5 % left out), px at 55 px width (the paper's figure), or mm."""
    max_median_shift: float = 0.4
    """Bound on the median annotation shift, px at 55 px width, or mm."""

    learning_rate: float = 4e-4
    """Of both networks (Adam)."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Of Adam; 0.5 as in DCGAN (Radford et al. 2016)."""
    decay: float = 0.5
    """Last share of the steps over which the learning rate falls linearly to 0 (CycleGAN, Zhu et al. 2017)."""
    max_grad_norm: float = 1.0
    """Gradient clipping by norm (Pascanu et al. 2013); 0 turns it off."""
    ema_decay: float = 0.998
    """Exponential moving average of the refiner's weights (Yazıcı et al. 2019), which is what ships; 0 turns it off."""
    augment: tuple[str, ...] = ("brightness", "contrast", "translation")
    """Differentiable augmentation (Zhao et al. 2020) of all that the discriminator sees; `distance` is
    for depth whose hands were filmed nearer or farther than the simulator's."""
    photometry: bool = True
    """Give each synthetic image light, tones, sharpness of real ones first, in closed form; the network adds more."""
    triangulation: bool = False
    """Give depth the shadows and the steps of the real camera, learnt in closed form; the network adds more."""
    flip: bool = True
    """Mirror half of the images, synthetic and real: left eyes and right eyes."""

    holdout: float = 0.2
    """Share of each source that is held out for the measures: whole persons, or contiguous blocks."""
    evaluate_every: int = 150
    """Steps between two measures of realism and annotation shift, sample sheets and checkpoints."""
    keep_checkpoints: int = 2
    """How many checkpoints stay."""
    resume: bool = False
    """Go on from the newest checkpoint of `output`, bit for bit."""
    mixed_precision: str = "auto"
    """no, bf16, fp16, or auto: what the processor is fastest at."""
    trackers: tuple[str, ...] = ("tensorboard",)
    """Where Accelerate logs to."""

    push_to_hub: str | None = None
    """Push the model at the end to this Hub repository (org/name), which is made if it does not exist."""
    private: bool = False
    """Make a new repository private."""
    hub_revision: str | None = None
    """Push to this branch, not to main."""
    push_every: int = 0
    """Push after every so many checkpoints too, in the background."""

    def __post_init__(self) -> None:
        get_preset(self.preset)
        get_transform(self.transform)
        for bound, names in _BOUNDS.items():
            for name in names:
                if not getattr(self, name) >= bound:
                    raise ConfigError(f"{name} must be at least {bound}, not {getattr(self, name)}")
        for name in ("learning_rate", "max_shift", "max_median_shift"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be greater than 0, not {getattr(self, name)}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} must be one of {', '.join(map(str, choices))}, not {getattr(self, name)!r}")
        if not all(0 <= share < 1 for share in (*self.betas, self.ema_decay)) or not 0 <= self.decay <= 1:
            raise ConfigError(
                f"betas {self.betas} and ema_decay {self.ema_decay} must lie in [0, 1), decay {self.decay} in [0, 1]"
            )
        if self.batch_size < 2 or self.batch_size % 2:
            raise ConfigError(f"batch_size must be even, as half of it comes from the history, not {self.batch_size}")
        if unknown := sorted(set(self.augment) - set(AUGMENTATIONS)):
            raise ConfigError(f"unknown augmentation {', '.join(unknown)}: choose of {', '.join(AUGMENTATIONS)}")
        if self.window and not self.window >= 16:
            raise ConfigError(f"window must be 0 (whole images) or at least 16 pixels, not {self.window}")
        domain = DOMAINS[get_preset(self.preset).domain]
        for name, off in (("window", 0), ("triangulation", False)):
            if getattr(self, name) and domain.stored != "uint16":
                raise ConfigError(f"{name} is for depth, which {domain.name} are not: leave it {off}")
        if self.push_to_hub is not None and not HUB_ID.fullmatch(self.push_to_hub):
            raise ConfigError(f"push_to_hub must be the id of a Hub repository (org/name), not {self.push_to_hub!r}")
        if self.push_every and self.push_to_hub is None:
            raise ConfigError("push_every counts checkpoints and needs --push-to-hub")
        if not 0 < self.holdout < 1:
            raise ConfigError(f"holdout must be a share between 0 and 1, not {self.holdout}")

    def save(self, file: Path) -> None:
        """Write the settings as JSON."""
        file.write_text(json.dumps(dataclasses.asdict(self), indent=2, default=str) + "\n")


_PAPER = TrainingConfig(
    preset="eyes-paper",
    refiner_warm_up=1000,
    discriminator_warm_up=200,
    batch_size=512,
    history_size=51_200,
    learning_rate=1e-3,
    betas=(0.9, 0.999),
    regularization_weight=0.4,
    transform="identity",
    iris_weight=0.0,
    photometry=False,
    decay=0.0,
    max_grad_norm=0.0,
    ema_decay=0.0,
    augment=(),
    flip=False,
    output=Path("runs/eyes-paper"),
)
PRESETS = {
    "eyes": TrainingConfig(),
    # For thousands of real images, and a GPU or an hour. Noise, and a discriminator that compares whole images (R1, and
    # the momentum that goes with it, hold it), give images as many lights and grains as the real ones have, which
    # photometry would even out. So many real images need no history, and no augmentation that hides their tones. The
    # finder of irises is led astray by light and dark: between renders and photographs of the very same scenes by
    # `camera:eyes` it tells 1.0 px on average and 0.77 px in the median. Hence the wider bounds.
    "eyes-large": TrainingConfig(
        preset="eyes-large",
        output=Path("runs/eyes-large"),
        steps=6000,
        refiner_updates=1,
        batch_size=32,
        history_size=0,
        regularization_weight=0.5,
        gradient_penalty=0.4,
        betas=(0.0, 0.999),
        photometry=False,
        augment=("translation",),
        evaluate_every=500,
        max_shift=1.2,
        max_median_shift=0.8,
    ),
    # Half-way between hand and background every pixel looks wrong, so that a refiner hardly leaves the identity. So
    # edges, where a sensor errs, are all but free, and the discriminator knows the worlds apart before the refiner
    # begins. λ cannot be steered: surfaces do not move until it is far too low. Nothing is mirrored, as the
    # projector stands to one side of the camera, and its shadows lie to one side of what is near.
    "hands": TrainingConfig(
        preset="hands",
        synthetic=("simulator:hands",),
        real=("camera:hands",),
        output=Path("runs/hands"),
        limit=4000,
        window=64,
        steps=800,
        transform="identity",
        discriminator_warm_up=500,
        regularization_weight=0.1,
        iris_weight=0.0,
        surface_weight=50.0,
        photometry=False,
        triangulation=True,
        flip=False,
        max_shift=6.0,
        max_median_shift=3.0,
    ),
    "eyes-paper": _PAPER,
    "hands-paper": dataclasses.replace(
        _PAPER, preset="hands-paper", refiner_warm_up=500, output=Path("runs/hands-paper")
    ),
}


def from_command_line(arguments: Sequence[str] | None = None) -> TrainingConfig:
    """Read `--preset NAME` and the options that change its values; `ConfigError` where they do not fit."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    preset = "eyes"
    for i, argument in enumerate(arguments):
        if argument == "--preset" and i + 1 < len(arguments):
            preset = arguments[i + 1]
        elif argument.startswith("--preset="):
            preset = argument.split("=", 1)[1]
    get_preset(preset)
    return tyro.cli(TrainingConfig, default=PRESETS[preset], args=arguments)


def to_command_line(config: TrainingConfig) -> list[str]:
    """Give the options that `from_command_line` reads as these settings: the preset, and what differs from it."""
    options = ["--preset", config.preset]
    for name, value in vars(config).items():
        if value == getattr(PRESETS[config.preset], name):
            continue
        option = name.replace("_", "-")
        if isinstance(value, bool):
            options.append(f"--{option}" if value else f"--no-{option}")
        else:
            options += [f"--{option}", *map(str, value if isinstance(value, tuple) else (value,))]
    return options
