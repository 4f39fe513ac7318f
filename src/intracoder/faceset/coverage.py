"""What a face set shows, and what it lacks: head turn, mouth, eyes, light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from intracoder.faceset.entries import FaceEntry
from intracoder.faceset.store import FaceSet
from intracoder.ops.geometry import unposed

_BAR_WIDTH = 24
_RARE = 0.01
"""Part of a set under which something counts as lacking ..."""
_RARE_MIN = 3
"""... and this many faces in any case."""
_NEEDED = 0.02
"""Part of a target from which on something is needed."""
_LIDS: Final = ((159, 145), (386, 374))
_LIPS: Final = (13, 14)
_CORNERS: Final = ((468, 33, 133), (473, 263, 362))
"""Iris and corners of each eye."""
_SHUT_CM: Final = 0.5
# places in faces.landmarks.BLENDSHAPE_NAMES
_LOOK_DOWN, _LOOK_UP = (11, 12), (17, 18)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """One bin of an axis."""

    label: str
    below: float
    """Values up to, but without, this one (and from the bin before it)."""
    lacks: str = ""
    """What to say where nothing falls into it; empty where that doesn't matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One thing that varies between faces, cut into ranges."""

    name: str
    ranges: tuple[Range, ...]
    """Rising; the last one's ``below`` is infinity."""
    is_relative: bool = False
    """Counted from the set's median, where people are built so differently that a fixed zero says nothing."""
    lacks_variety: str = ""
    """What to say where all faces fall into one range; empty where that doesn't matter."""


INFINITY: Final = float("inf")
AXES: Final = (
    Axis(
        name="turn (yaw)",
        ranges=(
            Range(label="far left", below=-35.0, lacks="no faces turned far to the left (past 35 degrees)"),
            Range(label="left", below=-12.0, lacks="no faces turned to the left"),
            Range(label="front", below=12.0, lacks="no faces from the front"),
            Range(label="right", below=35.0, lacks="no faces turned to the right"),
            Range(label="far right", below=INFINITY, lacks="no faces turned far to the right (past 35 degrees)"),
        ),
    ),
    Axis(
        name="tilt (pitch)",
        is_relative=True,
        ranges=(
            Range(label="down", below=-8.0, lacks="no faces looking down"),
            Range(label="level", below=8.0),
            Range(label="up", below=INFINITY, lacks="no faces looking up"),
        ),
    ),
    Axis(
        name="mouth",
        ranges=(
            Range(label="closed", below=0.3, lacks="mouth never closed"),
            Range(label="parted", below=0.8, lacks="mouth never slightly open, as in speech"),
            Range(label="open", below=1.8, lacks="mouth never open"),
            Range(label="wide open", below=INFINITY, lacks="mouth never open wide"),
        ),
    ),
    Axis(
        name="eyes",
        ranges=(
            Range(label="shut", below=0.35, lacks="eyes never shut (no blinks)"),
            Range(label="narrow", below=0.65),
            Range(label="open", below=INFINITY, lacks="eyes never open"),
        ),
    ),
    Axis(
        name="gaze across",
        ranges=(
            Range(label="left", below=-0.15, lacks="eyes never turned to the left"),
            Range(label="ahead", below=0.15, lacks="eyes never straight ahead"),
            Range(label="right", below=INFINITY, lacks="eyes never turned to the right"),
        ),
    ),
    Axis(
        name="gaze up/down",
        is_relative=True,
        ranges=(
            Range(label="down", below=-0.2, lacks="eyes never lowered"),
            Range(label="level", below=0.2),
            Range(label="up", below=INFINITY, lacks="eyes never raised"),
        ),
    ),
    Axis(
        name="light",
        lacks_variety="all in light of one strength",
        ranges=(
            Range(label="dark", below=0.25),
            Range(label="medium", below=0.6),
            Range(label="bright", below=INFINITY),
        ),
    ),
    Axis(
        name="light from",
        lacks_variety="light always from one direction",
        ranges=(
            Range(label="left", below=-0.1),
            Range(label="both sides", below=0.1),
            Range(label="right", below=INFINITY),
        ),
    ),
)
"""Units: degrees, canonical centimetres (lips, lids, irises), blendshape differences, luma 0..1, luma ratio.

Left and right are the viewer's. On two synthetic people with known answers an iris moves 0.018 cm for a degree of
gaze across, and the blendshapes 0.027 for a degree up or down.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisCoverage:
    """How many faces fall into each range of an axis."""

    axis: Axis
    counts: tuple[int, ...]
    unmeasured: int
    """Faces of which this is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What a face set shows."""

    face_count: int
    axes: tuple[AxisCoverage, ...]
    lacks: tuple[str, ...]
    """In plain words, what nothing, or next to nothing, of the set shows."""

    def text(self) -> str:
        """A table with bars, then what is lacking."""
        lines = [f"{self.face_count} faces"]
        for covered in self.axes:
            lines.append(covered.axis.name)
            for one, count in zip(covered.axis.ranges, covered.counts, strict=True):
                share = count / max(self.face_count, 1)
                bar = "█" * max(round(share * _BAR_WIDTH), 1 if count else 0)
                lines.append(f"  {one.label:<11}{count:>6}  {share:>4.0%}  {bar}".rstrip())
        lines.extend(f"lacking: {lack}" for lack in self.lacks)
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Something that the target does and the source was never seen doing."""

    axis: str
    label: str
    target_count: int
    target_share: float
    """Part of the target's faces, 0..1."""
    source_count: int

    def text(self) -> str:
        """One line."""
        return (
            f"{self.axis}: {self.label} in {self.target_share:.0%} of the target, in {self.source_count} faces of the "
            "source"
        )


