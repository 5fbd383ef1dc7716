"""Shapes and poses of right hands: bones, flesh, their sphere mesh; joint angles in degrees, and forward kinematics.

The hand's frame in mm: x to the thumb's side (radial), y to the fingers (distal), z out of the palm, from the wrist.
A finger has flexion at the knuckle (MCP), swing to the thumb's side, and flexion at its middle joint (PIP); its last
one (DIP) flexes by 2/3 of that, as tendons couple them. The thumb has elevation out of the palm, swing, two flexions.
"""

from itertools import chain, combinations, pairwise

import numpy as np

from simgan.simulators.base import Batch, RandomNumbers, matrices, unit

FINGERS = ("index", "middle", "ring", "little")
# Lengths of adults' bones by Buryanov and Kotiuk (2010), in mm.
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


def _of_fingers(values: np.ndarray) -> np.ndarray:
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
    fingers = _of_fingers(radii)
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


FOREARM = 230.0  # mm, enough to reach the border of every crop
KNUCKLE, SWING, MIDDLE = (-20.0, 90.0), (-20.0, 20.0), (0.0, 105.0)  # limits of a finger's joints
THUMB = ((0.0, 60.0), (-30.0, 60.0), (-5.0, 55.0), (-15.0, 75.0))  # elevation, swing, flexion at base and middle joint
WRIST = ((-35.0, 45.0), (-20.0, 12.0))  # flexion to the palm, swing to the thumb's side

_O, _F = (0, 0, 5), (82, 0, 98)  # an open finger, a closed one: knuckle, swing, middle
_HALF, _HOOK, _BENT = (35, 0, 45), (8, 0, 95), (65, 0, 12)
_IN, _SIDE, _OUT = (38, 8, 40, 45), (15, 12, 8, 10), (18, 50, -3, -6)  # the thumb: over fingers, beside, away
# (relative frequency, (index, middle, ring, little, thumb)): numbers, letters of sign language, grips and the like.
_SHAPES: tuple[tuple[float, tuple[tuple[float, ...], ...]], ...] = (
    (9, ((0, 12, 4), (0, 2, 4), (0, -8, 4), (0, -18, 4), _OUT)),  # spread
    (3, ((4, -1, 4), (4, 0, 4), (4, 1, 4), (4, 4, 4), _SIDE)),  # flat
    (2, ((4, -1, 4), (4, 0, 4), (4, 1, 4), (4, 4, 4), (32, -6, 25, 30))),  # B
    (7, ((12, 8, 18), (14, 1, 22), (17, -6, 24), (20, -14, 26), (22, 32, 8, 12))),  # relaxed
    (3, (_F, _F, _F, _F, _IN)),  # fist
    (2, (_F, _F, _F, _F, _SIDE)),  # A
    (3, ((0, 2, 5), _F, _F, _F, _IN)),  # pointing
    (2, ((0, 8, 5), (0, -6, 5), _F, _F, _IN)),  # V
    (1, ((0, -2, 5), (0, 3, 5), _F, _F, _IN)),  # U
    (2, ((0, 10, 5), (0, 0, 5), (0, -9, 5), (70, 0, 80), (42, 2, 45, 50))),  # W
    (2, ((46, 0, 52), (10, 0, 15), (6, -5, 12), (4, -12, 10), (45, 20, 20, 32))),  # pinch
    (2, ((50, -2, 50), (52, 0, 54), (52, 1, 54), (48, 4, 52), (46, 20, 18, 30))),  # O
    (2, ((30, -2, 42), (32, 0, 44), (34, 1, 44), (34, 4, 42), (45, 34, 5, 15))),  # C, a grip
    (2, ((0, 4, 5), _F, _F, _F, _OUT)),  # L
    (2, (_F, _F, _F, _O, _OUT)),  # Y
    (1, (_F, _F, _F, (0, -8, 5), _IN)),  # I
    (1, ((0, 4, 5), _F, _F, (0, -8, 5), _IN)),  # horns
    (1, (_HOOK, _F, _F, _F, _IN)),  # X
    (1, ((72, -2, 72), (72, 0, 74), (72, 1, 74), (70, 3, 70), (35, 0, 45, 45))),  # E
    (1, (_HOOK, _HOOK, _HOOK, _HOOK, _SIDE)),  # claw
    (1, (_BENT, _BENT, _BENT, _BENT, (32, 24, 8, 10))),  # flat fingers, bent
    (1, (_F, _F, _F, _F, (10, 58, -5, -12))),  # thumb up
    (1, ((20, 8, 40), (25, 0, 45), (25, -6, 45), (25, -12, 42), (35, 36, 15, 20))),  # around a ball
    (1, ((0, 6, 5), (55, 0, 20), _F, _F, (35, 18, 10, 10))),  # K
    (1, (_HALF, _HALF, (4, -4, 10), (4, -10, 10), (42, 22, 18, 30))),
)


