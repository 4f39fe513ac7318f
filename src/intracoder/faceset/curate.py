"""Which faces of a set are worth training on, and why the others are not.

Only marks: the files of dropped faces stay in ``crops`` where they can be looked at, and another run with other
thresholds starts from all of them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32

from intracoder.config import CurateConfig
from intracoder.errors import FaceSetError
from intracoder.faceset.entries import DELETED_BY_HAND, FaceEntry, Verdict
from intracoder.faceset.measure import face_side_px, outside_fraction
from intracoder.faceset.store import FaceSet
from intracoder.ops.geometry import find_template, transform_points
from intracoder.ops.topology import (
    BROW_LEFT,
    BROW_RIGHT,
    EYE_LEFT,
    EYE_RIGHT,
    INNER_LIPS,
    IRIS_LEFT,
    IRIS_RIGHT,
    LIPS,
    OVAL,
)
from intracoder.protocols import Progress, silent
from intracoder.records import Embedding

OUTSIDE: Final = "cut off by the picture's edge"
TOO_SMALL: Final = "too small"
UNCERTAIN: Final = "no clear face"
TOO_DARK: Final = "too dark"
TOO_BRIGHT: Final = "too bright"
OTHER_PERSON: Final = "another person"
BLURRED: Final = "blurred"
DUPLICATE: Final = "near-duplicate"
REASONS: Final = (
    DELETED_BY_HAND,
    TOO_SMALL,
    OUTSIDE,
    UNCERTAIN,
    TOO_DARK,
    TOO_BRIGHT,
    OTHER_PERSON,
    BLURRED,
    DUPLICATE,
)
"""In the order in which they are looked for; a face is dropped for the first that holds."""

KEPT_MIN: Final = 2
"""A person can't be learned from fewer pictures."""
FEW: Final = 60
"""Duplicates are only dropped down to this many faces, and a smaller set is worth a warning."""
_OUTSIDE_MAX = 0.12
_PRESENCE_MIN = 0.5
_EXPOSURE_MIN, _EXPOSURE_MAX = 0.03, 0.97
_CENTROID_SAMPLE = 2000
_PARTS = (
    OVAL[::2],
    (*EYE_LEFT, *EYE_RIGHT),
    (IRIS_LEFT[0], IRIS_RIGHT[0]),
    (*BROW_LEFT, *BROW_RIGHT),
    (*LIPS, *INNER_LIPS),
)
"""Landmarks that are compared for duplicates; a blink changes few points, so it must count by itself."""
EYE_DISTANCE_CM: Final = 6.3

