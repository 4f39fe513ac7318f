"""What a caller asks for."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path

from intracoder.config import RunConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which of several people in a clip is meant."""

    face: int | None = None
    """Number on the contact sheet of ``intracoder faces``."""
    face_image: Path | None = None
    """A picture of the person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapRequest:
    """One swap, from footage to a published file."""

    sources: tuple[Path, ...]
    """Clips, photos and folders of one person."""
    target: Path
    output: Path
    project: Path | None = None
    """Keeps face sets, model and unfinished pieces; beside the output by default."""
    use: str = "private"
    """What the output is for; consent has to cover it."""
    consent: Path | None = None
    """The consent record, where it does not lie with the source."""
    source_choice: Choice = field(default_factory=Choice)
    target_choice: Choice = field(default_factory=Choice)
    config: RunConfig = field(default_factory=RunConfig)
    record_id: uuid.UUID | None = None
    """Of the output, where the same run has to give the same pixels, mark included; None draws a new one."""

    def project_folder(self) -> Path:
        """Where the project is."""
        return self.project or self.output.with_name(f"{self.output.stem}_project")


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """A trained model's person on a target: as a published file, or explained by a picture of one frame."""

    model: Path
    """Folder of the model, with the consent it was trained under."""
    target: Path
    """The clip, picture or folder of pictures."""
    target_set: Path
    """Its face set, made with ``is_target``."""
    output: Path
    """.mp4, .m4v or .mov for clips, .png or .jpg for pictures; .png for explanations."""
    person: str | None = None
    """Whose face is drawn, by the name in the model's card; the training's source by default."""
    use: str = "private"
    """What the output is for."""
    config: RunConfig = field(default_factory=RunConfig)
    """The ``render`` part, and where the networks run."""
    record_id: uuid.UUID | None = None
    """Of the output; a new one by default."""

    def work_folder(self) -> Path:
        """Where unfinished pieces are: beside the face set."""
        return self.target_set.parent / "render"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRequest:
    """One scorecard."""

    output: Path
    """The swapped clip."""
    target: Path
    """What it was made from."""
    sources: tuple[Path, ...]
    """Footage of the source person."""
    folder: Path
    """For the scorecard."""
    truth: Path | None = None
    """A perfect swap of the same frames, where there is one."""
    truth_mask: Path | None = None
    """Which part of the target the truth replaces."""
    start: int = 0
    """First frame of output and target that is judged."""
    stop: int | None = None
    """Frame to stop before."""
    report: Path | None = None
    """Of the run that made the output: only frames that it swapped are judged. None judges all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """One benchmark: which trials, and where they are kept. Smaller requests for the same folder add up."""

    suite: str
    """A packaged suite, a data set's layout, or a TOML file."""
    out: Path
    """Folder of trials and report."""
    data: Path | None = None
    """The suite's or data set's folder, where it is not packaged."""
    pairs: tuple[str, ...] = ()
    """Names; all where empty."""
    limit: int | None = None
    """Only so many of the pairs."""
    methods: tuple[str, ...] = ()
    """Names; all where empty."""
    minutes: tuple[float, ...] = ()
    """Learning budgets instead of the suite's."""
    steps: tuple[int, ...] = ()
    """The same in steps."""
    seeds: tuple[int, ...] = ()
    """Seeds instead of the suite's."""
    external: tuple[str, ...] = ()
    """``NAME=DIR`` of swaps made by other programs."""
    config: RunConfig = field(default_factory=RunConfig)
    """Options of this package's own method."""
