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
from simgan.space.accelerator import compute
from simgan.space.events import MODEL, TEXTS
from simgan.space.models import Model, check_image
from simgan.space.notes import pair
from simgan.space.photographs import cut, find_crops, put_back
from simgan.space.uploads import Opened, open_uploads

PAIR = 110  # pixels of the height of a small picture, about
HEIF = (".heic", ".heif", ".hif")  # suffixes of files that are written as PNG


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


def refine_uploads(model: Model, paths: Sequence[str], strength: float) -> Sent:
    """Refine each of the images that were sent; `ImageError` where none can be.

    A photograph becomes several images: itself, and the crops that were found in it.
    """
    if not isinstance(strength, int | float) or not 0 <= strength <= 1:  # NaN too
        raise ImageError("the strength is a number from 0 to 1: choose one with the slider, or type it")
    failed: dict[int, str] = {}
    refined: list[Refined] = []
    for number, opened in enumerate(open_uploads(paths, model.most_pixels(max(1, len(paths))))):
        try:
            if isinstance(opened, ImageError):
                raise opened
            refined += _refine(model, opened, strength, number)
        except ImageError as error:
            failed[number] = str(error)
    return Sent(refined, failed)


def _refine(model: Model, opened: Opened, strength: float, number: int) -> list[Refined]:
    picture, codec = opened.image, model.refiner.codec
    with MODEL:  # the detector is one for all, too
        crops = find_crops(model, picture)
    size = model.domain.size or picture.size
    sources = [cut(picture, crop, size) for crop in crops] or [picture]
    stored = [check_image(model.refiner, source, opened.name) for source in sources]
    model.check_work([math.prod(image.shape[:2]) for image in stored])
    with MODEL:
        start = time.perf_counter()
        after = compute(_network, model, stored, strength)
        seconds = (time.perf_counter() - start) / len(stored)
    name = Path(opened.name)
    written = f"{name.stem}.png" if name.suffix.lower() in HEIF else name.name

    def made(title: str, before: Array, after: Array, source: str, *files: tuple[str, bytes], **about: Any) -> Refined:
        return Refined(title, before, after, files, source, number, seconds, pair(codec, before, after, PAIR), **about)

    if not crops:
        data = encode_like(codec.restore(after[0], picture), picture, picture.format)
        return [made(name.name, stored[0], after[0], name.name, (written, data), done=opened.done)]
    whole, found = picture, []
    for k, (crop, first, second) in enumerate(zip(crops, stored, after, strict=True), 1):
        whole = put_back(whole, crop, first, second)
        title = f"{name.stem} crop {k}"
        files = (f"{title}.png", encode_png(first)), (f"{title} refined.png", encode_png(second))
        found.append(made(title, first, second, f"{title}.png", *files))
    told = (*opened.done, TEXTS.cut_out(model, opened.name, len(crops)).strip())
    data, (before, changed) = encode_like(whole, picture, picture.format), map(_colours, (picture, whole))
    return [made(name.name, before, changed, "", (written, data), done=told), *found]


def _network(model: Model, stored: list[Array], strength: float) -> list[Array]:
    return model.refiner.refine(stored, strength)


def _colours(image: Image.Image) -> Array:
    return np.asarray(image.convert("RGB"))


def compare_all(models: Sequence[Model], path: str, strengths: Sequence[float]) -> list[tuple[Any, str]]:
    """Return what each model makes of an image at each strength, with a caption: the first of it as it is."""
    shown: list[tuple[Any, str]] = []
    for model in models:
        for strength in strengths:
            sent = refine_uploads(model, [path], strength)
            if sent.failed:
                raise ImageError(*sent.failed.values())
            image = sent.refined[0]
            before, after = model.refiner.codec.show(image.before, image.after)
            if not shown:
                shown.append((Image.fromarray(before), "as it is"))
            shown.append((Image.fromarray(after), f"{model.name} · {strength:g}"))
    return shown
