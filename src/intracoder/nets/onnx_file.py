"""A look into an ONNX file before anything runs it: no tensor may be read from another file.

An ONNX tensor can name a path ("external data") that the runtime opens. Packaged networks need none, so one that has
such a tensor is refused. Only the message fields in which a tensor can hide are walked.

Source: onnx/onnx.proto (message and field numbers), protobuf encoding guide (wire format).
"""

from __future__ import annotations

from collections.abc import Iterator

from intracoder.errors import WeightsError

_DEPTH_MAX = 32
_EXTERNAL_DATA_FIELD = 13
_DATA_LOCATION_FIELD = 14
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


def refuse_external_tensors(data: bytes, *, where: str) -> None:
    """Raises WeightsError where an ONNX model keeps a tensor outside its own bytes, or can't be parsed.

    Args:
        data: The whole file.
        where: Its name, for the message.
    """
    try:
        if _has_external(memoryview(data), "model", depth=0):
            raise WeightsError(f"{where}: keeps tensors in another file; expected one self-contained ONNX file")
    except (IndexError, ValueError) as error:
        raise WeightsError(f"{where}: not a valid ONNX file: {error}") from error


def _has_external(message: memoryview, kind: str, *, depth: int) -> bool:
    """True where ``message`` of this kind holds, at any depth, a tensor with an outside location."""
    if depth > _DEPTH_MAX:
        raise ValueError(f"nested deeper than {_DEPTH_MAX}")
    for number, value in _fields(message):
        if kind == "tensor":
            if number == _EXTERNAL_DATA_FIELD or (number == _DATA_LOCATION_FIELD and value != 0):
                return True
            continue
        child = _CHILDREN[kind].get(number)
        if child is not None and isinstance(value, memoryview) and _has_external(value, child, depth=depth + 1):
            return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field number and value (number, or the bytes of a nested one) of a protobuf message, in file order."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire_type == 2:
            size, position = _varint(message, position)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"wire type {wire_type} at byte {position}")
        if position + size > len(message):
            raise ValueError(f"field {number} ends past the end of the file")
        yield number, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A base-128 number and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError(f"number longer than 10 bytes at byte {position}")
