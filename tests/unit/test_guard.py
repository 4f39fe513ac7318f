"""The content guard: thresholds, sampling, and that every failure refuses."""

from __future__ import annotations

import importlib.machinery
import math
import sys
import types
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from intracoder.errors import GuardError, WeightsError
from intracoder.nets.runtime import ORT_ERRORS
from intracoder.provenance import guard
from intracoder.provenance.guard import ContentGuard, HighestScorer
from intracoder.records import Image

BLANK = np.zeros((32, 48, 3), np.uint8)


class Scripted:
    """Answers with given scores in turn; an exception is raised."""

    def __init__(self, *answers: float | Exception) -> None:
        self.answers = list(answers)
        self.images: list[Image] = []

    def score(self, image: Image) -> float:
        self.images.append(image)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def check(*answers: float | Exception, frames: int = 20) -> guard.GuardReport:
    return ContentGuard(Scripted(*answers)).check_images([BLANK] * frames, what="clip.mp4")


def test_passes_below_both_limits() -> None:
    report = check(0.84, *[0.3] * 19)  # the top tenth of 20 is two frames
    assert (report.sample_count, report.highest) == (20, 0.84)
    assert report.top_mean == pytest.approx(0.57)


def test_refuses_one_frame_at_the_highest_limit() -> None:
    with pytest.raises(GuardError, match=r"clip\.mp4: refused as sexual content: highest score 0\.85") as caught:
        check(0.85, *[0.0] * 19)
    assert caught.value.exit_code == 3


def test_refuses_the_mean_of_the_top_tenth() -> None:
    with pytest.raises(GuardError, match="refused"):
        check(0.6, 0.61, *[0.0] * 18)
    check(0.59, 0.60, *[0.0] * 18)


@pytest.mark.parametrize(
    "answer",
    [
        math.nan,
        math.inf,
        -0.01,
        1.01,
        RuntimeError("out of memory"),
        ValueError("bad shape"),
        WeightsError("gone"),
        OSError("disk"),
        MemoryError(),
        AttributeError("no such thing"),
        cv2.error("bad\nsize"),
        ORT_ERRORS[0]("no\nkernel"),
    ],
)
def test_fails_closed(answer: float | Exception) -> None:
    with pytest.raises(GuardError, match="so it is refused") as caught:
        check(0.0, answer)
    assert "\n" not in str(caught.value)


def test_no_frames_is_refused() -> None:
    with pytest.raises(GuardError, match="found no frame"):
        check(0.0, frames=0)


@pytest.mark.parametrize(
    "error", [WeightsError("open_nsfw: file missing"), MemoryError(), *(e("x") for e in ORT_ERRORS)]
)
def test_a_guard_that_cannot_load_refuses(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(guard, "onnx_session", broken)
    with pytest.raises(GuardError, match="can't be loaded, so nothing is processed"):
        ContentGuard()


def test_any_scorer_may_refuse() -> None:
    assert HighestScorer([Scripted(0.1), Scripted(0.9)]).score(BLANK) == 0.9
    assert math.isnan(HighestScorer([Scripted(0.1), Scripted(math.nan)]).score(BLANK))
    with pytest.raises(GuardError, match="at least one scorer"):
        HighestScorer([])


def test_every_picture_of_a_source_folder_is_scored(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for i, name in enumerate(("1.png", "2.png", "below/3.jpg")):
        cv2.imwrite(str(tmp_path / name), np.full((40 + i, 50, 3), 60 * i, np.uint8))
    scorer = Scripted(0.0)
    (report,) = ContentGuard(scorer).check_files([tmp_path])
    assert report.sample_count == 3
    assert [image.shape[0] for image in scorer.images] == [40, 41, 42]
    with pytest.raises(GuardError, match=str(tmp_path)):
        ContentGuard(Scripted(0.0, 0.0, 0.9)).check_files([tmp_path])


class Detector:
    """In the place of NudeNet's own."""

    found: ClassVar[list[dict[str, object]]] = []

    def detect(self, image: np.ndarray) -> list[dict[str, object]]:
        assert image.shape == BLANK.shape
        return self.found


@pytest.fixture
def nudenet(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("nudenet")
    module.NudeDetector = Detector  # type: ignore[attr-defined]
    module.__spec__ = importlib.machinery.ModuleSpec("nudenet", None)
    monkeypatch.setitem(sys.modules, "nudenet", module)
    return module


def test_a_second_scorer_that_is_installed_and_cannot_load_refuses(
    nudenet: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ContentGuard()
    monkeypatch.delattr(nudenet, "NudeDetector")
    with pytest.raises(GuardError, match="can't be loaded, so nothing is processed"):
        ContentGuard()


def test_bare_armpits_refuse_at_the_limit_and_never_by_their_mean(nudenet: types.ModuleType) -> None:
    check_nudenet = ContentGuard(guard.NudeNet()).check_images
    for part, weak in (("ARMPITS_EXPOSED", 0.49), ("BELLY_EXPOSED", 0.49), ("FEMALE_BREAST_EXPOSED", 0.35)):
        Detector.found = [{"class": part, "score": weak}]
        check_nudenet([BLANK] * 20, what="portrait")
        Detector.found = [{"class": part, "score": 0.5}]
        with pytest.raises(GuardError, match="refused as sexual content"):
            check_nudenet([BLANK], what="portrait")
    Detector.found = [{"class": "FEMALE_BREAST_EXPOSED", "score": 0.36}]
    with pytest.raises(GuardError, match="mean of the top tenth"):
        check_nudenet([BLANK] * 20, what="portrait")


def test_nudenet_counts_exposed_parts_only(nudenet: types.ModuleType) -> None:
    Detector.found = []
    scorer = guard.NudeNet()
    assert scorer.score(BLANK) == 0.0
    Detector.found = [{"class": "FACE_FEMALE", "score": 0.9}, {"class": "FEET_EXPOSED", "score": 0.9}]
    assert scorer.score(BLANK) == 0.0
    Detector.found = [{"class": "BUTTOCKS_EXPOSED", "score": 0.5}]
    assert scorer.score(BLANK) == pytest.approx(guard.REFUSE_MAX)
