"""What is read off the faces of a clip: landmarks, expression, pose, gaze, identity; one row per frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64

from intracoder.config import DetectConfig
from intracoder.errors import MediaError, NoFaceError
from intracoder.faces.embedder import DlibResnet
from intracoder.faces.landmarks import FaceMesh, points5_of
from intracoder.faces.mtcnn import Mtcnn
from intracoder.faces.pose import head_pose
from intracoder.media.reader import read_frames
from intracoder.media.stills import list_images, read_image
from intracoder.ops.geometry import fit_head, unposed
from intracoder.protocols import Detector, Embedder, Landmarker
from intracoder.records import FaceTrack, Frame, Image, Points, Points5

PRESENCE_MIN = 0.5
"""Landmark presence under which a frame counts as having no face."""
EYEBALL_CM = 1.2
"""Radius of the eyeball: how far the iris moves sideways for a turn of one radian."""
_EYES = ((468, 33, 133), (473, 263, 362))
"""Iris centre and the corners of the left and the right eye."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Frames ``start`` to ``stop`` of a video, picture or folder of pictures."""

    path: Path
    start: int = 0
    stop: int | None = None
    """One past the last frame; None reads to the end."""

    @property
    def name(self) -> str:
        """File name without its ending."""
        return self.path.stem

    def frames(self) -> Iterator[Frame]:
        """Decodes the frames in order."""
        return iter(read_frames(self.path, start=self.start, stop=self.stop))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceReaders:
    """The networks that evaluation looks through."""

    detector: Detector
    landmarker: Landmarker
    embedder: Embedder
    """Never one that any training or selection has used."""


def shipped_readers() -> FaceReaders:
    """MTCNN, the 478-point face mesh and dlib's ResNet, which nothing else in this package may use."""
    return FaceReaders(detector=Mtcnn(DetectConfig()), landmarker=FaceMesh(), embedder=DlibResnet())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceReadings:
    """One clip's faces, one row per frame; rows without a face are NaN."""

    height: int
    width: int
    found: Bool[np.ndarray, "n"]
    near: Float32[np.ndarray, "n 478 3"]
    """The landmarks around which the network looked. Another clip of the same frames is looked at around the same ones:
    equal pixels then give equal readings."""
    points: Float32[np.ndarray, "n 478 3"]
    """Frame pixels."""
    blendshapes: Float32[np.ndarray, "n 52"]
    embeddings: Float32[np.ndarray, "n d"]
    pose_deg: Float64[np.ndarray, "n 3"]
    """yaw, pitch, roll."""
    gaze_deg: Float64[np.ndarray, "n"]
    """Relative to the head, to the viewer's right; mean of both eyes."""

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.found)


def gaze_angle(points: Points) -> float:
    """Sideways turn of the eyes in the head, degrees to the viewer's right.

    Read from the irises' place between the lid corners. Up and down can't be read off landmarks:
    lids and corners move along (docs/benchmarks.md has the check).
    """
    shape = unposed(points, fit_head(points))
    offsets = [shape[iris, 0] - shape[[outer, inner], 0].mean() for iris, outer, inner in _EYES]
    return float(np.degrees(np.arcsin(np.clip(np.mean(offsets) / EYEBALL_CM, -1, 1))))


def read_target(clip: Clip, readers: FaceReaders, track: FaceTrack | None = None) -> FaceReadings:
    """Readings of the target's face: that of ``track``, or else the widest one of the first frame that shows any.

    Raises:
        NoFaceError: where no frame shows a face.
    """
    known = None if track is None else {f.frame_index: f.points for f in track.faces if f.points is not None}
    rows = _Rows()
    last: Points | None = None
    for frame in clip.frames():
        if known is not None:
            last = known.get(frame.index)
        else:
            last = _locate(frame.pixels, last, readers.landmarker)
            if last is None:
                last = _locate(frame.pixels, _first_look(frame, readers.detector, rows.middle), readers.landmarker)
        rows.add(frame.pixels, last, readers)
    return rows.finish(clip)


def read_at(clip: Clip, readers: FaceReaders, near: FaceReadings) -> FaceReadings:
    """Readings of the face in ``clip`` at the places where ``near`` (the target) has its face, frame by frame.

    Raises:
        MediaError: where clip and target differ in length or size.
        NoFaceError: where no frame shows a face there.
    """
    rows = _Rows()
    count = 0
    for k, frame in enumerate(clip.frames()):
        count += 1
        if frame.pixels.shape[:2] != (near.height, near.width):
            got = f"{frame.pixels.shape[1]}x{frame.pixels.shape[0]}"
            raise MediaError(f"{clip.path}: expected the target's size {near.width}x{near.height}, got {got}")
        if k < len(near):
            rows.add(frame.pixels, near.near[k] if near.found[k] else None, readers)
    if count != len(near):
        raise MediaError(
            f"{clip.path}: expected {len(near)} frames, as many as the target's part, got {count}; "
            "choose a common part with start and stop"
        )
    return rows.finish(clip)


