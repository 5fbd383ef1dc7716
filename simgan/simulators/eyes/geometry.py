"""Eyeball, iris, lids and face as geometry: what a pixel of a 55×35 crop sees, and where the landmarks project.

Camera coordinates in mm: x right, y down, z away from the camera, which is MPIIGaze's virtual one (Zhang et al. 2015:
focal length 960 px for 60 px of width, 600 mm away). The head's frame is parallel to it when the face looks at the
camera. The eye is the person's left one, its nasal corner on the left of the image (mirror a right eye to get there).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 55, 35
FOCAL = 960.0 * WIDTH / 60
DISTANCE = 600.0
EYEBALL, IRIS = 12.0, 5.85  # radii; an iris of 11.7 mm is 17 px wide in the crop
IRIS_DEPTH = (EYEBALL**2 - IRIS**2) ** 0.5  # from the eyeball's centre to the plane of iris and pupil
CENTRE = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2], np.float32)
PX_PER_MM = FOCAL / DISTANCE

_COLUMNS = ((np.arange(WIDTH) - CENTRE[0]) / FOCAL).astype(np.float32)
_ROWS = ((np.arange(HEIGHT) - CENTRE[1]) / FOCAL).astype(np.float32)


@dataclass
class Scene:
    """What is before the camera, each an (N,) float32 array unless said otherwise; angles in radians, lengths in mm.

    `lift` and `sink` are the heights of the upper lid above, of the lower lid below the line between the corners, in
    the middle; `skew` moves the upper lid's peak to the nose and the lower one's away from it.
    """

    pitch: np.ndarray
    yaw: np.ndarray
    head_pitch: np.ndarray
    head_yaw: np.ndarray
    eyeball: np.ndarray  # (N, 3), centre
    pupil: np.ndarray  # radius
    half_width: np.ndarray
    drop: np.ndarray  # how far below the eyeball's centre the line between the corners runs
    tilt: np.ndarray  # slope of the line between the corners, > 0 where the temporal corner is the higher one
    skew: np.ndarray
    lift: np.ndarray
    sink: np.ndarray

    def part(self, where: slice) -> Scene:
        """Some of the scenes."""
        return Scene(**{name: value[where] for name, value in vars(self).items()})

    @property
    def gaze(self) -> np.ndarray:
        """Unit vectors (N, 3)."""
        return direction(self.pitch, self.yaw)

    @property
    def head_rotation(self) -> np.ndarray:
        """Rotations (N, 3, 3) from the head's frame to the camera's, without roll as MPIIGaze normalizes it."""
        cp, sp, cy, sy = (f(a) for a in (self.head_pitch, self.head_yaw) for f in (np.cos, np.sin))
        zero = np.zeros_like(cp)
        rows = [[cy, -sy * sp, sy * cp], [zero, cp, sp], [-sy, -cy * sp, cy * cp]]
        return np.stack([np.stack(row, -1) for row in rows], -2)


def direction(pitch: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Angles (N,) to unit vectors (N, 3): pitch > 0 looks up, yaw > 0 to the image's left, (0, 0) at the camera."""
    return np.stack([-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)], -1)


def project(points: np.ndarray) -> np.ndarray:
    """Points (..., 3) in mm to pixels (..., 2); whole numbers are pixel centres."""
    return points[..., :2] / points[..., 2:] * np.float32(FOCAL) + CENTRE


def place(scene: Scene, points: np.ndarray) -> np.ndarray:
    """Points (N, K, 3) of the head's frame, relative to the eyeball's centre, to camera coordinates."""
    return np.matmul(points, scene.head_rotation.transpose(0, 2, 1)) + scene.eyeball[:, None]


def lid_points(scene: Scene, across: np.ndarray, upper: bool) -> np.ndarray:
    """Points of a lid's margin in the head's frame, (N, K, 3), at `across` (N, K): -1 nasal, 1 temporal corner."""
    col = np.s_[:, None]
    x = across * scene.half_width[col]
    arch = (1 - np.abs(across) ** 2.3) if upper else (1 - across**2)
    if upper:
        y = -scene.lift[col] * arch * (1 - scene.skew[col] * across)
    else:
        y = scene.sink[col] * arch * (1 + np.float32(0.7) * scene.skew[col] * across)
    return np.stack([x, y + scene.drop[col] - scene.tilt[col] * x, _lid_depth(x)], -1)


def _lid_depth(x: np.ndarray) -> np.ndarray:
    """Depth of the lids' margin: on the eyeball's front in the middle, drawing back to the corners."""
    return np.float32(0.026) * (x + 2) ** 2 - np.float32(EYEBALL + 0.3)


@dataclass
class View:
    """What each pixel sees, (N, 35, 55) float32 unless said otherwise; distances in px, positive inside the opening."""

    below_upper: np.ndarray
    above_lower: np.ndarray
    opening: np.ndarray  # share of the pixel between the lids
    iris_x: np.ndarray  # where the pixel's ray meets the iris plane, in mm from its centre
    iris_y: np.ndarray
    radius: np.ndarray  # the same as a distance
    iris: np.ndarray  # shares of the pixel that iris and pupil would cover without lids
    pupil: np.ndarray
    normal: tuple[np.ndarray, np.ndarray, np.ndarray]  # of the eyeball
    across: np.ndarray  # (N, 1, 55), -1 at the nasal corner, 1 at the temporal one


def look(scene: Scene) -> View:
    """Cast each pixel's ray: edges are anti-aliased by their distance from the pixel's centre."""
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
    iris_x = (px * -gz + pz * gx) / level  # the plane's axes: one level, one across it
    iris_y = py / level  # in the plane, py is all that the second axis needs
    radius = np.sqrt(iris_x**2 + iris_y**2)
    pixel = np.float32(1 / PX_PER_MM)
    iris = np.clip((np.float32(IRIS) - radius) / (np.float32(1.5) * pixel) + np.float32(0.5), 0, 1)
    pupil = np.clip((scene.pupil[:, None, None] - radius) / pixel + np.float32(0.5), 0, 1)

    ex, ey, ez = (scene.eyeball[:, k, None, None] for k in range(3))
    nx = (dx * ez - ex) * np.float32(1 / EYEBALL)
    ny = (dy * ez - ey) * np.float32(1 / EYEBALL)
    nz = -np.sqrt(np.maximum(1 - nx**2 - ny**2, np.float32(0.02)))
    return View(below_upper, above_lower, opening, iris_x, iris_y, radius, iris, pupil, (nx, ny, nz), across[:, None])


def _lid_rows(scene: Scene, upper: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where a lid's margin crosses each column: rows and positions along the lid, (N, 55) each, by Newton's method."""
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
    """Turns vertical distances from a curve into perpendicular ones, (N, 55)."""
    return 1 / np.sqrt(1 + np.gradient(rows, axis=1) ** 2)


def labels(scene: Scene) -> dict[str, np.ndarray]:
    """Labels by projection, float32: gaze (N, 3), pitch and yaw (N,), head_rotation (N, 9), pupil (N, 2),
    iris (N, 8, 2) from its left clockwise, lids (N, 12, 2) from the nasal corner over the upper lid and back.
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
