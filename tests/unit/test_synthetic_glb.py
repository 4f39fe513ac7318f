"""GLB files and meshopt streams: small ones built here, sound and hostile."""

import json
import struct

import cv2
import numpy as np
import pytest

from intracoder.errors import MediaError
from intracoder.synthetic.avatar import BODY, PARTS, load_avatar
from intracoder.synthetic.glb import Glb
from intracoder.synthetic.meshopt import decode_attributes, decode_triangles


def glb_bytes(content, binary):
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


class Builder:
    """Collects accessors into one file."""

    def __init__(self):
        self.binary = b""
        self.content = {"accessors": [], "bufferViews": []}

    def view(self, data):
        self.content["bufferViews"].append({"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)})
        self.binary += data + b"\0" * (-len(data) % 4)
        return len(self.content["bufferViews"]) - 1

    def accessor(self, array, component, shape):
        view = self.view(np.ascontiguousarray(array).tobytes())
        entry = {"bufferView": view, "componentType": component, "type": shape, "count": len(array)}
        self.content["accessors"].append(entry)
        return len(self.content["accessors"]) - 1

    def floats(self, array, shape):
        return self.accessor(np.asarray(array, np.float32), 5126, shape)

    def write(self, path):
        path.write_bytes(glb_bytes(self.content, self.binary))
        return path


def toy_avatar():
    """Every part is one triangle; the neck joint is 1 m above the hips."""
    made = Builder()
    position = made.floats([[0, 1, 0], [1, 1, 0], [0, 2, 0]], "VEC3")
    moved = made.floats([[0, 0, 0], [0, 0, 0.5], [0, 0, 0]], "VEC3")
    attributes = {
        "POSITION": position,
        "TEXCOORD_0": made.floats([[0, 0], [1, 0], [0, 1]], "VEC2"),
        "JOINTS_0": made.accessor(np.array([[1, 0, 0, 0]] * 3, np.uint8), 5121, "VEC4"),
        "WEIGHTS_0": made.floats([[2, 0, 0, 0]] * 3, "VEC4"),
    }
    indices = made.accessor(np.array([0, 1, 2], np.uint16), 5123, "SCALAR")
    lift = np.eye(4)
    lift[1, 3] = -1
    inverse = made.floats(np.stack([np.eye(4).T.ravel(), lift.T.ravel()]), "MAT4")
    primitive = {"attributes": attributes, "indices": indices, "targets": [{"POSITION": moved}], "material": 0}
    names = {"targetNames": ["h_expressions.AE_AA_h"]}
    picture = cv2.imencode(".png", np.full((64, 64, 3), (10, 20, 30), np.uint8))[1].tobytes()
    made.content |= {
        "nodes": [
            {"name": "Hips", "children": [1]},
            {"name": "Neck", "translation": [0, 1, 0]},
            *({"mesh": k, "skin": 0} for k in range(len(PARTS))),
        ],
        "skins": [{"joints": [0, 1], "inverseBindMatrices": inverse}],
        "meshes": [{"name": name, "primitives": [primitive], "extras": names} for name in PARTS],
        "images": [{"name": "x", "bufferView": made.view(picture)}],
        "textures": [{"source": 0}],
        "materials": [
            {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}, "normalTexture": {"index": 0}},
        ],
    }
    return made


def test_a_tiny_avatar_is_read(tmp_path):
    avatar = load_avatar(toy_avatar().write(tmp_path / "a.glb"))
    body = avatar.meshes[BODY]
    assert avatar.joint_names == ("Hips", "Neck")
    np.testing.assert_allclose(avatar.joint_positions["Neck"], [0, 1, 0])
    np.testing.assert_allclose(body.positions, [[0, 1, 0], [1, 1, 0], [0, 2, 0]])
    np.testing.assert_allclose(body.weights.sum(1), 1)
    np.testing.assert_allclose(body.morphs["AE_AA"][1], [0, 0, 0.5])
    assert avatar.color.shape == (64, 64, 3)
    assert avatar.color[0, 0].tolist() == [30, 20, 10], "RGB"
    assert avatar.wig is None


def spoilt(change):
    made = toy_avatar()
    change(made.content)
    return made


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["accessors"][0].update(count=10**9),
        lambda c: c["accessors"][0].update(count=-1),
        lambda c: c["accessors"][0].update(byteOffset=20),
        lambda c: c["accessors"][0].update(componentType=9),
        lambda c: c["accessors"][0].update(sparse={}),
        lambda c: c["bufferViews"][0].update(byteLength=10**9),
        lambda c: c["bufferViews"][0].update(buffer=1),
        lambda c: c["bufferViews"][0].update(byteStride=1),
        lambda c: c["bufferViews"][0].update(byteOffset="0"),
        lambda c: c["nodes"][1].update(children=[0]),
        lambda c: c["nodes"][0].update(children=7),
        lambda c: c["nodes"][1].update(translation=[0, 1]),
        lambda c: c["nodes"][1].update(translation=[0, float("inf"), 0]),
        lambda c: c["skins"][0].update(joints=[0, 99]),
        lambda c: c["meshes"].pop(),
        lambda c: c["meshes"][0].update(primitives=[]),
        lambda c: c["meshes"][0].update(extras={"targetNames": []}),
        lambda c: c["materials"].clear(),
        lambda c: c["textures"][0].update(source=5),
        lambda c: c["images"][0].update(bufferView=0),
        lambda c: c.update(nodes={}),
        lambda c: c["meshes"][0]["primitives"][0].update(indices=None),
    ],
)
def test_hostile_avatars_are_one_line(tmp_path, change):
    path = spoilt(change).write(tmp_path / "bad.glb")
    with pytest.raises(MediaError, match=r"bad\.glb") as caught:
        load_avatar(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"glTF", b"PNG" * 20, glb_bytes([], b""), glb_bytes({}, b"")[:-4], b"glTF" + b"\xff" * 40],
)
def test_other_files_are_one_line(tmp_path, data):
    path = tmp_path / "other.glb"
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"other\.glb"):
        load_avatar(path)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(MediaError, match="can't be read"):
        Glb(tmp_path / "none.glb")


