"""Classifier two-sample test (Lopez-Paz & Oquab 2017): 50 % right on images held out means that none differ."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from simgan.errors import ImageError
from simgan.images.arrays import Array, to_tensor
from simgan.measures.statistics import Compared, Estimate, Groups, Persons, estimate_all, group_images

_MAPS = (8, 32, 64)
_FEWEST = 4  # images of a set
_RATE, _BATCH = 0.005, 32
_MOVE = 2  # px: training images are moved by up to so much, so that places are not learned by heart


def two_sample_test(
    a: Array, b: Array, *, persons: Persons = (None, None), steps: int = 200, seed: int = 0
) -> Estimate:
    """Train a small network to distinguish images of `a` and `b`, uint8 (N, H, W) or (N, H, W, 3), and test it.

    Returns the accuracy on held-out images, as many of each set. A person (`persons` are those of each set) is never in
    both halves; where a set has fewer than 2, it is split by 10 blocks of its order. `seed` fixes split, network and
    batches. The interval resamples persons or blocks; it has no width where all answers are right. `ImageError` where
    sets do not fit or are too small.
    """
    enough = min(len(a), len(b)) >= _FEWEST
    fits = enough and all(x.dtype == np.uint8 and x.ndim in (3, 4) and min(x.shape[1:3]) >= 16 for x in (a, b))
    if not fits or a.shape[1:] != b.shape[1:]:
        given = f"{a.dtype} {a.shape} and {b.dtype} {b.shape}"
        raise ImageError(
            f"a two-sample test takes uint8 (N, H, W), N ≥ {_FEWEST}, 16×16 up, crop them to one size: not {given}"
        )
    names = []
    for images, own in zip((a, b), persons, strict=True):
        groups, what = group_images(len(images), own, fewest=2, blocks=10)
        names.append(np.asarray(own, str) if "persons" in what else np.char.add("block ", groups.astype(str)))
    train, test = _split(names, np.random.default_rng(seed))
    values = [to_tensor(images) for images in (a, b)]
    network = _trained([x[k] for x, k in zip(values, train, strict=True)], steps, seed)
    with torch.inference_mode():
        told = [torch.cat([network(part) > 0 for part in x[k].split(256)]) for x, k in zip(values, test, strict=True)]
    tested = [np.unique(own[k], return_inverse=True)[1] for own, k in zip(names, test, strict=True)]
    return _accuracy([(~told[0]).numpy(), told[1].numpy()], tested)


def measure_two_sample(
    refined: Array, real: Array, raw: Array, *, persons: Persons = (None, None), steps: int = 200, seed: int = 0
) -> Compared:
    """Return how often a network recognizes refined, raw and real images among real ones, as accuracies.

    The last is the floor, between the halves of `real` as ordered: above 50 % where these differ by themselves. Its
    network is trained on half as many images as the others, so that it is a little low.
    """
    if (half := len(real) // 2) < _FEWEST:
        raise ImageError(f"a classifier needs at least {2 * _FEWEST} real images, not {len(real)}: give more of them")
    halves = (None, None) if persons[1] is None else (persons[1][:half], persons[1][half:])
    pairs = ((refined, real, persons), (raw, real, persons), (real[:half], real[half:], halves))
    first, second, floor = (two_sample_test(*two, persons=both, steps=steps, seed=seed) for *two, both in pairs)
    return first, second, floor


def _accuracy(right: list[NDArray[np.bool_]], groups: list[Groups]) -> Estimate:
    """Return the accuracy over both sets, which count alike, of answers that are right or wrong."""
    (found,) = estimate_all(
        lambda *chosen: [float(np.mean([x[k].mean() for x, k in zip(right, chosen, strict=True)]))], *groups
    )
    return Estimate(found.value, max(found.low, 0.0), min(found.high, 1.0))


def _split(names: Sequence[NDArray[np.str_]], draw: np.random.Generator) -> list[list[Groups]]:
    """Return the images of both sets to train on and those to test on, as many of one set as of the other."""
    order = draw.permutation(np.unique(np.concatenate(names)))
    counts = np.array([[(x == name).sum() for x in names] for name in order], float)
    have = np.zeros((2, 2))  # images by half and set
    side: dict[str, int] = {}
    for place in np.argsort(-counts.sum(1), kind="stable"):  # the largest first, to the half with fewer of its set
        lower = have @ counts[place]
        side[str(order[place])] = chosen = int(lower[1] < lower[0])
        have[chosen] += counts[place]
    sides = []
    for which in (0, 1):
        members = [np.flatnonzero([side[str(name)] == which for name in x]) for x in names]
        size = min(map(len, members))
        if size < 2:
            raise ImageError("too few persons or images to train on some and test on others: give more of each set")
        sides.append([x[np.linspace(0, len(x) - 1, size).round().astype(int)] for x in members])
    return sides


def _trained(sets: list[Tensor], steps: int, seed: int) -> nn.Module:
    """Return a network trained on two sets (N, C, H, W); its logits (N,) are positive for the second."""
    images = torch.cat(sets)
    truth = torch.cat([torch.full((len(x),), float(k)) for k, x in enumerate(sets)])
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for before, maps in zip((images.shape[1], *_MAPS), _MAPS, strict=False):
            layers += [nn.Conv2d(before, maps, 3, padding=1, bias=False), nn.BatchNorm2d(maps), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(_MAPS[-1], 1), nn.Flatten(0)]
        network = nn.Sequential(*layers)
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
