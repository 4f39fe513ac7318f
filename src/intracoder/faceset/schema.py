"""The tables of ``faces.db``, and rows to records and back.

A face set may come from anybody, so nothing in the file is trusted: its schema must be exactly ours (no views,
triggers or virtual tables), and every value is checked for type, size and range before it becomes a record.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from intracoder.faceset.entries import THUMBNAIL_PX, CropScores, FaceEntry, Origin, SeenPerson, SetInfo
from intracoder.ops.geometry import TEMPLATES
from intracoder.records import AlignedFace, ColorTags, Face, HeadFit, MediaInfo, Pose

SCHEMA_VERSION: Final = 1
"""``PRAGMA user_version``; a set of a later version is refused."""
APPLICATION_ID: Final = 0x494E4643
"""``PRAGMA application_id``: "INFC"."""
MAX_TEXT: Final = 20_000
MAX_PIXEL: Final = 1e6
CROP_NAME: Final = re.compile(r"[0-9]{6,9}\.png")

TABLES: Final = {
    "face_set": (
        "CREATE TABLE face_set (person TEXT, template TEXT, crop_px INTEGER, has_all_frames INTEGER, settings TEXT)"
    ),
    "origins": (
        "CREATE TABLE origins (id INTEGER PRIMARY KEY, name TEXT, sha256 TEXT, height INTEGER, width INTEGER,"
        " frame_rate TEXT, time_base TEXT, frame_hint INTEGER, duration_s REAL, has_audio INTEGER, is_still INTEGER,"
        " color TEXT, frame_count INTEGER, frame_step INTEGER, track_id INTEGER)"
    ),
    "people": "CREATE TABLE people (origin INTEGER, track_id INTEGER, frames BLOB)",
    "cuts": "CREATE TABLE cuts (origin INTEGER, frame_index INTEGER)",
    "faces": (
        "CREATE TABLE faces (id INTEGER PRIMARY KEY, origin INTEGER, frame_index INTEGER, pts INTEGER,"
        " track_id INTEGER, box BLOB, points5 BLOB, score REAL, presence REAL, points BLOB, blendshapes BLOB,"
        " embedding BLOB, yaw_deg REAL, pitch_deg REAL, roll_deg REAL, frame_to_crop BLOB, head BLOB, file TEXT,"
        " sharpness REAL, exposure REAL, side_light REAL, thumbnail BLOB, kept INTEGER, why TEXT)"
    ),
}
"""Exactly these statements must be in the file. Blobs are little-endian float32, those of matrices float64."""

INSERT_ORIGIN: Final = "INSERT INTO origins VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_FACE: Final = "INSERT INTO faces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

Row = Sequence[object]
ValueT = TypeVar("ValueT")


class RowError(ValueError):
    """A value in the file is not what it must be; the message says which."""


# ---- checks ----------------------------------------------------------------------------------------------------


def _is(value: object, kind: type[ValueT], name: str) -> ValueT:
    """``value`` where it is a ``kind``."""
    if not isinstance(value, kind):
        raise RowError(f"{name}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def _integer(value: object, name: str, low: int, high: int = 2**53) -> int:
    """An integer in ``low .. high``."""
    number = _is(value, int, name)
    if not low <= number <= high:
        raise RowError(f"{name}: expected {low}..{high}, got {number}")
    return number


def _number(value: object, name: str, low: float, high: float) -> float:
    """A finite number in ``low .. high``."""
    number = _is(value, float, name)
    # written so that NaN fails
    if not low <= number <= high:
        raise RowError(f"{name}: expected {low:g}..{high:g}, got {number}")
    return number


def _text(value: object, name: str) -> str:
    """A text of bearable length."""
    text = _is(value, str, name)
    if len(text) > MAX_TEXT or "\0" in text:
        raise RowError(f"{name}: expected at most {MAX_TEXT} characters, got {len(text)}")
    return text


def _array(value: object, name: str, dtype: str, shape: tuple[int, ...], limit: float = MAX_PIXEL) -> np.ndarray:
    """An array out of a blob of exactly the right size, all values finite and within ``limit``; -1 is any length."""
    blob = _is(value, bytes, name)
    item = np.dtype(dtype).itemsize
    expected = item * math.prod(n for n in shape if n >= 0)
    if len(blob) % item or (len(blob) != expected if -1 not in shape else not len(blob)):
        raise RowError(f"{name}: expected a blob of {expected} bytes, got {len(blob)}")
    array = np.frombuffer(blob, dtype=np.dtype(dtype).newbyteorder("<")).astype(dtype).reshape(shape)
    if not (np.abs(array.astype(np.float64)) <= limit).all():
        raise RowError(f"{name}: expected finite values up to {limit:g}")
    return array


def _blob(array: np.ndarray, dtype: str) -> bytes:
    """The array's values, little-endian."""
    return np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<")).tobytes()


