"""Similarities between point sets, frames and crops, and the warps that go with them.

A pixel's centre lies at integer coordinates, so a crop of S px spans -0.5 .. S - 0.5 and its middle is
(S - 1) / 2: the rule of OpenCV's warps, of ``cv2.resize`` and of torch with ``align_corners=False``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, UInt8

from intracoder.errors import ConfigError, NoFaceError
from intracoder.ops.topology import STABLE, canonical_points, oval_center
from intracoder.records import Affine, AlignedFace, Face, FaceTrack, HeadFit, Points, Shape

Picture: TypeAlias = UInt8[np.ndarray, "h w *c"] | Float32[np.ndarray, "h w *c"]
Square: TypeAlias = UInt8[np.ndarray, "s s *c"] | Float32[np.ndarray, "s s *c"]

ARCFACE_PX: Final = 112
ARCFACE_POINTS5: Final[Float32[np.ndarray, "5 2"]] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""Where the five points lie in the 112 px crops that face-recognition networks were trained on.

Source: Deng et al., "ArcFace", CVPR 2019; layout of the insightface project's released alignment.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A square window on the canonical head, upright in the crop."""

    side_cm: float
    """Side of the window, canonical centimetres."""
    down_cm: float
    """How far its middle lies below the middle of the face outline."""


TEMPLATES: Final[Mapping[str, Template]] = MappingProxyType(
    {
        "wide": Template(side_cm=21.5, down_cm=0.6),
        "wide_margin": Template(side_cm=21.5 * 1.25, down_cm=0.6),
    }
)
"""``wide``: hairline to below the chin, what the network sees; ``wide_margin``: 1.25 times that, what is stored."""


def find_template(name: str) -> Template:
    """The template called ``name``; ConfigError where there is none."""
    if name not in TEMPLATES:
        raise ConfigError(f"template: expected one of {', '.join(TEMPLATES)}, got {name!r}")
    return TEMPLATES[name]


_FINEST_PX: Final = 8192
"""Largest side of an intermediate picture; faces beyond this size may alias a little."""

# ---- fits ------------------------------------------------------------------------------------------------------


def fit_similarity(from_points: Float[np.ndarray, "p 2"], to_points: Float[np.ndarray, "p 2"]) -> Affine:
    """The rotation, scale and shift that bring ``from_points`` nearest to ``to_points`` (least squares).

    Raises NoFaceError where fewer than two different points are given.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991.
    """
    scale, rotation, translation = _umeyama(from_points.astype(np.float64), to_points.astype(np.float64))
    return np.hstack([scale * rotation, translation[:, None]])


def fit_head(points: Points) -> HeadFit:
    """Where the canonical head has to go to lie under a face's stable points (weak perspective, 3-D similarity).

    Raises NoFaceError where the points are not finite or all in one place.
    """
    stable = list(STABLE)
    scale, rotation, translation = _umeyama(canonical_points()[stable], points[stable].astype(np.float64))
    return HeadFit(scale=scale, rotation=rotation, translation=translation)


def fit_weighted(
    from_points: Float64[np.ndarray, "p d"], to_points: Float64[np.ndarray, "p d"], weights: Float64[np.ndarray, "p"]
) -> tuple[float, Float64[np.ndarray, "d d"], Float64[np.ndarray, "d"]]:
    """Scale, rotation and shift of ``to = scale * rotation @ from + shift``, weighted least squares, no mirroring.

    Raises NoFaceError where the points are not finite or all in one place.

    Source: Umeyama, PAMI 1991 (see ``fit_similarity``).
    """
    share = weights / weights.sum()
    from_mean, to_mean = share @ from_points, share @ to_points
    a, b = from_points - from_mean, to_points - to_mean
    spread = float(share @ (a**2).sum(axis=1))
    if not (np.isfinite(spread) and np.isfinite(b).all() and spread > 1e-12 and (b**2).sum() > 1e-12):
        raise NoFaceError("landmarks: expected at least two different, finite points for an alignment; drop this face")
    u, singular, vt = np.linalg.svd((b * share[:, None]).T @ a)
    signs = np.ones(len(singular))
    signs[-1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * signs) @ vt
    scale = float((singular * signs).sum() / spread)
    return scale, rotation, to_mean - scale * rotation @ from_mean


