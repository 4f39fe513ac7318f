"""One person's frames as the baselines use them: crops, landmarks in the crop, pose-free shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from intracoder.errors import NoFaceError
from intracoder.evaluation.readings import Clip, FaceReaders, FaceReadings, read_pictures, read_target, spread_frames
from intracoder.faces.landmarks import points5_of
from intracoder.media.stills import still_kind
from intracoder.ops.expression import ShapeBasis, fit_shape_basis, frame_features, neutral_shape
from intracoder.ops.geometry import TEMPLATES, align_track, transform_points, unposed, warp_to_crop
from intracoder.records import Affine, AlignedFace, Crops, Face, FaceTrack, Frame, Points, Shape

TEMPLATE = "wide_margin"
CROP_PX_MAX = 768
"""Crops are cut at the frame's own resolution, up to this side."""
SMOOTH_FRAMES = 9
SOURCE_FRAMES_MAX = 600
"""Most frames of one source clip that are looked through."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Footage:
    """The frames of one person that show a face."""

    aligned: tuple[AlignedFace, ...]
    shapes: Float64[np.ndarray, "n 478 3"]
    blendshapes: Float32[np.ndarray, "n 52"]

    def native_crop_px(self) -> int:
        """Side of a crop that neither enlarges nor shrinks the nearest face, even, at most CROP_PX_MAX."""
        scale = max(face.head.scale for face in self.aligned)
        return int(min(CROP_PX_MAX, 2 * np.ceil(TEMPLATES[TEMPLATE].side_cm * scale / 2)))


def source_frames(path: Path) -> Iterator[Frame]:
    """The frames of a source that are looked at: pictures of a folder in any size, or the beginning of a clip."""
    clip = Clip(path=path, stop=None if _are_pictures(path) else SOURCE_FRAMES_MAX)
    return spread_frames(clip, SOURCE_FRAMES_MAX) if _are_pictures(path) else clip.frames()


def gather(path: Path, readers: FaceReaders) -> Footage:
    """Follows the face through a source clip; unrelated pictures are looked at one by one."""
    if _are_pictures(path):
        readings = read_pictures(Clip(path=path), readers, limit=SOURCE_FRAMES_MAX)
        return from_readings(readings, crop_px=256, smooth_frames=1)
    readings = read_target(Clip(path=path, stop=SOURCE_FRAMES_MAX), readers)
    return from_readings(readings, crop_px=256, smooth_frames=SMOOTH_FRAMES)


def _are_pictures(path: Path) -> bool:
    """A picture or a folder of them, whose frames are not neighbours in time."""
    return path.is_dir() or bool(still_kind(path))


def from_readings(readings: FaceReadings, *, crop_px: int, smooth_frames: int) -> Footage:
    """The geometry of frames whose faces were read; the pixels are cut later."""
    faces = [_face(k, readings.points[k]) for k in np.flatnonzero(readings.found).tolist()]
    track = FaceTrack(track_id=0, faces=tuple(faces))
    aligned = align_track(track, template=TEMPLATE, crop_px=crop_px, smooth_frames=smooth_frames)
    shapes = np.stack([unposed(readings.points[one.face.frame_index], one.head) for one in aligned])
    return Footage(aligned=aligned, shapes=shapes, blendshapes=readings.blendshapes[readings.found])


def _face(index: int, points: Points) -> Face:
    """A record of dense points found at frame ``index`` of the clip's part."""
    low, high = points[:468, :2].min(axis=0), points[:468, :2].max(axis=0)
    return Face(
        frame_index=index,
        box=np.concatenate([low, high]).astype(np.float32),
        points5=points5_of(points),
        score=1.0,
        points=points,
    )


def cut_crops(path: Path, footage: Footage, crop_px: int) -> tuple[Crops, Float32[np.ndarray, "n 478 3"]]:
    """Crops of ``crop_px`` of every face in the ``footage`` of a source, and its landmarks in the crop."""
    by_index = {one.face.frame_index: one for one in footage.aligned}
    crops, points = [], []
    for k, frame in enumerate(source_frames(path)):
        one = by_index.get(k)
        if one is None or one.face.points is None:
            continue
        zoom = resized(one, crop_px)
        crops.append(warp_to_crop(frame.pixels, zoom, crop_px))
        points.append(transform_points(one.face.points, zoom))
    return np.stack(crops), np.stack(points)


def resized(one: AlignedFace, crop_px: int) -> Affine:
    """``frame_to_crop`` of the same window at another crop size."""
    zoom = crop_px / one.crop_px
    matrix = one.frame_to_crop * zoom
    # pixel centres are at integers: the window's edge, at -0.5, has to stay where it is
    matrix[:, 2] += (zoom - 1) / 2
    return matrix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neutrals:
    """Both persons' faces at rest, on one expression basis."""

    basis: ShapeBasis
    source: Shape
    target: Shape


def fit_neutrals(source: Sequence[Footage], target: Footage) -> Neutrals:
    """Neutral shapes by a basis shared between the two persons. NoFaceError where the source has no frame."""
    if not source:
        raise NoFaceError("source: expected at least one frame with a face, got none")
    shapes = np.concatenate([one.shapes for one in source])
    expressions = np.concatenate([one.blendshapes for one in source])
    basis = fit_shape_basis([shapes, target.shapes], [expressions, target.blendshapes])
    return Neutrals(
        basis=basis,
        source=neutral_shape(basis, shapes, expressions),
        target=neutral_shape(basis, target.shapes, target.blendshapes),
    )


def features(footage: Footage, neutral: Shape) -> Float64[np.ndarray, "n 8"]:
    """What frames are compared by: pose, mouth, lids and gaze."""
    pairs = zip(footage.shapes, footage.aligned, strict=True)
    return np.stack([frame_features(shape, one.head, neutral) for shape, one in pairs])
