"""A numbered picture of everybody in a clip, to choose a person by number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Final, TypeAlias

import cv2
import numpy as np
from jaxtyping import UInt8

from intracoder.errors import NoFaceError
from intracoder.faces.landmarks import BLENDSHAPE_NAMES
from intracoder.faces.window import Window
from intracoder.ops.geometry import warp_to_crop
from intracoder.records import Face, FaceTrack, Frame, Image

Thumbnail: TypeAlias = UInt8[np.ndarray, "side side 3"]

_TILE_PX = 192
_CAPTION_PX = 74
_GAP_PX = 10
_COLUMNS_MAX = 5
_FRAMING = 1.7
"""Side of a thumbnail over the face's longer side."""
_BACKGROUND: Final = (24, 26, 30)
_TEXT: Final = (235, 235, 235)
_FAINT: Final = (165, 170, 178)
_BADGE: Final = (255, 196, 0)
_BLINKS: Final = (BLENDSHAPE_NAMES.index("eyeBlinkLeft"), BLENDSHAPE_NAMES.index("eyeBlinkRight"))
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def best_face(track: FaceTrack) -> Face:
    """The face of a track that shows the person best: large, frontal, eyes open, surely a face."""
    return max(track.faces, key=_showing)


def _showing(face: Face) -> float:
    """How well a face shows who it is."""
    yaw = math.radians(face.pose.yaw_deg) if face.pose is not None else 0.0
    presence = 1.0 if face.presence is None else face.presence
    eyes = 1.0 if face.blendshapes is None else 1 - 0.5 * float(face.blendshapes[list(_BLINKS)].max())
    return face.score * presence * eyes * max(math.cos(yaw), 0.0) ** 2 * math.sqrt(max(_longer_side(face), 0.0))


def _longer_side(face: Face) -> float:
    """Of the face's box, pixels."""
    return float((face.box[2:] - face.box[:2]).max())


def collect_thumbnails(frames: Iterable[Frame], tracks: Sequence[FaceTrack]) -> Mapping[int, Thumbnail]:
    """One upright thumbnail of each person, by track_id.

    Args:
        frames: The clip from its start again; read up to the last frame that is needed.
        tracks: Its tracks.

    Raises:
        NoFaceError: The frames end before a track's best face: they aren't those that were tracked.
    """
    wanted = [(best_face(track), track.track_id) for track in tracks]
    by_frame: dict[int, list[tuple[Face, int]]] = {}
    for face, track_id in wanted:
        by_frame.setdefault(face.frame_index, []).append((face, track_id))
    thumbnails: dict[int, Thumbnail] = {}
    for frame in frames if wanted else ():
        for face, track_id in by_frame.get(frame.index, []):
            thumbnails[track_id] = _thumbnail(frame.pixels, face)
        if len(thumbnails) == len(wanted):
            return thumbnails
    if wanted:
        missing = sorted({track_id for _, track_id in wanted} - thumbnails.keys())
        raise NoFaceError(f"contact sheet: the clip ended before the frames of people {missing}; track it again")
    return thumbnails


def _thumbnail(image: Image, face: Face) -> Thumbnail:
    """The head, upright, ``_TILE_PX`` square."""
    across = face.points5[1] - face.points5[0]
    window = Window(
        center=((face.box[:2] + face.box[2:]) / 2).astype(np.float64),
        side_px=max(1.0, _FRAMING * _longer_side(face)),
        angle_rad=float(np.arctan2(across[1], across[0])),
    )
    return np.asarray(warp_to_crop(image, window.frame_to_crop(_TILE_PX), _TILE_PX), dtype=np.uint8)


def draw_contact_sheet(
    tracks: Sequence[FaceTrack], thumbnails: Mapping[int, Thumbnail], *, frame_rate: Fraction | None = None
) -> Image:
    """One tile a person: number, picture, frames, time range and mean detector score.

    Args:
        tracks: People, in the order of the tiles.
        thumbnails: From ``collect_thumbnails``.
        frame_rate: Frames per second; without it the range is given in frame numbers.

    Raises:
        NoFaceError: There is nobody to draw.
    """
    if not tracks:
        raise NoFaceError("contact sheet: expected at least one person, got none; the clip shows no face")
    columns = min(len(tracks), _COLUMNS_MAX)
    rows = -(-len(tracks) // columns)
    cell_h, cell_w = _TILE_PX + _CAPTION_PX + _GAP_PX, _TILE_PX + _GAP_PX
    sheet = np.full((rows * cell_h + _GAP_PX, columns * cell_w + _GAP_PX, 3), _BACKGROUND, np.uint8)
    for place, track in enumerate(tracks):
        row, column = divmod(place, columns)
        y, x = _GAP_PX + row * cell_h, _GAP_PX + column * cell_w
        thumbnail = cv2.resize(thumbnails[track.track_id], (_TILE_PX, _TILE_PX), interpolation=cv2.INTER_AREA)
        sheet[y : y + _TILE_PX, x : x + _TILE_PX] = thumbnail
        _badge(sheet, str(track.track_id), x, y)
        for line, (text, color) in enumerate(zip(_caption(track, frame_rate), (_TEXT, _FAINT, _FAINT), strict=True)):
            _write(sheet, text, (x + 2, y + _TILE_PX + 22 + 22 * line), 0.48, color)
    return sheet


def _caption(track: FaceTrack, frame_rate: Fraction | None) -> tuple[str, str, str]:
    """The three lines under a tile."""
    first, last = track.faces[0].frame_index, track.faces[-1].frame_index
    count = len(track.faces)
    score = sum(face.score for face in track.faces) / count
    span = (
        f"frames {first} to {last}"
        if frame_rate is None
        else f"{_clock(first, frame_rate)} to {_clock(last, frame_rate)}"
    )
    return f"{count} frame{'s' if count != 1 else ''}", span, f"mean score {score:.2f}"


def _clock(frame_index: int, frame_rate: Fraction) -> str:
    """Time of a frame as minutes and seconds."""
    tenths = int(frame_index * 10 / frame_rate)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def _badge(sheet: Image, text: str, x: int, y: int) -> None:
    """The person's number in a filled corner of the tile."""
    (width, height), _ = cv2.getTextSize(text, _FONT, 0.9, 2)
    cv2.rectangle(sheet, (x, y), (x + width + 14, y + height + 14), _BADGE, cv2.FILLED)
    cv2.putText(sheet, text, (x + 7, y + height + 7), _FONT, 0.9, _BACKGROUND, 2, cv2.LINE_AA)


def _write(sheet: Image, text: str, corner: tuple[int, int], size: float, color: tuple[int, int, int]) -> None:
    """One line of text with its lower left corner at ``corner``."""
    cv2.putText(sheet, text, corner, _FONT, size, color, 1, cv2.LINE_AA)
