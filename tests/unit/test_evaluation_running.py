"""Running, resuming and tabulating benchmarks, with methods and an evaluator that need no networks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from toy_bench import FakeEvaluator, FakeMethod, bench, schema, touch, toy_suite

from intracoder.errors import ConfigError, TrainingStoppedError
from intracoder.evaluation import tables, trials
from intracoder.evaluation.methods import parse_external
from intracoder.evaluation.page import page
from intracoder.evaluation.suites import Budget
from intracoder.evaluation.swapbench import finished, plan_bench


def test_learning_methods_run_with_every_budget_and_seed_and_others_once(tmp_path: Path) -> None:
    still, learner, evaluator = FakeMethod("still", False), FakeMethod("learner", True), FakeEvaluator()
    result = bench(toy_suite(tmp_path), [learner, still], evaluator, tmp_path / "out")
    assert (len(still.jobs), len(learner.jobs)) == (2, 2 * 4)
    assert len(result.trials) == 2 * 5 + 1
    assert [t.pair for t in result.trials if t.method == "given"] == ["two"]
    folders = {job.folder for job in learner.jobs}
    assert len(folders) == 8
    assert all(job.folder.is_dir() for job in learner.jobs)
    assert not any(job.scratch.exists() for job in learner.jobs)


def test_a_finished_trial_is_not_run_again_unless_its_input_changed(tmp_path: Path) -> None:
    suite, out = toy_suite(tmp_path), tmp_path / "out"
    first = bench(suite, [FakeMethod("still", False)], FakeEvaluator(), out)
    again, evaluator = FakeMethod("still", False), FakeEvaluator()
    second = bench(suite, [again], evaluator, out)
    assert json.loads(tables.to_json(second)) == json.loads(tables.to_json(first))
    assert not again.jobs
    assert not evaluator.trials
    (out / "trials/one/still/made.json").write_text("{", encoding="utf-8")
    bench(suite, [again], evaluator, out)
    assert [job.pair for job in again.jobs] == ["one"]
    (tmp_path / "s.mp4").write_bytes(b"changed")
    bench(suite, [again], evaluator, out)
    assert [job.pair for job in again.jobs] == ["one", "one", "two"]


def test_a_changed_method_leaves_the_trials_of_others_alone(tmp_path: Path) -> None:
    suite, out = toy_suite(tmp_path), tmp_path / "out"
    bench(suite, [FakeMethod("plain", True), FakeMethod("ours", True)], FakeEvaluator(), out)
    plain, ours = FakeMethod("plain", True), FakeMethod("ours", True, state="2")
    bench(suite, [plain, ours], FakeEvaluator(), out)
    assert (len(plain.jobs), len(ours.jobs)) == (0, 8)


def test_a_changed_metric_scores_kept_outputs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite, out = toy_suite(tmp_path), tmp_path / "out"
    bench(suite, [FakeMethod("learner", True)], FakeEvaluator(), out)
    monkeypatch.setattr(trials, "METRICS_VERSION", trials.METRICS_VERSION + 1)
    learner, evaluator = FakeMethod("learner", True), FakeEvaluator()
    result = bench(suite, [learner], evaluator, out)
    assert not learner.jobs
    assert len(evaluator.trials) == len(result.trials)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), TrainingStoppedError("stopped after 5 steps and saved")])
def test_a_stopped_trial_ends_the_benchmark_and_goes_on_later(tmp_path: Path, stop: BaseException) -> None:
    suite, out = toy_suite(tmp_path), tmp_path / "out"
    with pytest.raises(type(stop)):
        bench(suite, [FakeMethod("ours", True, stopped_by=stop)], FakeEvaluator(), out)
    same = FakeMethod("ours", True, stopped_by=stop)
    with pytest.raises(type(stop)):
        bench(suite, [same], FakeEvaluator(), out)
    assert same.found == ["model"]
    changed = FakeMethod("ours", True, state="2")
    result = bench(suite, [changed], FakeEvaluator(), out)
    assert set(changed.found) == {""}
    assert all(t.seconds is not None for t in result.trials if t.method == "ours")


def test_a_trial_that_went_on_has_no_time(tmp_path: Path) -> None:
    suite, out = toy_suite(tmp_path), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        bench(suite, [FakeMethod("ours", True, stopped_by=KeyboardInterrupt())], FakeEvaluator(), out)
    result = bench(suite, [FakeMethod("ours", True)], FakeEvaluator(), out)
    assert [t.seconds is None for t in result.trials if t.method == "ours"] == [True] + [False] * 7
    jsonschema.validate(json.loads(tables.to_json(result)), schema("bench.schema.json"))


def test_sittings_add_up(tmp_path: Path) -> None:
    suite, out = toy_suite(tmp_path), tmp_path / "out"
    methods = [FakeMethod("still", False), FakeMethod("learner", True)]
    part = dataclasses.replace(suite.only(["one"]), seeds=(1,), budgets=(Budget(steps=2),))
    bench(part, methods, FakeEvaluator(), out)
    plan = plan_bench(suite, methods, out)  # type: ignore[arg-type]
    assert len(plan.todo()) == 11 - 2
    assert plan.words().startswith("toy: 11 trials, 2 of them done, about ")
    assert {t.label for t in finished(plan).trials} == {"still", "learner, 2 steps"}
    whole, evaluator = [FakeMethod("still", False), FakeMethod("learner", True)], FakeEvaluator()
    bench(suite, whole, evaluator, out)
    assert len(evaluator.trials) == 9
    assert plan_bench(suite, methods, out).words() == "toy: all 11 trials are done"  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no pair 'three'; it has one, two"):
        suite.only(["three"])


def test_a_stopped_bench_has_a_table_that_can_be_read(tmp_path: Path) -> None:
    learner = FakeMethod("learner", True)
    plans = plan_bench(toy_suite(tmp_path), [learner, FakeMethod("still", False)], tmp_path / "out").plans  # type: ignore[list-item]
    order = [(one.method.name, one.seed, one.budget.steps, one.pair.name) for one in plans]
    assert [name for name, *_ in order[:3]] == ["still", "still", "given"]
    assert [rest for _, *rest in order[3:]] == [[s, b, p] for s in (0, 1) for b in (1, 2) for p in ("one", "two")]


def test_a_failed_trial_is_reported_and_tried_again(tmp_path: Path) -> None:
    suite, out = toy_suite(tmp_path), tmp_path / "out"
    bench(suite, [FakeMethod("still", False, fails=True)], FakeEvaluator(), out)
    mended = FakeMethod("still", False)
    plan = plan_bench(suite, [mended], out)  # type: ignore[list-item]
    assert [t.error for t in finished(plan).trials if t.method == "still"] == ["t.mp4: can't be read"] * 2
    assert not any(t.error for t in bench(suite, [mended], FakeEvaluator(), out).trials)


def test_a_benchmark_can_be_moved(tmp_path: Path) -> None:
    suite, out = toy_suite(tmp_path), tmp_path / "out"
    bench(suite, [FakeMethod("learner", True)], FakeEvaluator(), out)
    out.rename(tmp_path / "moved")
    result = bench(suite, [FakeMethod("learner", True)], FakeEvaluator(), tmp_path / "moved")
    assert all(t.output.path.exists() for t in result.trials if t.output is not None)


def test_a_pair_that_cannot_be_read_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    broken = FakeMethod("broken", False, fails=True)
    result = bench(toy_suite(tmp_path), [broken, FakeMethod("fine", False)], FakeEvaluator(), tmp_path / "out")
    errors = [t.error for t in result.trials if t.method == "broken"]
    assert errors == ["t.mp4: can't be read"] * 2
    assert all(t.card is not None for t in result.trials if t.method == "fine")
    assert "t.mp4: can't be read" in tables.to_markdown(result)


def test_methods_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="different names"):
        bench(toy_suite(tmp_path), [FakeMethod("a", False), FakeMethod("a", True)], FakeEvaluator(), tmp_path / "out")


def test_external_outputs_are_found_by_the_pairs_name(tmp_path: Path) -> None:
    touch(tmp_path, "W_on_M.mp4", "W_on_M2.mp4")
    given = parse_external(f"deep={tmp_path}")
    with pytest.raises(ConfigError, match="named one for --external deep"):
        plan_bench(toy_suite(tmp_path / "toy"), [given], tmp_path / "out")
    assert given.name == "deep"
    assert given.find("W_on_M").name == "W_on_M.mp4"
    with pytest.raises(ConfigError, match="W_on_A"):
        given.find("W_on_A")
    for bad in ("deep", f"={tmp_path}", "deep=/no/such/folder"):
        with pytest.raises(ConfigError, match="NAME=DIR"):
            parse_external(bad)


# ---- tables ----------------------------------------------------------------------------------------------------


def test_tables_average_seeds_within_a_pair_and_keep_to_the_schema(tmp_path: Path) -> None:
    methods = [FakeMethod("copy-target", False), FakeMethod("learner", True)]
    result = bench(toy_suite(tmp_path), methods, FakeEvaluator(), tmp_path / "out")
    data = json.loads(tables.to_json(result))
    jsonschema.validate(data, schema("bench.schema.json"))
    assert tables.slices(result) == ("all", "easy", "large yaw")
    rows = {row.label: row for row in tables.rows(result, "all")}
    assert set(rows) == {"copy-target", "learner, 1 steps", "learner, 2 steps", "given"}
    learner = rows["learner, 1 steps"]
    of_pair = {
        pair: np.mean([t.card.value("nid") for t in result.trials if t.label == learner.label and t.pair == pair])  # type: ignore[union-attr]
        for pair in ("one", "two")
    }
    assert learner.values["nid"].mean == pytest.approx(np.mean(list(of_pair.values())))
    assert learner.values["nid"].clips == 2
    easy = {row.label: row for row in tables.rows(result, "easy")}
    assert easy["learner, 1 steps"].values["nid"].mean == pytest.approx(of_pair["one"])
    # in the slice of frames only frames 1 and 2 count, and 1 has no value; what is normalised by clip has none at all
    turned = {row.label: row for row in tables.rows(result, "large yaw")}
    assert turned["given"].values["ssim"].mean == pytest.approx(rows["given"].values["ssim"].mean + 0.05)
    assert "nid" not in turned["given"].values


def test_the_gap_of_nid_counts_both_sides_and_copying_never_wins(tmp_path: Path) -> None:
    result = bench(
        toy_suite(tmp_path), [FakeMethod("copy-target", False), FakeMethod("still", False)], FakeEvaluator(), tmp_path
    )
    table = tables.rows(result, "all")
    gaps = {row.label: row.values[tables.NID_GAP].mean for row in table}
    assert gaps["copy-target"] == pytest.approx(np.mean([abs(1 - 0.6), abs(1 - 0.8)]))
    assert tables.best(table, tables.NID_GAP) in ("still", "given")
    assert "| copy-target |" in tables.to_markdown(result)


def test_without_truth_no_row_is_the_best(tmp_path: Path) -> None:
    result = bench(toy_suite(tmp_path), [FakeMethod("a", False), FakeMethod("b", False)], FakeEvaluator(), tmp_path)
    assert tables.has_truth(result)
    assert 'class="first best"' in page(result, [])
    assert "**" in tables.to_markdown(result)
    cards = [None if t.card is None else dataclasses.replace(t.card, truth=None) for t in result.trials]
    naive = [dataclasses.replace(t, card=one) for t, one in zip(result.trials, cards, strict=True)]
    result = dataclasses.replace(result, trials=tuple(naive))
    assert "best" not in page(result, []).partition("<table>")[2]
    assert "**" not in tables.to_markdown(result)
    assert tables.like_perfect(tables.rows(result, "all"), "nid") == {"a", "b"}  # not "given", which is beyond
