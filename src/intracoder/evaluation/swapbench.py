"""Runs whole methods on a suite, resumably, and keeps every number.

A trial is one method on one pair with one budget and seed. Its folder holds the output, its scorecard and
``trial.json``, which is written last: what has one with the same fingerprint is not run again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from intracoder.errors import ConfigError, MediaError, NoFaceError
from intracoder.evaluation.evaluator import Trial
from intracoder.evaluation.methods import External, Method, job_of
from intracoder.evaluation.performance import neutral
from intracoder.evaluation.readings import Clip, FaceReadings
from intracoder.evaluation.scorecard import Scorecard, load_scorecard, save_scorecard
from intracoder.evaluation.suites import Budget, Pair, Suite
from intracoder.media.atomic import atomic_path
from intracoder.protocols import Progress, silent


@runtime_checkable
class Scorer(Protocol):
    """What a bench asks of an Evaluator."""

    def evaluate(self, trial: Trial, progress: Progress) -> Scorecard:
        """Scores one output."""
        ...

    def readings_of(self, trial: Trial) -> FaceReadings:
        """The target's readings."""
        ...


METRICS_VERSION = 1
"""Raised whenever a metric's definition changes: old trials are then run again."""
LARGE_YAW_DEG = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """One finished trial."""

    pair: str
    tags: tuple[str, ...]
    method: str
    budget: str | None
    """None for methods that don't learn."""
    seed: int | None
    seconds: float
    """Wall clock of the method, learning and rendering."""
    output: Clip | None
    card: Scorecard | None
    """None where the trial failed."""
    error: str = ""
    frame_slices: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Frames of the judged part that belong to a slice."""

    @property
    def label(self) -> str:
        """Method and budget, as a row of a table."""
        return self.method if self.budget is None else f"{self.method}, {self.budget}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """All trials of a suite."""

    suite: str
    package_version: str
    trials: tuple[TrialResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """One trial before it is run."""

    pair: Pair
    method: Method
    budget: Budget
    seed: int
    folder: Path


def run_bench(
    suite: Suite, methods: Sequence[Method], evaluator: Scorer, out: Path, *, progress: Progress = silent
) -> BenchResult:
    """Runs every method on every pair; ``out`` keeps the trials, and may hold those of an earlier run.

    A pair that shows no face or can't be read is recorded with its error; every other error stops the run.

    Raises:
        ConfigError: two methods of one name.
    """
    names = [method.name for method in methods]
    if len(set(names)) != len(names) or not names:
        raise ConfigError(f"bench: expected methods with different names, at least one, got {names}")
    plans = list(_plans(suite, methods, out))
    results = []
    for number, plan in enumerate(plans):
        progress("bench", float(number), float(len(plans)), f"{plan.pair.name}: {plan.method.name}")
        results.append(_run_trial(suite, plan, evaluator, progress))
    progress("bench", float(len(plans)), float(len(plans)), "")
    return BenchResult(suite=suite.name, package_version=version("intracoder"), trials=tuple(results))


def _plans(suite: Suite, methods: Sequence[Method], out: Path) -> Iterator[_Plan]:
    """All trials; what needs no learning comes first."""
    for pair in suite.pairs:
        for method in sorted(methods, key=lambda one: one.learns):
            conditions = [(b, s) for b in suite.budgets for s in suite.seeds]
            for budget, seed in conditions if method.learns else conditions[:1]:
                folder = out / "trials" / pair.name / slug(method.name)
                if method.learns:
                    folder = folder / f"{slug(budget.label)}_seed{seed}"
                yield _Plan(pair=pair, method=method, budget=budget, seed=seed, folder=folder)
        for name, path in pair.outputs.items():
            given = _Given(name=name, clip=Clip(path=path, start=pair.start, stop=pair.stop))
            folder = out / "trials" / pair.name / slug(name)
            yield _Plan(pair=pair, method=given, budget=suite.budgets[0], seed=0, folder=folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """A swap that came with the data set."""

    name: str
    clip: Clip
    learns: bool = False

    def run(self, job: object, progress: Progress) -> Clip:
        """The data set's clip."""
        del job, progress
        return self.clip


def slug(name: str) -> str:
    """A name as part of a path: letters, digits, points and single dashes."""
    return re.sub(r"[^\w.]+", "-", name).strip("-")


