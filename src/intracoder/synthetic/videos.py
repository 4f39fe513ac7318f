"""From rendered frames to the files of a clip: video, mask video, metadata."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from intracoder.errors import MediaError
from intracoder.media.atomic import atomic_path
from intracoder.media.reader import read_image
from intracoder.media.writer import ClipWriter
from intracoder.records import ColorTags, Frame, Image, MediaInfo
from intracoder.synthetic.plan import ClipPlan
from intracoder.synthetic.tracks import FPS

_TAGS: Final = ColorTags(primaries=1, transfer=13, matrix=1)
"""BT.709 with the sRGB curve."""
_OWN_CRF, _TRUTH_CRF, _MASK_CRF = 14, 8, 20
FOLDERS: Final = ("clips", "gt", "masks", "meta")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFiles:
    """Where one clip goes."""

    video: Path
    mask: Path
    meta: Path
    frames: Path
    """Folder of the frames, until the clip is whole."""

    @classmethod
    def of(cls, plan: ClipPlan, out: Path) -> ClipFiles:
        """By the layout of the project's synthetic data."""
        folder = "clips" if plan.kind == "own" else "gt"
        return cls(
            video=out / folder / f"{plan.name}.mp4",
            mask=out / "masks" / f"{plan.name}.mp4",
            meta=out / "meta" / f"{plan.name}.json",
            frames=out / "frames" / plan.name,
        )

    def picture(self, frame: int) -> Path:
        """A rendered frame."""
        return self.frames / f"{frame:04d}.png"

    def picture_mask(self, frame: int) -> Path:
        """Its mask, written before it: where the picture is, the mask is too."""
        return self.frames / f"m{frame:04d}.png"


def write_clip(plan: ClipPlan, paths: ClipFiles, meta: dict[str, Any]) -> None:
    """Puts a clip's frames together and drops them; the metadata come last and say that the clip is whole."""
    pictures = [paths.picture(frame) for frame in plan.frames]
    masks = [paths.picture_mask(frame) for frame in plan.frames]
    is_truth = plan.kind != "own"
    crf, size_px = _TRUTH_CRF if is_truth else _OWN_CRF, int(meta["res"])
    _encode(paths.video, (read_image(p) for p in pictures), size_px, crf=crf, is_full=is_truth)
    _encode(paths.mask, (read_image(p) for p in masks), size_px, crf=_MASK_CRF, is_full=False)
    with atomic_path(paths.meta) as temporary:
        temporary.write_text(json.dumps(meta, separators=(",", ":")), encoding="utf-8")
    shutil.rmtree(paths.frames)


def read_meta(path: Path) -> dict[str, Any] | None:
    """A clip's metadata; None where there are none.

    Raises:
        MediaError: The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MediaError(f"{path}: can't be read as a clip's metadata: {error}; delete it to render anew") from error
    if not isinstance(meta, dict):
        raise MediaError(f"{path}: can't be read as a clip's metadata; delete it to render anew")
    return meta


def _encode(path: Path, pictures: Iterable[Image], size_px: int, *, crf: int, is_full: bool) -> None:
    """H.264 at 25 frames a second; ``is_full`` keeps full chroma."""
    with ClipWriter(path, _info(path, size_px), crf=crf, chroma="444" if is_full else "420") as writer:
        for number, pixels in enumerate(pictures):
            writer.write(Frame(pixels=pixels, index=number, pts=number))


def _info(path: Path, size_px: int) -> MediaInfo:
    return MediaInfo(
        path=path,
        height=size_px,
        width=size_px,
        frame_rate=Fraction(FPS),
        time_base=Fraction(1, FPS),
        frame_count=None,
        duration_s=None,
        has_audio=False,
        is_still=False,
        color=_TAGS,
    )
