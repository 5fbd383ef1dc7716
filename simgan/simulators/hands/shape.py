"""Shapes of hands: bones, the flesh around them, and the sphere mesh of both; our own geometry.

The hand's frame in mm: x to the thumb's side (radial), y to the fingers (distal), z out of the palm, origin at the
wrist. It is a right hand, as in NYU's data. Lengths of bones are those of adults by Buryanov and Kotiuk (2010).
"""

from itertools import combinations, pairwise

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
    **{
        f"{FINGERS[k]} {part}": radius for k in range(4) for part, radius in zip(_FINGER, _FINGER_RADII[k], strict=True)
    },
    **{"thumb root": 13.0, "thumb base": 11.6, "thumb middle": 9.8, "thumb tip": 8.0},
    **{"thumb mount": 14.5, "thumb web": 8.5, "index side": 9.5, "hollow": 13.0, "heel": 15.0},
    **{"wrist radial": 16.5, "wrist ulnar": 15.5, "arm radial": 25.0, "arm ulnar": 23.0},
    **{"elbow radial": 32.0, "elbow ulnar": 30.0},
}
PLACE = {name: number for number, name in enumerate(_RADII)}
"""The spheres of the mesh."""

_CHAINS = (
    *(" ".join(f"{f}_{p}" for p in ("root", "knuckle", "middle", "end", "tip")) for f in FINGERS),
    "thumb_root thumb_base thumb_middle thumb_tip",
    "thumb_mount thumb_base",
    "heel wrist_ulnar",
)
_PLATES = (
    # The palm between the metacarpals, and the skin between the first phalanges.
    *(f"{a}_root {a}_knuckle {b}_knuckle" for a, b in pairwise(FINGERS)),
    *(f"{a}_root {b}_root {b}_knuckle" for a, b in pairwise(FINGERS)),
    *(f"{a}_knuckle {b}_knuckle {a}_web" for a, b in pairwise(FINGERS)),
    *(f"{a}_web {b}_web {b}_knuckle" for a, b in pairwise(FINGERS)),
    # The thumb's mount, and the skin between thumb and index.
    "thumb_root thumb_mount hollow",
    "thumb_mount index_side hollow",
    "thumb_root thumb_mount thumb_web",
    "thumb_mount thumb_web index_side",
    "thumb_root index_root index_side",
    "thumb_root thumb_web index_side",
    # The little finger's side, the wrist, the forearm.
    "heel little_knuckle little_root",
    "heel hollow little_knuckle",
    "heel hollow wrist_ulnar",
    "hollow thumb_root wrist_radial",
    "hollow wrist_radial wrist_ulnar",
    "wrist_radial thumb_root index_root",
    "wrist_radial index_root little_root",
    "wrist_radial wrist_ulnar little_root",
    "wrist_radial wrist_ulnar arm_radial",
    "wrist_ulnar arm_radial arm_ulnar",
    "arm_radial arm_ulnar elbow_radial",
    "arm_ulnar elbow_radial elbow_ulnar",
)


def _numbers(solids: tuple[str, ...]) -> list[list[int]]:
    return [[PLACE[name.replace("_", " ")] for name in spheres.split()] for spheres in solids]


PLATES = np.array(_numbers(_PLATES))
"""(T, 3) numbers of spheres that are joined by a triangle."""
EDGES = np.array(
    sorted(
        {pair for chain in _numbers(_CHAINS) for pair in pairwise(chain)}
        | {pair for plate in _numbers(_PLATES) for pair in combinations(sorted(plate), 2)}
    )
)
"""(E, 2) numbers of spheres that are joined by a segment, the edges of all plates included."""


def measure(person: RandomNumbers, length: tuple[float, float], girth: tuple[float, float]) -> Batch:
    """Draw hands: measures in mm, float32, that belong to the person and not to the pose.

    (mean, deviation) of `length` (1 = 188 mm, an average adult), and of `girth`, thickness relative to it.
    """
    scale = np.clip(person.normal(*length), 0.78, 1.16)
    thick = scale * np.clip(person.normal(*girth), 0.82, 1.2)
    broad = scale * person.normal(1, 0.04)
    long = person.normal(1, 0.03)  # fingers to palm
    each = np.stack([person.normal(1, 0.025) for _ in range(5)], -1)
    spread = np.stack([broad, scale, scale], -1)[:, None]
    radii = np.array(list(_RADII.values()), np.float32) * thick[:, None]
    radii[:, [PLACE[f"{finger} web"] for finger in FINGERS]] *= np.float32(0.9)
    phalanges = _PHALANGES * (scale * long)[:, None, None] * each[:, :4, None]
    thumb = _THUMB * (scale * each[:, 4])[:, None]
    phalanges[..., 2] += _PAD * scale[:, None] - radii[:, [PLACE[f"{finger} tip"] for finger in FINGERS]]
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