Judge: TypeAlias = Callable[[Sequence[FaceEntry]], list[str]]
"""A reason for each face, empty where it stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurateReport:
    """What became of a set's crops."""

    faceset: FaceSet
    """The set as it now is."""
    kept: int
    dropped: Mapping[str, int]
    """Faces by reason; every one of REASONS has a key."""
    warnings: tuple[str, ...]
    """What a user should know, in plain words."""

    def text(self) -> str:
        """One line."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items() if count)
        return f"{self.kept} faces kept" + (f"; dropped: {reasons}" if reasons else "")


def curate(faceset: FaceSet, config: CurateConfig, progress: Progress = silent) -> CurateReport:
    """Decides on every crop anew and writes the verdicts into the set.

    Args:
        faceset: with measurements, as ``extract_faces`` leaves it.
        config: thresholds.
        progress: stage "curate".

    Raises:
        FaceSetError: fewer than KEPT_MIN faces are left; nothing is written then.
    """
    entries = [entry for entry in faceset.entries if entry.file is not None]
    reasons = {entry.face_id: DELETED_BY_HAND for entry in entries if entry.why == DELETED_BY_HAND}
    progress("curate", 0.0, 3.0, "size, light, presence")
    _drop(reasons, entries, lambda rest: [_fault(faceset, entry, config) for entry in rest])
    progress("curate", 1.0, 3.0, "identity")
    _drop(reasons, entries, lambda rest: _others(rest, config.similarity_min))
    _drop(reasons, entries, lambda rest: _blurred(rest, config.sharpness_min))
    progress("curate", 2.0, 3.0, "duplicates")
    left = len(entries) - len(reasons)
    if left >= KEPT_MIN:
        _drop(reasons, entries, lambda rest: _duplicates(rest, config.duplicate_max))
    dropped = {reason: sum(r == reason for r in reasons.values()) for reason in REASONS}
    if left < KEPT_MIN:
        found = ", ".join(f"{count} {reason}" for reason, count in dropped.items() if count) or "no crops at all"
        raise FaceSetError(
            f"{faceset.folder}: {left} of {len(entries)} faces can be used, expected at least {KEPT_MIN} ({found}); "
            "give more or better footage, or loosen [curate]"
        )
    # a deletion is seen by the missing file; it is not written, so that a file put back counts again
    verdicts = {
        entry.face_id: Verdict(is_kept=entry.face_id not in reasons, why=reasons.get(entry.face_id, ""))
        for entry in entries
        if reasons.get(entry.face_id) != DELETED_BY_HAND
    }
    curated = faceset.with_verdicts(verdicts)
    progress("curate", 3.0, 3.0, "")
    kept = len(entries) - len(reasons)
    return CurateReport(faceset=curated, kept=kept, dropped=dropped, warnings=_warnings(kept, dropped))


def centroid(faceset: FaceSet) -> Embedding:
    """Identity of the set's person: the unit mean of the kept faces' embeddings, others left out.

    Raises:
        FaceSetError: no kept face has an embedding.
    """
    embeddings = [e.aligned.face.embedding for e in faceset.kept() if e.aligned.face.embedding is not None]
    if not embeddings:
        raise FaceSetError(f"{faceset.folder}: no kept face has an identity embedding; extract the face set anew")
    return robust_centroid(np.stack(embeddings), similarity_min=0.0)


def robust_centroid(embeddings: Float32[np.ndarray, "n d"], similarity_min: float) -> Embedding:
    """The unit mean of the largest group of like embeddings (unit length each).

    Begins at the row that has the most others within ``similarity_min``, and takes the mean of those within it twice.
    """
    step = -(-len(embeddings) // _CENTROID_SAMPLE)
    sample = embeddings[::step]
    similarities = sample @ sample.T
    friends = (similarities >= similarity_min).sum(axis=1)
    # among rows with the same number of friends the most typical one
    best = int(np.lexsort((-similarities.sum(axis=1), -friends))[0])
    center = sample[best]
    for _ in range(2):
        mean = embeddings[embeddings @ center >= similarity_min].mean(axis=0)
        center = mean / max(float(np.linalg.norm(mean)), 1e-9)
    return np.asarray(center, dtype=np.float32)


# ---- reasons ---------------------------------------------------------------------------------------------------


def _drop(reasons: dict[int, str], entries: Sequence[FaceEntry], judge: Judge) -> None:
    """Adds the reasons that ``judge`` finds among the faces that have none yet."""
    rest = [entry for entry in entries if entry.face_id not in reasons]
    if rest:
        found = zip(rest, judge(rest), strict=True)
        reasons.update({entry.face_id: reason for entry, reason in found if reason})


def _fault(faceset: FaceSet, entry: FaceEntry, config: CurateConfig) -> str:
    """What is wrong with a face by itself; empty where nothing is."""
    face, scores = entry.aligned.face, entry.scores
    media = faceset.origins[entry.origin_id].media
    if face_side_px(face) < config.min_face_px:
        return TOO_SMALL
    if face.points is not None and outside_fraction(face.points, media.height, media.width) > _OUTSIDE_MAX:
        return OUTSIDE
    if face.presence is not None and face.presence < _PRESENCE_MIN:
        return UNCERTAIN
    if scores is not None and scores.exposure < _EXPOSURE_MIN:
        return TOO_DARK
    if scores is not None and scores.exposure > _EXPOSURE_MAX:
        return TOO_BRIGHT
    return ""


def _others(entries: Sequence[FaceEntry], similarity_min: float) -> list[str]:
    """Faces unlike the set's person; one without an embedding gets the benefit of the doubt."""
    measured = [e.aligned.face.embedding for e in entries if e.aligned.face.embedding is not None]
    if not measured:
        return [""] * len(entries)
    center = robust_centroid(np.stack(measured), similarity_min)
    embeddings = (entry.aligned.face.embedding for entry in entries)
    return [OTHER_PERSON if e is not None and float(e @ center) < similarity_min else "" for e in embeddings]


