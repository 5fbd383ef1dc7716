"""Shading of skin, lids and eyeball: the tone of each pixel from what it sees. The face is a few smooth bumps."""

import numpy as np

from simgan.simulators.eyes.geometry import CENTRE, HEIGHT, IRIS, WIDTH, EyeScene, View, place, project
from simgan.simulators.eyes.people import Face

_X = np.arange(WIDTH, dtype=np.float32)
_Y = np.arange(HEIGHT, dtype=np.float32)
_CORNEA, _CORNEA_DEPTH = 7.8, 5.4  # mm: its radius, and the distance of its centre in front of the eyeball's
# Bumps of a face, mm in the head's frame: x, y, z, widths in x and y (px), height. Eyeball, nose, brow ridge, cheek.
_RELIEF = np.array(
    [
        [0, 0, -12, 15, 10, 3.0],
        [-29, 6, -16, 11, 24, 11.0],
        [0, -17, -14, 40, 8, 5.0],
        [6, 24, -8, 30, 9, 4.0],
    ],
    np.float32,
)


def paint(scene: EyeScene, face: Face, view: View, tint: np.ndarray | None = None) -> np.ndarray:
    """Return tones (N, 35, 55) float32, about 0 to 1. `tint`: factors of that shape on the tones of the skin."""
    skin = paint_skin(scene, face, view)
    if tint is not None:
        skin *= tint
    eye = paint_eyeball(scene, face, view)
    return skin + view.opening * (eye - skin)


def _pixels(value: np.ndarray) -> np.ndarray:
    """Return one value an image, (N,), as (N, 1, 1), which broadcasts to its pixels."""
    return value[:, None, None]


