"""The demo: the whole pipeline on the packaged pair of people who don't exist, and pictures of what it does."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from itertools import pairwise
from pathlib import Path

import numpy as np

from intracoder.app.consents import kept_grants
from intracoder.app.looking import explain, publish_picture
from intracoder.app.requests import RenderRequest, SwapRequest
from intracoder.app.whole import swap
from intracoder.build import intracoder_swapper
from intracoder.config import RunConfig
from intracoder.media.atomic import new_beside
from intracoder.protocols import Progress, silent
from intracoder.records import Face, Frame, Image, MediaInfo, PlannedFace, RunReport

USE = "research"
GRID_COLUMNS = 6
GRID_PX = 192


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOutputs:
    """What the demo wrote."""

    swapped: Path
    stages: Path
    grid: Path
    triptych: Path
    report: RunReport


def demo(folder: Path, *, config: RunConfig, progress: Progress = silent) -> DemoOutputs:
    """Swaps the packaged pair into ``folder`` (``demo.mp4``) and draws three explanations beside it.

    Args:
        folder: For the outputs; ``demo_project`` in it keeps what was learned, so that a stopped demo goes on.
        config: Options.
        progress: Told of every stage.

    Raises:
        IntracoderError: As ``swap``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    project = folder / "demo_project"
    # the pair is copied out of the package, which may be a zip, and lies where the user can look at it
    clips = project / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    pair = {name: clips / f"{name}.mp4" for name in ("source", "target")}
    for name, path in pair.items():
        if not path.is_file():
            with as_file(files("intracoder") / "demo" / f"{name}.mp4") as packaged:
                shutil.copyfile(packaged, path)
    outputs = {name: folder / f"demo{name}" for name in (".mp4", "_stages.png", "_grid.png", "_triptych.mp4")}
    request = SwapRequest(
        sources=(pair["source"],),
        target=pair["target"],
        output=outputs[".mp4"],
        project=project,
        use=USE,
        config=config,
    )
    report = swap(request, progress=progress)
    progress("pictures", 0.0, 3.0, "stages of one frame")
    stages = RenderRequest(
        model=project / "model",
        target=pair["target"],
        target_set=project / "target",
        output=outputs["_stages.png"],
        use=USE,
        config=config,
    )
    explain(stages)
    progress("pictures", 1.0, 3.0, "performance grid")
    grid = draw_performance(project, outputs[".mp4"], config)
    publish_picture(grid, dataclasses.replace(stages, output=outputs["_grid.png"]))
    progress("pictures", 2.0, 3.0, "triptych")
    write_triptych(pair["target"], pair["source"], outputs[".mp4"], outputs["_triptych.mp4"], stages.model)
    progress("pictures", 3.0, 3.0)
    return DemoOutputs(
        swapped=outputs[".mp4"],
        stages=outputs["_stages.png"],
        grid=outputs["_grid.png"],
        triptych=outputs["_triptych.mp4"],
        report=report,
    )


def draw_performance(project: Path, output: Path, config: RunConfig) -> Image:
    """The seed's performance figure: rows of target, swapped and source faces, joined by what they share."""
    from intracoder.evaluation.figures import IdentityRow, draw_grid
    from intracoder.faceset.store import FaceSet

    target, source = FaceSet.open(project / "target"), FaceSet.open(project / "source")
    (track,) = target.tracks()[:1]
    swapper = intracoder_swapper(project / "model", None, config)
    planned = {p.frame_index: p for p in swapper.plan(track)}
    chosen = _spread(track.faces, GRID_COLUMNS)
    before = _window_crops(planned, project / "clips" / "target.mp4", chosen, swapper.crop_px)
    after = _window_crops(planned, output, chosen, swapper.crop_px)
    stored = source.person_frames().crops
    nearest = [stored[planned[index].reference_index or 0] for index in chosen]
    row = IdentityRow(
        name=source.info.person, swapped_crops=after, source_crops=nearest, source_note="nearest real frame"
    )
    names = [f"frame {index}" for index in chosen]
    return draw_grid(
        before,
        [row],
        target_name=target.info.person,
        column_names=names,
        title="One performance, two people",
        cell_px=GRID_PX,
    )