def _blurred(entries: Sequence[FaceEntry], sharpness_min: float) -> list[str]:
    """Faces much softer than the set's median."""
    values = np.array([0.0 if entry.scores is None else entry.scores.sharpness for entry in entries])
    return [BLURRED if value < sharpness_min * np.median(values) else "" for value in values]


def _duplicates(entries: Sequence[FaceEntry], duplicate_max: float) -> list[str]:
    """Faces that repeat another; at least FEW are left."""
    is_chosen = spread_out(_looks(entries), duplicate_max, count_min=FEW)
    return ["" if chosen else DUPLICATE for chosen in is_chosen]


def _looks(entries: Sequence[FaceEntry]) -> tuple[Float32[np.ndarray, "n _"], ...]:
    """Rows that say what each face looks like: landmarks of every part of the face, and the picture.

    Landmarks are in the crop, in eye distances, so that lips and lids count however large the face was filmed;
    thumbnails are 0..1 with their brightness taken off.
    """
    points = []
    for entry in entries:
        if entry.aligned.face.points is None or entry.scores is None:
            raise FaceSetError(f"face {entry.face_id}: expected landmarks and measurements; extract the face set anew")
        xy = transform_points(entry.aligned.face.points[:, :2], entry.aligned.frame_to_crop)
        points.append(xy / (EYE_DISTANCE_CM / find_template(entry.aligned.template).side_cm * entry.aligned.crop_px))
    faces = np.stack(points).astype(np.float32)
    # twice the mean over x and y: the mean of a point's way along both
    parts = [2 * faces[:, list(part)].reshape(len(faces), -1) for part in _PARTS]
    pictures = np.stack([e.scores.thumbnail.ravel() for e in entries if e.scores is not None]).astype(np.float32) / 255
    return (*parts, pictures - pictures.mean(axis=1, keepdims=True))


def spread_out(
    looks: Sequence[Float32[np.ndarray, "n _"]], distance_min: float, *, count_min: int
) -> Bool[np.ndarray, "n"]:
    """Chooses faces that differ: always the one farthest from all chosen so far, beginning with the most ordinary.

    Two faces differ by the largest of their parts' mean differences, plus that of the last part, the picture. Ends
    where the farthest is nearer than ``distance_min``, but not before ``count_min`` are chosen.

    Source: farthest-first traversal; Gonzalez, Theoretical Computer Science 38, 1985.
    """
    count = len(looks[0])
    chosen = np.zeros(count, dtype=bool)
    nearest = np.full(count, np.inf)
    farthest = int(_differences(looks, [part.mean(axis=0) for part in looks]).argmin())
    while not chosen.all() and (nearest[farthest] >= distance_min or chosen.sum() < count_min):
        chosen[farthest] = True
        nearest = np.minimum(nearest, _differences(looks, [part[farthest] for part in looks]))
        nearest[chosen] = -1.0
        farthest = int(nearest.argmax())
    return chosen


def _differences(
    looks: Sequence[Float32[np.ndarray, "n _"]], one: Sequence[Float32[np.ndarray, "_"]]
) -> Float32[np.ndarray, "n"]:
    """How much every face differs from one, see ``spread_out``."""
    *parts, picture = (np.abs(part - row).mean(axis=1) for part, row in zip(looks, one, strict=True))
    return np.asarray(np.max(parts, axis=0) + picture, dtype=np.float32)


def _warnings(kept: int, dropped: Mapping[str, int]) -> tuple[str, ...]:
    """What a user should know."""
    warnings = []
    if kept < FEW:
        warnings.append(f"only {kept} usable faces: expressions and poses that are not among them will look wrong")
    if dropped[OTHER_PERSON] > kept:
        warnings.append(
            f"more faces of others ({dropped[OTHER_PERSON]}) than kept ({kept}): check that the right person was taken"
        )
    return tuple(warnings)
