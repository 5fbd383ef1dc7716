"""`shuffled:SOURCE`: images with their pixels in random order, a control for the gain of a refiner."""

import numpy as np
from datasets import Dataset

from simgan.data.columns import as_dataset, features, image_cell
from simgan.data.loader import Crops

_KEPT = ("file_name", "person")  # labels no longer fit


def shuffled(data: Dataset, *, channels: int, seed: int) -> Dataset:
    """Return a data set with the pixels of each image, (H, W) or (H, W, 3) by `channels`, permuted by `seed`.

    It has the columns `image`, `file_name` and `person` and no label. `SourceError` where there is no image,
    `ImageError` where one is broken or of another size.
    """
    crops = Crops(data, channels=channels)
    kept = [name for name in _KEPT if name in data.column_names]
    rng = np.random.default_rng(seed)
    rows = []
    for number, row in enumerate(data.select_columns(kept) if kept else [{}] * len(data)):
        image = crops[[number]][0]
        pixels = image.reshape(image.shape[0] * image.shape[1], -1)
        rows.append(dict(row) | {"image": image_cell(rng.permutation(pixels).reshape(image.shape))})
    return as_dataset(rows, features("image", *kept))
