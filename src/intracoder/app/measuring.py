"""Scoring outputs and whole methods, with this package's own training among them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from intracoder.app.consents import suite_footage
from intracoder.app.requests import SwapRequest
from intracoder.app.whole import swap
from intracoder.config import RunConfig
from intracoder.errors import ConfigError
from intracoder.protocols import Progress, silent

if TYPE_CHECKING:
    from intracoder.evaluation.methods import CallableMethod, SwapJob
    from intracoder.evaluation.readings import Clip
    from intracoder.evaluation.scorecard import Scorecard


def evaluate(  # noqa: PLR0913 - one call that says everything about a scorecard
    output: Path,
    target: Path,
    sources: Sequence[Path],
    folder: Path,
    *,
    truth: Path | None = None,
    truth_mask: Path | None = None,
    start: int = 0,
    stop: int | None = None,
    progress: Progress = silent,
) -> Scorecard:
    """Scores an output and writes the scorecard (JSON, Markdown, picture) into ``folder``.

    Args:
        output: The swapped clip.
        target: What it was made from.
        sources: Footage of the source person.
        folder: For the scorecard.
        truth: A perfect swap of the same frames, where there is one.
        truth_mask: Which part of the target the truth replaces.
        start: First frame of output and target that is judged.
        stop: Frame to stop before.
        progress: Told of what is read.

    Raises:
        MediaError, NoFaceError: A clip can't be read, or shows no face.
    """
    from intracoder.evaluation.evaluator import Evaluator, Trial
    from intracoder.evaluation.perceptual import PerceptualNet
    from intracoder.evaluation.readings import Clip, shipped_readers
    from intracoder.evaluation.sheet import write_scorecard

    evaluator = Evaluator(shipped_readers(), PerceptualNet())
    trial = Trial(
        output=Clip(path=output, start=start, stop=stop),
        target=Clip(path=target, start=start, stop=stop),
        source=tuple(Clip(path=path) for path in sources),
        truth=None if truth is None else Clip(path=truth),
        truth_mask=None if truth_mask is None else Clip(path=truth_mask),
    )
    card = evaluator.evaluate(trial, progress)
    write_scorecard(card, trial, evaluator, folder)
    return card


def bench(  # noqa: PLR0913 - one call that says everything about a benchmark
    suite_name: str,
    out: Path,
    *,
    data: Path | None = None,
    methods: Sequence[str] = (),
    minutes: Sequence[float] = (),
    steps: Sequence[int] = (),
    seeds: Sequence[int] = (),
    external: Sequence[str] = (),
    limit: int | None = None,
    config: RunConfig | None = None,
    progress: Progress = silent,
) -> Path:
    """Runs methods on a suite and writes JSON, Markdown and an HTML page; an earlier run is gone on with.

    Args:
        suite_name: A packaged suite, a data set's layout, or a TOML file.
        out: Folder of trials and report.
        data: The suite's or data set's folder, where it is not packaged.
        methods: Names; all where empty.
        minutes: Training budgets instead of the suite's.
        steps: The same in steps.
        seeds: Seeds instead of the suite's.
        external: ``NAME=DIR`` of swaps made by other programs.
        limit: Judge at most so many frames of a pair.
        config: Options of this package's own method.
        progress: Told of every trial.

    Raises:
        ConfigError: An unknown suite or method.
    """
    from intracoder.evaluation.baselines import baselines
    from intracoder.evaluation.evaluator import Evaluator
    from intracoder.evaluation.methods import CopyTarget, Method, parse_external
    from intracoder.evaluation.perceptual import PerceptualNet
    from intracoder.evaluation.readings import shipped_readers
    from intracoder.evaluation.report import write_report
    from intracoder.evaluation.suites import Budget, find_suite
    from intracoder.evaluation.swapbench import run_bench

    readers = shipped_readers()
    own = config or RunConfig()
    parts: list[Method] = [CopyTarget(), *baselines(readers), *_learning(own)]
    known = {method.name: method for method in parts}
    unknown = [name for name in methods if name not in known]
    if unknown:
        raise ConfigError(f"bench: unknown method {unknown[0]!r}; expected some of {', '.join(known)}")
    chosen = [known[name] for name in methods] if methods else list(known.values())
    suite = find_suite(suite_name, data)
    budgets = (*(Budget(minutes=m) for m in minutes), *(Budget(steps=s) for s in steps))
    if budgets:
        suite = dataclasses.replace(suite, budgets=budgets)
    if seeds:
        suite = dataclasses.replace(suite, seeds=tuple(seeds))
    if limit is not None:
        suite = suite.limited(limit)
    evaluator = Evaluator(readers, PerceptualNet())
    result = run_bench(suite, [*chosen, *map(parse_external, external)], evaluator, out, progress=progress)
    return write_report(result, suite, evaluator, out)


def _learning(config: RunConfig) -> tuple[CallableMethod, CallableMethod]:
    """The seed's plain autoencoder, and ours."""
    from intracoder.evaluation.methods import CallableMethod

    seed_config = dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, plain=True),
        render=dataclasses.replace(
            config.render, color="reinhard", blend="poisson", sharpness=False, relight=0.0, mouth="source"
        ),
    )

    def ours(job: SwapJob, progress: Progress) -> Clip:
        return _run(job, config, progress)

    def plain(job: SwapJob, progress: Progress) -> Clip:
        return _run(job, seed_config, progress)

    return CallableMethod(name="plain", swap=plain), CallableMethod(name="ours", swap=ours)


def _run(job: SwapJob, config: RunConfig, progress: Progress) -> Clip:
    """One swap of a suite, published like any other: what is measured is what users get."""
    from intracoder.evaluation.readings import Clip

    sources = suite_footage(job.source, job.folder / "source", basis=job.consent_basis, pair=job.pair)
    train = dataclasses.replace(config.train, minutes=job.budget.minutes or 1.0, steps=job.budget.steps, seed=job.seed)
    request = SwapRequest(
        sources=sources,
        target=job.target,
        output=job.folder / "output.mp4",
        project=job.folder / "project",
        use="research",
        config=dataclasses.replace(config, train=train),
    )
    swap(request, progress=progress)
    return Clip(path=request.output, start=job.start, stop=job.stop)
