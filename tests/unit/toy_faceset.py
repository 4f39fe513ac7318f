"""Face sets made of nothing: heads of the canonical shape on plain pictures."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from face_shapes import canonical_shape, rotation

from intracoder.faceset.entries import CropScores, FaceEntry, Origin, SeenPerson, SetInfo
from intracoder.faceset.store import FaceSet
from intracoder.ops.geometry import align_track, posed
from intracoder.records import Face, FaceTrack, HeadFit, MediaInfo, Pose

INFO = SetInfo(person="toy", template="wide_margin", crop_px=64, has_all_frames=False, settings="{}")


def unit_vector(seed, dims=192):
    vector = np.random.default_rng(seed).standard_normal(dims)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def near(vector, seed, similarity=0.9):
    """A unit vector of about that cosine to ``vector``."""
    other = unit_vector(seed)
    other -= (other @ vector) * vector
    other /= np.linalg.norm(other)
    return (similarity * vector + np.sqrt(1 - similarity**2) * other).astype(np.float32)


def toy_face(
    index, *, scale=6.0, yaw=0.0, pitch=0.0, mouth_cm=0.0, at=(160.0, 160.0), person=1, presence=0.99, blendshapes=None
):
    shape = canonical_shape().astype(np.float64)
    shape[14] = shape[13] + [0, mouth_cm, 0]
    head = HeadFit(scale=scale, rotation=rotation(0, 0, 0), translation=np.array([*at, 0.0]))
    points = posed(shape, head).astype(np.float32)
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    return Face(
        frame_index=index,
        box=np.concatenate([low, high]).astype(np.float32),
        points5=points[[33, 263, 1, 61, 291], :2],
        score=0.99,
        points=points,
        presence=presence,
        blendshapes=np.zeros(52, np.float32) if blendshapes is None else blendshapes,
        embedding=near(unit_vector(person), 1000 + index),
        pose=Pose(yaw_deg=yaw, pitch_deg=pitch, roll_deg=0.0),
    )


def toy_scores(*, sharpness=0.3, exposure=0.5, side_light=0.0, seed=0):
    thumbnail = np.random.default_rng(seed).integers(0, 256, (16, 16)).astype(np.uint8)
    return CropScores(sharpness=sharpness, exposure=exposure, side_light=side_light, thumbnail=thumbnail)


def toy_origin(number=0, *, frame_count=1000, people=(), cuts=(), track_id=1):
    media = MediaInfo(
        path=Path(f"clip{number}.mp4"),
        height=320,
        width=320,
        frame_rate=Fraction(25),
        time_base=Fraction(1, 12800),
        frame_count=frame_count,
        duration_s=frame_count / 25,
        has_audio=True,
        is_still=False,
    )
    seen = tuple(SeenPerson(track_id=k, frame_indices=np.array(f, np.int64)) for k, f in people)
    return Origin(
        origin_id=number,
        sha256=f"{number:064x}",
        media=media,
        frame_count=frame_count,
        frame_step=1,
        track_id=track_id,
        people=seen,
        cuts=cuts,
    )


def write_set(folder, faces, *, scores=None, info=INFO, origins=None, cut=None):
    """A set of ``faces`` (of one origin, or a list of lists); crops are flat pictures of differing colours."""
    groups = faces if faces and isinstance(faces[0], list) else [faces]
    origins = origins or [toy_origin(number) for number in range(len(groups))]
    rng = np.random.default_rng(7)
    with FaceSet.create(folder, info) as writer:
        count = 0
        for origin, group in zip(origins, groups, strict=True):
            writer.add_origin(origin)
            track = FaceTrack(track_id=origin.track_id, faces=tuple(group))
            for aligned in align_track(track, template=info.template, crop_px=info.crop_px, smooth_frames=1):
                entry = FaceEntry(
                    face_id=0,
                    origin_id=origin.origin_id,
                    pts=512 * aligned.face.frame_index,
                    track_id=origin.track_id,
                    aligned=aligned,
                    file=None,
                    scores=scores[count] if scores else toy_scores(seed=count),
                    is_kept=False,
                    why="",
                )
                is_cut = cut is None or count in cut
                crop = np.full((info.crop_px, info.crop_px, 3), rng.integers(0, 256, 3), np.uint8) if is_cut else None
                writer.add_face(entry, crop)
                count += 1
    return FaceSet.open(folder)
