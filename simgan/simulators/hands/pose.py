"""Poses of a hand: joint angles with priors and limits, forward kinematics, and the rotation to the camera.

Angles in degrees. A finger has flexion at the knuckle (MCP), sideways swing to the thumb's side, and flexion at its
middle joint (PIP). Its last joint (DIP) flexes by 2/3 of the middle one, because the tendons couple them. The thumb's
metacarpal has elevation out of the palm and a swing in its plane, and its two other joints flex.
"""

from dataclasses import dataclass

import numpy as np

from simgan.simulators.hands.shape import FINGERS, FOREARM, NAMES, PLACE, Hands
from simgan.simulators.random_numbers import RandomNumbers

DIP_SHARE = 2 / 3
KNUCKLE, SWING, MIDDLE = (-20.0, 90.0), (-20.0, 20.0), (0.0, 105.0)
"""Limits of a finger's joints."""
THUMB = ((0.0, 60.0), (-30.0, 60.0), (-5.0, 55.0), (-15.0, 75.0))
"""Limits of the thumb: elevation, swing, flexion at its base and at its middle joint."""
WRIST = ((-35.0, 45.0), (-20.0, 12.0))
"""Limits of the wrist: flexion to the palm, swing to the thumb's side."""

# Shares of images: a mixture of two shapes; the back to the camera instead of the palm; turned about the forearm by any
# angle. The mean and deviation of the angle by which fingers slant towards the camera.
_MIXED, _BACK, _ASIDE, _SLANT = 0.5, 0.15, 0.18, (23, 22)

_O, _F = (0, 0, 5), (82, 0, 98)  # an open finger, a closed one: knuckle, swing, middle
_HALF, _HOOK, _BENT = (35, 0, 45), (8, 0, 95), (65, 0, 12)
_IN, _SIDE, _OUT = (38, 8, 40, 45), (15, 12, 8, 10), (18, 50, -3, -6)  # the thumb: over fingers, beside, away
# (relative frequency, (index, middle, ring, little, thumb)): what people show to depth cameras, such as numbers,
# letters of sign language and grips.
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


@dataclass
class Pose:
    """Angles of N hands in degrees, float32: `fingers` (N, 4, 3) as knuckle, swing, middle; `thumb` (N, 4)."""

    fingers: np.ndarray
    thumb: np.ndarray
    wrist: np.ndarray  # (N, 2) flexion, swing


def draw_pose(draw: RandomNumbers, deviation: float) -> Pose:
    """Draw shapes or mixtures of two; joints deviate from them by `deviation` degrees, within their limits."""
    often = np.cumsum([share for share, _ in _SHAPES])
    table = np.array([[*np.ravel(shape[:4]), *shape[4]] for _, shape in _SHAPES], np.float32)
    first, second = (np.searchsorted(often, draw.uniform() * often[-1], side="right") for _ in range(2))
    share = (draw.happens(_MIXED) * draw.uniform(0, 1))[:, None]
    angles = table[first] * (1 - share) + table[second] * share
    common = draw.normal(0, deviation)  # fingers bend together more than independently
    single = np.stack([draw.normal(0, deviation) for _ in range(16)], -1)
    single[:, [1, 4, 7, 10]] *= 0.35
    angles += single * np.float32(0.6)
    angles[:, [0, 2, 3, 5, 6, 8, 9, 11]] += common[:, None] * np.float32(0.7)
    fingers = angles[:, :12].reshape(-1, 4, 3)
    for place, limits in enumerate((KNUCKLE, SWING, MIDDLE)):
        fingers[..., place] = np.clip(fingers[..., place], *limits)
    # Neighbouring fingers cannot pass through each other sideways.
    fingers[:, 1:, 1] = np.minimum(fingers[:, 1:, 1], fingers[:, :-1, 1] + 5)
    thumb = np.stack([np.clip(angles[:, 12 + k], *limits) for k, limits in enumerate(THUMB)], -1)
    wrist = np.stack([np.clip(draw.normal(-4, 14), *WRIST[0]), np.clip(draw.normal(-3, 8), *WRIST[1])], -1)
    return Pose(fingers, thumb, wrist)


