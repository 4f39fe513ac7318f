"""The Python API: what every command of the CLI is one call to.

Each call takes plain paths and a config, tells a ``Progress``, and raises only ``IntracoderError``. Heavy modules are
imported where they are used, so that asking for help stays quick.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from intracoder import __version__
from intracoder.build import ENHANCER_FILE, compositor, face_networks
from intracoder.config import RunConfig, to_toml
from intracoder.errors import ConfigError, ConsentError, NoFaceError, WeightsError
from intracoder.media.atomic import atomic_path, new_beside
from intracoder.protocols import Progress, silent
from intracoder.records import RunReport

if TYPE_CHECKING:
    from intracoder.faceset.curate import CurateReport
    from intracoder.faceset.store import FaceSet
    from intracoder.provenance.consent import ConsentGrant
    from intracoder.provenance.guard import ContentGuard
    from intracoder.records import Image, MediaInfo
    from intracoder.swap.pipeline import RenderJob
    from intracoder.swap.swapper import IntracoderSwapper

CONSENT_FOLDER = "consent"
"""In a model folder: the records of the source, which every render checks again."""

log = logging.getLogger(__name__)


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


# ---- single steps ----------------------------------------------------------------------------------------------


def extract(
    sources: Sequence[Path],
    folder: Path,
    *,
    config: RunConfig,
    person: str | None = None,
    choice: Choice = Choice(),
    is_target: bool = False,
    progress: Progress = silent,
) -> FaceSet:
    """Finds one person and writes the face set; see ``faceset.extract.extract_faces``."""
    from intracoder.faceset.extract import extract_faces

    networks = face_networks(config.detect)
    return extract_faces(
        sources,
        folder,
        detector=networks.detector,
        landmarker=networks.landmarker,
        embedder=networks.embedder,
        config=config,
        person=person,
        face=choice.face,
        face_image=choice.face_image,
        all_frames=is_target,
        progress=progress,
    )


def curate(folder: Path, *, config: RunConfig, progress: Progress = silent) -> CurateReport:
    """Drops other people, blur and repeats from a face set."""
    from intracoder.faceset.curate import curate as curate_set
    from intracoder.faceset.store import FaceSet

    return curate_set(FaceSet.open(folder), config.curate, progress)


def train(
    source_set: Path,
    target_sets: Sequence[Path],
    model: Path,
    *,
    config: RunConfig,
    grants: Sequence[ConsentGrant],
    progress: Progress = silent,
) -> None:
    """Trains intracoder and colour and resolution network; goes on where a stopped training ended.

    Args:
        source_set: Face set of the person whose face is to appear.
        target_sets: Face sets of the people whose heads it will be put on.
        model: Folder of the model.
        config: Budgets and sizes.
        grants: Consent for the source, from ``provenance.consent.load_consent``; kept with the model.
        progress: Told of every stage.

    Raises:
        ConsentError: No grant.
        TrainingInterruptedError: On Ctrl-C, after everything was saved.
    """
    from intracoder.faceset.store import FaceSet
    from intracoder.training.loop import train_intracoder

    if not grants:
        raise ConsentError("training: expected consent for the source, got none")
    if not target_sets:
        raise ConfigError("training: expected at least one target face set beside the source's, got none")
    people = [FaceSet.open(folder).person_frames() for folder in (source_set, *target_sets)]
    keep_grants(grants, model)
    train_intracoder(people, model, config.train, progress=progress)
    train_second(model, config, progress=progress)


def train_second(model: Path, config: RunConfig, *, progress: Progress = silent) -> None:
    """Trains the colour and resolution network on what the intracoder in ``model`` draws, unless that was done."""
    from intracoder.faceset.likeness_file import load_likenesses
    from intracoder.nets.device import choose_compute
    from intracoder.nets.model_card import model_sha256, read_model
    from intracoder.ops.color import SkinMatcher
    from intracoder.training.enhance import save_enhancer, train_enhancer
    from intracoder.training.enhance_data import build_enhancer_data
    from intracoder.training.schedule import Budget

    options = config.train
    stamp = model / "enhancer.json"
    if options.plain or (options.enhancer_steps is None and options.enhancer_minutes == 0):
        (model / ENHANCER_FILE).unlink(missing_ok=True)
        return
    wanted = {
        "model_sha256": model_sha256(model),
        "steps": options.enhancer_steps,
        "minutes": None if options.enhancer_steps is not None else options.enhancer_minutes,
        "seed": options.seed,
    }
    if (
        stamp.is_file()
        and (model / ENHANCER_FILE).is_file()
        and stamp.read_text(encoding="utf-8") == json.dumps(wanted)
    ):
        return
    compute = choose_compute(options.device, options.precision, options.threads)
    net, card = read_model(model, compute)
    likenesses, _ = load_likenesses(model, [person.name for person in card.people])
    data = build_enhancer_data(net, likenesses, compute, SkinMatcher(), seed=options.seed, progress=progress)
    seconds = None if options.enhancer_steps is not None else options.enhancer_minutes * 60
    budget = Budget(steps=options.enhancer_steps, seconds=seconds)
    enhancer = train_enhancer(data, compute=compute, budget=budget, seed=options.seed, progress=progress)
    save_enhancer(enhancer, model / ENHANCER_FILE)
    with atomic_path(stamp) as beside:
        beside.write_text(json.dumps(wanted), encoding="utf-8")


def render(  # noqa: PLR0913 - one call that says everything about a render
    model: Path,
    target: Path,
    target_set: Path,
    output: Path,
    *,
    config: RunConfig,
    use: str = "private",
    work: Path | None = None,
    guard: ContentGuard | None = None,
    progress: Progress = silent,
) -> RunReport:
    """Renders a target with a trained model and publishes the output: labelled, marked, signed and checked.

    Args:
        model: Folder of the model, with the consent it was trained under.
        target: The clip, picture or folder of pictures.
        target_set: Its face set, made with ``is_target``.
        output: .mp4, .m4v or .mov for clips, .png or .jpg for pictures.
        config: The ``render`` part, and where the networks run.
        use: What the output is for.
        work: Folder for unfinished pieces; beside the face set by default.
        guard: For tests; the shipped one by default.
        progress: Told of frames and of finishing.

    Raises:
        ConsentError: Consent is missing, withdrawn, expired or does not cover ``use``.
        GuardError: The content guard refuses.
        MediaError, NoFaceError, ProvenanceError, WeightsError: As their names say.
    """
    from intracoder.media.writer import check_output
    from intracoder.nets.model_card import model_sha256
    from intracoder.provenance.guard import ContentGuard
    from intracoder.provenance.marking import Marker
    from intracoder.swap.pipeline import clear, record_id_of
    from intracoder.swap.pipeline import render as render_frames
    from intracoder.swap.swapper import IntracoderSwapper

    grants = kept_grants(model, use=use)
    info = _check_suffix(target, output)
    if not info.is_still:
        check_output(output, audio_from=None if target.is_dir() else target)
    started = time.monotonic()
    guard = guard or ContentGuard()
    options = config.train
    swapper = IntracoderSwapper(model, device=options.device, precision=options.precision, threads=options.threads)
    job = _render_job(swapper, model, target, target_set, work or target_set.parent / "render", config)
    marker = Marker(
        grants,
        guard,
        target,
        model_sha256=model_sha256(model),
        is_still=info.is_still,
        label=config.render.label,
        disclosure=config.render.disclosure,
        record_id=record_id_of(job),
    )
    unsigned = new_beside(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    parts = compositor(swapper, model, config.render, options)
    frames = render_frames(job, parts, marker.mark_frame, marker.container_tags(), unsigned, progress=progress)
    rendered = time.monotonic()
    marked = marker.finish(unsigned, output, progress=progress)
    clear(job)
    report = RunReport(
        output=output,
        target=info,
        source_name=swapper.source,
        frames=frames,
        stage_seconds={"render": rendered - started, "finish": time.monotonic() - rendered},
        output_sha256=marked.sha256,
        package_version=__version__,
        model_sha256=model_sha256(model),
        record_id=marked.record_id,
    )
    save_report(report, report_path(output))
    return report


def _check_suffix(target: Path, output: Path) -> MediaInfo:
    """The target's MediaInfo, after checking that ``output`` is of its kind."""
    from intracoder.media.reader import probe

    info = probe(target)
    fitting = (".png", ".jpg", ".jpeg") if info.is_still else (".mp4", ".m4v", ".mov")
    if output.suffix.lower() not in fitting:
        kind = "picture" if info.is_still else "clip"
        raise ConfigError(f"{output}: {target} is a {kind}, expected an output ending in {', '.join(fitting)}")
    return info


