"""First pass over a clip or photo: everybody's track."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from intracoder.config import DetectConfig
from intracoder.faces.tracker import track_faces
from intracoder.media.reader import read_frames
from intracoder.protocols import Detector, Embedder, Landmarker, Progress
from intracoder.records import FaceTrack, Frame, MediaInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """The networks that look at faces."""

    detector: Detector
    landmarker: Landmarker
    embedder: Embedder


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysis:
    """What the first pass found in one file."""

    media: MediaInfo
    frame_count: int
    frame_step: int
    pts: tuple[int, ...]
    """Of every frame read, by frame index."""
    tracks: tuple[FaceTrack, ...]


def analyse(
    media: MediaInfo,
    networks: Networks,
    config: DetectConfig,
    *,
    step: int,
    progress: Progress,
    read_before: int,
    read_total: int,
) -> Analysis:
    """Tracks everybody in a file.

    Args:
        media: the file, from ``probe``.
        networks: detector, landmarker, embedder.
        config: detection.
        step: every how many frames one is looked at.
        progress: stage "analyse".
        read_before: frames of the files before.
        read_total: frames of all files, as far as known; 0 where not.
    """
    pts: list[int] = []

    def frames() -> Iterator[Frame]:
        for frame in read_frames(media.path):
            pts.append(frame.pts)
            if frame.index % step == 0:
                yield frame

    def report(stage: str, done: object, total: object, note: str = "") -> None:
        # counted here: the tracker sees only the frames that are analysed, of this file
        del stage, done, total
        count = float(read_before + len(pts))
        progress("analyse", count, max(float(read_total), count) if read_total else None, note)

    tracks = track_faces(
        frames(),
        detector=networks.detector,
        landmarker=networks.landmarker,
        embedder=networks.embedder,
        config=config,
        progress=report,
    )
    return Analysis(media=media, frame_count=len(pts), frame_step=step, pts=tuple(pts), tracks=tracks)
