"""Shading of skin, lids and eyeball: the tone of each pixel from what it sees. The face is a few smooth bumps."""

import numpy as np

from simgan.simulators.base import Batch, unit
from simgan.simulators.eyes.geometry import CENTRE, COLUMNS, IRIS, ROWS, place, project

_CORNEA, _CORNEA_DEPTH = 7.8, 5.4  # mm: its radius, and the distance of its centre in front of the eyeball's
# Bumps of a face: eyeball, nose, brow ridge, cheek (mm of the head's frame), the person's own four; all widths in px.
_PLACES = np.array([[0, 0, -12], [-29, 6, -16], [0, -17, -14], [6, 24, -8]], np.float32)
_HEIGHTS = np.array([3, 11, 5, 4], np.float32)
_WIDE = np.array([15, 11, 40, 30, 7, 7, 7, 7], np.float32)[:, None]
_HIGH = np.array([10, 24, 8, 9, 5, 5, 5, 5], np.float32)[:, None]


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
    cornea = (scene.eyeball + _CORNEA_DEPTH * scene.gaze)[:, None, None]
    x, y = np.moveaxis(project(cornea + _CORNEA * half), -1, 0)
    return eye + face.glint * (np.exp(-np.square((ROWS - y) * 0.9)) * np.exp(-np.square((COLUMNS - x) * 0.9)))