def _render_job(
    swapper: IntracoderSwapper, model: Path, target: Path, target_set: Path, work: Path, config: RunConfig
) -> RenderJob:
    """The plan of a target's frames, and the key of everything that the pixels depend on."""
    from intracoder.faceset.store import FaceSet
    from intracoder.nets.model_card import model_sha256
    from intracoder.swap.pipeline import RenderJob

    faces = FaceSet.open(target_set)
    if not faces.info.has_all_frames or len(faces.origins) != 1:
        raise NoFaceError(f"{target_set}: expected the face set of a whole target; make it with: extract --target")
    tracks = [track for track in faces.tracks() if track.faces]
    if not tracks:
        raise NoFaceError(f"{target}: no face found in any frame; choose a clip in which the person can be seen")
    (track,) = tracks[:1]
    planned = {plan.frame_index: plan for plan in swapper.plan(track)}
    enhancer = model / ENHANCER_FILE
    key = json.dumps(
        [
            __version__,
            faces.origins[0].sha256,
            model_sha256(model),
            hashlib.sha256(enhancer.read_bytes()).hexdigest() if enhancer.is_file() else None,
            [face.frame_index for face in track.faces],
            dataclasses.asdict(config.render),
        ]
    )
    return RenderJob(
        target=target,
        faces=planned,
        presence={f.frame_index: float(f.presence) for f in track.faces if f.presence is not None},
        face_px={f.frame_index: float(max(f.box[2] - f.box[0], f.box[3] - f.box[1])) for f in track.faces},
        other_frames=faces.origins[0].other_frames(),
        folder=work,
        key=hashlib.sha256(key.encode()).hexdigest(),
        config=config.render,
    )


