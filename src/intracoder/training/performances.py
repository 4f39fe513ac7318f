"""Pretraining's pictures: many people, and the same performance by two of them.

    FOLDER/clips/ANN_000.mp4            Ann's own performance
    FOLDER/gt/ANN_000_as_BOB.mp4        Bob's head acting it, in the same light, before the same camera
    FOLDER/meta/ANN_000_as_BOB.json     which frames of the performance

as the command ``synth`` writes them. Portraits are folders' pictures by person: NAME_1.jpg, NAME_2.jpg.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from intracoder.errors import ConfigError
from intracoder.faceset.likeness_file import CROP_PX
from intracoder.faceset.person import PersonFrames
from intracoder.media.reader import read_frames
from intracoder.media.stills import list_images, read_image
from intracoder.ops.geometry import align_track, transform_points, warp_to_crop
from intracoder.protocols import Detector, Landmarker, Progress, silent
from intracoder.records import Affine, Face, FaceTrack, Frame, Image, Points

TEMPLATE = "wide_margin"
PRESENCE_MIN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """A face in the window of whoever acted first."""

    crop: Image
    points: Points
    blendshapes: Float32[np.ndarray, "52"]
    clip: int
    frame: int


@dataclass(slots=True, kw_only=True, eq=False)
class Ensemble:
    """Everybody's rows, and who acts what somebody else acts."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    partners: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    """(person, row) to (person, row) of the same moment."""

    def frames(self, name: str) -> PersonFrames:
        """One person's rows as arrays."""
        rows = self.rows[name]
        return PersonFrames(
            name=name,
            crops=np.stack([row.crop for row in rows]),
            points=np.stack([row.points for row in rows]),
            blendshapes=np.stack([row.blendshapes for row in rows]),
            frame_indices=np.array([row.frame for row in rows]),
            clip_indices=np.array([row.clip for row in rows]),
        )


class FaceReader:
    """Looks at pictures one by one."""

    def __init__(self, detector: Detector, landmarker: Landmarker) -> None:
        self._detector = detector
        self._landmarker = landmarker

    def read(self, frame: Frame) -> tuple[Points, Float32[np.ndarray, "52"], Affine] | None:
        """Landmarks, expression and window of the widest face; None where there is none."""
        faces = self._detector.detect([frame])[0]
        if not faces:
            return None
        widest = max(faces, key=lambda face: float(face.box[2] - face.box[0]))
        first, _ = self._landmarker.landmarks(frame.pixels, widest.points5)
        points = self.read_near(frame, first)
        if points is None:
            return None
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        box = np.concatenate([low, high]).astype(np.float32)
        face = Face(frame_index=0, box=box, points5=widest.points5, score=1.0, points=points)
        track = FaceTrack(track_id=0, faces=(face,))
        (aligned,) = align_track(track, template=TEMPLATE, crop_px=CROP_PX, smooth_frames=1)
        return points, self._landmarker.blendshapes(points), aligned.frame_to_crop

    def read_near(self, frame: Frame, near: Points) -> Points | None:
        """Landmarks of the face about these ones; None where there is none."""
        points, presence = self._landmarker.landmarks(frame.pixels, near)
        return points if presence >= PRESENCE_MIN else None


def gather_performances(folder: Path, reader: FaceReader, cast: Ensemble, progress: Progress = silent) -> None:
    """Adds the clips of a folder to ``cast``.

    Raises:
        ConfigError: The folder holds no clips, or a description that can't be read.
        MediaError: A clip can't be read.
    """
    clips = sorted((folder / "clips").glob("*.mp4"))
    if not clips:
        raise ConfigError(f"{folder}: expected clips/*.mp4 as the command synth writes them, found none")
    for number, path in enumerate(clips):
        progress("gather", float(number), float(len(clips)), path.stem)
        owner, moments = moments_of(folder, path.stem)
        own = dict(zip(moments, read_frames(path), strict=False))
        others = [(p, *moments_of(folder, p.stem)) for p in sorted((folder / "gt").glob(f"{path.stem}_as_*.mp4"))]
        acted = [(person, dict(zip(shown, read_frames(p), strict=False))) for p, person, shown in others]
        for moment, picture in own.items():
            read = reader.read(picture)
            if read is None:
                continue
            points, expression, window = read
            mine = _add(cast, owner, picture, (points, expression, window), number, moment)
            for person, pictures in acted:
                same = pictures.get(moment)
                found = None if same is None else reader.read(same)
                if same is not None and found is not None:
                    theirs = _add(cast, person, same, (*found[:2], window), number, moment)
                    cast.partners[mine], cast.partners[theirs] = theirs, mine


def gather_portraits(folder: Path, reader: FaceReader, cast: Ensemble, progress: Progress = silent) -> None:
    """Adds people of whom there are at least two pictures, NAME_*.jpg; the others are left out."""
    pictures: dict[str, list[Path]] = defaultdict(list)
    for path in list_images(folder):
        pictures[path.stem.rpartition("_")[0]].append(path)
    chosen = {name: paths for name, paths in pictures.items() if name and len(paths) > 1}
    for done, (name, paths) in enumerate(sorted(chosen.items())):
        progress("gather", float(done), float(len(chosen)), name)
        for number, path in enumerate(paths):
            picture = Frame(pixels=read_image(path), index=0, pts=0)
            read = reader.read(picture)
            if read is not None:
                _add(cast, f"{folder.name} {name}", picture, read, number, 0)
    for name in [name for name, rows in cast.rows.items() if len(rows) < 2]:
        del cast.rows[name]


def _add(
    cast: Ensemble,
    name: str,
    picture: Frame,
    read: tuple[Points, Float32[np.ndarray, "52"], Affine],
    clip: int,
    frame: int,
) -> tuple[str, int]:
    points, expression, window = read
    cast.rows[name].append(
        Row(
            crop=warp_to_crop(picture.pixels, window, CROP_PX),
            points=transform_points(points, window),
            blendshapes=expression,
            clip=clip,
            frame=frame,
        )
    )
    return name, len(cast.rows[name]) - 1


def moments_of(folder: Path, stem: str) -> tuple[str, tuple[int, ...]]:
    """Who gives a clip's performance, and which of its frames are shown.

    Raises:
        ConfigError: The clip's description can't be read.
    """
    path = folder / "meta" / f"{stem}.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: can't be read as a clip's description: {error}; render it again") from error
    person, frames = (found.get("person"), found.get("frames")) if isinstance(found, dict) else (None, None)
    if not isinstance(person, str):
        raise ConfigError(f"{path}: expected a table with person and frames; render it again")
    if not isinstance(frames, list) or not all(isinstance(f, dict) and isinstance(f.get("frame"), int) for f in frames):
        raise ConfigError(f"{path}: expected frames with their numbers; render it again")
    return person, tuple(frame["frame"] for frame in frames)
