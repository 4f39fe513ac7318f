"""What the colour and resolution network learns from: stored frames, and the intracoder's own drawings of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from intracoder.errors import TrainingError
from intracoder.faceset.likeness import Likeness
from intracoder.nets.device import Compute
from intracoder.nets.intracoder import Intracoder
from intracoder.ops.mask import skin_mask
from intracoder.protocols import ColorMatcher, Progress, silent
from intracoder.records import Crops, Image, Mask
from intracoder.training.redraw import Cast, redraw, window_crops

LIGHT_GRID = 3
LIGHT_STRENGTHS = (0.1, 0.4, 0.7)
"""Of the random changes of colour, from about what the closed form leaves to far more."""
CHUNK = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EnhancerData:
    """All that is learned from; s is the side of the intracoder's crops, z the side that they are to have.

    Pictures of one row show the same window of the same frame of the source, pixel edges on one another.
    """

    generated: UInt8[np.ndarray, "n s s 3"]
    """``decoder_source(encoder(source_crops))``: the frames as the intracoder draws them."""
    expected: UInt8[np.ndarray, "n z z 3"]
    """The real crops."""
    faces: UInt8[np.ndarray, "n s s 3"]
    """The real crops at the smaller side."""
    disguised: UInt8[np.ndarray, "n s s 3"]
    """The same wearing another person's face, in the frame's own light as far as the closed form gives it."""
    changed: UInt8[np.ndarray, "n v s s 3"]
    """``faces`` under v random changes of colour, which the closed form then matched to ``disguised`` as it could."""
    masks: UInt8[np.ndarray, "n s s"]
    """The face in all of them, 0..255."""

    def __post_init__(self) -> None:
        """TrainingError where there is nothing to learn from."""
        if not len(self.generated):
            raise TrainingError("colour and resolution training: expected crops of the source, got none; check its set")


def build_enhancer_data(
    net: Intracoder,
    likenesses: Sequence[Likeness],
    compute: Compute,
    matcher: ColorMatcher,
    *,
    scale: int = 2,
    max_frames: int = 120,
    seed: int = 0,
    progress: Progress = silent,
) -> EnhancerData:
    """Draws the source's frames again and makes the lessons from them.

    Args:
        net: The trained intracoder.
        likenesses: In the order of its decoders, the source first.
        compute: Where the intracoder runs.
        matcher: The closed form that will precede the network in use; gets skin masks.
        scale: Side of the crops that are to come out / side of the intracoder's.
        max_frames: Frames taken, evenly spaced.
        seed: Of the changes of colour.
        progress: Told of every stretch of frames.

    Raises:
        TrainingError: There is no second person to learn from.
    """
    if len(likenesses) < 2:
        raise TrainingError(f"colour and resolution training: expected two or more people, got {len(likenesses)}")
    source, size = likenesses[0], net.config.output_px
    count = min(len(source.frames), max_frames)
    rows = np.linspace(0, len(source.frames) - 1, count).round().astype(int).tolist()
    parts: list[tuple[np.ndarray, ...]] = []
    for start in range(0, count, CHUNK):
        some = rows[start : start + CHUNK]
        # everybody else takes turns at being the disguise
        person = 1 + start // CHUNK % (len(likenesses) - 1)
        own = redraw(net, Cast(actor=source, artist=source, person=0), some, compute)
        worn = redraw(net, Cast(actor=source, artist=likenesses[person], person=person), some, compute)
        expected, _ = window_crops(source, some, size * scale)
        skins = [skin_mask(points, size) for points in own.generated_points]
        worn_skins = [skin_mask(points, size) for points in worn.generated_points]
        rng = [np.random.default_rng((seed, row)) for row in some]
        lessons = [
            _color_lesson(*row, matcher) for row in zip(own.real, worn.generated, skins, worn_skins, rng, strict=True)
        ]
        disguised, changed = (np.stack(kind) for kind in zip(*lessons, strict=True))
        masks = np.rint(own.masks * 255).astype(np.uint8)
        parts.append((own.generated, expected, own.real, disguised, changed, masks))
        progress("prepare", float(start + len(some)), float(count), "lessons in colour and resolution")
    generated, expected, faces, disguised, changed, masks = (np.concatenate(kind) for kind in zip(*parts, strict=True))
    return EnhancerData(
        generated=generated, expected=expected, faces=faces, disguised=disguised, changed=changed, masks=masks
    )


def _color_lesson(
    face: Image, worn: Image, skin: Mask, worn_skin: Mask, rng: np.random.Generator, matcher: ColorMatcher
) -> tuple[Image, Crops]:
    """The disguise in the frame's light, and the face under changes of colour that were matched to it."""
    disguised = matcher.match(worn, face, worn_skin, skin)
    changed = [random_light(face, strength, rng) for strength in LIGHT_STRENGTHS]
    return disguised, np.stack([matcher.match(image, disguised, skin, worn_skin) for image in changed])


def random_light(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """The image under a random gamma, exposure, white balance and smooth gain; strength 1 is a very different lamp."""
    gamma = np.exp(rng.normal(0, 0.15 * strength))
    overall = rng.normal(0, 0.18 * strength) + rng.normal(0, 0.08 * strength, 3)
    field = rng.normal(0, 0.18 * strength, (LIGHT_GRID, LIGHT_GRID, 1))
    field = field + rng.normal(0, 0.03 * strength, (LIGHT_GRID, LIGHT_GRID, 3))
    size_wh = image.shape[1::-1]
    gain = cv2.resize((overall + field).astype(np.float32), size_wh, interpolation=cv2.INTER_CUBIC)
    lit = np.exp(np.log(np.maximum(image / 255.0, 1e-3)) * gamma + gain) * 255
    return np.asarray(np.clip(np.rint(lit), 0, 255), dtype=np.uint8)
