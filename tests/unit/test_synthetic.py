"""The pure parts of the generator: tracks, camera, topology, heads, faces on heads, occluders, suites, plans."""

import dataclasses
import json
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from intracoder.errors import ConfigError, MediaError
from intracoder.records import Image
from intracoder.synthetic.avatar import BODY, PARTS, Avatar, Mesh
from intracoder.synthetic.camera import Camera, project, to_scene
from intracoder.synthetic.exposure import measured_exposure, tonemap
from intracoder.synthetic.exr import read_channels
from intracoder.synthetic.generate import generate
from intracoder.synthetic.head import JOINTS, HeadPart, head_of, pose_head
from intracoder.synthetic.hybrid import fit_similarity, put_face_on
from intracoder.synthetic.labels import points68_keys
from intracoder.synthetic.occluder import Occluder, solid_of
from intracoder.synthetic.region import FaceRegion, face_weights, head_weights
from intracoder.synthetic.suite import Suite, Sweep
from intracoder.synthetic.topology import Topology, corner_vertices, find_vertices, uv_keys, weld
from intracoder.synthetic.tracks import perform, rotation_of

# ---- tracks


def curves(track):
    return np.array([[m.yaw_deg, m.pitch_deg, m.roll_deg, *m.gaze_deg, *m.morphs.values()] for m in track])


def test_the_same_seed_gives_the_same_performance():
    first, again, other = (curves(perform(seed, 120)) for seed in (11, 11, 12))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[:, 0] - other[:, 0]).max() > 1


@pytest.mark.parametrize("seed", range(5))
def test_performances_are_smooth_and_in_range(seed):
    track = perform(seed, 250, yaw_deg=30.0, pitch_deg=9.0, roll_deg=6.0)
    yaw, pitch, roll = (np.array([getattr(m, f"{name}_deg") for m in track]) for name in ("yaw", "pitch", "roll"))
    for angle, most in ((yaw, 30), (pitch, 9), (roll, 6)):
        # two octaves of noise, and splines overshoot their knots a little
        assert np.abs(angle).max() < 1.6 * most
        assert np.abs(angle).max() > 0.25 * most
        assert np.abs(np.diff(angle)).max() < 0.3 * most, "no jump between frames"
    gaze = np.array([m.gaze_deg for m in track])
    assert np.abs(gaze[:, 0]).max() <= 22
    assert np.abs(gaze[:, 1]).max() <= 12
    weights = np.array([list(m.morphs.values()) for m in track])
    assert weights.min() >= 0
    assert weights.max() <= 1.05


@pytest.mark.parametrize("count", [1, 2, 13])
def test_short_performances_exist(count):
    assert len(perform(5, count)) == count


def test_convention_yaw_turns_to_the_viewers_right_and_pitch_down():
    nose = np.array([0.0, 0.0, 1.0])
    camera = Camera(position=(0.0, -3.0, 0.0), target=(0.0, 0.0, 0.0))
    straight, turned, nodded = (
        project(camera, (rotation_of(*a) @ nose)[None], 100)[0][0]
        for a in ((0.0, 0.0, 0.0), (20.0, 0.0, 0.0), (0.0, 20.0, 0.0))
    )
    assert turned[0] > straight[0] + 1
    assert nodded[1] > straight[1] + 1
    top = np.array([0.0, 1.0, 0.0])
    assert project(camera, (rotation_of(0.0, 0.0, -20.0) @ top)[None], 100)[0][0][0] > 51, (
        "minus: clockwise for the viewer"
    )


# ---- camera


def test_the_camera_sees_its_target_in_the_middle():
    camera = Camera(lens_mm=72.0, position=(0.0, -2.0, 0.0), target=(0.0, 0.0, 0.0))
    points, depth = project(camera, np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 1.0]]), 200)
    np.testing.assert_allclose(points[0], [100, 100])
    # 72 mm on 36 mm: 0.1 m at 2 m is a tenth of the picture
    np.testing.assert_allclose(points[1], [120, 100])
    np.testing.assert_allclose(points[2], [100, 80])
    np.testing.assert_allclose(depth, [2, 2, 2, 1])


def test_scene_axes():
    np.testing.assert_array_equal(to_scene(np.array([[1.0, 2.0, 3.0]])), [[1, -3, 2]])


