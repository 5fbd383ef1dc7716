"""The crop: which part of a frame becomes the image that a network sees, and where its landmarks go."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from simgan.data.columns import POINTS, Row, known
from simgan.errors import ConfigError
from simgan.images.files import MAXIMUM_PIXELS

Size = tuple[int, int]


@dataclass(frozen=True)
class Correction:
    """How every crop of a source is changed so that it agrees with real ones (`simgan.data.alignment` finds it).

    The box becomes `scale` times as wide and as high, and its centre moves by `x` and `y` px of the crop.
    """

    scale: float = 1.0
    x: float = 0.0
    y: float = 0.0

    def then(self, other: Correction) -> Correction:
        """Give the correction that does this one, and then the other to what came of it."""
        return Correction(self.scale * other.scale, self.x + self.scale * other.x, self.y + self.scale * other.y)


NONE = Correction()
EYES: Size = (55, 35)
HANDS: Size = (224, 224)


@dataclass(frozen=True)
class Format:
    """What crops are to be: width and height (None: as their images are), 1 (grey) or 3 channels, and a correction."""

    size: Size | None = EYES
    channels: int = 1
    correction: Correction = NONE

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 16:
            raise ConfigError(f"a crop of {self.size[0]}×{self.size[1]} pixels is too small: at least 16×16 are needed")
        if self.channels not in (1, 3):
            raise ConfigError(f"a crop has 1 (grey) or 3 (colour) channels, not {self.channels}")

    @property
    def eye_size(self) -> Size:
        """The size, that of the paper where none is asked for: eyes have no size of their own in a frame."""
        return self.size or EYES

    @property
    def hand_size(self) -> Size:
        """The size of a crop of a hand, a square of depth; that of the paper where none is asked for."""
        size = self.size or HANDS
        if size[0] != size[1]:
            raise ConfigError(f"hands are cropped to squares, not to {size[0]}×{size[1]}: give a size such as 224×224")
        if self.channels != 1:
            raise ConfigError("hands are depth images of 1 channel: leave the channels as they are")
        return size

    def tones(self, array: np.ndarray) -> np.ndarray:
        """Give a stored image without alpha, as (H, W) luminance or as (H, W, 3)."""
        if array.ndim == 3 and array.shape[2] in (2, 4):
            array = np.ascontiguousarray(array[..., :-1])
        if array.ndim == 3 and array.shape[2] == 1:
            array = array[..., 0]
        if self.channels == 3:
            return array if array.ndim == 3 else np.repeat(array[..., None], 3, -1)
        return array if array.ndim == 2 else cv2.cvtColor(array, cv2.COLOR_RGB2GRAY)


CLOSE = 0.2
"""An image whose sides differ from the crop's by no more than this share is cut, not resized."""


@dataclass(frozen=True)
class Crop:
    """A box in pixel *edges* of a frame (0 is the left edge of the leftmost pixel) and the size that it becomes."""

    left: float
    top: float
    width: float
    height: float
    size: Size

    @classmethod
    def around(cls, centre: np.ndarray, width: float, size: Size) -> Crop:
        """Box of that width in px of the frame, of the size's aspect; `centre` in coordinates of pixel centres."""
        height = width * size[1] / size[0]
        return cls(float(centre[0] + 0.5 - width / 2), float(centre[1] + 0.5 - height / 2), width, height, size)

    @classmethod
    def fitting(cls, frame: Size, size: Size) -> Crop:
        """Cut from the centre of a frame that is within 20 % of the size; else the widest box of the same aspect."""
        if all(abs(f / s - 1) <= CLOSE and f >= s for f, s in zip(frame, size, strict=True)):
            return cls((frame[0] - size[0]) // 2, (frame[1] - size[1]) // 2, *size, size)
        scale = min(frame[0] / size[0], frame[1] / size[1])
        width, height = size[0] * scale, size[1] * scale
        return cls((frame[0] - width) / 2, (frame[1] - height) / 2, width, height, size)

    def corrected(self, correction: Correction) -> Crop:
        """Give the box changed by a correction."""
        if correction == NONE:
            return self
        width, height = self.width * correction.scale, self.height * correction.scale
        x = self.left + self.width / 2 + correction.x * self.width / self.size[0]
        y = self.top + self.height / 2 + correction.y * self.height / self.size[1]
        return Crop(x - width / 2, y - height / 2, width, height, self.size)

    @property
    def scale(self) -> np.ndarray:
        """Pixels of the crop for one of the frame, along x and y."""
        return np.array([self.size[0] / self.width, self.size[1] / self.height])

    def cut(self, frame: np.ndarray) -> np.ndarray:
        """Resample a frame, uint8 (H, W) or (H, W, 3); what lies outside repeats its border.

        Depth, uint16 (H, W), is not mixed: each pixel is its nearest one, and 0, no reading, where that lies outside.
        """
        box = np.array([self.left, self.top, self.left + self.width, self.top + self.height])
        high, wide = frame.shape[:2]
        if (self.width, self.height) == self.size and np.all(box == box.round()) and self._inside(box, wide, high):
            x, y = int(self.left), int(self.top)
            return np.ascontiguousarray(frame[y : y + self.size[1], x : x + self.size[0]])
        if frame.dtype == np.uint16:
            return self._nearest(frame)
        if not self._inside(box, wide, high):
            reach = np.maximum(box[2:], [wide, high]) - np.minimum(box[:2], 0)
            if not reach.prod() < MAXIMUM_PIXELS:  # nor is what is not a number
                raise ValueError(f"the crop would be {box.round(1).tolist()} of a frame of {wide}×{high} pixels")
            before = np.ceil(np.maximum(-box[:2], 0)).astype(int)
            after = np.ceil(np.maximum(box[2:] - [wide, high], 0)).astype(int)
            frame = cv2.copyMakeBorder(frame, before[1], after[1], before[0], after[0], cv2.BORDER_REPLICATE)
            box += np.tile(before, 2)
        return np.array(Image.fromarray(frame).resize(self.size, Image.Resampling.BICUBIC, box=tuple(box)))

    def _nearest(self, frame: np.ndarray) -> np.ndarray:
        starts, sides = (self.left, self.top), (self.width, self.height)
        columns, rows = (
            np.floor(start + (np.arange(size) + 0.5) * side / size)
            for start, side, size in zip(starts, sides, self.size, strict=True)
        )
        inside = np.outer((rows >= 0) & (rows < frame.shape[0]), (columns >= 0) & (columns < frame.shape[1]))
        places = np.ix_(rows.clip(0, frame.shape[0] - 1).astype(int), columns.clip(0, frame.shape[1] - 1).astype(int))
        return np.where(inside, frame[places], 0).astype(frame.dtype)

    @staticmethod
    def _inside(box: np.ndarray, wide: int, high: int) -> bool:
        return bool(box[0] >= 0 and box[1] >= 0 and box[2] <= wide and box[3] <= high)

    def move(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2 or more) of the frame to those of the crop, whole numbers pixel centres; all but x, y stay."""
        moved = np.array(points, float)
        moved[..., :2] = (moved[..., :2] + 0.5 - [self.left, self.top]) * self.scale - 0.5
        return moved

    def move_labels(self, row: Row) -> Row:
        """Move every label of a row that is in pixels."""
        return row | {name: self.move(row[name]).tolist() for name in POINTS if known(row.get(name))}
