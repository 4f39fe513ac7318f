"""Rendering in journaled segments: what is counted, and what a killed, changed or damaged render does next."""

import json
import uuid
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import pytest
from media_clips import moving_field, write_clip

from intracoder.config import RenderConfig
from intracoder.media.reader import probe, read_frames, read_image, read_metadata
from intracoder.media.writer import write_image
from intracoder.records import Frame, Outcome, PlannedFace
from intracoder.swap.compositor import Compositor, FrameStages
from intracoder.swap.pipeline import JOURNAL, RenderJob, clear, record_id_of, render

COUNT, HEIGHT, WIDTH = 14, 48, 66
TICKS = [0, 2, 3, 5, 9, 10, 11, 14, 15, 16, 20, 21, 22, 25]
"""A variable frame rate."""
SHIFT = 40
"""Levels by which the fake brightens a swapped frame."""
OTHERS, TOO_SMALL, NOBODY = {3}, {5, 6}, {0, 13}
SWAPPED = set(range(COUNT)) - OTHERS - TOO_SMALL - NOBODY
SEGMENTS = ["000000.mp4", "000001.mp4", "000002.mp4", "000003.mp4"]
"""Of 4, 4, 4 and 2 frames."""


@dataclass
class FakeCompositor(Compositor):
    """Brightens the frames it is given, and keeps count of them."""

    seen: list = field(default_factory=list)

    def compose(self, frames, planned):
        assert [f.index for f in frames] == [p.frame_index for p in planned]
        self.seen.extend(f.index for f in frames)
        return [self._stages(frame, plan) for frame, plan in zip(frames, planned, strict=True)]

    def _stages(self, frame, plan):
        square, alpha = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32)
        return FrameStages(
            frame=frame,
            planned=plan,
            crop=square,
            swapped=square,
            matched=square,
            enhanced=square,
            sharpened=square,
            alpha=alpha,
            blended=square,
            composite=frame.pixels + np.uint8(SHIFT),
        )


class FakeMarker:
    """Changes nothing; keeps what it sees, and fails when it is told to."""

    def __init__(self, fail_at=None):
        self.seen, self.fail_at = [], fail_at

    @property
    def count(self):
        return len(self.seen)

    def __call__(self, image):
        if self.count == self.fail_at:
            raise InterruptedError("killed")
        self.seen.append(image.copy())
        return image


@pytest.fixture
def pictures():
    return [np.minimum(image, 190) for image in moving_field(COUNT, HEIGHT, WIDTH)]


@pytest.fixture
def job(tmp_path, pictures):
    target = write_clip(tmp_path / "target.mp4", pictures, pts=TICKS, time_base=Fraction(1, 50))
    return make_job(target, tmp_path / "work")


def make_job(target, folder):
    faces = SWAPPED | TOO_SMALL
    points = np.zeros((478, 3), np.float32)
    return RenderJob(
        target=target,
        faces={
            i: PlannedFace(
                frame_index=i,
                frame_to_crop=np.eye(2, 3),
                target_points=points,
                swapped_points=points,
                reference_index=None,
            )
            for i in faces
        },
        presence=dict.fromkeys(faces, 0.75),
        face_px={i: 12.0 if i in TOO_SMALL else 30.0 for i in faces},
        other_frames=frozenset(OTHERS),
        folder=folder,
        key="a",
        config=RenderConfig(segment_frames=4, min_face_px=24, crf=4),
    )


def run(job, tmp_path, *, marker=None, name="out.mp4"):
    """Renders; (reports, frames that were composed, frames that were marked)."""
    compositor, marker = FakeCompositor(), marker or FakeMarker()
    reports = render(job, compositor, marker, {"comment": "modified"}, tmp_path / name)
    return reports, compositor.seen, marker.count


def killed(job, tmp_path, *, after):
    with pytest.raises(InterruptedError):
        run(job, tmp_path, marker=FakeMarker(fail_at=after))


def journal_of(job):
    return json.loads((job.folder / JOURNAL).read_text(encoding="utf-8"))