def test_a_camera_above_its_target_is_refused():
    with pytest.raises(ConfigError, match=r"camera\.position"):
        Camera(position=(0.0, 0.0, 1.0), target=(0.0, 0.0, 0.0))


# ---- topology and heads on a toy


def toy_mesh(offset=0.0, morph=0.01):
    """Two triangles that share an edge on the mesh but not in the texture."""
    positions = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], float) * 0.1
    uv = np.array([[0, 0], [0.2, 0], [0, 0.2], [0.6, 0], [0.4, 0.2], [0.6, 0.2]])
    return Mesh(
        positions=positions + offset,
        uv=np.round(uv * 65535) / 65535,
        joints=np.full((6, 4), JOINTS.index("Head"), np.int64),
        weights=np.tile([1.0, 0, 0, 0], (6, 1)),
        triangles=np.array([[0, 1, 2], [3, 5, 4]]),
        morphs={"AE_AA": np.full((6, 3), morph, np.float32)},
    )


def toy_avatar(offset=0.0, color=100):
    joints = {name: np.array([0.0, 0.1 * k, 0.0]) for k, name in enumerate(JOINTS)}
    joints |= {"LeftEye": np.array([0.03, 0.6, 0.1]), "RightEye": np.array([-0.03, 0.6, 0.1])}
    picture: Image = np.full((64, 64, 3), color, np.uint8)
    return Avatar(
        meshes={name: toy_mesh(offset) for name in PARTS},
        joint_names=JOINTS,
        joint_positions=joints,
        parents={"Head": "Neck"},
        color=picture,
        normal=picture,
    )


def test_seams_are_welded():
    groups = weld(np.array([[0.0, 0, 0], [1, 0, 0], [0, 0, 1e-6], [1, 0, 0]]))
    assert groups.tolist() == [0, 1, 0, 1]


def test_the_topology_is_welded_and_named_by_texture():
    topology = Topology.of(toy_avatar())
    part = topology.parts["h_L_eye"]
    assert len(part.keys) == 4, "six corners, four vertices"
    assert part.triangles.shape == (2, 3)
    assert len(set(part.triangles[0]) & set(part.triangles[1])) == 2
    mesh = toy_mesh()
    found = find_vertices(mesh, part, where="x")
    np.testing.assert_array_equal(uv_keys(mesh.uv[found]), part.keys)
    keys = uv_keys(mesh.uv)
    assert corner_vertices(part, keys[[1, 3]])[0] == corner_vertices(part, keys[[1, 3]])[1], "both sides of the seam"


def test_another_uv_layout_is_one_line():
    topology = Topology.of(toy_avatar())
    other = dataclasses.replace(toy_mesh(), uv=toy_mesh().uv + 0.01)
    with pytest.raises(MediaError, match="UV layout"):
        find_vertices(other, topology.parts[BODY], where="somebody")
    with pytest.raises(MediaError, match="68 points"):
        corner_vertices(topology.parts[BODY], np.array([12345]))


def test_a_head_turns_about_its_neck_and_moves_its_mouth():
    avatar = toy_avatar()
    head = head_of(avatar, Topology.of(avatar), "toy")
    still = pose_head(head, {}, {})
    np.testing.assert_allclose(still.positions[BODY], head.parts[BODY].positions)
    opened = pose_head(head, {}, {"AE_AA": 0.5, "unknown": 1.0})
    np.testing.assert_allclose(opened.positions[BODY] - still.positions[BODY], 0.005, atol=1e-7)
    turned = pose_head(head, {"Neck": rotation_of(90.0, 0.0, 0.0)}, {})
    x, y, z = head.parts[BODY].positions.T
    np.testing.assert_allclose(turned.positions[BODY], np.stack([z, y, -x], 1), atol=1e-12)


def test_a_similarity_is_found():
    rng = np.random.default_rng(3)
    points, rotation = rng.normal(size=(20, 3)), rotation_of(20.0, -10.0, 5.0)
    scale, found, shift = fit_similarity(points, 1.3 * points @ rotation.T + [1, 2, 3], rng.random(20) + 0.1)
    assert scale == pytest.approx(1.3)
    np.testing.assert_allclose(found, rotation, atol=1e-12)
    np.testing.assert_allclose(shift, [1, 2, 3], atol=1e-9)


