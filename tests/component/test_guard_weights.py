"""The shipped content scorer on harmless pictures, and sampling of real clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import intracoder
from intracoder.errors import GuardError
from intracoder.media.reader import read_frames
from intracoder.provenance.guard import ContentGuard, NudeNet, OpenNsfw, sample_images
from intracoder.records import Image

DEMO = Path(intracoder.__file__).parent / "demo"


def test_demo_clips_pass_with_the_shipped_scorer() -> None:
    for report in ContentGuard(OpenNsfw(threads=1)).check_files([DEMO / "source.mp4", DEMO / "target.mp4"]):
        assert report.sample_count == 13  # 6 s, two a second, the first and the last included
        assert report.highest < 0.2


def test_known_answers_of_the_shipped_scorer() -> None:
    scorer = OpenNsfw(threads=1)
    black = scorer.score(np.zeros((240, 320, 3), np.uint8))
    noise = scorer.score(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8))
    assert 0.0 <= black < 0.3
    assert 0.0 <= noise < 0.3
    assert scorer.score(np.zeros((240, 320, 3), np.uint8)) == black


def test_the_optional_scorer_where_it_is_installed() -> None:
    """NudeNet 3.4.2, whose network ships in its wheel, on clothed people who don't exist."""
    pytest.importorskip("nudenet", reason="the extra intracoder[nudenet] is not installed")
    scorer = NudeNet()
    for clip in (DEMO / "source.mp4", DEMO / "target.mp4"):
        for frame in read_frames(clip, stop=2):
            assert 0.0 <= scorer.score(frame.pixels) < 0.3
    for size in ((1, 1), (5, 300), (720, 1280)):
        assert scorer.score(np.full((*size, 3), 200, np.uint8)) == 0.0
    assert ContentGuard().check_file(DEMO / "source.mp4").highest < 0.3


def test_a_single_bad_sample_of_a_real_clip_refuses() -> None:
    frame = next(iter(read_frames(DEMO / "target.mp4", start=72, stop=73))).pixels

    class RefusesOne:
        def score(self, image: Image) -> float:
            return 1.0 if np.array_equal(image, frame) else 0.0

    with pytest.raises(GuardError, match=r"target\.mp4"):
        ContentGuard(RefusesOne()).check_file(DEMO / "target.mp4")


def test_short_clips_give_at_least_eight_samples(tmp_path: Path) -> None:
    from intracoder.media.reader import probe
    from intracoder.media.writer import ClipWriter

    clip = tmp_path / "short.mp4"
    with ClipWriter(clip, probe(DEMO / "target.mp4")) as writer:
        for frame in read_frames(DEMO / "target.mp4", stop=20):
            writer.write(frame)
    assert 8 <= len(list(sample_images(clip))) <= 12
