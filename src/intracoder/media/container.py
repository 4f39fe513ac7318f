"""Opening clips that may be hostile: what is let in, and how far.

The demuxers are a short list and may open no second file and no network (a playlist or a concat script named
``.mp4`` is refused); a picture larger than the pixel limit is refused before it is decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import av
import av.error
from av.container import InputContainer
from av.video.stream import VideoStream

from intracoder.errors import MediaError

MAX_PIXELS = 64_000_000
"""Largest picture that is decoded, width x height."""
# Codecs count rows padded to 64 pixels; the exact limit is held by check_pixels.
_CODEC_SLACK = 2**20

_DEMUXER_OPTIONS = {
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi",
    "protocol_whitelist": "file",
}
_KINDS = "an MP4, MOV, MKV, WebM or AVI video"
_TILED_STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif", b"avis")


def regular_file(path: Path) -> Path:
    """``path`` with links resolved, where it is a regular file with something in it.

    Raises:
        MediaError: it is missing, not a regular file, empty or not ours to read.
    """
    try:
        resolved = Path(path).resolve(strict=True)
        if not resolved.is_file():
            kind = "a folder" if resolved.is_dir() else "not a regular file"
            raise MediaError(f"{path}: expected a video or picture file, got {kind}")
        if resolved.stat().st_size == 0:
            raise MediaError(f"{path}: expected a video or picture, got an empty file; copy it again")
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{path}: can't be read: {reason}; check the name and the permissions") from error
    return resolved


def one_line(error: Exception) -> str:
    """FFmpeg's own words for ``error``."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


@contextmanager
def open_clip(path: Path, *, max_pixels: int = MAX_PIXELS) -> Iterator[InputContainer]:
    """Opens a clip for reading, by whitelist.

    Raises:
        MediaError: not a file, not one of the known containers, truncated, or damaged beyond opening.
    """
    resolved = regular_file(path)
    _check_container(path, resolved)
    try:
        container = av.open(
            # a file whose name looks like a protocol ("concat:...") is still a file
            f"file:{resolved}",
            options={**_DEMUXER_OPTIONS, "max_pixels": str(max_pixels + _CODEC_SLACK)},
            metadata_errors="replace",
        )
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(f"{path}: can't be opened: {one_line(error)}; expected {_KINDS}") from error
    with container:
        yield container


def video_stream(container: InputContainer, path: Path, *, max_pixels: int = MAX_PIXELS) -> VideoStream:
    """The clip's first moving picture, set up to decode at most ``max_pixels`` a frame.

    Raises:
        MediaError: there is none (sound only, cover art only), it has no decoder, or its header says it is larger.
    """
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        got = "only sound" if container.streams.audio else "no stream that can be shown"
        raise MediaError(f"{path}: expected a video, got {got}; give a file with a picture")
    stream = streams[0]
    if stream.codec_context is None:
        raise MediaError(f"{path}: the video's codec is not known; convert it to H.264")
    check_pixels(stream.codec_context.height, stream.codec_context.width, path, max_pixels=max_pixels)
    stream.codec_context.options = {"max_pixels": str(max_pixels + _CODEC_SLACK)}
    stream.thread_type = "AUTO"
    return stream


def check_pixels(height: int, width: int, path: Path, *, max_pixels: int = MAX_PIXELS) -> None:
    """Raises MediaError where a picture is larger than ``max_pixels``."""
    if height * width > max_pixels:
        limit = f"{max_pixels / 1e6:g} megapixels"
        raise MediaError(f"{path}: {width}x{height} pixels is more than the limit of {limit}; scale it down first")


def _check_container(path: Path, resolved: Path) -> None:
    """MediaError for a truncated container and for stills that FFmpeg would open as video."""
    size = resolved.stat().st_size
    try:
        with resolved.open("rb") as file:
            head = file.read(64)
            declared = _declared_size(head, file, size)
    except OSError as error:
        raise MediaError(f"{path}: can't be read: {one_line(error)}") from error
    if head[4:8] == b"ftyp" and head[8:12] in _TILED_STILL_BRANDS:
        raise MediaError(f"{path}: HEIC and AVIF pictures are not supported; convert it to JPEG or PNG")
    if declared is not None and declared > size:
        raise MediaError(
            f"{path}: the file is truncated: expected at least {declared} bytes, got {size}; copy or record it again"
        )


def _declared_size(head: bytes, file: BinaryIO, size: int) -> int | None:
    """Bytes that the container's outermost structure says it has; None where it doesn't say.

    FFmpeg plays what is there of a truncated MKV or AVI without a word, so the sizes are checked here.
    Source: ISO/IEC 14496-12 §4.2 (boxes), RFC 8794 §4-6 (EBML), Microsoft AVI RIFF reference.
    """
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return 8 + int(struct.unpack_from("<I", head, 4)[0])
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _matroska_size(head)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"):
        return _boxes_size(file, size)
    return None


def _boxes_size(file: BinaryIO, size: int) -> int:
    """End of the last top-level box."""
    position = 0
    while position < size:
        file.seek(position)
        header = file.read(16)
        if len(header) < 8:
            break  # a few stray bytes at the end harm nobody
        length = int(struct.unpack_from(">I", header)[0])
        if length == 0:  # "to the end of the file"
            return size
        if length == 1 and len(header) == 16:
            length = int(struct.unpack_from(">Q", header, 8)[0])
        if length < 8:
            break
        position += length
    return position


def _matroska_size(head: bytes) -> int | None:
    """End of the Segment element; None where it was written as unknown (live recordings)."""
    header_size, used = _ebml_number(head, 4)
    segment = 4 + used + header_size
    if head[segment : segment + 4] != b"\x18\x53\x80\x67" or len(head) < segment + 12:
        return None
    length, used = _ebml_number(head, segment + 4)
    if length == (1 << (7 * used)) - 1:
        return None
    return segment + 4 + used + length


def _ebml_number(data: bytes, offset: int) -> tuple[int, int]:
    """A variable-length number and how many bytes it takes."""
    first = data[offset] or 1
    length = 9 - first.bit_length()
    value = int.from_bytes(data[offset : offset + length], "big")
    return value & ((1 << (7 * length)) - 1), length
