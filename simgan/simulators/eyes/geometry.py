"""Geometry of eyeball, iris, lids and face: what each pixel of a 55×35 crop sees, and where landmarks project.

Camera coordinates in mm: x right, y down, z away from the camera. The camera is MPIIGaze's virtual one (Zhang et al.
2015: focal length 960 px for 60 px of width, 600 mm away). The head's frame is parallel to it when the face looks at
the camera. The eye is a left one, its nasal corner on the left of the image; right eyes would have to be mirrored.
"""

from dataclasses import dataclass

import numpy as np

from simgan.domains.eyes import HEIGHT, WIDTH
from simgan.simulators.base import Batch

FOCAL = 960.0 * WIDTH / 60
DISTANCE = 600.0
EYEBALL, IRIS = 12.0, 5.85  # radii; an iris of 11.7 mm is 17 px wide in the crop
IRIS_DEPTH = (EYEBALL**2 - IRIS**2) ** 0.5  # from the eyeball's centre to the plane of iris and pupil
CENTRE = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2], np.float32)
PX_PER_MM = FOCAL / DISTANCE

_COLUMNS = ((np.arange(WIDTH) - CENTRE[0]) / FOCAL).astype(np.float32)
_ROWS = ((np.arange(HEIGHT) - CENTRE[1]) / FOCAL).astype(np.float32)


@dataclass
class EyeScene(Batch):
    """Eyes before the camera, (N,) float32 unless said otherwise; angles in radians, lengths in mm."""

    pitch: np.ndarray
    yaw: np.ndarray
    head_pitch: np.ndarray
    head_yaw: np.ndarray
    eyeball: np.ndarray  # (N, 3), centre
    pupil: np.ndarray  # radius
    half_width: np.ndarray
    drop: np.ndarray  # distance of the line between the corners below the eyeball's centre
    tilt: np.ndarray  # slope of that line, > 0 where the temporal corner is the higher one
    skew: np.ndarray  # moves the upper lid's peak towards the nose and the lower lid's away from it
    lift: np.ndarray  # height of the upper lid's middle above that line
    sink: np.ndarray  # depth of the lower lid's middle below it

    @property
    def gaze(self) -> np.ndarray:
        """Unit vectors (N, 3) of the gaze."""
        return direction(self.pitch, self.yaw)

    @property
    def head_rotation(self) -> np.ndarray:
        """Rotations (N, 3, 3) from the head's frame to the camera's; without roll, which MPIIGaze's crops lack."""
        cp, sp, cy, sy = (f(a) for a in (self.head_pitch, self.head_yaw) for f in (np.cos, np.sin))
        zero = np.zeros_like(cp)
        rows = [[cy, -sy * sp, sy * cp], [zero, cp, sp], [-sy, -cy * sp, cy * cp]]
        return np.stack([np.stack(row, -1) for row in rows], -2)


