"""Refining what a visitor sent: each image by itself, photographs by the crops that are found in them."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from simgan.errors import ImageError
from simgan.images.arrays import Array
from simgan.images.files import encode_like, encode_png
from simgan.measures.statistics import Floats
from simgan.space.accelerator import compute
from simgan.space.events import MODEL, TEXTS
from simgan.space.models import Model, check_image
from simgan.space.notes import pair
from simgan.space.photographs import cut, find_crops, put_back
from simgan.space.uploads import Opened, open_uploads

PAIR = 110  # pixels of the height of a small picture, about


@dataclass(frozen=True)
class Refined:
    """An image before and after, stored images, with the files that a visitor gets."""

    name: str
    before: Array
    after: Array
    files: tuple[tuple[str, bytes], ...]  # names and contents
    source: str  # the name of the image among them, or of the upload, that `refine` makes it from; "" for photographs
    upload: int  # the number of the upload it is of
    seconds: float
    picture: Array  # RGB, both of them side by side
    done: tuple[str, ...] = ()  # what was done to the upload beside refining, in sentences


@dataclass(frozen=True)
class Sent:
    """What became of the images of an event."""

    refined: list[Refined]
    failed: dict[int, str]  # sentences by the number of the upload

    @property
    def last(self) -> Refined:
        """What became of the last upload: a photograph before its crops."""
        return next(one for one in self.refined if one.upload == self.refined[-1].upload)


@dataclass(frozen=True)
class _Part:
    """An upload, the stored images of it that go through the network, and where in a photograph they lie."""

    number: int
    opened: Opened
    stored: list[Array]
    crops: list[Floats]


def refine_uploads(model: Model, paths: Sequence[str], strength: float, only: int | None = None) -> Sent:
    """Refine images that were sent, each of which can fail by itself; `ImageError` for none, too many, or no strength.

    A photograph becomes several images: itself, and the crops that were found in it. `only`: refine the upload of this
    number alone, with the result that it has among the others.
    """
    if not isinstance(strength, int | float) or not 0 <= strength <= 1:  # NaN too
        raise ImageError("the strength is a number from 0 to 1: choose one with the slider, or type it")
    wanted = [*range(len(paths))] if only is None else [only]
    parts, failed = _prepare(model, [paths[number] for number in wanted], wanted, len(paths))
    start = time.perf_counter()
    (after,) = _compute(model, parts, [strength])
    seconds = (time.perf_counter() - start) / max(1, len(after))
    return Sent([one for part in parts for one in _finish(model, part, after, seconds)], failed)


def compare_all(models: Sequence[Model], path: str, strengths: Sequence[float]) -> list[tuple[Any, str]]:
    """Return what each model makes of an image at each strength, with a caption: the first of it as it is."""
    shown: list[tuple[Any, str]] = []
    for model in models:
        parts, failed = _prepare(model, [path], [0], len(strengths))
        if failed:
            raise ImageError(*failed.values())
        for strength, after in zip(strengths, _compute(model, parts, strengths), strict=True):
            image = _finish(model, parts[0], after, 0)[0]
            before, refined = model.refiner.codec.show(image.before, image.after)
            if not shown:
                shown.append((Image.fromarray(before), "as it is"))
            shown.append((Image.fromarray(refined), f"{model.name} · {strength:g}"))
    return shown


def _prepare(
    model: Model, paths: Sequence[str], numbers: Sequence[int], count: int
) -> tuple[list[_Part], dict[int, str]]:
    """Read uploads, as many of which as `count` share what a model may compute; return them, and why others fail."""
    parts, failed = [], {}
    for number, opened in zip(numbers, open_uploads(paths, model.most_pixels(max(1, count))), strict=True):
        try:
            if isinstance(opened, ImageError):
                raise opened
            with MODEL:  # the detector is one for all, too
                crops = find_crops(model, opened.image)
            size = model.domain.size or opened.image.size
            sources = [cut(opened.image, crop, size) for crop in crops] or [opened.image]
            stored = [check_image(model.refiner, source, opened.name) for source in sources]
            model.check_work([math.prod(image.shape[:2]) for image in stored])
            parts.append(_Part(number, opened, stored, crops))
        except ImageError as error:
            failed[number] = str(error)
    return parts, failed


def _compute(model: Model, parts: Sequence[_Part], strengths: Sequence[float]) -> list[list[Array]]:
    """Return the stored images of all uploads, refined at each strength, by one call of the network's GPU."""
    stored = [image for part in parts for image in part.stored]
    with MODEL:
        refined: list[list[Array]] = compute(_network, model, stored, strengths) if stored else [[]]
    return refined


def _network(model: Model, stored: list[Array], strengths: Sequence[float]) -> list[list[Array]]:
    return [model.refiner.refine(stored, strength) for strength in strengths]


def _finish(model: Model, part: _Part, after: list[Array], seconds: float) -> list[Refined]:
    """Take an upload's refined images from the front of a list, and return its results."""
    picture, codec, name = part.opened.image, model.refiner.codec, part.opened.name
    refined = [after.pop(0) for _ in part.stored]

    def made(title: str, before: Array, after: Array, source: str, *files: tuple[str, bytes], **about: Any) -> Refined:
        shown = pair(codec, before, after, PAIR)
        return Refined(title, before, after, files, source, part.number, seconds, shown, **about)

    if not part.crops:
        data = encode_like(codec.restore(refined[0], picture), picture, picture.format)
        return [made(name, part.stored[0], refined[0], name, (part.opened.written, data), done=part.opened.done)]
    whole, found = picture, []
    for k, (crop, first, second) in enumerate(zip(part.crops, part.stored, refined, strict=True), 1):
        whole = put_back(whole, crop, first, second)
        title = f"{Path(name).stem} crop {k}"
        files = (f"{title}.png", encode_png(first)), (f"{title} refined.png", encode_png(second))
        found.append(made(title, first, second, f"{title}.png", *files))
    told = (*part.opened.done, TEXTS.cut_out(model, name, len(part.crops)).strip())
    data, (before, changed) = encode_like(whole, picture, picture.format), map(_colours, (picture, whole))
    return [made(name, before, changed, "", (part.opened.written, data), done=told), *found]


def _colours(image: Image.Image) -> Array:
    return np.asarray(image.convert("RGB"))