def _umeyama(
    from_points: Float64[np.ndarray, "p d"], to_points: Float64[np.ndarray, "p d"]
) -> tuple[float, Float64[np.ndarray, "d d"], Float64[np.ndarray, "d"]]:
    """``fit_weighted`` with all points alike."""
    return fit_weighted(from_points, to_points, np.ones(len(from_points)))


def unposed(points: Points, head: HeadFit) -> Shape:
    """Landmarks without their pose: ``rotation.T @ (point - translation) / scale``, canonical centimetres."""
    return np.asarray((points.astype(np.float64) - head.translation) / head.scale @ head.rotation)


def posed(shape: Shape, head: HeadFit) -> Points:
    """The inverse of ``unposed``: a shape put where ``head`` is, pixels."""
    return placed(shape, head).astype(np.float32)


def placed(points: Float64[np.ndarray, "*n 3"], fit: HeadFit) -> Float64[np.ndarray, "*n 3"]:
    """Any points through a similarity, in the units of its translation."""
    return np.asarray(fit.scale * points @ fit.rotation.T + fit.translation)


# ---- matrices --------------------------------------------------------------------------------------------------


def invert_affine(matrix: Affine) -> Affine:
    """``b_to_a`` of ``a_to_b``; ConfigError where there is none."""
    linear = matrix[:, :2]
    if abs(np.linalg.det(linear)) < 1e-18:
        raise ConfigError(f"affine matrix: expected an invertible one, got {matrix.tolist()}")
    inverse = np.linalg.inv(linear)
    return np.hstack([inverse, -inverse @ matrix[:, 2:]])


def compose(b_to_c: Affine, a_to_b: Affine) -> Affine:
    """``a_to_c``: first ``a_to_b``, then ``b_to_c``, in the order of the matrix product."""
    linear = b_to_c[:, :2] @ a_to_b[:, :2]
    return np.hstack([linear, b_to_c[:, :2] @ a_to_b[:, 2:] + b_to_c[:, 2:]])


def affine_scale(matrix: Affine) -> float:
    """How many times longer a length gets (square root of the change of area)."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def transform_points(points: Float[np.ndarray, "p d"], matrix: Affine) -> Float[np.ndarray, "p d"]:
    """Points (x, y) or (x, y, z) moved by ``matrix``; z is multiplied by its scale. Keeps the dtype."""
    moved = points.astype(np.float64)
    moved[:, :2] = moved[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    moved[:, 2:] *= affine_scale(matrix)
    return moved.astype(points.dtype)


def crop_matrix(center: Float[np.ndarray, "2"], angle_rad: float, scale: float, template: str, crop_px: int) -> Affine:
    """``frame_to_crop`` of the template's square.

    Args:
        center: where the middle of the window lies, frame px.
        angle_rad: roll of the head, positive clockwise; the crop is upright.
        scale: frame px per canonical centimetre.
        template: key of TEMPLATES.
        crop_px: side of the crop.
    """
    zoom = crop_px / (find_template(template).side_cm * scale)
    cos, sin = zoom * np.cos(angle_rad), zoom * np.sin(angle_rad)
    linear = np.array([[cos, sin], [-sin, cos]])
    shift = (crop_px - 1) / 2 - linear @ center.astype(np.float64)
    return np.hstack([linear, shift[:, None]])


def rescale_matrix(frame_to_crop: Affine, from_template: str, from_px: int, to_template: str, to_px: int) -> Affine:
    """The matrix of another template or crop size around the same face.

    ``frame_to_crop`` cuts ``from_template`` at ``from_px``; the result cuts ``to_template`` at ``to_px``.
    """
    old, new = find_template(from_template), find_template(to_template)
    zoom = (to_px / new.side_cm) / (from_px / old.side_cm)
    # the templates are upright in the crop, so one that sits lower on the face moves along the crop's y
    down = (new.down_cm - old.down_cm) * from_px / old.side_cm
    middle = np.array([(from_px - 1) / 2, (from_px - 1) / 2 + down])
    crop_to_crop = np.hstack([zoom * np.eye(2), ((to_px - 1) / 2 - zoom * middle)[:, None]])
    return compose(crop_to_crop, frame_to_crop)


# ---- tracks ----------------------------------------------------------------------------------------------------


def align_track(track: FaceTrack, *, template: str, crop_px: int, smooth_frames: int) -> tuple[AlignedFace, ...]:
    """Crop squares for every face of a track, steady over time.

    The head is fitted in each frame; its size (log), roll (unwrapped) and projected window centre are then
    smoothed by a local quadratic in time over ``smooth_frames`` frames (odd; 1 turns it off). Windows never
    reach over a cut, or over a gap of more than half a window; shorter gaps are weighed by their true times.

    Raises NoFaceError for a face without dense landmarks, and ConfigError for an even window.

    Source: Savitzky & Golay, Anal. Chem. 36(8), 1964, least squares on the true sample times.
    """
    if smooth_frames < 1 or smooth_frames % 2 == 0:
        raise ConfigError(f"smooth_frames: expected an odd number, at least 1, got {smooth_frames}")
    window = find_template(template)
    heads = [fit_head(_dense_points(face)) for face in track.faces]
    if not heads:
        return ()
    middle = oval_center() + np.array([0.0, window.down_cm, 0.0])
    path = np.array([_trajectory_row(head, middle) for head in heads])
    times = np.array([face.frame_index for face in track.faces], dtype=np.int64)
    for start, stop in _runs(times, track.cuts, max_gap=max(smooth_frames // 2, 1)):
        path[start:stop, 1] = np.unwrap(path[start:stop, 1])
        path[start:stop] = smooth_series(path[start:stop], times[start:stop], smooth_frames)
    return tuple(
        AlignedFace(
            face=face,
            frame_to_crop=crop_matrix(row[2:], float(row[1]), float(np.exp(row[0])), template, crop_px),
            crop_px=crop_px,
            template=template,
            head=head,
        )
        for face, head, row in zip(track.faces, heads, path, strict=True)
    )


def _dense_points(face: Face) -> Points:
    """The face's landmarks, or NoFaceError."""
    if face.points is None:
        raise NoFaceError(f"frame {face.frame_index}: expected a face with dense landmarks, got none; run a landmarker")
    return face.points


