"""Light on skin, lids and eyeball: from what each pixel sees to its tone. Relief shading of a few smooth bumps."""

from __future__ import annotations

import numpy as np

from simgan.simulators.eyes.geometry import CENTRE, HEIGHT, IRIS, WIDTH, Scene, View, place, project
from simgan.simulators.eyes.people import Face

_X = np.arange(WIDTH, dtype=np.float32)
_Y = np.arange(HEIGHT, dtype=np.float32)
_CORNEA, _CORNEA_DEPTH = 7.8, 5.4  # radius; its centre lies so far before the eyeball's
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


def paint(scene: Scene, face: Face, view: View, tint: np.ndarray | None = None) -> np.ndarray:
    """Tones (N, 35, 55) float32, about 0 to 1. `tint` (the same shape, about 1) is what skin and lashes add to them."""
    skin = paint_skin(scene, face, view)
    if tint is not None:
        skin *= tint
    eye = paint_eyeball(scene, face, view)
    return skin + view.opening * (eye - skin)


def _wide(value: np.ndarray) -> np.ndarray:
    return value[:, None, None]


def _bell(distance: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    return np.exp(-np.square(distance / np.float32(width) if isinstance(width, float) else distance / width))


def paint_skin(scene: Scene, face: Face, view: View) -> np.ndarray:
    """Tones of the skin everywhere, with fold, brow and lashes, (N, 35, 55)."""
    count = len(face.skin)
    spots = np.broadcast_to(_RELIEF[:, :3], (count, len(_RELIEF), 3))
    middle = project(place(scene, spots))
    own = face.bumps
    x0 = np.concatenate([middle[..., 0], CENTRE[0] + own[..., 0]], 1)
    y0 = np.concatenate([middle[..., 1], CENTRE[1] + own[..., 1]], 1)
    wide = np.concatenate([_RELIEF[:, 3], np.full(own.shape[1], 7, np.float32)])[:, None]
    high = np.concatenate([_RELIEF[:, 4], np.full(own.shape[1], 5, np.float32)])[:, None]
    size = np.concatenate([np.broadcast_to(_RELIEF[:, 5], (count, len(_RELIEF))), own[..., 2]], 1)[..., None]
    # A bump is a product of two bells, so its slopes are outer products: two small matrix products for all bumps.
    across, down = (_X - x0[..., None]) / wide, (_Y - y0[..., None]) / high
    bell_x, bell_y = np.exp(-(across**2)), size * np.exp(-(down**2))
    slope_x, slope_y = 2 * across / wide * bell_x, 2 * down / high * bell_y
    relief = np.matmul(bell_y.transpose(0, 2, 1), slope_x * _wide(face.light_x))
    relief += np.matmul(slope_y.transpose(0, 2, 1), bell_x * _wide(face.light_y))
    relief *= _wide(face.contrast)
    skin = _wide(face.skin) * (1 + relief / (1 + np.abs(relief)))

    # The hollow between nose and brow, and the brow.
    nasal = view.across
    hollow = np.exp(-np.square((nasal + 1) * np.float32(1.3)))
    depth = np.exp(-np.square((_Y[None, :, None] - np.float32(6)) * np.float32(0.11)))
    skin *= 1 - _wide(face.hollow) * hollow * depth
    arch = _wide(face.brow) + np.float32(3) * np.square(nasal - np.float32(0.2))
    brow = np.clip((arch - _Y[None, :, None]) * np.float32(0.4) + np.float32(0.5), 0, 1)
    skin *= 1 - _wide(face.brow_tone) * brow

    # Upper lid: the plate between margin and fold catches the light, the fold is a dark line that ends at the corners.
    above = -view.below_upper
    inside = np.clip((np.float32(1.15) - np.abs(nasal)) * np.float32(3), 0, 1)
    fold = _wide(face.crease) * (np.float32(0.25) + np.float32(0.75) * np.exp(-np.square(nasal - np.float32(0.1))))
    skin *= 1 - inside * _wide(face.crease_depth) * _bell(above - fold, 1.1)
    skin *= 1 + inside * np.float32(0.1) * _bell(above - np.float32(0.55) * fold, 1.8)
    thick = _wide(face.lash_width) * (np.float32(1) + np.float32(0.3) * np.clip(nasal, -1, 1))
    skin *= 1 - inside * _wide(face.lashes) * _bell(above, thick)

    # Lower lid: a moist rim, short lashes, the fold of the bag.
    under = -view.above_lower
    skin *= 1 + inside * np.float32(0.22) * _bell(under - np.float32(0.6), 0.8)
    skin *= 1 - inside * _wide(face.lower_lashes) * _bell(under - np.float32(1.7), 0.9)
    skin *= 1 - inside * _wide(face.bag) * _bell(under - np.float32(5.5), 1.8)
    return skin


def paint_eyeball(scene: Scene, face: Face, view: View) -> np.ndarray:
    """Tones of the eyeball everywhere, with the lids' shadow and the glint, (N, 35, 55)."""
    nx, ny, nz = view.normal
    light = 1 - np.float32(0.35) * (1 + nz) + np.float32(0.25) * (_wide(face.light_x) * nx + _wide(face.light_y) * ny)
    eye = _wide(face.sclera) * light
    caruncle = np.exp(-np.square((view.across + 1) * np.float32(5)))
    eye += caruncle * (np.float32(0.8) * _wide(face.skin) - eye)

    share = view.radius * np.float32(1 / IRIS)
    ring = np.clip((share - np.float32(0.72)) * np.float32(3), 0, 1)
    iris = _wide(face.iris) * (np.float32(1.05) - np.float32(0.55) * ring) + np.float32(0.02)
    # Fibres are waves around the pupil; powers of the unit complex number replace angles, squaring doubles the waves.
    unit = 1 / np.maximum(view.radius, np.float32(0.05))
    c, s = view.iris_x * unit, view.iris_y * unit
    waves = np.float32(0)
    for order in range(1, 5):
        c, s = c * c - s * s, 2 * c * s
        turn = face.turn * np.float32(order * order)
        waves = waves + _wide(np.cos(turn)) * c + _wide(np.sin(turn)) * s
    iris *= 1 + _wide(face.fibres) * waves
    iris += view.pupil * (np.float32(0.03) - iris)
    eye += view.iris * (iris - eye)
    shadow = np.float32(0.5) * np.exp(np.minimum(-view.below_upper, 0) * np.float32(0.45))
    eye *= (1 - shadow) * (1 - np.float32(0.2) * np.exp(np.minimum(-view.above_lower, 0) * np.float32(0.9)))
    return eye + _wide(face.glint) * _glint(scene, face)


def _glint(scene: Scene, face: Face) -> np.ndarray:
    """The light's mirror image on the cornea as a small spot, (N, 35, 55) in [0, 1]."""
    light = np.stack([face.light_x, face.light_y, np.full_like(face.light_x, -1.0)], -1)
    light /= np.linalg.norm(light, axis=-1, keepdims=True)
    half = light + np.array([0, 0, -1], np.float32)
    half /= np.linalg.norm(half, axis=-1, keepdims=True)
    spot = project(scene.eyeball + np.float32(_CORNEA_DEPTH) * scene.gaze + np.float32(_CORNEA) * half)
    across = np.exp(-np.square((_X - spot[:, :1]) * np.float32(0.9)))
    down = np.exp(-np.square((_Y - spot[:, 1:]) * np.float32(0.9)))
    return down[:, :, None] * across[:, None, :]
