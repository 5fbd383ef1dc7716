"""What a label marks in an image: points, boxes, polygons or a mask, told by the shape of its value.

2 numbers, or (N, 2), are points x, y; whole numbers are pixel centres. 4 numbers, or (N, 4), are boxes x0, y0, x1, y1;
in a column named `bbox` they are x, y, width, height. K lists of M ≥ 3 corners, (K, M, 2), are polygons. Boxes and
polygons count from the edge of the image, as those of COCO: 0 is its left edge and its width the right one. An image is
a mask: what is not 0 is marked (alpha is left out). None and an empty list mark nothing.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simgan.errors import ImageError
from simgan.images.files import read as read_image

Kind = Literal["points", "boxes", "bbox", "polygons", "mask"]
Floats = NDArray[np.float64]
Size = tuple[int, int]  # width and height in px

COLUMNS: Mapping[str, Kind] = {
    "points": "points",
    "keypoints": "points",
    "boxes": "boxes",
    "bbox": "bbox",
    "polygons": "polygons",
    "mask": "mask",
}
"""The columns that mark something in images of any kind."""
_FORMS: Mapping[str | None, str] = {
    "points": "points x, y",
    "boxes": "boxes x0, y0, x1, y1",
    "bbox": "boxes x, y, width, height",
    "polygons": "polygons of at least 3 corners x, y",
    "mask": "mask, which is an image",
    None: "points x, y, boxes x0, y0, x1, y1, polygons of at least 3 corners, or mask",
}
_FINER = 4  # times as fine are areas drawn, and their pixels are the share that is marked
_RADIUS, _LEAST = 0.05, 3.0  # of the disc about a point: share of the shorter side, and px


def is_known(value: Any) -> bool:
    """Return whether a label has a value: None and empty lists are unknown."""
    return value is not None and not (isinstance(value, list | tuple | np.ndarray) and len(value) == 0)


def read_mask(value: Any, column: str = "mask", name: str = "the image") -> NDArray[np.uint8]:
    """Return a mask as uint8 (H, W), 255 where it is marked and else 0.

    `value`: a PIL image, an array (H, W) or (H, W, C), or the cell of an image column, of bytes or a path.
    """
    if isinstance(value, dict):
        value = read_image(value["bytes"] or value["path"], f"the {column} of {name}")
    values: NDArray[Any] = np.asarray(value)
    if values.ndim == 3:
        values = values[..., : 3 if values.shape[2] > 2 else 1].max(-1)
    if values.ndim != 2:
        raise ImageError(f"{name} has a {column} of shape {values.shape}: it must be an image")
    return np.where(values != 0, 255, 0).astype(np.uint8)


def draw(value: Any, column: str, size: Size, name: str = "the image") -> NDArray[np.float32]:
    """Return where a label must not move: float32 (H, W) in [0, 1], the share of each pixel that it marks.

    Boxes, polygons and masks are filled. The disc about a point is 5 % of the shorter side wide to each side, and at
    least 3 px. What lies outside of `size` is cut off. `ImageError` names the column and the image `name` where a value
    marks nothing that is known, is not finite, or is a mask of another size.
    """
    drawn = np.zeros(size[::-1], np.float32)
    if not is_known(value):
        return drawn
    kind, shapes = _read(value, column, size, name)
    if kind == "mask":
        drawn[:] = shapes[0] > 0
    elif kind == "points":
        down, across = np.ogrid[: size[1], : size[0]]
        for x, y in shapes[0]:
            drawn[np.hypot(across - x, down - y) <= max(_RADIUS * min(size), _LEAST)] = 1
    else:
        import cv2  # the core has no OpenCV

        large: NDArray[np.float32] = np.zeros(np.multiply(drawn.shape, _FINER), np.float32)
        for shape in shapes:
            fine = _FINER * shape
            if kind == "polygons":
                cv2.fillPoly(large, [np.round(16 * (fine - 0.5)).astype(np.int32)], 1.0, shift=4)
            else:
                for x0, y0, x1, y1 in fine.round().astype(int).clip(0):
                    large[y0:y1, x0:x1] = 1
        drawn[:] = cv2.resize(large, size, interpolation=cv2.INTER_AREA)
    return drawn


def check(value: Any, column: str, size: Size, name: str) -> Any:
    """Return a label of an image of that size as a data set holds it: lists (N, 2), (N, 4) or (K, M, 2), or a mask.

    `ImageError` as for `draw`, and where anything lies outside of the image.
    """
    kind, shapes = _read(value, column, size, name)
    if kind == "mask":
        return shapes[0]
    numbers = np.concatenate(shapes).reshape(-1, 2) + (0.5 if kind == "points" else 0)
    if (numbers < -1).any() or (numbers > np.add(size, 1)).any():  # a pixel is the rounding of those who label
        raise ImageError(f"{name} has {column} outside of its {size[0]}×{size[1]} pixels: {str(value)[:80]}")
    if kind != "points" and (numbers <= 1).all():
        raise ImageError(f"{name} has {column} within its first pixel, {str(value)[:80]}: give pixels, no fractions")
    return value if kind == "polygons" else np.atleast_2d(np.asarray(value, float)).tolist()


def is_within(value: Any, column: str, size: Size) -> bool:
    """Return whether a label lies in an image of that size, as `check` wants it."""
    try:
        check(value, column, size, "")
    except ImageError:
        return False
    return True


def move(value: Any, kind: Kind, scale: tuple[float, float], offset: tuple[float, float]) -> Any:
    """Return numbers of a label after x and y, from the edges of the image, became `scale` × them + `offset` in px.

    Of points the first two numbers are x and y, and the others stay.
    """
    if kind == "polygons":
        return [move(corners, "boxes", scale, offset) for corners in value]
    values = np.array(value, float)
    if kind == "points":
        values[..., :2] = (values[..., :2] + 0.5) * scale + offset - 0.5
        return values.tolist()
    pairs = values.reshape(-1, 2)
    if kind == "bbox":
        pairs[1::2] += pairs[::2]
    pairs[:] = pairs * scale + offset
    if values.shape[-1] == 4:
        pairs.reshape(-1, 2, 2).sort(1)  # mirrored boxes begin where they ended
    if kind == "bbox":
        pairs[1::2] -= pairs[::2]
    return values.tolist()


def _read(value: Any, column: str, size: Size, name: str) -> tuple[Kind, list[NDArray[Any]]]:
    """Return the kind, and points (N, 2), boxes (N, 4) with both corners, polygons (M, 2) each, or the mask."""
    kind, shapes = _by_shape(value, column, name)
    if kind is None or COLUMNS.get(column, kind) != kind:
        text = " is text, as CSV has no lists: use JSON lines" if isinstance(value, str) else ""
        raise ImageError(f"{name} has {column} that are no {_FORMS[COLUMNS.get(column)]}: {str(value)[:80]}{text}")
    if not all(np.isfinite(shape).all() for shape in shapes):
        raise ImageError(f"{name} has {column} that are not finite: {str(value)[:80]}")
    if kind == "mask" and (high_wide := shapes[0].shape) != size[::-1]:
        own = f"{high_wide[1]}×{high_wide[0]}"
        raise ImageError(f"{name} is {size[0]}×{size[1]} pixels and its {column} {own}: give both one size")
    if kind == "bbox":
        kind, shapes = "boxes", [np.concatenate([shapes[0][:, :2], shapes[0][:, :2] + shapes[0][:, 2:]], 1)]
    if kind == "boxes" and (shapes[0][:, 2:] < shapes[0][:, :2]).any():
        remedy = "x, y, width and height" if column == "bbox" else "x0, y0, x1, y1; x, y, width, height are a bbox"
        raise ImageError(f"{name} has {column} that end before they begin, {str(value)[:80]}: give {remedy}")
    return kind, shapes


def _by_shape(value: Any, column: str, name: str) -> tuple[Kind | None, list[NDArray[Any]]]:
    """Return the kind, None where a value has no such shape, and its numbers: arrays (N, 2 or 4), or a mask."""
    if isinstance(value, dict | Image.Image) or (isinstance(value, np.ndarray) and value.dtype in (bool, np.uint8)):
        return "mask", [read_mask(value, column, name)]
    depth = _depth(value)
    try:
        shapes = [np.atleast_2d(np.asarray(part, float)) for part in (value if depth == 3 else [value])]
    except (TypeError, ValueError):  # text, or rows of several lengths
        return None, []
    if depth == 3:
        fits = all(shape.ndim == 2 and len(shape) >= 3 and shape.shape[1] == 2 for shape in shapes)
        return ("polygons" if fits else None), shapes
    kinds: dict[int, Kind] = {2: "points", 4: "bbox" if column == "bbox" else "boxes"}
    return (kinds.get(shapes[0].shape[1]) if depth in (1, 2) else None), shapes


def _depth(value: Any) -> int:
    return 1 + _depth(value[0]) if isinstance(value, list | tuple | np.ndarray) and len(value) else 0
