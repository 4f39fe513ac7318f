"""A person's complexion: how much lighter, darker or redder than bare skin each point of a face is, in any light.

A beard, lips or freckled cheeks are the person's; what a nose or a lamp shades is the light's. In one picture the two
can't be told apart, but when a head turns, light moves over the face while complexion moves with it. Where a swapped
face takes over the target's light by comparing the two faces' low frequencies, it would take over the target's stubble
too and lose its own beard: with both complexions known, only light is compared.

Source: a random effect for each point beside a common light, generalised least squares: Laird & Ware, "Random-effects
models for longitudinal data", Biometrics 38(4), 1982; the light: see ``ops.relight``.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from intracoder.ops.color import LUMA, encoded, linear_light
from intracoder.ops.mask import skin_mask
from intracoder.ops.mesh import point_normals, spread_over
from intracoder.ops.relight import harmonics
from intracoder.ops.topology import SURFACE_COUNT, canonical_points, face_mesh
from intracoder.records import Complexion, Crops, Image, Points

ENOUGH_FRAMES: Final = 40
"""Frames, spread over the footage, that a complexion is measured from; more of the same clip say little more."""
_SPOT: Final = 0.015
"""Deviation of the blur under which a point's colour is read, fraction of the crop's side."""
_DARKEST: Final = 2e-3
"""Least light that is counted: under it there is noise."""
_GRAZING: Final = 0.15
"""Cosine to the viewer under which a point is not read."""
_SKIN, _ELSEWHERE = 0.12, 0.5
"""Deviation of complexion on bare skin, and where hair may grow or lips are; natural logarithm."""
_NOISE: Final = 0.08
"""Deviation of a single reading from light and complexion: shine, cast shadows, hair that moves."""
_HARDLY_SEEN: Final = 0.08
"""Frames, by how openly a point faces the viewer, at which it is taken half for what it shows and half for skin."""
_LIGHT: Final = 0.3
"""Deviation of a light's terms."""
_ROUNDS: Final = 3
"""Of fitting light and then doubting what does not fit it."""
_AMBIGUOUS: Final = 0.4
"""Share that is kept of a difference which a light could make as well."""
_ODD: Final = 0.15
"""Difference from what light could make at which a point counts half: a beard says nothing of light."""
_ELSEWHERE_COUNTS: Final = 0.2
"""What other points count beside bare skin, where it is asked what light could make."""
_RIDGE: Final = 0.02
"""Pull of every slope of such a light towards even light, in units of the points' own weight."""
_MOST: Final = 1.0
"""Most that a change lightens or darkens, natural logarithm."""
_SMOOTH: Final = 1 / 60
"""Deviation of the blur over a painted change, fraction of the crop's side: the mesh's triangles shall not show."""


def measure_complexion(
    crops: Crops | Sequence[Image], points: Sequence[Points] | Float32[np.ndarray, "n 478 3"]
) -> Complexion:
    """One person's complexion from crops with their landmarks (crop pixels, depth included), at least one.

    The more the head turns, the better; a single picture gives what no light explains. ENOUGH_FRAMES are enough.
    """
    normals = np.stack([point_normals(row) for row in points])
    seen = np.log(np.stack([_read(crop, row) for crop, row in zip(crops, points, strict=True)]))
    open_to_view = np.clip(-normals[..., 2] - _GRAZING, 0.0, 1.0)
    terms = harmonics(normals.astype(np.float32)).astype(np.float64)[..., 1:]
    weights, left = open_to_view, seen
    for _ in range(_ROUNDS):
        light, level = _light(seen, terms, weights)
        left = seen - terms @ light - level
        own = _mean(left, weights)
        weights = open_to_view / (1 + ((left - own) ** 2).mean(axis=-1) / (2 * _NOISE) ** 2)
    known = weights.sum(axis=0)[:, None]
    own = _mean(left, weights) * known / (known + _HARDLY_SEEN)  # what is hardly seen is taken for skin
    return np.asarray(own - _on_skin(own), dtype=np.float64)


def complexion_change(wanted: Complexion, present: Complexion) -> Complexion:
    """What has to be added to one complexion to get another, without most of what may be light in either.

    Source: iteratively reweighted least squares with Cauchy weights, Holland & Welsch, Comm. Statist. A6(9), 1977.
    """
    difference = wanted - present
    terms, skin = _frontal_terms(), _skin_share()
    weights = np.clip(-_frontal_normals()[:, 2], 0, 1) * (_ELSEWHERE_COUNTS + skin)
    trust, lightlike = np.ones(len(difference)), np.zeros_like(difference)
    for _ in range(_ROUNDS + 1):
        scaled = terms * (weights * trust)[:, None]
        ridge = _RIDGE * (weights * trust).sum() * np.diag([0.0] + [1.0] * 8)
        lightlike = terms @ np.linalg.solve(scaled.T @ terms + ridge, scaled.T @ difference)
        trust = 1 / (1 + ((difference - lightlike) ** 2).mean(axis=1) / _ODD**2)
    kept = difference - (1 - _AMBIGUOUS) * lightlike
    return np.asarray(np.clip(kept - _skin_level(kept, trust), -_MOST, _MOST))


