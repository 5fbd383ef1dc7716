"""Depth of sphere meshes: exact intersections of rays with spheres, cones and plates, the nearest of them (z-buffer).

A sphere mesh (Thiery et al. 2013; Tkach et al. 2016 track hands with it) consists of spheres, and of segments and
triangles between them. Its solid is the volume swept by a sphere whose centre and radius change linearly along them.
"""

from dataclasses import dataclass

import numpy as np

FOCAL = 588.0
"""Focal length of Kinect's depth camera in px (Kinect v1, 640×480; NYU's frames say 588.03)."""
NO_HIT = np.float32(1e6)
"""The depth of a ray that hits nothing."""

Area = tuple[slice, slice]


@dataclass(frozen=True)
class Mesh:
    """Numbers of the spheres that are joined: `edges` (E, 2), those of all plates included, and `plates` (T, 3)."""

    edges: np.ndarray
    plates: np.ndarray


@dataclass(frozen=True)
class Rays:
    """Rays of a grid of pixels: that of (row, column) is z · (x[column], y[row], 1)."""

    x: np.ndarray
    y: np.ndarray


def cast(rays: Rays, centres: np.ndarray, radii: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Return the depth (H, W) float32 in mm along z of the nearest surface, `NO_HIT` where there is none.

    Args:
        rays: of the pixels.
        centres: of the spheres, (P, 3) in mm in the camera's frame, all in front of it.
        radii: (P,) in mm.
        mesh: how they are joined.
    """
    depth = np.full((len(rays.y), len(rays.x)), NO_HIT, np.float32)
    boxes = _boxes(rays, centres, radii)
    for area, centre, radius in zip(_areas(boxes[:, None]), centres, radii, strict=True):
        _sphere(rays, depth, area, centre, radius)
    for area, ends, pair in zip(_areas(boxes[mesh.edges]), centres[mesh.edges], radii[mesh.edges], strict=True):
        _cone(rays, depth, area, ends, pair)
    planes, faces = _touch(centres[mesh.plates], radii[mesh.plates])
    for area, plane, face in zip(_areas(boxes[mesh.plates]), planes, faces, strict=True):
        _plate(rays, depth, area, plane, face)
    return depth


def _boxes(rays: Rays, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return the box of pixels that each sphere may cover, int (P, 4): left, right + 1, top, bottom + 1."""
    sides = []
    for axis, slopes in enumerate((rays.x, rays.y)):
        for sign in (-1, 1):
            # The slope of a ray that touches the sphere: the tangent of the centre's angle plus that of the radius.
            far = np.hypot(centres[:, axis], centres[:, 2])
            slope = np.tan(np.arctan2(centres[:, axis], centres[:, 2]) + sign * np.arcsin(radii / far))
            sides.append(np.searchsorted(slopes, slope, side="left" if sign < 0 else "right"))
    return np.stack(sides, -1)


def _areas(boxes: np.ndarray) -> list[Area]:
    """Return the rows and columns that hold the boxes of each of M solids, (M, spheres, 4)."""
    first, last = boxes[..., 0::2].min(1).tolist(), boxes[..., 1::2].max(1).tolist()
    return [(slice(top, bottom), slice(left, right))
            for (left, top), (right, bottom) in zip(first, last, strict=True)]  # fmt: skip


def _nearer(depth: np.ndarray, found: np.ndarray, valid: np.ndarray) -> None:
    np.minimum(depth, found, out=depth, where=valid)


def _sphere(rays: Rays, depth: np.ndarray, area: Area, centre: np.ndarray, radius: np.float32) -> None:
    x, y = rays.x[area[1]], rays.y[area[0], None]
    # A ray is o + t (x, y, 1) with o in the plane of the centre, so that float32 is precise to hundredths of a mm.
    ox, oy = x * centre[2] - centre[0], y * centre[2] - centre[1]
    square = (x * x + np.float32(1)) + y * y
    half = ox * x + oy * y
    disc = half * half - square * ((ox * ox - radius * radius) + oy * oy)
    valid = disc > 0
    t = (half + np.sqrt(disc, where=valid, out=disc)) / square
    _nearer(depth[area], centre[2] - t, valid)


def _cone(rays: Rays, depth: np.ndarray, area: Area, centres: np.ndarray, radii: np.ndarray) -> None:
    """Intersect rays with the side of the cone that touches both spheres.

    A point p lies on it where F = min over s of |p − c − s b|² − (r + s dr)² is 0 and that s is in [0, 1]; with
    a² = |b|² − dr² and B = (p − c)·b + r dr, the minimum is at s = B / a², and F = |p − c|² − r² − B² / a².
    """
    axis, widening = centres[1] - centres[0], radii[1] - radii[0]
    length = axis @ axis - widening * widening
    if length <= 0:
        return  # one sphere contains the other
    length = np.sqrt(length)
    bx, by, bz = axis / length
    (cx, cy, cz), radius = centres[0], radii[0]
    x, y = rays.x[area[1]], rays.y[area[0], None]
    ox, oy = x * cz - cx, y * cz - cy
    along = (x * bx + bz) + y * by  # B / a = along t + start
    start = (ox * bx + radius * widening / length) + oy * by
    k2 = (x * x + np.float32(1)) + y * y
    k2 -= along * along
    k1 = along * start
    k1 -= ox * x + oy * y
    k0 = (ox * ox - radius * radius) + oy * oy
    k0 -= start * start
    disc = k1 * k1
    k0 *= k2
    disc -= k0
    valid = disc > 0
    valid &= k2 != 0
    np.sqrt(disc, where=valid, out=disc)
    k1 -= disc
    np.divide(k1, k2, where=valid, out=k1)  # t of entering; right for rays along the axis (negative k2), too
    along *= k1
    along += start
    valid &= along >= 0
    valid &= along <= length
    k1 += cz
    _nearer(depth[area], k1, valid)


def _touch(centres: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the plane on the camera's side that touches three spheres, for T triangles: (T, 3, 3) and (T, 3).

    Returns `planes` float32 (T, 3, 3), normals of the planes through the camera and each side, positive for rays that
    hit the triangle, and `faces` float32 (T, 3): f with f·p = 1 for points p of the plane; 0 where there is none.
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


def _plate(rays: Rays, depth: np.ndarray, area: Area, planes: np.ndarray, face: np.ndarray) -> None:
    """Intersect rays with a triangle of `_touch`."""
    x, y = rays.x[area[1]], rays.y[area[0], None]
    fx, fy, fz = face
    inverse = (x * fx + fz) + y * fy
    valid = inverse > 0
    for px, py, pz in planes:
        valid &= (x * px + pz) + y * py >= 0
    _nearer(depth[area], np.divide(np.float32(1), inverse, where=valid, out=inverse), valid)
