"""Follows every person through a clip.

Between detections a face is followed by its landmarks alone, which is several times faster and steadier. Who it is
rests on embeddings: they are compared every few frames, at every doubtful change of the picture, and when somebody
comes back. Frames are seen once, in order; a short history is kept to find out when a newcomer really came in.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from intracoder.config import DetectConfig
from intracoder.errors import NoFaceError
from intracoder.faces.landmarks import points5_of
from intracoder.faces.people import (
    Person,
    as_tracks,
    best_match,
    box_of,
    merge_people,
    overlap_of,
)
from intracoder.faces.pose import head_pose
from intracoder.faces.shots import CUT_MIN, DOUBT_MIN, SEARCH_MIN, ShotWatch
from intracoder.protocols import Detector, Embedder, Landmarker, Progress, silent
from intracoder.records import Embedding, Face, FaceTrack, Frame, Points, Pose

_EMBED_EVERY = 5
"""Frames between two looks at who it is."""
_EMPTY_EVERY = 5
"""Frames between detections while nobody is in sight; the history fills what lies between."""
_RETRY_FRAMES = 10
"""Frames after a loss in which each is searched."""
_LINK_SIMILARITY = 0.5
"""Cosine to a person's mean above which a face that appears is that person again."""
_LINK_NEARBY_SIMILARITY = 0.25
"""The same for one who was lost moments ago at the same place."""
_NEARBY_FRAMES = 50
_KEEP_SIMILARITY = 0.2
"""Cosine under which, twice running, a followed face is somebody else's; profiles and blur stay above."""
_KEEP_SIMILARITY_DOUBTED = 0.45
"""The same where the picture changed as at a cut."""
_OTHER_MARGIN = 0.2
"""How much more like an absent person a followed face must be to be doubted."""
_SAME_OVERLAP = 0.5
"""Overlap at which two landmark boxes are one face."""
_DETECTION_OVERLAP = 0.3
"""Overlap at which a detector's box and a landmark box are one face; they are cut differently."""
_HISTORY_BYTES = 200_000_000
_REPORT_S = 0.2


def track_faces(
    frames: Iterable[Frame],
    *,
    detector: Detector,
    landmarker: Landmarker,
    embedder: Embedder,
    config: DetectConfig,
    progress: Progress = silent,
    frame_count: int | None = None,
) -> tuple[FaceTrack, ...]:
    """One track for each person in the clip, the person seen in most frames first, numbered from 1.

    Every face has box (of its landmarks), points, presence, blendshapes and pose; the embedding is measured every
    few frames and None elsewhere; the score is that of the last detection. A person who leaves and comes back, or
    is seen again after a cut, keeps the track. Faces in fewer than three frames are left out in all but very short
    clips.

    Args:
        frames: In order; read once. They may be a sample of a clip's frames, every so many.
        detector: Finds faces.
        landmarker: Follows them.
        embedder: Tells people apart.
        config: Thresholds and how often to look for newcomers.
        progress: Called a few times a second with the rate.
        frame_count: How many frames are to come, for the progress only.
    """
    tracker = _Tracker(detector, landmarker, embedder, config)
    total = None if frame_count is None else float(frame_count)
    started = reported = time.monotonic()
    done = 0
    for frame in frames:
        tracker.see(frame)
        done += 1
        now = time.monotonic()
        if now - reported >= _REPORT_S:
            reported = now
            note = f"{done / (now - started):.0f} frames/s, people: {len(tracker.people)}"
            progress("faces", float(done), total, note)
    tracks = as_tracks(merge_people(tracker.people), cuts=tracker.cuts, frame_count=done, step=tracker.step)
    progress("faces", float(done), float(done), f"people: {len(tracks)}")
    return tracks


