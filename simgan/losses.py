"""The losses of SimGAN, eq. 1–4, and the feature transforms ψ of the self-regularization.

Polarity, once and for all in the paper's terms: D_φ(·) is the probability of an image being **refined** (synthetic).
A discriminator gives two logit maps, 0 real and 1 refined; D_φ = softmax(logits)[1], so with log-softmax all logarithms
are exact however sure the discriminator is.

Every loss is a mean over images, patches and pixels, so that λ means the same at every size; `reduction="sum"` is the
paper's sum.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from simgan.discriminator import REAL, REFINED
from simgan.errors import ConfigError

Transform = Callable[[Tensor], tuple[Tensor, ...]]


def _reduce(values: Tensor, reduction: str) -> Tensor:
    if reduction not in ("mean", "sum"):
        raise ConfigError(f"reduction must be 'mean' or 'sum', not {reduction!r}")
    return values.mean() if reduction == "mean" else values.sum()


def realism_loss(logits: Tensor, reduction: str = "mean") -> Tensor:
    """ℓ_real = −log(1 − D_φ(R_θ(x))), eq. 3, from the logits (B, 2, h, w) of refined images."""
    return _reduce(-logits.log_softmax(1)[:, REAL], reduction)


def discriminator_loss(refined_logits: Tensor, real_logits: Tensor, reduction: str = "mean") -> Tensor:
    """L_D = −Σ log D_φ(x̃) − Σ log(1 − D_φ(y)), eq. 2, from the logits (B, 2, h, w) of refined and of real images."""
    refined = -refined_logits.log_softmax(1)[:, REFINED]
    real = -real_logits.log_softmax(1)[:, REAL]
    return _reduce(refined, reduction) + _reduce(real, reduction)


def gradient_penalty(real_logits: Tensor, real: Tensor) -> Tensor:
    """R1 (Mescheder et al. 2018): the mean squared gradient of the logits (B, 2, h, w) in the real images (B, C, H, W).

    It keeps a discriminator from becoming ever steeper where the real images are. `real` must require a gradient.
    """
    sure = (real_logits[:, REAL] - real_logits[:, REFINED]).mean((1, 2)).sum()
    (gradient,) = torch.autograd.grad(sure, real, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def self_regularization(
    refined: Tensor, synthetic: Tensor, transform: Transform, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """ℓ_reg = ‖ψ(R_θ(x)) − ψ(x)‖₁, eq. 4, of two batches (B, C, H, W).

    `weight` (B, 1, H, W), ≥ 0, makes a pixel count more where the label must not move; it is averaged
    down to the size of a smaller feature map. Where ψ gives several maps their means (or sums) are added.
    """
    total = refined.new_zeros(())
    for after, before in zip(transform(refined), transform(synthetic), strict=True):
        difference = (after - before).abs()
        if weight is not None:
            difference = difference * F.adaptive_avg_pool2d(weight, (difference.shape[2], difference.shape[3]))
        total = total + _reduce(difference, reduction)
    return total


def refiner_loss(realism: Tensor, regularization: Tensor, regularization_weight: float) -> Tensor:
    """L_R = ℓ_real + λ ℓ_reg, eq. 1; `regularization_weight` is λ."""
    return realism + regularization_weight * regularization


def identity(x: Tensor) -> tuple[Tensor, ...]:
    """ψ of most of the paper: the image itself."""
    return (x,)


def channel_mean(x: Tensor) -> tuple[Tensor, ...]:
    """ψ = mean of the colour channels (section 2.1): leaves the colours free."""
    return (x.mean(1, keepdim=True),)


def gradients(x: Tensor) -> tuple[Tensor, ...]:
    """ψ = image derivatives (section 2.1): differences to the right and lower neighbour; brightness is free."""
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


def identity_and_gradients(x: Tensor) -> tuple[Tensor, ...]:
    """ψ = the image and its derivatives (section 2.1 has each of them).

    By an L1 distance of pixels alone a few may change as much as they like, to spots; derivatives alone leave the
    brightness free.
    """
    return (x, *gradients(x))


TRANSFORMS: dict[str, Transform] = {
    "identity": identity,
    "channel-mean": channel_mean,
    "gradients": gradients,
    "identity+gradients": identity_and_gradients,
}


def get_transform(name: str) -> Transform:
    """Return ψ by name; an unknown one raises `ConfigError` that lists the known ones."""
    if name not in TRANSFORMS:
        raise ConfigError(f"unknown feature transform {name!r}: choose one of {', '.join(TRANSFORMS)}")
    return TRANSFORMS[name]
