"""Tensor files are hostile until read: a checkpoint, its state, its references, the second network."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from intracoder.errors import WeightsError
from intracoder.nets.tensor_file import Layout, read_tensors

LAYOUT = {"a": Layout("F32", (2, 3)), "b": Layout("I64", (None,))}
TENSORS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(4, dtype=np.int64)}


def with_header(change):
    """The good file with another header over the same data."""
    good = save(TENSORS)
    size = struct.unpack("<Q", good[:8])[0]
    header = json.loads(good[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + good[8 + size :]


def renamed(header):
    header["c"] = header.pop("a")


GOOD = save(TENSORS)
HOSTILE = {
    "empty": b"",
    "short": GOOD[:7],
    "header of 2^60 bytes": struct.pack("<Q", 1 << 60) + GOOD[8:],
    "header of the whole address space": b"\xff" * 8 + GOOD[8:],
    "header cut": GOOD[:40],
    "data cut": GOOD[:-1],
    "a tail": GOOD + b"\0",
    "no JSON": GOOD[:8] + b"{" * (len(GOOD) - 8),
    "brackets": struct.pack("<Q", 100_000) + b"[" * 100_000,
    "overlapping": with_header(lambda h: h["b"].update(data_offsets=h["a"]["data_offsets"])),
    "beyond the end": with_header(lambda h: h["b"].update(data_offsets=[24, 1 << 40])),
    "another type": with_header(lambda h: h["a"].update(dtype="I32")),
    "another shape": with_header(lambda h: h["a"].update(shape=[3, 2])),
    "a shape of 2^62": with_header(lambda h: h["a"].update(shape=[1 << 31, 1 << 31])),
    "another name": with_header(renamed),
    "a pickle": b"\x80\x02cos\nsystem\n(S'true'\ntR.",
    "not a number": save({**TENSORS, "a": np.full((2, 3), np.nan, np.float32)}),
}


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "t.safetensors"
    path.write_bytes(GOOD)
    found = read_tensors(path, LAYOUT)
    assert {name: value.tolist() for name, value in found.items()} == {n: v.tolist() for n, v in TENSORS.items()}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_one_line(tmp_path, kind):
    path = tmp_path / "t.safetensors"
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(WeightsError, match=r"t\.safetensors") as caught:
        read_tensors(path, LAYOUT)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_one_line(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(WeightsError, match="found none"):
            read_tensors(path, LAYOUT)
