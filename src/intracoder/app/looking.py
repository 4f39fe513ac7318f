"""Pictures and texts that show what is there: people in a clip, stages of a frame, a model's card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from intracoder.app.consents import consent_states, kept_grants
from intracoder.app.rendering import render_job
from intracoder.app.requests import RenderRequest
from intracoder.build import compositor, face_networks, intracoder_swapper, seat_of
from intracoder.config import RunConfig
from intracoder.errors import ConfigError, NoFaceError
from intracoder.media.atomic import new_beside
from intracoder.protocols import Progress, silent

if TYPE_CHECKING:
    from intracoder.provenance.guard import ContentGuard
    from intracoder.records import Frame, Image, PlannedFace
    from intracoder.swap.compositor import Compositor, FrameStages
    from intracoder.swap.swapper import IntracoderSwapper

LABEL_BAND = 0.16
"""Height of the band below a figure / its shorter side; the label with its margin fits in."""


def faces(clip: Path, sheet: Path, *, config: RunConfig, progress: Progress = silent) -> list[dict[str, object]]:
    """Draws the numbered contact sheet of who is in a clip, and says the same as a list."""
    from intracoder.faces.contact_sheet import collect_thumbnails, draw_contact_sheet
    from intracoder.faces.tracker import track_faces
    from intracoder.media.reader import probe, read_frames
    from intracoder.media.writer import write_image
    from intracoder.provenance.guard import ContentGuard

    info = probe(clip)
    ContentGuard().check_file(clip)
    networks = face_networks(config.detect)
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


def explain(request: RenderRequest, *, frame: int | None = None) -> None:
    """Draws one frame through every stage, as a marked and signed picture.

    Args:
        request: Whose face on which clip, and the picture to write.
        frame: Which frame; None takes the one with the widest open mouth, where much happens.

    Raises:
        ConsentError, GuardError: Refused.
        WeightsError: The model has no such person.
        NoFaceError: The frame shows no face to swap.
    """
    from intracoder.evaluation.stages import draw_stages

    one = _prepared(request, frame)
    drawn = draw_stages(one.composed(one.planned), one.swapper.planes(one.planned))
    publish_picture(drawn, request, guard=one.guard)


def seats(request: RenderRequest, *, frame: int | None = None) -> None:
    """Draws one frame with the face tipped, larger, smaller, higher and lower, to choose ``render.seat_*`` by eye.

    Args and errors are those of ``explain``.

    Raises:
        ConfigError: The net is a plain one, which has no seat.
    """
    from intracoder.evaluation.seats import draw_seats, seats_about
    from intracoder.swap.swapper import PlannedParts

    one = _prepared(request, frame)
    source = one.swapper.stored_frame(one.planned)
    if source is None or not isinstance(one.planned, PlannedParts):
        raise ConfigError(f"{request.model}: expected a net that is given the source's shape, got a plain one")
    present = seat_of(request.config.render)
    as_set = one.composed(one.planned)
    known = {present: as_set.blended}
    tried = seats_about(present)
    # one at a time, and only the crops are kept: frames may be large
    for seat in {seat for row in tried for seat in row} - {present}:
        known[seat] = one.composed(one.swapper.reseated(one.planned, seat)).blended
    sheet = draw_seats(as_set.crop, source, tried, [[known[seat] for seat in row] for row in tried])
    publish_picture(sheet, request, guard=one.guard)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _OneFrame:
    """A frame, its plan, and who draws it."""

    guard: ContentGuard
    swapper: IntracoderSwapper
    parts: Compositor
    frame: Frame
    planned: PlannedFace

    def composed(self, planned: PlannedFace) -> FrameStages:
        """The frame with the face as another plan has it."""
        return self.parts.compose([self.frame], [planned])[0]


def _prepared(request: RenderRequest, frame: int | None) -> _OneFrame:
    """Refuses before any work, then plans the clip and reads the frame."""
    from intracoder.media.reader import read_frames
    from intracoder.provenance.guard import ContentGuard

    model, target, config = request.model, request.target, request.config
    kept_grants(model, use=request.use, person=request.person)
    guard = ContentGuard()
    guard.check_file(target)
    swapper = intracoder_swapper(model, request.person, config)
    job = render_job(swapper, request)
    chosen = _telling_frame(request.target_set) if frame is None else frame
    if chosen not in job.faces:
        raise NoFaceError(f"{target}: frame {chosen} shows no face to swap; choose another --frame")
    (found,) = list(read_frames(target, start=chosen, stop=chosen + 1))
    return _OneFrame(
        guard=guard,
        swapper=swapper,
        parts=compositor(swapper, model, config.render, config.train),
        frame=found,
        planned=job.faces[chosen],
    )


def publish_picture(image: Image, request: RenderRequest, *, guard: ContentGuard | None = None) -> None:
    """Writes a figure that shows swapped faces to the request's output: labelled, marked and signed like every output.

    A white band is added below, where the label covers nothing.
    """
    import numpy as np

    from intracoder.media.writer import write_image
    from intracoder.nets.model_card import model_sha256
    from intracoder.provenance.guard import ContentGuard
    from intracoder.provenance.marking import Marker

    picture, model = request.output, request.model
    grants = kept_grants(model, use=request.use, person=request.person)
    picture.parent.mkdir(parents=True, exist_ok=True)
    digest = model_sha256(model)
    marker = Marker(grants, guard or ContentGuard(), request.target, model_sha256=digest, is_still=True)
    unsigned = new_beside(picture)
    band = round(LABEL_BAND * min(image.shape[:2]))
    framed = np.pad(image, ((0, band), (0, 0), (0, 0)), constant_values=255)
    write_image(unsigned, marker.mark_frame(framed), comment=marker.container_tags()["comment"])
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
    """A model's card as TOML, with a comment on each consent record: whether it holds today.

    Raises:
        WeightsError: There is no card, or it is not one.
    """
    from intracoder.nets.model_card import card_to_toml, read_card

    card = read_card(model)
    # written anew from what was understood, so that a hostile file can neither hide a line nor steer a terminal
    text = "\n".join([card_to_toml(card), *(f"# {state}" for state in consent_states(model, card))])
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def doctor() -> dict[str, object]:
    """What this machine has, what is missing, and how fast the encoder runs here, measured for a second."""
    import os
    import platform
    import time
    from importlib.metadata import PackageNotFoundError, version

    import numpy as np
    import torch

    from intracoder.nets.device import choose_compute
    from intracoder.nets.intracoder import Intracoder, preset
    from intracoder.nets.weights import verify_weights

    packages = {}
    for name in ("torch", "onnxruntime", "av", "opencv-python-headless", "c2pa-python", "bpy", "nudenet"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "missing"
    compute = choose_compute("auto", "auto", 0)
    net = Intracoder(preset("S", people=2)).eval()
    net.to(compute.device)
    faces_in = torch.from_numpy(np.random.default_rng(0).random((8, 3, 64, 64), dtype=np.float32)).to(compute.device)
    started, count = time.monotonic(), 0
    with torch.inference_mode(), compute.autocast():
        while time.monotonic() - started < 1.0:
            net.encoder(faces_in)
            count += len(faces_in)
    rate = count / (time.monotonic() - started)
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "device": str(compute.device),
        "precision": compute.precision,
        "encoder_faces_per_s": round(rate),
        "weights_checked": len(verify_weights()),
        "packages": packages,
        "default_budgets": "3 min training, 45 s second network; extraction and rendering come on top",
    }
