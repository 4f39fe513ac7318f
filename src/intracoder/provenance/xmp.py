"""Puts an XMP packet into a finished MP4, MOV, PNG or JPEG file, before it is signed."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from intracoder.errors import ProvenanceError

_MP4_UUID = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
_PNG_HEADER = b"\x89PNG\r\n\x1a\n"
_IHDR_END = 8 + 25
_JPEG_NAME = b"http://ns.adobe.com/xap/1.0/\0"


def add_xmp(path: Path, packet: bytes) -> None:
    """Adds ``packet`` to the file in place; the file must not be published yet.

    Source: ISO 16684-3 (XMP part 3): uuid box at the end of an ISO base media file, iTXt chunk of a PNG, APP1
    segment of a JPEG.

    Raises:
        ProvenanceError: another kind of file, or one that can't be written.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
        if head[4:8] in (b"ftyp", b"wide", b"moov", b"mdat"):
            with path.open("ab") as file:
                file.write(struct.pack(">I4s16s", 24 + len(packet), b"uuid", _MP4_UUID) + packet)
        elif head.startswith(_PNG_HEADER):
            data = path.read_bytes()
            path.write_bytes(data[:_IHDR_END] + _png_chunk(packet) + data[_IHDR_END:])
        elif head.startswith(b"\xff\xd8\xff"):
            data = path.read_bytes()
            at = 2 + (2 + int.from_bytes(data[4:6], "big") if data[2:4] == b"\xff\xe0" else 0)  # JFIF stays first
            path.write_bytes(data[:at] + _jpeg_segment(packet) + data[at:])
        else:
            raise ProvenanceError(f"{path.name}: XMP: expected MP4, MOV, PNG or JPEG, got {head!r}")
    except OSError as error:
        raise ProvenanceError(f"{path.name}: XMP can't be written: {error.strerror}") from error


def _png_chunk(packet: bytes) -> bytes:
    """An uncompressed iTXt chunk."""
    body = b"iTXt" + b"XML:com.adobe.xmp\0\0\0\0\0" + packet
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def _jpeg_segment(packet: bytes) -> bytes:
    """An APP1 segment."""
    return b"\xff\xe1" + struct.pack(">H", 2 + len(_JPEG_NAME) + len(packet)) + _JPEG_NAME + packet
