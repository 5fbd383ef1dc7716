"""Each formula against numbers worked out by hand, and its gradient against finite differences."""

import math

import pytest
import torch

from simgan.losses import (
    TRANSFORMS,
    discriminator_loss,
    gradient_penalty,
    realism_loss,
    self_regularization,
)


def logits_of(probability_refined):
    """Logits (B, 2, 1, n) whose softmax gives D = the wanted probabilities."""
    p = torch.tensor(probability_refined, dtype=torch.float64)
    return torch.stack([torch.log(1 - p), torch.log(p)]).reshape(1, 2, 1, -1)


def test_realism_loss_is_minus_log_one_minus_d():
    expected = [-math.log(0.8), -math.log(0.1)]
    assert realism_loss(logits_of([0.2, 0.9])).item() == pytest.approx(sum(expected) / 2)
    assert realism_loss(logits_of([0.2, 0.9]), "sum").item() == pytest.approx(sum(expected))


def test_discriminator_loss_wants_refined_near_one_and_real_near_zero():
    loss = discriminator_loss(logits_of([0.9, 0.6]), logits_of([0.3]))
    assert loss.item() == pytest.approx(-(math.log(0.9) + math.log(0.6)) / 2 - math.log(0.7))
    total = discriminator_loss(logits_of([0.9, 0.6]), logits_of([0.3]), "sum")
    assert total.item() == pytest.approx(-math.log(0.9) - math.log(0.6) - math.log(0.7))


@pytest.mark.parametrize("logit", [100.0, -100.0])
def test_losses_are_finite_however_sure_the_discriminator_is(logit):
    logits = torch.tensor([logit, -logit]).reshape(1, 2, 1, 1).requires_grad_()
    loss = realism_loss(logits) + discriminator_loss(logits, logits)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert realism_loss(logits).item() == pytest.approx(0 if logit > 0 else 200)


def test_the_gradient_penalty_of_a_plane_is_its_slope_squared():
    real, slope = torch.randn(3, 1, 6, 5, requires_grad=True), torch.randn(1, 1, 6, 5)
    sure = (slope * real).sum((1, 2, 3))
    logits = torch.stack([sure / 2, -sure / 2], 1)[:, :, None, None].expand(-1, -1, 2, 4)
    assert gradient_penalty(logits, real).item() == pytest.approx(slope.square().sum().item(), rel=1e-5)


def test_the_gradient_penalty_of_fp16_needs_its_scale():
    real = torch.ones(2, 1, 4, 4, requires_grad=True)
    logits = (real.half() * torch.tensor([1e-7, -1e-7]).half().reshape(1, 2, 1, 1)).float()
    small, whole = (gradient_penalty(logits, real, scale=scale).item() for scale in (1.0, 2.0**12))
    assert small == 0
    assert whole == pytest.approx(16 * (2 * 1.19e-7 / 16) ** 2, rel=0.01)
    assert gradient_penalty(logits, real, "sum", 2.0**12).item() == pytest.approx(2 * whole)


def test_self_regularization_is_the_mean_absolute_difference():
    after, before = torch.tensor([[[[1.0, 0.5], [0.0, 0.0]]]]), torch.zeros(1, 1, 2, 2)
    assert self_regularization(after, before, "identity").item() == pytest.approx(1.5 / 4)
    assert self_regularization(after, before, "identity", None, "sum").item() == pytest.approx(1.5)
    weight = torch.tensor([[[[3.0, 1.0], [1.0, 1.0]]]])
    assert self_regularization(after, before, "identity", weight).item() == pytest.approx(3.5 / 4)


def test_channel_mean_leaves_colours_free():
    red, blue = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    red[:, 0], blue[:, 2] = 0.9, 0.9
    assert self_regularization(red, blue, "channel-mean").item() == pytest.approx(0)
    assert self_regularization(red, blue, "identity").item() == pytest.approx(0.6)


def test_gradients_leave_brightness_free_and_hold_edges():
    x = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    assert self_regularization(x + 0.3, x, "gradients").item() == pytest.approx(0, abs=1e-6)
    assert self_regularization(torch.zeros_like(x), x, "gradients").item() == pytest.approx(1)


def test_identity_and_gradients_hold_a_spot_more_than_a_change_of_light():
    x = torch.zeros(1, 1, 10, 10)
    spot = x.clone()
    spot[..., 5, 5] = 1
    losses = {
        name: [self_regularization(y, x, name).item() for y in (spot, x + 0.01)]
        for name in ("identity", "identity+gradients")
    }
    assert losses["identity"] == pytest.approx([0.01, 0.01])
    assert losses["identity+gradients"] == pytest.approx([0.01 + 4 / 90, 0.01])


@pytest.mark.parametrize("name", TRANSFORMS)
def test_gradients_agree_with_finite_differences(name):
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.rand(1, 3, 12, 12, dtype=torch.float64, generator=generator) for _ in range(2))
    weight = torch.rand(1, 1, 12, 12, dtype=torch.float64, generator=generator)
    logits = torch.randn(1, 2, 3, 3, dtype=torch.float64, generator=generator).requires_grad_()
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: self_regularization(a, y, name, weight), x)
    assert torch.autograd.gradcheck(realism_loss, logits)
    assert torch.autograd.gradcheck(lambda a: discriminator_loss(a, a * 0.5), logits)
