"""Second pass over a clip or photo: cuts the crops, and measures what the first pass left open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from intracoder.errors import MediaError, NoFaceError
from intracoder.faces.pose import head_pose
from intracoder.faceset.analyse import Networks
from intracoder.faceset.entries import FaceEntry, Origin
from intracoder.faceset.measure import score_crop
from intracoder.faceset.store import FaceSetWriter
from intracoder.media.reader import read_frames
from intracoder.ops.geometry import transform_points, warp_to_crop
from intracoder.protocols import Progress
from intracoder.records import AlignedFace, Face, Frame, Image, Points


@dataclass(slots=True, kw_only=True, eq=False)
class Plan:
    """The person's faces in one file, and which of them to cut; numbers index ``aligned``."""

    origin: Origin
    pts: tuple[int, ...]
    """Of every frame."""
    aligned: tuple[AlignedFace, ...]
    to_cut: set[int] = field(default_factory=set)
    excluded: set[int] = field(default_factory=set)
    """Cut, but without a file: deleted by hand earlier."""


def cut_faces(
    plans: Sequence[Plan], writer: FaceSetWriter, networks: Networks, *, list_uncut: bool, progress: Progress
) -> None:
    """Writes every planned face; pixels of one frame at a time are in memory.

    Args:
        plans: by file.
        writer: open face set.
        networks: for what the tracker did not measure.
        list_uncut: also lists faces of which no crop is cut.
        progress: stage "cut".

    Raises:
        MediaError: a file can't be read again as it was read before.
    """
    total, done = sum(len(plan.to_cut) for plan in plans), 0
    for plan in plans:
        writer.add_origin(plan.origin)
        wanted = {plan.aligned[i].face.frame_index for i in plan.to_cut}
        frames = _wanted_frames(plan, wanted)
        for index, aligned in enumerate(plan.aligned):
            if index in plan.to_cut:
                entry, crop = _cut(plan, aligned, next(frames), networks)
                writer.add_face(entry, crop, is_excluded=index in plan.excluded)
                done += 1
                progress("cut", float(done), float(total))
            elif list_uncut:
                writer.add_face(_entry(plan, _measured(plan, aligned, networks)))


def _wanted_frames(plan: Plan, wanted: set[int]) -> Iterator[Frame]:
    """The frames to cut from, in order. Raises MediaError where the file ends before the last of them."""
    if not wanted:
        return
    path, last = plan.origin.media.path, max(wanted)
    for frame in read_frames(path, stop=last + 1):
        if frame.index in wanted:
            yield frame
    # only reached when one more is asked for
    raise MediaError(f"{path}: expected at least {last + 1} frames as at first reading, got fewer; it has changed")


def _cut(plan: Plan, aligned: AlignedFace, frame: Frame, networks: Networks) -> tuple[FaceEntry, Image]:
    """One face with its crop and all measurements."""
    aligned = _measured(plan, aligned, networks)
    face = aligned.face
    if face.embedding is None:
        embedding = networks.embedder.embed(frame.pixels, face.points5)
        aligned = replace(aligned, face=replace(face, embedding=embedding))
    crop = warp_to_crop(frame.pixels, aligned.frame_to_crop, aligned.crop_px)
    scores = score_crop(crop, transform_points(_points(face), aligned.frame_to_crop))
    return replace(_entry(plan, aligned), scores=scores), crop


def _measured(plan: Plan, aligned: AlignedFace, networks: Networks) -> AlignedFace:
    """The face with expression and pose."""
    face, media = aligned.face, plan.origin.media
    if face.blendshapes is None:
        face = replace(face, blendshapes=networks.landmarker.blendshapes(_points(face)))
    if face.pose is None:
        face = replace(face, pose=head_pose(_points(face), media.height, media.width))
    return replace(aligned, face=face)


def _entry(plan: Plan, aligned: AlignedFace) -> FaceEntry:
    """What the writer fills up: number, file and state are its own."""
    return FaceEntry(
        face_id=0,
        origin_id=plan.origin.origin_id,
        pts=plan.pts[aligned.face.frame_index],
        track_id=plan.origin.track_id or 0,
        aligned=aligned,
        file=None,
        scores=None,
        is_kept=False,
        why="",
    )


def _points(face: Face) -> Points:
    """Dense landmarks; align_track has made sure that they are there."""
    if face.points is None:
        raise NoFaceError(f"frame {face.frame_index}: expected a face with dense landmarks, got none; run a landmarker")
    return face.points
