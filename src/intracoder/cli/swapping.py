"""Commands of the pipeline: demo, swap, and its steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from intracoder import app
from intracoder.cli.options import (
    Blend,
    Color,
    ConfigFile,
    Consent,
    Disclosure,
    FaceImage,
    FaceNumber,
    Json,
    Label,
    Minutes,
    Person,
    Plain,
    Preset,
    Quiet,
    Set,
    Steps,
    Use,
    render_flags,
    resolved,
    training_flags,
)
from intracoder.cli.screen import logged, progress_on, say
from intracoder.records import RunReport

LOG = Path("logs/swap.log")


def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder of the results.")] = Path("datasets/generated"),
    minutes: Minutes = None,
    steps: Steps = None,
    preset: Preset = None,
    config: ConfigFile = None,
    settings: Set = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Runs the whole pipeline on the packaged pair of people who don't exist."""
    flags = training_flags(minutes=minutes, steps=steps, plain=False, preset=preset)
    with logged(LOG), progress_on(quiet=quiet) as progress:
        outputs = app.demo(out, config=resolved(config, settings, flags), progress=progress)
    lines = [
        _summary(outputs.report),
        f"stages     {outputs.stages}",
        f"grid       {outputs.grid}",
        f"triptych   {outputs.triptych}",
        f"log        {LOG}",
    ]
    say(json.loads(app.report_to_json(outputs.report)), "\n".join(lines), as_json=as_json)


