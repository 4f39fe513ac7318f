"""Small marked outputs for the provenance tests, made from the packaged synthetic people."""

from __future__ import annotations

from pathlib import Path

import cv2

import intracoder
from intracoder.media.reader import probe, read_frames
from intracoder.media.writer import ClipWriter, write_image
from intracoder.provenance.consent import ConsentGrant, load_consent
from intracoder.provenance.guard import ContentGuard
from intracoder.provenance.marking import Marker
from intracoder.records import Frame, Image

DEMO = Path(intracoder.__file__).parent / "demo"
TARGET = DEMO / "target.mp4"


class Clean:
    """A scorer that objects to nothing."""

    def score(self, image: Image) -> float:
        return 0.0


def grants() -> tuple[ConsentGrant, ...]:
    return load_consent([DEMO / "source.mp4"], use="research")


def make_marker(target: Path = TARGET, **options: object) -> Marker:
    return Marker(grants(), ContentGuard(Clean()), target, model_sha256="0" * 64, **options)  # type: ignore[arg-type]


def enlarged(frame: Frame, side: int) -> Frame:
    pixels = cv2.resize(frame.pixels, (side, side), interpolation=cv2.INTER_CUBIC)
    return Frame(pixels=pixels, index=frame.index, pts=frame.pts)


def write_clip(path: Path, marker: Marker | None, *, side: int = 384, frames: int = 26, crf: int = 18) -> None:
    """The demo's target, enlarged; marked unless there is no marker."""
    tags = marker.container_tags() if marker else {}
    comment = tags.pop("comment", "")
    with ClipWriter(path, probe(TARGET), height=side, width=side, crf=crf, comment=comment, metadata=tags) as writer:
        for frame in read_frames(TARGET, stop=frames):
            large = enlarged(frame, side)
            pixels = marker.mark_frame(large.pixels) if marker else large.pixels
            writer.write(Frame(pixels=pixels, index=large.index, pts=large.pts))


def write_still(path: Path, marker: Marker, *, side: int = 512) -> None:
    frame = enlarged(next(iter(read_frames(TARGET, stop=1))), side)
    write_image(path, marker.mark_frame(frame.pixels), comment=marker.container_tags()["comment"])


def reencode(source: Path, out: Path, *, side: int | None = None, crf: int = 23) -> None:
    """What a platform does: decode, scale, encode anew; all metadata gone."""
    info = probe(source)
    side = side or info.height
    with ClipWriter(out, info, height=side, width=side, crf=crf) as writer:
        for frame in read_frames(source):
            pixels = cv2.resize(frame.pixels, (side, side), interpolation=cv2.INTER_AREA)
            writer.write(Frame(pixels=pixels, index=frame.index, pts=frame.pts))
