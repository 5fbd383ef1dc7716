"""The losses of SimGAN, eq. 1–4, and the feature transforms ψ of the self-regularization.

Polarity, as in the paper: D_φ(·) is the probability that an image is **refined** (synthetic). A discriminator returns
two logit maps, 0 real and 1 refined; D_φ = softmax(logits)[1]. Losses use log-softmax, which is exact for any logits.

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


def gradient_penalty(real_logits: Tensor, real: Tensor, reduction: str = "mean", scale: float = 1.0) -> Tensor:
    """R1 (Mescheder et al. 2018): the squared norm of ∂logit/∂y, over the real images y.

    `real_logits` (B, 2, h, w) of `real` (B, C, H, W), which must require a gradient. The logits are multiplied by
    `scale` before the gradient is taken and the gradient is divided by it afterwards: fp16 needs the scale of the
    `GradScaler` here, or small gradients vanish. Call it outside autocast.
    """
    logit = (real_logits[:, REAL] - real_logits[:, REFINED]).mean((1, 2)).sum()
    (gradient,) = torch.autograd.grad(logit * scale, real, create_graph=True)
    return _reduce((gradient / scale).square().sum((1, 2, 3)), reduction)


def self_regularization(
    refined: Tensor, synthetic: Tensor, transform: Transform, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """ℓ_reg = ‖ψ(R_θ(x)) − ψ(x)‖₁, eq. 4, of two batches (B, C, H, W).

    `weight` (B, 1, H, W), ≥ 0, is higher where the label must not move; it is averaged down to the size of a smaller
    feature map. If ψ returns several maps, their means (or sums) are added.
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
    """ψ of the paper's experiments: the image itself."""
    return (x,)


def channel_mean(x: Tensor) -> tuple[Tensor, ...]:
    """ψ = mean of the colour channels (section 2.1): colours may change."""
    return (x.mean(1, keepdim=True),)


def gradients(x: Tensor) -> tuple[Tensor, ...]:
    """ψ = image derivatives (section 2.1): differences to the right and lower neighbour; brightness may change."""
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


def identity_and_gradients(x: Tensor) -> tuple[Tensor, ...]:
    """ψ = the image and its derivatives (section 2.1 has each of them).

    An L1 distance of pixels allows a few of them to change a lot, which makes spots; derivatives alone allow any
    brightness.
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
