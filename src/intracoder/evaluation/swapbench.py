"""Runs whole methods on a suite, resumably, in as many sittings as it takes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from intracoder.errors import BlendError, ConfigError, MediaError, NoFaceError, TrainingError
from intracoder.evaluation.evaluator import Trial
from intracoder.evaluation.methods import Finished, Method
from intracoder.evaluation.performance import neutral
from intracoder.evaluation.readings import Clip, FaceReadings
from intracoder.evaluation.scorecard import Scorecard
from intracoder.evaluation.suites import Budget, Pair, Suite
from intracoder.evaluation.trials import (
    Plan,
    TrialResult,
    begin,
    code_state,
    find_made,
    find_result,
    keep_made,
    keep_result,
)
from intracoder.protocols import Progress, silent

LARGE_YAW_DEG = 25.0
SCORING_S = 8.0
"""Rough time for scoring 50 frames of 320 px, on two cores."""
OVERHEAD_S = 30.0
"""The same for what a learning method does besides learning: analysing, preparing, rendering."""
STEP_S = 0.4
"""The same for one step, until a finished trial says better."""


@runtime_checkable
class Scorer(Protocol):
    """What a bench asks of an Evaluator."""

    def evaluate(self, trial: Trial, progress: Progress) -> Scorecard:
        """Scores one output."""
        ...

    def readings_of(self, trial: Trial) -> FaceReadings:
        """The target's readings."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """The finished trials of a suite."""

    suite: str
    trials: tuple[TrialResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """What a bench has to do and how much of it is done."""

    suite: Suite
    plans: tuple[Plan, ...]
    found: Mapping[int, TrialResult]
    """Results of earlier sittings, by place in ``plans``."""

    def todo(self) -> list[int]:
        """Places of what has to be run: new trials, and failed ones once more."""
        return [place for place in range(len(self.plans)) if place not in self.found or self.found[place].error]

    def left_s(self) -> float:
        """About how long the rest takes: by trials of the same kind, or else by rough numbers."""
        known: dict[str, list[float]] = {}
        for result in self.found.values():
            if result.seconds is not None:
                known.setdefault(result.label, []).append(result.seconds)
        rest = [self.plans[place] for place in self.todo()]
        return sum((_expected_s(plan, known.get(plan.result().label, [])) + SCORING_S for plan in rest), 0.0)

    def words(self) -> str:
        """One line for whoever waits."""
        total, minutes = len(self.plans), self.left_s() / 60
        done = total - len(self.todo())
        if done == total:
            return f"{self.suite.name}: all {total} trials are done"
        time_left = f"{minutes / 60:.1f} hours" if minutes >= 90 else f"{max(1, round(minutes))} min"
        kept = f"{done} of them done, " if done else ""
        return f"{self.suite.name}: {total} trials, {kept}about {time_left} to go"


def _expected_s(plan: Plan, known: Sequence[float]) -> float:
    """Seconds that a method will need, by those that it needed before where there are any."""
    if known:
        return float(np.mean(known))
    if not plan.method.learns:
        return 0.0
    budget = plan.budget
    return OVERHEAD_S + (60 * budget.minutes if budget.minutes is not None else STEP_S * (budget.steps or 0))


def plan_bench(suite: Suite, methods: Sequence[Method], out: Path) -> BenchPlan:
    """All trials in the order they are run; ``out`` may hold those of earlier sittings.

    What needs no learning comes first. Then every pair and method gets a seed before the next seed begins, and the
    shorter budgets come before the longer ones, so that a bench that is stopped early has a table that can be read.

    Raises:
        ConfigError: two methods of one name, or a finished swap is missing.
    """
    names = [method.name for method in methods]
    if len(set(names)) != len(names) or not names:
        raise ConfigError(f"bench: expected methods with different names, at least one, got {names}")

    def plan(pair: Pair, method: Method, budget: Budget, seed: int) -> Plan:
        return Plan(pair=pair, method=method, budget=budget, seed=seed, out=out)

    still = [method for method in methods if not method.learns]
    learning = [method for method in methods if method.learns]
    plans = []
    for pair in suite.pairs:
        given = [Finished(name=name, find={pair.name: path}.__getitem__) for name, path in pair.outputs.items()]
        plans += [plan(pair, method, suite.budgets[0], suite.seeds[0]) for method in (*still, *given)]
    plans += [
        plan(pair, method, budget, seed)
        for seed in suite.seeds
        for budget in suite.budgets
        for pair in suite.pairs
        for method in learning
    ]
    for one in plans:
        one.method.state_for(one.pair)  # a finished swap that is missing shows now, not after hours
    found = {place: result for place, one in enumerate(plans) if (result := find_result(one)) is not None}
    return BenchPlan(suite=suite, plans=tuple(plans), found=found)


def run_bench(plan: BenchPlan, evaluator: Scorer, *, progress: Progress = silent) -> BenchResult:
    """Runs what is not done yet.

    A pair that shows no face or can't be read is recorded with its error; every other error stops the run.
    """
    results, todo = dict(plan.found), plan.todo()
    for number, place in enumerate(todo):
        one = plan.plans[place]
        progress("bench", float(number), float(len(todo)), f"{one.pair.name}: {one.result().label}, seed {one.seed}")
        results[place] = _run(one, plan.suite.consent_basis, evaluator, progress)
    progress("bench", float(len(todo)), float(len(todo)), "")
    return finished(dataclasses.replace(plan, found=results))


def finished(plan: BenchPlan) -> BenchResult:
    """What there is so far, in the order of the plan."""
    return BenchResult(suite=plan.suite.name, trials=tuple(plan.found[place] for place in sorted(plan.found)))


def _run(plan: Plan, consent_basis: str, evaluator: Scorer, progress: Progress) -> TrialResult:
    """Makes the output, unless it is kept from an earlier sitting, and scores it."""
    try:
        made = find_made(plan)
        # a finished clip may have moved with its data; it costs nothing to ask for it again
        if made is None or made.output is None or not made.output.path.exists():
            made = _make(plan, consent_basis, progress)
        assert made.output is not None
        trial = trial_of(plan.pair, made.output)
        card = evaluator.evaluate(trial, progress)
        slices = frame_slices(evaluator.readings_of(trial))
        result = dataclasses.replace(made, card=card, frame_slices=slices)
    except (NoFaceError, MediaError, BlendError, TrainingError) as error:
        result = plan.result(error=str(error))
    keep_result(plan, result)
    return result


def _make(plan: Plan, consent_basis: str, progress: Progress) -> TrialResult:
    """Lets the method work; what a killed sitting left is gone on with."""
    goes_on = begin(plan)
    started = time.monotonic()
    output = plan.method.run(plan.job(consent_basis), progress)
    seconds = None if goes_on else time.monotonic() - started
    made = plan.result(output=output, seconds=seconds, code=code_state())
    keep_made(plan, made)
    return made


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
