"""Clips and photos of a person into a face set.

Two passes: the first decodes everything, tracks faces and keeps their landmarks (6 kB a face, no pixels); then the
windows are smoothed over each whole track; the second decodes again and writes the crops as it goes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from intracoder.config import RunConfig
from intracoder.errors import ConfigError, FaceSetError, NoFaceError
from intracoder.faceset.analyse import Analysis, Networks, analyse
from intracoder.faceset.cut import Plan, cut_faces
from intracoder.faceset.entries import DELETED_BY_HAND, Origin, SeenPerson, SetInfo
from intracoder.faceset.measure import face_side_px
from intracoder.faceset.people import (
    largest_track,
    main_tracks,
    mean_embedding,
    most_similar_track,
    numbered_track,
    reference_embedding,
)
from intracoder.faceset.person import spread_rows
from intracoder.faceset.sources import fingerprint, source_files
from intracoder.faceset.store import FaceSet
from intracoder.media.reader import probe
from intracoder.ops.geometry import align_track
from intracoder.protocols import Detector, Embedder, Landmarker, Progress, silent
from intracoder.records import Embedding, FaceTrack

TEMPLATE = "wide_margin"
_OVERSAMPLING = 4
"""A source with more frames than this many times the crops wanted is analysed in steps."""


def extract_faces(  # noqa: PLR0913 - one call that says everything about a set
    sources: Sequence[Path],
    folder: Path,
    *,
    detector: Detector,
    landmarker: Landmarker,
    embedder: Embedder,
    config: RunConfig,
    person: str | None = None,
    face: int | None = None,
    face_image: Path | None = None,
    all_frames: bool = False,
    progress: Progress = silent,
) -> FaceSet:
    """Finds one person in clips, photos and folders of them, and writes the face set in ``folder``.

    A set that was finished from the same files with the same options is returned as it is. Else it is made anew
    beside the old one, which stays until the new one is whole; faces deleted by hand stay excluded.

    Args:
        sources: clips, photos, folders; with ``all_frames`` one clip, where a folder is a clip of pictures.
        folder: where the set is, or will be.
        detector: finds faces.
        landmarker: dense landmarks and expression.
        embedder: identity.
        config: its ``detect``, ``extract`` and ``curate.min_face_px`` and ``similarity_min`` are used.
        person: who this is; by default the folder's name.
        face: the person's number on the contact sheet, where one clip shows several people.
        face_image: a picture of the person, for the same purpose with any number of clips and photos.
        all_frames: lists every frame's face, as rendering needs for a target; crops are still only a sample.
        progress: called with the stages "analyse" (frames read) and "cut" (crops written).

    Raises:
        ConfigError: several people where one was expected, or a choice that makes no sense.
        NoFaceError: no face, not the person's face, or only faces too small to train on.
        MediaError: a file can't be read, or the folder not written.
    """
    files = tuple(sources) if all_frames else source_files(sources)
    _check_choice(files, face=face, face_image=face_image, all_frames=all_frames)
    info = SetInfo(
        person=folder.name if person is None else person,
        template=TEMPLATE,
        crop_px=config.extract.crop_px,
        has_all_frames=all_frames,
        settings=_settings(config, face=face, face_image=face_image),
    )
    fingerprints = tuple(fingerprint(path) for path in files)
    old = _finished_set(folder)
    if old is not None and old.info == info and tuple(o.sha256 for o in old.origins) == fingerprints:
        return old

    networks = Networks(detector=detector, landmarker=landmarker, embedder=embedder)
    reference = None if face_image is None else reference_embedding(face_image, detector, embedder)
    analyses = _analyse_all(files, networks, config, all_frames=all_frames, progress=progress)
    chosen = _choose_all(analyses, reference, face, config)
    plans = [
        _plan(number, sha256, analysis, track, config)
        for number, (sha256, analysis, track) in enumerate(zip(fingerprints, analyses, chosen, strict=True))
    ]
    _check_sizes(plans, files, config)
    _sample(plans, config)
    if old is not None:
        _keep_deletions(plans, old)
    with FaceSet.create(folder, info) as writer:
        cut_faces(plans, writer, networks, list_uncut=all_frames, progress=progress)
    return FaceSet.open(folder)


# ---- what was asked for ----------------------------------------------------------------------------------------


def _check_choice(files: tuple[Path, ...], *, face: int | None, face_image: Path | None, all_frames: bool) -> None:
    """ConfigError for a combination that makes no sense."""
    if all_frames and len(files) != 1:
        raise ConfigError(f"target: expected one clip, got {len(files)}")
    if face is not None and face_image is not None:
        raise ConfigError("--face and --face-image: expected one of them, got both")
    if face is not None and len(files) != 1:
        raise ConfigError(f"--face {face}: numbers count within one clip, got {len(files)} files; use --face-image")


def _settings(config: RunConfig, *, face: int | None, face_image: Path | None) -> str:
    """Everything that decides what the set will hold, besides the files."""
    settings = {
        "detect": asdict(config.detect),
        "extract": asdict(config.extract),
        "min_face_px": config.curate.min_face_px,
        "similarity_min": config.curate.similarity_min,
        "face": face,
        "face_image": None if face_image is None else fingerprint(face_image),
    }
    return json.dumps(settings, sort_keys=True)


def _finished_set(folder: Path) -> FaceSet | None:
    """The set in ``folder``; None where there is none that can be used."""
    try:
        faceset = FaceSet.open(folder)
    except FaceSetError:
        return None
    # somebody who throws all crops away wants them again
    has_crops = any(e.file is not None and e.why != DELETED_BY_HAND for e in faceset.entries)
    return faceset if has_crops else None


def _names(files: tuple[Path, ...]) -> str:
    """The files in a message."""
    return str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"


# ---- first pass ------------------------------------------------------------------------------------------------


def _analyse_all(
    files: tuple[Path, ...], networks: Networks, config: RunConfig, *, all_frames: bool, progress: Progress
) -> list[Analysis]:
    """Everybody in every file; NoFaceError where there is nobody."""
    media = [probe(path) for path in files]
    total = sum(m.frame_count or 0 for m in media)
    # a hint only: a wrong one makes the sample coarser or finer
    step = 1 if all_frames else max(1, total // (_OVERSAMPLING * config.extract.max_faces))
    analyses: list[Analysis] = []
    done = 0
    for one in media:
        analysis = analyse(
            one,
            networks,
            config.detect,
            step=step if not one.is_still else 1,
            progress=progress,
            read_before=done,
            read_total=total,
        )
        analyses.append(analysis)
        done += analysis.frame_count
    if not any(analysis.tracks for analysis in analyses):
        raise NoFaceError(
            f"{_names(files)}: no face found in {done} frames; expected one at least {config.detect.min_face_px} px "
            "large that looks roughly at the camera; give a closer clip or lower detect.min_face_px"
        )
    return analyses


# ---- who -------------------------------------------------------------------------------------------------------


def _choose_all(
    analyses: Sequence[Analysis], reference: Embedding | None, face: int | None, config: RunConfig
) -> list[FaceTrack | None]:
    """The person's track in each file; None where the person is not in it.

    Without a choice the person is who is alone in a clip, which also tells who is meant in clips with several people;
    in photos, without such a clip, whose face is largest.
    """
    if face is not None:
        return [numbered_track(analyses[0].tracks, face, analyses[0].media.path)]
    is_asked_for = reference is not None
    if reference is None:
        reference = _who_is_alone(analyses)
    chosen: list[FaceTrack | None] = []
    best = -1.0
    for analysis in analyses:
        people = main_tracks(analysis.tracks)
        if reference is not None and (is_asked_for or len(people) > 1):
            track, similarity = most_similar_track(analysis.tracks, reference, config.curate.similarity_min)
            best = max(best, similarity)
        elif len(people) > 1 and not analysis.media.is_still:
            raise _several_people(analysis, people, is_only_file=len(analyses) == 1)
        else:
            track = largest_track(people)
        chosen.append(track)
    if not any(chosen):
        raise NoFaceError(
            f"{_names(tuple(a.media.path for a in analyses))}: nobody looks like the person in --face-image: best "
            f"similarity {best:.2f}, expected at least curate.similarity_min = {config.curate.similarity_min:g}"
        )
    return chosen


def _several_people(analysis: Analysis, people: Sequence[FaceTrack], *, is_only_file: bool) -> ConfigError:
    """What to say where two people are in a clip and one was expected."""
    path, numbers = analysis.media.path, ", ".join(str(track.track_id) for track in people)
    choice = "--face N or --face-image" if is_only_file else "--face-image"
    return ConfigError(
        f"{path}: expected one person, got {len(people)} (numbers {numbers}); choose with {choice}; "
        f"`intracoder faces {path.name}` shows who is who"
    )


def _who_is_alone(analyses: Sequence[Analysis]) -> Embedding | None:
    """Identity of the person who is alone in the longest such clip; None where there is none."""
    clips = (main_tracks(analysis.tracks) for analysis in analyses if not analysis.media.is_still)
    alone = [people[0] for people in clips if len(people) == 1]
    longest = max(alone, key=lambda track: len(track.faces), default=None)
    return None if longest is None else mean_embedding(longest)


# ---- which faces -----------------------------------------------------------------------------------------------


def _plan(number: int, sha256: str, analysis: Analysis, track: FaceTrack | None, config: RunConfig) -> Plan:
    """The person's aligned faces in one file."""
    origin = Origin(
        origin_id=number,
        sha256=sha256,
        media=analysis.media,
        frame_count=analysis.frame_count,
        frame_step=analysis.frame_step,
        track_id=None if track is None else track.track_id,
        people=tuple(
            SeenPerson(
                track_id=other.track_id,
                frame_indices=np.array([face.frame_index for face in other.faces], dtype=np.int64),
            )
            for other in analysis.tracks
        ),
        cuts=track.cuts if track is not None else (),
    )
    # frames that are far apart say nothing of each other's jitter
    smooth_frames = config.extract.smooth_frames if analysis.frame_step == 1 else 1
    aligned = (
        ()
        if track is None
        else align_track(track, template=TEMPLATE, crop_px=config.extract.crop_px, smooth_frames=smooth_frames)
    )
    return Plan(origin=origin, pts=analysis.pts, aligned=aligned)