def read_pictures(clip: Clip, readers: FaceReaders, *, limit: int) -> FaceReadings:
    """Readings of unrelated pictures of one person: the widest face of each, of at most ``limit`` evenly spread ones.

    Raises:
        NoFaceError: where no picture shows a face.
    """
    rows = _Rows()
    for frame in spread_frames(clip, limit):
        rows.add(frame.pixels, _locate_widest(frame, readers), readers)
    return rows.finish(clip)


def _locate_widest(frame: Frame, readers: FaceReaders) -> Points | None:
    """Landmarks of a picture's widest face, None where there is none."""
    return _locate(frame.pixels, _first_look(frame, readers.detector, None), readers.landmarker)


def spread_frames(clip: Clip, limit: int) -> Iterator[Frame]:
    """At most ``limit`` evenly spread frames; the pictures of a folder may differ in size here."""
    if clip.path.is_dir():
        paths = list_images(clip.path)[clip.start : clip.stop]
        for k in _spread(len(paths), limit):
            yield Frame(pixels=read_image(paths[k]), index=k, pts=k)
        return
    count = sum(1 for _ in clip.frames())
    wanted = set(_spread(count, limit))
    yield from (frame for k, frame in enumerate(clip.frames()) if k in wanted)


def _spread(count: int, limit: int) -> list[int]:
    """At most ``limit`` different indices from 0 to ``count`` - 1, evenly spread."""
    return sorted({round(float(k)) for k in np.linspace(0, count - 1, min(limit, count))}) if count else []


def _first_look(frame: Frame, detector: Detector, middle: Float64[np.ndarray, "2"] | None) -> Points5 | None:
    """The widest detected face, or the one nearest to ``middle``, where it was before; None where there is none."""
    faces = detector.detect([frame])[0]
    if not faces:
        return None
    if middle is None:
        return max(faces, key=lambda face: float(face.box[2] - face.box[0])).points5
    return min(faces, key=lambda face: float(np.linalg.norm(face.points5.mean(axis=0) - middle))).points5


def _locate(image: Image, near: Points | Points5 | None, landmarker: Landmarker) -> Points | None:
    """Landmarks near ``near``, None where there is no face."""
    if near is None:
        return None
    points, presence = landmarker.landmarks(image, near)
    return points if presence >= PRESENCE_MIN else None


class _Rows:
    """Collects one row per frame."""

    def __init__(self) -> None:
        self.middle: Float64[np.ndarray, "2"] | None = None
        self._size = (0, 0)
        self._rows: list[tuple[np.ndarray, ...] | None] = []

    def add(self, image: Image, near: Points | None, readers: FaceReaders) -> None:
        """Reads the face of ``image`` at ``near``; an empty row where there is none."""
        self._size = image.shape[0], image.shape[1]
        points = _locate(image, near, readers.landmarker)
        if near is None or points is None:
            self._rows.append(None)
            return
        self.middle = points[:, :2].mean(axis=0).astype(np.float64)
        pose = head_pose(points, *self._size)
        embedding = readers.embedder.embed(image, points5_of(points))
        angles = np.array([pose.yaw_deg, pose.pitch_deg, pose.roll_deg])
        expression = readers.landmarker.blendshapes(points)
        self._rows.append((near, points, expression, embedding, angles, np.array(gaze_angle(points))))

    def finish(self, clip: Clip) -> FaceReadings:
        """The table; MediaError for no frame at all, NoFaceError for no face in any."""
        if not self._rows:
            raise MediaError(f"{clip.path}: expected frames from {clip.start} on, got none")
        filled = [row for row in self._rows if row is not None]
        if not filled:
            raise NoFaceError(f"{clip.path}: expected a face, got none in {len(self._rows)} frames")
        columns = [
            np.stack([np.full_like(filled[0][c], np.nan) if row is None else row[c] for row in self._rows])
            for c in range(len(filled[0]))
        ]
        near, points, blendshapes, embeddings, pose, gaze = columns
        return FaceReadings(
            height=self._size[0],
            width=self._size[1],
            found=np.array([row is not None for row in self._rows]),
            near=near,
            points=points,
            blendshapes=blendshapes,
            embeddings=embeddings,
            pose_deg=pose,
            gaze_deg=gaze,
        )