def coverage(faceset: FaceSet, *, kept_only: bool = True) -> Coverage:
    """Counts a set's faces over every axis.

    Args:
        faceset: any.
        kept_only: leaves out dropped and deleted faces; without it, also counts faces that were never cut.
    """
    entries = faceset.kept() if kept_only else faceset.entries
    rows = [measures(entry) for entry in entries]
    axes = tuple(_count(axis, [row[number] for row in rows]) for number, axis in enumerate(AXES))
    lacks = [lack for covered in axes if covered.unmeasured < len(entries) for lack in _lacks(covered)]
    return Coverage(face_count=len(entries), axes=axes, lacks=tuple(lacks))


def _lacks(covered: AxisCoverage) -> list[str]:
    """What an axis lacks, in words."""
    total = sum(covered.counts)
    rare = [_is_rare(count, total) for count in covered.counts]
    lacks = []
    for one, count, is_rare in zip(covered.axis.ranges, covered.counts, rare, strict=True):
        if one.lacks and is_rare:
            lacks.append(
                one.lacks if not count else f"{covered.axis.name}: {one.label} in only {count} of {total} faces"
            )
    if covered.axis.lacks_variety and sum(rare) >= len(rare) - 1:
        common = covered.axis.ranges[int(np.argmax(covered.counts))].label
        lacks.append(f"{covered.axis.lacks_variety} ({common})")
    return lacks


def coverage_of_target(source: FaceSet, target: FaceSet) -> tuple[Gap, ...]:
    """What the target needs and the source lacks, the most frequent first.

    All of the target's analysed faces count, of the source only those that are kept.
    """
    has, needs = coverage(source), coverage(target, kept_only=False)
    gaps = []
    for had, needed in zip(has.axes, needs.axes, strict=True):
        for one, source_count, target_count in zip(needed.axis.ranges, had.counts, needed.counts, strict=True):
            share = target_count / max(needs.face_count, 1)
            matters = bool(one.lacks or needed.axis.lacks_variety)
            if matters and share >= _NEEDED and _is_rare(source_count, has.face_count):
                gaps.append(
                    Gap(
                        axis=needed.axis.name,
                        label=one.label,
                        target_count=target_count,
                        target_share=share,
                        source_count=source_count,
                    )
                )
    return tuple(sorted(gaps, key=lambda gap: -gap.target_share))


def measures(entry: FaceEntry) -> tuple[float | None, ...]:
    """A face's value on each of AXES; None where it was not measured."""
    face, scores = entry.aligned.face, entry.scores
    lids = _opening(entry, _LIDS)
    return (
        None if face.pose is None else face.pose.yaw_deg,
        None if face.pose is None else face.pose.pitch_deg,
        _opening(entry, (_LIPS,)),
        lids,
        _gaze_across(entry),
        # lowered lids look like lowered eyes
        None if lids is None or lids < _SHUT_CM else _gaze_height(entry),
        None if scores is None else scores.exposure,
        None if scores is None else scores.side_light,
    )


def _opening(entry: FaceEntry, pairs: Sequence[tuple[int, int]]) -> float | None:
    """Mean distance of pairs of landmarks without pose, canonical centimetres."""
    points = entry.aligned.face.points
    if points is None:
        return None
    shape = unposed(points, entry.aligned.head)
    return float(np.mean([np.linalg.norm(shape[a] - shape[b]) for a, b in pairs]))


def _gaze_across(entry: FaceEntry) -> float | None:
    """How far the irises are right of the middle of their eyes, without pose, canonical centimetres."""
    points = entry.aligned.face.points
    if points is None:
        return None
    x = unposed(points, entry.aligned.head)[:, 0]
    return float(np.mean([x[iris] - (x[a] + x[b]) / 2 for iris, a, b in _CORNERS]))


def _gaze_height(entry: FaceEntry) -> float | None:
    """Eyes raised (above 0) or lowered, difference of blendshapes, -1..1."""
    b = entry.aligned.face.blendshapes
    return None if b is None else float(b[list(_LOOK_UP)].mean() - b[list(_LOOK_DOWN)].mean())


def _count(axis: Axis, values: Sequence[float | None]) -> AxisCoverage:
    """Faces in each range."""
    known = np.array([value for value in values if value is not None])
    if axis.is_relative and len(known):
        known = known - np.median(known)
    edges = [one.below for one in axis.ranges[:-1]]
    counts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(axis.ranges))
    return AxisCoverage(axis=axis, counts=tuple(int(c) for c in counts), unmeasured=len(values) - len(known))


def _is_rare(count: int, total: int) -> bool:
    """True where too few faces show something to learn it from."""
    return count < max(_RARE_MIN, _RARE * total)
