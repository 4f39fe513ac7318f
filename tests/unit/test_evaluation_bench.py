"""Suites, running, resuming and reporting, with methods and evaluator that need no networks."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from intracoder.errors import ConfigError, MediaError
from intracoder.evaluation import tables, trials
from intracoder.evaluation.evaluator import Trial
from intracoder.evaluation.methods import SwapJob, parse_external
from intracoder.evaluation.readings import Clip, FaceReadings
from intracoder.evaluation.scorecard import (
    Scorecard,
    from_json,
    load_scorecard,
    measured,
    save_scorecard,
    to_json,
    to_markdown,
)
from intracoder.evaluation.suites import (
    Budget,
    Pair,
    Suite,
    celeb_df_suite,
    faceforensics_suite,
    find_suite,
    load_suite,
)
from intracoder.evaluation.swapbench import BenchResult, finished, plan_bench, run_bench
from intracoder.protocols import Progress


def schema(name: str) -> object:
    return json.loads(files("intracoder.evaluation").joinpath(name).read_text(encoding="utf-8"))


def card(nid: float = 0.9, *, truth: str | None = "truth") -> Scorecard:
    frames = np.array([nid - 0.1, np.nan, nid + 0.1])
    metrics = {"nid": measured(frames), "ssim": measured(frames / 2), "leak": measured(-frames * 0.0)}
    return Scorecard(
        output="out",
        target="target",
        source="source",
        truth=truth,
        embedder="dlib_resnet",
        start=0,
        frame_count=3,
        target_faces=3,
        metrics={key: one for key, one in metrics.items() if one is not None},
    )


# ---- scorecards ------------------------------------------------------------------------------------------------


def test_scorecard_survives_json_and_keeps_to_its_schema(tmp_path: Path) -> None:
    for one in (card(), card(truth=None)):
        jsonschema.validate(json.loads(to_json(one)), schema("scorecard.schema.json"))
        assert from_json(to_json(one), where="here") == one
    save_scorecard(card(), tmp_path / "card.json")
    assert load_scorecard(tmp_path / "card.json") == card()


def test_scorecard_has_a_table_without_negative_zeros() -> None:
    text = to_markdown(card())
    assert "| NID | **0.90** |" in text
    assert "-0.00" not in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": "other/1"}',
        '{"schema": "intracoder.scorecard/1", "metrics": {"nonsense": {}}}',
        to_json(card()).replace('"value": 0.9', '"value": "high"'),
    ],
)
def test_broken_scorecards_are_one_clear_line(text: str) -> None:
    with pytest.raises(ConfigError, match="here") as caught:
        from_json(text, where="here")
    assert "\n" not in str(caught.value)


# ---- suites ----------------------------------------------------------------------------------------------------


def test_the_mini_suite_is_packaged_small_and_whole() -> None:
    suite = find_suite("mini")
    assert [pair.name for pair in suite.pairs] == ["W_on_M", "A_on_H"]
    folder = suite.pairs[0].target.parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4 * 2**20
    assert (folder / "NOTICE.md").exists()


def write_suite(folder: Path, text: str) -> Path:
    for name in ("s.mp4", "t.mp4"):
        (folder / name).write_bytes(b"")
    path = folder / "suite.toml"
    path.write_text(text, encoding="utf-8")
    return path


PAIR = '[[pair]]\nname = "one"\nsource = ["s.mp4"]\ntarget = "t.mp4"\n'


def test_a_suite_file_is_read_strictly(tmp_path: Path) -> None:
    path = write_suite(tmp_path, "minutes = [5]\nsteps = [100]\nseeds = [0, 7]\n" + PAIR + "frames = [2, 9]\n")
    suite = load_suite(path, tmp_path)
    assert suite.budgets == (Budget(minutes=5.0), Budget(steps=100))
    assert [one.label for one in suite.budgets] == ["5 min", "100 steps"]
    assert suite.seeds == (0, 7)
    assert suite.pairs[0].target_clip() == Clip(path=tmp_path / "t.mp4", start=2, stop=9)
    assert suite.pairs[0].same_part(path) == Clip(path=path, stop=7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "at least one"),
        ("nonsense = 1\n" + PAIR, "unknown keys nonsense"),
        (PAIR + "frames = [9, 2]\n", "frames"),
        (PAIR + PAIR, "its own name"),
        (PAIR.replace("t.mp4", "missing.mp4"), "doesn't exist"),
        (PAIR.replace('"one"', '"../one"'), "name: expected"),
        ('seeds = ["a"]\n' + PAIR, "seeds"),
        ('consent_basis = "none"\n' + PAIR, "consent_basis: expected one of self"),
        ("[[pair]]\n", "target and source"),
        ("= broken", "can't be read as a suite"),
    ],
)
def test_bad_suite_files_are_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_suite(write_suite(tmp_path, text), tmp_path)


def test_unknown_suites_name_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="mini, published, synthetic, self, celeb-df, ffpp"):
        find_suite("nonsense")
    with pytest.raises(ConfigError, match="--data"):
        find_suite("synthetic")
    with pytest.raises(ConfigError, match="--data"):
        find_suite("celeb-df")


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_celeb_df_pairs_come_from_its_names(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "Celeb-real/id0_0000.mp4",
        "Celeb-real/id1_0003.mp4",
        "Celeb-real/id1_0004.mp4",
        "YouTube-real/00000.mp4",
        "Celeb-synthesis/id0_id1_0000.mp4",
        "Celeb-synthesis/id1_id0_0003.mp4",
    )
    (tmp_path / "List_of_testing_videos.txt").write_text(
        "1 YouTube-real/00000.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n", encoding="utf-8"
    )
    suite = celeb_df_suite(tmp_path)
    assert suite.consent_basis == "dataset-licence"
    (pair,) = suite.pairs
    assert pair.target == tmp_path / "Celeb-real/id0_0000.mp4"
    assert [path.name for path in pair.source] == ["id1_0003.mp4", "id1_0004.mp4"]
    assert pair.outputs == {"Celeb-DF": tmp_path / "Celeb-synthesis/id0_id1_0000.mp4"}
    assert len(celeb_df_suite(tmp_path, only_tested=False).pairs) == 2


def test_celeb_df_pp_has_a_column_for_each_of_its_methods(tmp_path: Path) -> None:
    fake = "Celeb-synthesis/FaceSwap/{}/id0_id1_0000.mp4"
    touch(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-real/id1_0000.mp4")
    touch(tmp_path, fake.format("Celeb-DF"), fake.format("SimSwap"))
    touch(tmp_path, "Celeb-synthesis/FaceReenact/LIA/id0_id1_0000.mp4")
    (pair,) = celeb_df_suite(tmp_path, only_tested=False).pairs
    assert sorted(pair.outputs) == ["Celeb-DF", "SimSwap"]


def test_faceforensics_pairs_come_from_its_names(tmp_path: Path) -> None:
    videos = "original_sequences/youtube/c23/videos"
    touch(tmp_path, f"{videos}/000.mp4", f"{videos}/003.mp4")
    touch(tmp_path, "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4")
    (pair,) = faceforensics_suite(tmp_path).pairs
    assert (pair.target.name, pair.source[0].name) == ("000.mp4", "003.mp4")
    assert list(pair.outputs) == ["Deepfakes"]


def test_folders_of_another_layout_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Celeb-real"):
        celeb_df_suite(tmp_path)
    with pytest.raises(ConfigError, match="original_sequences"):
        faceforensics_suite(tmp_path)
    touch(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-synthesis/strange.mp4")
    with pytest.raises(ConfigError, match="id0_id1_0000"):
        celeb_df_suite(tmp_path, only_tested=False)
    with pytest.raises(MediaError, match="List_of_testing_videos"):
        celeb_df_suite(tmp_path)


# ---- running ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class FakeMethod:
    name: str
    learns: bool
    jobs: list[SwapJob] = field(default_factory=list)
    fails: bool = False
    killed: bool = False
    state: str = "1"
    found: list[str] = field(default_factory=list)

    def state_for(self, pair: Pair) -> str:
        del pair
        return self.state

    def run(self, job: SwapJob, progress: Progress) -> Clip:
        del progress
        self.jobs.append(job)
        self.found.append(" ".join(sorted(one.name for one in job.scratch.iterdir())))
        if self.fails:
            raise MediaError("t.mp4: can't be read")
        (job.scratch / "model").touch()
        if self.killed:
            raise KeyboardInterrupt
        output = job.folder / "output.mp4"
        output.touch()
        return Clip(path=output)


class FakeEvaluator:
    def __init__(self) -> None:
        self.trials: list[Trial] = []

    def evaluate(self, trial: Trial, progress: Progress) -> Scorecard:
        del progress
        self.trials.append(trial)
        return card(0.5 + 0.1 * len(self.trials))

    def readings_of(self, trial: Trial) -> FaceReadings:
        del trial
        yaw = np.array([[0.0, 0, 0], [40.0, 0, 0], [-40.0, 0, 0]])
        return FaceReadings(
            height=8,
            width=8,
            found=np.ones(3, bool),
            near=np.zeros((3, 478, 3), np.float32),
            points=np.zeros((3, 478, 3), np.float32),
            blendshapes=np.zeros((3, 52), np.float32),
            embeddings=np.ones((3, 4), np.float32),
            pose_deg=yaw,
            gaze_deg=np.zeros(3),
        )


def toy_suite(folder: Path) -> Suite:
    touch(folder, "s.mp4", "t.mp4", "done.mp4")
    pair = Pair(name="one", source=(folder / "s.mp4",), target=folder / "t.mp4", tags=("easy",))
    other = Pair(
        name="two", source=(folder / "s.mp4",), target=folder / "t.mp4", outputs={"given": folder / "done.mp4"}
    )
    return Suite(name="toy", pairs=(pair, other), budgets=(Budget(steps=1), Budget(steps=2)), seeds=(0, 1))


def bench(suite: Suite, methods: list[FakeMethod], evaluator: FakeEvaluator, out: Path) -> BenchResult:
    return run_bench(plan_bench(suite, methods, out), evaluator)  # type: ignore[arg-type]


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


def test_a_killed_trial_goes_on_with_its_work_unless_the_method_changed(tmp_path: Path) -> None:
    suite, out = toy_suite(tmp_path), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        bench(suite, [FakeMethod("ours", True, killed=True)], FakeEvaluator(), out)
    same = FakeMethod("ours", True, killed=True)
    with pytest.raises(KeyboardInterrupt):
        bench(suite, [same], FakeEvaluator(), out)
    assert same.found == ["model"]
    changed = FakeMethod("ours", True, state="2")
    result = bench(suite, [changed], FakeEvaluator(), out)
    assert set(changed.found) == {""}
    assert all(t.seconds is not None for t in result.trials if t.method == "ours")


def test_a_trial_that_went_on_has_no_time(tmp_path: Path) -> None:
    suite, out = toy_suite(tmp_path), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        bench(suite, [FakeMethod("ours", True, killed=True)], FakeEvaluator(), out)
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
