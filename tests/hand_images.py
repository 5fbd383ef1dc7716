"""Depth crops of something like a hand, labelled exactly: a ball at each joint, the palm a disc, and no background."""

import numpy as np

from simgan.data.columns import as_dataset, features, image_cell

SIDE, FOCAL, CUBE = 224, 500.0, 300.0
_RAYS = np.radians([150, 150, 115, 115, 90, 90, 65, 65, 20, 20, 20, 255, 285, 0])
_REACH = np.array([80, 50, 95, 60, 100, 60, 95, 60, 80, 60, 35, 70, 70, 0.0])  # mm from the palm, of NYU's 14 in order


def hands(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint16 (N, 224, 224), joints (N, 14, 3) and joints_mm (N, 14, 3), as the columns hold them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    images, joints, points = np.zeros((count, SIDE, SIDE), np.uint16), [], []
    for image in images:
        centre = np.array([*rng.uniform(-80, 80, 2), rng.uniform(450, 800)])
        turn = rng.uniform(-0.9, 0.9)
        rays = _RAYS + turn + rng.uniform(-0.06, 0.06, 14)
        mm = centre + np.stack([_REACH * np.cos(rays), -_REACH * np.sin(rays), rng.uniform(-25, 25, 14)], 1)
        wide = CUBE * FOCAL / centre[2]  # of the crop's box in the frame
        middle = FOCAL * centre[:2] / centre[2]
        pixels = (FOCAL * mm[:, :2] / mm[:, 2:] - middle) * (SIDE / wide) + (SIDE - 1) / 2
        radius = 11 * SIDE / CUBE * np.r_[np.ones(13), 3.5]
        for (u, v), z, size in sorted(zip(pixels, mm[:, 2], radius, strict=True), key=lambda ball: -ball[1]):
            image[np.hypot(x - u, y - v) < size] = round(z)
        joints.append(np.column_stack([pixels, mm[:, 2]]))
        points.append(mm)
    return images, np.array(joints), np.array(points)


def dataset(count: int, seed: int = 0, persons: int = 4):
    """The same as a data set of hands, its persons one after the other."""
    rows = [
        {
            "image": image_cell(image),
            "joints": joints.tolist(),
            "joints_mm": points.tolist(),
            "person": f"p{number * persons // count}",
            "file_name": f"{number}.png",
        }
        for number, (image, joints, points) in enumerate(zip(*hands(count, seed), strict=True))
    ]
    return as_dataset(rows, features("image", "joints", "joints_mm", "person", "file_name"))
