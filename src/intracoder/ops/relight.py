"""Light by shape: the target's light put on a face of another shape, and the face's own light taken off.

Under distant light, matt skin of one colour is a smooth function of which way it faces: nine numbers a channel hold
nearly all of it. They are measured on the bare skin of both faces; their ratio, at the swapped face's own slopes, is
the light that was missing.

Source: Ramamoorthi & Hanrahan, "An efficient representation for irradiance environment maps", SIGGRAPH 2001; ratio
images: Shashua & Riklin-Raviv, "The quotient image", PAMI 23(2), 2001.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from intracoder.ops.color import encoded, linear_light
from intracoder.ops.mesh import surface_normals
from intracoder.records import Image, Mask, Points

_RIDGE: Final = 0.02
"""Pull of every slope's coefficient towards even light, in units of the pixels' own weight."""
_ROUNDS: Final = 3
_ODD: Final = 0.15
"""Relative difference from the fit at which a pixel counts half: moles, shine and shadows aren't shading."""
_DARKEST: Final = 0.15
"""Least light of a fit, in units of the mean: outside of what was measured it may fall below zero."""
_LIMIT: Final = 0.7
"""Most change, natural logarithm."""
_COUNTED: Final = 0.05
_LEAST_PIXELS: Final = 50


class LitFace(NamedTuple):
    """A face in a crop, and where it shows what light it is in."""

    image: Image
    points: Points
    """Dense landmarks, crop pixels, depth included."""
    skin: Mask
    """Bare skin, 0..1."""


def match_light(face: LitFace, reference: LitFace, strength: float) -> Image:
    """The face's image in the reference's light, each by its own shape; unchanged where too little skin is seen.

    Args:
        face: To be lit; a square crop.
        reference: Whose light is wanted; a square crop.
        strength: 0 changes nothing, 1 all.
    """
    normals = [surface_normals(one.points, len(one.image)) for one in (face, reference)]
    present = measure_shading(face.image, normals[0], face.skin)
    wanted = measure_shading(reference.image, normals[1], reference.skin)
    if present is None or wanted is None:
        return face.image
    return relit(face.image, normals[0], present, wanted, strength)


class Shading(NamedTuple):
    """What a face's skin says of its light."""

    coefficients: Float64[np.ndarray, "9 3"]
    """Of ``harmonics``, in units of the mean light, for red, green and blue."""

    def light(self, normals: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
        """Relative light on surfaces that face along ``normals``."""
        seen = harmonics(normals) @ self.coefficients.astype(np.float32)
        return np.asarray(np.maximum(seen, np.float32(_DARKEST)), dtype=np.float32)


def harmonics(normals: Float32[np.ndarray, "*d 3"]) -> Float32[np.ndarray, "*d 9"]:
    """The spherical harmonics up to second order, without their constants, of unit vectors."""
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], axis=-1)


def measure_shading(image: Image, normals: Float32[np.ndarray, "h w 3"], skin: Mask) -> Shading | None:
    """The light on an image's skin; None where too little skin is seen.

    Source: iteratively reweighted least squares with Cauchy weights, Holland & Welsch, Comm. Statist. A6(9), 1977.
    """
    counted = skin > _COUNTED
    if np.count_nonzero(counted) < _LEAST_PIXELS:
        return None
    weight = skin[counted].astype(np.float64)
    light = linear_light(image[counted])
    mean = weight @ light / weight.sum()
    if (mean <= 0).any():
        return None
    relative, terms = light / mean, harmonics(normals[counted]).astype(np.float64)
    ridge = _RIDGE * weight.sum() * np.diag([0.0] + [1.0] * 8)
    trust = weight
    coefficients = np.zeros((9, 3))
    for _ in range(_ROUNDS):
        scaled = terms * trust[:, None]
        coefficients = np.linalg.solve(scaled.T @ terms + ridge, scaled.T @ relative)
        missed = ((relative - terms @ coefficients) ** 2).mean(axis=1)
        trust = weight / (1 + missed / _ODD**2)
    return Shading(coefficients)


def relit(
    image: Image, normals: Float32[np.ndarray, "h w 3"], present: Shading, wanted: Shading, strength: float = 1.0
) -> Image:
    """``image`` with its own light exchanged for another; brightness and colour as a whole are kept.

    Args:
        image: RGB.
        normals: Which way its surfaces face.
        present: Its own light.
        wanted: The light to put on it.
        strength: 0 changes nothing, 1 all.
    """
    change = np.log(wanted.light(normals) / present.light(normals)) * np.float32(strength)
    gain = np.exp(np.clip(change, -_LIMIT, _LIMIT))
    return np.ascontiguousarray(np.rint(encoded(np.clip(linear_light(image) * gain, 0, 1)) * 255).astype(np.uint8))
