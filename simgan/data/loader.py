"""Crops for training: from Arrow's memory to arrays, without a Python object for each row."""

import hashlib
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from simgan.data.columns import labels
from simgan.domains.base import MarkedWeight, PointsWeight
from simgan.errors import ConfigError, ImageError, SourceError
from simgan.images.marks import COLUMNS, draw


class Crops:
    """The images of a data set by number, of one size, grey or in colour (3 `channels`); depth keeps its 16 bits."""

    def __init__(self, dataset: Dataset, *, channels: int = 1) -> None:
        if "image" not in dataset.column_names or not len(dataset):
            raise SourceError("a data set of crops needs a column image and at least one row")
        self._colour = channels == 3
        self._table = dataset.data.table
        self._cells = pc.struct_field(self._table.column("image"), "bytes")
        order = dataset._indices  # of rows, after select, shuffle or filter; None where all are in place
        self._order = np.arange(len(dataset)) if order is None else order.column(0).to_numpy()
        self._points: dict[str, np.ndarray] = {}
        self._marked: set[str] = set()  # columns that mark something
        first = self.each([0])[0]
        self.shape: tuple[int, ...] = first.shape
        self.dtype: np.dtype[Any] = first.dtype

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, indices: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Return images by number, (N, H, W[, 3]); `ImageError` if one is broken or unlike the first in size, depth."""
        rows = self._order[indices]
        images = np.empty((len(rows), *self.shape), self.dtype)
        for place, row in enumerate(rows):
            image = self._decode(row)
            if image.shape != self.shape or image.dtype != self.dtype:
                (high, wide), (first_high, first_wide) = image.shape[:2], self.shape[:2]
                raise ImageError(
                    f"image {row} is {wide}×{high} pixels of {image.dtype} and the first {first_wide}×{first_high} of "
                    f"{self.dtype}: prepare the data set to one size, and keep 8 and 16 bits in data sets of their own"
                )
            images[place] = image
        return images

    def digest(self) -> str:
        """Return a hash of the files of the images, in their order."""
        found = hashlib.sha256(repr((self.shape, self._colour)).encode())
        for row in self._order:
            found.update(self._cells[row].as_buffer() or b"")
        return found.hexdigest()

    def each(self, indices: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Return images by number, whatever their sizes."""
        return [self._decode(row) for row in self._order[indices]]

    def masks(self, indices: Sequence[int] | np.ndarray, weight: PointsWeight | MarkedWeight) -> np.ndarray:
        """Return masks float32 (N, H, W) in [0, 1], 1 where the label must not move; 0 in images without the label.

        Of points, soft discs whose edge is 2 px wide; else what the column marks: `ConfigError` where it does not move
        with the crop, `SourceError` where it is missing or marks nothing in any image.
        """
        high, wide = self.shape[:2]
        rows = self._order[indices]
        if isinstance(weight, MarkedWeight):
            self._check_marked(weight.column)
            return np.stack([self._drawn(row, weight.column) for row in rows])
        masks = np.zeros((len(rows), high, wide), np.float32)
        for column in set(weight.columns).intersection(self._table.column_names):
            if column not in self._points:
                self._points[column] = _points(self._table.column(column).combine_chunks())
            x, y = (self._points[column][rows, :, axis, None, None] for axis in (0, 1))
            across = (np.arange(wide, dtype=np.float32) - x) ** 2
            down = (np.arange(high, dtype=np.float32)[:, None] - y) ** 2
            nearest = np.sqrt(np.fmin.reduce(across + down, axis=1))
            np.fmax(masks, np.clip((np.float32(weight.radius) - nearest) / 2 + np.float32(0.5), 0, 1), out=masks)
        return masks

    def _check_marked(self, column: str) -> None:
        if column in self._marked:
            return
        if column not in self._table.column_names:
            raise SourceError(f"there is no column {column}: the images have {', '.join(self._table.column_names)}")
        label = labels().get(column)
        if label is None or not label.in_pixels:
            raise ConfigError(
                f"the column {column} does not move with the crop: name it as one of {', '.join(COLUMNS)}"
            )
        if not any(self._drawn(row, column).any() for row in self._order):
            raise SourceError(f"the column {column} marks nothing in any image: give pixels of these images")
        self._marked.add(column)

    def _drawn(self, row: Any, column: str) -> np.ndarray:
        high, wide = self.shape[:2]
        return draw(self._table.column(column)[row].as_py(), column, (wide, high), f"image {row} of the data set")

    def _decode(self, row: int) -> np.ndarray:
        cell = self._cells[row].as_buffer()  # None where there is none
        flag = cv2.IMREAD_COLOR if self._colour else cv2.IMREAD_ANYDEPTH  # grey, of 8 or 16 bits
        image = cv2.imdecode(np.frombuffer(cell, np.uint8), flag) if cell else None
        if image is None:
            raise ImageError(f"image {row} of the data set cannot be decoded: it must be PNG bytes, not a path")
        return image[..., ::-1] if self._colour else image


def _points(labels: pa.Array) -> np.ndarray:
    """Return the points of each row, a point or a list of them, float32 (N, M, 2); NaN fills up rows with fewer."""
    if pa.types.is_nested(labels.type.value_type):
        row, cells = pc.list_parent_indices(labels).to_numpy(), labels.flatten()
    else:
        row, cells = np.flatnonzero(labels.is_valid()), labels
    counts = np.bincount(row, minlength=len(labels))
    points = np.full((len(labels), counts.max(initial=1), 2), np.nan, np.float32)
    place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    points[row, place] = np.asarray(cells.flatten(), np.float32).reshape(len(row), -1)[:, :2]
    return points
