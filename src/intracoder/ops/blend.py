"""Laying one picture over another through an alpha.

Every blender here leaves the pixels where alpha is 0 as they are, bit for bit, and takes pictures of one size with
nothing to place or centre: blend aligned crops and carry the difference back to the frame, and nothing can shift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from intracoder.errors import BlendError
from intracoder.records import Image, Mask

_Grid: TypeAlias = Float32[np.ndarray, "h w c"]
_Cover: TypeAlias = Float32[np.ndarray, "h w 1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatherBlender:
    """The plain weighted mean."""

    def blend(self, background: Image, foreground: Image, alpha: Mask) -> Image:
        """All of one size; alpha 1 shows the foreground exactly, alpha 0 is the background bit for bit."""
        return _finished(_feathered(background, foreground, alpha), background, alpha)


@dataclass(frozen=True, slots=True, kw_only=True)
class MultibandBlender:
    """Each octave of detail is blended over a width of its own size, so that edges neither show nor ghost.

    Where alpha is 1 within 4 * 2**levels pixels the foreground shows within one level; nearer to the edge the coarse
    octaves still hold some background.

    Source: Burt & Adelson, "A multiresolution spline with application to image mosaics", ACM TOG 2(4), 1983.
    """

    levels: int | None = None
    """Octaves; None takes what suits the size (3 for 128 px, 4 for 256 px)."""

    def blend(self, background: Image, foreground: Image, alpha: Mask) -> Image:
        """All of one size; alpha 1 shows the foreground, alpha 0 is the background bit for bit."""
        side = min(alpha.shape)
        levels = max(0, int(np.log2(side)) - 4) if self.levels is None else self.levels
        # below two pixels there is nothing left to halve
        levels = min(levels, max(0, int(np.log2(side)) - 1))
        below = background.astype(np.float32)
        difference = foreground.astype(np.float32) - below
        # the pyramid is linear: blending (foreground, background) is adding the blend of (difference, 0)
        weights, details = _halvings(alpha, levels), _halvings(difference, levels)
        added = details[-1] * weights[-1][..., None]
        for finer, coarser, weight in zip(details[-2::-1], details[:0:-1], weights[-2::-1], strict=True):
            size_wh = finer.shape[1::-1]
            added = (
                cv2.pyrUp(added, dstsize=size_wh) + (finer - cv2.pyrUp(coarser, dstsize=size_wh)) * weight[..., None]
            )
        # the coarse octaves reach past the support: they are led down to nothing over half of their own width
        inside = (alpha > 0).astype(np.uint8)
        depth_px = np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_3), dtype=np.float32)
        if inside.all():
            depth_px[:] = np.inf
        added *= np.minimum(depth_px / 2 ** max(0, levels - 1), 1.0)[..., None]
        return _finished(below + added, background, alpha)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoissonBlender:
    """Keeps the foreground's gradients and lets its colours drift to meet the background at the edge.

    Solves ``min |grad f - v|^2 + |f - c|^2 / reach^2`` on the pixels with alpha > 0 and f = background outside. Here v
    mixes both pictures' gradients by alpha and c is the feathered picture. The second term bounds how far the edge's
    colours (hair, a hand, a collar) bleed inwards: after ``reach`` their influence is down to a third. Where alpha is 1
    everywhere the foreground comes back exactly; deep inside it within ``exp(-depth / reach)`` of the drift.

    Source: Perez, Gangnet & Blake, "Poisson image editing", SIGGRAPH 2003; screening of Bhat et al., "Fourier analysis
    of the 2D screened Poisson equation", ECCV 2008; solver: Briggs, Henson & McCormick, "A multigrid tutorial".
    """

    reach: float = 0.12
    """Distance over which the drift fades, fraction of the shorter side; infinity solves the pure Poisson equation."""
    tolerance: float = 0.02
    """Residual of the equation at which it counts as solved, levels."""
    cycles_max: int = 30
    """Most multigrid cycles before conjugate gradients take over."""

    def blend(self, background: Image, foreground: Image, alpha: Mask) -> Image:
        """All of one size; alpha 0 is the background bit for bit. BlendError where there is no finite solution."""
        if not np.isfinite(alpha).all():
            raise BlendError("poisson blend: alpha has values that are not finite; expected 0..1")
        start = _feathered(background, foreground, alpha)
        inside = alpha > 0
        if not inside.any():
            return background.copy()
        # nothing changes outside of the support, so its bounding box is all that is computed
        rows, columns = _extent(np.any(inside, 1)), _extent(np.any(inside, 0))
        difference = (foreground.astype(np.float32) - background)[rows, columns]
        screen = (self.reach * min(alpha.shape)) ** -2.0
        drift = _solve(
            _step_divergence(difference, alpha[rows, columns]),
            inside[rows, columns].astype(np.float32),
            float(screen),
            tolerance=self.tolerance,
            cycles_max=self.cycles_max,
        )
        start[rows, columns] += drift
        return _finished(start, background, alpha)


def _feathered(background: Image, foreground: Image, alpha: Mask) -> _Grid:
    """The weighted mean, unrounded."""
    below = background.astype(np.float32)
    return below + alpha[..., None] * (foreground - below)


def _halvings(values: Float32[np.ndarray, "h w *c"], levels: int) -> list[Float32[np.ndarray, "..."]]:
    """The Gaussian pyramid: the array itself, then ``levels`` times half of the last."""
    pyramid = [values]
    for _ in range(levels):
        pyramid.append(np.asarray(cv2.pyrDown(pyramid[-1]), dtype=np.float32))
    return pyramid


def _finished(values: Float32[np.ndarray, "h w 3"], background: Image, alpha: Mask) -> Image:
    """Bytes, with the background put back wherever alpha is 0."""
    if not np.isfinite(values).all():
        raise BlendError("blend: the result has values that are not finite; expected finite images and alpha 0..1")
    result = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.asarray(np.where((alpha > 0)[..., None], result, background), dtype=np.uint8)


def _extent(used: Bool[np.ndarray, "n"]) -> slice:
    """First to last true entry, and one more on each side."""
    (where,) = np.nonzero(used)
    return slice(max(0, int(where[0]) - 1), int(where[-1]) + 2)


def _step_divergence(
    difference: Float32[np.ndarray, "h w c"], alpha: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w c"]:
    """Divergence of the gradient that the change of alpha adds to the feathered picture: what the drift has to undo."""
    divergence = np.zeros_like(difference)
    for axis in (0, 1):
        steps = np.diff(alpha, axis=axis)[..., None]
        ahead, behind = np.s_[1:], np.s_[:-1]
        first, second = (behind, ahead) if axis == 0 else ((slice(None), behind), (slice(None), ahead))
        flow = steps * (difference[first] + difference[second]) / 2
        divergence[first] += flow
        divergence[second] -= flow
    return divergence


def _solve(
    divergence: Float32[np.ndarray, "h w c"],
    inside: Float32[np.ndarray, "h w"],
    screen: float,
    *,
    tolerance: float,
    cycles_max: int,
) -> Float32[np.ndarray, "h w c"]:
    """The u with ``(-laplacian + screen) u = divergence`` inside and u = 0 outside, by multigrid."""
    height, width = inside.shape
    depth = max(0, int(np.log2(min(height, width))) - 2)
    pad = ((0, -height % 2**depth), (0, -width % 2**depth))
    wanted = np.pad(divergence * inside[..., None], (*pad, (0, 0)))
    masks = [np.pad(inside, pad)[..., None]]
    for _ in range(depth):
        # a coarse cell takes part where most of it is inside
        masks.append((_halved(masks[-1]) > 0.5).astype(np.float32))
    u, best, least = np.zeros_like(wanted), np.zeros_like(wanted), np.inf
    for _ in range(cycles_max):
        u = _cycle(u, wanted, masks, screen)
        worst = float(np.abs(_residual(u, wanted, masks[0], screen)).max())
        if worst <= tolerance:
            return np.ascontiguousarray(u[:height, :width])
        if not worst < _STALLED * least:
            break
        best, least = u, worst
    # a ragged mask has no likeness on coarser grids, so that cycles stall or diverge; what follows is slow and certain
    u, worst = _descended(best, wanted, masks[0], screen, tolerance=tolerance, steps_max=_STEPS * (height + width))
    if worst <= tolerance:
        return np.ascontiguousarray(u[:height, :width])
    raise BlendError(
        f"poisson blend: not solved on {height}x{width} px "
        f"(residual {worst:.3g} levels, expected at most {tolerance:.3g}); use --blend multiband"
    )


_NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32)
_DAMPING = 0.8  # what smooths the 5-point Laplacian best
_STALLED = 0.9  # a cycle that leaves more than this of the residual gets nowhere
_STEPS = 10  # most conjugate gradient steps / (height + width)


def _descended(
    u: _Grid, wanted: _Grid, mask: _Cover, screen: float, *, tolerance: float, steps_max: int
) -> tuple[_Grid, float]:
    """The same by conjugate gradients, each channel with its own steps; and the largest residual that is left.

    Source: Hestenes & Stiefel, "Methods of conjugate gradients for solving linear systems", 1952.
    """
    left = _residual(u, wanted, mask, screen)
    along, nothing = left, np.zeros_like(left)
    size = np.square(left, dtype=np.float64).sum((0, 1))
    for _ in range(steps_max):
        if np.abs(left).max() <= tolerance:
            break
        image = -_residual(along, nothing, mask, screen)
        step = size / np.maximum((along.astype(np.float64) * image).sum((0, 1)), 1e-30)
        stride = step.astype(np.float32)
        u, left = u + stride * along, left - stride * image
        before, size = size, np.square(left, dtype=np.float64).sum((0, 1))
        along = left + (size / np.maximum(before, 1e-30)).astype(np.float32) * along
    return u, float(np.abs(_residual(u, wanted, mask, screen)).max())


def _cycle(u: _Grid, wanted: _Grid, masks: list[Float32[np.ndarray, "_ _ 1"]], screen: float) -> _Grid:
    """One V cycle: smooth, solve for the error on half the grid, smooth again."""
    coarsest = len(masks) == 1
    u = _smoothed(u, wanted, masks[0], screen, times=24 if coarsest else 2)
    if coarsest:
        return u
    # twice the spacing: four times the screen and the right-hand side, in units of the grid
    residual = 4 * _halved(_residual(u, wanted, masks[0], screen)) * masks[1]
    error = _cycle(np.zeros_like(residual), residual, masks[1:], 4 * screen)
    height, width = u.shape[:2]
    u = u + _grid(cv2.resize(error, (width, height), interpolation=cv2.INTER_LINEAR)) * masks[0]
    return _smoothed(u, wanted, masks[0], screen, times=2)


def _smoothed(u: _Grid, wanted: _Grid, mask: _Cover, screen: float, *, times: int) -> _Grid:
    """Damped Jacobi steps."""
    step = mask * (_DAMPING / (4 + screen))
    for _ in range(times):
        u = u + step * _residual(u, wanted, mask, screen)
    return u


def _residual(u: _Grid, wanted: _Grid, mask: _Cover, screen: float) -> _Grid:
    """What is missing of the equation, 0 outside."""
    neighbours = _grid(cv2.filter2D(u, cv2.CV_32F, _NEIGHBOURS, borderType=cv2.BORDER_CONSTANT))
    return np.asarray((wanted + neighbours - (4 + screen) * u) * mask, dtype=np.float32)


def _halved(values: _Grid) -> Float32[np.ndarray, "half_h half_w c"]:
    """Means of 2 x 2 blocks; both sides even."""
    height, width = values.shape[:2]
    return _grid(cv2.resize(values, (width // 2, height // 2), interpolation=cv2.INTER_AREA))


def _grid(values: cv2.typing.MatLike) -> Float32[np.ndarray, "_ _ _"]:
    """With the channel axis that OpenCV drops for single channels."""
    return np.asarray(values, dtype=np.float32).reshape(*values.shape[:2], -1)
