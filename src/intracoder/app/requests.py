"""What a caller asks for."""

from __future__ import annotations

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

    def project_folder(self) -> Path:
        """Where the project is."""
        return self.project or self.output.with_name(f"{self.output.stem}_project")
