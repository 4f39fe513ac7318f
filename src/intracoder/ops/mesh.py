"""The face as a surface: planes that tell a network its geometry, and pictures bent onto another geometry.

Triangles are scan-converted together, in vectorised numpy with a depth test per pixel, so nearer parts hide
farther ones (the nose the cheek behind it) and nothing folds over.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, UInt8

from intracoder.ops.topology import EYES, INNER_LIPS, IRISES, SURFACE_COUNT, canonical_points, face_mesh
from intracoder.records import Image, Mask, Points

SquareImage: TypeAlias = UInt8[np.ndarray, "size size 3"]
Indices: TypeAlias = Int64[np.ndarray, "_"]

_PLANE_LOW: Final = 30.0  # canonical colours keep clear of the background's 0
_PLANE_SPAN: Final = 225.0
_EYE_LEVEL: Final = 110
_IRIS_LEVEL: Final = 240
_MOUTH_LEVEL: Final = 200
_SUBPIXEL_BITS: Final = 4
_FIELD_PX: Final = 40  # grid on which displacement fades from the face to the border
_FADE_STEPS: Final = 48
_DEPTH_SLACK: Final = 0.02  # of the side, about half a centimetre: a surface does not hide itself
_CARRIED_ON: Final = ((1 / 40, 1.0), (1 / 8, 0.01))  # near the edge by what is near, farther out by all
_TO_THE_VIEWER: Final = np.array([0, 0, -1], dtype=np.float32)
_IRIS_MOVE_MAX: Final = 0.03  # of the side: farther than this it's a lost landmark, not a gaze


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WarpField:
    """Where each pixel of a bent picture comes from."""

    origin: Float32[np.ndarray, "s s 2"]
    """x, y in the picture that is bent, as a square of the same side."""
    visibility: Mask
    """How much of its own detail the picture had for this pixel, 0..1: 0 where it was hidden or edge-on, 1 where
    it was as open to the camera as it is wanted, and outside the face."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Raster:
    """Front-facing, nearest surface at each covered pixel."""

    size: int
    """Side of the picture."""
    pixels: Int64[np.ndarray, "n"]
    """Flat index of each covered pixel, once."""
    triangles: Int64[np.ndarray, "n"]
    weights: Float32[np.ndarray, "3 n"]
    """Barycentric coordinates."""

    def interpolate(self, values: Float32[np.ndarray, "v c"]) -> Float32[np.ndarray, "n c"]:
        """Per-point values at each covered pixel."""
        corners = values[face_mesh().triangles]
        return np.asarray(np.einsum("kn,nkc->nc", self.weights, corners[self.triangles]))


# ---- scan conversion -------------------------------------------------------------------------------------------


def _signed_areas(points: Float32[np.ndarray, "p d"]) -> Float32[np.ndarray, "t"]:
    """Twice the area of each triangle in x, y; positive where it faces the viewer."""
    a, b, c = (points[face_mesh().triangles[:, k]] for k in range(3))
    return np.asarray((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]))


def _rasterize(points: Float32[np.ndarray, "p 3"], size: int) -> _Raster:
    """The surface seen from the front, at pixel centres; back-facing triangles are left out.

    All triangles at once are cut into pixel rows, and those into runs of pixels; each pixel keeps what is nearest.
    """
    areas = _signed_areas(points)
    front = np.flatnonzero(areas > 1e-6)
    # (3 corners, triangles): numpy is fast along a long last axis
    x, y, z = points.astype(np.float64).T[:, face_mesh().triangles[front].T]
    # a corner's weight is linear in x and y: 1 at the corner, 0 on the side across
    slope_x = (y[[1, 2, 0]] - y[[2, 0, 1]]) / areas[front]
    slope_y = (x[[2, 0, 1]] - x[[1, 2, 0]]) / areas[front]
    which, row = _expand(np.clip(np.ceil(y.min(axis=0)), 0, size), np.clip(np.floor(y.max(axis=0)) + 1, 0, size))
    slope = slope_x[:, which]
    at_zero = (1.0 - slope_x * x - slope_y * y)[:, which] + slope_y[:, which] * row
    # within a row, weight >= 0 bounds x from the left where it grows and from the right where it falls
    with np.errstate(divide="ignore", invalid="ignore"):
        bound = -at_zero / slope
    left = np.where(slope > 0, bound, -np.inf).max(axis=0)
    right = np.where(slope < 0, bound, np.inf).min(axis=0)
    # a hair of overlap, so that no holes open between neighbours
    run, column = _expand(np.clip(np.ceil(left - 1e-4), 0, size), np.clip(np.floor(right + 1e-4) + 1, 0, size))
    depth_slope, depth_at_zero = ((v * z[:, which]).sum(axis=0) for v in (slope, at_zero))
    nearest = _nearest(row[run] * size + column, depth_at_zero[run] + depth_slope[run] * column, size * size)
    run, column = run[nearest], column[nearest]
    weights = np.empty((3, len(run)), dtype=np.float32)
    for k in (0, 1):
        weights[k] = at_zero[k][run] + slope[k][run] * column
    weights[2] = 1.0 - weights[0] - weights[1]
    return _Raster(size=size, pixels=row[run] * size + column, triangles=front[which[run]], weights=weights)


