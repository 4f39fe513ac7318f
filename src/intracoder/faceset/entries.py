"""What a face set holds: where its faces come from, and each face with its measurements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

from intracoder.records import AlignedFace, MediaInfo

THUMBNAIL_PX = 16
"""Side of the grey thumbnails by which near-duplicates are found."""
DELETED_BY_HAND = "deleted by hand"
"""Why a face whose crop file is gone is excluded."""
NOT_CUT = "not cut"
"""Why a face that was analysed but never cut out is excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetInfo:
    """What holds for a whole face set."""

    person: str
    """Who this is."""
    template: str
    """Key of ops.geometry.TEMPLATES."""
    crop_px: int
    """Side of the crops."""
    has_all_frames: bool
    """True where every face that was analysed is listed (a target), false where only those with a crop are."""
    settings: str
    """JSON of the options the set was made with; a set is used again only where they are the same."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeenPerson:
    """One person that the tracker saw in a clip, the set's own or another."""

    track_id: int
    """The person's number on the contact sheet of the clip."""
    frame_indices: Int64[np.ndarray, "n"]
    """Frames in which the person was seen, rising."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Origin:
    """A clip or photo that faces were taken from."""

    origin_id: int
    """0, 1, ... in the order given."""
    sha256: str
    """Of the file; of a folder's names and files where a folder is the clip. Hexadecimal."""
    media: MediaInfo
    """Its path is the bare file name."""
    frame_count: int
    """Frames that were read."""
    frame_step: int
    """Every how many frames one was analysed."""
    track_id: int | None
    """Number of the set's person in it; None where only others, or nobody, was seen."""
    people: tuple[SeenPerson, ...] = ()
    """Everybody that was seen."""
    cuts: tuple[int, ...] = ()
    """Frame indices at which a new shot begins."""

    def other_frames(self) -> frozenset[int]:
        """Frames in which somebody was seen, but not the set's person."""
        own = {int(i) for p in self.people if p.track_id == self.track_id for i in p.frame_indices}
        seen = {int(i) for p in self.people for i in p.frame_indices}
        return frozenset(seen - own)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CropScores:
    """Measurements of a crop's pixels inside the face."""

    sharpness: float
    """ops.quality.sharpness."""
    exposure: float
    """Mean luma, 0 black .. 1 white."""
    side_light: float
    """(right cheek - left cheek) / their sum, luma, -1..1; 0 where a cheek is out of sight."""
    thumbnail: UInt8[np.ndarray, "16 16"]
    """Luma of the face's middle, for telling near-duplicates."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceEntry:
    """One face of a face set."""

    face_id: int
    """1, 2, ... in the order of origins and frames."""
    origin_id: int
    pts: int
    """Ticks of the origin's time_base."""
    track_id: int
    aligned: AlignedFace
    file: str | None
    """Name of the crop in the folder ``crops``; None where none was cut."""
    scores: CropScores | None
    """None where none was cut."""
    is_kept: bool
    """True where training may use it: cut, not dropped by curation, and its file still there."""
    why: str
    """Why it is not kept; empty where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What curation says of one face."""

    is_kept: bool
    why: str = ""
    """Empty where it is kept."""
