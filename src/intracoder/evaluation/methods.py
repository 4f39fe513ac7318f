"""What a benchmark can run: the interface of a method, and the two methods that need no work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from intracoder.errors import ConfigError
from intracoder.evaluation.readings import Clip
from intracoder.evaluation.suites import Budget, Pair
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
    """Where the method may write; it exists and is the job's own."""
    consent_basis: str


def job_of(pair: Pair, *, budget: Budget, seed: int, folder: Path, consent_basis: str) -> SwapJob:
    """What a method is told about a pair."""
    return SwapJob(
        pair=pair.name,
        source=pair.source,
        target=pair.target,
        start=pair.start,
        stop=pair.stop,
        budget=budget,
        seed=seed,
        folder=folder,
        consent_basis=consent_basis,
    )


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

    def run(self, job: SwapJob, progress: Progress) -> Clip:
        """The swapped clip, whose frames are the job's ``start`` to ``stop``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyTarget:
    """Does nothing: every swap has to beat it, and it has perfect pose, expression and background."""

    name: str = "copy-target"
    learns: bool = False

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
    learns: bool = True

    def run(self, job: SwapJob, progress: Progress) -> Clip:
        """Calls ``swap``."""
        return self.swap(job, progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """Finished swaps of whole targets by any other program: one clip or picture folder a pair, named like the pair."""

    name: str
    folder: Path
    learns: bool = False

    def find(self, pair: str) -> Path:
        """The clip of a pair; ConfigError where there is none."""
        for path in sorted(self.folder.glob(f"{pair}*")):
            if path.name == pair or path.stem == pair:
                return path
        raise ConfigError(f"{self.folder}: expected a clip or folder named {pair} for --external {self.name}")

    def run(self, job: SwapJob, progress: Progress) -> Clip:
        """The judged part of the pair's clip."""
        del progress
        return Clip(path=self.find(job.pair), start=job.start, stop=job.stop)


def parse_external(text: str) -> External:
    """``NAME=DIR`` as an External; ConfigError for anything else."""
    name, _, folder = text.partition("=")
    if not name or not folder or not Path(folder).is_dir():
        raise ConfigError(f"--external: expected NAME=DIR with an existing folder, got {text!r}")
    return External(name=name, folder=Path(folder))
