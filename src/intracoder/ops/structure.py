"""A head's own shape from the way its points move, and where a head of known shape is.

The depth that a network reads off one picture is mostly what heads usually have: somebody whose profile is another is
read as somebody who looks up or down. But when a head turns, each point moves by as much as it is deep. Poses and
shape are therefore fitted to the landmarks' places in the pictures alone; their read depth only helps out where a
person hardly turns.

Source: Tomasi & Kanade, "Shape and motion from image streams under orthography", IJCV 9(2), 1992; here as alternating
least squares under scaled orthography, with a prior on depth.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float64

from intracoder.ops.geometry import fit_weighted, placed
from intracoder.ops.topology import EYE_CORNERS, SURFACE_COUNT, canonical_points
from intracoder.records import HeadFit, Shape

DEPTH_PRIOR: Final = 3.0
"""What the read depth counts, in frames turned by 90 degrees; 150 frames of somebody who speaks count 5 to 15."""
ROUNDS: Final = 15
STEPS: Final = 10
"""Most Gauss-Newton steps of a pose."""
_STILL_RAD: Final = 1e-4
"""A step that turns no head by more than this is the last: landmarks jitter by a hundred times as much."""
_DAMPING: Final = 1e-9
_EYE_TO_FACE: Final = 0.5
"""From the eyes' middle down to the face's, in eye distances."""
_HALF_WIDTH, _HALF_UP, _HALF_DOWN = 1.13, 1.18, 1.52
"""Half axes of the face's ellipse, in eye distances."""
_EDGE_END, _EDGE_DEPTH = 1.12, 0.30
_INNER_SHARE: Final = 0.15


def find_heads(
    shape: Shape,
    offsets: Float64[np.ndarray, "n 478 3"],
    points: Float64[np.ndarray, "n 478 3"],
    start: Sequence[HeadFit],
) -> list[HeadFit]:
    """Where a head of known shape is in each frame, from its landmarks' places in the picture alone.

    Args:
        shape: The head at rest, centimetres.
        offsets: What the expression adds to it in each frame.
        points: Landmarks, pixels; their depth is not looked at.
        start: Rough poses; a frame's translation in depth is kept.

    Source: Gauss-Newton on the rotation's tangent space.
    """
    rotation = np.stack([head.rotation for head in start])
    scale = np.array([head.scale for head in start])
    shift = np.stack([head.translation[:2] for head in start])
    solid = (shape + offsets)[:, :SURFACE_COUNT]
    seen = points[:, :SURFACE_COUNT, :2]
    for _ in range(STEPS):
        turned = np.einsum("nij,npj->npi", rotation, solid)
        missed = seen - scale[:, None, None] * turned[..., :2] - shift[:, None]
        slopes = _pose_slopes(turned, scale)
        squared = np.einsum("npka,npkb->nab", slopes, slopes) + _DAMPING * np.eye(6)
        change = np.linalg.solve(squared, np.einsum("npka,npk->na", slopes, missed)[..., None])[..., 0]
        rotation = _small_rotations(change[:, :3]) @ rotation
        scale = scale * np.exp(change[:, 3])
        shift = shift + change[:, 4:]
        if np.abs(change[:, :3]).max() < _STILL_RAD:
            break
    return [
        HeadFit(scale=float(s), rotation=r, translation=np.array([*t, head.translation[2]]))
        for s, r, t, head in zip(scale, rotation, shift, start, strict=True)
    ]


def _pose_slopes(
    turned: Float64[np.ndarray, "n p 3"], scale: Float64[np.ndarray, "n"]
) -> Float64[np.ndarray, "n p 2 6"]:
    """How picture places change with turns about x, y, z, with the logarithm of scale, and with shifts."""
    slopes = np.zeros((*turned.shape[:2], 2, 6))
    x, y, z = (scale[:, None] * turned[..., k] for k in range(3))
    slopes[..., 0, 1], slopes[..., 0, 2], slopes[..., 0, 3] = z, -y, x
    slopes[..., 1, 0], slopes[..., 1, 2], slopes[..., 1, 3] = -z, x, y
    slopes[..., 0, 4] = slopes[..., 1, 5] = 1.0
    return slopes


