import cv2
import numpy as np
import pytest
from demo_frames import REFERENCE, demo_clip, side_by_side

from intracoder.config import DetectConfig
from intracoder.errors import NoFaceError
from intracoder.faces.embedder import DlibResnet, MobileFaceNet
from intracoder.faces.landmarks import BLENDSHAPE_NAMES, FaceMesh, points5_of
from intracoder.faces.mtcnn import Mtcnn
from intracoder.faces.pose import head_pose
from intracoder.ops.topology import mirror_indices


@pytest.fixture(scope="module")
def mesh():
    return FaceMesh()


@pytest.fixture(scope="module")
def points_in(mesh):
    """Dense points of the best face of an image, by detector and landmarks."""
    detector = Mtcnn(DetectConfig())

    def find(frame):
        (faces,) = detector.detect([frame])
        points, presence = mesh.landmarks(frame.pixels, faces[0].points5)
        assert presence > 0.9
        return points

    return find


@pytest.fixture(scope="module")
def tracked(points_in):
    """Frame index and dense points of the demo frames whose pose is known."""
    return {
        clip: [(t, points_in(demo_clip(clip)[t["frame"]])) for t in REFERENCE["pose_truth"][clip][::2]]
        for clip in ("source", "target")
    }


def test_landmarks_agree_with_the_reference_but_for_its_half_pixel(points_in):
    """The research code takes the network's outer-edge coordinates for pixel centres: half a crop pixel too far."""
    for row in REFERENCE["frames"]:
        points = points_in(demo_clip(row["clip"])[row["frame"]])
        side = float((points.max(0) - points.min(0))[:2].max())
        expected = np.array(row["landmarks_sample"])
        expected[:, :2] -= 0.5 * 1.5 * side / 256
        found = points[REFERENCE["landmark_indices"]]
        assert np.abs(found[:, :2] - expected[:, :2]).mean() < 0.4
        assert np.abs(found[:, 2] - expected[:, 2]).mean() < 1.0


def test_convention_pixel_centres(points_in):
    """A mirrored frame has mirrored landmarks: x becomes width - 1 - x."""
    shifts = []
    for clip in ("source", "target"):
        for frame in demo_clip(clip)[::50]:
            mirrored = type(frame)(pixels=np.ascontiguousarray(frame.pixels[:, ::-1]), index=0, pts=0)
            points, back = points_in(frame), points_in(mirrored)[mirror_indices()]
            width = frame.pixels.shape[1]
            shifts.append(((points[:, 0] + back[:, 0] - (width - 1)) / 2).mean())
    assert abs(np.mean(shifts)) < 0.15


def test_tracking_from_the_last_points_gives_the_same_as_a_fresh_look(mesh, points_in):
    previous = points_in(demo_clip("source")[0])
    for frame in demo_clip("source")[1:6]:
        previous, presence = mesh.landmarks(frame.pixels, previous)
        assert presence > 0.9
    assert np.abs(previous - points_in(demo_clip("source")[5])).mean() < 0.8


def test_presence_falls_without_a_face(mesh, points_in):
    frame = demo_clip("source")[0]
    points = points_in(frame)
    _, presence = mesh.landmarks(np.full_like(frame.pixels, 120), points)
    assert presence < 0.5
    _, presence = mesh.landmarks(np.zeros((1, 1, 3), np.uint8), points)
    assert presence < 0.5


def test_large_frames_are_averaged_not_skipped_over(points_in):
    frame = demo_clip("target")[0]
    large = type(frame)(
        pixels=cv2.resize(frame.pixels, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), index=0, pts=0
    )
    # pixel centres: 0 goes to 1.5
    assert np.abs((points_in(large)[:, :2] - 1.5) / 4 - points_in(frame)[:, :2]).mean() < 0.5


def test_points5_are_where_the_renderer_put_them(tracked):
    for clip in ("source", "target"):
        off = [points5_of(points) - np.array(truth["points5"]) for truth, points in tracked[clip]]
        assert np.abs(off).mean() < 3.0


