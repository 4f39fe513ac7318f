"""Fitting ``ops.seating`` to synthetic truths: heads at rest in, offsets between plan and truth out.

FOLDER is what the command ``synth`` makes of its suite ``seating``:

    clips/ANN_000.mp4              Ann's own performance, from which her head at rest is found
    gt/ANN_000_as_BOB_face.mp4     the same with Bob's inner face on her head: where the landmarks should have come
    meta/*.json                    who, and which frames of the performance
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64

from intracoder.errors import ConfigError, TrainingError
from intracoder.faceset.likeness import (
    Performance,
    RestingHead,
    find_rest,
    laid_on,
    measure_performance,
)
from intracoder.media.reader import read_frames
from intracoder.ops.expression import fit_shape_basis
from intracoder.ops.geometry import placed
from intracoder.ops.seating import Seating, upright
from intracoder.ops.topology import EYE_CORNERS, SURFACE_COUNT, mirror_indices
from intracoder.protocols import Progress, silent
from intracoder.records import HeadFit, Points, Shape
from intracoder.training.performances import FaceReader, moments_of

RANK: Final = 16
"""Numbers of two heads that count: 8 leave people left out 5 % further off, 40 bring them 1 % nearer."""
RIDGE: Final = 0.3
"""In units of the heads' mean squared difference from their mean; .1 and 1 are 1 and 2 % worse for people left out."""
_DEPTH_RIDGE: Final = 0.3
"""Keeps the depth of an offset at 0 where few frames show it, in frames."""
_PERSON_RIDGE: Final = 0.1
"""Offsets of pairs fix those of people up to a constant; this takes the least ones."""
_LEAST_FRAMES: Final = 5
_LEAST_PEOPLE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadClip:
    """A person's own performance, as it is read."""

    person: str
    moments: tuple[int, ...]
    """Frame numbers of the performance that show a face."""
    points: Float32[np.ndarray, "n 478 3"]
    """Pixels."""
    blendshapes: Float32[np.ndarray, "n 52"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeatedFace:
    """One person's face on another's head: where it was planned to be, and where it is."""

    source: str
    """Name of the source's own clip; and the target's."""
    target: str
    source_rest: Shape
    """Their heads at rest, cm."""
    target_rest: Shape
    heads: tuple[HeadFit, ...]
    """Of the target, in every frame."""
    planned: Float64[np.ndarray, "n 468 3"]
    """The source's face in the target's axes, cm."""
    truth: Float64[np.ndarray, "n 468 2"]
    """Landmarks of the truth, pixels."""

    def error_percent(self, offset: Float64[np.ndarray, "468 3"] | float = 0.0) -> float:
        """Mean distance of planned to true landmarks, percent of the distance of the outer eye corners."""
        eyes = [EYE_CORNERS[0], EYE_CORNERS[3]]
        unit = np.linalg.norm(np.diff(self.truth[:, eyes], axis=1)[:, 0], axis=1)
        missed = np.linalg.norm(self._seen(offset) - self.truth, axis=2)
        return float((missed / unit[:, None]).mean() * 100)

    def offset(self) -> Float64[np.ndarray, "468 3"]:
        """The constant offset of each point that brings the plan nearest to the truth, cm."""
        views = np.stack([head.scale * head.rotation[:2] for head in self.heads])
        missed = self.truth - self._seen(0.0)
        scale = float(np.mean([head.scale for head in self.heads]))
        squared = np.einsum("nia,nib->ab", views, views) + np.diag([0.0, 0.0, _DEPTH_RIDGE * scale**2])
        return np.asarray(np.linalg.solve(squared, np.einsum("nia,npi->ap", views, missed)).T)

    def _seen(self, offset: Float64[np.ndarray, "468 3"] | float) -> Float64[np.ndarray, "n 468 2"]:
        rows = zip(self.planned, self.heads, strict=True)
        return np.stack([placed(shape + offset, head)[:, :2] for shape, head in rows])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truths:
    """What a folder shows."""

    faces: tuple[SeatedFace, ...]
    person_of: Mapping[str, str]
    """Person of each own clip's name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedSeating:
    """The function, and what it is good for: landmark errors of people who were left out of fitting, percent."""

    seating: Seating
    pairs: int
    people: int
    before_percent: float
    after_percent: float


def gather_truths(folder: Path, reader: FaceReader, progress: Progress = silent) -> Truths:
    """Reads the clips of a folder.

    Raises:
        ConfigError: The folder holds no clips, a description can't be read, or a truth's source has no own clip.
        MediaError: A clip can't be read.
    """
    paths = sorted((folder / "clips").glob("*.mp4"))
    if not paths:
        raise ConfigError(f"{folder}: expected clips/*.mp4 as the command synth writes them, found none")
    truths = sorted((folder / "gt").glob("*_face.mp4"))
    total = float(len(paths) + len(truths))
    own: dict[str, ReadClip] = {}
    for done, path in enumerate(paths):
        progress("gather", float(done), total, path.stem)
        own[path.stem] = _read_clip(folder, path, reader)
    seated = []
    for done, path in enumerate(truths):
        progress("gather", float(len(paths) + done), total, path.stem)
        target, _, name = path.stem.removesuffix("_face").partition("_as_")
        source = f"{name}_{target.rpartition('_')[2]}"
        if source not in own or target not in own:
            raise ConfigError(f"{path}: expected clips/{target}.mp4 and clips/{source}.mp4 beside it")
        face = _seated(folder, path, (source, own[source]), (target, own[target]), reader)
        if face is not None:
            seated.append(face)
    return Truths(faces=tuple(seated), person_of={name: clip.person for name, clip in own.items()})


def fit_seating(faces: Sequence[SeatedFace], person_of: Mapping[str, str]) -> FittedSeating:
    """Fits the function, and tries it on everybody with those left out who are tried.

    Args:
        faces: Faces on other heads.
        person_of: Person of each clip's name.

    Raises:
        TrainingError: Too few people.
    """
    people = sorted({person_of[name] for face in faces for name in (face.source, face.target)})
    if len(people) < _LEAST_PEOPLE:
        raise TrainingError(f"seating: expected at least {_LEAST_PEOPLE} people, got {len(people)}; render more clips")
    before = [face.error_percent() for face in faces]
    after = []
    for face in faces:
        tried_on = {person_of[face.source], person_of[face.target]}
        others = [f for f in faces if not tried_on & {person_of[f.source], person_of[f.target]}]
        offset = _fit(others).offset(face.source_rest, face.target_rest)
        after.append(face.error_percent(offset[:SURFACE_COUNT]))
    return FittedSeating(
        seating=_fit(faces),
        pairs=len(faces),
        people=len(people),
        before_percent=float(np.mean(before)),
        after_percent=float(np.mean(after)),
    )


def pack_seating(seating: Seating) -> bytes:
    """The file that ships: (2, k, 468, 3), half precision; what is looked at and what is moved in equal measure."""
    weight = np.sqrt(np.abs(seating.moved).max() / np.abs(seating.seen).max())
    stream = io.BytesIO()
    np.save(stream, np.stack([seating.seen * weight, seating.moved / weight]).astype(np.float16), allow_pickle=False)
    return stream.getvalue()


def _read_clip(folder: Path, path: Path, reader: FaceReader) -> ReadClip:
    person, moments = moments_of(folder, path.stem)
    found = [(m, reader.read(frame)) for m, frame in zip(moments, read_frames(path), strict=False)]
    seen = [(m, read) for m, read in found if read is not None]
    if len(seen) < _LEAST_FRAMES:
        raise ConfigError(f"{path}: expected at least {_LEAST_FRAMES} frames with a face, got {len(seen)}")
    return ReadClip(
        person=person,
        moments=tuple(m for m, _ in seen),
        points=np.stack([read[0] for _, read in seen]),
        blendshapes=np.stack([read[1] for _, read in seen]),
    )


def _seated(
    folder: Path, path: Path, source: tuple[str, ReadClip], target: tuple[str, ReadClip], reader: FaceReader
) -> SeatedFace | None:
    """One truth's face; None where too few of its frames show one."""
    _, moments = moments_of(folder, path.stem)
    row_of = {moment: row for row, moment in enumerate(target[1].moments)}
    rows, truth = [], []
    for moment, frame in zip(moments, read_frames(path), strict=False):
        near = None if moment not in row_of else target[1].points[row_of[moment]]
        points: Points | None = None if near is None else reader.read_near(frame, near)
        if points is not None:
            rows.append(row_of[moment])
            truth.append(points[:SURFACE_COUNT, :2].astype(np.float64))
    if len(rows) < _LEAST_FRAMES:
        return None
    rests = _rests(source[1], target[1])
    acted = rests[1].perform(target[1].points[rows], target[1].blendshapes[rows])
    laid, worn = laid_on(rests[0].shape, acted, rests[1])
    return SeatedFace(
        source=source[0],
        target=target[0],
        source_rest=rests[0].shape,
        target_rest=rests[1].shape,
        heads=acted.heads,
        planned=placed(worn[:, :SURFACE_COUNT], laid),
        truth=np.stack(truth),
    )


def _rests(*clips: ReadClip) -> list[RestingHead]:
    """Heads at rest, as a training of these people finds them."""
    seen: list[Performance] = [measure_performance(clip.points) for clip in clips]
    basis = fit_shape_basis([s.shapes for s in seen], [clip.blendshapes for clip in clips])
    return [find_rest(clip.points, clip.blendshapes, basis) for clip in clips]


def _heads(faces: Sequence[SeatedFace], names: Sequence[str]) -> Float64[np.ndarray, "n 1404"]:
    """Each clip's head; the means over the pairs that it is in, whose shared expressions differ a little."""
    sums: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for face in faces:
        sums[face.source].append(upright(face.source_rest))
        sums[face.target].append(upright(face.target_rest))
    return np.stack([np.mean(sums[name], axis=0).ravel() for name in names])


def _person_offsets(faces: Sequence[SeatedFace], names: Sequence[str]) -> Float64[np.ndarray, "n 1404"]:
    """Offsets of pairs as differences of offsets of heads: that explains nine tenths of them."""
    design = np.zeros((len(faces), len(names)))
    for row, face in enumerate(faces):
        design[row, names.index(face.source)] += 1
        design[row, names.index(face.target)] -= 1
    offsets = np.stack([face.offset().ravel() for face in faces])
    squared = design.T @ design + _PERSON_RIDGE * np.eye(len(names))
    return np.asarray(np.linalg.solve(squared, design.T @ (offsets - offsets.mean(axis=0))))


def _fit(faces: Sequence[SeatedFace]) -> Seating:
    """Ridge regression over heads and their mirror images, cut to its largest parts."""
    names = sorted({name for face in faces for name in (face.source, face.target)})
    heads, offsets = _heads(faces, names), _person_offsets(faces, names)
    x, y = (np.concatenate([rows, _mirrored(rows)]) for rows in (heads, offsets))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    gram = x @ x.T
    unit = np.trace(gram) / len(x)
    weights = np.linalg.solve(gram / unit + RIDGE * np.eye(len(x)), y) / unit
    across, triangle = np.linalg.qr(x.T)
    left, size, right = np.linalg.svd(triangle @ weights, full_matrices=False)
    shape = (-1, SURFACE_COUNT, 3)
    return Seating(seen=((across @ left)[:, :RANK] * size[:RANK]).T.reshape(shape), moved=right[:RANK].reshape(shape))


def _mirrored(rows: Float64[np.ndarray, "n 1404"]) -> Float64[np.ndarray, "n 1404"]:
    points = rows.reshape(len(rows), SURFACE_COUNT, 3)[:, mirror_indices()[:SURFACE_COUNT]]
    return np.asarray((points * np.array([-1.0, 1.0, 1.0])).reshape(len(rows), -1))