def _check_sizes(plans: list[Plan], files: tuple[Path, ...], config: RunConfig) -> None:
    """Marks the faces that are large enough to train on; NoFaceError where there is none."""
    largest = 0.0
    for plan in plans:
        sides = [face_side_px(a.face) for a in plan.aligned]
        largest = max([largest, *sides])
        plan.to_cut = {i for i, side in enumerate(sides) if side >= config.curate.min_face_px}
    if not any(plan.to_cut for plan in plans):
        raise NoFaceError(
            f"{_names(files)}: the face is too small to train on: {largest:.0f} px at its largest, expected at least "
            f"curate.min_face_px = {config.curate.min_face_px}; give a closer or larger clip"
        )


def _sample(plans: list[Plan], config: RunConfig) -> None:
    """Leaves at most ``extract.max_faces`` faces to cut, evenly over all files."""
    every = [(plan, index) for plan in plans for index in sorted(plan.to_cut)]
    if len(every) <= config.extract.max_faces:
        return
    picked = spread_rows(len(every), config.extract.max_faces)
    for plan in plans:
        plan.to_cut = set()
    for position in picked:
        plan, index = every[position]
        plan.to_cut.add(index)


def _keep_deletions(plans: list[Plan], old: FaceSet) -> None:
    """Faces that were deleted by hand from the set before stay out of the new one."""
    deleted = {
        (old.origins[e.origin_id].sha256, e.aligned.face.frame_index) for e in old.entries if e.why == DELETED_BY_HAND
    }
    for plan in plans:
        plan.excluded = {i for i, a in enumerate(plan.aligned) if (plan.origin.sha256, a.face.frame_index) in deleted}
