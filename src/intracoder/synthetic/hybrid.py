"""The truth of a swap: one person's inner face, in shape and texture, on another's head."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float64

from intracoder.records import Image
from intracoder.synthetic.avatar import BODY
from intracoder.synthetic.head import Head, HeadPart
from intracoder.synthetic.region import FaceRegion

_DARKEST = 0.02
"""Keeps the logarithm of a black texel finite."""


def put_face_on(target: Head, source: Head, region: FaceRegion, tone: float) -> Head:
    """Target's head, hair, ears, neck and body with the source's inner face.

    Args:
        target: Whose head it is.
        source: Whose face it gets.
        region: The inner face.
        tone: How far the face's colour goes to the target's skin, 0..1; 1 is what a full colour transfer does.
    """
    inside = region.vertices
    ring = np.clip(4 * inside * (1 - inside), 0, 1) + 0.15 * inside + 1e-9
    scale, rotation, shift = fit_similarity(source.parts[BODY].positions, target.parts[BODY].positions, ring)
    linear = scale * rotation.T
    parts = {}
    for name, own in target.parts.items():
        other = source.parts[name]
        share = inside[:, None] if name == BODY else np.ones((1, 1))
        morphs = {
            key: ((1 - share) * moved + share * (other.morphs[key] @ linear)).astype(np.float32)
            for key, moved in own.morphs.items()
        }
        positions = (1 - share) * own.positions + share * (other.positions @ linear + shift)
        parts[name] = HeadPart(positions=positions, weights=own.weights, morphs=morphs)
    joints = dict(target.joints)
    for eye in ("LeftEye", "RightEye"):
        joints[eye] = source.joints[eye] @ linear + shift
    color, normal = _textures(target, source, region, tone)
    name = f"{source.name}_face_on_{target.name}"
    return dataclasses.replace(target, name=name, parts=parts, joints=joints, color=color, normal=normal)


def fit_similarity(
    moving: Float64[np.ndarray, "n 3"], fixed: Float64[np.ndarray, "n 3"], weights: Float64[np.ndarray, "n"]
) -> tuple[float, Float64[np.ndarray, "3 3"], Float64[np.ndarray, "3"]]:
    """Scale, rotation and shift with which ``fixed`` is nearest to ``scale * rotation @ moving + shift``.

    Source: Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991.
    """
    share = weights / weights.sum()
    moving_mean, fixed_mean = share @ moving, share @ fixed
    moving_off, fixed_off = moving - moving_mean, fixed - fixed_mean
    left, singular, right = np.linalg.svd((fixed_off * share[:, None]).T @ moving_off)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = left @ np.diag(signs) @ right
    scale = float((singular * signs).sum() / (share @ (moving_off**2).sum(1)))
    return scale, rotation, fixed_mean - scale * rotation @ moving_mean


def _textures(target: Head, source: Head, region: FaceRegion, tone: float) -> tuple[Image, Image]:
    """Colour and normal map of the mixed head."""
    own, other = (np.log(head.color.astype(np.float32) / 255 + _DARKEST) for head in (target, source))
    moved = tone * (np.median(own[region.skin], 0) - np.median(other[region.skin], 0))
    toned = np.clip((np.exp(other + moved) - _DARKEST) * 255, 0, 255)
    inside, features = region.texture[..., None], region.features[..., None]
    color = np.where(features, source.color, (1 - inside) * target.color + inside * toned)
    normal = np.where(features, source.normal, (1 - inside) * target.normal + inside * source.normal)
    return color.astype(np.uint8), normal.astype(np.uint8)