def test_a_face_on_a_head_is_the_sources_inside_and_the_targets_outside():
    topology = Topology.of(toy_avatar())
    target, source = (head_of(toy_avatar(color=c), topology, n) for c, n in ((120, "t"), (60, "s")))
    body = source.parts[BODY]
    bumped = dataclasses.replace(body, positions=body.positions + np.outer([0, 0, 0, 0.01], [0, 0, 1]))
    source = dataclasses.replace(source, parts={**source.parts, BODY: bumped})
    inside = np.array([0.1, 0.1, 0.1, 1.0])
    left = np.zeros((64, 64), bool)
    left[:, :32] = True
    region = FaceRegion(vertices=inside, texture=left.astype(np.float32), features=np.zeros_like(left), skin=left)
    plain, toned = (put_face_on(target, source, region, tone) for tone in (0.0, 1.0))
    moved = plain.parts[BODY].positions - target.parts[BODY].positions
    assert abs(moved[3, 2]) > 0.002
    assert np.abs(moved[:3]).max() < 0.2 * abs(moved[3, 2])
    assert plain.color[0, 0, 0] in (59, 60)
    assert plain.color[0, 63, 0] == 120
    assert abs(int(toned.color[0, 0, 0]) - 120) <= 1, "in the target's tone"


def test_face_weights_are_one_about_the_nose_and_zero_behind():
    avatar = toy_avatar()
    head = head_of(avatar, Topology.of(avatar), "toy")
    right, left = head.eyes()
    middle = (right + left) / 2
    points = middle + np.array([[0, -0.03, 0], [0, 0.2, 0], [0, -0.03, -0.2], [0.2, 0, 0]])
    part = dataclasses.replace(head.parts[BODY], positions=points)
    weights = face_weights(dataclasses.replace(head, parts={**head.parts, BODY: part}))
    np.testing.assert_allclose(weights, [1, 0, 0, 0])


def test_head_weights_cover_the_face_and_the_skin_around_it():
    avatar = toy_avatar()
    head = head_of(avatar, Topology.of(avatar), "toy")
    eye, distance = np.mean(head.eyes(), 0), np.linalg.norm(np.subtract(*head.eyes()))
    x, y, z = (grid.ravel() for grid in np.meshgrid(*[np.linspace(-3, 3, 25)] * 3))
    part = HeadPart(positions=eye + distance * np.stack([x, y, z], 1), weights={}, morphs={})
    head = dataclasses.replace(head, parts={**head.parts, BODY: part})
    face, whole = face_weights(head), head_weights(head)
    assert (whole[face > 0.99] == 1).all()
    assert (whole >= face).all()
    assert (whole == 1).sum() > 2 * (face > 0).sum() > 0
    assert ((whole >= 0) & (whole <= 1)).all()
    far_back_or_aside = (z < -1.95) | (np.abs(x) > 1.8) | (y > 1.4) | (y < -2.9)
    assert whole[far_back_or_aside].max() == 0


class FirstHead(Exception):  # noqa: N818 - no error: it ends a run where the test has seen enough
    """Carries the weights of the head that a scene was given."""


class SceneWithoutBlender:
    """Takes what Blender would, up to the first head."""

    def __init__(self, light, camera, quality):
        pass

    def put_head(self, topology, head, weights):
        raise FirstHead(weights.tolist())


@pytest.mark.parametrize(("mask", "expected"), [("face", [1, 0, 0, 0]), ("head", [1, 1, 1, 0])])
def test_the_scene_gets_the_weights_that_the_suites_mask_wants(tmp_path, monkeypatch, mask, expected):
    about_the_nose = np.array([0, 0.57, 0.1])
    monkeypatch.setattr("intracoder.synthetic.people.load_avatar", lambda path: toy_avatar(about_the_nose))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: "Blender, says the test")
    monkeypatch.setitem(sys.modules, "intracoder.synthetic.scene", SimpleNamespace(Scene=SceneWithoutBlender))
    (tmp_path / "Toy.glb").write_bytes(b"")
    suite = Suite(name="x", people={"A": "Toy"}, mesh_of="A", mask=mask, sweep=Sweep(partners=0))
    with pytest.raises(FirstHead) as caught:
        generate(suite, tmp_path, tmp_path / "out")
    np.testing.assert_allclose(sorted(caught.value.args[0], reverse=True), expected)


def test_the_68_points_have_names_of_their_own():
    assert len(set(points68_keys().tolist())) == 68


# ---- light