def _window_crops(planned: Mapping[int, PlannedFace], clip: Path, chosen: Sequence[int], window_px: int) -> list[Image]:
    """The aligned windows of a clip's frames."""
    from intracoder.media.reader import read_frames
    from intracoder.ops.geometry import rescale_matrix, warp_to_crop

    wanted, found = set(chosen), {}
    for frame in read_frames(clip):
        if frame.index in wanted:
            matrix = rescale_matrix(planned[frame.index].frame_to_crop, "wide", window_px, "wide", GRID_PX)
            found[frame.index] = warp_to_crop(frame.pixels, matrix, GRID_PX)
    return [found[index] for index in chosen]


def write_triptych(target: Path, source: Path, output: Path, path: Path, model: Path) -> None:
    """Target, source and swapped clip side by side, marked and signed like every output."""
    from intracoder.media.reader import probe
    from intracoder.media.writer import ClipWriter
    from intracoder.nets.model_card import model_sha256
    from intracoder.provenance.guard import ContentGuard
    from intracoder.provenance.marking import Marker

    info = probe(target)
    marker = Marker(kept_grants(model, use=USE), ContentGuard(), target, model_sha256=model_sha256(model))
    tags = marker.container_tags()
    rest = {key: value for key, value in tags.items() if key != "comment"}
    unsigned = new_beside(path)
    with ClipWriter(
        unsigned,
        info,
        height=info.height,
        width=3 * info.width,
        audio_from=target,
        comment=tags["comment"],
        metadata=rest,
    ) as writer:
        for frame in _side_by_side(target, source, output, info):
            writer.write(Frame(pixels=marker.mark_frame(frame.pixels), index=frame.index, pts=frame.pts))
    marker.finish(unsigned, path)


def _side_by_side(target: Path, source: Path, output: Path, info: MediaInfo) -> Iterator[Frame]:
    """Joined frames for as long as the target; a source that ends earlier starts again."""
    from intracoder.media.reader import read_frames

    sources = _endless(source, info)
    for original, learned_from, swapped in zip(read_frames(target), sources, read_frames(output), strict=False):
        height, width = original.pixels.shape[:2]
        panels = [original.pixels, learned_from, swapped.pixels[:height, :width]]
        yield Frame(pixels=np.concatenate(panels, axis=1), index=original.index, pts=original.pts)


def _endless(path: Path, info: MediaInfo) -> Iterator[Image]:
    """A clip's pictures at the size of ``info``, over and over."""
    import cv2

    from intracoder.media.reader import read_frames

    while True:
        for frame in read_frames(path):
            if frame.pixels.shape[:2] == (info.height, info.width):
                yield frame.pixels
            else:
                resized = cv2.resize(frame.pixels, (info.width, info.height), interpolation=cv2.INTER_AREA)
                yield np.asarray(resized, dtype=np.uint8)


def _spread(seen: Sequence[Face], count: int) -> list[int]:
    """Frames over the whole clip: of each stretch, in turn, the one that turns most and the widest open mouth."""
    from intracoder.faces.landmarks import BLENDSHAPE_NAMES

    jaw = BLENDSHAPE_NAMES.index("jawOpen")

    def turn(face: Face) -> float:
        return 0.0 if face.pose is None else abs(face.pose.yaw_deg)

    def mouth(face: Face) -> float:
        return 0.0 if face.blendshapes is None else float(face.blendshapes[jaw])

    edges = np.linspace(0, len(seen), min(count, len(seen)) + 1).astype(int).tolist()
    stretches = [seen[first:last] for first, last in pairwise(edges)]
    return [max(some, key=mouth if k % 2 else turn).frame_index for k, some in enumerate(stretches)]