def _expand(first: Float64[np.ndarray, "n"], stop: Float64[np.ndarray, "n"]) -> tuple[Indices, Indices]:
    """All whole numbers of each range first..stop-1 in a row, after the index of the range that each is of."""
    start = first.astype(np.int64)
    counts = np.maximum(stop.astype(np.int64) - start, 0)
    which = np.repeat(np.arange(len(counts)), counts)
    return which, np.arange(len(which)) + np.repeat(start - (np.cumsum(counts) - counts), counts)


def _nearest(pixels: Indices, depth: Float64[np.ndarray, "n"], pixel_count: int) -> Indices:
    """Which entry is the nearest one of its pixel, for every pixel that occurs."""
    order = np.argsort(-depth.astype(np.float32))
    winner = np.full(pixel_count, -1, dtype=np.int64)
    winner[pixels[order]] = order  # far to near: of repeated pixels the last assignment stays
    return winner[winner >= 0]


# ---- geometry planes -------------------------------------------------------------------------------------------


def paint_geometry(points: Points, size: int) -> UInt8[np.ndarray, "size size 4"]:
    """Planes that show a network a face's geometry and nothing of its looks.

    Args:
        points: landmarks in the crop's pixels; any point may lie outside.
        size: side of the crop.

    Returns:
        Planes 0-2: canonical x, y, z of the surface seen at each pixel, 30..255, 0 where there is no face. Plane 3:
        eye openings (110), irises in them (240), the mouth's opening (200). Edges are slightly soft.
    """
    raster = _rasterize(points, size)
    colors = np.zeros((size * size, 3), dtype=np.float32)
    colors[raster.pixels] = raster.interpolate(_plane_colors())
    planes = cv2.GaussianBlur(np.rint(colors).astype(np.uint8).reshape(size, size, 3), (0, 0), max(size / 150, 0.6))
    return np.dstack([planes, _paint_parts(points[:, :2], size)])


def surface_normals(points: Points, size: int) -> Float32[np.ndarray, "size size 3"]:
    """Which way the face's surface faces at each pixel, unit vectors (x right, y down, z away from the viewer).

    Args:
        points: landmarks in the crop's pixels, depth included.
        size: side of the crop.

    Returns:
        Beside the face its normals are carried on smoothly.
    """
    carried = spread_over(points, point_normals(points).astype(np.float32), size)
    length = np.linalg.norm(carried, axis=2, keepdims=True)
    return np.asarray(np.where(length > 1e-6, carried / np.maximum(length, 1e-6), _TO_THE_VIEWER), dtype=np.float32)


def point_normals(points: Float[np.ndarray, "p 3"]) -> Float64[np.ndarray, "468 3"]:
    """Which way the surface faces at each of its points, unit vectors (x right, y down, z away from the viewer)."""
    surface = points[:SURFACE_COUNT].astype(np.float64)
    triangles = face_mesh().triangles
    a, b, c = (surface[triangles[:, k]] for k in range(3))
    across = np.cross(c - a, b - a)  # a triangle that faces the viewer has z < 0; its length weighs it by its area
    normals = np.zeros_like(surface)
    for k in range(3):
        np.add.at(normals, triangles[:, k], across)
    return np.asarray(normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9))


def spread_over(points: Points, values: Float32[np.ndarray, "468 c"], size: int) -> Float32[np.ndarray, "size size c"]:
    """What each point of the surface holds, as a picture of the face; beside it carried on smoothly.

    Args:
        points: landmarks in the crop's pixels, depth included.
        values: of each surface point.
        size: side of the crop.

    Source: normalised convolution, Knutsson & Westin, CVPR 1993.
    """
    raster = _rasterize(points[:SURFACE_COUNT], size)
    flat = np.zeros((size * size, values.shape[1] + 1), dtype=np.float32)
    flat[raster.pixels, :-1] = raster.interpolate(values)
    flat[raster.pixels, -1] = 1
    picture = flat.reshape(size, size, -1)
    around = np.zeros_like(picture)
    for share, weight in _CARRIED_ON:
        around += cv2.GaussianBlur(picture, (0, 0), size * share) * np.float32(weight)
    beside = around[..., :-1] / np.maximum(around[..., -1:], np.float32(1e-12))
    return np.where(picture[..., -1:] > 0, picture[..., :-1], beside)


