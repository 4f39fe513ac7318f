"""This package's own learning methods as a benchmark runs them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from intracoder.app.consents import suite_footage
from intracoder.app.requests import SwapRequest
from intracoder.app.whole import swap
from intracoder.config import RunConfig, TrainConfig
from intracoder.protocols import Progress

if TYPE_CHECKING:
    from intracoder.evaluation.methods import CallableMethod, SwapJob
    from intracoder.evaluation.readings import Clip
    from intracoder.evaluation.suites import Budget

PLAIN_REVISION: Final = 1
"""Raised when what the plain autoencoder draws changes: its outputs in benchmarks are then made again."""
OURS_REVISION: Final = 6
"""The same for the intracoder. A change that both share raises both."""
PLAIN_RENDER: Final[Mapping[str, Any]] = {
    "color": "reinhard",
    "blend": "poisson",
    "sharpness": False,
    "relight": 0.0,
    "complexion": 0.0,
    "mouth": "source",
    "cover": "none",
    "hairline": 1.0,
    "feather": 0.04,
    "detail": 0.0,
}
"""How the seed puts its faces into the frame; it has no mask of its own, no light and no mouth but the drawn one."""
ENHANCER_SHARE: Final = 0.2
"""Of a budget that the colour and resolution network gets; of minutes, at most what the config gives it."""
DISCLOSURE: Final = "The benchmark's page says which faces are computed."
"""Outputs are marked and signed as always; a badge in the picture would be scored as a fault of the method."""


def learning_methods(config: RunConfig) -> tuple[CallableMethod, CallableMethod]:
    """The seed's plain autoencoder, and the intracoder with ``config``."""
    from intracoder.evaluation.methods import CallableMethod

    config = dataclasses.replace(config, render=dataclasses.replace(config.render, label="none", disclosure=DISCLOSURE))
    seed_config = dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, plain=True, enhancer_minutes=0.0, enhancer_steps=None),
        render=dataclasses.replace(config.render, **PLAIN_RENDER),
    )

    def plain(job: SwapJob, progress: Progress) -> Clip:
        return _run(job, seed_config, progress)

    def ours(job: SwapJob, progress: Progress) -> Clip:
        return _run(job, config, progress)

    return (
        CallableMethod(name="plain", swap=plain, state=_state(PLAIN_REVISION, seed_config)),
        CallableMethod(name="ours", swap=ours, state=_state(OURS_REVISION, config)),
    )


def _state(revision: int, config: RunConfig) -> str:
    """A method's revision and options. Defaults are part of the revision: a new option voids no output of others."""
    return json.dumps([revision, _differences(dataclasses.asdict(config), dataclasses.asdict(RunConfig()))])


def _differences(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the defaults, table by table."""
    return {
        key: _differences(value, defaults[key]) if isinstance(value, dict) else value
        for key, value in values.items()
        if value != defaults[key]
    }


def within(budget: Budget, train: TrainConfig) -> TrainConfig:
    """``train`` such that both networks together learn for the budget: no method may spend more than another."""
    has_enhancer = train.enhancer_minutes > 0 or bool(train.enhancer_steps)
    if budget.steps is not None:
        second = max(1, round(budget.steps * ENHANCER_SHARE)) if has_enhancer else None
        return dataclasses.replace(train, steps=max(1, budget.steps - (second or 0)), enhancer_steps=second)
    assert budget.minutes is not None
    share = min(train.enhancer_minutes, budget.minutes * ENHANCER_SHARE) if has_enhancer else 0.0
    return dataclasses.replace(
        train, minutes=budget.minutes - share, steps=None, enhancer_minutes=share, enhancer_steps=None
    )


def _run(job: SwapJob, config: RunConfig, progress: Progress) -> Clip:
    """One swap of a suite, published like any other: what is measured is what users get."""
    from intracoder.evaluation.readings import Clip

    sources = suite_footage(job.source, job.scratch / "footage", basis=job.consent_basis, pair=job.pair)
    train = dataclasses.replace(within(job.budget, config.train), seed=job.seed)
    request = SwapRequest(
        sources=sources,
        target=job.target,
        output=job.folder / "output.mp4",
        project=job.scratch / "project",
        use="research",
        config=dataclasses.replace(config, train=train),
        # a new id for each run would be another mark in the pixels, and other numbers from the same seed
        record_id=uuid.uuid5(uuid.NAMESPACE_OID, repr((job.pair, config.train.plain, job.budget, job.seed))),
    )
    project = request.project_folder()
    kept = {
        project / "source": job.shared / "face_sets" / f"source_{_content(job.source)}",
        project / "target": job.shared / "face_sets" / f"target_{_content([job.target])}",
    }
    for face_set, copy in kept.items():
        _copy_once(copy, face_set)
    swap(request, progress=progress)
    for face_set, copy in kept.items():
        _copy_once(face_set, copy)
    return Clip(path=request.output, start=job.start, stop=job.stop)


def _content(paths: Sequence[Path]) -> str:
    """Hash of what some clips hold, whatever they are called."""
    from intracoder.faceset.sources import fingerprint

    return hashlib.sha256("".join(map(fingerprint, paths)).encode()).hexdigest()[:16]


def _copy_once(folder: Path, to: Path) -> None:
    """Copies a face set to where none is. ``extract`` takes it only if it was made from the same files and options."""
    if to.exists() or not folder.is_dir():
        return
    beside = to.with_name(f".{to.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, beside)
    beside.rename(to)