class _Tracker:
    """State of one pass over a clip."""

    def __init__(self, detector: Detector, landmarker: Landmarker, embedder: Embedder, config: DetectConfig) -> None:
        self.people: list[Person] = []
        self.cuts: list[int] = []
        self._detector = detector
        self._landmarker = landmarker
        self._embedder = embedder
        self._config = config
        self._shots = ShotWatch()
        self._history: deque[Frame] = deque(maxlen=config.redetect_every)
        self._detected_index: int | None = None
        self._retry_until = -1
        self._last_index: int | None = None
        self.step: int = 1

    def see(self, frame: Frame) -> None:
        """Takes in the next frame."""
        if self._last_index is not None:
            # a sampled clip has gaps between all its frames; periods are counted in frames that were seen
            self.step = max(1, frame.index - self._last_index)
        self._last_index = frame.index
        change = self._shots.change(frame.pixels)
        if change >= CUT_MIN:
            self.cuts.append(frame.index)
            self._history.clear()
            self._detected_index = None
            for person in self.people:
                person.points = None
        self._follow(frame)
        self._part(frame)
        for person in self._present():
            is_due = frame.index - person.confirmed_index >= _EMBED_EVERY * self.step
            if is_due or person.is_doubted or change >= DOUBT_MIN:
                self._confirm(person, frame, is_shot_doubted=change >= DOUBT_MIN)
        if change >= SEARCH_MIN or self._wants_detection(frame.index):
            self._detect(frame)
        self._remember(frame)

    def _present(self) -> list[Person]:
        """People who are in sight."""
        return [person for person in self.people if person.points is not None]

    def _absent(self) -> list[Person]:
        """People who are out of sight."""
        return [person for person in self.people if person.points is None]

    def _remember(self, frame: Frame) -> None:
        """Keeps the frame for looking back, within a fixed amount of memory."""
        self._history.append(frame)
        while len(self._history) * frame.pixels.nbytes > _HISTORY_BYTES and len(self._history) > 1:
            self._history.popleft()

    # ---- following ---------------------------------------------------------------------------------------------

    def _follow(self, frame: Frame) -> None:
        """Finds each person in sight near where the last frame showed them, or loses them."""
        for person in self._present():
            near = person.points
            face = None if near is None else self._look(frame, near, person.score)
            if face is None:
                self._lose(person, frame)
            else:
                person.faces[frame.index] = face
                person.points = face.points

    def _look(self, frame: Frame, near: Points, score: float) -> Face | None:
        """The face near some landmarks, None where there is none."""
        points, presence = self._landmarker.landmarks(frame.pixels, near)
        return self._face(frame, points, presence, score) if self._is_face(points, presence, frame) else None

    def _is_face(self, points: Points, presence: float, frame: Frame) -> bool:
        """True where the landmarks are believed in, not much too small, and have their middle in the frame."""
        if presence < self._config.presence_min or not np.isfinite(points).all():
            return False
        height, width = frame.pixels.shape[:2]
        box = box_of(points)
        middle_x, middle_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        is_large = float((box[2:] - box[:2]).max()) >= self._config.min_face_px / 2
        return bool(is_large and 0 <= middle_x < width and 0 <= middle_y < height)

    def _face(self, frame: Frame, points: Points, presence: float, score: float) -> Face:
        """Everything that is measured in every frame."""
        pose: Pose | None
        try:
            pose = head_pose(points, *frame.pixels.shape[:2])
        except NoFaceError:
            pose = None
        return Face(
            frame_index=frame.index,
            box=box_of(points),
            points5=points5_of(points),
            score=score,
            points=points,
            presence=presence,
            blendshapes=self._landmarker.blendshapes(points),
            pose=pose,
        )

    def _lose(self, person: Person, frame: Frame) -> None:
        """The person is out of sight from this frame on."""
        person.points = None
        person.is_doubted = False
        person.faces.pop(frame.index, None)
        self._retry_until = frame.index + _RETRY_FRAMES * self.step

    def _part(self, frame: Frame) -> None:
        """Where two people have slid onto one face, the one who looks like it keeps it."""
        present = self._present()
        for i, first in enumerate(present):
            for second in present[:i]:
                mine, yours = first.faces.get(frame.index), second.faces.get(frame.index)
                if mine is None or yours is None or overlap_of(mine.box, yours.box) < _SAME_OVERLAP:
                    continue
                embedding = self._embedder.embed(frame.pixels, mine.points5)
                is_first = first.similarity(embedding) > second.similarity(embedding)
                self._lose(second if is_first else first, frame)

    # ---- who it is ---------------------------------------------------------------------------------------------

    def _confirm(self, person: Person, frame: Frame, *, is_shot_doubted: bool) -> None:
        """Compares the face of this frame with the person's others; hands it on where it is somebody else's."""
        face = person.faces[frame.index]
        embedding = self._embedder.embed(frame.pixels, face.points5)
        similarity = person.similarity(embedding)
        other = best_match(self._absent(), embedding, max(_LINK_SIMILARITY, similarity + _OTHER_MARGIN))
        needed = _KEEP_SIMILARITY_DOUBTED if is_shot_doubted else _KEEP_SIMILARITY
        if similarity >= needed and other is None:
            self._accept(person, frame, embedding)
        elif is_shot_doubted or person.is_doubted:
            start = frame.index if is_shot_doubted else person.tail_start(self.step)
            self._hand_on(person, other, frame, start=start, embedding=embedding)
        else:
            person.is_doubted = True

    def _hand_on(self, person: Person, other: Person | None, frame: Frame, *, start: int, embedding: Embedding) -> None:
        """Gives the faces from frame ``start`` on to ``other``, or to a new person."""
        moved = {i: face for i, face in person.faces.items() if i >= start}
        for index in moved:
            del person.faces[index]
        heir = other if other is not None else self._new_person()
        heir.faces.update(moved)
        heir.breaks.add(start)
        heir.points, heir.score = person.points, person.score
        person.points, person.is_doubted = None, False
        self._accept(heir, frame, embedding)

    def _accept(self, person: Person, frame: Frame, embedding: Embedding) -> None:
        """Counts the embedding of this frame's face as the person's own."""
        person.add_embedding(embedding)
        person.confirmed_index, person.is_doubted = frame.index, False
        person.faces[frame.index] = replace(person.faces[frame.index], embedding=embedding)

    def _new_person(self) -> Person:
        """Somebody who has not been seen before."""
        person = Person()
        self.people.append(person)
        return person

    # ---- detection ---------------------------------------------------------------------------------------------

    def _wants_detection(self, index: int) -> bool:
        """True at the start, after a cut or a loss, and when the last look is long ago."""
        if self._detected_index is None or (index <= self._retry_until and self._absent()):
            return True
        redetect_every = self._config.redetect_every
        return index - self._detected_index >= self.step * (
            redetect_every if self._present() else min(_EMPTY_EVERY, redetect_every)
        )

    def _detect(self, frame: Frame) -> None:
        """Looks for faces that nobody is following, and renews the scores of the others."""
        self._detected_index = frame.index
        (detections,) = self._detector.detect([frame])
        followed = self._followed(detections, frame)
        for place, detection in enumerate(detections):
            person = followed.get(place)
            if person is None:
                self._welcome(detection, frame)
            else:
                person.score = detection.score
                person.faces[frame.index] = replace(person.faces[frame.index], score=detection.score)

    def _followed(self, detections: Sequence[Face], frame: Frame) -> dict[int, Person]:
        """Which detections, by place, show somebody in sight: the best overlaps first, each person once."""
        present = self._present()
        pairs = [
            (overlap_of(person.faces[frame.index].box, detection.box), place, who)
            for place, detection in enumerate(detections)
            for who, person in enumerate(present)
        ]
        found: dict[int, Person] = {}
        taken: set[int] = set()
        for overlap, place, who in sorted(pairs, reverse=True):
            if overlap >= _DETECTION_OVERLAP and place not in found and who not in taken:
                found[place] = present[who]
                taken.add(who)
        return found

    def _welcome(self, detection: Face, frame: Frame) -> None:
        """Starts or resumes following a detected face, and finds out since when it has been there."""
        points, presence = self._landmarker.landmarks(frame.pixels, detection.points5)
        if not self._is_face(points, presence, frame):
            return
        face = self._face(frame, points, presence, detection.score)
        if any(overlap_of(p.faces[frame.index].box, face.box) >= _SAME_OVERLAP for p in self._present()):
            return
        embedding = self._embedder.embed(frame.pixels, face.points5)
        known = self._just_lost_at(face, embedding) or best_match(self._absent(), embedding, _LINK_SIMILARITY)
        person = known or self._new_person()
        earlier = person.last_index()
        person.faces[frame.index] = face
        person.points, person.score = points, detection.score
        self._accept(person, frame, embedding)
        self._look_back(person, face, earlier)

    def _just_lost_at(self, face: Face, embedding: Embedding) -> Person | None:
        """Somebody who was lost at this place moments ago in this shot and looks at all like it."""
        shot_start = self.cuts[-1] if self.cuts else 0
        since = max(shot_start, face.frame_index - _NEARBY_FRAMES * self.step)
        near = [
            p
            for p in self._absent()
            if p.last_index() >= since and overlap_of(p.faces[p.last_index()].box, face.box) >= _DETECTION_OVERLAP
        ]
        return best_match(near, embedding, _LINK_NEARBY_SIMILARITY)

    def _look_back(self, person: Person, face: Face, earlier: int) -> None:
        """Follows a face that has just been found backwards through the history, at most to frame ``earlier``."""
        for frame in reversed(self._history):
            if frame.index <= earlier or face.points is None:
                return
            before = self._look(frame, face.points, face.score)
            taken = [p.faces[frame.index].box for p in self.people if frame.index in p.faces]
            if before is None or any(overlap_of(box, before.box) >= _SAME_OVERLAP for box in taken):
                return
            person.faces[frame.index] = face = before
