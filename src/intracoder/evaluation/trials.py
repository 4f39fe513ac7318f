"""Trials of a benchmark on the disk: what is planned, what was made, what was scored.

A trial is one method on one pair with one budget and seed. Its folder holds

begun.json      the key of the method's work, written before it starts
output.mp4      what the method made (it may lie elsewhere: a finished clip is not copied)
made.json       the same key, written when the method is done
scorecard.json  the scores
trial.json      the key of work and scores, written last

The key of the work holds whatever that method's output depends on and nothing else; that of the scores adds what it is
judged by. So a changed metric costs no training, and a changed method leaves the others' trials alone.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from intracoder.errors import ConfigError
from intracoder.evaluation.methods import Method, SwapJob
from intracoder.evaluation.readings import Clip
from intracoder.evaluation.scorecard import Scorecard, load_scorecard, save_scorecard
from intracoder.evaluation.suites import Budget, Pair
from intracoder.faceset.sources import fingerprint
from intracoder.media.atomic import atomic_path

METRICS_VERSION = 1
"""Raised whenever a metric's definition changes: kept outputs are then scored again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """One finished trial."""

    pair: str
    tags: tuple[str, ...]
    method: str
    budget: str | None
    """None for methods that don't learn."""
    seed: int | None
    seconds: float | None
    """Wall clock of the method, learning and rendering; None where it was stopped and went on later."""
    output: Clip | None
    card: Scorecard | None
    """None where the trial failed."""
    error: str = ""
    frame_slices: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Frames of the judged part that belong to a slice."""
    code: str = ""
    """State of the package that made the output."""

    @property
    def label(self) -> str:
        """Method and budget, as a row of a table."""
        return self.method if self.budget is None else f"{self.method}, {self.budget}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One trial before it is run."""

    pair: Pair
    method: Method
    budget: Budget
    seed: int
    out: Path
    """Folder of the whole benchmark."""

    @property
    def folder(self) -> Path:
        """The trial's own."""
        folder = self.out / "trials" / self.pair.name / slug(self.method.name)
        return folder / f"{slug(self.budget.label)}_seed{self.seed}" if self.method.learns else folder

    @property
    def scratch(self) -> Path:
        """For what the method needs while it works; removed when it is done."""
        return self.folder / "work"

    def job(self, consent_basis: str) -> SwapJob:
        """What the method is told. The truth is not in it."""
        return SwapJob(
            pair=self.pair.name,
            source=self.pair.source,
            target=self.pair.target,
            start=self.pair.start,
            stop=self.pair.stop,
            budget=self.budget,
            seed=self.seed,
            folder=self.folder,
            scratch=self.scratch,
            shared=self.out / "shared",
            consent_basis=consent_basis,
        )

    def work_key(self) -> str:
        """Changes with everything that the output depends on."""
        pair, method = self.pair, self.method
        return _digest(
            method.name,
            method.state_for(pair),
            (self.budget, self.seed) if method.learns else None,
            (pair.start, pair.stop),
            [_content(path) for path in (*pair.source, pair.target)],
        )

    def score_key(self) -> str:
        """Changes with everything that the scores depend on."""
        judges = [None if path is None else _content(path) for path in (self.pair.truth, self.pair.truth_mask)]
        return _digest(METRICS_VERSION, self.work_key(), judges)

    def result(self, **known: Any) -> TrialResult:
        """A result of this trial, with ``known`` fields filled in."""
        empty = TrialResult(
            pair=self.pair.name,
            tags=self.pair.tags,
            method=self.method.name,
            budget=self.budget.label if self.method.learns else None,
            seed=self.seed if self.method.learns else None,
            seconds=None,
            output=None,
            card=None,
        )
        return dataclasses.replace(empty, **known)


def slug(name: str) -> str:
    """A name as part of a path: letters, digits, points and single dashes."""
    return re.sub(r"[^\w.]+", "-", name).strip("-")


def _digest(*parts: object) -> str:
    """Hash of what ``parts`` look like."""
    return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()


def _content(path: Path) -> str:
    """Hash of a file's or folder's content; a file that did not change is read once."""
    if not path.is_file():
        return fingerprint(path)
    found = path.stat()
    return _file_content(path, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _file_content(path: Path, size: int, changed_ns: int) -> str:
    del size, changed_ns
    return fingerprint(path)


@functools.cache
def code_state() -> str:
    """Version and hash of this package's code: says whether two trials were made by the same program."""
    state = hashlib.sha256()
    for path in sorted(Path(str(files("intracoder"))).rglob("*.py")):
        state.update(path.read_bytes())
    return f"{version('intracoder')} {state.hexdigest()[:8]}"


# ---- on the disk -----------------------------------------------------------------------------------------------


def begin(plan: Plan) -> bool:
    """Makes the trial's folders; whether an earlier sitting's work goes on there. Work for another key is removed."""
    key = plan.work_key()
    data = _read(plan.folder / "begun.json")
    goes_on = data is not None and data.get("key") == key and plan.scratch.is_dir()
    if not goes_on and plan.folder.is_dir():
        shutil.rmtree(plan.folder)
    plan.scratch.mkdir(parents=True, exist_ok=True)
    _write(plan.folder / "begun.json", {"key": key})
    return goes_on


def keep_made(plan: Plan, made: TrialResult) -> None:
    """Writes ``made.json`` and removes the scratch folder."""
    assert made.output is not None
    path, start, stop = made.output.path, made.output.start, made.output.stop
    inside = path.is_relative_to(plan.folder)
    data = {
        "key": plan.work_key(),
        "seconds": None if made.seconds is None else round(made.seconds, 3),
        # relative, so that a benchmark can be moved
        "output": [path.relative_to(plan.folder).as_posix() if inside else str(path.absolute()), start, stop],
        "code": made.code,
    }
    _write(plan.folder / "made.json", data)
    shutil.rmtree(plan.scratch, ignore_errors=True)


def find_made(plan: Plan) -> TrialResult | None:
    """What the method has made already, unscored; None where there is nothing or something changed."""
    data = _read(plan.folder / "made.json")
    if data is None or data.get("key") != plan.work_key():
        return None
    try:
        name, start, stop = data["output"]
        clip = Clip(path=plan.folder / name, start=start, stop=stop)
        made = plan.result(seconds=data["seconds"], output=clip, code=data["code"])
    except (KeyError, TypeError, ValueError):
        return None  # a damaged record is no record
    return made


def keep_result(plan: Plan, result: TrialResult) -> None:
    """Writes scores and ``trial.json``, the sign that a trial is finished."""
    if result.card is not None:
        save_scorecard(result.card, plan.folder / "scorecard.json")
    slices = {name: list(frames) for name, frames in result.frame_slices.items()}
    _write(plan.folder / "trial.json", {"key": plan.score_key(), "error": result.error, "frame_slices": slices})


def find_result(plan: Plan) -> TrialResult | None:
    """The finished trial, scored or failed; None where there is none or something changed."""
    data = _read(plan.folder / "trial.json")
    if data is None or data.get("key") != plan.score_key():
        return None
    if data.get("error"):
        return plan.result(error=str(data["error"]))
    made = find_made(plan)
    if made is None:
        return None
    try:
        card = load_scorecard(plan.folder / "scorecard.json")
        slices = {name: tuple(frames) for name, frames in data["frame_slices"].items()}
    except (ConfigError, KeyError, TypeError, AttributeError):
        return None  # a damaged record is no record: the trial is scored again
    return dataclasses.replace(made, card=card, frame_slices=slices)


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _write(path: Path, data: Mapping[str, object]) -> None:
    """Writes JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(data, indent=1), encoding="utf-8")