def _cos_sin(degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radians = degrees * np.float32(np.pi / 180)
    return np.cos(radians), np.sin(radians)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


_REST = np.array([3, 0, -4, -9], np.float32)  # swing of fingers that lie beside each other
_TILT = np.array([-0.06, 0.0, 0.08, 0.2], np.float32)  # makes bent fingers point to the root of the thumb


def place_fingers(hands: Hands, pose: Pose) -> np.ndarray:
    """Return joints (N, 4, 4, 3) of the fingers in the hand's frame in mm: knuckle, middle, end, tip."""
    bend, swing, middle = (pose.fingers[..., k] for k in range(3))
    c, s = _cos_sin(swing * _cos_sin(np.maximum(bend, 0))[0] + _REST)  # a bent knuckle locks its swing
    along = np.stack([s, c, np.zeros_like(c)], -1)
    across = np.stack([c, -s, np.zeros_like(c)], -1)
    palm = _unit(_TILT[:, None] * across + np.array([0, 0, 1], np.float32))
    joints = [hands.knuckles]
    for number, angle in enumerate((bend, bend + middle, bend + middle * np.float32(1 + DIP_SHARE))):
        c, s = _cos_sin(angle)
        bone = c[..., None] * along + s[..., None] * palm
        joints.append(joints[-1] + hands.phalanges[..., number, None] * bone)
    return np.stack(joints, 2)


def place_thumb(hands: Hands, pose: Pose) -> np.ndarray:
    """Return joints (N, 4, 3) of the thumb in the hand's frame in mm: root, base, middle, tip."""
    rise, swing, base, middle = (pose.thumb[:, k] for k in range(4))
    (cr, sr), (cs, ss) = _cos_sin(rise), _cos_sin(swing)
    along = np.stack([cr * ss, cr * cs, sr], -1)
    # It flexes across the palm; the more it is elevated, the more its pad faces the fingers.
    inward = np.stack([-np.ones_like(sr), np.float32(0.25) * np.ones_like(sr), np.float32(0.1) - sr * 0.5], -1)
    inward = _unit(inward - (inward * along).sum(-1, keepdims=True) * along)
    joints = [hands.thumb_root]
    for number, angle in enumerate((np.zeros_like(base), base, base + middle)):
        c, s = _cos_sin(angle)
        bone = c[:, None] * along + s[:, None] * inward
        joints.append(joints[-1] + hands.thumb[:, number, None] * bone)
    return np.stack(joints, 1)


def _mix(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    return start + np.float32(share) * (end - start)


def settle(hands: Hands, pose: Pose) -> Pose:
    """Return a similar pose whose fingers do not enter the palm and whose thumb does not enter the fingers."""
    pose = Pose(pose.fingers.copy(), pose.thumb.copy(), pose.wrist)
    shift = np.float32(1.5) * hands.scale
    tips = hands.radii[:, [PLACE[f"{finger} tip"] for finger in FINGERS]]
    palm = hands.radii[:, [PLACE[f"{finger} knuckle"] for finger in FINGERS]]
    for _ in range(12):
        joints = place_fingers(hands, pose)
        low = np.minimum(joints[:, :, 3, 2] - tips, joints[:, :, 2, 2] - tips) + shift[:, None]
        over = joints[:, :, 3, 1] < hands.knuckles[..., 1] + palm
        deep = over & (low < palm)
        if not deep.any():
            break
        pose.fingers[..., 2] -= np.where(deep, np.float32(4), 0)
        pose.fingers[..., 0] -= np.where(deep, np.float32(1.5), 0)
    fingers = place_fingers(hands, pose)
    girth = hands.radii[:, [PLACE[f"{f} {p}"] for f in FINGERS for p in ("knuckle", "middle", "end", "tip")]]
    girth = girth.reshape(-1, 4, 4)
    for _ in range(12):
        thumb = place_thumb(hands, pose)
        close = np.zeros(len(girth), bool)
        for point, radius in _along(thumb, hands.radii[:, PLACE["thumb root"] : PLACE["thumb root"] + 4]):
            close |= (_gap(point, fingers, girth) < (radius - shift * 2)[:, None, None]).any((1, 2))
        if not close.any():
            break
        pose.thumb[:, 0] = np.minimum(pose.thumb[:, 0] + np.where(close, np.float32(3), 0), THUMB[0][1])
        pose.thumb[:, 2] = np.maximum(pose.thumb[:, 2] - np.where(close, np.float32(2), 0), THUMB[2][0])
    return pose


def _along(thumb: np.ndarray, radii: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return points (N, 3) on the thumb's last two bones, and the radii (N,) there."""
    pairs = [(1, 0.6), (2, 0.0), (2, 0.5), (2, 1.0)]
    return [(_mix(thumb[:, k], thumb[:, k + 1], w), _mix(radii[:, k], radii[:, k + 1], w)) for k, w in pairs]


def _gap(point: np.ndarray, fingers: np.ndarray, girth: np.ndarray) -> np.ndarray:
    """Return distances (N, 4, 3) of a point (N, 3) from the surfaces around the fingers' bones."""
    start, bone = fingers[:, :, :-1], np.diff(fingers, axis=2)
    share = ((point[:, None, None] - start) * bone).sum(-1) / (bone * bone).sum(-1)
    share = np.clip(share, 0, 1)
    distance = np.linalg.norm(start + share[..., None] * bone - point[:, None, None], axis=-1)
    return distance - girth[:, :, :-1] - share * np.diff(girth, axis=2)


def spheres(hands: Hands, pose: Pose) -> np.ndarray:
    """Return centres (N, P, 3) of all spheres in the hand's frame in mm, in the order of `NAMES`."""
    centres = np.empty((len(hands.scale), len(NAMES), 3), np.float32)
    fingers, thumb = place_fingers(hands, pose), place_thumb(hands, pose)
    for number, finger in enumerate(FINGERS):
        base = PLACE[f"{finger} root"]
        centres[:, base] = hands.roots[:, number]
        centres[:, base + 1 : base + 5] = fingers[:, number]
        centres[:, base + 5] = _mix(fingers[:, number, 0], fingers[:, number, 1], 0.36)
    base = PLACE["thumb root"]
    centres[:, base : base + 4] = thumb

    def offset(x: float, y: float, z: float) -> np.ndarray:
        return hands.scale[:, None] * np.array([x, y, z], np.float32)

    def put(name: str, where: np.ndarray) -> None:
        centres[:, PLACE[name]] = where

    put("thumb mount", _mix(thumb[:, 0], thumb[:, 1], 0.5) + offset(-5, 0, 2))
    put("thumb web", _mix(thumb[:, 0], thumb[:, 1], 0.95))
    put("index side", _mix(hands.roots[:, 0], hands.knuckles[:, 0], 0.72) + offset(1, 0, 3))
    put("hollow", _mix(hands.roots[:, 1], hands.knuckles[:, 1], 0.2) + offset(-1, 0, 3))
    put("heel", _mix(hands.roots[:, 3], hands.knuckles[:, 3], 0.3) + offset(-2, 0, 5))
    (cf, sf), (cs, ss) = _cos_sin(pose.wrist[:, 0]), _cos_sin(pose.wrist[:, 1])
    # The forearm goes away from the fingers, and to the side of the palm where the hand bends to it.
    down = np.stack([cf * ss, -cf * cs, sf], -1)
    side = np.stack([cs, ss, np.zeros_like(cs)], -1)
    for name, sign in (("radial", 1), ("ulnar", -1)):
        put(f"wrist {name}", sign * hands.wrist[:, None] * side)
        for part, share in (("arm", 0.45), ("elbow", 1.0)):
            way = np.float32(FOREARM * share) * hands.scale[:, None] * down
            put(f"{part} {name}", np.float32(sign * (1 + 0.2 * share)) * hands.wrist[:, None] * side + way)
    return centres


def draw_view(draw: RandomNumbers, roll: tuple[float, float]) -> np.ndarray:
    """Draw rotations (N, 3, 3) from the hand's frame to the camera's (x right, y down, z away).

    `roll`: mean and deviation of the angle about the line of sight in degrees, 0 = fingers up.
    """
    turn = draw.normal(8, 26) + 180 * draw.happens(_BACK)
    aside = draw.happens(_ASIDE)
    turn = np.where(aside > 0, draw.uniform(-180, 180), turn)
    tip = draw.normal(*_SLANT)
    spin = np.where(draw.happens(0.16) > 0, draw.uniform(-150, 150), draw.normal(*roll))
    (ct, st), (cp, sp), (cr, sr) = _cos_sin(turn), _cos_sin(tip), _cos_sin(spin)
    zero, one = np.zeros_like(ct), np.ones_like(ct)

    def matrix(*rows: tuple[np.ndarray, ...]) -> np.ndarray:
        return np.stack([np.stack(row, -1) for row in rows], -2)

    # With fingers up and the palm to the camera, y and z of the two frames are opposite. Then the hand turns about the
    # forearm, slants to the camera, and rolls.
    about = matrix((ct, zero, st), (zero, -one, zero), (st, zero, -ct))
    slant = matrix((one, zero, zero), (zero, cp, -sp), (zero, sp, cp))
    rolled = matrix((cr, -sr, zero), (sr, cr, zero), (zero, zero, one))
    return rolled @ slant @ about
