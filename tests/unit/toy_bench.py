"""A benchmark of files without content, with methods and an evaluator that need no networks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np

from intracoder.errors import MediaError
from intracoder.evaluation.evaluator import Trial
from intracoder.evaluation.methods import SwapJob
from intracoder.evaluation.readings import Clip, FaceReadings
from intracoder.evaluation.scorecard import Scorecard, measured
from intracoder.evaluation.suites import Budget, Pair, Suite
from intracoder.evaluation.swapbench import BenchResult, plan_bench, run_bench
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


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@dataclass(slots=True)
class FakeMethod:
    name: str
    learns: bool
    jobs: list[SwapJob] = field(default_factory=list)
    fails: bool = False
    stopped_by: BaseException | None = None
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
        if self.stopped_by is not None:
            raise self.stopped_by
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