def _run_trial(suite: Suite, plan: _Plan, evaluator: Scorer, progress: Progress) -> TrialResult:
    """The stored result where nothing changed, or a new one."""
    mark = _fingerprint(suite, plan)
    stored = _stored(plan, mark)
    if stored is not None:
        return stored
    plan.folder.mkdir(parents=True, exist_ok=True)
    job = job_of(plan.pair, budget=plan.budget, seed=plan.seed, folder=plan.folder, consent_basis=suite.consent_basis)
    begun = time.monotonic()
    result = _result(plan, seconds=0.0)
    try:
        output = plan.method.run(job, progress)
        seconds = time.monotonic() - begun
        trial = trial_of(plan.pair, output)
        card = evaluator.evaluate(trial, progress)
        slices = frame_slices(evaluator.readings_of(trial))
        result = dataclasses.replace(result, output=output, seconds=seconds, card=card, frame_slices=slices)
        save_scorecard(card, plan.folder / "scorecard.json")
    except (NoFaceError, MediaError) as error:
        result = dataclasses.replace(result, seconds=time.monotonic() - begun, error=str(error))
    _store(plan.folder, result, mark)
    return result


def trial_of(pair: Pair, output: Clip) -> Trial:
    """What to evaluate when a pair's swap is ``output``."""
    return Trial(
        output=output,
        target=pair.target_clip(),
        source=tuple(Clip(path=path) for path in pair.source),
        truth=None if pair.truth is None else pair.same_part(pair.truth),
        truth_mask=None if pair.truth_mask is None else pair.same_part(pair.truth_mask),
        source_name=pair.source[0].stem,
    )


def frame_slices(target: FaceReadings) -> dict[str, tuple[int, ...]]:
    """Frames in which the target turns far, and the quarter in which it is most expressive."""
    slices = {"large yaw": np.flatnonzero(np.abs(target.pose_deg[:, 0]) > LARGE_YAW_DEG)}
    rest = neutral(target.blendshapes)
    if rest is not None:
        size = np.linalg.norm(target.blendshapes - rest, axis=1)
        slices["strong expression"] = np.flatnonzero(size > np.nanpercentile(size, 75))
    return {name: tuple(int(k) for k in frames) for name, frames in slices.items() if len(frames)}


def _result(plan: _Plan, *, seconds: float) -> TrialResult:
    """A result without scores."""
    return TrialResult(
        pair=plan.pair.name,
        tags=plan.pair.tags,
        method=plan.method.name,
        budget=plan.budget.label if plan.method.learns else None,
        seed=plan.seed if plan.method.learns else None,
        seconds=seconds,
        output=None,
        card=None,
    )


def _fingerprint(suite: Suite, plan: _Plan) -> str:
    """Changes with everything that the result depends on."""
    pair = plan.pair
    paths = [*pair.source, pair.target, pair.truth, pair.truth_mask, pair.outputs.get(plan.method.name)]
    if isinstance(plan.method, External):
        paths.append(plan.method.find(pair.name))
    parts = [
        str(METRICS_VERSION),
        version("intracoder"),
        suite.consent_basis,
        repr((pair.name, pair.start, pair.stop, pair.tags)),
        plan.method.name,
        repr((plan.budget, plan.seed)) if plan.method.learns else "",
        *(_content(path) for path in paths if path is not None),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _content(path: Path) -> str:
    """Hash of a file, or of a folder's names and sizes."""
    try:
        if path.is_dir():
            return repr(sorted((one.name, one.stat().st_size) for one in path.iterdir()))
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(f"{path}: can't be read: {error.strerror}") from error


def _store(folder: Path, result: TrialResult, fingerprint: str) -> None:
    """Writes ``trial.json``, the sign that a trial is finished."""
    output = result.output
    data = {
        "fingerprint": fingerprint,
        "seconds": round(result.seconds, 3),
        "error": result.error,
        "output": None if output is None else [str(output.path), output.start, output.stop],
        "frame_slices": result.frame_slices,
    }
    with atomic_path(folder / "trial.json") as temporary:
        temporary.write_text(json.dumps(data, indent=1), encoding="utf-8")


def _stored(plan: _Plan, fingerprint: str) -> TrialResult | None:
    """The finished trial in the plan's folder, None where there is none or something changed."""
    path = plan.folder / "trial.json"
    if not path.exists():
        return None
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if data["fingerprint"] != fingerprint:
            return None
        output = None if data["output"] is None else data["output"]
        card = None if data["error"] else load_scorecard(plan.folder / "scorecard.json")
        return dataclasses.replace(
            _result(plan, seconds=float(data["seconds"])),
            output=None if output is None else Clip(path=Path(output[0]), start=output[1], stop=output[2]),
            card=card,
            error=data["error"],
            frame_slices={name: tuple(frames) for name, frames in data["frame_slices"].items()},
        )
    except (ValueError, RecursionError, KeyError, TypeError, IndexError):
        # a damaged record is no record: the trial is run again
        return None
