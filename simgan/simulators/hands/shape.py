"""Shapes of hands: bones, the flesh around them, and the sphere mesh of both; our own geometry.

The hand's frame in mm: x to the thumb's side (radial), y to the fingers (distal), z out of the palm, origin at the
wrist. It is a right hand, as in NYU's data. Lengths of bones are those of adults by Buryanov and Kotiuk (2010).
"""

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from simgan.simulators.hands.raycast import Mesh
from simgan.simulators.random_numbers import RandomNumbers

FINGERS = ("index", "middle", "ring", "little")
_PHALANGES = np.array([[39.8, 22.4, 15.8], [44.6, 26.3, 17.4], [41.4, 25.7, 17.3], [32.7, 18.1, 16.0]], np.float32)
_THUMB = np.array([46.2, 31.6, 21.7], np.float32)  # metacarpal and two phalanges
_PAD = 4.0  # flesh beyond the last bone
_ROOTS = np.array([[11, 27, 0], [2, 29, -1], [-7, 27, -1], [-15, 23, 0]], np.float32)  # of the metacarpals
_KNUCKLES = np.array([[23, 92, 0], [2, 94, -2], [-17, 86, -1], [-33.5, 75, 2]], np.float32)
_THUMB_ROOT = np.array([20, 17, 7], np.float32)
_FINGER_RADII = np.array(
    [[10.2, 9.2, 7.9, 6.8], [10.4, 9.4, 8.1, 7.0], [9.8, 8.8, 7.6, 6.6], [8.7, 7.7, 6.8, 5.9]], np.float32
)
_THUMB_RADII = np.array([13.0, 11.6, 9.8, 8.0], np.float32)
FOREARM = 230.0
"""Length of the forearm in mm, enough to reach the border of every crop."""

NAMES = (
    *(f"{finger} {part}" for finger in FINGERS for part in ("root", "knuckle", "middle", "end", "tip", "web")),
    *(f"thumb {part}" for part in ("root", "base", "middle", "tip", "mount", "web")),
    *("index side", "hollow", "heel"),
    *("wrist radial", "wrist ulnar", "arm radial", "arm ulnar", "elbow radial", "elbow ulnar"),
)
"""The spheres of the mesh."""
PLACE = {name: number for number, name in enumerate(NAMES)}

_CHAINS = (
    *(" ".join(f"{f}_{p}" for p in ("root", "knuckle", "middle", "end", "tip")) for f in FINGERS),
    "thumb_root thumb_base thumb_middle thumb_tip",
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


def _mesh() -> Mesh:
    def numbers(text: str) -> list[int]:
        return [PLACE[name.replace("_", " ")] for name in text.split()]

    plates = [numbers(text) for text in _PLATES]
    edges = {pair for chain in map(numbers, _CHAINS) for pair in pairwise(chain)}
    edges |= {(PLACE["thumb mount"], PLACE["thumb base"]), (PLACE["heel"], PLACE["wrist ulnar"])}
    edges |= {(min(pair), max(pair)) for plate in plates for pair in combinations(plate, 2)}
    return Mesh(np.array(sorted(edges)), np.array(plates))


MESH = _mesh()


@dataclass
class Hands:
    """Measures of N hands in mm, float32. They belong to the person, not to the pose."""

    roots: np.ndarray  # (N, 4, 3) starts of the metacarpals, index to little
    knuckles: np.ndarray  # (N, 4, 3) starts of the fingers
    phalanges: np.ndarray  # (N, 4, 3) from joint to joint, the last to the centre of the tip's sphere
    thumb_root: np.ndarray  # (N, 3)
    thumb: np.ndarray  # (N, 3) metacarpal, first phalanx, from the last joint to the centre of the tip's sphere
    wrist: np.ndarray  # (N,) distance of its two spheres from its middle
    scale: np.ndarray  # (N,) 1 is an average adult
    radii: np.ndarray  # (N, P) of the spheres, in the order of `NAMES`


def measure(person: RandomNumbers, size: tuple[float, float], girth: tuple[float, float]) -> Hands:
    """Draw hands. (mean, deviation) of `size`, the length (1 = 188 mm), and of `girth`, thickness relative to it."""
    scale = np.clip(person.normal(*size), 0.78, 1.16).astype(np.float32)
    thick = scale * np.clip(person.normal(*girth), 0.82, 1.2).astype(np.float32)
    broad = scale * person.normal(1, 0.04)
    long = person.normal(1, 0.03)  # fingers to palm
    each = np.stack([person.normal(1, 0.025) for _ in range(5)], -1)
    spread = np.stack([broad, scale, scale], -1)[:, None]
    finger_radii = _FINGER_RADII * thick[:, None, None]
    thumb_radii = _THUMB_RADII * thick[:, None]
    phalanges = _PHALANGES * (scale * long)[:, None, None] * each[:, :4, None]
    thumb = _THUMB * (scale * each[:, 4])[:, None]
    pad = np.float32(_PAD) * scale
    phalanges[..., 2] += pad[:, None] - finger_radii[..., 3]
    thumb[:, 2] += pad - thumb_radii[:, 3]
    return Hands(
        roots=_ROOTS * spread,
        knuckles=_KNUCKLES * spread,
        phalanges=phalanges,
        thumb_root=_THUMB_ROOT * spread[:, 0],
        thumb=thumb,
        wrist=np.float32(14.5) * broad,
        scale=scale,
        radii=_radii(finger_radii, thumb_radii, thick),
    )


def _radii(fingers: np.ndarray, thumb: np.ndarray, thick: np.ndarray) -> np.ndarray:
    radii = np.empty((len(thick), len(NAMES)), np.float32)
    for number, finger in enumerate(FINGERS):
        base = PLACE[f"{finger} root"]
        radii[:, base] = (13.5, 13.5, 13.0, 12.5)[number] * thick
        radii[:, base + 1] = (12.8, 12.8, 12.0, 10.8)[number] * thick
        radii[:, base + 2 : base + 5] = fingers[:, number, 1:]
        radii[:, base + 5] = 0.9 * fingers[:, number, 0]
    base = PLACE["thumb root"]
    radii[:, base : base + 4] = thumb
    others = {"thumb mount": 14.5, "thumb web": 8.5, "index side": 9.5, "hollow": 13.0, "heel": 15.0}
    others |= {"wrist radial": 16.5, "wrist ulnar": 15.5, "arm radial": 25.0, "arm ulnar": 23.0}
    others |= {"elbow radial": 32.0, "elbow ulnar": 30.0}
    for name, radius in others.items():
        radii[:, PLACE[name]] = radius * thick
    return radii
