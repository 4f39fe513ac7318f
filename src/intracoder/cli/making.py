"""Commands that make what the package learns from: synthetic people, base weights, where faces sit and show."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from intracoder import app
from intracoder.cli.options import ConfigFile, Json, Minutes, Quiet, Set, Steps, resolved, training_flags
from intracoder.cli.screen import logged, progress_on, say


def synth(
    *,
    suite: Annotated[str, Parameter(help="benchmark, occluded, pretrain, seating, tiny, visible, or a TOML file.")],
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


def pretrain(
    performances: Path,
    *,
    out: Annotated[Path, Parameter(help="Folder of the training.")],
    portraits: Annotated[list[Path] | None, Parameter(help="Folder of NAME_*.jpg, two a person; repeatable.")] = None,
    minutes: Minutes = None,
    steps: Steps = None,
    config: ConfigFile = None,
    set_: Set = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Trains the base weights that every training starts from, on what: synth --suite pretrain. Takes torchrun."""
    from intracoder.training.parallel import World

    flags = training_flags(minutes=minutes, steps=steps, plain=False)
    with logged(None), progress_on(quiet=quiet) as progress:
        path = app.pretrain(
            performances, out, portraits=portraits or (), config=resolved(config, set_, flags), progress=progress
        )
    if World.from_environment().is_first:
        say({"weights": str(path)}, f"base weights: {path}", as_json=as_json)


def fit_seating(
    truths: Path,
    *,
    out: Annotated[Path, Parameter(help="File to write.")],
    config: ConfigFile = None,
    set_: Set = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fits how landmarks of a face move in another's head, on what: synth --suite seating."""
    with logged(None), progress_on(quiet=quiet) as progress:
        fitted = app.fit_seating(truths, out, config=resolved(config, set_, {}), progress=progress)
    numbers = {name: getattr(fitted, name) for name in ("pairs", "people", "before_percent", "after_percent")}
    text = (
        f"{out}: {fitted.pairs} pairs of {fitted.people} people; landmark error of people left out "
        f"{fitted.before_percent:.2f} -> {fitted.after_percent:.2f} % of the eye distance"
    )
    say({"file": str(out), **numbers}, text, as_json=as_json)


def fit_visible(
    faces: Path,
    *,
    out: Annotated[Path, Parameter(help="File to write.")],
    steps: Steps = None,
    config: ConfigFile = None,
    set_: Set = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Learns where hair or a thing hides a face, on what: synth --suite visible."""
    with logged(None), progress_on(quiet=quiet) as progress:
        fitted = app.fit_visible(faces, out, config=resolved(config, set_, {"train.steps": steps}), progress=progress)
    names = ("frames", "people", "held_out", "false_cover", "missed")
    text = (
        f"{out}: {fitted.frames} frames of {fitted.people} people; of people left out {fitted.false_cover:.1%} of the "
        f"face called hidden, {fitted.missed:.1%} of what hides it missed"
    )
    say({"file": str(out), **{name: getattr(fitted, name) for name in names}}, text, as_json=as_json)


def add_to(parent: App) -> None:
    """Registers these commands."""
    parent.command(synth)
    parent.command(pretrain)
    parent.command(fit_seating)
    parent.command(fit_visible)
