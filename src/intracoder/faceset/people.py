"""Which of the people in a clip is meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from intracoder.errors import ConfigError, NoFaceError
from intracoder.faceset.measure import face_side_px
from intracoder.media.reader import read_image
from intracoder.protocols import Detector, Embedder
from intracoder.records import Embedding, FaceTrack, Frame

_LONG_ENOUGH = 0.1
"""A person in the background: seen for less than this part of the time of the one seen longest, ..."""
_LARGE_ENOUGH = 0.4
"""... or smaller than this part of the largest face."""


def reference_embedding(path: Path, detector: Detector, embedder: Embedder) -> Embedding:
    """Identity of the largest face in a picture.

    Raises:
        MediaError: it is not a picture.
        NoFaceError: nobody is in it.
    """
    image = read_image(path)
    (faces,) = detector.detect([Frame(pixels=image, index=0, pts=0)])
    if not faces:
        raise NoFaceError(f"{path}: expected a picture of the person's face, found none; give a closer, frontal one")
    return embedder.embed(image, max(faces, key=face_side_px).points5)


def mean_embedding(track: FaceTrack) -> Embedding | None:
    """Unit mean of the embeddings measured on a track; None where there is none."""
    embeddings = [face.embedding for face in track.faces if face.embedding is not None]
    if not embeddings:
        return None
    mean = np.mean(embeddings, axis=0)
    norm = float(np.linalg.norm(mean))
    return (mean / norm).astype(np.float32) if norm > 0 else None


def main_tracks(tracks: Sequence[FaceTrack]) -> tuple[FaceTrack, ...]:
    """People who could be meant, by number: without passers-by and small faces in the background."""
    if not tracks:
        return ()
    longest = max(len(track.faces) for track in tracks)
    sides = {track.track_id: _median_side(track) for track in tracks}
    largest = max(sides.values())
    return tuple(
        track
        for track in sorted(tracks, key=lambda t: t.track_id)
        if len(track.faces) >= _LONG_ENOUGH * longest and sides[track.track_id] >= _LARGE_ENOUGH * largest
    )


def largest_track(tracks: Sequence[FaceTrack]) -> FaceTrack | None:
    """The person closest to the camera."""
    return max(tracks, key=_median_side, default=None)


def numbered_track(tracks: Sequence[FaceTrack], number: int, path: Path) -> FaceTrack:
    """The person with a number. Raises ConfigError where nobody has it."""
    by_number = {track.track_id: track for track in tracks}
    if number not in by_number:
        known = ", ".join(map(str, sorted(by_number))) or "nobody"
        raise ConfigError(
            f"{path}: --face {number}: expected one of {known}; `intracoder faces {path.name}` shows who is who"
        )
    return by_number[number]


def most_similar_track(
    tracks: Sequence[FaceTrack], reference: Embedding, similarity_min: float
) -> tuple[FaceTrack | None, float]:
    """The person most like ``reference``, None where nobody reaches ``similarity_min``; and the best similarity."""
    best, best_similarity = None, -1.0
    for track in tracks:
        embedding = mean_embedding(track)
        similarity = -1.0 if embedding is None else float(embedding @ reference)
        if similarity > best_similarity:
            best, best_similarity = track, similarity
    return (best if best_similarity >= similarity_min else None), best_similarity


def _median_side(track: FaceTrack) -> float:
    """Typical size of a person's face."""
    return float(np.median([face_side_px(face) for face in track.faces]))