def _trajectory_row(head: HeadFit, middle: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "4"]:
    """Log scale, roll, and the window's middle in the frame."""
    center = head.scale * head.rotation @ middle + head.translation
    roll = np.arctan2(head.rotation[1, 0], head.rotation[0, 0])
    return np.array([np.log(head.scale), roll, center[0], center[1]])


def _runs(times: Int64[np.ndarray, "n"], cuts: Sequence[int], *, max_gap: int) -> list[tuple[int, int]]:
    """Index ranges of faces of one shot with at most ``max_gap`` frames missing between neighbours."""
    shots = np.searchsorted(np.sort(np.array(cuts, dtype=np.int64)), times, side="right")
    breaks = np.flatnonzero((np.diff(shots) != 0) | (np.diff(times) > max_gap + 1)) + 1
    return list(pairwise([0, *breaks.tolist(), len(times)]))


def smooth_series(
    values: Float64[np.ndarray, "n k"], times: Int64[np.ndarray, "n"], window: int
) -> Float64[np.ndarray, "n k"]:
    """Savitzky-Golay smoothing (quadratic) of unevenly sampled rows; at the ends the window is moved inwards.

    Rows of 3 or 4 samples get a straight line and shorter ones stay: motion at constant speed is always kept.
    """
    half, n = window // 2, len(values)
    if half == 0 or n < 3:
        return values.copy()
    degree = 2 if n >= 5 else 1
    smoothed = np.empty_like(values)
    weights_of: dict[tuple[int, ...], Float64[np.ndarray, "m"]] = {}
    for i, time in enumerate(times):
        middle = min(max(int(time), int(times[0]) + half), max(int(times[-1]) - half, int(times[0])))
        first, last = np.searchsorted(times, [middle - half, middle + half + 1])
        # a sparse stretch still needs more samples than the polynomial has coefficients
        while last - first < min(degree + 2, n):
            first, last = max(first - 1, 0), min(last + 1, n)
        offsets = times[first:last] - time
        key = tuple(offsets.tolist())
        if key not in weights_of:
            weights_of[key] = np.linalg.pinv(np.vander(offsets.astype(np.float64), degree + 1, increasing=True))[0]
        smoothed[i] = weights_of[key] @ values[first:last]
    return smoothed


