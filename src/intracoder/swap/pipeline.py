"""The second pass over a target: stream its frames, swap, mark, encode in journaled segments, join.

Memory does not grow with the clip. A killed render goes on from its last whole segment: the journal names every
segment with its hash and keeps the output's record id, so that all segments carry the same mark.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from intracoder.config import RenderConfig
from intracoder.media.atomic import atomic_path, sweep_leftovers
from intracoder.media.reader import probe, read_frames
from intracoder.media.writer import ClipWriter, join_segments, write_image
from intracoder.protocols import Progress, silent
from intracoder.records import Frame, FrameReport, Image, Outcome, PlannedFace
from intracoder.swap.compositor import Compositor

BATCH = 8
JOURNAL = "journal.json"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RenderJob:
    """What to render, and where its unfinished pieces lie."""

    target: Path
    faces: Mapping[int, PlannedFace]
    """Planned face by frame index."""
    presence: Mapping[int, float]
    """Landmark presence of those faces, 0..1."""
    face_px: Mapping[int, float]
    """Side of those faces, pixels."""
    other_frames: frozenset[int]
    """Frames that show somebody, but not the person to be swapped."""
    folder: Path
    """For segments and journal; its own."""
    key: str
    """Names everything that the pixels depend on; segments of another key are thrown away."""
    config: RenderConfig
    record_id: uuid.UUID | None = None
    """Of the output, which its mark in the pixels carries; None draws a new one."""


@dataclass(slots=True)
class _Journal:
    """What is finished of a render."""

    path: Path
    key: str
    record_id: uuid.UUID
    segments: list[dict[str, object]]

    def save(self) -> None:
        data = {"key": self.key, "record_id": str(self.record_id), "segments": self.segments}
        with atomic_path(self.path) as beside:
            beside.write_text(json.dumps(data), encoding="utf-8")


def record_id_of(job: RenderJob) -> uuid.UUID:
    """The id that this render's output has or will have: a resumed render keeps the one of its journal."""
    return _open_journal(job).record_id


def render(
    job: RenderJob,
    compositor: Compositor,
    mark_frame: Callable[[Image], Image],
    tags: Mapping[str, str],
    unsigned: Path,
    *,
    progress: Progress = silent,
) -> tuple[FrameReport, ...]:
    """Renders the whole target into ``unsigned``, a scratch file for ``Marker.finish``.

    Args:
        job: What to render.
        compositor: Puts faces into frames.
        mark_frame: Label and watermark; applied to every frame, faceless ones too.
        tags: Container metadata; ``comment`` is written as the container's comment.
        unsigned: Scratch file, with the suffix of the output.
        progress: Told of frames, with the rate.

    Returns:
        What became of every frame.

    Raises:
        MediaError: The target can't be read or the scratch file not written.
    """
    info = probe(job.target)
    others = {key: value for key, value in tags.items() if key != "comment"}
    if info.is_still:
        (frame,) = list(read_frames(job.target))
        (report,), (done,) = _swap_batch(job, compositor, [frame])
        write_image(unsigned, mark_frame(done.pixels), comment=tags.get("comment", ""))
        progress("render", 1.0, 1.0)
        return (report,)
    journal = _open_journal(job)
    reports = [_report(row) for segment in journal.segments for row in _rows(segment)]
    frames = iter(read_frames(job.target, start=len(reports)))
    started, before = time.monotonic(), len(reports)
    total = float(info.frame_count) if info.frame_count else None
    while chunk := list(islice(frames, 1)):
        name = f"{len(journal.segments):06d}.mp4"
        rest = islice(frames, job.config.segment_frames - 1)
        new: list[FrameReport] = []
        with ClipWriter(job.folder / name, info, crf=job.config.crf) as writer:
            for batch in _batches(chunk, rest):
                rows, done_frames = _swap_batch(job, compositor, batch)
                for frame in done_frames:
                    writer.write(Frame(pixels=mark_frame(frame.pixels), index=frame.index, pts=frame.pts))
                new.extend(rows)
                count = len(reports) + len(new)
                rate = (count - before) / max(time.monotonic() - started, 1e-6)
                progress("render", float(count), total, f"{rate:.1f} frames/s")
        reports.extend(new)
        journal.segments.append(
            {"file": name, "sha256": _sha256(job.folder / name), "rows": [_row(report) for report in new]}
        )
        journal.save()
    pieces = [job.folder / str(segment["file"]) for segment in journal.segments]
    audio = None if job.target.is_dir() else job.target
    join_segments(pieces, unsigned, audio_from=audio, comment=tags.get("comment", ""), metadata=others)
    return tuple(reports)


