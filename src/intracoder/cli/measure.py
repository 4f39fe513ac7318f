"""Commands that look at results: verify, evaluate, bench, show, doctor."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from intracoder import app
from intracoder.cli.options import ConfigFile, Json, Quiet, Set, resolved
from intracoder.cli.screen import logged, progress_on, say

show_app = App(name="show", help="Prints what is known of something.")


def verify(file: Path, *, as_json: Json = False) -> int:
    """Reads a file's credentials and mark and says what was found: exit 0 marked, 1 nothing found, 4 changed since."""
    from intracoder.provenance.verify import verify_file

    report = verify_file(file)
    say(json.loads(report.to_json()), "\n".join(report.words), as_json=as_json)
    return report.exit_code


def evaluate(
    output: Path,
    *,
    target: Annotated[Path, Parameter(help="What the output was made from.")],
    source: Annotated[list[Path], Parameter(help="Footage of the source person; repeatable.")],
    truth: Annotated[Path | None, Parameter(help="A perfect swap of the same frames.")] = None,
    truth_mask: Annotated[Path | None, Parameter(help="Which part the truth replaces.")] = None,
    start: Annotated[int, Parameter(help="First frame judged.")] = 0,
    stop: Annotated[int | None, Parameter(help="Frame to stop before.")] = None,
    report: Annotated[Path | None, Parameter(help="The run's report; judges only what it swapped.")] = None,
    out: Annotated[Path, Parameter(help="Folder of the scorecard.")] = Path("scorecard"),
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Scores an output: identity, leak, pose, expression, seam, sharpness, flicker, light."""
    from intracoder.evaluation.scorecard import to_json, to_markdown

    request = app.EvaluateRequest(
        output=output,
        target=target,
        sources=tuple(source),
        folder=out,
        truth=truth,
        truth_mask=truth_mask,
        start=start,
        stop=stop,
        report=report,
    )
    with logged(None), progress_on(quiet=quiet) as progress:
        card = app.evaluate(request, progress=progress)
    say(json.loads(to_json(card)), to_markdown(card), as_json=as_json)


def bench(
    *,
    suite: Annotated[
        str, Parameter(help="mini, published, synthetic, occluded, self, celeb-df, ffpp, or a TOML file.")
    ] = "mini",
    data: Annotated[Path | None, Parameter(help="Folder of the suite's data.")] = None,
    out: Annotated[Path, Parameter(help="Folder of trials and report.")] = Path("datasets/bench"),
    pairs: Annotated[list[str] | None, Parameter(help="Some pairs by name; repeatable.")] = None,
    limit: Annotated[int | None, Parameter(help="Only so many of the pairs.")] = None,
    methods: Annotated[list[str] | None, Parameter(help="Some methods by name; repeatable.")] = None,
    minutes: Annotated[list[float] | None, Parameter(help="Learning budgets; repeatable.")] = None,
    steps: Annotated[list[int] | None, Parameter(help="The same in steps; repeatable.")] = None,
    seeds: Annotated[list[int] | None, Parameter(help="Seeds; repeatable.")] = None,
    external: Annotated[list[str] | None, Parameter(help="NAME=DIR of swaps by other programs.")] = None,
    plan: Annotated[bool, Parameter(negative="", help="Only say how much there is to do.")] = False,
    report: Annotated[bool, Parameter(negative="", help="Only report what is finished.")] = False,
    config: ConfigFile = None,
    settings: Set = None,
    quiet: Quiet = False,
) -> None:
    """Runs SwapBench: whole methods on a suite, scored against the truth. A stopped run goes on where it was."""
    request = app.BenchRequest(
        suite=suite,
        out=out,
        data=data,
        pairs=tuple(pairs or ()),
        limit=limit,
        methods=tuple(methods or ()),
        minutes=tuple(minutes or ()),
        steps=tuple(steps or ()),
        seeds=tuple(seeds or ()),
        external=tuple(external or ()),
        config=resolved(config, settings),
    )
    trials = app.plan_bench(request)
    if plan:
        print(trials.words())
        return
    if not quiet:
        print(trials.words(), file=sys.stderr, flush=True)
    with logged(out / "bench.log"), progress_on(quiet=quiet) as progress:
        page = app.bench(trials, out, run=not report, progress=progress)
    print(f"{(out / 'report.md').read_text(encoding='utf-8')}\n{page}")


@show_app.command(name="model")
def show_model(folder: Path) -> None:
    """Prints a model's card and the consent that it carries."""
    print(app.show_model(folder))


def doctor(*, as_json: Json = False) -> None:
    """Says what this machine can do and what is missing."""
    found = app.doctor()
    say(found, "\n".join(f"{key:>20}  {value}" for key, value in found.items()), as_json=as_json)


def add_to(parent: App) -> None:
    """Registers these commands."""
    parent.command(verify)
    parent.command(evaluate)
    parent.command(bench)
    parent.command(doctor)
    parent.command(show_app)
