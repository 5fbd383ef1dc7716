"""Shapes of right hands: bones (adults' lengths by Buryanov and Kotiuk, 2010), flesh, and the sphere mesh of both.

The hand's frame in mm: x to the thumb's side (radial), y to the fingers (distal), z out of the palm, from the wrist.
"""

from itertools import chain, combinations, pairwise

import numpy as np

from simgan.simulators.base import Batch, RandomNumbers

FINGERS = ("index", "middle", "ring", "little")
_PHALANGES = np.array([[39.8, 22.4, 15.8], [44.6, 26.3, 17.4], [41.4, 25.7, 17.3], [32.7, 18.1, 16.0]], np.float32)
_THUMB = np.array([46.2, 31.6, 21.7], np.float32)  # metacarpal and two phalanges
_PAD = 4.0  # flesh beyond the last bone
_ROOTS = np.array([[11, 27, 0], [2, 29, -1], [-7, 27, -1], [-15, 23, 0]], np.float32)  # of the metacarpals
_KNUCKLES = np.array([[23, 92, 0], [2, 94, -2], [-17, 86, -1], [-33.5, 75, 2]], np.float32)
_THUMB_ROOT = np.array([20, 17, 7], np.float32)
_FINGER = ("root", "knuckle", "middle", "end", "tip", "web")
_FINGER_RADII = (
    (13.5, 12.8, 9.2, 7.9, 6.8, 10.2),
    (13.5, 12.8, 9.4, 8.1, 7.0, 10.4),
    (13.0, 12.0, 8.8, 7.6, 6.6, 9.8),
    (12.5, 10.8, 7.7, 6.8, 5.9, 8.7),
)  # the web is 0.9 times as thick
_RADII = {
    **dict(zip((f"{finger} {part}" for finger in FINGERS for part in _FINGER), chain(*_FINGER_RADII), strict=True)),
    **{"thumb root": 13.0, "thumb base": 11.6, "thumb middle": 9.8, "thumb tip": 8.0},
    **{"thumb mount": 14.5, "thumb web": 8.5, "index side": 9.5, "hollow": 13.0, "heel": 15.0},
    **{"wrist radial": 16.5, "wrist ulnar": 15.5, "arm radial": 25.0, "arm ulnar": 23.0},
    **{"elbow radial": 32.0, "elbow ulnar": 30.0},
}
PLACE = {name: number for number, name in enumerate(_RADII)}  # of the mesh's spheres

_CHAINS = (
    *(", ".join(f"{finger} {part}" for part in _FINGER[:5]) for finger in FINGERS),
    "thumb root, thumb base, thumb middle, thumb tip",
    "thumb mount, thumb base",
    "heel, wrist ulnar",
)
_PLATES = (
    # The palm between the metacarpals, and the skin between the first phalanges.
    *(f"{a} root, {a} knuckle, {b} knuckle" for a, b in pairwise(FINGERS)),
    *(f"{a} root, {b} root, {b} knuckle" for a, b in pairwise(FINGERS)),
    *(f"{a} knuckle, {b} knuckle, {a} web" for a, b in pairwise(FINGERS)),
    *(f"{a} web, {b} web, {b} knuckle" for a, b in pairwise(FINGERS)),
    # The thumb's mount, and the skin between thumb and index.
    "thumb root, thumb mount, hollow", "thumb mount, index side, hollow", "thumb root, thumb mount, thumb web",
    "thumb mount, thumb web, index side", "thumb root, index root, index side", "thumb root, thumb web, index side",
    # The little finger's side, the wrist, the forearm.
    "heel, little knuckle, little root", "heel, hollow, little knuckle", "heel, hollow, wrist ulnar",
    "hollow, thumb root, wrist radial", "hollow, wrist radial, wrist ulnar", "wrist radial, thumb root, index root",
    "wrist radial, index root, little root", "wrist radial, wrist ulnar, little root",
    "wrist radial, wrist ulnar, arm radial", "wrist ulnar, arm radial, arm ulnar",
    "arm radial, arm ulnar, elbow radial", "arm ulnar, elbow radial, elbow ulnar",
)  # fmt: skip
PLATES = np.array([[PLACE[name] for name in plate.split(", ")] for plate in _PLATES])  # (T, 3) spheres of triangles
_BONES = {pair for bones in _CHAINS for pair in pairwise(PLACE[name] for name in bones.split(", "))}
_SIDES = {pair for plate in PLATES.tolist() for pair in combinations(sorted(plate), 2)}
EDGES = np.array(sorted(_BONES | _SIDES))  # (E, 2) spheres of segments, the sides of all plates included


def of_fingers(values: np.ndarray) -> np.ndarray:
    """Return values (N, P, ...) of spheres as a view (N, 4, 6, ...) of those that the fingers consist of."""
    return values[:, :24].reshape(-1, 4, 6, *values.shape[2:])


def measure(person: RandomNumbers, length: tuple[float, float], girth: tuple[float, float]) -> Batch:
    """Draw measures of hands in mm, float32, from (mean, deviation) of length (1 = 188 mm) and relative thickness."""
    scale = np.clip(person.normal(*length), 0.78, 1.16)
    thick = scale * np.clip(person.normal(*girth), 0.82, 1.2)
    broad = scale * person.normal(1, 0.04)
    long = person.normal(1, 0.03)  # fingers to palm
    each = np.stack([person.normal(1, 0.025) for _ in range(5)], -1)
    spread = np.stack([broad, scale, scale], -1)[:, None]
    radii = np.array(list(_RADII.values()), np.float32) * thick[:, None]
    fingers = of_fingers(radii)
    fingers[..., 5] *= np.float32(0.9)
    phalanges = _PHALANGES * (scale * long)[:, None, None] * each[:, :4, None]
    thumb = _THUMB * (scale * each[:, 4])[:, None]
    phalanges[..., 2] += _PAD * scale[:, None] - fingers[..., 4]
    thumb[:, 2] += _PAD * scale - radii[:, PLACE["thumb tip"]]
    return Batch(
        roots=_ROOTS * spread,  # (N, 4, 3) starts of the metacarpals, index to little
        knuckles=_KNUCKLES * spread,  # (N, 4, 3) starts of the fingers
        phalanges=phalanges,  # (N, 4, 3) from joint to joint, the last to the centre of the tip's sphere
        thumb_root=_THUMB_ROOT * spread[:, 0],
        thumb=thumb,  # (N, 3) metacarpal, first phalanx, from the last joint to the centre of the tip's sphere
        wrist=14.5 * broad,  # distance of its two spheres from its middle
        scale=scale,  # 1 is an average adult
        radii=radii,  # (N, P) of the spheres
    )
