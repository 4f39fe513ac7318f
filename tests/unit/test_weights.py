import shutil

import numpy as np
import pytest

from intracoder.errors import ChecksumError, WeightsError
from intracoder.nets.onnx_file import refuse_external_tensors
from intracoder.nets.runtime import onnx_session
from intracoder.nets.weights import load_array, read_manifest, resource, verify_weights, weights_folder


def _field(number: int, payload: bytes | int) -> bytes:
    if isinstance(payload, int):
        return bytes([number << 3, payload])
    key = number << 3 | 2
    head = bytes([key]) if key < 128 else bytes([key & 0x7F | 0x80, key >> 7])
    return head + bytes([len(payload)]) + payload


@pytest.fixture
def small_folder(tmp_path):
    """A weights folder with two of the packaged files."""
    names = ("mtcnn_pnet", "canonical_face_468")
    text = (weights_folder() / "manifest.toml").read_text(encoding="utf-8")
    tables = ["[" + t for t in text.split("\n[")[1:]]
    kept = [t for t in tables if t[1:].split("]")[0] in names]
    (tmp_path / "manifest.toml").write_text("\n".join(kept), encoding="utf-8")
    for name in names:
        shutil.copy(resource(name), tmp_path)
    return tmp_path


def test_every_packaged_file_has_an_entry_and_its_checksum():
    entries = verify_weights()
    kinds = ("*.onnx", "*.npy", "*.safetensors")
    assert len(entries) == sum(len(list(weights_folder().glob(kind))) for kind in kinds)
    assert {e.licence for e in entries} == {"MIT", "Apache-2.0", "CC0-1.0", "BSD-2-Clause"}
    assert all(e.role and e.origin and e.inputs and e.outputs for e in entries)


def test_changed_byte_is_a_checksum_error(small_folder):
    assert len(verify_weights(folder=small_folder)) == 2
    path = small_folder / "mtcnn_pnet.onnx"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(ChecksumError, match=r"mtcnn_pnet\.onnx: expected sha256 22d29c"):
        onnx_session("mtcnn_pnet", folder=small_folder)
    with pytest.raises(ChecksumError):
        verify_weights(folder=small_folder)


def test_stray_missing_and_unknown_files_are_named(small_folder):
    (small_folder / "other.onnx").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"without a manifest entry: other\.onnx"):
        verify_weights(folder=small_folder)
    (small_folder / "mtcnn_pnet.onnx").unlink()
    with pytest.raises(WeightsError, match="missing"):
        resource("mtcnn_pnet", folder=small_folder)
    with pytest.raises(WeightsError, match="not in the manifest"):
        resource("nothing")


@pytest.mark.parametrize(
    "text", ["[a", "[a]\nfile = 3", "[a]\nfile = 'x'", None, "[a]\n" + "\n".join(
        f"{k} = '../x'" for k in ("file", "sha256", "role", "licence", "origin", "inputs", "outputs"))]
)  # fmt: skip
def test_bad_manifests_are_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "manifest.toml").write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match=r"manifest\.toml"):
        read_manifest(tmp_path)


def test_external_tensors_are_refused_wherever_they_hide():
    plain = _field(4, b"\x00\x00\x80?")
    outside = _field(13, _field(1, b"location") + _field(2, b"/etc/passwd")) + _field(14, 1)
    for tensor, is_refused in ((plain, False), (outside, True), (_field(14, 1), True)):
        in_graph = _field(5, tensor)
        in_node = _field(1, _field(5, _field(5, tensor)))
        in_subgraph = _field(1, _field(5, _field(6, _field(5, tensor))))
        for graph in (in_graph, in_node, in_subgraph):
            model = _field(1, 8) + _field(7, graph)
            if is_refused:
                with pytest.raises(WeightsError, match="another file"):
                    refuse_external_tensors(model, where="x.onnx")
            else:
                refuse_external_tensors(model, where="x.onnx")


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x3a\x50abc", b"#EXTM3U\nhttp://x\n", b"\x80" * 12])
def test_not_onnx_is_refused(data):
    with pytest.raises(WeightsError, match="not a valid ONNX file"):
        refuse_external_tensors(data, where="x.onnx")


def test_canonical_face_is_centimetres_facing_the_viewer():
    canonical = load_array("canonical_face_468")
    assert canonical.shape == (468, 3)
    height = canonical[10, 1] - canonical[152, 1]
    assert 15 < height < 20
    assert canonical[4, 2] == canonical[:, 2].max()


def test_net_runs_batches_and_names_its_outputs():
    net = onnx_session("mtcnn_rnet", threads=1)
    assert net.output_names == ("box", "score")
    box, score = net.run(np.zeros((3, 3, 24, 24), np.float32))
    assert box.shape == (3, 4)
    np.testing.assert_allclose(score.sum(1), 1, atol=1e-6)