# ---- warps -----------------------------------------------------------------------------------------------------


def warp_to_crop(image: Picture, frame_to_crop: Affine, crop_px: int) -> Square:
    """Cuts the crop out of a frame: cubic when enlarging, area-averaged when shrinking, edges repeated outwards.

    Args:
        image: uint8 or float32, no channels or up to 4.
        frame_to_crop: any invertible affine matrix.
        crop_px: side of the crop.

    Returns:
        The image's dtype; float32 stays within its range.
    """
    # shrinking: sample at least once per frame pixel, then average whole blocks, which keeps centres where they are
    factor = max(1, math.ceil(1 / affine_scale(frame_to_crop) - 1e-6))
    factor = min(factor, max(1, _FINEST_PX // crop_px))
    side = crop_px * factor
    warped = cv2.warpAffine(
        image,
        compose(_zoom_matrix(float(factor)), frame_to_crop),
        (side, side),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if factor > 1:
        warped = cv2.resize(warped, (crop_px, crop_px), interpolation=cv2.INTER_AREA)
    return _within(warped, image)


def warp_from_crop(
    crop: Square, frame_to_crop: Affine, height: int, width: int, *, border: Literal["replicate", "zero"] = "replicate"
) -> Picture:
    """Puts a crop back where ``warp_to_crop`` cut it; outside its square the edge is repeated, or zero.

    A crop that is finer than the frame is area-averaged first. Returns the crop's dtype; float32 stays within its
    range. Masks want ``border="zero"``.
    """
    small, crop_matrix_small = crop, frame_to_crop
    zoom = 1 / affine_scale(frame_to_crop)
    if zoom < 1:
        side = max(1, math.ceil(len(crop) * zoom))
        small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
        crop_matrix_small = compose(_zoom_matrix(side / len(crop)), frame_to_crop)
    mode = cv2.BORDER_REPLICATE if border == "replicate" else cv2.BORDER_CONSTANT
    (top, bottom), (left, right) = _footprint(crop_matrix_small, len(small), height, width)
    if border == "zero":
        warped = np.zeros((height, width, *crop.shape[2:]), dtype=crop.dtype)
    else:
        # far cheaper than cubic, and as good for repeated edges
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        streaks = cv2.warpAffine(small, crop_matrix_small, (width, height), flags=flags, borderMode=mode)
        warped = streaks.reshape(height, width, *crop.shape[2:])
    if bottom > top and right > left:
        shifted = compose(crop_matrix_small, np.array([[1.0, 0.0, left], [0.0, 1.0, top]]))
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        inside = cv2.warpAffine(small, shifted, (right - left, bottom - top), flags=flags, borderMode=mode)
        warped[top:bottom, left:right] = _within(inside, crop)
    return warped


def _footprint(frame_to_crop: Affine, side: int, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns (first, stop) of the frame that a crop can reach, with what cubic weights look at."""
    low, high = -3.0, side + 2.0
    corners = np.array([[low, low], [low, high], [high, low], [high, high]])
    reached = transform_points(corners, invert_affine(frame_to_crop))
    limits = np.array([width, height])
    (left, top) = np.clip(np.floor(reached.min(axis=0)), 0, limits).astype(int).tolist()
    (right, bottom) = np.clip(np.ceil(reached.max(axis=0)) + 1, 0, limits).astype(int).tolist()
    return (top, bottom), (left, right)


def _zoom_matrix(zoom: float) -> Affine:
    """Resizing by ``zoom`` as a matrix: the picture's outer edge, at -0.5, stays where it is."""
    return np.array([[zoom, 0.0, (zoom - 1) / 2], [0.0, zoom, (zoom - 1) / 2]])


def _within(warped: cv2.typing.MatLike, original: cv2.typing.MatLike) -> Picture:
    """OpenCV's result with its channel axis back, and cubic overshoot cut off (uint8 saturates by itself)."""
    result = np.asarray(warped).reshape(*warped.shape[:2], *original.shape[2:])
    if result.dtype == np.uint8:
        return result
    return np.clip(result, min(float(original.min()), 0.0), float(original.max()))
