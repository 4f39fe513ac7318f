"""Colour: spaces, differences, and matchers that give an image the colours of a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from intracoder.records import Image, Mask

LUMA: Final = np.array([0.2126, 0.7152, 0.0722])
"""What red, green and blue add to brightness. Source: ITU-R BT.709."""

_RGB_TO_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
_LMS_TO_LAB = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1.0, 1, 1], [1, 1, -2], [1, -1, 0]])
_LMS_FLOOR = 1e-4  # a third of the darkest sRGB level above black; keeps the logarithm finite

_GAIN_MAX = 8.0  # three stops: beyond, there is noise rather than a face to be seen

_LOW = 0.13
"""Width of the low-pass of ``match_low_frequencies``, in units of the square root of the mask's area."""

_ENCODED = np.arange(256) / 255.0
_LINEAR_OF_BYTE = np.where(_ENCODED <= 0.04045, _ENCODED / 12.92, ((_ENCODED + 0.055) / 1.055) ** 2.4)


def rgb_to_lab(image: Image) -> Float32[np.ndarray, "h w 3"]:
    """CIELAB (D65; L 0..100, a and b about -128..127) of an sRGB image."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), dtype=np.float32)


def lab_to_rgb(lab: Float32[np.ndarray, "h w 3"]) -> Image:
    """The sRGB image of CIELAB values; colours outside sRGB are clipped."""
    return _to_image(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB) * 255.0)


def rgb_to_lab_ruderman(image: Image) -> Float64[np.ndarray, "h w 3"]:
    """Decorrelated log cone space l, alpha, beta of an sRGB image (base-10 logarithm of linear light).

    Source: Ruderman, Cronin & Chiao, JOSA A 15(8), 1998; matrices of Reinhard et al., IEEE CG&A 21(5), 2001, eq. 4-6.
    """
    lms = _LINEAR_OF_BYTE[image] @ _RGB_TO_LMS.T
    return np.asarray(np.log10(np.maximum(lms, _LMS_FLOOR)) @ _LMS_TO_LAB.T, dtype=np.float64)


def lab_ruderman_to_rgb(lab: Float64[np.ndarray, "h w 3"]) -> Image:
    """The sRGB image of l, alpha, beta values; colours outside sRGB are clipped."""
    # over 1e2 the light is far past white already: the bound only keeps extreme statistics from overflowing
    lms = 10.0 ** np.minimum(lab @ np.linalg.inv(_LMS_TO_LAB).T, 2.0)
    linear = np.clip(lms @ np.linalg.inv(_RGB_TO_LMS).T, 0.0, 1.0)
    return _to_image(encoded(linear) * 255.0)


def delta_e2000(lab_a: Float[np.ndarray, "*d 3"], lab_b: Float[np.ndarray, "*d 3"]) -> Float64[np.ndarray, "*d"]:
    """CIEDE2000 colour difference of CIELAB values, element by element; about 1 is just noticeable.

    Source: Sharma, Wu & Dalal, "The CIEDE2000 color-difference formula", Color Res. Appl. 30(1), 2005.
    """
    (l1, a1, b1), (l2, a2, b2) = (lab.reshape(-1, 3).T.astype(np.float64) for lab in (lab_a, lab_b))
    grey = 0.5 * (1 - _saturating((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2))
    a1, a2 = a1 * (1 + grey), a2 * (1 + grey)
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    is_grey = c1 * c2 == 0
    dh = np.where(is_grey, 0.0, (h2 - h1 + 180) % 360 - 180)
    # opposite hues: the formula takes +180 where h2 - h1 is exactly +180
    dh = np.where(~is_grey & (h2 - h1 == 180), 180.0, dh)
    d_l, d_c, d_h = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(dh / 2))
    l_mean, c_mean = (l1 + l2) / 2, (c1 + c2) / 2
    wraps = np.abs(h1 - h2) > 180
    h_mean = np.where(wraps, (h1 + h2 + np.where(h1 + h2 < 360, 360.0, -360.0)) / 2, (h1 + h2) / 2)
    h_mean = np.where(is_grey, h1 + h2, h_mean)
    t = (
        1
        - 0.17 * np.cos(np.radians(h_mean - 30))
        + 0.24 * np.cos(np.radians(2 * h_mean))
        + 0.32 * np.cos(np.radians(3 * h_mean + 6))
        - 0.20 * np.cos(np.radians(4 * h_mean - 63))
    )
    s_l = 1 + 0.015 * (l_mean - 50) ** 2 / np.sqrt(20 + (l_mean - 50) ** 2)
    s_c, s_h = 1 + 0.045 * c_mean, 1 + 0.015 * c_mean * t
    turn = np.radians(60 * np.exp(-(((h_mean - 275) / 25) ** 2)))
    r_t = -2 * _saturating(c_mean) * np.sin(turn)
    terms = (d_l / s_l) ** 2 + (d_c / s_c) ** 2 + (d_h / s_h) ** 2 + r_t * (d_c / s_c) * (d_h / s_h)
    return np.asarray(np.sqrt(np.maximum(terms, 0.0)), dtype=np.float64).reshape(lab_a.shape[:-1])


def _saturating(chroma: Float64[np.ndarray, "n"]) -> Float64[np.ndarray, "n"]:
    """The formula's chroma weight, 0 for greys to 1 for strong colours."""
    return np.asarray(np.sqrt(chroma**7 / (chroma**7 + 25.0**7)), dtype=np.float64)


