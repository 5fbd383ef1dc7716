"""Geometry of eyeball, iris, lids and face: what each pixel of a 55×35 crop sees, and where landmarks project.

The camera is MPIIGaze's virtual one (Zhang et al. 2015: focal length 960 px for 60 px of width, 600 mm away); x right,
y down, z away from it, in mm. A face that looks at it has its axes. The eye is a left one, its nasal corner left.
"""

import numpy as np

from simgan.domains.eyes import HEIGHT, WIDTH
from simgan.simulators.base import Batch, matrices, unit

FOCAL, DISTANCE = 960.0 * WIDTH / 60, 600.0
EYEBALL, IRIS = 12.0, 5.85  # radii; an iris of 11.7 mm is 17 px wide in the crop
IRIS_DEPTH = (EYEBALL**2 - IRIS**2) ** 0.5  # from the eyeball's centre to the plane of iris and pupil
CENTRE = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2], np.float32)
PX_PER_MM = FOCAL / DISTANCE
COLUMNS = np.arange(WIDTH, dtype=np.float32)
ROWS = np.arange(HEIGHT, dtype=np.float32)[:, None]


def head_rotation(pitch: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Return rotations (N, 3, 3) from the head's frame to the camera's; without roll, which MPIIGaze's crops lack."""
    cp, sp, cy, sy = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw)
    return matrices((cy, -sy * sp, sy * cp), (np.zeros_like(cp), cp, sp), (-sy, -cy * sp, cy * cp))


def project(points: np.ndarray) -> np.ndarray:
    """Project points (..., 3) in mm to pixels (..., 2); whole numbers are pixel centres."""
    return points[..., :2] / points[..., 2:] * FOCAL + CENTRE


def place(scene: Batch, points: np.ndarray) -> np.ndarray:
    """Turn points (N, K, 3) of the head's frame, relative to the eyeball's centre, to camera coordinates."""
    return np.matmul(points, scene.head_rotation.transpose(0, 2, 1)) + scene.eyeball[:, None]


def _lid_points(scene: Batch, across: np.ndarray, upper: bool) -> np.ndarray:
    """Return points (N, K, 3) of a lid's margin in the head's frame; `across` (N, K): -1 nasal, 1 temporal corner."""
    half_width, lift, sink, skew, drop, tilt = (
        scene[name][:, None] for name in ("half_width", "lift", "sink", "skew", "drop", "tilt")
    )
    x = across * half_width
    if upper:
        y = -lift * (1 - np.abs(across) ** 2.3) * (1 - skew * across)
    else:
        y = sink * (1 - across**2) * (1 + np.float32(0.7) * skew * across)
    # The margin lies on the eyeball's front in the middle, and farther back at the corners.
    return np.stack([x, y + drop - tilt * x, 0.026 * (x + 2) ** 2 - (EYEBALL + 0.3)], -1)


def _lid_rows(scene: Batch, upper: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find where a lid's margin crosses each column (Newton): rows and positions along the lid, (N, 55).

    The third result are factors (N, 55) that turn vertical distances from the margin into perpendicular ones.
    """
    turn, size = scene.head_rotation, scene.half_width[:, None]
    across = (COLUMNS - project(scene.eyeball)[:, :1]) / (PX_PER_MM * size * turn[:, :1, 0])
    for _ in range(3):
        across = np.clip(across, -1.4, 1.4)
        points = project(place(scene, _lid_points(scene, across, upper)))
        slope = turn[:, :1, 0] + turn[:, :1, 2] * 0.052 * (across * size + 2)
        across = across + (COLUMNS - points[..., 0]) / (PX_PER_MM * size * np.maximum(slope, 0.4))
    rows = points[..., 1]
    return rows, across, 1 / np.sqrt(1 + np.gradient(rows, axis=1) ** 2)


def look(scene: Batch) -> Batch:
    """Cast each pixel's ray: what it sees, (N, 35, 55) float32 unless said otherwise, with anti-aliased edges.

    Distances from lids are in px and positive between the lids.
    """
    upper, across, steepness = _lid_rows(scene, upper=True)
    below_upper = (ROWS - upper[:, None]) * steepness[:, None]
    lower, _, steepness = _lid_rows(scene, upper=False)
    above_lower = (lower[:, None] - ROWS) * steepness[:, None]

    dx, dy = (COLUMNS - CENTRE[0]) / np.float32(FOCAL), (ROWS - CENTRE[1]) / np.float32(FOCAL)
    gaze, eyeball = (vectors.T[:, :, None, None] for vectors in (scene.gaze, scene.eyeball))
    (gx, gy, gz), (cx, cy, cz) = gaze, eyeball + IRIS_DEPTH * gaze
    depth = (gx * cx + gy * cy + gz * cz) / (gx * dx + (gy * dy + gz))
    px, py, pz = depth * dx - cx, depth * dy - cy, depth - cz
    level = np.sqrt(gx**2 + gz**2)
    iris_x = (px * -gz + pz * gx) / level  # along the plane's horizontal axis
    iris_y = py / level  # along the axis perpendicular to it, which py alone determines
    radius = np.sqrt(iris_x**2 + iris_y**2)
    pixel = np.float32(1 / PX_PER_MM)
    ex, ey, ez = eyeball
    nx, ny = (dx * ez - ex) * (1 / EYEBALL), (dy * ez - ey) * (1 / EYEBALL)
    return Batch(
        below_upper=below_upper,
        above_lower=above_lower,
        opening=np.clip(np.minimum(below_upper, above_lower) + 0.5, 0, 1),  # share of the pixel between the lids
        across=across[:, None],  # (N, 1, 55), -1 at the nasal corner, 1 at the temporal one
        iris_x=iris_x,  # intersection of the pixel's ray with the iris plane, in mm from its centre
        iris_y=iris_y,
        radius=radius,  # its distance from the centre
        iris=np.clip((IRIS - radius) / (1.5 * pixel) + 0.5, 0, 1),  # shares of the pixel if there were no lids
        pupil=np.clip((scene.pupil[:, None, None] - radius) / pixel + 0.5, 0, 1),
        normal_x=nx,  # of the eyeball
        normal_y=ny,
        normal_z=-np.sqrt(np.maximum(1 - nx**2 - ny**2, 0.02)),
    )


def landmarks(scene: Batch) -> dict[str, np.ndarray]:
    """Return the labels of `Eyes`: `iris` from its left clockwise, `lids` from the nasal corner along the upper lid."""
    gaze = scene.gaze
    centre = scene.eyeball + IRIS_DEPTH * gaze
    level = unit(np.stack([-gaze[:, 2], np.zeros_like(gaze[:, 0]), gaze[:, 0]], -1))
    down = np.cross(level, gaze)
    angle = np.arange(8, dtype=np.float32)[:, None] * np.float32(np.pi / 4)
    ring = -np.cos(angle) * level[:, None] - np.sin(angle) * down[:, None]
    along = np.broadcast_to(np.linspace(-1, 1, 7, dtype=np.float32), (len(gaze), 7))
    lids = np.concatenate([_lid_points(scene, along, True), _lid_points(scene, along[:, 5:0:-1], False)], 1)
    return {
        "gaze": gaze,
        "pitch": scene.pitch,
        "yaw": scene.yaw,
        "head_rotation": scene.head_rotation.reshape(-1, 9),
        "pupil": project(centre),
        "iris": project(centre[:, None] + IRIS * ring),
        "lids": project(place(scene, lids)),
    }
