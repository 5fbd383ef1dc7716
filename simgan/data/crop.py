"""The crop: the part of a frame that becomes the image, and the labels that move with it."""

from __future__ import annotations

import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from datasets import Dataset
from PIL import Image

from simgan.data.columns import Row, known, labels
from simgan.domains.base import Size
from simgan.errors import ConfigError, SourceError
from simgan.images import marks
from simgan.images.files import MAXIMUM_PIXELS

CLOSE = 0.2  # an image whose sides are at most this share larger than the crop's is cut, not resized


@dataclass(frozen=True)
class Correction:
    """A change of all crops of a source that makes them agree with real ones (`simgan.data.alignment` finds it).

    The box becomes `scale` times as wide and as high, and its centre moves by `x` and `y` px of the crop.
    """

    scale: float = 1.0
    x: float = 0.0
    y: float = 0.0

    def then(self, other: Correction) -> Correction:
        """Return the correction that applies this one first and the other to its result."""
        return Correction(self.scale * other.scale, self.x + self.scale * other.x, self.y + self.scale * other.y)


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a source: size of the crops (None: as they are), channels, count, seed, correction.

    `window`: squares of that side at random places instead of the images, `each` of an image or fewer of a small one.
    """

    size: Size | None = None
    channels: int = 1
    limit: int | None = None
    seed: int = 0
    correction: Correction | None = None
    window: int = 0
    each: int = 1

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 16:
            raise ConfigError(f"a crop of {self.size[0]}×{self.size[1]} pixels is too small: at least 16×16 are needed")
        if self.channels not in (1, 3):
            raise ConfigError(f"a crop has 1 (grey) or 3 (colour) channels, not {self.channels}")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"a limit of {self.limit} leaves nothing: give at least 1, or none")
        if self.seed < 0:
            raise ConfigError(f"a seed is a whole number from 0 on, not {self.seed}")

    def to_channels(self, array: np.ndarray) -> np.ndarray:
        """Return a stored image without alpha, as (H, W) luminance or as (H, W, 3), `ConfigError` for one of depth."""
        if array.ndim == 3:
            array = np.ascontiguousarray(array[..., :3] if array.shape[2] > 2 else array[..., 0])
        if self.channels == 3:
            if array.dtype == np.uint16:
                raise ConfigError("depth has 1 channel: leave the channels at 1")
            return array if array.ndim == 3 else np.repeat(array[..., None], 3, -1)
        return array if array.ndim == 2 else cv2.cvtColor(array, cv2.COLOR_RGB2GRAY)

    def windows(self, frame: Size, name: str) -> list[Crop]:
        """Return the windows of a frame, always the same by its `name`; `SourceError` where it is smaller than one."""
        side, room = self.window, [length - self.window for length in frame]
        if min(room) < 0:
            size = "×".join(map(str, frame))
            raise SourceError(
                f"{name} is {size} pixels, less than a window of {side}: lower --window, or give a --size"
            )
        count = min(self.each, -(-2 * frame[0] * frame[1] // side**2)) if max(room) else 1  # overlap is no news
        places = np.random.default_rng([self.seed, zlib.crc32(name.encode())]).integers(0, np.add(room, 1), (count, 2))
        return [Crop(left, top, side, side, (side, side)) for left, top in places.tolist()]


def warn_of_lost_labels(source: str, data: Dataset, size: Size) -> None:
    """Warn where labels lie outside of images of that size, because they were cut to another aspect."""
    for name, kind in marks.COLUMNS.items():
        if name in data.column_names and kind != "mask":
            lost = sum(known(value) and not marks.is_within(value, name, size) for value in data[name])
            if lost:
                warnings.warn(
                    f"{source}: {name} of {lost} of {len(data)} images lie outside of what was cut to "
                    f"{size[0]}×{size[1]}: give a --size of the images' aspect",
                    stacklevel=2,
                )


@dataclass(frozen=True)
class Crop:
    """A box in pixel *edges* of a frame (0 is the left edge of the leftmost pixel), and the size of its image."""

    left: float
    top: float
    width: float
    height: float
    size: Size

    @classmethod
    def around(cls, centre: np.ndarray, width: float, size: Size) -> Crop:
        """Return a box of that width in px of the frame and the aspect of `size`; whole numbers are pixel centres."""
        height = width * size[1] / size[0]
        return cls(float(centre[0] + 0.5 - width / 2), float(centre[1] + 0.5 - height / 2), width, height, size)

    @classmethod
    def fitting(cls, frame: Size, size: Size, *, cut: bool = True) -> Crop:
        """Return the largest box of the size's aspect; with `cut` the centre of a frame that is at most 20 % larger."""
        if cut and all(abs(f / s - 1) <= CLOSE and f >= s for f, s in zip(frame, size, strict=True)):
            return cls((frame[0] - size[0]) // 2, (frame[1] - size[1]) // 2, *size, size)
        scale = min(frame[0] / size[0], frame[1] / size[1])
        width, height = size[0] * scale, size[1] * scale
        return cls((frame[0] - width) / 2, (frame[1] - height) / 2, width, height, size)

    def corrected(self, correction: Correction | None) -> Crop:
        """Return the box changed by a correction."""
        if correction is None:
            return self
        width, height = self.width * correction.scale, self.height * correction.scale
        x = self.left + self.width / 2 + correction.x * self.width / self.size[0]
        y = self.top + self.height / 2 + correction.y * self.height / self.size[1]
        return Crop(x - width / 2, y - height / 2, width, height, self.size)

    def within(self, frame: Size) -> Crop:
        """Return the box moved so that it lies within a frame, and made smaller where it is larger."""
        share = min(1.0, frame[0] / self.width, frame[1] / self.height)
        width, height = share * self.width, share * self.height
        left = np.clip(self.left + (self.width - width) / 2, 0, frame[0] - width)
        top = np.clip(self.top + (self.height - height) / 2, 0, frame[1] - height)
        return Crop(float(left), float(top), width, height, self.size)

    def cut(self, frame: np.ndarray) -> np.ndarray:
        """Resample a frame, uint8 (H, W) or (H, W, 3), to the size; its border is repeated outside of it.

        Depth, uint16 (H, W), is not interpolated: each pixel is its nearest one, and 0, no reading, outside.
        """
        high, wide = frame.shape[:2]
        if (self.width, self.height) == self.size and {self.left % 1, self.top % 1} == {0}:
            left, top = int(self.left), int(self.top)
            part = frame[max(top, 0) : top + self.size[1], max(left, 0) : left + self.size[0]]
            if part.shape[1::-1] == self.size:
                return np.ascontiguousarray(part)
        if frame.dtype == np.uint16:
            sides = (self.top, self.height, self.size[1], high), (self.left, self.width, self.size[0], wide)
            nearest = [
                np.floor(start + (np.arange(count) + 0.5) * side / count).clip(-1, end).astype(int) + 1
                for start, side, count, end in sides
            ]
            return cv2.copyMakeBorder(frame, 1, 1, 1, 1, cv2.BORDER_CONSTANT)[np.ix_(*nearest)]
        box = np.array([self.left, self.top, self.left + self.width, self.top + self.height])
        reach = np.maximum(box[2:], [wide, high]) - np.minimum(box[:2], 0)
        if not reach.prod() < MAXIMUM_PIXELS:  # also refuses NaN
            raise ValueError(f"the crop would be {box.round(1).tolist()} of a frame of {wide}×{high} pixels")
        left, top = np.ceil(np.maximum(-box[:2], 0)).astype(int)
        right, bottom = np.ceil(np.maximum(box[2:] - [wide, high], 0)).astype(int)
        if left or top or right or bottom:
            frame = cv2.copyMakeBorder(frame, top, bottom, left, right, cv2.BORDER_REPLICATE)
        box += [left, top, left, top]
        return np.array(Image.fromarray(frame).resize(self.size, Image.Resampling.BICUBIC, box=tuple(box)))

    def move(self, points: np.ndarray) -> np.ndarray:
        """Return points (..., 2 or more) of the frame in px of the crop: x and y, the first two numbers, change."""
        scale = [self.size[0] / self.width, self.size[1] / self.height]
        moved = np.array(points, float)
        moved[..., :2] = (moved[..., :2] + 0.5 - [self.left, self.top]) * scale - 0.5
        return moved

    def move_labels(self, row: Row) -> Row:
        """Return the row with all of its labels in pixels moved; masks, cut to the nearest pixel, become arrays."""
        scale = self.size[0] / self.width, self.size[1] / self.height
        offset = -self.left * scale[0], -self.top * scale[1]

        def moved(value: Any, kind: marks.Kind) -> Any:
            if kind == "mask":
                return self.cut(marks.read_mask(value).astype(np.uint16)).astype(np.uint8)
            return marks.move(value, kind, scale, offset)

        moving = {name: label.marks for name, label in labels().items() if label.in_pixels and known(row.get(name))}
        return row | {name: moved(row[name], kind) for name, kind in moving.items()}
