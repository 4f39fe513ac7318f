"""One frame through the stages: crop, swap, colours, resolution, alpha, sharpness, blend, back into the frame.

What is laid over the frame is worked out in the crop, so that nothing can shift or jump, and only the pixels under
alpha are changed: outside of it the frame stays bit for bit what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from intracoder.config import RenderConfig
from intracoder.ops.color import match_low_frequencies
from intracoder.ops.complexion import with_complexion
from intracoder.ops.detail import with_detail
from intracoder.ops.eyes import with_eye_light
from intracoder.ops.geometry import compose, rescale_matrix, transform_points, warp_from_crop, warp_to_crop
from intracoder.ops.mask import combine_alpha, hull_mask, mouth_mask, skin_mask, surface_mask
from intracoder.ops.mesh import mesh_warp, spread_over
from intracoder.ops.quality import match_sharpness
from intracoder.ops.relight import LitFace, match_light
from intracoder.protocols import Blender, ColorMatcher, Enhancer, FaceSegmenter, Segmenter, Swapper
from intracoder.records import Affine, Crops, Frame, Image, PlannedFace, Points

_Crop: TypeAlias = UInt8[np.ndarray, "s s 3"]
_GrownCrop: TypeAlias = UInt8[np.ndarray, "z z 3"]
_CropMask: TypeAlias = Float32[np.ndarray, "s s"]
_GrownMask: TypeAlias = Float32[np.ndarray, "z z"]

TEMPLATE = "wide"
TARGET_SLACK = 1.02
"""The target's hull is let out a little more than the source's: two landmark readings never agree exactly."""
SKIN_COLORS = ("skin", "learned")
"""Colour matchings that compare skin with skin, and so have to know complexions."""
UNKNOWN, KNOWN = 0.5, 0.9
"""Share of the source's frames that show a point, from which its drawn face begins to show, and shows fully."""
SURROUNDINGS = 2.0
"""Side of the picture in which people and hands are looked for / side of the crop."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameStages:
    """What became of one face, step by step; crops are ``s`` px, or ``z`` px after the enhancer."""

    frame: Frame
    planned: PlannedFace
    crop: _GrownCrop
    """The target in the window, z px."""
    swapped: _Crop
    """As the intracoder draws it, s px."""
    matched: _Crop
    """In the target's light and colours, s px."""
    enhanced: _GrownCrop
    """Enlarged and corrected by the second network, with what shows in the open mouth, z px."""
    sharpened: _GrownCrop
    """Brought to the target's sharpness and noise, z px."""
    alpha: _GrownMask
    """z px."""
    blended: _GrownCrop
    """Laid over ``crop``, z px."""
    composite: Image
    """The whole frame."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """The swappable parts of the composition; see ``build.py`` for those that ship."""

    swapper: Swapper
    matcher: ColorMatcher
    enhancer: Enhancer
    blender: Blender
    person: Segmenter
    hand: Segmenter
    visible: FaceSegmenter


class Compositor:
    """Puts swapped faces into frames."""

    def __init__(self, parts: Parts, config: RenderConfig) -> None:
        """Takes the parts and the options of light, mouth, mask and sharpness."""
        self._parts = parts
        self._config = config

    def compose(self, frames: Sequence[Frame], planned: Sequence[PlannedFace]) -> list[FrameStages]:
        """Each frame with its planned face laid in; frames and plans pair up by position."""
        if not frames:
            return []
        size = self._parts.swapper.crop_px
        grown = size * self._parts.enhancer.scale
        to_grown = [rescale_matrix(p.frame_to_crop, TEMPLATE, size, TEMPLATE, grown) for p in planned]
        crops = _crops(frames, [p.frame_to_crop for p in planned], size)
        large = _crops(frames, to_grown, grown)
        drawn = self._parts.swapper.swap(crops, planned)
        swapped, masks = drawn.crops, drawn.masks
        matched = np.stack([self._match(*row) for row in zip(swapped, crops, planned, strict=True)])
        enhanced = self._parts.enhancer.enhance(matched, large, masks)
        if drawn.detail is not None and self._config.detail:
            enhanced = np.stack(
                [with_detail(*row, self._config.detail) for row in zip(enhanced, drawn.detail, strict=True)]
            )
        return [
            self._lay(frame, plan, matrix, (crop, *pictures), mask)
            for frame, plan, matrix, crop, *pictures, mask in zip(
                frames, planned, to_grown, large, swapped, matched, enhanced, masks, strict=True
            )
        ]

    def _match(self, swapped: Image, crop: Image, planned: PlannedFace) -> Image:
        """The swapped face in the target's light and colours, measured where both show skin."""
        drawn_at = transform_points(planned.swapped_points, planned.frame_to_crop)
        swapped = with_eye_light(swapped, drawn_at, planned.eye_gain * self._config.eye_light)
        face, there = (
            LitFace(image, points, skin_mask(points, len(image)))
            for image, points in (
                (swapped, drawn_at),
                (crop, transform_points(planned.target_points, planned.frame_to_crop)),
            )
        )
        if self._config.relight:
            swapped = match_light(face, there, self._config.relight)
        if planned.complexion_change is None or not self._config.complexion or self._config.color not in SKIN_COLORS:
            return self._parts.matcher.match(swapped, crop, face.skin, there.skin)
        # the target as if it had the swapped face's beard, lips and cheeks: what still differs then is light
        wanted = with_complexion(crop, face.points, planned.complexion_change * self._config.complexion)
        matched = self._parts.matcher.match(swapped, wanted, face.skin, there.skin)
        both = np.minimum(*(surface_mask(one.points, len(crop)) for one in (face, there)))
        return match_low_frequencies(matched, wanted, both)

    def _with_mouth(self, enhanced: Image, crop: Image, frame_to_crop: Affine, planned: PlannedFace) -> Image:
        """The target's own teeth and tongue between the swapped lips."""
        size = len(crop)
        wanted = transform_points(planned.swapped_points, frame_to_crop)
        opening = mouth_mask(wanted, size)[..., None]
        if self._config.mouth == "source" or not opening.any():
            return enhanced
        bent = mesh_warp(crop, transform_points(planned.target_points, frame_to_crop), wanted, size)
        return np.asarray(np.rint(enhanced + opening * (bent.astype(np.float32) - enhanced)), dtype=np.uint8)

    def _lay(
        self,
        frame: Frame,
        planned: PlannedFace,
        frame_to_crop: Affine,
        pictures: tuple[_GrownCrop, _Crop, _Crop, _GrownCrop],
        mask: _CropMask,
    ) -> FrameStages:
        """Alpha, sharpness, blend, and the way back into the frame."""
        crop, swapped, matched, enhanced = pictures
        enhanced = self._with_mouth(enhanced, crop, frame_to_crop, planned)
        alpha = self._alpha(frame, crop, planned, frame_to_crop, mask)
        sharpened = enhanced
        if self._config.sharpness and alpha.any():
            sharpened = match_sharpness(enhanced, crop, alpha, frame.index)
        blended = self._parts.blender.blend(crop, sharpened, alpha)
        return FrameStages(
            frame=frame,
            planned=planned,
            crop=crop,
            swapped=swapped,
            matched=matched,
            enhanced=enhanced,
            sharpened=sharpened,
            alpha=alpha,
            blended=blended,
            composite=put_back(frame.pixels, crop, blended, alpha, frame_to_crop),
        )

    def _alpha(
        self, frame: Frame, crop: _GrownCrop, planned: PlannedFace, frame_to_crop: Affine, predicted: _CropMask
    ) -> _GrownMask:
        """Hull of both faces x the network's mask x the person without hands and what hides the face, feathered."""
        size = len(crop)
        feather_px = self._config.feather * size
        scale = self._config.mask_scale
        hulls = [
            hull_mask(
                transform_points(points, frame_to_crop)[:, :2],
                size,
                size,
                scale=s,
                hairline=self._config.hairline,
                feather_px=feather_px,
            )
            for points, s in ((planned.swapped_points, scale), (planned.target_points, scale * TARGET_SLACK))
        ]
        grown = cv2.resize(predicted, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.float32)
        person, hand = self._visible(frame, frame_to_crop, size)
        if self._config.cover == "target":
            person = person * self._parts.visible.visible(crop, transform_points(planned.target_points, frame_to_crop))
            person = person * self._known(transform_points(planned.swapped_points, frame_to_crop), size)
        return combine_alpha(np.minimum(*hulls), grown, person, hand, feather_px=feather_px / 4)

    def _known(self, points: Points, size: int) -> _GrownMask:
        """Where the source's footage shows its face: what its hair hid there is not laid over the target's."""
        shown = self._parts.swapper.shown
        if shown is None or shown.min() >= KNOWN:
            return np.ones((size, size), np.float32)
        shares = np.clip((shown - UNKNOWN) / (KNOWN - UNKNOWN), 0, 1).astype(np.float32)
        return np.asarray(np.clip(spread_over(points, shares[:, None], size)[..., 0], 0, 1), dtype=np.float32)

    def _visible(self, frame: Frame, frame_to_crop: Affine, size: int) -> tuple[_GrownMask, _GrownMask]:
        """Person and hand masks of the crop, found in a wider picture around it."""
        middle = (size - 1) / 2
        zoom = 1 / SURROUNDINGS
        out = np.array([[zoom, 0.0, middle * (1 - zoom)], [0.0, zoom, middle * (1 - zoom)]])
        around = warp_to_crop(frame.pixels, compose(out, frame_to_crop), size)
        back = np.array([[1 / zoom, 0.0, middle * (1 - 1 / zoom)], [0.0, 1 / zoom, middle * (1 - 1 / zoom)]])
        person, hand = (
            warp_to_crop(found.segment(around), back, size) for found in (self._parts.person, self._parts.hand)
        )
        return np.clip(person, 0, 1), np.clip(hand, 0, 1)