def _gaussian(distance: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    return np.exp(-np.square(distance / np.float32(width) if isinstance(width, float) else distance / width))


def paint_skin(scene: EyeScene, face: Face, view: View) -> np.ndarray:
    """Return tones (N, 35, 55) of the skin, as if it covered each pixel, with fold, brow and lashes."""
    count = len(face.skin)
    spots = np.broadcast_to(_RELIEF[:, :3], (count, len(_RELIEF), 3))
    middle = project(place(scene, spots))
    own = face.bumps
    x0 = np.concatenate([middle[..., 0], CENTRE[0] + own[..., 0]], 1)
    y0 = np.concatenate([middle[..., 1], CENTRE[1] + own[..., 1]], 1)
    wide = np.concatenate([_RELIEF[:, 3], np.full(own.shape[1], 7, np.float32)])[:, None]
    high = np.concatenate([_RELIEF[:, 4], np.full(own.shape[1], 5, np.float32)])[:, None]
    size = np.concatenate([np.broadcast_to(_RELIEF[:, 5], (count, len(_RELIEF))), own[..., 2]], 1)[..., None]
    # A bump is a product of two Gaussians, so its slopes are outer products: two matrix products for all bumps.
    across, down = (_X - x0[..., None]) / wide, (_Y - y0[..., None]) / high
    bell_x, bell_y = np.exp(-(across**2)), size * np.exp(-(down**2))
    slope_x, slope_y = 2 * across / wide * bell_x, 2 * down / high * bell_y
    relief = np.matmul(bell_y.transpose(0, 2, 1), slope_x * _pixels(face.light_x))
    relief += np.matmul(slope_y.transpose(0, 2, 1), bell_x * _pixels(face.light_y))
    relief *= _pixels(face.contrast)
    skin = _pixels(face.skin) * (1 + relief / (1 + np.abs(relief)))

    # The hollow between nose and brow, and the brow.
    across = view.across
    hollow = np.exp(-np.square((across + 1) * np.float32(1.3)))
    depth = np.exp(-np.square((_Y[None, :, None] - np.float32(6)) * np.float32(0.11)))
    skin *= 1 - _pixels(face.hollow) * hollow * depth
    arch = _pixels(face.brow) + np.float32(3) * np.square(across - np.float32(0.2))
    brow = np.clip((arch - _Y[None, :, None]) * np.float32(0.4) + np.float32(0.5), 0, 1)
    skin *= 1 - _pixels(face.brow_tone) * brow

    # Upper lid: the part between margin and fold is bright, the fold is a dark line that ends at the corners.
    above = -view.below_upper
    inside = np.clip((np.float32(1.15) - np.abs(across)) * np.float32(3), 0, 1)
    fold = _pixels(face.crease) * (np.float32(0.25) + np.float32(0.75) * np.exp(-np.square(across - np.float32(0.1))))
    skin *= 1 - inside * _pixels(face.crease_depth) * _gaussian(above - fold, 1.1)
    skin *= 1 + inside * np.float32(0.1) * _gaussian(above - np.float32(0.55) * fold, 1.8)
    thick = _pixels(face.lash_width) * (np.float32(1) + np.float32(0.3) * np.clip(across, -1, 1))
    skin *= 1 - inside * _pixels(face.lashes) * _gaussian(above, thick)

    # Lower lid: a moist rim, short lashes, the fold of the bag.
    under = -view.above_lower
    skin *= 1 + inside * np.float32(0.22) * _gaussian(under - np.float32(0.6), 0.8)
    skin *= 1 - inside * _pixels(face.lower_lashes) * _gaussian(under - np.float32(1.7), 0.9)
    skin *= 1 - inside * _pixels(face.bag) * _gaussian(under - np.float32(5.5), 1.8)
    return skin


def paint_eyeball(scene: EyeScene, face: Face, view: View) -> np.ndarray:
    """Return tones (N, 35, 55) of the eyeball, as if there were no lids, with the lids' shadow and the glint."""
    nx, ny, nz = view.normal
    slope = _pixels(face.light_x) * nx + _pixels(face.light_y) * ny
    light = 1 - np.float32(0.35) * (1 + nz) + np.float32(0.25) * slope
    eye = _pixels(face.sclera) * light
    caruncle = np.exp(-np.square((view.across + 1) * np.float32(5)))
    eye += caruncle * (np.float32(0.8) * _pixels(face.skin) - eye)

    share = view.radius * np.float32(1 / IRIS)
    ring = np.clip((share - np.float32(0.72)) * np.float32(3), 0, 1)
    iris = _pixels(face.iris) * (np.float32(1.05) - np.float32(0.55) * ring) + np.float32(0.02)
    # Fibres are waves around the pupil: cos and sin of 2, 4, 8 and 16 times the angle, by the double-angle formula.
    unit = 1 / np.maximum(view.radius, np.float32(0.05))
    c, s = view.iris_x * unit, view.iris_y * unit
    waves = np.float32(0)
    for order in range(1, 5):
        c, s = c * c - s * s, 2 * c * s
        turn = face.turn * np.float32(order * order)
        waves = waves + _pixels(np.cos(turn)) * c + _pixels(np.sin(turn)) * s
    iris *= 1 + _pixels(face.fibres) * waves
    iris += view.pupil * (np.float32(0.03) - iris)
    eye += view.iris * (iris - eye)
    shadow = np.float32(0.5) * np.exp(np.minimum(-view.below_upper, 0) * np.float32(0.45))
    eye *= (1 - shadow) * (1 - np.float32(0.2) * np.exp(np.minimum(-view.above_lower, 0) * np.float32(0.9)))
    return eye + _pixels(face.glint) * _glint(scene, face)


def _glint(scene: EyeScene, face: Face) -> np.ndarray:
    """Return the reflection of the light on the cornea as a small spot, (N, 35, 55) in [0, 1]."""
    light = np.stack([face.light_x, face.light_y, np.full_like(face.light_x, -1.0)], -1)
    light /= np.linalg.norm(light, axis=-1, keepdims=True)
    half = light + np.array([0, 0, -1], np.float32)
    half /= np.linalg.norm(half, axis=-1, keepdims=True)
    spot = project(scene.eyeball + np.float32(_CORNEA_DEPTH) * scene.gaze + np.float32(_CORNEA) * half)
    across = np.exp(-np.square((_X - spot[:, :1]) * np.float32(0.9)))
    down = np.exp(-np.square((_Y - spot[:, 1:]) * np.float32(0.9)))
    return down[:, :, None] * across[:, None, :]