# ---- consent and reports ---------------------------------------------------------------------------------------


def source_grants(sources: Sequence[Path], *, use: str, consent: Path | None = None) -> tuple[ConsentGrant, ...]:
    """Checks consent for a source; ConsentError, in one line that says how to make a record, without."""
    from intracoder.provenance.consent import load_consent

    return load_consent(sources, use=use, record=consent)


def keep_grants(grants: Sequence[ConsentGrant], model: Path) -> None:
    """Keeps the records with a model, so that every use of it can check them again."""
    folder = model / CONSENT_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for grant in grants:
        with atomic_path(folder / f"{grant.record_sha256}.toml") as beside:
            beside.write_text(grant.record_toml, encoding="utf-8")


def kept_grants(model: Path, *, use: str) -> tuple[ConsentGrant, ...]:
    """The records a model was trained under, checked for ``use`` today; ConsentError without."""
    from intracoder.provenance.consent import check_grant

    records = sorted((model / CONSENT_FOLDER).glob("*.toml"))
    if not records:
        raise ConsentError(f"{model}: the model carries no consent record; train it with intracoder train or swap")
    try:
        return tuple(check_grant(path.read_text(encoding="utf-8"), use=use, where=str(path)) for path in records)
    except (OSError, UnicodeDecodeError) as error:
        raise ConsentError(f"{model}: its consent record can't be read: {error}") from error