def with_complexion(image: Image, points: Points, change: Complexion) -> UInt8[np.ndarray, "s s 3"]:
    """A square crop whose face is lightened and darkened by ``change``, in linear light.

    Args:
        image: The crop, s px.
        points: Where the changed complexion's points lie, crop pixels, depth included.
        change: From ``complexion_change``.
    """
    size = len(image)
    gain = cv2.GaussianBlur(spread_over(points, change.astype(np.float32), size), (0, 0), size * _SMOOTH)
    lit = np.clip(linear_light(image) * np.exp(gain), 0.0, 1.0)
    return np.asarray(np.rint(encoded(lit) * 255), dtype=np.uint8)


def _read(crop: Image, points: Points) -> Float64[np.ndarray, "468 3"]:
    """The light that comes from each point."""
    size = len(crop)
    light = cv2.GaussianBlur(linear_light(crop).astype(np.float32), (0, 0), size * _SPOT)
    x, y = points[:SURFACE_COUNT, :2].astype(np.float32).T
    read = cv2.remap(light, x[None], y[None], cv2.INTER_LINEAR)[0]
    return np.asarray(np.maximum(read, _DARKEST), dtype=np.float64)


def _light(
    seen: Float64[np.ndarray, "n 468 3"], terms: Float64[np.ndarray, "n 468 8"], weights: Float64[np.ndarray, "n 468"]
) -> tuple[Float64[np.ndarray, "8 3"], Float64[np.ndarray, "3"]]:
    """The light's terms and the skin's level, logarithmic.

    How a point's reading moves as the head turns tells of light alone. Where its mean lies tells of it only as far as
    complexion is even there.
    """
    count = weights.sum(axis=0) + 1e-6
    mean_terms, mean_seen = _mean(terms, weights), _mean(seen, weights)
    root = np.sqrt(weights)[..., None]
    moved, answer = ((terms - mean_terms) * root).reshape(-1, 8), ((seen - mean_seen) * root).reshape(-1, 3)
    known = np.where(count > 0.5, 1 / (_deviation() ** 2 + _NOISE**2 / np.maximum(count, 0.5)), 0.0)
    fixed = np.concatenate([np.ones((len(count), 1)), mean_terms], axis=1)
    squared = (fixed * known[:, None]).T @ fixed
    right = (fixed * known[:, None]).T @ mean_seen
    squared[1:, 1:] += moved.T @ moved / _NOISE**2 + np.eye(8) / _LIGHT**2
    right[1:] += moved.T @ answer / _NOISE**2
    solved = np.linalg.solve(squared + 1e-9 * np.eye(9), right)
    return solved[1:], solved[0]


def _mean(
    values: Float64[np.ndarray, "n 468 c"], weights: Float64[np.ndarray, "n 468"]
) -> Float64[np.ndarray, "468 c"]:
    return np.asarray(np.einsum("npc,np->pc", values, weights) / (weights.sum(axis=0)[:, None] + 1e-6))


def _on_skin(values: Float64[np.ndarray, "468 3"]) -> Float64[np.ndarray, "3"]:
    """Mean over bare skin."""
    skin = _skin_share()
    return np.asarray(skin @ values / skin.sum())


def _skin_level(change: Float64[np.ndarray, "468 3"], trust: Float64[np.ndarray, "468"]) -> Float64[np.ndarray, "3"]:
    """What a change does to bare skin, so that it can be taken off.

    Its colour is the mean over points, most of which lie about nose and eyes. How bright somebody looks is judged by
    area, though, and a beard that reaches onto the cheeks is no skin.
    """
    level = _on_skin(change)
    weights = _skin_share() * _areas() * trust
    brightness = (weights @ change / weights.sum() - level) @ LUMA
    return np.asarray(level + brightness)


def _deviation() -> Float64[np.ndarray, "468"]:
    """Of complexion from bare skin's, at each point."""
    skin = _skin_share()
    return np.asarray(_SKIN * skin + _ELSEWHERE * (1 - skin))


@functools.cache
def _frontal() -> Float32[np.ndarray, "468 3"]:
    """The canonical face, seen from the front, in a crop of 256 px."""
    canonical = canonical_points()
    low, high = canonical.min(axis=0), canonical.max(axis=0)
    return np.asarray((canonical - (low + high) / 2) * (200 / (high - low)[:2].max()) + 127.5, dtype=np.float32)


@functools.cache
def _skin_share() -> Float64[np.ndarray, "468"]:
    """How much bare skin lies at each point, 0..1."""
    face = _frontal()
    mask = skin_mask(face, 256)
    x, y = face[:, :2].T
    return np.asarray(cv2.remap(mask, x[None], y[None], cv2.INTER_LINEAR)[0], dtype=np.float64)


@functools.cache
def _areas() -> Float64[np.ndarray, "468"]:
    """How much of the face seen from the front belongs to each point, square pixels of a crop of 256."""
    triangles = face_mesh().triangles
    first, second, third = (_frontal()[triangles[:, corner], :2].astype(np.float64) for corner in range(3))
    (x1, y1), (x2, y2) = (second - first).T, (third - first).T
    areas = np.zeros(SURFACE_COUNT)
    np.add.at(areas, triangles, np.abs(x1 * y2 - y1 * x2)[:, None] / 6)
    return areas


@functools.cache
def _frontal_normals() -> Float64[np.ndarray, "468 3"]:
    return point_normals(_frontal())


@functools.cache
def _frontal_terms() -> Float64[np.ndarray, "468 9"]:
    return np.asarray(harmonics(_frontal_normals().astype(np.float32)), dtype=np.float64)
