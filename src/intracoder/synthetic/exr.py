"""Reads the uncompressed OpenEXR files that the renderer hands over: colour and mask in one, without another library.

Source: "OpenEXR file layout", openexr.com; single-part scan-line files without compression.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32

from intracoder.errors import MediaError

_MAGIC: Final = b"\x76\x2f\x31\x01"
_TYPES: Final[dict[int, np.dtype[Any]]] = {1: np.dtype("<f2"), 2: np.dtype("<f4")}
_MAX_SIDE: Final = 16_384


def read_channels(path: Path) -> dict[str, Float32[np.ndarray, "h w"]]:
    """All channels by name.

    Raises:
        MediaError: Another kind of EXR, or a damaged one.
    """
    data = path.read_bytes()
    try:
        return _parse(data)
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise MediaError(f"{path}: expected an uncompressed single-part EXR from the renderer: {error}") from error


def _parse(data: bytes) -> dict[str, Float32[np.ndarray, "h w"]]:
    """Header, table of rows, rows; ValueError and the like where they don't fit."""
    if data[:4] != _MAGIC or data[5] & 0x1A:
        raise ValueError("it is no single-part scan-line file")
    attributes, at = _attributes(data, 8)
    if attributes["compression"] != b"\0":
        raise ValueError(f"compression {attributes['compression']!r}")
    left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
    height, width = bottom - top + 1, right - left + 1
    if not (0 < height <= _MAX_SIDE and 0 < width <= _MAX_SIDE):
        raise ValueError(f"size {width}x{height}")
    channels = _channels(attributes["channels"])
    row_bytes = sum(kind.itemsize for _, kind in channels) * width
    start = at + 8 * height
    rows = np.frombuffer(data, np.uint8, height * (8 + row_bytes), start).reshape(height, 8 + row_bytes)
    order = rows[:, :4].copy().view("<i4")[:, 0] - top
    if not np.array_equal(np.sort(order), np.arange(height)):
        raise ValueError("its rows are not each there once")
    planes, begin = {}, 8
    for name, kind in channels:
        end = begin + kind.itemsize * width
        plane = np.empty((height, width), np.float32)
        plane[order] = rows[:, begin:end].copy().view(kind)
        planes[name] = plane
        begin = end
    return planes


def _attributes(data: bytes, at: int) -> tuple[dict[str, bytes], int]:
    """Header attributes, and where the table of rows begins."""
    found: dict[str, bytes] = {}
    while data[at]:
        name, at = _text(data, at)
        _, at = _text(data, at)
        (size,) = struct.unpack_from("<I", data, at)
        found[name] = data[at + 4 : at + 4 + size]
        at += 4 + size
    return found, at + 1


def _channels(data: bytes) -> list[tuple[str, np.dtype[Any]]]:
    """(name, type) in the file's order."""
    found: list[tuple[str, np.dtype[Any]]] = []
    at = 0
    while data[at]:
        name, at = _text(data, at)
        kind, _, across, down = struct.unpack_from("<iIii", data, at)
        if (across, down) != (1, 1):
            raise ValueError(f"channel {name} is subsampled")
        found.append((name, _TYPES[kind]))
        at += 16
    return found


def _text(data: bytes, at: int) -> tuple[str, int]:
    """A text that ends in a zero, and what is behind it."""
    end = data.index(b"\0", at)
    return data[at:end].decode("latin-1"), end + 1
