"""What sources hold, told before their images are read: count, sizes, colours and labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simgan.data.crop import Wanted
from simgan.data.sources import open_source
from simgan.data.tables import decode_cell
from simgan.images.files import Kind

_LOOKED_AT = 20_000  # headers that are read, evenly over the source


@dataclass(frozen=True)
class Survey:
    """What a source holds; of a large one a part of the images was looked at."""

    source: str
    count: int  # of images, where `single` is True, else of files that hold several
    unnamed: int  # images that a metadata file beside them does not name
    single: bool
    sizes: NDArray[np.int64]  # (N, 2), width and height
    coloured: float  # share of the images that are in colour
    deep: bool  # some have more than 8 bits
    labels: tuple[str, ...]  # columns beside the image

    def __str__(self) -> str:
        """One line for people."""
        numbers = np.quantile(self.sizes, (0, 1, 0.5), axis=0, method="nearest").tolist()
        least, greatest, middle = (f"{width}×{height}" for width, height in numbers)
        size = least if least == greatest else f"{least} to {greatest} (median {middle})"
        kind = {0.0: "grey", 1.0: "colour"}.get(self.coloured, f"{self.coloured:.0%} colour, the others grey")
        labels = ", ".join(self.labels) or "no labels"
        labels += f" (WARNING: {self.unnamed:,} images have none)" if self.unnamed and self.labels else ""
        number = f"{self.count:,} images" if self.single else "images"
        return f"{self.source}: {number}, {size} pixels, {'16' if self.deep else '8'}-bit {kind}; {labels}"


def survey(source: str, wanted: Wanted) -> Survey:
    """Look at the headers of a source's images, without decoding them; errors as `open_source`."""
    found = open_source(source, wanted)
    if found.look is not None:
        some = np.linspace(0, len(found.tasks) - 1, min(len(found.tasks), _LOOKED_AT)).astype(int)
        kinds = [found.look(found.tasks[i]) for i in some]
    else:  # all images of such sources are alike
        array = decode_cell(next(found.rows())["image"], source)
        kinds = [Kind(array.shape[1], array.shape[0], array.shape[2] if array.ndim == 3 else 1, array.itemsize > 1)]
    sizes, channels, deep = [kind[:2] for kind in kinds], [kind[2] for kind in kinds], [kind[3] for kind in kinds]
    labels = tuple(name for name in found.features if name not in ("image", "file_name"))
    coloured = float(np.mean([count == 3 for count in channels]))
    return Survey(source, len(found.tasks), found.unnamed, found.single, np.array(sizes), coloured, any(deep), labels)
