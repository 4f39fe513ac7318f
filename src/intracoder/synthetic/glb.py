"""Binary glTF files: container, JSON, buffer views, accessors. Hostile until parsed.

Source: Khronos, glTF 2.0 specification, §3.6 (accessors) and §4.4 (GLB layout); EXT_meshopt_compression.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from intracoder.errors import MediaError
from intracoder.synthetic.meshopt import decode_attributes, decode_triangles

_MAX_BYTES: Final = 256 * 2**20
_MAX_ELEMENTS: Final = 4_000_000
_COMPONENTS: Final[Mapping[object, type[Any]]] = {
    5120: np.int8,
    5121: np.uint8,
    5122: np.int16,
    5123: np.uint16,
    5125: np.uint32,
    5126: np.float32,
}
_WIDTHS: Final[Mapping[object, int]] = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_MESHOPT: Final = "EXT_meshopt_compression"


class Glb:
    """One parsed file; views are decompressed when first asked for.

    Raises:
        MediaError: on any access that the file has no sound answer for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            size = path.stat().st_size
            if size > _MAX_BYTES:
                raise MediaError(f"{path}: {size} bytes is too much for an avatar; expected a GLB below 256 MiB")
            data = path.read_bytes()
        except OSError as error:
            raise MediaError(f"{path}: can't be read: {error.strerror or error}; check the assets folder") from error
        self.json, self._binary = _chunks(path, data)
        self._views: dict[int, tuple[bytes, int]] = {}

    def fail(self, what: str) -> MediaError:
        """The error line for this file."""
        return MediaError(f"{self.path}: not a usable GLB: {what}; export or fetch the avatar again")

    def table(self, name: str) -> list[dict[str, Any]]:
        """A top-level array of objects, empty where it is missing."""
        found = self.json.get(name, [])
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise self.fail(f"{name} is no list of objects")
        return found

    def entry(self, name: str, index: object) -> dict[str, Any]:
        """One object of a top-level array."""
        table = self.table(name)
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(table):
            raise self.fail(f"{name}[{index!r}] does not exist")
        return table[index]

    def integer(self, table: Mapping[str, Any], key: str, default: int | None = None) -> int:
        """A count or an offset: never negative."""
        value = table.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.fail(f"{key} is {value!r}, expected a whole number")
        return value

    def text(self, table: Mapping[str, Any], key: str, default: str | None = None) -> str:
        """A string."""
        value = table.get(key, default)
        if not isinstance(value, str):
            raise self.fail(f"{key} is {value!r}, expected text")
        return value

    def group(self, table: Mapping[str, Any], key: str) -> dict[str, Any]:
        """An object inside another."""
        value = table.get(key)
        if not isinstance(value, dict):
            raise self.fail(f"{key} is {value!r}, expected an object")
        return value

    def entries(self, table: Mapping[str, Any], key: str) -> list[Any]:
        """A list."""
        value = table.get(key)
        if not isinstance(value, list):
            raise self.fail(f"{key} is {value!r}, expected a list")
        return value

    def view(self, index: object) -> tuple[bytes, int]:
        """A buffer view's bytes, decompressed, and its stride (0: packed)."""
        entry = self.entry("bufferViews", index)
        key = int(str(index))
        if key not in self._views:
            extensions = entry.get("extensions")
            packed = extensions.get(_MESHOPT) if isinstance(extensions, dict) else None
            if isinstance(packed, dict):
                self._views[key] = self._decompressed(packed, f"{self.path}: view {key}")
            else:
                self._views[key] = self._bytes(entry), self.integer(entry, "byteStride", 0)
        return self._views[key]

    def accessor(self, index: object) -> np.ndarray:
        """An accessor's values: (count, width), or (count,) for scalars; normalised integers become float64."""
        entry = self.entry("accessors", index)
        kind, shape = entry.get("componentType"), entry.get("type")
        if kind not in _COMPONENTS or shape not in _WIDTHS:
            raise self.fail(f"accessor {index} has component type {kind!r} and type {shape!r}")
        if "sparse" in entry or "bufferView" not in entry:
            raise self.fail(f"accessor {index} is sparse, which isn't read")
        dtype: np.dtype[Any] = np.dtype(_COMPONENTS[kind])
        width = _WIDTHS[shape]
        count = self.integer(entry, "count")
        data, stride = self.view(entry["bufferView"])
        item = dtype.itemsize * width
        stride = stride or item
        offset = self.integer(entry, "byteOffset", 0)
        if not 1 <= count <= _MAX_ELEMENTS or stride < item or offset + stride * (count - 1) + item > len(data):
            raise self.fail(f"accessor {index} reaches beyond its view")
        rows = np.ndarray((count, item), np.uint8, data, offset, (stride, 1))
        values = np.ascontiguousarray(rows).view(dtype)
        if dtype.kind == "f" and not np.isfinite(values).all():
            raise self.fail(f"accessor {index} holds numbers that are not finite")
        if entry.get("normalized") and dtype.kind in "iu":
            values = np.maximum(values / np.iinfo(dtype).max, -1.0)
        return values if width > 1 else values[:, 0]

    def numbers(self, table: Mapping[str, Any], key: str, default: Sequence[float]) -> list[float]:
        """A list of finite numbers as long as ``default``."""
        value = table.get(key, default)
        fits = isinstance(value, list | tuple) and len(value) == len(default)
        if not fits or not all(type(v) in (int, float) and math.isfinite(v) for v in value):
            raise self.fail(f"{key} is {value!r}, expected {len(default)} numbers")
        return [float(v) for v in value]

    def _decompressed(self, packed: Mapping[str, Any], where: str) -> tuple[bytes, int]:
        """What a compressed view holds, and its stride."""
        count, stride = self.integer(packed, "count"), self.integer(packed, "byteStride")
        if count > _MAX_ELEMENTS or count * stride > _MAX_BYTES:
            raise self.fail(f"{count} elements of {stride} bytes in a view")
        data = self._bytes(packed)
        mode = packed.get("mode")
        if packed.get("filter", "NONE") != "NONE":
            raise self.fail(f"filter {packed.get('filter')!r} on a view that is needed")
        if mode == "ATTRIBUTES":
            return decode_attributes(data, count, stride, where=where).tobytes(), stride
        if mode == "TRIANGLES" and stride in (2, 4):
            indices = decode_triangles(data, count, where=where)
            return indices.astype(np.uint16 if stride == 2 else np.uint32).tobytes(), 0
        raise self.fail(f"meshopt mode {mode!r} with {stride} bytes an element")

    def _bytes(self, entry: Mapping[str, Any]) -> bytes:
        """A range of the file's binary chunk."""
        if self.integer(entry, "buffer", 0) != 0:
            raise self.fail("it points to a buffer outside the file")
        offset, length = self.integer(entry, "byteOffset", 0), self.integer(entry, "byteLength")
        if offset + length > len(self._binary):
            raise self.fail(f"bytes {offset}..{offset + length} of a binary part of {len(self._binary)}")
        return self._binary[offset : offset + length]


def _chunks(path: Path, data: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON object and the binary chunk."""
    bad = MediaError(f"{path}: expected a binary glTF 2 file (.glb), got something else; check the assets folder")
    if len(data) < 20:
        raise bad
    magic, version, total, length, kind = struct.unpack_from("<4sIII4s", data)
    if magic != b"glTF" or version != 2 or kind != b"JSON" or total != len(data) or 20 + length > len(data):
        raise bad
    try:
        parsed = json.loads(data[20 : 20 + length])
    except (ValueError, RecursionError) as error:
        raise MediaError(f"{path}: damaged GLB: its JSON can't be read; fetch the avatar again") from error
    at = 20 + length
    if not isinstance(parsed, dict) or len(data) < at + 8:
        raise bad
    size, kind = struct.unpack_from("<I4s", data, at)
    if kind != b"BIN\0" or at + 8 + size > len(data):
        raise bad
    return parsed, data[at + 8 : at + 8 + size]
