"""From footage to a published file in one call."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from intracoder.app.consents import source_grants
from intracoder.app.rendering import fitting_output, render
from intracoder.app.reports import report_path, save_report
from intracoder.app.requests import RenderRequest, SwapRequest
from intracoder.app.steps import curate, extract, train
from intracoder.config import to_toml
from intracoder.media.atomic import atomic_path
from intracoder.protocols import Progress, silent
from intracoder.records import RunReport

if TYPE_CHECKING:
    from intracoder.provenance.guard import ContentGuard

log = logging.getLogger(__name__)


def swap(request: SwapRequest, *, guard: ContentGuard | None = None, progress: Progress = silent) -> RunReport:
    """From footage to a published file; a stopped run goes on where it was when called again with the same project.

    Raises:
        ConfigError: Started in several processes.
        IntracoderError: One line that says what to do; nothing half-written is left at the output.
    """
    from intracoder.provenance.guard import ContentGuard
    from intracoder.training.parallel import require_alone

    require_alone("swap")
    config, project = request.config, request.project_folder()
    seconds: dict[str, float] = {}
    grants = source_grants(request.sources, use=request.use, consent=request.consent)
    fitting_output(request.target, request.output)
    for grant in grants:
        log.info("consent: %s, %s, for %s, record %s", grant.identity, grant.basis, request.use, grant.record_sha256)
    guard = guard or ContentGuard()
    with _timed(seconds, "guard"):
        guard.check_files([request.target, *request.sources], progress)
    project.mkdir(parents=True, exist_ok=True)
    with atomic_path(project / "run.toml") as beside:
        beside.write_text(to_toml(config), encoding="utf-8")
    source_set, target_set = _face_sets(request, project, guard, seconds, progress)
    with _timed(seconds, "train"):
        train(
            source_set,
            [target_set],
            project / "model",
            config=config,
            sources=request.sources,
            grants=grants,
            guard=guard,
            progress=progress,
        )
    rendering = RenderRequest(
        model=project / "model",
        target=request.target,
        target_set=target_set,
        output=request.output,
        use=request.use,
        config=config,
        record_id=request.record_id,
    )
    report = render(rendering, guard=guard, progress=progress)
    report = dataclasses.replace(report, stage_seconds={**seconds, **report.stage_seconds})
    save_report(report, report_path(request.output))
    log.info("%s: frames %s, record %s", request.output, report.counts(), report.record_id)
    log.info("%s: %s", request.output, ", ".join(f"{k} {v:.1f} s" for k, v in report.stage_seconds.items()))
    return report


def _face_sets(
    request: SwapRequest, project: Path, guard: ContentGuard, seconds: dict[str, float], progress: Progress
) -> tuple[Path, Path]:
    """Extracts and curates source and target; the folders of their face sets."""
    config = request.config
    source_set, target_set = project / "source", project / "target"
    with _timed(seconds, "extract"):
        source = extract(
            request.sources, source_set, config=config, choice=request.source_choice, guard=guard, progress=progress
        )
        target = extract(
            [request.target],
            target_set,
            config=config,
            choice=request.target_choice,
            is_target=True,
            guard=guard,
            progress=progress,
        )
    with _timed(seconds, "curate"):
        for made in (source, target):
            curated = curate(made.folder, config=config, progress=progress)
            log.info("%s: %d faces kept, dropped %s", made.info.person, curated.kept, dict(curated.dropped))
            for warning in curated.warnings:
                log.warning("%s: %s", made.info.person, warning)
    return source_set, target_set


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Adds a stage's wall-clock time to ``seconds``."""
    started = time.monotonic()
    yield
    seconds[stage] = time.monotonic() - started
