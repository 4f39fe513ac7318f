"""What a benchmark can run: the interface of a method, and the methods that need no work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from intracoder.errors import ConfigError
from intracoder.evaluation.readings import Clip
from intracoder.evaluation.suites import Budget, Pair
from intracoder.faceset.sources import fingerprint
from intracoder.protocols import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapJob:
    """One swap that a method is asked for. The truth is not in it: no method ever sees it."""

    pair: str
    source: tuple[Path, ...]
    target: Path
    """The whole clip, which may be learned from."""
    start: int
    """First frame that will be judged."""
    stop: int | None
    budget: Budget
    seed: int
    folder: Path
    """Where the output goes; it exists and is the job's own."""
    scratch: Path
    """The job's own, for everything else. It outlives a kill and is removed when the job is done."""
    shared: Path
    """Common to all jobs of a benchmark, for what many of them need; it may not exist."""
    consent_basis: str


@runtime_checkable
class Method(Protocol):
    """A way to swap faces."""

    @property
    def name(self) -> str:
        """In tables and folder names."""
        ...

    @property
    def learns(self) -> bool:
        """Whether budget and seed change anything; else it is run once a pair."""
        ...

    def state_for(self, pair: Pair) -> str:
        """Everything of the method itself that its output for ``pair`` depends on; kept outputs of others are void."""
        ...

    def run(self, job: SwapJob, progress: Progress) -> Clip:
        """The swapped clip, whose frames are the job's ``start`` to ``stop``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyTarget:
    """Does nothing: every swap has to beat it, and it has perfect pose, expression and background."""

    name: str = "copy-target"
    learns: bool = False

    def state_for(self, pair: Pair) -> str:
        """It never changes."""
        del pair
        return ""

    def run(self, job: SwapJob, progress: Progress) -> Clip:
        """The target itself."""
        del progress
        return Clip(path=job.target, start=job.start, stop=job.stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallableMethod:
    """A learning method that is handed in from above, such as this package's own training and rendering."""

    name: str
    swap: Callable[[SwapJob, Progress], Clip]
    """Trains within the job's budget and returns the judged frames' clip."""
    state: str
    """Its revision and options."""
    learns: bool = True

    def state_for(self, pair: Pair) -> str:
        """The same for every pair."""
        del pair
        return self.state

    def run(self, job: SwapJob, progress: Progress) -> Clip:
        """Calls ``swap``."""
        return self.swap(job, progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Swaps that somebody else has made: only judged, not run."""

    name: str
    find: Callable[[str], Path]
    """The whole swapped clip or picture folder of a pair, by the pair's name."""
    learns: bool = False

    def state_for(self, pair: Pair) -> str:
        """The content of the pair's clip."""
        return fingerprint(self.find(pair.name))

    def run(self, job: SwapJob, progress: Progress) -> Clip:
        """The judged part of the pair's clip."""
        del progress
        return Clip(path=self.find(job.pair), start=job.start, stop=job.stop)


def external(name: str, folder: Path) -> Finished:
    """Swaps by any other program in ``folder``: one clip or picture folder a pair, named like the pair."""

    def find(pair: str) -> Path:
        for path in sorted(folder.glob(f"{pair}*")):
            if path.name == pair or path.stem == pair:
                return path
        raise ConfigError(f"{folder}: expected a clip or folder named {pair} for --external {name}")

    return Finished(name=name, find=find)


def parse_external(text: str) -> Finished:
    """``NAME=DIR`` as ``external``; ConfigError for anything else."""
    name, _, folder = text.partition("=")
    if not name or not folder or not Path(folder).is_dir():
        raise ConfigError(f"--external: expected NAME=DIR with an existing folder, got {text!r}")
    return external(name, Path(folder))
