"""Decoder of meshopt-compressed buffer views: attributes and triangles, without a compiled dependency.

Source: Khronos, glTF extension EXT_meshopt_compression, appendices A (bitstream) and B (filters), version 0 of the
attribute codec and version 1 of the triangle codec. Filters are not undone: what carries them (normals) isn't needed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Int64, UInt8, UInt32

from intracoder.errors import MediaError

_ATTRIBUTE_HEADER: Final = 0xA0
_TRIANGLE_HEADER: Final = 0xE1
_GROUP: Final = 16
"""Vertices whose bytes of one channel are packed together."""
_BLOCK_BYTES: Final = 8192
_BLOCK_MAX: Final = 256
_TAIL_MIN: Final = 32
_CODES_TAIL: Final = 16
_NEW_OR_FREE: Final = 15
_U32: Final = 0xFFFFFFFF


def decode_attributes(data: bytes, count: int, stride: int, *, where: str) -> UInt8[np.ndarray, "count stride"]:
    """Undoes the attribute codec.

    Args:
        data: The compressed view.
        count: Elements.
        stride: Bytes of an element, a multiple of 4, at most 256.
        where: Begins the error line.

    Raises:
        MediaError: The bytes are no such stream, or end too early.
    """
    if not 0 < stride <= 256 or stride % 4 or count < 0:
        raise MediaError(f"{where}: expected elements of 4 to 256 bytes, a multiple of 4, got {stride}")
    if len(data) < 1 + max(stride, _TAIL_MIN) or data[0] != _ATTRIBUTE_HEADER:
        raise MediaError(f"{where}: expected a meshopt attribute stream of version 0; export the avatar again")
    # zeros behind the end let a group near it be looked at before the end is checked
    padded = np.frombuffer(data + bytes(2 * _GROUP + 8), np.uint8)
    groups, end = _group_places(padded, data, count, stride, where)
    if len(data) - end != max(stride, _TAIL_MIN):
        raise MediaError(f"{where}: damaged meshopt attribute stream: {len(data) - end} bytes are left over")
    deltas = _unpacked(padded, groups)
    columns = _columns(deltas, count, stride)
    unzigzagged = (columns >> 1) ^ (0 - (columns & 1))
    unzigzagged[0] += np.frombuffer(data[-stride:], np.uint8)
    return np.cumsum(unzigzagged, axis=0, dtype=np.uint8) if count else columns


def _block_size(stride: int) -> int:
    """Elements of a block, all but the last."""
    return min(_BLOCK_BYTES // stride & ~(_GROUP - 1), _BLOCK_MAX)


def _group_places(
    padded: UInt8[np.ndarray, "_"], data: bytes, count: int, stride: int, where: str
) -> tuple[Int64[np.ndarray, "groups 2"], int]:
    """(packing 0..3, offset) of every group, in stream order, and where the stream ends.

    A packed group is as long as its escaped values are many, so each place follows from the one before; running
    sums of the escapes make that one subtraction a group.
    """
    escapes2, escapes4 = _escape_sums(padded)
    places: list[tuple[int, int]] = []
    at = 1
    for first in range(0, count, block := _block_size(stride)):
        group_count = -(-min(block, count - first) // _GROUP)
        header_bytes = -(-group_count // 4)
        for _ in range(stride):
            header = data[at : at + header_bytes]
            at += header_bytes
            if at > len(data):
                raise MediaError(f"{where}: damaged meshopt attribute stream: it ends too early")
            for k in range(group_count):
                packing = header[k >> 2] >> 2 * (k & 3) & 3
                places.append((packing, at))
                if packing == 1:
                    at += 4 + escapes2[at + 4] - escapes2[at]
                elif packing == 2:
                    at += 8 + escapes4[at + 8] - escapes4[at]
                elif packing == 3:
                    at += _GROUP
                if at > len(data):
                    raise MediaError(f"{where}: damaged meshopt attribute stream: it ends too early")
    return np.array(places, np.int64).reshape(-1, 2), at


def _escape_sums(padded: UInt8[np.ndarray, "_"]) -> tuple[list[int], list[int]]:
    """Running counts, before each byte, of 2-bit and of 4-bit values that say "the value follows"."""
    byte = np.arange(256)
    in2 = sum(((byte >> shift & 3) == 3).astype(np.int64) for shift in (0, 2, 4, 6))
    in4 = sum(((byte >> shift & 15) == 15).astype(np.int64) for shift in (0, 4))
    sums = [np.concatenate([[0], np.cumsum(np.asarray(table)[padded])]).tolist() for table in (in2, in4)]
    return sums[0], sums[1]


def _unpacked(padded: UInt8[np.ndarray, "_"], groups: Int64[np.ndarray, "groups 2"]) -> UInt8[np.ndarray, "groups 16"]:
    """The 16 values of every group."""
    values = np.zeros((len(groups), _GROUP), np.uint8)
    for packing, bits in ((1, 2), (2, 4)):
        chosen = groups[:, 0] == packing
        at = groups[chosen, 1]
        packed = padded[at[:, None] + np.arange(2 * bits)]
        shifts = np.arange(8 - bits, -1, -bits)
        small = (packed[:, :, None] >> shifts & (1 << bits) - 1).reshape(-1, _GROUP).astype(np.uint8)
        escaped = small == (1 << bits) - 1
        after = at[:, None] + 2 * bits + np.cumsum(escaped, axis=1) - 1
        values[chosen] = np.where(escaped, padded[np.maximum(after, 0)], small)
    raw = groups[:, 0] == 3
    values[raw] = padded[groups[raw, 1][:, None] + np.arange(_GROUP)]
    return values


def _columns(deltas: UInt8[np.ndarray, "groups 16"], count: int, stride: int) -> UInt8[np.ndarray, "count stride"]:
    """Puts the groups, which lie block by block and channel by channel, where their elements are."""
    out = np.zeros((count, stride), np.uint8)
    block, at = _block_size(stride), 0
    for first in range(0, count, block):
        size = min(block, count - first)
        group_count = -(-size // _GROUP)
        part = deltas[at : at + stride * group_count].reshape(stride, group_count * _GROUP)
        out[first : first + size] = part[:, :size].T
        at += stride * group_count
    return out


def decode_triangles(data: bytes, count: int, *, where: str) -> UInt32[np.ndarray, "count"]:
    """Undoes the triangle codec: ``count`` indices, three a triangle.

    Raises:
        MediaError: The bytes are no such stream, or end too early.
    """
    triangle_count = count // 3
    if count % 3 or len(data) < 1 + triangle_count + _CODES_TAIL or data[0] != _TRIANGLE_HEADER:
        raise MediaError(f"{where}: expected a meshopt triangle stream of version 1; export the avatar again")
    reader = _TriangleReader(data, triangle_count)
    try:
        out = [index for code in data[1 : 1 + triangle_count] for index in reader.triangle(code)]
    except IndexError as error:
        raise MediaError(f"{where}: damaged meshopt triangle stream: it ends too early") from error
    if reader.at != len(data) - _CODES_TAIL:
        raise MediaError(f"{where}: damaged meshopt triangle stream: bytes are left over")
    return np.array(out, np.int64).astype(np.uint32)


class _TriangleReader:
    """The codec's memory: 16 last edges, 16 last vertices, the next new vertex, the last one written out."""

    def __init__(self, data: bytes, triangle_count: int) -> None:
        self._data = data[: len(data) - _CODES_TAIL]
        self._tail = data[len(data) - _CODES_TAIL :]
        self.at = 1 + triangle_count
        self._edges = [(_U32, _U32)] * 16
        self._edge_at = 0
        self._vertices = [_U32] * 16
        self._vertex_at = 0
        self._next = 0
        self._last = 0

    def triangle(self, code: int) -> tuple[int, int, int]:
        """The triangle that ``code`` begins; IndexError where the data end."""
        return self._on_edge(code) if code < 0xF0 else self._apart(code)

    def _on_edge(self, code: int) -> tuple[int, int, int]:
        """One that shares a recent edge."""
        a, b = self._edges[self._edge_at - 1 - (code >> 4) & 15]
        third = code & 15
        if third == 0:
            c = self._new()
        elif third < 13:
            c = self._vertices[self._vertex_at - 1 - third & 15]
        else:
            # 13 and 14 step by one from the last free index
            c = self._free() if third == _NEW_OR_FREE else (self._last + 2 * third - 27) & _U32
            self._last = c
        if third == 0 or third >= 13:
            self._push_vertex(c)
        self._push_edge(c, b)
        self._push_edge(a, c)
        return a, b, c

    def _apart(self, code: int) -> tuple[int, int, int]:
        """One that shares no recent edge."""
        if code < 0xFE:
            more, first_is_new = self._tail[code & 15], True
        else:
            more, first_is_new = self._byte(), code == 0xFE
            if more == 0:
                self._next = 0
        second, third = more >> 4, more & 15
        # new vertices are numbered before free ones are read
        a = self._new() if first_is_new else 0
        b = self._new() if second == 0 else self._vertices[self._vertex_at - second & 15]
        c = self._new() if third == 0 else self._vertices[self._vertex_at - third & 15]
        may_be_free = code >= 0xFE
        if not first_is_new:
            a = self._last = self._free()
        if may_be_free and second == _NEW_OR_FREE:
            b = self._last = self._free()
        if may_be_free and third == _NEW_OR_FREE:
            c = self._last = self._free()
        self._push_vertex(a)
        if second == 0 or (may_be_free and second == _NEW_OR_FREE):
            self._push_vertex(b)
        if third == 0 or (may_be_free and third == _NEW_OR_FREE):
            self._push_vertex(c)
        self._push_edge(b, a)
        self._push_edge(c, b)
        self._push_edge(a, c)
        return a, b, c

    def _new(self) -> int:
        self._next += 1
        return self._next - 1

    def _free(self) -> int:
        """An index written as the zigzag difference to the last such one, 7 bits a byte."""
        value, shift = 0, 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128 or shift >= 35:
                break
        return (self._last + ((value >> 1) ^ -(value & 1))) & _U32

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _push_vertex(self, vertex: int) -> None:
        self._vertices[self._vertex_at] = vertex
        self._vertex_at = self._vertex_at + 1 & 15

    def _push_edge(self, a: int, b: int) -> None:
        self._edges[self._edge_at] = (a, b)
        self._edge_at = self._edge_at + 1 & 15