def clear(job: RenderJob) -> None:
    """Removes segments and journal of a finished render."""
    for path in (*job.folder.glob("[0-9]*.mp4"), job.folder / JOURNAL):
        path.unlink(missing_ok=True)


def _batches(first: Sequence[Frame], rest: Iterator[Frame]) -> Iterator[list[Frame]]:
    """Frames in small groups, so that the networks work on several at a time."""
    batch = [*first, *islice(rest, BATCH - len(first))]
    while batch:
        yield batch
        batch = list(islice(rest, BATCH))


def _swap_batch(
    job: RenderJob, compositor: Compositor, batch: Sequence[Frame]
) -> tuple[list[FrameReport], list[Frame]]:
    """Reports and finished frames of a batch, in its order."""
    outcomes = {frame.index: _outcome(job, frame.index) for frame in batch}
    meant = [frame for frame in batch if outcomes[frame.index] is Outcome.SWAPPED]
    stages = compositor.compose(meant, [job.faces[frame.index] for frame in meant])
    done = {s.frame.index: s.composite for s in stages}
    reports = [
        FrameReport(frame_index=f.index, outcome=outcomes[f.index], confidence=job.presence.get(f.index)) for f in batch
    ]
    frames = [Frame(pixels=done.get(f.index, f.pixels), index=f.index, pts=f.pts) for f in batch]
    return reports, frames


def _outcome(job: RenderJob, index: int) -> Outcome:
    """What will become of a frame."""
    if index not in job.faces:
        return Outcome.OTHER_PERSON if index in job.other_frames else Outcome.NO_FACE
    return Outcome.SWAPPED if job.face_px[index] >= job.config.min_face_px else Outcome.TOO_SMALL


def _open_journal(job: RenderJob) -> _Journal:
    """The journal of this render as far as its segments are whole; a new one for anything else."""
    job.folder.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(job.folder, older_than_s=0)
    path = job.folder / JOURNAL
    fresh = _Journal(path=path, key=job.key, record_id=job.record_id or uuid.uuid4(), segments=[])
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        journal = _Journal(
            path=path, key=data["key"], record_id=uuid.UUID(data["record_id"]), segments=list(data["segments"])
        )
        whole, count = [], 0
        for number, segment in enumerate(journal.segments):
            file = job.folder / f"{number:06d}.mp4"
            if segment["file"] != file.name or not file.is_file() or _sha256(file) != segment["sha256"]:
                break
            rows = [_report(row).frame_index for row in _rows(segment)]
            if not rows or rows != list(range(count, count + len(rows))):
                raise ValueError(f"{path}: segment {number}: expected rows from frame {count} on")  # noqa: TRY301
            count += len(rows)
            whole.append(segment)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        whole, journal = [], fresh  # none yet, or not ours: nothing in it is worth an error, it is rendered anew
    if journal.key != job.key:
        whole, journal = [], fresh
    journal.segments = whole
    journal.save()
    return journal


def _rows(segment: Mapping[str, object]) -> Sequence[Sequence[object]]:
    rows = segment["rows"]
    return rows if isinstance(rows, list) else []


def _row(report: FrameReport) -> list[object]:
    return [report.frame_index, report.outcome.value, report.confidence]


def _report(row: Sequence[object]) -> FrameReport:
    """ValueError or TypeError for a row that is none."""
    index, outcome, confidence = row
    if not isinstance(index, int) or not (confidence is None or isinstance(confidence, float)):
        raise TypeError(f"journal row {row!r}")
    return FrameReport(frame_index=index, outcome=Outcome(outcome), confidence=confidence)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
