"""`shuffled:SOURCE`: images whose pixels lie in no order, with the same tones: a control for what a refiner gains."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from simgan.data.columns import as_dataset, features, image_cell
from simgan.data.loader import Crops

_KEPT = ("file_name", "person")  # labels are of the image that was


def shuffled(data: Dataset, *, channels: int, seed: int) -> Dataset:
    """Permute the pixels of each image, uint8 (H, W) or (H, W, 3) by `channels`, anew: whole pixels, by `seed`.

    Columns `image`, and `file_name` and `person` where they are known: no label of what was seen stays. `SourceError`
    where there is no image, `ImageError` where one is broken or of another size.
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
