"""Who is who: the people of a clip while they are being followed, and what becomes of them at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Float64

from intracoder.faces.boxes import overlaps
from intracoder.records import Box, Embedding, Face, FaceTrack, Points

MERGE_SIMILARITY: Final = 0.6
"""Cosine of two mean embeddings above which people who never appear together are one."""

_JUMP_MIN = 0.12
"""Landmark motion between two frames, over the face's size, that is a jump where its neighbours are calm."""
_JUMP_RATIO = 4.0
_FACES_MIN = 3
_FRAMES_PER_FACE = 10
"""A face seen in fewer than one of so many frames, and in fewer than ``_FACES_MIN``, is taken for a mistake."""


@dataclass(slots=True, kw_only=True, eq=False)
class Person:
    """One person while the clip is being read."""

    faces: dict[int, Face] = field(default_factory=dict)
    """By frame index."""
    points: Points | None = None
    """Where the person was in the last frame; None while out of sight."""
    score: float = 0.0
    """Of the last detection."""
    confirmed_index: int = -1
    """Last frame in which the embedding was the person's own."""
    is_doubted: bool = False
    """The last embedding looked like somebody else's."""
    breaks: set[int] = field(default_factory=set)
    """Frames at which this face jumped."""
    embedding_sum: Float64[np.ndarray, "d"] | None = None
    embedding_count: int = 0

    def similarity(self, embedding: Embedding) -> float:
        """Cosine to the mean of the person's embeddings so far, -1 where there are none."""
        if self.embedding_sum is None:
            return -1.0
        length = max(float(np.linalg.norm(self.embedding_sum)), 1e-12)
        return float(self.embedding_sum @ embedding) / length

    def add_embedding(self, embedding: Embedding) -> None:
        """Counts one more embedding as the person's own."""
        own = embedding.astype(np.float64)
        self.embedding_sum = own if self.embedding_sum is None else self.embedding_sum + own
        self.embedding_count += 1

    def last_index(self) -> int:
        """Last frame with a face, -1 where there is none."""
        return max(self.faces, default=-1)

    def run_start(self, step: int) -> int:
        """First frame of the faces without a gap that end with the last one, in a clip of every ``step``-th frame."""
        index = self.last_index()
        while index - step in self.faces:
            index -= step
        return index

    def tail_start(self, step: int) -> int:
        """The frame at which the face that is followed now most likely became somebody else's.

        After one embedding alone the mistake was in that one, so all that was followed since is somebody else's.
        Otherwise it is the frame after the last confirmed one in which the landmarks moved most.
        """
        if self.embedding_count == 1:
            return self.run_start(step)
        tail = [f for i, f in sorted(self.faces.items()) if i >= self.confirmed_index]
        if len(tail) < 2:
            return self.last_index()
        return max(pairwise(tail), key=lambda two: face_motion(*two))[1].frame_index


def box_of(points: Points) -> Box:
    """Bounding box of dense landmarks: forehead to chin, ear to ear."""
    return np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])


def overlap_of(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, 0..1."""
    return float(overlaps(first[None], second[None])[0, 0])


def best_match(people: Iterable[Person], embedding: Embedding, similarity_min: float) -> Person | None:
    """The person most like an embedding, None where nobody reaches ``similarity_min``."""
    scored = [(person.similarity(embedding), person) for person in people]
    similarity, person = max(scored, key=lambda pair: pair[0], default=(-1.0, None))
    return person if similarity >= similarity_min else None


def face_motion(before: Face, after: Face) -> float:
    """Mean distance that the landmarks moved, over the face's size."""
    if before.points is None or after.points is None:
        return 0.0
    size = max(float(np.ptp(before.points[:, :2], axis=0).max()), 1.0)
    return float(np.linalg.norm(after.points[:, :2] - before.points[:, :2], axis=1).mean()) / size


def jumps(faces: Sequence[Face], step: int) -> set[int]:
    """Frames in which a face is suddenly elsewhere, as at a cut between two takes of one scene.

    Only neighbours, ``step`` frames apart, are compared.
    """
    motion = [face_motion(a, b) if b.frame_index == a.frame_index + step else 0.0 for a, b in pairwise(faces)]
    calm = [0.0, *motion, 0.0]
    return {
        faces[i + 1].frame_index
        for i, moved in enumerate(motion)
        if moved > _JUMP_MIN and moved > _JUMP_RATIO * max(calm[i], calm[i + 2])
    }


def merge_people(people: Sequence[Person]) -> list[Person]:
    """Joins people who look alike and never appear in the same frame, the most alike first."""
    merged = list(people)
    while True:
        pairs = [
            (_pair_similarity(a, b), i, j)
            for i, a in enumerate(merged)
            for j, b in enumerate(merged[:i])
            if not (a.faces.keys() & b.faces.keys())
        ]
        similarity, i, j = max(pairs, default=(-1.0, 0, 0))
        if similarity < MERGE_SIMILARITY:
            return merged
        joined, other = merged[j], merged.pop(i)
        joined.faces.update(other.faces)
        joined.breaks |= other.breaks
        joined.embedding_count += other.embedding_count
        if joined.embedding_sum is not None and other.embedding_sum is not None:
            joined.embedding_sum = joined.embedding_sum + other.embedding_sum


def _pair_similarity(a: Person, b: Person) -> float:
    """Cosine of two people's mean embeddings, -1 where one has none."""
    if a.embedding_sum is None or b.embedding_sum is None:
        return -1.0
    lengths = float(np.linalg.norm(a.embedding_sum) * np.linalg.norm(b.embedding_sum))
    return float(a.embedding_sum @ b.embedding_sum) / max(lengths, 1e-12)


def as_tracks(people: Sequence[Person], *, cuts: Sequence[int], frame_count: int, step: int) -> tuple[FaceTrack, ...]:
    """Finished tracks: the person seen in most frames is number 1; passing mistakes are left out.

    Args:
        people: With their faces.
        cuts: First frames of new shots.
        frame_count: Frames that were seen; where they are few even a single face counts.
        step: Frames of the clip from one that was seen to the next.
    """
    needed = min(_FACES_MIN, -(-frame_count // _FRAMES_PER_FACE))
    kept = [p for p in people if len(p.faces) >= needed]
    kept.sort(key=lambda p: (-len(p.faces), min(p.faces)))
    tracks = []
    for number, person in enumerate(kept, 1):
        faces = tuple(face for _, face in sorted(person.faces.items()))
        breaks = {*cuts, *person.breaks, *jumps(faces, step)}
        own = tuple(sorted(i for i in breaks if faces[0].frame_index < i <= faces[-1].frame_index))
        tracks.append(FaceTrack(track_id=number, faces=faces, cuts=own))
    return tuple(tracks)
