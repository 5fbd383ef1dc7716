"""Which images are labels, that are copied and never refined: as the caller says, as metadata say, and as they look."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from simgan.errors import ImageError, SourceError
from simgan.images.arrays import Array, to_stored

NOT = "not:"  # before a pattern of names that are images, whatever they look like
FEW = 16  # values that a photograph or a render exceeds, and identifiers of classes seldom do
_NAMES = re.compile(  # a whole word, but for people with and without a mask
    r"(?<![a-z])(?<!with_)(?<!without_)(masks?|labels?|(label|instance|(?<=_))ids|[a-z]*annot(ation)?s?|segs?|seg_?maps?"
    r"|segmentations?(class|object)?|gt(fine|coarse)?(?!\d)|ground_?truth|panoptic|semantics?|trimaps?|mattes?|parsing)"
    r"(?![a-z.])",
    re.I,
)


def told(names: Sequence[str], patterns: Sequence[str]) -> dict[str, bool]:
    """Return for each name that a pattern matches whether it is a label; the last pattern decides.

    `SourceError` where a pattern matches nothing.
    """
    found: dict[str, bool] = {}
    for pattern in patterns:
        matched = matches(pattern, names)
        if not matched:
            wanted = pattern.removeprefix(NOT).removeprefix("./")
            raise SourceError(
                f"no file is called {wanted!r}, which is to be copied: give a pattern of names such as {names[0]}"
            )
        found |= dict.fromkeys(matched, not pattern.startswith(NOT))
    return found


def matches(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that a pattern of labels, or of images, means."""
    wanted = pattern.removeprefix(NOT).removeprefix("./")
    return [name for name in names if fnmatchcase(name, wanted)]


def check_names(images: Iterable[str]) -> None:
    """Raise `SourceError` where images are called masks or labels, or lie in a folder that is called so."""
    if found := named(images):
        raise SourceError(
            f"{len(found)} images seem to be labels by their names, such as {found[0]}: {_ways(found[0])}"
        )


def named(images: Iterable[str]) -> list[str]:
    """Return the images that are called masks or labels, or lie in a folder that is called so."""
    return [name for name in images if _is_named(_stem(name))]


def _stem(name: str) -> PurePosixPath:
    """Return a name without its suffix, or the two of an archive such as .tar.gz."""
    place = PurePosixPath(name).with_suffix("")
    return place.with_suffix("") if place.suffix == ".tar" else place


def check_values(image: Image.Image | Array, name: str) -> None:
    """Raise `SourceError` where an image has so few values or colours that they are classes, not brightness.

    `ImageError` where it has a palette of colours, as many labels have; it could not be refined.
    """
    if isinstance(image, Image.Image) and image.mode == "P":
        try:
            to_stored(image, name)
        except ImageError as error:
            raise ImageError(f'{error}, or, if it is a label, copy it by --copy "{_pattern(name)}"') from error
    pixels = np.asarray(image)
    pixels = pixels.reshape(-1, *pixels.shape[2:3])
    some = pixels[:: max(1, len(pixels) // 256)]  # which tell most images apart
    if len(np.unique(some, axis=0)) > FEW:
        return
    found = np.unique(pixels, axis=0)
    if 1 < len(found) <= FEW:  # a frame may be black
        listed = ", ".join(map(str, found[:4])) + (", …" if len(found) > 4 else "")
        raise SourceError(f"{name} seems to be a label, as it has {len(found)} values, {listed}: {_ways(name)}")


def _pattern(name: str) -> str:
    place = PurePosixPath(name)
    alike = "*" if _is_named(place.parent) else re.sub(r"\d+", "*", place.name)
    pattern = (place.parent / alike).as_posix()
    return name if pattern == f"*{place.suffix}" else pattern  # which all images may match


def _is_named(place: PurePosixPath) -> bool:
    """Return whether a name without its suffix has a word for labels, as in `train_masks/1` or `1_labelIds`."""
    return bool(_NAMES.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(place))))


def _ways(name: str) -> str:
    pattern = _pattern(name)
    return f'--copy "{pattern}" copies them as they are, --copy "{NOT}{pattern}" refines them'
