"""What two pictures of one moment have in common: fidelity, sharpness, light, seam, changed region.

Images are RGB uint8, masks float32 0..1 of the same height and width; every function compares inside a mask, because a
swap leaves most of the picture alone and whole-picture scores are flattered by that.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from intracoder.ops.color import delta_e2000, rgb_to_lab
from intracoder.records import Image, Mask

PSNR_CAP_DB = 80.0
"""Reported for identical pictures; an 8-bit picture can't come nearer without being identical."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def luma(image: Image) -> Float32[np.ndarray, "h w"]:
    """Rec. 601 luma of gamma-encoded RGB, 0..255."""
    return np.asarray(image.astype(np.float32) @ _LUMA, dtype=np.float32)


def masked_mean(values: Float32[np.ndarray, "h w"], mask: Mask) -> float | None:
    """Mean of ``values`` weighted by ``mask``, None where the mask is empty."""
    weight = float(mask.sum(dtype=np.float64))
    return float((values * mask).sum(dtype=np.float64) / weight) if weight > 0 else None


def face_side(mask: Mask) -> float:
    """Side of the square that has the mask's area, pixels: the length that other lengths are scaled by."""
    return float(np.sqrt(mask.sum(dtype=np.float64)))


def eroded(mask: Mask, fraction: float) -> Mask:
    """``mask`` without an edge of ``fraction`` of its side, so that its border does not enter a measurement."""
    width = 2 * max(1, round(fraction * face_side(mask))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    return np.asarray(cv2.erode(mask, kernel, borderValue=0.0), dtype=np.float32)


def dilated(mask: Mask, fraction: float) -> Mask:
    """``mask`` grown by ``fraction`` of its side."""
    width = 2 * max(1, round(fraction * face_side(mask))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    return np.asarray(cv2.dilate(mask, kernel), dtype=np.float32)


def psnr_db(image: Image, reference: Image, mask: Mask) -> float | None:
    """Peak signal-to-noise ratio inside ``mask``, decibel, at most PSNR_CAP_DB."""
    difference = image.astype(np.float32) - reference.astype(np.float32)
    error = masked_mean(np.asarray((difference**2).mean(axis=2), dtype=np.float32), mask)
    if error is None:
        return None
    return float(min(PSNR_CAP_DB, 10 * np.log10(255.0**2 / max(error, 1e-12))))


NOISE_TAIL = 10.0
"""The 99th percentile of an encoder's errors is at most this many times their median; more is something else."""


def ssim(image: Image, reference: Image, mask: Mask) -> float | None:
    """Structural similarity of luma averaged over ``mask``, -1..1.

    Source: Wang, Bovik, Sheikh & Simoncelli, IEEE TIP 13(4), 2004: Gaussian window of sigma 1.5, K1 0.01, K2 0.03.
    """
    a, b = luma(image), luma(reference)

    def blurred(values: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), dtype=np.float32)

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    covariance = blurred(a * b) - mean_a * mean_b
    score = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    score /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return masked_mean(score.astype(np.float32), mask)


def detail_level(image: Image, mask: Mask) -> float | None:
    """Strength of the finest details: root mean square of luma's Laplacian inside ``mask``, eroded by 5 %."""
    laplacian = np.asarray(cv2.Laplacian(luma(image), cv2.CV_32F), dtype=np.float32)
    energy = masked_mean(laplacian**2, eroded(mask, 0.05))
    return None if energy is None else float(np.sqrt(energy))


def light_error(image: Image, reference: Image, mask: Mask) -> float | None:
    """Mean CIE76 difference of the low-frequency Lab fields inside ``mask``; 0 is the same light and colour.

    The field is Lab averaged by a Gaussian of an eighth of the face's side, inside the mask only.
    """
    if mask.sum() <= 0:
        return None
    sigma = face_side(mask) / 8
    weight = cv2.GaussianBlur(mask, (0, 0), sigma) + np.float32(1e-4)
    difference = (rgb_to_lab(image) - rgb_to_lab(reference)) * mask[..., None]
    field = cv2.GaussianBlur(difference, (0, 0), sigma) / weight[..., None]
    return masked_mean(np.asarray(np.linalg.norm(field, axis=2), dtype=np.float32), mask)


def changed_region(output: Image, target: Image, face: Mask) -> Mask:
    """Where ``output`` differs from ``target`` at the ``face``: one convex region, 0 or 1; empty for a copy.

    The threshold lies above what the encoder changed outside the face, and above 4 levels of 255. The region is made
    convex because a good swap leaves patches of skin as they were. What changed apart from the face, such as a label
    beside the chin, neither belongs to it nor raises the threshold.
    """
    difference = np.abs(output.astype(np.float32) - target.astype(np.float32)).mean(axis=2)
    difference = cv2.GaussianBlur(difference, (0, 0), 1.0)
    outside = difference[dilated(face, 0.25) < 0.5]
    noise = min(float(np.percentile(outside, 99)), NOISE_TAIL * float(np.median(outside))) if outside.size else 0.0
    changed = (difference > max(4.0, 1.5 * noise)).astype(np.uint8)
    width = 2 * max(1, round(0.03 * face_side(face))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    changed = cv2.morphologyEx(changed, cv2.MORPH_OPEN, kernel) * (dilated(face, 0.25) > 0.5)
    _, parts = cv2.connectedComponents(changed)
    at_face = np.unique(parts[(face > 0.5) & (changed > 0)])
    filled = np.zeros(changed.shape, np.uint8)
    points = cv2.findNonZero(np.isin(parts, at_face).astype(np.uint8))
    if points is not None:
        cv2.fillConvexPoly(filled, cv2.convexHull(points), 1)
    return filled.astype(np.float32)


def seam_excess(output: Image, reference: Image, region: Mask) -> float | None:
    """How much more ``output`` changes across the contour of ``region`` than ``reference`` does there, CIEDE2000.

    At each point of the contour (the region's 0.5 level) its two sides, 3 % of the region's side away each, are
    compared; what the reference differs there itself (silhouettes, hairlines) is subtracted, and what remains above 0
    is averaged. A step that is missing elsewhere (a lost silhouette) makes no seam better. None without a contour.
    """
    inside = (region > 0.5).astype(np.uint8)
    if not inside.any() or inside.all():
        return None
    step = max(2.0, 0.03 * face_side(inside.astype(np.float32)))
    ends = _contour_sides(inside, step)
    if not len(ends[0]):
        return None
    steps = []
    for image in (output, reference):
        lab = cv2.GaussianBlur(rgb_to_lab(image), (0, 0), max(0.8, step / 4))
        sides = [cv2.remap(lab, e[:, None, 0], e[:, None, 1], cv2.INTER_LINEAR)[:, 0] for e in ends]
        inner, outer = (np.asarray(side, dtype=np.float32) for side in sides)
        steps.append(delta_e2000(inner, outer))
    return float(np.maximum(steps[0] - steps[1], 0.0).mean())


def _contour_sides(
    inside: UInt8[np.ndarray, "h w"], step: float
) -> tuple[Float32[np.ndarray, "n 2"], Float32[np.ndarray, "n 2"]]:
    """Points ``step`` pixels inside and outside of the contour of ``inside``, pairwise; both within the picture."""
    signed = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    signed = np.asarray(cv2.GaussianBlur(signed, (0, 0), 2.0), dtype=np.float32)
    slope = np.dstack([cv2.Sobel(signed, cv2.CV_32F, 1, 0), cv2.Sobel(signed, cv2.CV_32F, 0, 1)])
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    xy = np.concatenate(contours)[:, 0].astype(np.float32)
    normal = slope[xy[:, 1].astype(int), xy[:, 0].astype(int)]
    normal = normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-6)
    inner, outer = xy + step * normal, xy - step * normal
    limit = np.array(inside.shape[::-1]) - 1
    kept = ((inner >= 0) & (inner <= limit) & (outer >= 0) & (outer <= limit)).all(axis=1)
    return inner[kept].astype(np.float32), outer[kept].astype(np.float32)


def mask_iou(mask: Mask, reference: Mask) -> float | None:
    """Intersection over union of two soft masks cut at 0.5; None where both are empty."""
    a, b = mask > 0.5, reference > 0.5
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else None
