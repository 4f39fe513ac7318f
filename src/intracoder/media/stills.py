"""Single pictures: PNG, JPEG, WebP, BMP and TIFF in; PNG and JPEG out.

OpenCV decodes. It has no way to ask for a picture's size first, so the headers are parsed here and an oversized
picture is refused before any of it is decoded.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from intracoder.errors import MediaError
from intracoder.media.atomic import atomic_path, write_error
from intracoder.media.container import MAX_PIXELS, check_pixels, one_line, regular_file
from intracoder.records import Image

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
WRITE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})

_PNG = b"\x89PNG\r\n\x1a\n"
# start-of-frame markers: all of C0..CF but DHT (C4), JPG (C8) and DAC (CC)
_JPEG_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_COMMENT_MAX = 60_000


def still_kind(path: Path) -> str | None:
    """The format of a picture by its first bytes, never by its name; None where it isn't a picture we read.

    Raises:
        MediaError: ``path`` is not a regular file that can be read.
    """
    resolved = regular_file(path)
    try:
        with resolved.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise MediaError(f"{path}: can't be read: {one_line(error)}; check the permissions") from error
    return _kind(head)


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Reads a picture as RGB, upright by its EXIF orientation; alpha is dropped, 16 bits become 8.

    Raises:
        MediaError: missing, not a picture of a known format, larger than ``max_pixels``, or damaged.
    """
    resolved = regular_file(path)
    if resolved.stat().st_size > 8 * max_pixels + 2**20:
        raise MediaError(f"{path}: {resolved.stat().st_size} bytes is too much for a picture; scale it down first")
    try:
        data = resolved.read_bytes()
    except OSError as error:
        raise MediaError(f"{path}: can't be read: {one_line(error)}; check the permissions") from error
    kind = _kind(data)
    if kind is None:
        raise MediaError(f"{path}: expected a PNG, JPEG, WebP, BMP or TIFF picture; convert it to one of these")
    size = _header_size(kind, data)
    if size is None or min(size) < 1:
        raise MediaError(f"{path}: damaged {kind} picture: its header names no size; copy or export it again")
    check_pixels(*size, path, max_pixels=max_pixels)
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise MediaError(f"{path}: damaged {kind} picture: {one_line(error)}; copy or export it again") from error
    if decoded is None or sorted(decoded.shape[:2]) != sorted(size):
        raise MediaError(f"{path}: damaged {kind} picture: it can't be decoded; copy or export it again")
    return np.ascontiguousarray(decoded[:, :, ::-1], dtype=np.uint8)


def list_images(folder: Path) -> tuple[Path, ...]:
    """The pictures directly in ``folder``, by name, in the order people count: ``2.png`` before ``10.png``.

    Raises:
        MediaError: ``folder`` can't be read.
    """
    try:
        paths = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
    except OSError as error:
        raise MediaError(f"{folder}: can't be read: {one_line(error)}; check the name and the permissions") from error
    return tuple(sorted(paths, key=_natural_key))


def write_image(path: Path, image: Image, *, comment: str = "") -> None:
    """Writes a PNG (lossless) or a JPEG (quality 95, 4:4:4), whole or not at all; ``comment`` goes into the file.

    Raises:
        MediaError: another suffix, an empty image, or a folder or disk that can't be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITE_SUFFIXES:
        raise MediaError(f"{path}: pictures are written as .png or .jpg, got {suffix or 'no suffix'!r}; rename it")
    if image.size == 0:
        raise MediaError(f"{path}: expected a picture of at least 1x1, got {image.shape[1]}x{image.shape[0]}")
    options = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    is_encoded, encoded = cv2.imencode(suffix, image[:, :, ::-1], options if suffix != ".png" else [])
    if not is_encoded:
        raise MediaError(f"{path}: a picture of {image.shape[1]}x{image.shape[0]} can't be written as {suffix}")
    data = encoded.tobytes()
    if comment:
        data = _with_png_comment(data, comment) if suffix == ".png" else _with_jpeg_comment(data, comment)
    with atomic_path(path) as temporary:
        try:
            temporary.write_bytes(data)
        except OSError as error:
            raise write_error(path, error) from error


def read_image_comment(path: Path) -> str:
    """The comment that ``write_image`` put into a PNG or JPEG; empty where there is none."""
    data = regular_file(path).read_bytes()
    if data.startswith(_PNG):
        chunks = (body for name, body in _png_chunks(data) if name == b"iTXt" and body.startswith(b"Comment\0"))
        return next((body.split(b"\0", 5)[-1].decode("utf-8", "replace") for body in chunks), "")
    segments = (data[at : at + length] for marker, at, length in _jpeg_segments(data) if marker == 0xFE)
    return next((segment.decode("utf-8", "replace") for segment in segments), "")


def _natural_key(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sorts digits by value and text without case; the full name breaks ties."""
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [(int(part), "") if part.isascii() and part.isdigit() else (-1, part) for part in parts], path.name


def _kind(head: bytes) -> str | None:
    """Name of the format that begins like this."""
    if head.startswith(_PNG):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith(b"BM"):
        return "BMP"
    if head[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    return None


def _header_size(kind: str, data: bytes) -> tuple[int, int] | None:
    """(height, width) as the header says; None where it can't be found."""
    readers = {"PNG": _png_size, "JPEG": _jpeg_size, "WebP": _webp_size, "BMP": _bmp_size, "TIFF": _tiff_size}
    try:
        return readers[kind](data)
    except (struct.error, IndexError):
        return None


def _png_size(data: bytes) -> tuple[int, int] | None:
    """Source: ISO/IEC 15948 §11.2.2."""
    if data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, offset of the payload, its length) up to the first scan. Source: ITU-T T.81 annex B."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA or length < 2:
            return
        yield marker, at + 4, length - 2
        at += 2 + length


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    for marker, at, _ in _jpeg_segments(data):
        if marker in _JPEG_SOF:
            height, width = struct.unpack_from(">HH", data, at + 1)
            return height, width
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """Source: RFC 9649 §2.5-2.7."""
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(data[27:30], "little"), 1 + int.from_bytes(data[24:27], "little")
    if chunk == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if chunk == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None


def _bmp_size(data: bytes) -> tuple[int, int] | None:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # OS/2 header
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return abs(height), abs(width)


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    """Tags 256 and 257 of the first directory. Source: TIFF 6.0, section 2."""
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", data, 4)[0]
    count = struct.unpack_from(order + "H", data, at)[0]
    found: dict[int, int] = {}
    for entry in range(count):
        tag, kind = struct.unpack_from(order + "HH", data, at + 2 + 12 * entry)
        if tag in (256, 257):
            found[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, at + 10 + 12 * entry)[0]
    return (found[257], found[256]) if len(found) == 2 else None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_PNG)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def _with_png_comment(data: bytes, comment: str) -> bytes:
    """An iTXt chunk after IHDR. Source: ISO/IEC 15948 §11.3.3.4."""
    after_header = len(_PNG) + 25
    body = b"iTXtComment\0\0\0\0\0" + comment.encode()[:_COMMENT_MAX]
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:after_header] + chunk + data[after_header:]


def _with_jpeg_comment(data: bytes, comment: str) -> bytes:
    """A COM segment after the JFIF header, which must stay first. Source: ITU-T T.81 §B.2.4.5."""
    after_jfif = next((at + length for marker, at, length in _jpeg_segments(data) if marker == 0xE0), 2)
    text = comment.encode()[:_COMMENT_MAX]
    return data[:after_jfif] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + data[after_jfif:]