def direction(pitch: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Return unit vectors (N, 3) of angles (N,): pitch > 0 looks up, yaw > 0 left in the image, 0 at the camera."""
    return np.stack([-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)], -1)


def project(points: np.ndarray) -> np.ndarray:
    """Project points (..., 3) in mm to pixels (..., 2); whole numbers are pixel centres."""
    return points[..., :2] / points[..., 2:] * np.float32(FOCAL) + CENTRE


def place(scene: EyeScene, points: np.ndarray) -> np.ndarray:
    """Turn points (N, K, 3) of the head's frame, relative to the eyeball's centre, to camera coordinates."""
    return np.matmul(points, scene.head_rotation.transpose(0, 2, 1)) + scene.eyeball[:, None]


def lid_points(scene: EyeScene, across: np.ndarray, upper: bool) -> np.ndarray:
    """Return points (N, K, 3) of a lid's margin in the head's frame; `across` (N, K): -1 nasal, 1 temporal corner."""
    col = np.s_[:, None]
    x = across * scene.half_width[col]
    arch = (1 - np.abs(across) ** 2.3) if upper else (1 - across**2)
    if upper:
        y = -scene.lift[col] * arch * (1 - scene.skew[col] * across)
    else:
        y = scene.sink[col] * arch * (1 + np.float32(0.7) * scene.skew[col] * across)
    return np.stack([x, y + scene.drop[col] - scene.tilt[col] * x, _lid_depth(x)], -1)


def _lid_depth(x: np.ndarray) -> np.ndarray:
    """Return the depth of the lids' margin: on the eyeball's front in the middle, farther back at the corners."""
    return np.float32(0.026) * (x + 2) ** 2 - np.float32(EYEBALL + 0.3)


@dataclass
class View:
    """What each pixel sees, (N, 35, 55) float32 unless said otherwise; distances in px, positive between the lids."""

    below_upper: np.ndarray
    above_lower: np.ndarray
    opening: np.ndarray  # share of the pixel between the lids
    iris_x: np.ndarray  # intersection of the pixel's ray with the iris plane, in mm from its centre
    iris_y: np.ndarray
    radius: np.ndarray  # its distance from the centre
    iris: np.ndarray  # shares of the pixel that iris and pupil would cover if there were no lids
    pupil: np.ndarray
    normal: tuple[np.ndarray, np.ndarray, np.ndarray]  # of the eyeball
    across: np.ndarray  # (N, 1, 55), -1 at the nasal corner, 1 at the temporal one


def look(scene: EyeScene) -> View:
    """Cast each pixel's ray. Edges are anti-aliased by their distance from the pixel's centre."""
    upper, across = _lid_rows(scene, upper=True)
    lower, _ = _lid_rows(scene, upper=False)
    rows = np.arange(HEIGHT, dtype=np.float32)[None, :, None]
    below_upper = (rows - upper[:, None]) * _steepness(upper)[:, None]
    above_lower = (lower[:, None] - rows) * _steepness(lower)[:, None]
    opening = np.clip(np.minimum(below_upper, above_lower) + np.float32(0.5), 0, 1)

    gaze, (dx, dy) = scene.gaze, (_COLUMNS[None, None, :], _ROWS[None, :, None])
    centre = scene.eyeball + np.float32(IRIS_DEPTH) * gaze
    gx, gy, gz = (gaze[:, k, None, None] for k in range(3))
    cx, cy, cz = (centre[:, k, None, None] for k in range(3))
    depth = (gx * cx + gy * cy + gz * cz) / (gx * dx + (gy * dy + gz))
    px, py, pz = depth * dx - cx, depth * dy - cy, depth - cz
    level = np.sqrt(gx**2 + gz**2)
    iris_x = (px * -gz + pz * gx) / level  # along the plane's horizontal axis
    iris_y = py / level  # along the axis perpendicular to it, which py alone determines
    radius = np.sqrt(iris_x**2 + iris_y**2)
    pixel = np.float32(1 / PX_PER_MM)
    iris = np.clip((np.float32(IRIS) - radius) / (np.float32(1.5) * pixel) + np.float32(0.5), 0, 1)
    pupil = np.clip((scene.pupil[:, None, None] - radius) / pixel + np.float32(0.5), 0, 1)

    ex, ey, ez = (scene.eyeball[:, k, None, None] for k in range(3))
    nx = (dx * ez - ex) * np.float32(1 / EYEBALL)
    ny = (dy * ez - ey) * np.float32(1 / EYEBALL)
    nz = -np.sqrt(np.maximum(1 - nx**2 - ny**2, np.float32(0.02)))
    return View(below_upper, above_lower, opening, iris_x, iris_y, radius, iris, pupil, (nx, ny, nz), across[:, None])


def _lid_rows(scene: EyeScene, upper: bool) -> tuple[np.ndarray, np.ndarray]:
    """Find where a lid's margin crosses each column: rows and positions along the lid, (N, 55) each (Newton)."""
    turn = scene.head_rotation
    size = scene.half_width[:, None]
    wanted = np.arange(WIDTH, dtype=np.float32)
    across = (wanted - project(scene.eyeball)[:, :1]) / (np.float32(PX_PER_MM) * size * turn[:, :1, 0])
    for _ in range(3):
        across = np.clip(across, np.float32(-1.4), np.float32(1.4))
        points = project(place(scene, lid_points(scene, across, upper)))
        slope = turn[:, :1, 0] + turn[:, :1, 2] * np.float32(0.052) * (across * size + 2)
        miss = wanted - points[..., 0]
        across = across + miss / (np.float32(PX_PER_MM) * size * np.maximum(slope, np.float32(0.4)))
    return points[..., 1], across


def _steepness(rows: np.ndarray) -> np.ndarray:
    """Return the factors (N, 55) that turn vertical distances from a curve into perpendicular ones."""
    return 1 / np.sqrt(1 + np.gradient(rows, axis=1) ** 2)


def labels(scene: EyeScene) -> dict[str, np.ndarray]:
    """Return the labels that `renders.render` lists, by projection, float32.

    `iris` begins at its left and goes clockwise, `lids` at the nasal corner, along the upper lid, and back.
    """
    gaze = scene.gaze
    centre = scene.eyeball + np.float32(IRIS_DEPTH) * gaze
    level = np.stack([-gaze[:, 2], np.zeros_like(gaze[:, 0]), gaze[:, 0]], -1)
    level /= np.linalg.norm(level, axis=-1, keepdims=True)
    down = np.cross(level, gaze)
    angle = np.arange(8, dtype=np.float32) * np.float32(np.pi / 4)
    ring = -np.cos(angle)[:, None] * level[:, None] - np.sin(angle)[:, None] * down[:, None]
    along = np.broadcast_to(np.linspace(-1, 1, 7, dtype=np.float32), (len(gaze), 7))
    lids = np.concatenate([lid_points(scene, along, True), lid_points(scene, along[:, 5:0:-1], False)], 1)
    return {
        "gaze": gaze,
        "pitch": scene.pitch,
        "yaw": scene.yaw,
        "head_rotation": scene.head_rotation.reshape(-1, 9),
        "pupil": project(centre),
        "iris": project(centre[:, None] + np.float32(IRIS) * ring),
        "lids": project(place(scene, lids)),
    }