def _fraction(value: object, name: str) -> Fraction:
    """A positive fraction written "25/1"."""
    text = _text(value, name)
    match = re.fullmatch(r"([0-9]{1,18})/([0-9]{1,18})", text)
    if match is None or int(match[1]) == 0 or int(match[2]) == 0:
        raise RowError(f"{name}: expected a positive fraction such as 25/1, got {text[:40]!r}")
    return Fraction(int(match[1]), int(match[2]))


def _clean(name: str) -> str:
    """A file's or person's name as text that can be stored: bytes that are no UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")


# ---- whole set -------------------------------------------------------------------------------------------------


def info_to_row(info: SetInfo) -> Row:
    """Row of ``face_set``."""
    return (_clean(info.person), info.template, info.crop_px, int(info.has_all_frames), info.settings)


def info_from_row(row: Row) -> SetInfo:
    """Checked record of a row of ``face_set``."""
    template = _text(row[1], "template")
    if template not in TEMPLATES:
        raise RowError(f"template: expected one of {', '.join(TEMPLATES)}, got {template[:40]!r}")
    return SetInfo(
        person=_text(row[0], "person"),
        template=template,
        crop_px=_integer(row[2], "crop_px", 16, 4096),
        has_all_frames=bool(_integer(row[3], "has_all_frames", 0, 1)),
        settings=_text(row[4], "settings"),
    )


# ---- origins ---------------------------------------------------------------------------------------------------


def origin_to_row(origin: Origin) -> Row:
    """Row of ``origins``."""
    media, color = origin.media, origin.media.color
    return (
        *(origin.origin_id, _clean(media.path.name), origin.sha256, media.height, media.width),
        f"{media.frame_rate.numerator}/{media.frame_rate.denominator}",
        f"{media.time_base.numerator}/{media.time_base.denominator}",
        *(media.frame_count, media.duration_s, int(media.has_audio), int(media.is_still)),
        f"{color.primaries},{color.transfer},{color.matrix},{int(color.is_full_range)}",
        *(origin.frame_count, origin.frame_step, origin.track_id),
    )


def origin_from_row(row: Row, people: tuple[SeenPerson, ...], cuts: tuple[int, ...]) -> Origin:
    """Checked record of a row of ``origins``."""
    name, sha256 = _text(row[1], "origin name"), _text(row[2], "origin sha256")
    if re.fullmatch(r"[0-9a-f]{64}", sha256) is None:
        raise RowError("origin sha256: expected 64 hexadecimal digits")
    if name != Path(name).name:
        raise RowError("origin name: expected a bare file name")
    color = re.fullmatch(r"([0-9]{1,4}),([0-9]{1,4}),([0-9]{1,4}),([01])", _text(row[11], "origin color"))
    if color is None:
        raise RowError("origin color: expected three codes and a switch")
    media = MediaInfo(
        path=Path(name),
        height=_integer(row[3], "origin height", 1, 10**6),
        width=_integer(row[4], "origin width", 1, 10**6),
        frame_rate=_fraction(row[5], "origin frame_rate"),
        time_base=_fraction(row[6], "origin time_base"),
        frame_count=None if row[7] is None else _integer(row[7], "origin frame_hint", 0),
        duration_s=None if row[8] is None else _number(row[8], "origin duration_s", 0.0, 1e9),
        has_audio=bool(_integer(row[9], "origin has_audio", 0, 1)),
        is_still=bool(_integer(row[10], "origin is_still", 0, 1)),
        color=ColorTags(
            primaries=int(color[1]), transfer=int(color[2]), matrix=int(color[3]), is_full_range=color[4] == "1"
        ),
    )
    return Origin(
        origin_id=_integer(row[0], "origin id", 0),
        sha256=sha256,
        media=media,
        frame_count=_integer(row[12], "origin frame_count", 0),
        frame_step=_integer(row[13], "origin frame_step", 1),
        track_id=None if row[14] is None else _integer(row[14], "origin track_id", 0),
        people=people,
        cuts=cuts,
    )


def person_to_row(origin_id: int, person: SeenPerson) -> Row:
    """Row of ``people``."""
    return (origin_id, person.track_id, _blob(person.frame_indices, "i8"))


def person_from_row(row: Row) -> tuple[int, SeenPerson]:
    """Origin, and checked record of a row of ``people``."""
    frames = _array(row[2], "people frames", "i8", (-1,), limit=2.0**53)
    if (frames < 0).any() or (np.diff(frames) <= 0).any():
        raise RowError("people frames: expected rising frame numbers")
    return _integer(row[0], "people origin", 0), SeenPerson(
        track_id=_integer(row[1], "people track_id", 0), frame_indices=frames
    )


def cut_from_row(row: Row) -> tuple[int, int]:
    """Origin and frame index of a row of ``cuts``."""
    return _integer(row[0], "cuts origin", 0), _integer(row[1], "cuts frame_index", 0)


# ---- faces -----------------------------------------------------------------------------------------------------


def face_to_row(entry: FaceEntry) -> Row:
    """Row of ``faces``."""
    aligned, face, scores = entry.aligned, entry.aligned.face, entry.scores
    head = np.concatenate([[aligned.head.scale], aligned.head.rotation.ravel(), aligned.head.translation])
    pose = (None, None, None) if face.pose is None else (face.pose.yaw_deg, face.pose.pitch_deg, face.pose.roll_deg)
    return (
        *(entry.face_id, entry.origin_id, face.frame_index, entry.pts, entry.track_id),
        *(_blob(face.box, "f4"), _blob(face.points5, "f4"), float(face.score), _optional(face.presence)),
        *(None if a is None else _blob(a, "f4") for a in (face.points, face.blendshapes, face.embedding)),
        *(_optional(angle) for angle in pose),
        *(_blob(aligned.frame_to_crop, "f8"), _blob(head, "f8"), entry.file),
        *((None,) * 4 if scores is None else _scores_to_row(scores)),
        *(int(entry.is_kept), entry.why),
    )


def _optional(value: float | None) -> float | None:
    """A plain float (NumPy's are refused by sqlite3)."""
    return None if value is None else float(value)


def _scores_to_row(scores: CropScores) -> Row:
    """The four columns of a crop's measurements."""
    numbers = (float(scores.sharpness), float(scores.exposure), float(scores.side_light))
    return (*numbers, _blob(scores.thumbnail, "u1"))


def face_from_row(row: Row, info: SetInfo) -> FaceEntry:
    """Checked record of a row of ``faces``."""
    file = None if row[17] is None else _text(row[17], "file")
    if file is not None and CROP_NAME.fullmatch(file) is None:
        raise RowError(f"file: expected a name such as 000123.png, got {file[:40]!r}")
    is_kept, why = bool(_integer(row[22], "kept", 0, 1)), _text(row[23], "why")
    if file is None and is_kept:
        raise RowError("kept: expected 0 for a face without a crop")
    return FaceEntry(
        face_id=_integer(row[0], "id", 1),
        origin_id=_integer(row[1], "origin", 0),
        pts=_integer(row[3], "pts", -(2**53)),
        track_id=_integer(row[4], "track_id", 0),
        aligned=AlignedFace(
            face=_face_from_row(row),
            frame_to_crop=_frame_to_crop(row[15]),
            crop_px=info.crop_px,
            template=info.template,
            head=_head_from_blob(row[16]),
        ),
        file=file,
        scores=None if file is None else _scores_from_row(row),
        is_kept=is_kept,
        why="" if is_kept else why,
    )


def _face_from_row(row: Row) -> Face:
    """The face itself."""
    angles = [None if v is None else _number(v, "pose", -360.0, 360.0) for v in row[12:15]]
    yaw, pitch, roll = angles
    embedding = None if row[11] is None else _array(row[11], "embedding", "f4", (-1,), limit=1.01)
    if embedding is not None and abs(float(np.linalg.norm(embedding)) - 1) > 1e-2:
        raise RowError("embedding: expected a vector of length 1")
    return Face(
        frame_index=_integer(row[2], "frame_index", 0),
        box=_array(row[5], "box", "f4", (4,)),
        points5=_array(row[6], "points5", "f4", (5, 2)),
        score=_number(row[7], "score", 0.0, 1.0),
        presence=None if row[8] is None else _number(row[8], "presence", 0.0, 1.0),
        points=_array(row[9], "points", "f4", (478, 3)),
        blendshapes=None if row[10] is None else _array(row[10], "blendshapes", "f4", (52,), limit=2.0),
        embedding=embedding,
        pose=(
            None if yaw is None or pitch is None or roll is None else Pose(yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll)
        ),
    )


def _frame_to_crop(value: object) -> np.ndarray:
    """A matrix that can be inverted."""
    matrix = _array(value, "frame_to_crop", "f8", (2, 3), limit=1e9)
    if abs(float(np.linalg.det(matrix[:, :2]))) < 1e-12:
        raise RowError("frame_to_crop: expected a matrix that can be inverted")
    return matrix


def _head_from_blob(value: object) -> HeadFit:
    """Scale, rotation and shift."""
    numbers = _array(value, "head", "f8", (13,))
    rotation = numbers[1:10].reshape(3, 3)
    is_rotation = np.abs(rotation @ rotation.T - np.eye(3)).max() <= 1e-3 and np.linalg.det(rotation) > 0
    if numbers[0] <= 0 or not is_rotation:
        raise RowError("head: expected a positive scale and a rotation")
    return HeadFit(scale=float(numbers[0]), rotation=rotation, translation=numbers[10:])


def _scores_from_row(row: Row) -> CropScores:
    """Measurements of a crop."""
    return CropScores(
        sharpness=_number(row[18], "sharpness", 0.0, 1e6),
        exposure=_number(row[19], "exposure", 0.0, 1.0),
        side_light=_number(row[20], "side_light", -1.0, 1.0),
        thumbnail=_array(row[21], "thumbnail", "u1", (THUMBNAIL_PX, THUMBNAIL_PX)),
    )
