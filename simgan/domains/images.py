"""Images of any kind: the domain of models whose own domain is not registered here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from simgan.domains.base import Domain, Floats, Images, Words

WORDS = Words(
    images="images",
    purpose="It makes rendered images of the kind below look like the real ones below, before a network is trained on\n"
    "them with their labels. It is not for images of another kind or scale, or for improving photographs.",
    example="image.png",
    takes="image of that kind of at least 16×16 pixels",
    types="PIL, NumPy (uint8, uint16), tensors",
    legend="grey: nothing changed",
    distance="Sliced Wasserstein distance of standardized 7×7 patches at two scales.",
    part="edges",
    unit="px",
    where="px",
    shift="90th percentile of an image, mean without the worst 5 %",
    short="90th percentile",
    missed="No optical flow was found",
    paper="Median and percentile are over the edges of an image, by dense optical flow.",
    tag="image-to-image",
    limits=("Annotation shift is measured by optical flow, which has errors of its own (about 0.1 px).",),
)


def _realism(images: Images, real: Images) -> float:
    from simgan.measures.patches import patch_swd

    one, other = (side if side.ndim == 3 else side.mean(-1).round().astype(np.uint8) for side in (images, real))
    return patch_swd(one, other)


def _shift(before: Images, after: Images, labels: Mapping[str, Any]) -> Floats:
    from simgan.measures.flow import flow_shift

    return flow_shift(before, after)


IMAGES = Domain(name="images", codec="rgb8", size=None, recipes={}, words=WORDS, realism=_realism, shift=_shift)