def assert_whole(job, reports, tmp_path, name="out.mp4"):
    """Every frame once, at its time, brightened where it was to be swapped."""
    before = list(read_frames(job.target))
    after = list(read_frames(tmp_path / name))
    old, new = probe(job.target), probe(tmp_path / name)
    assert [f.pts * new.time_base for f in after] == [f.pts * old.time_base for f in before]
    changes = [round(float((b.pixels.astype(int) - a.pixels).mean())) for a, b in zip(before, after, strict=True)]
    assert changes == [SHIFT if i in SWAPPED else 0 for i in range(COUNT)]
    assert [r.frame_index for r in reports] == list(range(COUNT))
    assert {r.frame_index for r in reports if r.outcome is Outcome.SWAPPED} == SWAPPED
    assert {r.frame_index for r in reports if r.outcome is Outcome.NO_FACE} == NOBODY
    assert {r.frame_index for r in reports if r.outcome is Outcome.OTHER_PERSON} == OTHERS
    assert {r.frame_index for r in reports if r.outcome is Outcome.TOO_SMALL} == TOO_SMALL
    assert {r.confidence for r in reports if r.frame_index in SWAPPED | TOO_SMALL} == {0.75}
    assert {r.confidence for r in reports if r.frame_index in NOBODY | OTHERS} == {None}


def test_a_render_counts_outcomes_and_passes_other_frames_through(job, tmp_path):
    told = []
    compositor, marker = FakeCompositor(), FakeMarker()
    reports = render(
        job, compositor, marker, {"comment": "modified"}, tmp_path / "out.mp4", progress=lambda *a: told.append(a)
    )
    assert_whole(job, reports, tmp_path)
    assert compositor.seen == sorted(SWAPPED)
    # faceless frames are labelled and marked too
    assert marker.count == COUNT
    assert read_metadata(tmp_path / "out.mp4")["comment"] == "modified"
    assert [row[1] for row in told] == sorted(row[1] for row in told)
    assert told[-1][:2] == ("render", float(COUNT))
    assert [s["file"] for s in journal_of(job)["segments"]] == SEGMENTS
    assert [len(s["rows"]) for s in journal_of(job)["segments"]] == [4, 4, 4, 2]


@pytest.mark.parametrize(("after", "kept"), [(2, 0), (4, 1), (11, 2)])
def test_a_killed_render_goes_on_from_its_last_whole_segment(job, tmp_path, after, kept):
    identity = record_id_of(job)
    killed(job, tmp_path, after=after)
    assert not (tmp_path / "out.mp4").exists()
    assert [s["file"] for s in journal_of(job)["segments"]] == SEGMENTS[:kept]
    assert record_id_of(job) == identity
    reports, composed, marked = run(job, tmp_path)
    assert composed == [i for i in sorted(SWAPPED) if i >= 4 * kept]
    assert marked == COUNT - 4 * kept
    assert_whole(job, reports, tmp_path)
    assert record_id_of(job) == identity


def test_a_given_record_is_kept_whatever_was_rendered_before(job):
    asked = uuid.UUID(int=7)
    assert record_id_of(replace(job, record_id=asked, key="fresh")) == asked
    assert record_id_of(replace(job, record_id=asked, key="other")) == asked


def test_a_resumed_render_is_the_uninterrupted_one(job, tmp_path):
    whole, first, rest = FakeMarker(), FakeMarker(fail_at=9), FakeMarker()
    run(job, tmp_path, marker=whole, name="whole.mp4")
    resumed = replace(job, folder=tmp_path / "resumed")
    with pytest.raises(InterruptedError):
        run(resumed, tmp_path, marker=first)
    run(resumed, tmp_path, marker=rest, name="resumed.mp4")
    # what goes to the encoder is the same bit for bit; x264 itself now and then decides on a block differently
    np.testing.assert_array_equal(np.stack(whole.seen), np.stack([*first.seen[:8], *rest.seen]))
    pairs = zip(read_frames(tmp_path / "whole.mp4"), read_frames(tmp_path / "resumed.mp4"), strict=True)
    for one, other in pairs:
        assert np.abs(one.pixels.astype(int) - other.pixels).mean() < 0.2