def test_blendshapes_ignore_size_and_place_and_see_the_mouth_open(mesh, tracked):
    assert len(BLENDSHAPE_NAMES) == 52
    points = tracked["source"][0][1]
    plain = mesh.blendshapes(points)
    moved = mesh.blendshapes((points * 2 + 50).astype(np.float32))
    assert plain.shape == (52,)
    assert plain.min() >= 0
    assert plain.max() <= 1
    np.testing.assert_allclose(moved, plain, atol=0.02)
    gap, jaw = [], []
    for clip in ("source", "target"):
        for _, p in tracked[clip]:
            gap.append(np.linalg.norm(p[13, :2] - p[14, :2]) / np.linalg.norm(p[10, :2] - p[152, :2]))
            jaw.append(mesh.blendshapes(p)[BLENDSHAPE_NAMES.index("jawOpen")])
    assert np.corrcoef(gap, jaw)[0, 1] > 0.7


def test_identity_is_the_same_along_a_clip_and_not_across(points_in):
    embedder, judge = MobileFaceNet(), DlibResnet()
    vectors = {}
    for row in REFERENCE["frames"]:
        frame = demo_clip(row["clip"])[row["frame"]]
        points5 = points5_of(points_in(frame))
        vectors.setdefault(row["clip"], []).append(
            (embedder.embed(frame.pixels, points5), judge.embed(frame.pixels, points5))
        )
    for which, same_min, other_max, length in ((0, 0.6, 0.4, 192), (1, 0.93, 0.92, 128)):
        source, target = (np.array([v[which] for v in vectors[clip]]) for clip in ("source", "target"))
        assert source.shape[1] == length
        np.testing.assert_allclose(np.linalg.norm(source, axis=1), 1, atol=1e-5)
        assert (source @ source.T).min() > same_min
        assert (source @ target.T).max() < other_max


def test_embedding_agrees_with_the_reference(points_in):
    embedder = MobileFaceNet()
    for row in REFERENCE["frames"][::3]:
        frame = demo_clip(row["clip"])[row["frame"]]
        found = embedder.embed(frame.pixels, points5_of(points_in(frame)))[:16]
        expected = np.array(row["mobilefacenet_head"])
        assert found @ expected / np.linalg.norm(found) / np.linalg.norm(expected) > 0.95


def test_convention_pose_signs_and_sizes(tracked):
    """yaw > 0 to the viewer's right, pitch > 0 up, roll > 0 clockwise, against the renderer's own numbers."""
    for clip in ("source", "target"):
        names = ("yaw_deg", "pitch_deg", "roll_deg")
        truth = np.array([[t[n] for n in names] for t, _ in tracked[clip]])
        poses = [head_pose(points, 320, 320) for _, points in tracked[clip]]
        found = np.array([[getattr(p, n) for n in names] for p in poses])
        # people and cameras have offsets; how it changes is what the signs are about
        truth, found = truth - truth.mean(0), found - found.mean(0)
        slope = (truth * found).sum(0) / (truth**2).sum(0)
        assert 0.8 < slope[0] < 1.1
        assert slope[1] > 0.25
        assert slope[2] > 0.4
        assert np.abs(found[:, 0] - truth[:, 0]).mean() < 2.5


def test_turning_the_picture_turns_the_roll(points_in):
    points = points_in(demo_clip("source")[0])
    before = head_pose(points, 320, 320)
    # clockwise by 20 degrees around the middle of the picture
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    turned = points.copy()
    turned[:, :2] = (points[:, :2] - 159.5) @ np.array([[c, s], [-s, c]]) + 159.5
    after = head_pose(turned.astype(np.float32), 320, 320)
    assert after.roll_deg - before.roll_deg == pytest.approx(20, abs=2)


def test_pose_of_points_in_one_place_is_refused():
    for points in (np.zeros((478, 3), np.float32), np.full((478, 3), np.nan, np.float32)):
        with pytest.raises(NoFaceError, match="head pose"):
            head_pose(points, 100, 100)


def test_two_people_in_one_frame_keep_their_identities(points_in, mesh):
    frame = side_by_side()
    (faces,) = Mtcnn(DetectConfig()).detect([frame])
    embedder = MobileFaceNet()
    vectors = [embedder.embed(frame.pixels, points5_of(mesh.landmarks(frame.pixels, f.points5)[0])) for f in faces]
    assert vectors[0] @ vectors[1] < 0.4
