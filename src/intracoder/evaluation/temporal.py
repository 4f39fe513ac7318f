"""How steady a clip is, measured against another clip of the same performance."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from intracoder.evaluation.image_metrics import luma, masked_mean
from intracoder.records import Image, Mask

VALID_MIN = 0.3
"""Frame pairs whose flow agrees with itself on a smaller part of the face are cuts and not measured."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flow:
    """Where each pixel of a frame was in the frame before."""

    xy: Float32[np.ndarray, "h w 2"]
    """Displacement current to previous, pixels."""
    valid: Mask
    """1 where forward and backward flow agree: not occluded."""


def backward_flow(current: Image, previous: Image) -> Flow:
    """Flow of ``current`` to ``previous`` with its occlusion check; measured on the target, used on every clip.

    Source: Kroeger, Timofte, Dai & Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016 (OpenCV);
    occlusion check of Sundaram, Brox & Keutzer, ECCV 2010, as in Lai et al., ECCV 2018.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    a, b = luma(current).round().astype(np.uint8), luma(previous).round().astype(np.uint8)
    height, width = a.shape
    back = np.asarray(dis.calc(a, b, np.zeros((height, width, 2), np.float32)), dtype=np.float32)
    forth = np.asarray(dis.calc(b, a, np.zeros((height, width, 2), np.float32)), dtype=np.float32)
    returned = cv2.remap(forth, *_grid(back), cv2.INTER_LINEAR)
    mismatch = ((back + returned) ** 2).sum(axis=2)
    bound = 0.01 * ((back**2).sum(axis=2) + (returned**2).sum(axis=2)) + 0.5
    return Flow(xy=back, valid=(mismatch <= bound).astype(np.float32))


def warp_error(current: Image, previous: Image, flow: Flow, mask: Mask) -> float | None:
    """Mean squared difference, levels², of ``current`` and ``previous`` moved along ``flow``, on valid mask pixels.

    None where less than VALID_MIN of the mask has valid flow.

    Source: Lai et al., "Learning Blind Video Temporal Consistency", ECCV 2018, equation 6.
    """
    weight = np.asarray(mask * flow.valid, dtype=np.float32)
    if float(weight.sum()) < VALID_MIN * float(mask.sum()) or mask.sum() <= 0:
        return None
    moved = cv2.remap(previous.astype(np.float32), *_grid(flow.xy), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    squared = ((current.astype(np.float32) - moved) ** 2).mean(axis=2)
    return masked_mean(np.asarray(squared, dtype=np.float32), weight)


def _grid(flow: Float32[np.ndarray, "h w 2"]) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """The positions that ``flow`` points to, as cv2.remap wants them."""
    height, width = flow.shape[:2]
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    return xx + flow[..., 0], yy + flow[..., 1]


def acceleration(points: Float32[np.ndarray, "n p d"]) -> Float64[np.ndarray, "n"]:
    """Squared second difference of 2-D landmarks over time, mean over landmarks, in squared eye distances.

    Frame i looks at i-1, i, i+1; the first and last frame and neighbours of missing ones are NaN. Eye distance is the
    clip's median distance of the outer eye corners (landmarks 33 and 263).
    """
    xy = points[..., :2].astype(np.float64)
    side = np.nanmedian(np.linalg.norm(xy[:, 33] - xy[:, 263], axis=1))
    squared = np.full(len(points), np.nan)
    second = xy[2:] - 2 * xy[1:-1] + xy[:-2]
    squared[1:-1] = (second**2).sum(axis=2).mean(axis=1) / side**2
    return squared
