"""The losses of SimGAN, eq. 2–4, and the feature transforms ψ of the self-regularization; eq. 1 adds them up.

Polarity, as in the paper: D_φ(·) is the probability that an image is **refined** (synthetic). A discriminator returns
two logit maps, 0 real and 1 refined; D_φ = softmax(logits)[1]. Every loss is a mean over images, patches and pixels, so
that λ means the same at every size; `reduction="sum"` is the paper's sum.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from simgan.discriminator import REAL, REFINED

NOISE = 0.01  # squared gradient, of a range of 2, that counts as noise beside an edge
Features = tuple[Tensor, ...]


def _reduce(values: Tensor, reduction: str) -> Tensor:
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
    """R1 (Mescheder et al. 2018): the squared norm of ∂logit/∂y, over the real images y; call it outside autocast.

    `real_logits` (B, 2, h, w) of `real` (B, C, H, W), which must require a gradient. The gradient is taken of `scale`
    times the logits: fp16 needs the scale of the `GradScaler`, or small gradients vanish.
    """
    logit = (real_logits[:, REAL] - real_logits[:, REFINED]).mean((1, 2)).sum()
    (gradient,) = torch.autograd.grad(logit * scale, real, create_graph=True)
    return _reduce((gradient / scale).square().sum((1, 2, 3)), reduction)


def identity(x: Tensor) -> Features:
    """The image itself. Its L1 distance alone allows a few pixels to change a lot, which makes spots."""
    return (x,)


def channel_mean(x: Tensor) -> Features:
    """The mean of the channels (B, 1, H, W): colours may change."""
    return (x.mean(1, keepdim=True),)


def gradients(x: Tensor) -> Features:
    """Differences to the right and the lower neighbour: brightness may change."""
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


def identity_and_gradients(x: Tensor) -> Features:
    """The image and its `gradients`: neither single pixels nor brightness may change much."""
    return x, *gradients(x)


def structure(x: Tensor) -> Features:
    """Where edges lie and how they run, whatever their colours: maps (B, 3, H − 1, W − 1).

    The structure tensor over all channels (Di Zenzo 1986), relative to its mean nearby, as strength, and strength times
    cosine and sine of twice the angle. Recolouring and another light leave it; fading, moving and new edges do not.
    """
    x = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x  # squares of small differences
    across, down = x[..., :-1, 1:] - x[..., :-1, :-1], x[..., 1:, :-1] - x[..., :-1, :-1]
    xx, yy, xy = (product.sum(1, keepdim=True) for product in (across**2, down**2, across * down))
    tensor = F.avg_pool2d(torch.cat([xx + yy, xx - yy, 2 * xy], 1), 3, 1, 1, count_include_pad=False)
    nearby = F.avg_pool2d(tensor[:, :1], 17, 1, 8, count_include_pad=False)
    relative = tensor / (nearby + NOISE)
    return (relative / (relative[:, :1] + 0.01).sqrt(),)


TRANSFORMS: dict[str, Callable[[Tensor], Features]] = {
    "identity": identity,
    "channel-mean": channel_mean,
    "gradients": gradients,
    "identity+gradients": identity_and_gradients,
    "structure": structure,
}
"""ψ of eq. 4 by name (section 2.1): functions of a batch (B, C, H, W) that return maps (B, c, h, w); add your own."""
REALISM_LOSSES: dict[str, Callable[[Tensor, str], Tensor]] = {"cross-entropy": realism_loss}
"""ℓ_real by name: functions of logits (B, 2, h, w) of refined images and the reduction; add your own."""


def self_regularization(
    refined: Tensor, synthetic: Tensor, transform: str, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """ℓ_reg = ‖ψ(R_θ(x)) − ψ(x)‖₁, eq. 4, of two batches (B, C, H, W); `transform` is a name in `TRANSFORMS`.

    `weight` (B, 1, H, W), ≥ 0, is higher where the label must not move; it is averaged down to the size of a smaller
    feature map. If ψ returns several maps, their means (or sums) are added.
    """
    psi, total = TRANSFORMS[transform], refined.new_zeros(())
    for after, before in zip(psi(refined), psi(synthetic), strict=True):
        difference = (after - before).abs()
        if weight is not None:
            difference = difference * F.adaptive_avg_pool2d(weight, (difference.shape[2], difference.shape[3]))
        total = total + _reduce(difference, reduction)
    return total
