"""The command that renders synthetic people."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from intracoder import app
from intracoder.cli.options import Json, Quiet
from intracoder.cli.screen import logged, progress_on, say


def synth(
    *,
    suite: Annotated[str, Parameter(help="benchmark, occluded, pretrain, tiny, or a TOML file.")],
    assets: Annotated[Path, Parameter(help="Folder of the VALID avatars (docs/synthetic.md).")],
    out: Annotated[Path, Parameter(help="Folder for clips, truths, masks and metadata.")],
    clips: Annotated[int | None, Parameter(help="Only the first so many clips.")] = None,
    threads: Annotated[int | None, Parameter(help="CPU threads; 0 takes all.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Renders people who don't exist, with the exact truth of swaps between them; goes on where it was stopped."""
    with logged(None), progress_on(quiet=quiet) as progress:
        made = app.synth(suite, assets, out, clips=clips, threads=threads, progress=progress)
    text = f"{out}: {made.clips} clips; {made.frames} frames rendered in {made.seconds:.0f} s, {made.kept} kept"
    say(dataclasses.asdict(made), text, as_json=as_json)


def add_to(parent: App) -> None:
    """Registers this command."""
    parent.command(synth)
