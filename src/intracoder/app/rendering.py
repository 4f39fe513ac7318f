"""From a trained model and a target to a published output."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from intracoder import __version__
from intracoder.app.consents import kept_grants
from intracoder.app.reports import report_path, save_report
from intracoder.app.requests import RenderRequest
from intracoder.build import ENHANCER_FILE, compositor, intracoder_swapper
from intracoder.errors import ConfigError, NoFaceError
from intracoder.media.atomic import new_beside
from intracoder.protocols import Progress, silent
from intracoder.records import MediaInfo, PlannedFace, RunReport

if TYPE_CHECKING:
    from intracoder.faceset.store import FaceSet
    from intracoder.provenance.guard import ContentGuard
    from intracoder.swap.pipeline import RenderJob
    from intracoder.swap.swapper import IntracoderSwapper


def render(request: RenderRequest, *, guard: ContentGuard | None = None, progress: Progress = silent) -> RunReport:
    """Renders a target with a trained model and publishes the output: labelled, marked, signed and checked.

    Args:
        request: What to render, and where to.
        guard: One that has checked the target; without, a new one checks it before any work.
        progress: Told of frames and of finishing.

    Raises:
        ConsentError: Consent is missing for that person, or one of the model's records is withdrawn, expired or does
            not cover the use.
        GuardError: The content guard refuses.
        MediaError, NoFaceError, ProvenanceError, WeightsError: As their names say.
    """
    from intracoder.nets.model_card import model_sha256
    from intracoder.provenance.guard import ContentGuard
    from intracoder.provenance.marking import Marker
    from intracoder.swap.pipeline import clear, record_id_of
    from intracoder.swap.pipeline import render as render_frames

    model, target, output, config = request.model, request.target, request.output, request.config
    grants = kept_grants(model, use=request.use, person=request.person)
    info = fitting_output(target, output)
    started = time.monotonic()
    if guard is None:
        guard = ContentGuard()
        guard.check_file(target)
    digest = model_sha256(model)
    swapper = intracoder_swapper(model, request.person, config)
    job = dataclasses.replace(render_job(swapper, request), record_id=request.record_id)
    marker = Marker(
        grants,
        guard,
        target,
        model_sha256=digest,
        is_still=info.is_still,
        label=config.render.label,
        disclosure=config.render.disclosure,
        record_id=record_id_of(job),
    )
    unsigned = new_beside(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    parts = compositor(swapper, model, config.render, config.train)
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
        model_sha256=digest,
        record_id=marked.record_id,
    )
    save_report(report, report_path(output))
    return report


def fitting_output(target: Path, output: Path) -> MediaInfo:
    """The target's MediaInfo, after checking that ``output`` is of its kind and takes the target's sound."""
    from intracoder.media.reader import probe
    from intracoder.media.writer import check_output

    info = probe(target)
    fitting = (".png", ".jpg", ".jpeg") if info.is_still else (".mp4", ".m4v", ".mov")
    if output.suffix.lower() not in fitting:
        kind = "picture" if info.is_still else "clip"
        raise ConfigError(f"{output}: {target} is a {kind}, expected an output ending in {', '.join(fitting)}")
    if not info.is_still:
        check_output(output, audio_from=None if target.is_dir() else target)
    return info


def _with_colors(planned: Sequence[PlannedFace], swapper: IntracoderSwapper, target: FaceSet) -> list[PlannedFace]:
    """Plans that know how the colours of the person who is drawn differ from the target's, where both are known."""
    from intracoder.faceset.person import spread_rows
    from intracoder.ops.complexion import ENOUGH_FRAMES, complexion_change, measure_complexion
    from intracoder.ops.eyes import eye_excess

    own, kept = swapper.complexion, target.kept()
    if own is None or not kept:
        return list(planned)
    # a long clip's crops are never in memory all at once
    some = [kept[row] for row in spread_rows(len(kept), ENOUGH_FRAMES)]
    crops, points = [target.crop(one) for one in some], [target.crop_points(one) for one in some]
    change = complexion_change(own, measure_complexion(crops, points))
    gain = eye_excess(crops, points) - swapper.eye_excess
    return [dataclasses.replace(p, complexion_change=change, eye_gain=gain) for p in planned]


def render_job(swapper: IntracoderSwapper, request: RenderRequest) -> RenderJob:
    """The plan of a target's frames, and the key of everything that the pixels depend on."""
    from intracoder.faceset.store import FaceSet
    from intracoder.nets.model_card import model_sha256
    from intracoder.swap.pipeline import RenderJob

    target, options = request.target, request.config.render
    faces = FaceSet.open(request.target_set)
    if not faces.info.has_all_frames or len(faces.origins) != 1:
        raise NoFaceError(
            f"{request.target_set}: expected the face set of a whole target; make it with: extract --target"
        )
    tracks = [track for track in faces.tracks() if track.faces]
    if not tracks:
        raise NoFaceError(f"{target}: no face found in any frame; choose a clip in which the person can be seen")
    (track,) = tracks[:1]
    planned = {p.frame_index: p for p in _with_colors(swapper.plan(track), swapper, faces)}
    enhancer = request.model / ENHANCER_FILE
    key = json.dumps(
        [
            __version__,
            faces.origins[0].sha256,
            model_sha256(request.model),
            swapper.source,
            hashlib.sha256(enhancer.read_bytes()).hexdigest() if enhancer.is_file() else None,
            [face.frame_index for face in track.faces],
            dataclasses.asdict(options),
        ]
    )
    return RenderJob(
        target=target,
        faces=planned,
        presence={f.frame_index: float(f.presence) for f in track.faces if f.presence is not None},
        face_px={f.frame_index: float(max(f.box[2] - f.box[0], f.box[3] - f.box[1])) for f in track.faces},
        other_frames=faces.origins[0].other_frames(),
        folder=request.work_folder(),
        key=hashlib.sha256(key.encode()).hexdigest(),
        config=options,
    )