def masked_statistics(
    values: Float[np.ndarray, "h w c"], mask: Mask
) -> tuple[Float64[np.ndarray, "c"], Float64[np.ndarray, "c"]]:
    """Mean and standard deviation of each channel, weighted by a mask with a positive sum."""
    weight = (mask / mask.sum(dtype=np.float64)).astype(np.float64)
    mean = np.einsum("hwc,hw->c", values, weight)
    variance = np.einsum("hwc,hw->c", values.astype(np.float64) ** 2, weight) - mean**2
    return mean, np.sqrt(np.maximum(variance, 0.0))


def smooth_difference(
    image: Float32[np.ndarray, "h w c"], reference: Float32[np.ndarray, "h w c"], mask: Mask, sigma_px: float
) -> Float32[np.ndarray, "h w c"]:
    """Low frequencies of ``reference - image``, measured inside a mask and carried on smoothly outside of it.

    Source: normalised convolution, Knutsson & Westin, CVPR 1993.
    """
    height, width = mask.shape
    # a blur this wide holds nothing finer than a quarter of its sigma: computing it on a small grid is exact enough
    step = max(1, int(sigma_px / 4))
    small_wh = (max(1, width // step), max(1, height // step))
    difference = cv2.resize((reference - image) * mask[..., None], small_wh, interpolation=cv2.INTER_AREA)
    weight = cv2.resize(mask, small_wh, interpolation=cv2.INTER_AREA)
    sigma = sigma_px / step
    near = cv2.GaussianBlur(weight, (0, 0), sigma)[..., None] + 1e-3
    field = cv2.GaussianBlur(difference, (0, 0), sigma).reshape(*small_wh[::-1], -1) / near
    spread = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(spread, dtype=np.float32).reshape(image.shape)


def match_low_frequencies(image: Image, reference: Image, mask: Mask) -> Image:
    """``image`` with the reference's CIELAB low frequencies inside of ``mask``; beside it the change is carried on.

    Args:
        image: A crop.
        reference: A crop of the same window.
        mask: What is compared, 0..1; an empty one changes nothing.
    """
    area = float(mask.sum())
    if area <= 0:
        return image
    lab = rgb_to_lab(image)
    return lab_to_rgb(lab + smooth_difference(lab, rgb_to_lab(reference), mask, max(1.0, _LOW * area**0.5)))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoMatcher:
    """Leaves the colours alone."""

    def match(self, image: Image, reference: Image, image_mask: Mask, reference_mask: Mask) -> Image:
        """``image`` itself."""
        del reference, image_mask, reference_mask
        return image


@dataclass(frozen=True, slots=True, kw_only=True)
class ReinhardMatcher:
    """Gives the masked part the mean and deviation of the reference's, in the l-alpha-beta space.

    The classical global transfer. Over a whole face it also moves beard, brows and lips towards the reference's skin.

    Source: Reinhard, Ashikhmin, Gooch & Shirley, "Color transfer between images", IEEE CG&A 21(5), 2001.
    """

    def match(self, image: Image, reference: Image, image_mask: Mask, reference_mask: Mask) -> Image:
        """``image`` recoloured after ``reference``; measured where mask > 0, empty masks change nothing."""
        if image_mask.sum() <= 0 or reference_mask.sum() <= 0:
            return image
        lab = rgb_to_lab_ruderman(image)
        mean, deviation = masked_statistics(lab, image_mask)
        wanted_mean, wanted_deviation = masked_statistics(rgb_to_lab_ruderman(reference), reference_mask)
        ratio = (wanted_deviation + 1e-6) / (deviation + 1e-6)
        return lab_ruderman_to_rgb((lab - mean) * ratio + wanted_mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkinMatcher:
    """Matches skin to skin: exposure and white balance, then CIELAB statistics, then the low frequencies.

    The first step multiplies in linear light, as a lamp does: to add in CIELAB what a lamp had multiplied would turn
    the dark of eyes and nostrils into haze. Meant for masks of the skin alone (``ops.mask.skin_mask``), which compare
    like with like: no lids, brows, lips or beard. The deviation is never raised, since a flat reference says nothing
    about contrast that the image lacks, while raising it amplifies what the zones have not in common. Image and
    reference lie on one another (one crop).
    """

    deviation_min: float = 0.5
    """Least factor on the deviation."""
    deviation_slack: float = 1.5
    """How much more deviation than the reference's is let pass: faces differ by as much in the same light."""
    weight: float = 1.0
    """How much of the low-frequency difference is transferred, 0..1."""
    sigma: float = 0.25
    """Width of the low-pass, in units of the square root of the common mask's area."""

    def match(self, image: Image, reference: Image, image_mask: Mask, reference_mask: Mask) -> Image:
        """``image`` recoloured after ``reference``; measured where mask > 0, empty masks change nothing."""
        if image_mask.sum() <= 0 or reference_mask.sum() <= 0:
            return image
        lab, wanted = _lit_alike(image, reference, image_mask, reference_mask), rgb_to_lab(reference)
        mean, deviation = masked_statistics(lab, image_mask)
        wanted_mean, wanted_deviation = masked_statistics(wanted, reference_mask)
        allowed = self.deviation_slack * wanted_deviation
        ratio = np.clip((allowed + 1e-3) / (deviation + 1e-3), self.deviation_min, 1.0)
        lab = ((lab - mean) * ratio + wanted_mean).astype(np.float32)
        common = np.minimum(image_mask, reference_mask)
        area = float(common.sum())
        if area > 0 and self.weight > 0:
            lab += self.weight * smooth_difference(lab, wanted, common, max(1.0, self.sigma * area**0.5))
        return lab_to_rgb(lab)


def _lit_alike(image: Image, reference: Image, image_mask: Mask, reference_mask: Mask) -> Float32[np.ndarray, "h w 3"]:
    """CIELAB of the image under the gains in linear light that give its masked mean the reference's.

    Source: von Kries adaptation, here of sRGB's own primaries.
    """
    present, wanted = (
        np.array([np.dot(np.bincount(x[..., k].ravel(), m.ravel(), 256), _LINEAR_OF_BYTE) for k in range(3)]) / m.sum()
        for x, m in ((image, image_mask), (reference, reference_mask))
    )
    gains = np.clip((wanted + 1e-3) / (present + 1e-3), 1 / _GAIN_MAX, _GAIN_MAX)
    # a channel has 256 levels: the curve is worked out for those instead of for every pixel, and isn't rounded
    curves = encoded(np.minimum(_LINEAR_OF_BYTE[:, None] * gains, 1.0)).astype(np.float32)
    return np.asarray(cv2.cvtColor(cv2.LUT(image, curves[None]), cv2.COLOR_RGB2LAB), dtype=np.float32)


def linear_light(image: UInt8[np.ndarray, "*d 3"]) -> Float64[np.ndarray, "*d 3"]:
    """Light in proportion, 0..1, of sRGB levels."""
    return np.asarray(_LINEAR_OF_BYTE[image])


def encoded(linear: Float64[np.ndarray, "*d"]) -> Float64[np.ndarray, "*d"]:
    """The transfer curve of sRGB; 0..1 to 0..1."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def _to_image(values: Float[np.ndarray, "h w 3"]) -> Image:
    """Rounded and clipped to bytes."""
    return np.ascontiguousarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