def _small_rotations(turns: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3 3"]:
    """Rotation matrices of rotation vectors. Source: Rodrigues' formula."""
    angle = np.linalg.norm(turns, axis=1)[:, None, None]
    x, y, z = turns.T
    zero = np.zeros_like(x)
    cross = np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]).transpose(2, 0, 1)
    first = np.sinc(angle / np.pi)
    second = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.asarray(np.eye(3) + first * cross + second * (cross @ cross))


def shape_from_motion(
    read: Shape,
    offsets: Float64[np.ndarray, "n 478 3"],
    points: Float64[np.ndarray, "n 478 3"],
    start: Sequence[HeadFit],
) -> Shape:
    """The head at rest whose turning puts the landmarks where the pictures show them, centimetres.

    Args:
        read: The head at rest as single pictures are read; it stays the measure of size and of what is upright.
        offsets: What the expression adds to it in each frame.
        points: Landmarks, pixels.
        start: Rough poses.
    """
    shape, heads = read, list(start)
    prior = np.diag([0.0, 0.0, DEPTH_PRIOR]) + 1e-6 * np.eye(3)
    for _ in range(ROUNDS):
        heads = find_heads(shape, offsets, points, heads)
        rotation = np.stack([head.rotation for head in heads])
        scale = np.array([head.scale for head in heads])[:, None, None]
        shift = np.stack([head.translation for head in heads])[:, None]
        still = ((points - shift) / scale)[..., :2] - np.einsum("nij,npj->npi", rotation[:, :2], offsets)
        squared = np.einsum("nia,nib->ab", rotation[:, :2], rotation[:, :2])
        seen = np.einsum("nia,npi->pa", rotation[:, :2], still)
        shape = np.linalg.solve(squared + prior, (seen + read @ prior).T).T
        shape = placed(shape, lay_on(shape, read))
    return np.asarray(shape)


def lay_on(shape: Float64[np.ndarray, "_ 3"], other: Float64[np.ndarray, "_ 3"]) -> HeadFit:
    """The similarity that lays one head at rest on another where the edge of a swapped face is; irises don't count.

    A new face has to meet the head that it is put on along its edge; what lies inside it is what differs.
    """
    scale, rotation, translation = fit_weighted(shape[:SURFACE_COUNT], other[:SURFACE_COUNT], _edge_weights())
    return HeadFit(scale=scale, rotation=rotation, translation=translation)


def combined(outer: HeadFit, inner: HeadFit) -> HeadFit:
    """First ``inner``, then ``outer``."""
    return HeadFit(
        scale=outer.scale * inner.scale,
        rotation=outer.rotation @ inner.rotation,
        translation=outer.scale * outer.rotation @ inner.translation + outer.translation,
    )


@functools.cache
def _edge_weights() -> Float64[np.ndarray, "468"]:
    """What each surface point counts where heads are laid on one another: most in a ring along the face's edge."""
    canonical = canonical_points()
    corners = canonical[list(EYE_CORNERS)]
    unit = float(np.ptp(corners[:, 0])) * 2 / 3  # between the pupils
    x, y = ((canonical - corners.mean(axis=0))[:, :2] / unit - np.array([0, _EYE_TO_FACE])).T
    radius = np.hypot(x / _HALF_WIDTH, y / np.where(y < 0, _HALF_UP, _HALF_DOWN))
    inside = np.clip((_EDGE_END - radius) / _EDGE_DEPTH, 0, 1)
    inside = inside**2 * (3 - 2 * inside)
    weights = 4 * inside * (1 - inside) + _INNER_SHARE * inside + 1e-9
    weights.flags.writeable = False
    return np.asarray(weights)
