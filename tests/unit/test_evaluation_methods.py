"""The learning methods of a benchmark, what evaluation may be given, and what it may not share with training."""

from __future__ import annotations

import dataclasses
import re
from importlib.resources import files
from pathlib import Path

import pytest

from intracoder.app.measuring import evaluate
from intracoder.app.reports import swapped_frames
from intracoder.app.requests import EvaluateRequest
from intracoder.app.trying import learning_methods, within
from intracoder.config import RenderConfig, RunConfig, TrainConfig
from intracoder.errors import ConfigError
from intracoder.evaluation.suites import Budget


@pytest.mark.parametrize(("minutes", "second"), [(15.0, 0.75), (5.0, 0.75), (0.4, 0.08)])
def test_both_networks_share_the_minutes(minutes: float, second: float) -> None:
    train = within(Budget(minutes=minutes), TrainConfig())
    assert train.steps is None
    assert train.enhancer_steps is None
    assert train.enhancer_minutes == pytest.approx(second)
    assert (train.minutes or 0) + train.enhancer_minutes == pytest.approx(minutes)


def test_a_budget_in_steps_leaves_nothing_to_the_clock() -> None:
    train = within(Budget(steps=50), TrainConfig())
    assert (train.steps, train.enhancer_steps) == (40, 10)
    alone = within(Budget(steps=50), TrainConfig(enhancer_minutes=0.0))
    assert (alone.steps, alone.enhancer_steps) == (50, None)
    plain = within(Budget(minutes=5.0), TrainConfig(enhancer_minutes=0.0))
    assert (plain.minutes, plain.enhancer_minutes) == (5.0, 0.0)


def states(config: RunConfig) -> list[str]:
    return [method.state for method in learning_methods(config)]


def test_options_void_the_outputs_that_they_change() -> None:
    plain, ours = states(RunConfig())
    assert plain != ours
    second = states(RunConfig(train=TrainConfig(enhancer_minutes=0.5)))
    assert second[0] == plain
    assert second[1] != ours
    learned = states(RunConfig(render=RenderConfig(color="learned")))
    assert learned[0] == plain
    assert learned[1] != ours
    rate = states(dataclasses.replace(RunConfig(), train=TrainConfig(lr=5e-4)))
    assert rate[0] != plain
    assert rate[1] != ours


def test_the_label_is_not_scored_as_a_fault_of_a_method() -> None:
    assert all('"label": "none"' in state for state in states(RunConfig()))


def test_the_judges_embedder_is_used_by_nothing_else() -> None:
    package = Path(str(files("intracoder")))
    texts = {path.relative_to(package).as_posix(): path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    users = {name for name, text in texts.items() if re.search(r"DlibResnet|\"dlib_resnet\"", text)}
    assert {one for one in users if not one.startswith("evaluation/")} <= {"faces/embedder.py", "build.py"}


def test_a_report_says_which_frames_are_judged(tmp_path: Path) -> None:
    report = tmp_path / "out.report.json"
    report.write_text('{"frames": [[0, "no_face", null], [1, "swapped", 0.9], [2, "swapped", 0.8]]}', encoding="utf-8")
    assert swapped_frames(report) == {1, 2}
    for text in ("{", "[]", '{"frames": [[0]]}', '{"frames": [[0, "no_face", null]]}'):
        report.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"out\.report\.json"):
            swapped_frames(report)


def test_a_mask_without_its_truth_is_refused(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    with pytest.raises(ConfigError, match=r"mask\.mp4: expected a truth.*--truth"):
        evaluate(
            EvaluateRequest(
                output=clip, target=clip, sources=(clip,), folder=tmp_path, truth_mask=tmp_path / "mask.mp4"
            )
        )
