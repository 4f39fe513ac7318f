"""Picture quality inside a mask: sharpness, exposure, noise, and bringing one picture's to another's."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32

from intracoder.ops.color import LUMA
from intracoder.records import Image, Mask

_LUMA = LUMA.astype(np.float32)
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_IMMERKAER_GAIN = 6.0  # deviation of the kernel's answer to white noise of deviation 1
_LAPLACIAN_NOISE = 20.0  # energy of the 5-point Laplacian's answer to white noise of deviation 1
_GRADIENT_NOISE = 1.0  # the same of both central differences together
_MID_SIGMA_PX = 2.0
_BLUR_MAX_PX = 8.0
_EDGE_SHARE = 0.006  # of the side: deviation of the blur that sharpening takes off, 1.5 px in a crop of 256
_SHARPEN_MAX = 0.8
"""Most of what is finer that sharpening adds once more: beyond, edges get rims."""


def sharpness(image: Image, mask: Mask) -> float:
    """Deviation of the Laplacian over the deviation of luma, inside the mask; noise is taken off.

    Brightness and contrast of the picture cancel. About 0.2 for a crisp face in a 256 px crop, 0.03 for one blurred by
    2 px, 0 where the mask is empty or the picture flat. Depends on the size it is shown at: compare crops of one size.
    """
    luma = _luma(image)
    laplacian = cv2.Laplacian(luma, cv2.CV_32F, ksize=1)
    energy = _mean(laplacian**2, mask) - _LAPLACIAN_NOISE * noise_level(image, mask) ** 2
    mean = _mean(luma, mask)
    variance = _mean((luma - mean) ** 2, mask)
    return float(np.sqrt(max(energy, 0.0) / variance)) if variance > 1e-2 else 0.0


def exposure(image: Image, mask: Mask) -> float:
    """Mean luma (sRGB-encoded, 0 black .. 1 white) inside the mask; 0 where the mask is empty."""
    return _mean(_luma(image), mask) / 255.0


def noise_level(image: Image, mask: Mask) -> float:
    """Deviation of white luma noise inside the mask, in levels of 255; 0 where the mask is empty.

    The median instead of the mean keeps edges and texture from counting as noise.

    Source: Immerkaer, "Fast noise variance estimation", CVIU 64(2), 1996; median deviation as in Donoho, 1995.
    """
    response = np.abs(cv2.filter2D(_luma(image), cv2.CV_32F, _IMMERKAER))[mask > 0.5]
    return float(np.median(response)) / 0.6745 / _IMMERKAER_GAIN if response.size else 0.0


def matching_blur(image: Image, reference: Image, mask: Mask) -> float:
    """Sigma (px) of the Gaussian that makes ``image`` as soft as ``reference`` inside the mask; 0 where it is softer.

    Compares each picture's gradient energy with its own energy after a fixed blur. That ratio falls with blur but,
    unlike plain energy, hardly knows contrast, light or how much there is to see (beard against bare skin). Noise is
    taken off. At most 8 px. Smooth it over a clip where flicker matters.

    Source: the re-blur ratio of Zhuo & Sim, Pattern Recognition 44(9), 2011, taken over areas rather than edges.
    """
    wanted = _fineness(_luma(reference), mask, noise_level(reference, mask))
    luma, noise = _luma(image), noise_level(image, mask)
    if wanted is None:
        return 0.0
    low, high = 0.0, _BLUR_MAX_PX
    start = _fineness(luma, mask, noise)
    if start is None or start <= wanted:
        return 0.0
    for _ in range(9):
        middle = (low + high) / 2
        # blur takes white noise down with 1 / (2 sigma sqrt(pi)); the bound is for sigmas under a pixel
        left = noise * min(1.0, 1 / (2 * np.sqrt(np.pi) * middle))
        now = _fineness(cv2.GaussianBlur(luma, (0, 0), middle), mask, left)
        low, high = (middle, high) if now is not None and now > wanted else (low, middle)
    return (low + high) / 2


def matching_sharpening(image: Image, reference: Image, mask: Mask) -> float:
    """How much unsharp masking makes ``image`` as fine as ``reference`` inside the mask, 0..0.8; 0 where it is finer.

    Measured as in ``matching_blur``.
    """
    wanted = _fineness(_luma(reference), mask, noise_level(reference, mask))
    luma, noise = _luma(image), noise_level(image, mask)
    start = _fineness(luma, mask, noise)
    if wanted is None or start is None or start >= wanted:
        return 0.0
    finer = luma - cv2.GaussianBlur(luma, (0, 0), _EDGE_SHARE * len(image))
    low, high = 0.0, _SHARPEN_MAX
    for _ in range(5):
        middle = (low + high) / 2
        now = _fineness(luma + np.float32(middle) * finer, mask, (1 + middle) * noise)
        low, high = (middle, high) if now is not None and now < wanted else (low, middle)
    return (low + high) / 2


def sharpen(image: Image, amount: float) -> Image:
    """``image`` with what is finer than 0.6 % of its side added once more, times ``amount``; 0 changes nothing.

    Source: unsharp masking.
    """
    if amount <= 0.02:
        return image
    values = image.astype(np.float32)
    finer = values - cv2.GaussianBlur(values, (0, 0), _EDGE_SHARE * len(image))
    return np.asarray(np.clip(np.rint(values + np.float32(amount) * finer), 0, 255), dtype=np.uint8)


def soften(image: Image, sigma_px: float) -> Image:
    """``image`` under a Gaussian blur; 0 changes nothing."""
    if sigma_px <= 0.05:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px), dtype=np.uint8)


def add_grain(image: Image, deviation: float, seed: int) -> Image:
    """``image`` with white luma noise of a deviation in levels; the same for the same seed."""
    if deviation <= 0:
        return image
    grain = np.random.default_rng(seed).standard_normal(image.shape[:2], dtype=np.float32) * np.float32(deviation)
    return np.asarray(np.clip(np.rint(image + grain[..., None]), 0, 255), dtype=np.uint8)


def match_sharpness(image: Image, reference: Image, mask: Mask, seed: int) -> Image:
    """``image`` brought to the sharpness, and up to the grain, that ``reference`` has inside the mask.

    Sharpens within limits and never cleans. Give the frame's index as the seed: grain that moves from frame to frame as
    a sensor's does, and repeats exactly from run to run.
    """
    alike = soften(image, matching_blur(image, reference, mask))
    alike = sharpen(alike, matching_sharpening(alike, reference, mask))
    wanted, present = noise_level(reference, mask), noise_level(alike, mask)
    missing = np.sqrt(max(wanted**2 - present**2, 0.0))
    # under half a level the encoder removes it again
    return add_grain(alike, missing, seed) if missing > 0.5 else alike


def _luma(image: Image) -> Float32[np.ndarray, "h w"]:
    """Rec. 709 luma in levels."""
    return np.asarray(image.astype(np.float32) @ _LUMA, dtype=np.float32)


def _mean(values: Float32[np.ndarray, "h w"], mask: Mask) -> float:
    """Weighted mean; 0 for an empty mask."""
    total = float(mask.sum())
    return float((values * mask).sum()) / total if total > 0 else 0.0


def _fineness(luma: Float32[np.ndarray, "h w"], mask: Mask, noise: float) -> float | None:
    """Gradient energy over gradient energy after a blur; None where there is nothing to measure."""
    fine = _gradient_energy(luma, mask) - _GRADIENT_NOISE * noise**2
    mid = _gradient_energy(cv2.GaussianBlur(luma, (0, 0), _MID_SIGMA_PX), mask)
    return max(fine, 0.0) / mid if mid > 1e-3 else None


def _gradient_energy(luma: Float32[np.ndarray, "h w"], mask: Mask) -> float:
    """Mean squared gradient (central differences), levels per pixel."""
    dx, dy = cv2.Sobel(luma, cv2.CV_32F, 1, 0, ksize=1), cv2.Sobel(luma, cv2.CV_32F, 0, 1, ksize=1)
    return _mean((dx**2 + dy**2) / 4, mask)
