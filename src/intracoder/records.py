"""Records that flow between the stages.

Conventions (docs/conventions.md): images are RGB, uint8, HWC, sRGB-encoded, C-contiguous. Points are
(x, y) in pixels, the centre of the top-left pixel is (0, 0). Sizes are (height, width). Matrices are
named ``a_to_b`` and act on column vectors. "left" and "right" are the viewer's. ``None`` means "not
measured".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32, Float64, UInt8

Image: TypeAlias = UInt8[np.ndarray, "h w 3"]
Crops: TypeAlias = UInt8[np.ndarray, "n s s 3"]
Mask: TypeAlias = Float32[np.ndarray, "h w"]
Masks: TypeAlias = Float32[np.ndarray, "n s s"]
Box: TypeAlias = Float32[np.ndarray, "4"]
Points2: TypeAlias = Float32[np.ndarray, "p 2"]
Points5: TypeAlias = Float32[np.ndarray, "5 2"]
Points: TypeAlias = Float32[np.ndarray, "478 3"]
"""Dense landmarks of the MediaPipe topology: x, y in pixels, z (smaller = nearer) in the same unit."""
Shape: TypeAlias = Float64[np.ndarray, "478 3"]
"""Dense landmarks without pose: canonical head space, centimetres, x right, y down, z away."""
Affine: TypeAlias = Float64[np.ndarray, "2 3"]
Embedding: TypeAlias = Float32[np.ndarray, "d"]
Embeddings: TypeAlias = Float32[np.ndarray, "n d"]
Complexion: TypeAlias = Float64[np.ndarray, "468 3"]
"""Red, green, blue of each surface point beside the mean of bare skin, natural logarithm of linear light."""
SurfaceShares: TypeAlias = Float64[np.ndarray, "468"]
"""A share for each surface point, 0..1."""
Blendshapes: TypeAlias = Float32[np.ndarray, "52"]


class Role(Enum):
    """Which person a record belongs to."""

    SOURCE = "source"
    TARGET = "target"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorTags:
    """Colour description of a stream, as FFmpeg's integer codes (2 = unspecified)."""

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    is_full_range: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """What a media file says of itself."""

    path: Path
    height: int
    """After rotation, pixels."""
    width: int
    frame_rate: Fraction
    """Average, frames per second; 25 for stills."""
    time_base: Fraction
    """Seconds per pts tick."""
    frame_count: int | None
    """None where the container does not say; a hint, never trusted."""
    duration_s: float | None
    has_audio: bool
    is_still: bool
    """True for one picture; an image folder is a clip."""
    color: ColorTags = field(default_factory=ColorTags)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One decoded picture."""

    pixels: Image
    index: int
    """0-based, presentation order."""
    pts: int
    """Ticks of the stream's time_base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Head pose, degrees. yaw > 0: turned to the viewer's right; pitch > 0: up; roll > 0: clockwise."""

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadFit:
    """3-D similarity, canonical head (cm) to frame (px): ``px = scale * rotation @ shape + translation``."""

    scale: float
    """Pixels per canonical centimetre."""
    rotation: Float64[np.ndarray, "3 3"]
    translation: Float64[np.ndarray, "3"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Face:
    """One face found in one frame, in that frame's pixels."""

    frame_index: int
    box: Box
    """(x0, y0, x1, y1); width is x1 - x0."""
    points5: Points5
    """eye_left, eye_right, nose, mouth_left, mouth_right."""
    score: float
    """Detector confidence, 0..1; of the last detection where the face was only tracked."""
    points: Points | None = None
    presence: float | None = None
    """Landmark network's belief that a face is in its window, 0..1."""
    blendshapes: Blendshapes | None = None
    """Order of faces.landmarks.BLENDSHAPE_NAMES."""
    embedding: Embedding | None = None
    """L2 norm 1."""
    pose: Pose | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceTrack:
    """The same person through a clip."""

    track_id: int
    faces: tuple[Face, ...]
    """Sorted by frame_index, at most one per frame; gaps are allowed."""
    cuts: tuple[int, ...] = ()
    """Frame indices at which a new shot begins; smoothing never crosses them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlignedFace:
    """A face with the square that was, or can be, cut out around it."""

    face: Face
    frame_to_crop: Affine
    """Frame pixels to crop pixels of a ``crop_px`` square; similarity, smoothed over the track."""
    crop_px: int
    template: str
    """Key of ops.geometry.TEMPLATES."""
    head: HeadFit
    """Unsmoothed fit of this frame's landmarks."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SwappedCrops:
    """What a swapper draws."""

    crops: Crops
    """The source's face as the target performs, in the target's colours."""
    masks: Masks
    """The swapper's own face masks, 0..1."""
    detail: Float32[np.ndarray, "n z z 3"] | None = None
    """What is finer than the crops can show, as a factor on them at a greater size; about 1. None: nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedFace:
    """What the swapper needs to know of one target frame before it sees the pixels."""

    frame_index: int
    frame_to_crop: Affine
    """Frame pixels to the network's output window."""
    target_points: Points
    """Target's landmarks, frame pixels."""
    swapped_points: Points
    """Where the source's landmarks go: source's neutral shape with target's expression and pose."""
    reference_index: int | None
    """Which of the source's stored frames is warped as reference; None for the plain net."""
    complexion_change: Complexion | None = None
    """From the target's complexion to the source's; None where either is unknown."""
    eye_gain: float = 0.0
    """What eyes are lightened by beyond what skin is, natural logarithm."""


class Outcome(Enum):
    """What became of one frame."""

    SWAPPED = "swapped"
    NO_FACE = "no_face"
    OTHER_PERSON = "other_person"
    TOO_SMALL = "too_small"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameReport:
    """One row of the run report."""

    frame_index: int
    outcome: Outcome
    confidence: float | None = None
    """Landmark presence of the swapped face, 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What a run did; written as JSON beside the output."""

    output: Path
    target: MediaInfo
    source_name: str
    frames: tuple[FrameReport, ...]
    stage_seconds: Mapping[str, float]
    output_sha256: str
    package_version: str
    model_sha256: str
    record_id: str
    """UUID of this output in mark, manifest and ledger."""

    def counts(self) -> dict[str, int]:
        """Number of frames by outcome; every outcome has a key."""
        return {o.value: sum(f.outcome is o for f in self.frames) for o in Outcome}


@dataclass(frozen=True, slots=True, kw_only=True)
class WatermarkReading:
    """What a watermark decoder found."""

    payload: bytes | None
    """The 6 payload bytes, None where they could not be decoded with a valid checksum."""
    z_score: float
    """Correlation with the keyed pattern in standard deviations."""
    log10_fpr: float
    """Bound on the probability of this score in unmarked material, log10."""

    @property
    def is_found(self) -> bool:
        """True at a false-alarm bound of 1e-9 or better."""
        return self.log10_fpr <= -9.0
