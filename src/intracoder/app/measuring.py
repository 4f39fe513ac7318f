"""Scoring outputs and whole methods."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from intracoder.app.reports import swapped_frames
from intracoder.app.requests import BenchRequest, EvaluateRequest
from intracoder.app.trying import learning_methods
from intracoder.errors import ConfigError
from intracoder.protocols import Progress, silent

if TYPE_CHECKING:
    from intracoder.evaluation.scorecard import Scorecard
    from intracoder.evaluation.swapbench import BenchPlan


def evaluate(request: EvaluateRequest, *, progress: Progress = silent) -> Scorecard:
    """Scores an output and writes the scorecard (JSON, Markdown, picture) into the request's folder.

    Raises:
        ConfigError: A mask without a truth, or a bad report.
        MediaError, NoFaceError: A clip can't be read, or shows no face.
    """
    from intracoder.evaluation.evaluator import Evaluator, Trial
    from intracoder.evaluation.perceptual import PerceptualNet
    from intracoder.evaluation.readings import Clip, shipped_readers
    from intracoder.evaluation.sheet import write_scorecard

    truth, mask = request.truth, request.truth_mask
    if mask is not None and truth is None:
        raise ConfigError(f"{mask}: expected a truth that the mask belongs to; give it with --truth")
    evaluator = Evaluator(shipped_readers(), PerceptualNet())
    trial = Trial(
        output=Clip(path=request.output, start=request.start, stop=request.stop),
        target=Clip(path=request.target, start=request.start, stop=request.stop),
        source=tuple(Clip(path=path) for path in request.sources),
        truth=None if truth is None else Clip(path=truth),
        truth_mask=None if mask is None else Clip(path=mask),
        frames=None if request.report is None else swapped_frames(request.report),
    )
    card = evaluator.evaluate(trial, progress)
    write_scorecard(card, trial, evaluator, request.folder)
    return card


def plan_bench(request: BenchRequest) -> BenchPlan:
    """All trials of a benchmark, with what earlier sittings have finished.

    Raises:
        ConfigError: An unknown suite, pair or method, or a finished swap is missing.
        MediaError: A clip can't be read.
    """
    from intracoder.evaluation.baselines import baselines
    from intracoder.evaluation.methods import CopyTarget, Method, parse_external
    from intracoder.evaluation.readings import shipped_readers
    from intracoder.evaluation.suites import Budget, find_suite
    from intracoder.evaluation.swapbench import plan_bench as plan_trials

    parts: list[Method] = [CopyTarget(), *baselines(shipped_readers()), *learning_methods(request.config)]
    known = {method.name: method for method in parts}
    unknown = [name for name in request.methods if name not in known]
    if unknown:
        raise ConfigError(f"bench: unknown method {unknown[0]!r}; expected some of {', '.join(known)}")
    chosen = [known[name] for name in request.methods or known]
    suite = find_suite(request.suite, request.data).only(request.pairs).limited(request.limit)
    budgets = (*(Budget(minutes=m) for m in request.minutes), *(Budget(steps=s) for s in request.steps))
    suite = dataclasses.replace(suite, budgets=budgets or suite.budgets, seeds=request.seeds or suite.seeds)
    return plan_trials(suite, [*chosen, *map(parse_external, request.external)], request.out)


def bench(plan: BenchPlan, out: Path, *, run: bool = True, progress: Progress = silent) -> Path:
    """Runs what a plan has left and writes JSON, Markdown and an HTML page into ``out``; returns the page.

    Args:
        plan: From ``plan_bench``.
        out: Folder of the report.
        run: False only reports what earlier sittings have finished.
        progress: Told of every trial.

    Raises:
        ConfigError: Nothing is there to be reported.
    """
    from intracoder.evaluation.evaluator import Evaluator
    from intracoder.evaluation.perceptual import PerceptualNet
    from intracoder.evaluation.readings import shipped_readers
    from intracoder.evaluation.report import write_report
    from intracoder.evaluation.swapbench import finished, run_bench

    if not run and not plan.found:
        raise ConfigError(f"{out}: no finished trial of {plan.suite.name} to report; run the benchmark first")
    evaluator = Evaluator(shipped_readers(), PerceptualNet())
    result = run_bench(plan, evaluator, progress=progress) if run else finished(plan)
    return write_report(result, plan.suite, evaluator, out)