def test_the_tone_curve_keeps_black_and_rises():
    ramp = np.repeat(np.linspace(0, 3, 40, dtype=np.float32)[:, None, None], 3, -1)
    values = tonemap(ramp, 1.0)[:, 0, 0].astype(int)
    assert values[0] == 0
    assert (np.diff(values) >= 0).all()
    assert values[-1] == 255


def test_measuring_divides_the_skin_out():
    avatar = toy_avatar()
    topology = Topology.of(avatar)
    mask = np.ones((8, 8), np.float32)
    region = FaceRegion(
        vertices=np.ones(4),
        texture=np.ones((64, 64), np.float32),
        features=np.zeros((64, 64), bool),
        skin=np.ones((64, 64), bool),
    )
    found = []
    for color in (60, 180):
        head = head_of(toy_avatar(color=color), topology, "x")
        radiance = np.full((8, 8, 3), 0.5 * (color / 255) ** 2.2, np.float32)
        found.append(measured_exposure(radiance, mask, head, region))
    assert found[0] == pytest.approx(found[1], rel=1e-3)
    brighter = measured_exposure(2 * radiance, mask, head, region)
    assert 0.5 < brighter / found[1] < 0.8
    assert measured_exposure(radiance, 0 * mask, head, region) == 1


# ---- occluders


@pytest.mark.parametrize("shape", ["ball", "bar", "microphone", "hand"])
def test_solids_are_closed_and_of_a_sensible_size(shape):
    solid = solid_of(shape)
    assert solid.triangles.max() < len(solid.positions)
    assert 0.05 < np.ptp(solid.positions, axis=0).max() < 0.6


def test_an_occluder_passes_before_the_face_and_waits_outside():
    thing = Occluder(start=10, stop=30)
    x = [thing.place(frame)[0][0] for frame in range(40)]
    assert max(x[:11]) < -5
    assert min(x[30:]) < -5
    assert abs(x[20]) < 1e-9
    assert (np.diff(x[11:30]) > 0).all()
    back = Occluder(start=0, stop=20, turns_back=True, from_left=False)
    assert back.place(5)[0][0] == pytest.approx(back.place(15)[0][0])
    assert abs(back.place(10)[0][0]) < 1e-9
    with pytest.raises(ConfigError, match=r"occluder\.stop"):
        Occluder(start=5, stop=5)


# ---- the renderer's files


def exr_bytes(planes, flags=0, compression=0):
    """An uncompressed scan-line EXR; float16 planes by name, sorted."""
    height, width = next(iter(planes.values())).shape
    names = sorted(planes)
    channels = b"".join(n.encode() + b"\0" + struct.pack("<iIii", 1, 0, 1, 1) for n in names) + b"\0"
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    header = b""
    for name, kind, value in (
        ("channels", "chlist", channels),
        ("compression", "compression", bytes([compression])),
        ("dataWindow", "box2i", window),
    ):
        header += name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<I", len(value)) + value
    rows = b""
    for y in range(height):
        row = b"".join(planes[n][y].astype("<f2").tobytes() for n in names)
        rows += struct.pack("<iI", y, len(row)) + row
    return b"\x76\x2f\x31\x01" + struct.pack("<I", 2 | flags << 8) + header + b"\0" + bytes(8 * height) + rows


def test_the_renderers_files_are_read(tmp_path):
    rng = np.random.default_rng(1)
    planes = {name: rng.random((3, 5)).astype(np.float16).astype(np.float32) for name in ("Combined.R", "face.V")}
    path = tmp_path / "f.exr"
    path.write_bytes(exr_bytes(planes))
    for name, plane in read_channels(path).items():
        np.testing.assert_array_equal(plane, planes[name])


def test_other_exr_files_are_one_line(tmp_path):
    planes = {"R": np.zeros((2, 2), np.float32)}
    path = tmp_path / "f.exr"
    good = exr_bytes(planes)
    for data in (exr_bytes(planes, flags=0x10), exr_bytes(planes, compression=3), good[:-1], good[:20], b"PNG"):
        path.write_bytes(data)
        with pytest.raises(MediaError, match=r"f\.exr: expected an uncompressed"):
            read_channels(path)


def test_points68_ships_as_plain_numbers():
    from importlib.resources import files

    assert len(json.loads((files("intracoder.synthetic") / "points68.json").read_text(encoding="utf-8"))) == 68