def draw_pose(draw: RandomNumbers, deviation: float) -> Batch:
    """Draw shapes or mixtures of two, joints `deviation` degrees off: angles of fingers (N, 4, 3), thumb, wrist."""
    often = np.cumsum([share for share, _ in _SHAPES])
    table = np.array([[*np.ravel(shape[:4]), *shape[4]] for _, shape in _SHAPES], np.float32)
    first, second = (np.searchsorted(often, draw.uniform() * often[-1], side="right") for _ in range(2))
    share = (draw.happens(0.5) * draw.uniform(0, 1))[:, None]
    angles = table[first] * (1 - share) + table[second] * share
    common = draw.normal(0, deviation)  # fingers bend together more than independently
    single = np.stack([draw.normal(0, deviation) for _ in range(16)], -1)
    single[:, [1, 4, 7, 10]] *= 0.35
    angles += single * 0.6
    angles[:, [0, 2, 3, 5, 6, 8, 9, 11]] += common[:, None] * 0.7
    fingers = _limit(angles[:, :12].reshape(-1, 4, 3), KNUCKLE, SWING, MIDDLE)
    # Neighbouring fingers cannot pass through each other sideways.
    fingers[:, 1:, 1] = np.minimum(fingers[:, 1:, 1], fingers[:, :-1, 1] + 5)
    wrist = np.stack([draw.normal(-4, 14), draw.normal(-3, 8)], -1)
    return Batch(fingers=fingers, thumb=_limit(angles[:, 12:], *THUMB), wrist=_limit(wrist, *WRIST))


def _limit(angles: np.ndarray, *limits: tuple[float, float]) -> np.ndarray:
    return np.clip(angles, *np.array(limits, np.float32).T)