def report_path(output: Path) -> Path:
    """Where an output's report lies."""
    return output.with_name(f"{output.stem}.report.json")


def report_to_json(report: RunReport) -> str:
    """The report for machines: counts, one row a frame, times and hashes."""
    info = report.target
    data = {
        "output": str(report.output),
        "output_sha256": report.output_sha256,
        "record_id": report.record_id,
        "source": report.source_name,
        "target": {"path": str(info.path), "width": info.width, "height": info.height, "rate": str(info.frame_rate)},
        "package_version": report.package_version,
        "model_sha256": report.model_sha256,
        "counts": report.counts(),
        "stage_seconds": {name: round(value, 2) for name, value in report.stage_seconds.items()},
        "frames": [[f.frame_index, f.outcome.value, f.confidence] for f in report.frames],
    }
    return json.dumps(data, indent=1)


def save_report(report: RunReport, path: Path) -> None:
    """Writes the report as JSON."""
    with atomic_path(path) as beside:
        beside.write_text(report_to_json(report), encoding="utf-8")


# ---- everything ------------------------------------------------------------------------------------------------


def swap(request: SwapRequest, *, guard: ContentGuard | None = None, progress: Progress = silent) -> RunReport:
    """From footage to a published file; a stopped run goes on where it was when called again with the same project.

    Raises:
        IntracoderError: One line that says what to do; nothing half-written is left at the output.
    """
    from intracoder.media.writer import check_output
    from intracoder.provenance.guard import ContentGuard

    config, project = request.config, request.project_folder()
    seconds: dict[str, float] = {}
    grants = source_grants(request.sources, use=request.use, consent=request.consent)
    info = _check_suffix(request.target, request.output)
    if not info.is_still:
        check_output(request.output, audio_from=None if request.target.is_dir() else request.target)
    guard = guard or ContentGuard()
    with _timed(seconds, "guard"):
        guard.check_files([request.target, *request.sources], progress)
    project.mkdir(parents=True, exist_ok=True)
    with atomic_path(project / "run.toml") as beside:
        beside.write_text(to_toml(config), encoding="utf-8")
    source_set, target_set = project / "source", project / "target"
    with _timed(seconds, "extract"):
        source = extract(request.sources, source_set, config=config, choice=request.source_choice, progress=progress)
        target = extract(
            [request.target],
            target_set,
            config=config,
            choice=request.target_choice,
            is_target=True,
            progress=progress,
        )
    with _timed(seconds, "curate"):
        for made in (source, target):
            for warning in curate(made.folder, config=config, progress=progress).warnings:
                log.warning("%s: %s", made.info.person, warning)
    with _timed(seconds, "train"):
        train(source_set, [target_set], project / "model", config=config, grants=grants, progress=progress)
    report = render(
        project / "model",
        request.target,
        target_set,
        request.output,
        config=config,
        use=request.use,
        work=project / "render",
        guard=guard,
        progress=progress,
    )
    report = dataclasses.replace(report, stage_seconds={**seconds, **report.stage_seconds})
    save_report(report, report_path(request.output))
    log.info("%s: %s", request.output, ", ".join(f"{k} {v:.1f} s" for k, v in report.stage_seconds.items()))
    return report


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Adds a stage's wall-clock time to ``seconds``."""
    started = time.monotonic()
    yield
    seconds[stage] = time.monotonic() - started


# ---- looking ---------------------------------------------------------------------------------------------------


