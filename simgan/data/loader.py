"""Crops for training: straight from Arrow's memory to arrays, without a Python object for each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from simgan.errors import ImageError, SourceError


class Crops:
    """The images of a data set, all of one size, by number; what the operating system maps stays on disk.

    `channels` 1 gives grey images, 3 colour ones, whatever is stored. Depth of 16 bits stays so: `dtype` is that of the
    first image.
    """

    def __init__(self, dataset: Dataset, *, channels: int = 1) -> None:
        if "image" not in dataset.column_names or not len(dataset):
            raise SourceError("a data set of crops needs a column image and at least one row")
        self._colour = channels == 3
        chunks = dataset.data.column("image").chunks
        self._chunks = [_bytes(chunk) for chunk in chunks]
        self._starts = np.cumsum([0] + [len(chunk) for chunk in chunks])
        order = dataset._indices  # what select, shuffle and filter leave; rows themselves stay where they are
        self._order = None if order is None else order.column(0).to_numpy()
        self._length = len(dataset)
        self._iris = _iris_circles(dataset.data.table) if "iris" in dataset.column_names else None
        first = self._decode(self._rows([0]))[0]
        self.shape: tuple[int, ...] = first.shape
        self.dtype: np.dtype[Any] = first.dtype

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, indices: Sequence[int] | np.ndarray | slice) -> np.ndarray:
        """Give images uint8 (N, H, W) or (N, H, W, 3), or uint16 (N, H, W), by number.

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

    def iris_masks(self, indices: Sequence[int] | np.ndarray, *, grow: float = 1.5) -> np.ndarray:
        """Give soft discs float32 (N, H, W) in [0, 1], 1 over the iris: its circle `grow` times as large.

        The edge is 2 px wide; without landmarks the mask is zero.
        """
        high, wide = self.shape[:2]
        rows = self._rows(indices)
        if self._iris is None:
            return np.zeros((len(rows), high, wide), np.float32)
        x, y, radius = (self._iris[rows, k, None, None] for k in range(3))
        across = (np.arange(wide, dtype=np.float32) - x) ** 2
        down = (np.arange(high, dtype=np.float32)[:, None] - y) ** 2
        mask = np.clip((radius * np.float32(grow) - np.sqrt(across + down)) / 2 + np.float32(0.5), 0, 1)
        return np.where(radius > 0, mask, np.float32(0))

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
    """Views of a chunk's image bytes: all of them uint8 (M,), and where each begins (N + 1,)."""
    cells = chunk.field("bytes")
    wide = pa.types.is_large_binary(cells.type)
    _, offsets, data = cells.buffers()
    starts = np.frombuffer(offsets, np.int64 if wide else np.int32)[cells.offset : cells.offset + len(cells) + 1]
    return np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8), starts


def _iris_circles(table: pa.Table) -> np.ndarray:
    """Centre and radius (half the longest diameter) of each row's landmarks, float32 (N, 3); radius 0 without any."""
    circles = [np.zeros((0, 3), np.float32)]
    for chunk in table.column("iris").chunks:
        counts = pc.list_value_length(chunk).fill_null(0).to_numpy(zero_copy_only=False)
        points = np.asarray(chunk.flatten().flatten(), np.float32).reshape(-1, 2)
        row = np.repeat(np.arange(len(chunk)), counts)
        sums = np.stack([np.bincount(row, points[:, axis], len(chunk)) for axis in (0, 1)], 1)
        centres = sums / np.maximum(counts, 1)[:, None]
        radii = np.zeros(len(chunk))
        np.maximum.at(radii, row, np.linalg.norm(points - centres[row], axis=1))
        circles.append(np.concatenate([centres, radii[:, None]], 1, dtype=np.float32, casting="same_kind"))
    return np.concatenate(circles)
