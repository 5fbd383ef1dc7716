"""Sphere meshes to depth: exact intersections of rays with spheres, cones and plates, nearest first (a z-buffer).

A sphere mesh (Thiery et al. 2013; Tkach et al. 2016 track hands with it) is a set of spheres, of segments and of
triangles between them; its solid is what a sphere sweeps whose centre and radius run linearly over each of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FOCAL = 588.0
"""Focal length of Kinect's depth camera in px (Kinect v1, 640×480; NYU's frames say 588.03)."""
FAR = np.float32(1e6)
"""The depth of what no ray hits."""


Area = tuple[slice, slice]


@dataclass(frozen=True)
class Mesh:
    """Which spheres a solid joins: numbers of spheres, `edges` (E, 2) and `plates` (T, 3), every plate's edges too."""

    edges: np.ndarray
    plates: np.ndarray


@dataclass(frozen=True)
class Window:
    """The pixels of a grid: pixel (row, column) looks along (x[column], y[row], 1), which z stretches to a point."""

    x: np.ndarray
    y: np.ndarray


def cast(window: Window, centres: np.ndarray, radii: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Depth (H, W) float32 in mm along z of the nearest surface, `FAR` where there is none.

    Args:
        window: the pixels' rays.
        centres: of the spheres, (P, 3) in mm in the camera's frame, all in front of it.
        radii: (P,) in mm.
        mesh: what joins them.
    """
    depth = np.full((len(window.y), len(window.x)), FAR, np.float32)
    boxes = _boxes(window, centres, radii)
    for area, centre, radius in zip(_areas(boxes[:, None]), centres, radii, strict=True):
        _sphere(window, depth, area, centre, radius)
    for area, ends, pair in zip(_areas(boxes[mesh.edges]), centres[mesh.edges], radii[mesh.edges], strict=True):
        _cone(window, depth, area, ends, pair)
    planes, faces = _touch(centres[mesh.plates], radii[mesh.plates])
    for area, plane, face in zip(_areas(boxes[mesh.plates]), planes, faces, strict=True):
        _plate(window, depth, area, plane, face)
    return depth


def _boxes(window: Window, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """First and last + 1 columns and rows that a sphere may cover, int (P, 4): left, right, top, bottom."""
    sides = []
    for axis, rays in enumerate((window.x, window.y)):
        for sign in (-1, 1):
            # The ray that touches the sphere: its slope is the tangent of the centre's angle plus the radius' one.
            far = np.hypot(centres[:, axis], centres[:, 2])
            slope = np.tan(np.arctan2(centres[:, axis], centres[:, 2]) + sign * np.arcsin(radii / far))
            sides.append(np.searchsorted(rays, slope, side="left" if sign < 0 else "right"))
    return np.stack(sides, -1)


def _areas(boxes: np.ndarray) -> list[Area]:
    """Rows and columns around the boxes of each of M solids, (M, spheres, 4)."""
    first, last = boxes[..., 0::2].min(1).tolist(), boxes[..., 1::2].max(1).tolist()
    return [(slice(top, bottom), slice(left, right))
            for (left, top), (right, bottom) in zip(first, last, strict=True)]  # fmt: skip


def _nearer(depth: np.ndarray, found: np.ndarray, valid: np.ndarray) -> None:
    np.minimum(depth, found, out=depth, where=valid)


def _sphere(window: Window, depth: np.ndarray, area: Area, centre: np.ndarray, radius: np.float32) -> None:
    x, y = window.x[area[1]], window.y[area[0], None]
    # Points of a ray are o + t (x, y, 1) with o on the plane of the centre: float32 keeps hundredths of a mm so.
    ox, oy = x * centre[2] - centre[0], y * centre[2] - centre[1]
    square = (x * x + np.float32(1)) + y * y
    half = ox * x + oy * y
    disc = half * half - square * ((ox * ox - radius * radius) + oy * oy)
    valid = disc > 0
    t = (half + np.sqrt(disc, where=valid, out=disc)) / square
    _nearer(depth[area], centre[2] - t, valid)


def _cone(window: Window, depth: np.ndarray, area: Area, centres: np.ndarray, radii: np.ndarray) -> None:
    """The side of the cone that touches both spheres.

    A point p lies on it where F = min over s of |p − c − s b|² − (r + s dr)² is 0 and that s is in [0, 1]; with
    a² = |b|² − dr² and B = (p − c)·b + r dr, the minimum is at s = B / a², and F = |p − c|² − r² − B² / a².
    """
    axis, widening = centres[1] - centres[0], radii[1] - radii[0]
    length = axis @ axis - widening * widening
    if length <= 0:
        return  # one sphere holds the other
    length = np.sqrt(length)
    bx, by, bz = axis / length
    (cx, cy, cz), radius = centres[0], radii[0]
    x, y = window.x[area[1]], window.y[area[0], None]
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
    np.divide(k1, k2, where=valid, out=k1)  # t of entering, for rays along the axis, of negative k2, too
    along *= k1
    along += start
    valid &= along >= 0
    valid &= along <= length
    k1 += cz
    _nearer(depth[area], k1, valid)


def _touch(centres: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The planes that touch three spheres each, on the camera's side; (T, 3, 3) and (T, 3) give T triangles of them.

    Returns `planes` float32 (T, 3, 3), normals of planes through the camera and a side, on whose upper sides are the
    triangle's rays, and `faces` float32 (T, 3): f with f·p = 1 for p on it. Both are 0 where there is no such plane.
    """
    ends, size = centres.astype(np.float64), radii.astype(np.float64)
    first, second = ends[:, 1] - ends[:, 0], ends[:, 2] - ends[:, 0]
    upright = np.cross(first, second)
    square = np.maximum((upright * upright).sum(-1, keepdims=True), 1e-9)
    # The normal n has n·(c + r n) the same for all three: its part in the plane of the centres follows from that.
    less = size[:, :1, None] - size[:, 1:, None]
    level = (less[:, 0] * np.cross(second, upright) + less[:, 1] * np.cross(upright, first)) / square
    rest = 1 - (level * level).sum(-1, keepdims=True)
    towards = -np.sign((upright * ends[:, 0]).sum(-1, keepdims=True))
    normal = level + towards * upright * np.sqrt(np.maximum(rest, 0) / square)
    touching = ends + size[..., None] * normal[:, None]
    planes = np.cross(touching, np.roll(touching, -1, 1))
    planes *= np.sign((planes[:, 0] * touching[:, 2]).sum(-1))[:, None, None]
    offset = (normal * touching[:, 0]).sum(-1, keepdims=True)
    there = (rest > 0) & (offset < 0)  # a face that looks away is behind others
    faces = np.where(there, normal / np.where(there, offset, 1), 0)
    return planes.astype(np.float32), faces.astype(np.float32)


def _plate(window: Window, depth: np.ndarray, area: Area, planes: np.ndarray, face: np.ndarray) -> None:
    """A triangle of what `_touch` found."""
    x, y = window.x[area[1]], window.y[area[0], None]
    fx, fy, fz = face
    inverse = (x * fx + fz) + y * fy
    valid = inverse > 0
    for px, py, pz in planes:
        valid &= (x * px + pz) + y * py >= 0
    _nearer(depth[area], np.divide(np.float32(1), inverse, where=valid, out=inverse), valid)