def swap(
    *,
    source: Annotated[list[Path], Parameter(help="Clips, photos or folders of one person; repeatable.")],
    target: Annotated[Path, Parameter(help="Clip or picture to edit.")],
    out: Annotated[Path, Parameter(help="Output: .mp4 or .mov for clips, .png or .jpg for pictures.")],
    project: Annotated[Path | None, Parameter(help="Folder of face sets and model; beside the output.")] = None,
    use: Use = "private",
    consent: Consent = None,
    face: FaceNumber = None,
    face_image: FaceImage = None,
    source_face: Annotated[int | None, Parameter(help="Like --face, for the source.")] = None,
    source_face_image: Annotated[Path | None, Parameter(help="Like --face-image, for the source.")] = None,
    minutes: Minutes = None,
    steps: Steps = None,
    preset: Preset = None,
    plain: Plain = False,
    color: Color = None,
    blend: Blend = None,
    label: Label = None,
    disclosure: Disclosure = None,
    config: ConfigFile = None,
    settings: Set = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Puts the source's face into the target: everything, resumable."""
    flags = {
        **training_flags(minutes=minutes, steps=steps, plain=plain, preset=preset),
        **render_flags(color=color, blend=blend, label=label, disclosure=disclosure),
    }
    request = app.SwapRequest(
        sources=tuple(source),
        target=target,
        output=out,
        project=project,
        use=use,
        consent=consent,
        source_choice=app.Choice(face=source_face, face_image=source_face_image),
        target_choice=app.Choice(face=face, face_image=face_image),
        config=resolved(config, settings, flags),
    )
    with logged(request.project_folder() / "swap.log"), progress_on(quiet=quiet) as progress:
        report = app.swap(request, progress=progress)
    say(json.loads(app.report_to_json(report)), _summary(report), as_json=as_json)


def extract(
    media: Annotated[list[Path], Parameter(help="Clips, photos or folders of one person.")],
    *,
    out: Annotated[Path, Parameter(help="Folder of the face set.")],
    person: Annotated[str | None, Parameter(help="Name; the folder's by default.")] = None,
    target: Annotated[bool, Parameter(negative="", help="A target clip: list the faces of all frames.")] = False,
    face: FaceNumber = None,
    face_image: FaceImage = None,
    config: ConfigFile = None,
    settings: Set = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Cuts one person's faces out of footage into a face set."""
    with logged(None), progress_on(quiet=quiet) as progress:
        made = app.extract(
            media,
            out,
            config=resolved(config, settings),
            person=person,
            choice=app.Choice(face=face, face_image=face_image),
            is_target=target,
            progress=progress,
        )
    count = len(made.kept())
    say({"folder": str(out), "faces": len(made.entries), "kept": count}, f"{out}: {count} crops", as_json=as_json)


def curate(
    faceset: Path,
    *,
    config: ConfigFile = None,
    settings: Set = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Drops other people, blur and repeats; says what the set lacks."""
    from intracoder.faceset.coverage import coverage

    with logged(None), progress_on(quiet=quiet) as progress:
        report = app.curate(faceset, config=resolved(config, settings), progress=progress)
    covered = coverage(report.faceset)
    data = {"kept": report.kept, "dropped": dict(report.dropped), "lacks": list(covered.lacks)}
    say(data, f"{report.text()}\n\n{covered.text()}", as_json=as_json)


def train(
    *,
    source: Annotated[list[Path], Parameter(help="Source footage, whose consent record is checked.")],
    source_set: Annotated[Path, Parameter(help="Its face set.")],
    target_set: Annotated[list[Path], Parameter(help="Face sets of targets; repeatable.")],
    model: Annotated[Path, Parameter(help="Folder of the model; an unfinished training goes on.")],
    use: Use = "private",
    consent: Consent = None,
    minutes: Minutes = None,
    steps: Steps = None,
    preset: Preset = None,
    plain: Plain = False,
    config: ConfigFile = None,
    settings: Set = None,
    quiet: Quiet = False,
) -> None:
    """Trains a model on face sets. Takes torchrun, which trains on several devices at once."""
    from intracoder.training.parallel import World

    flags = training_flags(minutes=minutes, steps=steps, plain=plain, preset=preset)
    grants = app.source_grants(source, use=use, consent=consent)
    with logged(model / "train.log"), progress_on(quiet=quiet) as progress:
        app.train(
            source_set,
            target_set,
            model,
            config=resolved(config, settings, flags),
            sources=source,
            grants=grants,
            progress=progress,
        )
    if World.from_environment().is_first:
        say({}, f"{model}: trained; look at {model / 'preview.png'}", as_json=False)


def add(
    *,
    source: Annotated[list[Path], Parameter(help="Footage of the new person, whose consent record is checked.")],
    source_set: Annotated[Path, Parameter(help="Its face set; the person is called as it is.")],
    model: Annotated[Path, Parameter(help="Folder of a trained model; stays as it is.")],
    out: Annotated[Path, Parameter(help="Folder of the new model, whole or not there.")],
    use: Use = "private",
    consent: Consent = None,
    minutes: Annotated[float, Parameter(help="Training budget, minutes.")] = 1.0,
    steps: Steps = None,
    config: ConfigFile = None,
    settings: Set = None,
    quiet: Quiet = False,
) -> None:
    """Adds a person to a trained model, without training anybody else anew."""
    flags = training_flags(minutes=minutes, steps=steps, plain=False)
    grants = app.source_grants(source, use=use, consent=consent)
    with logged(None), progress_on(quiet=quiet) as progress:
        app.add(
            source_set,
            model,
            out,
            config=resolved(config, settings, flags),
            use=use,
            sources=source,
            grants=grants,
            progress=progress,
        )
    say({}, f"{out}: added; look at {out / 'preview.png'}; render it with --person", as_json=False)


def render(
    *,
    model: Annotated[Path, Parameter(help="Folder of a trained model.")],
    target: Annotated[Path, Parameter(help="Clip or picture to edit.")],
    target_set: Annotated[Path, Parameter(help="Its face set, made with extract --target.")],
    out: Annotated[Path, Parameter(help="Output file.")],
    person: Person = None,
    use: Use = "private",
    color: Color = None,
    blend: Blend = None,
    label: Label = None,
    disclosure: Disclosure = None,
    config: ConfigFile = None,
    settings: Set = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Renders a target with a trained model."""
    flags = render_flags(color=color, blend=blend, label=label, disclosure=disclosure)
    request = app.RenderRequest(
        model=model,
        target=target,
        target_set=target_set,
        output=out,
        person=person,
        use=use,
        config=resolved(config, settings, flags),
    )
    with logged(None), progress_on(quiet=quiet) as progress:
        report = app.render(request, progress=progress)
    say(json.loads(app.report_to_json(report)), _summary(report), as_json=as_json)


def faces(
    clip: Path,
    *,
    out: Annotated[Path | None, Parameter(help="Picture to write; CLIP_faces.png by default.")] = None,
    config: ConfigFile = None,
    settings: Set = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Draws a numbered contact sheet of who is in a clip."""
    sheet = out or Path(f"{clip.stem}_faces.png")
    with logged(None), progress_on(quiet=quiet) as progress:
        found = app.faces(clip, sheet, config=resolved(config, settings), progress=progress)
    lines = [
        f"{f['face']:>3}  {f['frames']} frames, {f['first_frame']} to {f['last_frame']}, score {f['score']}"
        for f in found
    ]
    say({"sheet": str(sheet), "faces": found}, "\n".join([*lines, f"sheet {sheet}"]), as_json=as_json)


def explain(
    *,
    project: Annotated[Path, Parameter(help="Project folder of a swap.")],
    target: Annotated[Path, Parameter(help="The swap's target clip.")],
    frame: Annotated[int | None, Parameter(help="Frame; one with much going on by default.")] = None,
    seats: Annotated[bool, Parameter(negative="", help="Draw the face in other seats, to choose one by eye.")] = False,
    out: Annotated[
        Path | None, Parameter(help="Picture to write; stages.png, or with --seats seats.png, by default.")
    ] = None,
    person: Person = None,
    use: Use = "private",
    config: ConfigFile = None,
    settings: Set = None,
) -> None:
    """Draws one frame through every stage, or in other seats."""
    request = app.RenderRequest(
        model=project / "model",
        target=target,
        target_set=project / "target",
        output=out or Path("seats.png" if seats else "stages.png"),
        person=person,
        use=use,
        config=resolved(config, settings),
    )
    draw = app.seats if seats else app.explain
    draw(request, frame=frame)
    say({}, str(request.output), as_json=False)


def _summary(report: RunReport) -> str:
    """An output in five lines."""
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in report.counts().items() if count)
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in report.stage_seconds.items())
    return "\n".join(
        [
            f"output     {report.output}",
            f"frames     {counts}",
            f"time       {seconds}",
            f"record     {report.record_id}",
        ]
    )


def add_to(parent: App) -> None:
    """Registers these commands."""
    parent.command(demo)
    parent.command(swap)
    parent.command(extract)
    parent.command(curate)
    parent.command(train)
    parent.command(add)
    parent.command(render)
    parent.command(faces)
    parent.command(explain)
