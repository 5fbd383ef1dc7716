"""Depth of sphere meshes: exact intersections of rays with spheres, cones and plates, the nearest of them (z-buffer).

A sphere mesh (Thiery et al. 2013; Tkach et al. 2016 track hands with it) consists of spheres, and of segments and
triangles between them. Its solid is the volume swept by a sphere whose centre and radius change linearly along them.
"""

import numpy as np

FOCAL = 588.0  # px, of Kinect's depth camera (Kinect v1, 640×480; NYU's frames say 588.03)
NO_HIT = np.float32(1e6)  # the depth of a ray that hits nothing

Found = tuple[np.ndarray, np.ndarray]  # depths (H, W) in mm, and where they are valid


def cast(
    x: np.ndarray, y: np.ndarray, centres: np.ndarray, radii: np.ndarray, edges: np.ndarray, plates: np.ndarray
) -> np.ndarray:
    """Return the depth (H, W) float32 in mm along z of the nearest surface, `NO_HIT` where there is none.

    The ray of a pixel is z · (x, y, 1), for `x` (W,) and `y` (H,). Spheres have `centres` (P, 3) and `radii` (P,) in mm
    in the camera's frame, all in front of it; `edges` (E, 2) and `plates` (T, 3) are the indices of joined spheres.
    """
    depth = np.full((len(y), len(x)), NO_HIT, np.float32)
    boxes = _boxes(x, y, centres, radii)
    solids = (
        (_sphere, boxes[:, None], (centres, radii)),
        (_cone, boxes[edges], (centres[edges], radii[edges])),
        (_plate, boxes[plates], _touch(centres[plates], radii[plates])),
    )
    with np.errstate(invalid="ignore", divide="ignore"):  # of rays that hit nothing
        for meet, around, shapes in solids:
            first, last = around[..., 0::2].min(1).tolist(), around[..., 1::2].max(1).tolist()
            for (left, top), (right, bottom), *shape in zip(first, last, *shapes, strict=True):
                part = depth[top:bottom, left:right]
                found, valid = meet(x[left:right], y[top:bottom, None], *shape)
                np.minimum(part, found, out=part, where=valid)
    return depth


def _boxes(x: np.ndarray, y: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return the box of pixels that each sphere may cover, int (P, 4): left, right + 1, top, bottom + 1."""
    # The slope of a ray that touches the sphere: the tangent of the centre's angle plus that of the radius.
    angle = np.arctan2(centres[:, :2], centres[:, 2:])
    reach = np.arcsin(radii[:, None] / np.hypot(centres[:, :2], centres[:, 2:]))
    first, last = np.tan(angle - reach).T, np.tan(angle + reach).T
    left, top = (np.searchsorted(slopes, edge) for slopes, edge in zip((x, y), first, strict=True))
    right, bottom = (np.searchsorted(slopes, edge, "right") for slopes, edge in zip((x, y), last, strict=True))
    return np.stack([left, right, top, bottom], -1)


def _sphere(x: np.ndarray, y: np.ndarray, centre: np.ndarray, radius: np.float32) -> Found:
    # A ray is o + t (x, y, 1) with o in the plane of the centre, so that float32 is precise to hundredths of a mm.
    ox, oy = x * centre[2] - centre[0], y * centre[2] - centre[1]
    square = (x * x + 1) + y * y
    half = ox * x + oy * y
    disc = half * half - square * ((ox * ox - radius * radius) + oy * oy)
    return centre[2] - (half + np.sqrt(disc)) / square, disc > 0


def _cone(x: np.ndarray, y: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> Found:
    """Intersect rays with the side of the cone that touches both spheres.

    A point p lies on it where F = min over s of |p − c − s b|² − (r + s dr)² is 0 and that s is in [0, 1]; with
    a² = |b|² − dr² and B = (p − c)·b + r dr, the minimum is at s = B / a², and F = |p − c|² − r² − B² / a².
    """
    axis, widening = centres[1] - centres[0], radii[1] - radii[0]
    length = axis @ axis - widening * widening
    if length <= 0:
        return np.zeros(1), np.zeros(1, bool)  # one sphere contains the other
    length = np.sqrt(length)
    bx, by, bz = axis / length
    (cx, cy, cz), radius = centres[0], radii[0]
    ox, oy = x * cz - cx, y * cz - cy
    along = (x * bx + bz) + y * by  # B / a = along t + start
    start = (ox * bx + radius * widening / length) + oy * by
    k2 = (x * x + 1) + y * y - along * along
    k1 = along * start - (ox * x + oy * y)
    k0 = (ox * ox - radius * radius) + oy * oy - start * start
    disc = k1 * k1 - k0 * k2
    t = (k1 - np.sqrt(disc)) / k2  # of entering; right for rays along the axis (negative k2), too
    place = along * t + start
    return t + cz, (disc > 0) & (k2 != 0) & (place >= 0) & (place <= length)


def _touch(centres: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the planes on the camera's side that touch three spheres, for T triangles: (T, 3, 3) and (T, 3).

    First the normals of the planes through camera and sides, positive for rays that hit; then f with f·p = 1 or 0.
    """
    ends, size = centres.astype(np.float64), radii.astype(np.float64)
    first, second = ends[:, 1] - ends[:, 0], ends[:, 2] - ends[:, 0]
    upright = np.cross(first, second)
    square = np.maximum((upright * upright).sum(-1, keepdims=True), 1e-9)
    # n·(c + r n) is the same for all three spheres, which determines the part of n in the plane of the centres.
    less = size[:, :1, None] - size[:, 1:, None]
    level = (less[:, 0] * np.cross(second, upright) + less[:, 1] * np.cross(upright, first)) / square
    rest = 1 - (level * level).sum(-1, keepdims=True)
    towards = -np.sign((upright * ends[:, 0]).sum(-1, keepdims=True))
    normal = level + towards * upright * np.sqrt(np.maximum(rest, 0) / square)
    touching = ends + size[..., None] * normal[:, None]
    planes = np.cross(touching, np.roll(touching, -1, 1))
    planes *= np.sign((planes[:, 0] * touching[:, 2]).sum(-1))[:, None, None]
    offset = (normal * touching[:, 0]).sum(-1, keepdims=True)
    there = (rest > 0) & (offset < 0)  # a face that is turned away is hidden by others
    faces = np.where(there, normal / np.where(there, offset, 1), 0)
    return planes.astype(np.float32), faces.astype(np.float32)


def _plate(x: np.ndarray, y: np.ndarray, planes: np.ndarray, face: np.ndarray) -> Found:
    inverse = (x * face[0] + face[2]) + y * face[1]
    inside = [(x * px + pz) + y * py >= 0 for px, py, pz in planes]
    return 1 / inverse, (inverse > 0) & inside[0] & inside[1] & inside[2]