def _cos_sin(degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radians = degrees * (np.pi / 180)
    return np.cos(radians), np.sin(radians)


_REST = np.array([3, 0, -4, -9], np.float32)  # swing of fingers that lie beside each other
_TILT = np.array([-0.06, 0.0, 0.08, 0.2], np.float32)[:, None]  # makes bent fingers point to the root of the thumb


def place_fingers(hands: Batch, pose: Batch) -> np.ndarray:
    """Return joints (N, 4, 4, 3) of the fingers in the hand's frame in mm: knuckle, middle, end, tip."""
    bend, swing, middle = np.moveaxis(pose.fingers, -1, 0)
    c, s = _cos_sin(swing * _cos_sin(np.maximum(bend, 0))[0] + _REST)  # a bent knuckle locks its swing
    along = np.stack([s, c, np.zeros_like(c)], -1)
    palm = unit(_TILT * np.stack([c, -s, np.zeros_like(c)], -1) + np.array([0, 0, 1], np.float32))
    return _chain(hands.knuckles, hands.phalanges, along, palm, bend, bend + middle, bend + middle * (1 + 2 / 3))


def place_thumb(hands: Batch, pose: Batch) -> np.ndarray:
    """Return joints (N, 4, 3) of the thumb in the hand's frame in mm: root, base, middle, tip."""
    rise, swing, base, middle = pose.thumb.T
    (cr, sr), (cs, ss) = _cos_sin(rise), _cos_sin(swing)
    along = np.stack([cr * ss, cr * cs, sr], -1)
    # It flexes across the palm; the more it is elevated, the more its pad faces the fingers.
    inward = np.stack([np.full_like(sr, -1), np.full_like(sr, 0.25), np.float32(0.1) - sr * 0.5], -1)
    inward = unit(inward - (inward * along).sum(-1, keepdims=True) * along)
    return _chain(hands.thumb_root, hands.thumb, along, inward, np.zeros_like(base), base, base + middle)


def _chain(
    start: np.ndarray, lengths: np.ndarray, along: np.ndarray, palm: np.ndarray, *angles: np.ndarray
) -> np.ndarray:
    """Return joints (..., 4, 3) from `start`: bones of `lengths` (..., 3) turn by `angles` from `along` to `palm`."""
    joints = [start]
    for number, (c, s) in enumerate(map(_cos_sin, angles)):
        bone = c[..., None] * along + s[..., None] * palm
        joints.append(joints[-1] + lengths[..., number, None] * bone)
    return np.stack(joints, -2)


def settle(hands: Batch, pose: Batch) -> Batch:
    """Change a pose so that its fingers do not enter the palm and its thumb does not enter the fingers; return it."""
    shift = 1.5 * hands.scale
    girth = _of_fingers(hands.radii)[..., 1:5]
    palm, tips = girth[..., 0], girth[..., 3]
    for _ in range(12):
        joints = place_fingers(hands, pose)
        low = np.minimum(joints[:, :, 3, 2] - tips, joints[:, :, 2, 2] - tips) + shift[:, None]
        deep = (joints[:, :, 3, 1] < hands.knuckles[..., 1] + palm) & (low < palm)
        if not deep.any():
            break
        pose.fingers[deep] -= np.array([1.5, 0, 4], np.float32)
    fingers = place_fingers(hands, pose)
    thick = hands.radii[:, PLACE["thumb root"] : PLACE["thumb root"] + 4]
    for _ in range(12):
        thumb = place_thumb(hands, pose)
        close = np.zeros(len(girth), bool)
        for k, share in ((1, 0.6), (2, 0.0), (2, 0.5), (2, 1.0)):  # points on the thumb's last two bones
            point, radius = (ends[:, k] + share * (ends[:, k + 1] - ends[:, k]) for ends in (thumb, thick))
            close |= (_gap(point, fingers, girth) < (radius - shift * 2)[:, None, None]).any((1, 2))
        if not close.any():
            break
        pose.thumb[close, 0] = np.minimum(pose.thumb[close, 0] + 3, THUMB[0][1])
        pose.thumb[close, 2] = np.maximum(pose.thumb[close, 2] - 2, THUMB[2][0])
    return pose


def _gap(point: np.ndarray, fingers: np.ndarray, girth: np.ndarray) -> np.ndarray:
    """Return distances (N, 4, 3) of a point (N, 3) from the surfaces around the fingers' bones."""
    start, bone = fingers[:, :, :-1], np.diff(fingers, axis=2)
    share = np.clip(((point[:, None, None] - start) * bone).sum(-1) / (bone * bone).sum(-1), 0, 1)
    distance = np.linalg.norm(start + share[..., None] * bone - point[:, None, None], axis=-1)
    return distance - girth[:, :, :-1] - share * np.diff(girth, axis=2)


# Spheres of flesh between two others: those, the share of the way from one to the other, and a shift in mm.
_FLESH = {
    **{f"{finger} web": (f"{finger} knuckle", f"{finger} middle", 0.36, (0, 0, 0)) for finger in FINGERS},
    "thumb mount": ("thumb root", "thumb base", 0.5, (-5, 0, 2)),
    "thumb web": ("thumb root", "thumb base", 0.95, (0, 0, 0)),
    "index side": ("index root", "index knuckle", 0.72, (1, 0, 3)),
    "hollow": ("middle root", "middle knuckle", 0.2, (-1, 0, 3)),
    "heel": ("little root", "little knuckle", 0.3, (-2, 0, 5)),
}


def spheres(hands: Batch, pose: Batch) -> np.ndarray:
    """Return centres (N, P, 3) of all spheres in the hand's frame in mm, in the order of `PLACE`."""
    centres = np.empty((*hands.radii.shape, 3), np.float32)
    scale, fingers, thumb = hands.scale[:, None], _of_fingers(centres), PLACE["thumb root"]
    fingers[:, :, 0], fingers[:, :, 1:5] = hands.roots, place_fingers(hands, pose)
    centres[:, thumb : thumb + 4] = place_thumb(hands, pose)
    for name, (start, end, share, shift) in _FLESH.items():
        first, second = centres[:, PLACE[start]], centres[:, PLACE[end]]
        centres[:, PLACE[name]] = first + share * (second - first) + scale * np.array(shift, np.float32)

    cf, cs, sf, ss = (angle for pair in _cos_sin(pose.wrist) for angle in pair.T)
    # The forearm goes away from the fingers, and to the side of the palm where the hand bends to it.
    down = np.stack([cf * ss, -cf * cs, sf], -1)
    side = np.stack([cs, ss, np.zeros_like(cs)], -1)
    for name, sign in (("radial", 1), ("ulnar", -1)):
        for part, share in (("wrist", 0.0), ("arm", 0.45), ("elbow", 1.0)):
            way = (FOREARM * share) * scale * down
            centres[:, PLACE[f"{part} {name}"]] = sign * (1 + 0.2 * share) * hands.wrist[:, None] * side + way
    return centres


def draw_view(draw: RandomNumbers, roll: tuple[float, float]) -> np.ndarray:
    """Draw rotations (N, 3, 3) from the hand's frame to the camera's (x right, y down, z away); `roll` as `Hands`'."""
    turn = draw.normal(8, 26) + 180 * draw.happens(0.15)  # the back to the camera instead of the palm
    turn = np.where(draw.happens(0.18) > 0, draw.uniform(-180, 180), turn)  # about the forearm by any angle
    tip = draw.normal(23, 22)  # fingers slant towards the camera
    spin = np.where(draw.happens(0.16) > 0, draw.uniform(-150, 150), draw.normal(*roll))
    (ct, st), (cp, sp), (cr, sr) = _cos_sin(turn), _cos_sin(tip), _cos_sin(spin)
    zero, one = np.zeros_like(ct), np.ones_like(ct)
    # With fingers up and the palm to the camera, y and z of the two frames are opposite. Then the hand turns about the
    # forearm, slants to the camera, and rolls.
    about = matrices((ct, zero, st), (zero, -one, zero), (st, zero, -ct))
    slant = matrices((one, zero, zero), (zero, cp, -sp), (zero, sp, cp))
    rolled = matrices((cr, -sr, zero), (sr, cr, zero), (zero, zero, one))
    return rolled @ slant @ about
