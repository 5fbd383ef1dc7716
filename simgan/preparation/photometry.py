"""Light, tones and sharpness of real images, fitted in closed form before the network adds texture.

With the adversarial loss alone a deterministic refiner gives all images one light, and paints over the object in the
middle. So each image gets the light of one of the real images, tone curves match the histogram of grey levels in each
cell of a grid, and details stronger than in that real image are weakened to its strength (as in Heeger and Bergen
1995). None of these moves an edge.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simgan.preparation.noise import axes, fingerprints

LIGHTS = 1024  # real images whose light and detail are kept
LEVELS, ROWS, COLUMNS = 64, 7, 11  # of the tone curves
BANDS = 2  # octaves of detail that are weakened, from the finest
_DARK = 16 / 127.5  # added before logarithms, so that black is finite
_MIDDLE = 0.75  # of half the width and height: an ellipse that is left out where light is measured
_KERNEL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # cubic B-spline, as in starlets: symmetric, so nothing moves


class Photometry(nn.Module):
    """Give images (B, C, H, W) in [−1, 1] light, tones and sharpness of a real one that a hash of theirs picks."""

    lights: Tensor  # (LIGHTS, 2): slopes of log brightness across and down, per half image
    details: Tensor  # (LIGHTS, BANDS): mean absolute detail of the same real images, infinite where untrained
    tones: Tensor  # (LEVELS, ROWS, COLUMNS): what a level becomes, in [−1, 1]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("lights", torch.full((LIGHTS, 2), torch.nan, dtype=torch.float32))
        self.register_buffer("details", torch.full((LIGHTS, BANDS), torch.inf, dtype=torch.float32))
        unchanged = torch.linspace(-1, 1, LEVELS, dtype=torch.float32)[:, None, None].expand(LEVELS, ROWS, COLUMNS)
        self.register_buffer("tones", unchanged.clone())

    @torch.no_grad()
    def learn(self, synthetic: Tensor, real: Tensor) -> None:
        """Fit to synthetic and real images, (N, C, H, W) and (M, C, H, W) in [−1, 1], of one size, without labels.

        Objects should lie at about the same places in both sets, or tone curves darken one's bright parts where the
        other has dark ones.
        """
        synthetic, real = synthetic.float(), real.float()
        kept = torch.arange(LIGHTS, device=real.device) % len(real)
        self.lights.copy_(_slopes(real)[kept])
        self.details.copy_(_strengths(_bands(real)[0])[kept])
        lit = self._relight(synthetic, fingerprints(synthetic) % LIGHTS)
        shares, levels = np.linspace(0, 1, LEVELS), np.linspace(-1, 1, LEVELS)
        for row, column in np.ndindex(ROWS, COLUMNS):
            high, wide = _cell(row, ROWS, real.shape[2]), _cell(column, COLUMNS, real.shape[3])
            before, after = (np.quantile(x[..., high, wide].cpu().numpy().ravel(), shares) for x in (lit, real))
            rising = before + np.arange(LEVELS) * 1e-6  # interpolation needs rising values
            self.tones[:, row, column] = torch.from_numpy(np.interp(levels, rising, after))

    def forward(self, x: Tensor) -> Tensor:
        """Return images with light, tones and sharpness changed, computed in float32, whatever x and the module are."""
        with torch.autocast(x.device.type, enabled=False):
            chosen = fingerprints(x.float()) % LIGHTS  # the real image of each
            return self._soften(self._tone(self._relight(x.float(), chosen)), chosen).to(x)

    def _relight(self, x: Tensor, chosen: Tensor) -> Tensor:
        change = (self.lights[chosen].float() - _slopes(x))[..., None, None]
        across, down = axes(x)
        known = change.isfinite().all(1, keepdim=True)
        change = change.nan_to_num()  # as the gradient of what is not chosen must be finite too
        gain = torch.exp(change[:, 0] * across + change[:, 1] * down)[:, None]
        lit = ((x + 1 + _DARK) * gain - 1 - _DARK).clamp(-1, 1)
        return torch.where(known, lit, x)

    def _tone(self, x: Tensor) -> Tensor:
        planes = x.flatten(0, 1)
        where = torch.stack([*(axis.expand_as(planes) for axis in axes(x)), planes], -1)[:, None]
        table = self.tones.float().expand(planes.shape[0], 1, *self.tones.shape)
        return F.grid_sample(table, where, padding_mode="border", align_corners=True).reshape(x.shape)

    def _soften(self, x: Tensor, chosen: Tensor) -> Tensor:
        bands, softened = _bands(x)
        strengths = _strengths(bands).clamp_min(1e-6)
        gains = self.details[chosen].float().minimum(strengths) / strengths
        for band, gain in zip(bands, gains.T[..., None, None, None], strict=True):
            softened = softened + gain * band
        return softened.clamp(-1, 1)


def _slopes(x: Tensor) -> Tensor:
    """Return slopes (B, 2) of log brightness across and down, fitted by least squares outside the middle.

    Pixels lie symmetrically about the centre, so each slope is fitted by itself.
    """
    across, down = axes(x)
    around = ((across / _MIDDLE).square() + (down / _MIDDLE).square() > 1).to(x)
    brightness = torch.log(x.mean(1) + 1 + _DARK)
    weights = (around * across, around * down)
    return torch.stack([(brightness * w).sum((1, 2)) / w.square().sum() for w in weights], 1)


def _bands(x: Tensor) -> tuple[list[Tensor], Tensor]:
    """Split x into `BANDS` octaves of detail and the rest, each of the shape of x; their sum is x."""
    bands, kernel = [], torch.outer(x.new_tensor(_KERNEL), x.new_tensor(_KERNEL))[None, None]
    for step in (2**octave for octave in range(BANDS)):
        around = F.pad(x, [2 * step] * 4, mode="reflect").flatten(0, 1)[:, None]
        smooth = F.conv2d(around, kernel, dilation=step).reshape(x.shape)
        bands.append(x - smooth)
        x = smooth
    return bands, x


def _strengths(bands: list[Tensor]) -> Tensor:
    """Return the mean absolute detail of each band, (B, BANDS)."""
    return torch.stack([band.abs().mean((1, 2, 3)) for band in bands], 1)


def _cell(k: int, cells: int, size: int) -> slice:
    """Return the rows (or columns) that the curve of cell k is fitted to: to the middles of the cells beside it."""
    first, last = ((k + side) / (cells - 1) * (size - 1) for side in (-1, 1))
    return slice(max(0, round(first)), round(last) + 1)