def put_back(pixels: Image, crop: _Crop, blended: _Crop, alpha: _CropMask, frame_to_crop: Affine) -> Image:
    """The frame with a changed crop in it.

    Deep inside alpha the frame is replaced. Towards the edge the *change* is added to it, so that the background keeps
    its own pixels instead of ones that went through two resamplings.

    Args:
        pixels: The frame.
        crop: What the window showed, s px.
        blended: What it is to show, s px; equal to ``crop`` where alpha is 0.
        alpha: 0..1, s px.
        frame_to_crop: Frame pixels to crop pixels.

    Returns:
        A new frame, bit-identical to ``pixels`` where alpha is 0.
    """
    height, width = pixels.shape[:2]
    change = blended.astype(np.float32) - crop.astype(np.float32)
    cover = warp_from_crop(alpha, frame_to_crop, height, width, border="zero")
    rows, columns = np.flatnonzero(cover.max(1) > 0), np.flatnonzero(cover.max(0) > 0)
    composite = pixels.copy()
    if not len(rows):
        return composite
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    shifted = frame_to_crop.copy()
    shifted[:, 2] += frame_to_crop[:, :2] @ np.array([left, top], dtype=np.float64)
    part = (bottom - top, right - left)
    added = warp_from_crop(change, shifted, *part, border="zero")
    shown = warp_from_crop(blended.astype(np.float32), shifted, *part)
    weight = np.clip(cover[top:bottom, left:right, None], 0, 1)
    under = pixels[top:bottom, left:right].astype(np.float32)
    mixed = weight * shown + (1 - weight) * (under + added)
    new = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    composite[top:bottom, left:right] = np.where(weight > 0, new, pixels[top:bottom, left:right])
    return composite


def _crops(frames: Sequence[Frame], matrices: Sequence[Affine], size: int) -> Crops:
    return np.stack([warp_to_crop(f.pixels, m, size) for f, m in zip(frames, matrices, strict=True)])
