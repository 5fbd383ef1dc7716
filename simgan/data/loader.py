"""Crops for training: from Arrow's memory to arrays, without a Python object for each row."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from simgan.domains.base import PointsWeight
from simgan.errors import ImageError, SourceError


class Crops:
    """The images of a data set, all of one size, by number; mapped files stay on disk.

    `channels` 1 returns grey images, 3 colour ones, whatever is stored. Depth keeps its 16 bits: `dtype` is that of
    the first image.
    """

    def __init__(self, dataset: Dataset, *, channels: int = 1) -> None:
        if "image" not in dataset.column_names or not len(dataset):
            raise SourceError("a data set of crops needs a column image and at least one row")
        self._colour = channels == 3
        chunks = dataset.data.column("image").chunks
        self._chunks = [_bytes(chunk) for chunk in chunks]
        self._starts = np.cumsum([0] + [len(chunk) for chunk in chunks])
        order = dataset._indices  # of rows, after select, shuffle or filter; None where all are in place
        self._order = None if order is None else order.column(0).to_numpy()
        self._length = len(dataset)
        self._table = dataset.data.table
        self._circles: dict[str, np.ndarray] = {}
        first = self._decode(self._rows([0]))[0]
        self.shape: tuple[int, ...] = first.shape
        self.dtype: np.dtype[Any] = first.dtype

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, indices: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Return images uint8 (N, H, W) or (N, H, W, 3), or uint16 (N, H, W), by number.

        `ImageError` if one is broken, or of another size or depth than the first.
        """
        rows = self._rows(np.arange(self._length)[indices] if isinstance(indices, slice) else indices)
        images = np.empty((len(rows), *self.shape), self.dtype)
        for place, image in enumerate(self._decode(rows)):
            if image.shape != self.shape:
                raise ImageError(
                    f"image {rows[place]} is {image.shape[1]}×{image.shape[0]} pixels and the first {self.shape[1]}×"
                    f"{self.shape[0]}: prepare the data set to one size"
                )
            if image.dtype != self.dtype:
                raise ImageError(
                    f"image {rows[place]} is {image.dtype} and the first {self.dtype}: keep images of 8 and of 16 bits "
                    "in data sets of their own"
                )
            images[place] = image
        return images

    def each(self, indices: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Return images by number, whatever their sizes."""
        return self._decode(self._rows(indices))

    def masks(self, indices: Sequence[int] | np.ndarray, weight: PointsWeight) -> np.ndarray:
        """Return soft discs float32 (N, H, W) in [0, 1], 1 over the labelled points of a domain's `weight`.

        The edge is 2 px wide; where an image has no points the mask is 0.
        """
        high, wide = self.shape[:2]
        rows = self._rows(indices)
        if weight.column not in self._table.column_names:
            return np.zeros((len(rows), high, wide), np.float32)
        if weight.column not in self._circles:
            self._circles[weight.column] = _circles(self._table.column(weight.column), weight.radius)
        x, y, radius = (self._circles[weight.column][rows, :, k, None, None] for k in range(3))
        across = (np.arange(wide, dtype=np.float32) - x) ** 2
        down = (np.arange(high, dtype=np.float32)[:, None] - y) ** 2
        discs = np.clip((radius * np.float32(weight.grow) - np.sqrt(across + down)) / 2 + np.float32(0.5), 0, 1)
        masks: np.ndarray = np.where(radius > 0, discs, np.float32(0)).max(1)
        return masks

    def _rows(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        numbers = np.asarray(indices, np.int64)
        if len(numbers) and (numbers.min() < -self._length or numbers.max() >= self._length):
            raise IndexError(f"there are {self._length} crops, numbered from 0")
        numbers = np.where(numbers < 0, numbers + self._length, numbers)
        return numbers if self._order is None else self._order[numbers].astype(np.int64)

    def _decode(self, rows: np.ndarray) -> list[np.ndarray]:
        parts = np.searchsorted(self._starts, rows, side="right") - 1
        flag = cv2.IMREAD_COLOR if self._colour else cv2.IMREAD_ANYDEPTH  # grey, of 8 or 16 bits
        images = []
        for row, part, place in zip(rows, parts, rows - self._starts[parts], strict=True):
            data, offsets = self._chunks[part]
            cell = data[offsets[place] : offsets[place + 1]]
            image = cv2.imdecode(cell, flag) if len(cell) else None
            if image is None:
                raise ImageError(f"image {row} of the data set cannot be decoded: it must be PNG bytes, not a path")
            images.append(image[..., ::-1] if self._colour else image)
        return images


def _bytes(chunk: pa.StructArray) -> tuple[np.ndarray, np.ndarray]:
    """Return views of a chunk's image bytes: all of them uint8 (M,), and the offset of each (N + 1,)."""
    cells = chunk.field("bytes")
    wide = pa.types.is_large_binary(cells.type)
    _, offsets, data = cells.buffers()
    starts = np.frombuffer(offsets, np.int64 if wide else np.int32)[cells.offset : cells.offset + len(cells) + 1]
    return np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8), starts


def _circles(column: pa.ChunkedArray, radius: float | None) -> np.ndarray:
    """Return circles of each row's points, float32 (N, M, 3): x, y, radius; radius 0 fills up rows with fewer.

    Of that radius about every point; without a radius one about their mean, half as wide as their longest diameter.
    """
    circles = [np.zeros((0, 1, 3), np.float32)]
    for chunk in column.chunks:
        row, points = _points(chunk)
        counts = np.bincount(row, minlength=len(chunk))
        if radius is None:
            sums = np.stack([np.bincount(row, points[:, axis], len(chunk)) for axis in (0, 1)], 1)
            found = np.zeros((len(chunk), 1, 3))
            found[:, 0, :2] = sums / np.maximum(counts, 1)[:, None]
            np.maximum.at(found[:, 0, 2], row, np.linalg.norm(points - found[row, 0, :2], axis=1))
        else:
            found = np.zeros((len(chunk), counts.max(initial=1), 3))
            place = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
            found[row, place, :2], found[row, place, 2] = points, radius
        circles.append(found.astype(np.float32))
    most = max(part.shape[1] for part in circles)
    return np.concatenate([np.pad(part, [(0, 0), (0, most - part.shape[1]), (0, 0)]) for part in circles])


def _points(chunk: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of a chunk, float32 (P, 2), and the row of each (P,); rows hold a point or a list of points."""
    numbers = np.arange(len(chunk))
    if pa.types.is_nested(chunk.type.value_type):
        counts = pc.list_value_length(chunk).fill_null(0).to_numpy(zero_copy_only=False)
        row, cells = np.repeat(numbers, counts), chunk.flatten()
    else:
        row, cells = numbers[chunk.is_valid().to_numpy(zero_copy_only=False)], chunk
    return row, np.asarray(cells.flatten(), np.float32).reshape(len(row), -1)[:, :2]