def faces(clip: Path, sheet: Path, *, config: RunConfig, progress: Progress = silent) -> list[dict[str, object]]:
    """Draws the numbered contact sheet of who is in a clip, and says the same as a list."""
    from intracoder.faces.contact_sheet import collect_thumbnails, draw_contact_sheet
    from intracoder.faces.tracker import track_faces
    from intracoder.media.reader import probe, read_frames
    from intracoder.media.writer import write_image

    info, networks = probe(clip), face_networks(config.detect)
    tracks = track_faces(
        read_frames(clip),
        detector=networks.detector,
        landmarker=networks.landmarker,
        embedder=networks.embedder,
        config=config.detect,
        progress=progress,
        frame_count=info.frame_count,
    )
    if not tracks:
        raise NoFaceError(f"{clip}: no face found in any frame; choose another clip or lower detect.min_face_px")
    thumbnails = collect_thumbnails(read_frames(clip), tracks)
    write_image(sheet, draw_contact_sheet(tracks, thumbnails, frame_rate=info.frame_rate))
    return [
        {
            "face": track.track_id,
            "frames": len(track.faces),
            "first_frame": track.faces[0].frame_index,
            "last_frame": track.faces[-1].frame_index,
            "score": round(sum(f.score for f in track.faces) / len(track.faces), 4),
        }
        for track in tracks
    ]


def explain(
    model: Path, target: Path, target_set: Path, picture: Path, *, frame: int | None, config: RunConfig, use: str
) -> None:
    """Draws one frame through every stage, as a marked and signed picture.

    Args:
        model: Folder of the model.
        target: The clip.
        target_set: Its face set.
        picture: .png to write.
        frame: Which frame; None takes the one with the widest open mouth, where much happens.
        config: Options of rendering.
        use: What the picture is for.

    Raises:
        NoFaceError: The frame shows no face to swap.
    """
    from intracoder.evaluation.stages import draw_stages
    from intracoder.media.reader import read_frames
    from intracoder.swap.swapper import IntracoderSwapper

    options = config.train
    swapper = IntracoderSwapper(model, device=options.device, precision=options.precision, threads=options.threads)
    job = _render_job(swapper, model, target, target_set, target_set.parent / "render", config)
    chosen = _telling_frame(target_set) if frame is None else frame
    if chosen not in job.faces:
        raise NoFaceError(f"{target}: frame {chosen} shows no face to swap; choose another --frame")
    (found,) = list(read_frames(target, start=chosen, stop=chosen + 1))
    parts = compositor(swapper, model, config.render, options)
    (stages,) = parts.compose([found], [job.faces[chosen]])
    publish_picture(draw_stages(stages, swapper.planes(job.faces[chosen])), picture, model, target, use=use)


def publish_picture(image: Image, picture: Path, model: Path, target: Path, *, use: str) -> None:
    """Writes a picture that shows swapped faces: labelled, marked and signed like every output."""
    from intracoder.media.writer import write_image
    from intracoder.nets.model_card import model_sha256
    from intracoder.provenance.guard import ContentGuard
    from intracoder.provenance.marking import Marker

    grants = kept_grants(model, use=use)
    picture.parent.mkdir(parents=True, exist_ok=True)
    marker = Marker(grants, ContentGuard(), target, model_sha256=model_sha256(model), is_still=True)
    unsigned = new_beside(picture)
    write_image(unsigned, marker.mark_frame(image), comment=marker.container_tags()["comment"])
    marker.finish(unsigned, picture)


def _telling_frame(target_set: Path) -> int:
    """The frame with the widest open mouth."""
    from intracoder.faces.landmarks import BLENDSHAPE_NAMES
    from intracoder.faceset.store import FaceSet

    jaw = BLENDSHAPE_NAMES.index("jawOpen")
    found = [
        (float(f.blendshapes[jaw]), f.frame_index)
        for track in FaceSet.open(target_set).tracks()
        for f in track.faces
        if f.blendshapes is not None
    ]
    if not found:
        raise NoFaceError(f"{target_set}: no face with expression coefficients; extract the target anew")
    return max(found)[1]


def show_model(model: Path) -> str:
    """A model's card and the consent it carries, in plain text."""
    card = model / "model.toml"
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{card}: can't be read: {error}; give the folder of a trained model") from error
    lines = [text.rstrip(), ""]
    for path in sorted((model / CONSENT_FOLDER).glob("*.toml")):
        lines += [f"# consent {path.stem}", path.read_text(encoding="utf-8").rstrip()]
    return "\n".join(lines)
