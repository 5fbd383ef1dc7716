"""Classifier two-sample test (Lopez-Paz & Oquab 2017): can a fresh network tell two sets of images apart?

It learns on one half of each set and is asked about the other: an accuracy of 50 % says that it found no difference.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional

from simgan.errors import ConfigError, ImageError
from simgan.measures.estimates import Beside, Estimate, Names, groups_of

Images = NDArray[np.uint8]

_MAPS = (8, 32, 64)
_RATE, _BATCH = 0.005, 32
_MOVE = 2  # px either way that a training image is moved, so that places are not learned by heart


@dataclass(frozen=True)
class TwoSample:
    """How well the network tells the held-out images of both sets, which count alike, apart."""

    accuracy: float
    interval: tuple[float, float]  # Wilson's, 95 %, of as many images as count once groups are alike within
    p_value: float  # of an accuracy as high as this where the sets do not differ
    trained_on: int
    tested_on: int


def two_sample_test(
    a: Images,
    b: Images,
    *,
    groups: tuple[Names, Names] | None = None,
    steps: int = 200,
    seed: int = 0,
) -> TwoSample:
    """Train a small network to tell images of `a` from those of `b`, uint8 (N, H, W) of one size, and test it.

    `groups` names the person of each image of both sets; those of one group are either learned or asked about, also
    where both sets have some. Without, or where a set has but one, it is 10 blocks of its order. Both sets count alike:
    what one has more of is left out, evenly. `seed` fixes split, network and batches. `ImageError` where sets do not
    fit or are too small, `ConfigError` for no steps.
    """
    for images in (a, b):
        if images.dtype != np.uint8 or images.ndim != 3 or len(images) < 4 or min(images.shape[1:]) < 16:
            raise ImageError(
                f"a two-sample test takes uint8 (N, H, W), N ≥ 4, 16×16 up, not {images.dtype} {images.shape}"
            )
    if a.shape[1:] != b.shape[1:]:
        raise ImageError(f"images of {a.shape[1:]} and {b.shape[1:]} differ at a glance: crop alike")
    if steps < 1:
        raise ConfigError(f"a network cannot learn in {steps} steps: give at least 1")
    names = _names(len(a), len(b), groups)
    learned, asked = _split(names, np.random.default_rng(seed))
    values = [_values(images) for images in (a, b)]
    network = _trained([x[k] for x, k in zip(values, learned, strict=True)], steps, seed)
    right = []
    with torch.inference_mode():
        for truth, (x, chosen) in enumerate(zip(values, asked, strict=True)):
            logits = torch.cat([network(part) for part in x[chosen].split(256)])
            right.append(((logits > 0) == bool(truth)).numpy())
    tested = np.concatenate([np.char.add(f"{k} ", names[k][asked[k]]) for k in (0, 1)])
    return _result(np.concatenate(right), tested, 2 * len(learned[0]))


def measure_two_sample(
    refined: Images,
    real: Images,
    raw: Images,
    *,
    persons: Names | None = None,
    real_persons: Names | None = None,
    steps: int = 200,
    seed: int = 0,
) -> Beside:
    """Measure how often refined, raw and real are told from real; `persons` are those of the synthetic images.

    The floor is told between the halves of `real` in the order given: above 50 % where those differ by themselves. It
    learns from half as many images as the others, so that it is a little low.
    """
    own, theirs = groups_of(len(refined), persons), groups_of(len(real), real_persons)
    half = len(real) // 2

    def told(a: Images, b: Images, groups: tuple[Names, Names]) -> Estimate:
        result = two_sample_test(a, b, groups=groups, steps=steps, seed=seed)
        return Estimate(result.accuracy, *result.interval)

    return Beside(
        refined=told(refined, real, (own, theirs)),
        raw=told(raw, real, (own, theirs)),
        floor=told(real[:half], real[half:], (theirs[:half], theirs[half:])),
    )


def _names(count_a: int, count_b: int, groups: tuple[Names, Names] | None) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    persons_a, persons_b = groups or (None, None)
    return groups_of(count_a, persons_a), groups_of(count_b, persons_b)


def _split(
    names: tuple[NDArray[np.str_], NDArray[np.str_]], draw: np.random.Generator
) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Which images of both sets are learned and which asked about, as many of one set as of the other."""
    order = draw.permutation(np.unique(np.concatenate(names)))
    counts = np.array([[(x == name).sum() for x in names] for name in order], float)
    have = np.zeros((2, 2))  # images by side and set
    side: dict[str, int] = {}
    for place in np.argsort(-counts.sum(1), kind="stable"):  # the largest first, each where its set has less
        lower = have @ counts[place]
        side[str(order[place])] = chosen = int(lower[1] < lower[0])
        have[chosen] += counts[place]
    sides = []
    for which in (0, 1):
        members = [np.flatnonzero([side[str(name)] == which for name in x]) for x in names]
        size = min(map(len, members))
        if size < 2:
            raise ImageError("too few persons or images to learn from some and ask about others: give more of each set")
        sides.append([x[np.linspace(0, len(x) - 1, size).round().astype(int)] for x in members])
    return sides[0], sides[1]


def _trained(sets: list[Tensor], steps: int, seed: int) -> nn.Module:
    """Learn which of two sets (N, 1, H, W) an image is of; the network gives logits (N,) of the second."""
    images = torch.cat(sets)
    truth = torch.cat([torch.full((len(x),), float(k)) for k, x in enumerate(sets)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network().train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps + 1)
        for _ in range(steps):
            chosen = torch.randint(len(images), (min(_BATCH, len(images)),))
            across, down = torch.randint(-_MOVE, _MOVE + 1, (2,)).tolist()
            crops = functional.pad(images[chosen], (_MOVE,) * 4, mode="reflect")
            crops = crops[..., _MOVE + down :, _MOVE + across :][..., : images.shape[2], : images.shape[3]]
            loss = functional.binary_cross_entropy_with_logits(network(crops), truth[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def _network() -> nn.Module:
    layers: list[nn.Module] = []
    before = 1
    for maps in _MAPS:
        layers += [nn.Conv2d(before, maps, 3, padding=1, bias=False), nn.BatchNorm2d(maps), nn.ReLU(), nn.MaxPool2d(2)]
        before = maps
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(before, 1), nn.Flatten(0)]
    return nn.Sequential(*layers, *pooled)


def _values(images: Images) -> Tensor:
    return torch.from_numpy(images.astype(np.float32) * np.float32(2 / 255) - 1)[:, None]


def _result(right: NDArray[np.bool_], groups: NDArray[np.str_], trained_on: int) -> TwoSample:
    """Tell accuracy and interval; images of a group that are right or wrong together count as fewer (design effect)."""
    count, accuracy = len(right), float(right.mean())
    names = np.unique(groups)
    plain = accuracy * (1 - accuracy) / count
    clustered = sum(float((right[groups == name] - accuracy).sum()) ** 2 for name in names) / count**2
    clustered *= len(names) / max(len(names) - 1, 1)
    effective = round(count / max(1.0, clustered / plain)) if plain else count
    hits = round(accuracy * effective)
    interval = stats.binomtest(hits, max(effective, 1)).proportion_ci(method="wilson")
    p_value = float(stats.binom.sf(hits - 1, effective, 0.5))
    low, high = min(float(interval.low), accuracy), max(float(interval.high), accuracy)
    return TwoSample(accuracy, (low, high), p_value, trained_on, count)