def test_nothing_is_rendered_twice(job, tmp_path):
    first, _, _ = run(job, tmp_path)
    again, composed, marked = run(job, tmp_path, name="again.mp4")
    assert (composed, marked) == ([], 0)
    assert again == first
    assert_whole(job, again, tmp_path, name="again.mp4")


def test_another_key_throws_segments_and_record_away(job, tmp_path):
    identity = record_id_of(job)
    killed(job, tmp_path, after=9)
    other = replace(job, key="b")
    assert record_id_of(other) != identity
    assert journal_of(other)["segments"] == []
    reports, composed, marked = run(other, tmp_path)
    assert (composed, marked) == (sorted(SWAPPED), COUNT)
    assert_whole(other, reports, tmp_path)


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [damage, lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_damaged_segment_and_those_after_it_are_rendered_anew(job, tmp_path, harm):
    identity = record_id_of(job)
    killed(job, tmp_path, after=13)
    assert len(journal_of(job)["segments"]) == 3
    harm(job.folder / SEGMENTS[1])
    reports, composed, marked = run(job, tmp_path)
    assert composed == [i for i in sorted(SWAPPED) if i >= 4]
    assert marked == COUNT - 4
    assert_whole(job, reports, tmp_path)
    # the segments that were kept carry this mark already
    assert record_id_of(job) == identity


def rows_with(value):
    def change(data):
        data["segments"][0]["rows"][0] = value

    return change


def rows_missing(data):
    del data["segments"][0]["rows"][0]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("key"),
        lambda data: data.update(record_id="none"),
        lambda data: data.update(segments=7),
        lambda data: data["segments"][0].update(file="../target.mp4"),
        rows_with([0, "stolen", None]),
        rows_with([0]),
        rows_with([3, "no_face", None]),
        rows_missing,
    ],
)
def test_a_journal_that_is_not_ours_is_no_error(job, tmp_path, change):
    killed(job, tmp_path, after=5)
    data = journal_of(job)
    change(data)
    (job.folder / JOURNAL).write_text(json.dumps(data), encoding="utf-8")
    reports, composed, marked = run(job, tmp_path)
    assert (composed, marked) == (sorted(SWAPPED), COUNT)
    assert_whole(job, reports, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '"key"', "\x00", "[" * 100_000])
def test_a_journal_that_can_not_be_read_is_no_error(job, tmp_path, text):
    job.folder.mkdir()
    (job.folder / JOURNAL).write_text(text, encoding="utf-8")
    reports, _, marked = run(job, tmp_path)
    assert marked == COUNT
    assert_whole(job, reports, tmp_path)


def test_clear_leaves_only_what_is_not_the_renders(job, tmp_path):
    run(job, tmp_path)
    (job.folder / "notes.txt").write_text("mine", encoding="utf-8")
    clear(job)
    assert [path.name for path in job.folder.iterdir()] == ["notes.txt"]


def test_a_still_is_swapped_as_one_frame(job, tmp_path, pictures):
    target = tmp_path / "target.png"
    write_image(target, pictures[1])
    still = replace(job, target=target, faces={0: replace(job.faces[1], frame_index=0)}, face_px={0: 30.0})
    reports, composed, marked = run(still, tmp_path, name="out.png")
    assert (composed, marked) == ([0], 1)
    assert [r.outcome for r in reports] == [Outcome.SWAPPED]
    np.testing.assert_array_equal(read_image(tmp_path / "out.png"), pictures[1] + np.uint8(SHIFT))


def test_a_folder_of_pictures_is_rendered_as_a_clip(job, tmp_path, pictures):
    folder = tmp_path / "frames"
    folder.mkdir()
    for index, image in enumerate(pictures):
        write_image(folder / f"{index:03d}.png", image)
    reports, _, _ = run(replace(job, target=folder), tmp_path)
    assert len(reports) == COUNT
    after = list(read_frames(tmp_path / "out.mp4"))
    assert [isinstance(frame, Frame) for frame in after] == [True] * COUNT
    assert np.abs(after[0].pixels.astype(int) - pictures[0]).mean() < 3