def packed_bytes(values):
    """One channel of up to 256 values, each group in the smallest packing that the attribute codec has."""
    groups = [list(values[k : k + 16]) + [0] * (16 - len(values[k : k + 16])) for k in range(0, len(values), 16)]
    header, body = [0] * -(-len(groups) // 4), b""
    for k, group in enumerate(groups):
        if not any(group):
            packing = 0
        elif sum(v >= 3 for v in group) < 6:
            packing, bits = 1, 2
        elif sum(v >= 15 for v in group) < 6:
            packing, bits = 2, 4
        else:
            packing = 3
        header[k // 4] |= packing << 2 * (k % 4)
        if packing in (1, 2):
            most = (1 << bits) - 1
            small = np.array([min(v, most) for v in group])
            digits = (small[:, None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8)
            body += np.packbits(digits.ravel()).tobytes() + bytes(v for v in group if v >= most)
        elif packing == 3:
            body += bytes(group)
    return bytes(header) + body


def encoded_attributes(array):
    """Version 0 of the attribute codec. Source: EXT_meshopt_compression, appendix A, mode 0."""
    count, stride = array.shape
    block = min(8192 // stride & ~15, 256)
    signed = np.diff(np.vstack([array[:1], array]).astype(np.int64), axis=0).astype(np.int8)
    zigzag = ((signed.astype(np.int64) << 1) ^ (signed.astype(np.int64) >> 7)).astype(np.uint8)
    out = b"\xa0"
    for first in range(0, count, block):
        out += b"".join(packed_bytes(zigzag[first : first + block, k].tolist()) for k in range(stride))
    return out + bytes(max(32 - stride, 0)) + array[0].tobytes()


@pytest.mark.parametrize(
    ("count", "stride", "spread"), [(1, 4, 9), (16, 4, 1), (700, 8, 3), (513, 4, 40), (300, 64, 255)]
)
def test_attributes_survive_the_codec(count, stride, spread):
    rng = np.random.default_rng(count)
    steps = rng.integers(-spread, spread + 1, (count, stride)) * (rng.random((count, stride)) < 0.6)
    array = np.cumsum(steps, axis=0).astype(np.uint8)
    data = encoded_attributes(array)
    np.testing.assert_array_equal(decode_attributes(data, count, stride, where="x"), array)


def test_damaged_attribute_streams_are_refused():
    array = np.random.default_rng(0).integers(0, 255, (100, 8)).astype(np.uint8)
    data = encoded_attributes(array)
    for broken in (b"", b"\xa1" + data[1:], data[:-1], data + b"\0", data[:60], b"\xa0" + b"\xff" * 50):
        with pytest.raises(MediaError, match="meshopt attribute"):
            decode_attributes(broken, 100, 8, where="x")
    with pytest.raises(MediaError, match="multiple of 4"):
        decode_attributes(data, 100, 7, where="x")
    with pytest.raises(MediaError):
        decode_attributes(data, 10**6, 8, where="x")


def triangle_stream(codes, data=b"", tail=bytes(16)):
    return b"\xe1" + bytes(codes) + bytes(data) + tail


def test_triangles_of_every_code():
    # three new vertices; one new vertex on the last edge; the free index 0 on an edge; all free; a reset
    codes = [0xF0, 0x00, 0x0F, 0xFF, 0xFE]
    data = [0, 0xFF, 8, 2, 2, 0x00]
    got = decode_triangles(triangle_stream(codes, data), 15, where="x").reshape(-1, 3)
    assert got.tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 0], [4, 5, 6], [0, 1, 2]]


def test_damaged_triangle_streams_are_refused():
    good = triangle_stream([0xF0])
    assert decode_triangles(good, 3, where="x").tolist() == [0, 1, 2]
    for broken in (b"", b"\xe0" + good[1:], good[:-1], good + b"\0", triangle_stream([0xFF], [0xFF])):
        with pytest.raises(MediaError, match="meshopt triangle"):
            decode_triangles(broken, 3, where="x")
    with pytest.raises(MediaError):
        decode_triangles(good, 4, where="x")


def test_a_compressed_view_is_read(tmp_path):
    made = Builder()
    array = np.arange(40, dtype=np.float32)[:, None]
    packed = encoded_attributes(array.view(np.uint8))
    made.view(packed)
    extension = {"buffer": 0, "byteLength": len(packed), "byteStride": 4, "count": 40, "mode": "ATTRIBUTES"}
    made.content["bufferViews"][0]["extensions"] = {"EXT_meshopt_compression": extension}
    made.content["accessors"].append({"bufferView": 0, "componentType": 5126, "type": "SCALAR", "count": 40})
    np.testing.assert_array_equal(Glb(made.write(tmp_path / "c.glb")).accessor(0), array[:, 0])
    for change in ({"mode": "OTHER"}, {"filter": "OCTAHEDRAL"}, {"count": 10**8}, {"byteLength": 10**8}):
        made.content["bufferViews"][0]["extensions"] = {"EXT_meshopt_compression": extension | change}
        with pytest.raises(MediaError, match=r"c\.glb"):
            Glb(made.write(tmp_path / "c.glb")).accessor(0)
