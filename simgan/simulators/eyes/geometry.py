"""Eyeball, iris, lids and face: what each pixel of a 55×35 crop sees, its tone, and where landmarks project.

The camera is MPIIGaze's virtual one (Zhang et al. 2015: focal length 960 px for 60 px of width, 600 mm away); x right,
y down, z away from it, in mm. A face that looks at it has its axes. The eye is a left one, its nasal corner left.
"""

import numpy as np

from simgan.domains.eyes import HEIGHT, WIDTH
from simgan.simulators.base import Batch, unit

FOCAL, DISTANCE = 960.0 * WIDTH / 60, 600.0
EYEBALL, IRIS = 12.0, 5.85  # radii; an iris of 11.7 mm is 17 px wide in the crop
IRIS_DEPTH = (EYEBALL**2 - IRIS**2) ** 0.5  # from the eyeball's centre to the plane of iris and pupil
CENTRE = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2], np.float32)
PX_PER_MM = FOCAL / DISTANCE
COLUMNS, ROWS = np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32)[:, None]

_CORNEA, _CORNEA_DEPTH = 7.8, 5.4  # mm: its radius, and the distance of its centre in front of the eyeball's
# Bumps of a face: eyeball, nose, brow ridge, cheek (mm of the head's frame), the person's own four; all widths in px.
_PLACES = np.array([[0, 0, -12], [-29, 6, -16], [0, -17, -14], [6, 24, -8]], np.float32)
_HEIGHTS = np.array([3, 11, 5, 4], np.float32)
_WIDE = np.array([15, 11, 40, 30, 7, 7, 7, 7], np.float32)[:, None]
_HIGH = np.array([10, 24, 8, 9, 5, 5, 5, 5], np.float32)[:, None]


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


def corners(scene: Batch) -> np.ndarray:
    """Return the middle (N, 3) between the lids' corners, on which crops are centred, from the eyeball's centre."""
    across = np.broadcast_to(np.array([-1, 1], np.float32), (len(scene.axis), 2))
    return np.matmul(_lid_points(scene, across, True), scene.head_rotation.transpose(0, 2, 1)).mean(1)