@functools.cache
def _plane_colors() -> Float32[np.ndarray, "468 3"]:
    """Canonical x, y, z of each point, spread over the planes' range."""
    canonical = canonical_points()
    low, high = canonical.min(axis=0), canonical.max(axis=0)
    colors = np.asarray((canonical - low) / (high - low) * _PLANE_SPAN + _PLANE_LOW, dtype=np.float32)
    colors.flags.writeable = False
    return colors


def _paint_parts(points_xy: Float32[np.ndarray, "p 2"], size: int) -> UInt8[np.ndarray, "size size"]:
    """Eye openings, irises and the mouth's opening, at their levels."""
    parts = np.zeros((size, size), dtype=np.uint8)
    eye, iris = np.empty_like(parts), np.empty_like(parts)
    for lids, ring in zip(EYES, IRISES, strict=True):
        eye[:], iris[:] = 0, 0
        _fill(eye, points_xy[list(lids)], _EYE_LEVEL)
        center, radius = _iris_circle(points_xy, ring)
        scale = 1 << _SUBPIXEL_BITS
        at = np.rint(np.clip(center, -size, 2 * size) * scale).astype(int)
        cv2.circle(iris, at.tolist(), round(radius * scale), _IRIS_LEVEL, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
        open_share = eye.astype(np.float32) / _EYE_LEVEL
        np.maximum(parts, np.maximum(eye, np.rint(iris * open_share).astype(np.uint8)), out=parts)
    mouth = np.zeros_like(parts)
    _fill(mouth, points_xy[list(INNER_LIPS)], _MOUTH_LEVEL)
    return np.asarray(cv2.GaussianBlur(np.maximum(parts, mouth), (0, 0), 0.6), dtype=np.uint8)


def _fill(plane: np.ndarray, outline: Float32[np.ndarray, "k 2"], level: int) -> None:
    """Paints a closed outline, sub-pixel exact with a smooth edge."""
    bounded = np.clip(outline, -2 * len(plane), 3 * len(plane))
    cv2.fillPoly(plane, [np.rint(bounded * (1 << _SUBPIXEL_BITS)).astype(np.int32)], level, cv2.LINE_AA, _SUBPIXEL_BITS)


def _iris_circle(points_xy: Float32[np.ndarray, "p 2"], ring: Sequence[int]) -> tuple[Float32[np.ndarray, "2"], float]:
    """Centre and mean radius, at least one pixel."""
    center = points_xy[ring[0]]
    radius = float(np.linalg.norm(points_xy[list(ring[1:])] - center, axis=1).mean())
    return center, max(radius, 1.0)


# ---- bending pictures ------------------------------------------------------------------------------------------


def mesh_warp(image: Image, image_points: Points, wanted_points: Points, size: int) -> SquareImage:
    """``image``, bent so that its face takes the geometry of ``wanted_points``.

    Args:
        image: a crop; one of another size is resized first.
        image_points: the face's landmarks in the image's pixels.
        wanted_points: where they shall lie, in pixels of a ``size`` crop of the same template.
        size: side of the result.

    Returns:
        The bent crop. Around the face the bend fades to nothing at the border.
    """
    square, points = fit_square(image, image_points, size)
    return apply_warp(square, warp_field(points, wanted_points, size))


def fit_square(image: Image, points: Points, size: int) -> tuple[SquareImage, Points]:
    """A crop and its landmarks resized to ``size``."""
    height, width = image.shape[:2]
    if height == width == size:
        return image, points
    zoom = np.array([size / width, size / height, size / width], dtype=np.float32)
    shift = np.array([0.5, 0.5, 0.0], dtype=np.float32)
    method = cv2.INTER_AREA if size < max(height, width) else cv2.INTER_CUBIC
    square = np.asarray(cv2.resize(image, (size, size), interpolation=method), dtype=np.uint8)
    return square, (points + shift) * zoom - shift


def apply_warp(image: SquareImage, field: WarpField) -> SquareImage:
    """``image`` (of the field's side) bent by the field; edges are repeated outwards."""
    x, y = np.ascontiguousarray(field.origin[..., 0]), np.ascontiguousarray(field.origin[..., 1])
    bent = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(bent, dtype=np.uint8)


def warp_field(image_points: Points, wanted_points: Points, size: int) -> WarpField:
    """The bend that carries a face from ``image_points`` to ``wanted_points``, both in pixels of a ``size`` crop.

    Displacements are interpolated over the wanted surface, nearest part first, and continued around it by a
    harmonic fade to 0 at the border; gaze is carried by moving each iris within its lids.
    """
    raster = _rasterize(wanted_points, size)
    there = raster.interpolate(image_points[:SURFACE_COUNT])
    grid = _pixel_grid(size)
    inner = np.zeros((size * size, 2), dtype=np.float32)
    inner[raster.pixels] = there[:, :2] - grid.reshape(-1, 2)[raster.pixels]
    covered = np.zeros(size * size, dtype=np.float32)
    covered[raster.pixels] = 1.0
    move = _fade_outwards(inner.reshape(size, size, 2), covered.reshape(size, size), size)
    move.reshape(-1, 2)[raster.pixels] = inner[raster.pixels]
    move = np.asarray(cv2.GaussianBlur(move, (0, 0), size / 110), dtype=np.float32)
    for lids, ring in zip(EYES, IRISES, strict=True):
        wanted_move = image_points[ring[0], :2] - wanted_points[ring[0], :2]
        _move_iris(move, wanted_move, wanted_points[:, :2], lids, ring)
    return WarpField(origin=move + grid, visibility=_visibility(raster, there, image_points, wanted_points))


@functools.lru_cache(maxsize=4)
def _pixel_grid(size: int) -> Float32[np.ndarray, "size size 2"]:
    """x, y of every pixel."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32)
    grid = np.dstack([columns, rows])
    grid.flags.writeable = False
    return grid


def _fade_outwards(
    inner: Float32[np.ndarray, "s s 2"], covered: Float32[np.ndarray, "s s"], size: int
) -> Float32[np.ndarray, "s s 2"]:
    """Continues the face's displacement smoothly to 0 at the border, by relaxation on a coarse grid."""
    grid_wh = (min(_FIELD_PX, size), min(_FIELD_PX, size))
    share = cv2.resize(covered, grid_wh, interpolation=cv2.INTER_AREA)
    known = cv2.resize(inner, grid_wh, interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-3)[..., None]
    is_free = share < 0.3
    is_free[[0, -1]], is_free[:, [0, -1]] = False, False
    known[[0, -1]], known[:, [0, -1]] = 0.0, 0.0
    free = is_free[..., None].astype(np.float32)
    fixed = known * (1 - free)
    value = fixed
    for _ in range(_FADE_STEPS):
        value = cv2.blur(value, (3, 3)) * free + fixed
    return np.asarray(cv2.resize(value, (size, size), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _move_iris(
    move: Float32[np.ndarray, "s s 2"],
    wanted_move: Float32[np.ndarray, "2"],
    points_xy: Float32[np.ndarray, "p 2"],
    lids: Sequence[int],
    ring: Sequence[int],
) -> None:
    """Adds a bump to ``move`` that carries the iris; it stays within the lids."""
    size = len(move)
    center, radius = _iris_circle(points_xy, ring)
    outline = points_xy[list(lids)]
    low = np.clip(np.floor(outline.min(axis=0)) - 4, 0, size - 1).astype(int)
    high = np.clip(np.ceil(outline.max(axis=0)) + 5, 0, size).astype(int)
    column, row = np.clip(np.rint(center), 0, size - 1).astype(int)
    if (high <= low).any():
        return
    bump = np.clip(wanted_move - move[row, column], -_IRIS_MOVE_MAX * size, _IRIS_MOVE_MAX * size)
    opening = np.zeros((size, size), dtype=np.float32)
    _fill(opening, outline, 1)
    window = np.s_[low[1] : high[1], low[0] : high[0]]
    offset = _pixel_grid(size)[window] - center
    near = np.exp(-(offset**2).sum(axis=2) / (2 * (1.3 * (radius + 0.5)) ** 2))
    move[window] += (cv2.GaussianBlur(opening[window], (0, 0), 1.0) * near)[..., None] * bump


def _visibility(
    raster: _Raster, there: Float32[np.ndarray, "n 3"], image_points: Points, wanted_points: Points
) -> Mask:
    """Share of the wanted detail that the image had at ``there``, and 0 where another part lay before it."""
    had, wanted = _signed_areas(image_points), _signed_areas(wanted_points)
    share = np.clip(had / np.maximum(wanted, 1e-6), 0.0, 1.0)[raster.triangles]
    half = raster.size // 2
    zoom = np.float32(half / raster.size)
    front = _rasterize(image_points * zoom, half)
    nearest = np.full(half * half, np.inf, dtype=np.float32)
    nearest[front.pixels] = front.interpolate(image_points[:SURFACE_COUNT, 2:])[:, 0]
    column, row = (np.clip(there[:, k] * zoom, 0, half - 1).astype(np.int64) for k in (0, 1))
    share[there[:, 2] > nearest[row * half + column] + _DEPTH_SLACK * raster.size] = 0.0
    visibility = np.ones((raster.size, raster.size), dtype=np.float32)
    visibility.reshape(-1)[raster.pixels] = share
    visibility = np.asarray(cv2.GaussianBlur(visibility, (0, 0), raster.size / 110), dtype=np.float32)
    return np.clip(visibility, 0.0, 1.0)
