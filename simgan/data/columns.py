"""Columns of a data set: types, checks, derived and mirrored labels, all as the domains' `labels` describe them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, Image, Sequence, Value

from simgan.domains import Label, all_domains
from simgan.errors import SourceError
from simgan.images import marks
from simgan.images.names import as_text

Row = dict[str, Any]

_UNCOMPRESSED = 2**13
"""Images of at most this many bytes are stored uncompressed: compressed, small crops would take a quarter less space
and twice the time to decode."""


def labels() -> dict[str, Label]:
    """Return the labels of all domains by the name of their column."""
    return {name: label for domain in all_domains() for name, label in domain.labels.items()}


def column_types() -> dict[str, Any]:
    """Return the types of all columns that a source may have; a source has some of them."""
    types: dict[str, Any] = {"image": Image()} | dict.fromkeys(("person", "recording", "file_name"), Value("string"))
    return types | {name: Image() if label.marks == "mask" else _type(label.shape) for name, label in labels().items()}


def _type(shape: tuple[int, ...]) -> Any:
    kind: Any = Value("float32")
    for axis, size in enumerate(reversed(shape)):
        kind = Sequence(kind, length=-1 if axis else size)
    return kind


def features(*names: str) -> Features:
    """Return the types of these columns."""
    types = column_types()
    return Features({name: types[name] for name in names})


def image_cell(array: np.ndarray) -> dict[str, Any]:
    """Encode a stored image, (H, W) or (H, W, C), as an image column holds it: PNG bytes and no path."""
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 0] if array.nbytes <= _UNCOMPRESSED else []
    if array.ndim == 3 and array.shape[2] > 2:
        array = cv2.cvtColor(array, cv2.COLOR_RGBA2BGRA if array.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    return {"bytes": cv2.imencode(".png", array, settings)[1].tobytes(), "path": None}


def as_dataset(rows: Iterable[Row], columns: Features) -> Dataset:
    r"""Return rows as a data set in memory; a label that a row lacks becomes None, and `\xe9` what is not UTF-8."""
    texts = ({key: as_text(value) if isinstance(value, str) else value for key, value in row.items()} for row in rows)
    try:
        return Dataset(pa.Table.from_pylist(list(texts), schema=columns.arrow_schema))
    except pa.ArrowException as error:
        raise SourceError(f"a column holds values of several kinds ({error}): make them one") from error


known = marks.is_known


def check_labels(row: Row) -> Row:
    """Return the row; `SourceError` names a label that is not finite numbers of its shape."""
    for name, label in labels().items():
        if not known(value := row.get(name)) or label.marks == "mask":
            continue
        if label.marks == "polygons":  # of different numbers of corners
            fits = isinstance(value, list) and all(_has_shape(corners, label.shape[1:]) for corners in value)
        else:
            fits = _has_shape(value, label.shape)
        if not fits:
            wanted = " × ".join("N" if n < 0 else str(n) for n in label.shape)
            wanted = f"{wanted} numbers" if wanted else "a number"
            raise SourceError(f"{row.get('file_name')} has a label {name} that is not {wanted}: {str(value)[:80]}")
    return row


def lift_boxes(row: Mapping[str, Any]) -> Row:
    """Return a row, or the types of columns, with the boxes of COCO-like `objects` as a column `bbox` that can move.

    What else `objects` holds, a dictionary of lists or a list of dictionaries, stays there as a dictionary of lists.
    """
    objects = row.get("objects")
    if isinstance(kinds := getattr(objects, "feature", None), Mapping):
        objects = {name: Sequence(kind) for name, kind in kinds.items()}
    elif isinstance(objects, list) and all(isinstance(one, Mapping) for one in objects):
        objects = {name: [one[name] for one in objects] for name in (objects[0] if objects else ())}
    if not isinstance(objects, Mapping) or (objects and "bbox" not in objects):
        return dict(row)
    if "bbox" in row:
        raise SourceError("there are boxes in the column bbox and in objects: leave out one of them")
    rest = {name: value for name, value in objects.items() if name != "bbox"}
    lifted = {name: value for name, value in row.items() if name != "objects"}
    return lifted | ({"objects": rest} if rest else {}) | {"bbox": objects.get("bbox")}


def _has_shape(value: Any, wanted: tuple[int, ...]) -> bool:
    try:
        with np.errstate(over="ignore"):
            found: np.ndarray = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        return False
    shape = tuple(size if want < 0 else want for want, size in zip(wanted, found.shape, strict=False))
    return found.shape == shape and found.ndim == len(wanted) and bool(np.isfinite(found).all())


def derivable(columns: Iterable[str]) -> dict[str, tuple[tuple[str, ...], Callable[..., Any]]]:
    """Return how labels that are missing among these columns can be computed from them: `Label.derive` by name."""
    given = set(columns)
    how = {name: label.derive for name, label in labels().items() if label.derive and name not in given}
    return {name: derive for name, derive in how.items() if given.issuperset(derive[0])}


def derive(row: Row) -> Row:
    """Return the row with the labels that can be computed from those that are known."""
    how = derivable(name for name, value in row.items() if known(value))
    return row | {name: function(*(row[one] for one in names)) for name, (names, function) in how.items()}


def mirrored(row: Mapping[str, Any], width: int) -> Row:
    """Return the labels of an image of that width after mirroring: x becomes width − 1 − x, directions change sides.

    Boxes and polygons are mirrored as the image is, and masks become arrays.
    """
    turned = dict(row)
    for name, label in labels().items():
        if not known(row.get(name)) or not (label.mirror or label.in_pixels):
            continue
        if label.mirror:
            turned[name] = (np.asarray(row[name], float) * np.reshape(label.mirror, label.shape[-1:])).tolist()
        if label.marks == "mask":
            turned[name] = marks.read_mask(row[name])[:, ::-1]
        elif label.in_pixels:
            turned[name] = marks.move(turned[name], label.marks, (-1, 1), (width, 0))
    return turned