def _lid_rows(scene: Batch, upper: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the rows, positions along a lid, and cosines of its slope, (N, 55), where it crosses columns (Newton)."""
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
    """Cast each pixel's ray: what it sees, (N, 35, 55); distances from lids are in px, positive between the lids."""
    upper, across, steepness = _lid_rows(scene, upper=True)
    below_upper = (ROWS - upper[:, None]) * steepness[:, None]
    lower, _, steepness = _lid_rows(scene, upper=False)
    above_lower = (lower[:, None] - ROWS) * steepness[:, None]

    dx, dy = (COLUMNS - CENTRE[0]) / np.float32(FOCAL), (ROWS - CENTRE[1]) / np.float32(FOCAL)
    axis, eyeball = (vectors.T[:, :, None, None] for vectors in (scene.axis, scene.eyeball))
    (gx, gy, gz), (cx, cy, cz) = axis, eyeball + IRIS_DEPTH * axis
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
    axis, centre = scene.axis, scene.eyeball + IRIS_DEPTH * scene.axis
    level = unit(np.stack([-axis[:, 2], np.zeros_like(axis[:, 0]), axis[:, 0]], -1))
    down = np.cross(level, axis)
    angle = np.arange(8, dtype=np.float32)[:, None] * np.float32(np.pi / 4)
    ring = -np.cos(angle) * level[:, None] - np.sin(angle) * down[:, None]
    along = np.broadcast_to(np.linspace(-1, 1, 7, dtype=np.float32), (len(axis), 7))
    lids = np.concatenate([_lid_points(scene, along, True), _lid_points(scene, along[:, 5:0:-1], False)], 1)
    return {
        "gaze": scene.gaze,
        "pitch": scene.pitch,
        "yaw": scene.yaw,
        "head_rotation": scene.head_rotation.reshape(-1, 9),
        "pupil": project(centre),
        "iris": project(centre[:, None] + IRIS * ring),
        "lids": project(place(scene, lids)),
    }


def paint(scene: Batch, face: Batch, view: Batch, tint: np.ndarray | float) -> np.ndarray:
    """Return tones (N, 35, 55) float32, about 0 to 1. `tint`: factors of that shape on the tones of the skin."""
    face = Batch({name: value[:, None, None] for name, value in face.items()})  # broadcasts to the pixels
    skin = _skin(scene, face, view) * tint
    return skin + view.opening * (_eyeball(scene, face, view) - skin)


def _gaussian(distance: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    return np.exp(-np.square(distance / width))


def _relief(scene: Batch, face: Batch) -> np.ndarray:
    """Return how much the face's slopes turn to the light, (N, 35, 55). A bump is a product of two Gaussians."""
    own = scene.bumps.reshape(-1, 4, 3) * np.array([18, 12, 1.2], np.float32)
    middle = np.concatenate([project(place(scene, _PLACES)), CENTRE + own[..., :2]], 1)[..., None]
    height = np.concatenate([np.broadcast_to(_HEIGHTS, (len(own), 4)), own[..., 2]], 1)[..., None]
    across, down = (COLUMNS - middle[:, :, 0]) / _WIDE, (ROWS[:, 0] - middle[:, :, 1]) / _HIGH
    bell_x, bell_y = np.exp(-(across**2)), height * np.exp(-(down**2))
    slope_x, slope_y = 2 * across / _WIDE * bell_x, 2 * down / _HIGH * bell_y
    relief = np.matmul(bell_y.transpose(0, 2, 1), slope_x * face.light_x)
    return relief + np.matmul(slope_y.transpose(0, 2, 1), bell_x * face.light_y)


def _skin(scene: Batch, face: Batch, view: Batch) -> np.ndarray:
    """Return tones (N, 35, 55) of the skin, as if it covered each pixel, with fold, brow and lashes."""
    relief = _relief(scene, face) * face.contrast
    skin = face.skin * (1 + relief / (1 + np.abs(relief)))

    # The hollow between nose and brow, and the brow.
    across = view.across
    hollow = face.hollow * np.exp(-np.square((across + 1) * 1.3)) * np.exp(-np.square((ROWS - 6) * 0.11))
    skin *= 1 - hollow
    brow = face.brow + 3 * np.square(across - 0.2)
    skin *= 1 - face.brow_tone * np.clip((brow - ROWS) * 0.4 + 0.5, 0, 1)

    # Upper lid: the part between margin and fold is bright, the fold is a dark line that ends at the corners.
    above = -view.below_upper
    inside = np.clip((1.15 - np.abs(across)) * 3, 0, 1)
    fold = face.crease * (0.25 + 0.75 * np.exp(-np.square(across - 0.1)))
    skin *= 1 - inside * face.crease_depth * _gaussian(above - fold, 1.1)
    skin *= 1 + inside * 0.1 * _gaussian(above - 0.55 * fold, 1.8)
    skin *= 1 - inside * face.lashes * _gaussian(above, face.lash_width * (1 + 0.3 * np.clip(across, -1, 1)))

    # Lower lid: a moist rim, short lashes, the fold of the bag.
    under = -view.above_lower
    skin *= 1 + inside * 0.22 * _gaussian(under - 0.6, 0.8)
    skin *= 1 - inside * face.lower_lashes * _gaussian(under - 1.7, 0.9)
    skin *= 1 - inside * face.bag * _gaussian(under - 5.5, 1.8)
    return skin


def _eyeball(scene: Batch, face: Batch, view: Batch) -> np.ndarray:
    """Return tones (N, 35, 55) of the eyeball, as if there were no lids, with the lids' shadow and the glint."""
    slope = face.light_x * view.normal_x + face.light_y * view.normal_y
    eye = face.sclera * (1 - 0.35 * (1 + view.normal_z) + 0.25 * slope)
    eye += np.exp(-np.square((view.across + 1) * 5)) * (0.8 * face.skin - eye)  # the caruncle

    ring = np.clip((view.radius * (1 / IRIS) - 0.72) * 3, 0, 1)
    iris = face.iris * (1.05 - 0.55 * ring) + 0.02
    # Fibres are waves around the pupil: cos and sin of 2, 4, 8 and 16 times the angle, by the double-angle formula.
    inverse = 1 / np.maximum(view.radius, 0.05)
    c, s = view.iris_x * inverse, view.iris_y * inverse
    waves = np.float32(0)
    for order in range(1, 5):
        c, s = c * c - s * s, 2 * c * s
        turn = face.turn * (order * order)
        waves = waves + np.cos(turn) * c + np.sin(turn) * s
    iris *= 1 + face.fibres * waves
    iris += view.pupil * (0.03 - iris)
    eye += view.iris * (iris - eye)
    shadow = 1 - 0.5 * np.exp(np.minimum(-view.below_upper, 0) * 0.45)
    eye *= shadow * (1 - 0.2 * np.exp(np.minimum(-view.above_lower, 0) * 0.9))

    # The glint: the light's reflection on the cornea, as a small spot.
    light = unit(np.stack([face.light_x, face.light_y, np.full_like(face.light_x, -1)], -1))
    half = unit(light + np.array([0, 0, -1], np.float32))
    cornea = (scene.eyeball + _CORNEA_DEPTH * scene.axis)[:, None, None]
    x, y = np.moveaxis(project(cornea + _CORNEA * half), -1, 0)
    return eye + face.glint * (np.exp(-np.square((ROWS - y) * 0.9)) * np.exp(-np.square((COLUMNS - x) * 0.9)))
