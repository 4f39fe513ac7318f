import dataclasses

import cv2
import numpy as np
import pytest
from demo_frames import REFERENCE, demo_clip, frame_of, side_by_side

from intracoder.config import DetectConfig
from intracoder.faces.mtcnn import Mtcnn


@pytest.fixture(scope="module")
def detector():
    return Mtcnn(DetectConfig())


def _assert_agrees(faces, boxes, points5):
    """Decoders differ by a level here and there, hence a quarter pixel."""
    boxes = np.array(boxes)
    assert len(faces) == len(boxes)
    order = np.argsort([f.box[0] for f in faces]), np.argsort(boxes[:, 0])
    for i, j in zip(*order, strict=True):
        np.testing.assert_allclose(faces[i].box, boxes[j, :4], atol=0.25)
        np.testing.assert_allclose(faces[i].points5, np.array(points5)[j], atol=0.25)
        assert faces[i].score == pytest.approx(boxes[j, 4], abs=0.002)


def test_agrees_with_the_reference_alone_and_in_a_batch(detector):
    rows = REFERENCE["frames"]
    frames = [demo_clip(row["clip"])[row["frame"]] for row in rows]
    together = detector.detect(frames)
    for row, frame, in_batch in zip(rows, frames, together, strict=True):
        (alone,) = detector.detect([frame])
        _assert_agrees(alone, row["boxes"], row["points5"])
        _assert_agrees(in_batch, row["boxes"], row["points5"])
        assert all(f.frame_index == frame.index for f in alone)


def test_finds_two_people_of_a_wide_frame_best_first(detector):
    (faces,) = detector.detect([side_by_side()])
    expected = REFERENCE["side_by_side"]
    _assert_agrees(faces, expected["boxes"], expected["points5"])
    assert len(faces) == 2
    assert faces[0].score >= faces[1].score


def test_points_lie_where_the_renderer_put_them(detector):
    for clip in ("source", "target"):
        for truth in REFERENCE["pose_truth"][clip][::5]:
            (faces,) = detector.detect([demo_clip(clip)[truth["frame"]]])
            off = np.abs(faces[0].points5 - np.array(truth["points5"])).mean()
            assert off < 0.04 * (faces[0].box[2] - faces[0].box[0])


def test_frames_of_different_sizes_keep_their_order(detector):
    face = demo_clip("source")[0]
    nothing = frame_of(np.full((90, 200, 3), 128, np.uint8), index=7)
    larger = frame_of(cv2.resize(face.pixels, None, fx=1.5, fy=1.5), index=9)
    found = detector.detect([nothing, face, larger])
    assert [len(f) for f in found] == [0, 1, 1]
    assert found[2][0].frame_index == 9
    np.testing.assert_allclose(found[2][0].box / 1.5, found[1][0].box, atol=6)


def test_smallest_face_and_lowest_score_are_obeyed():
    canvas = np.full((320, 320, 3), 110, np.uint8)
    canvas[100:164, 100:164] = cv2.resize(demo_clip("source")[0].pixels, (64, 64), interpolation=cv2.INTER_AREA)
    small = frame_of(canvas)
    assert Mtcnn(DetectConfig(min_face_px=120)).detect([small]) == [()]
    ((found,),) = Mtcnn(DetectConfig(min_face_px=16)).detect([small])
    assert 20 < found.box[2] - found.box[0] < 40
    assert Mtcnn(DetectConfig(min_face_px=16, score_min=1.0)).detect([small]) == [()]


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (11, 11), (12, 12), (40, 40), (41, 3)])
def test_tiny_frames_have_no_faces(detector, shape):
    assert detector.detect([frame_of(np.full((*shape, 3), 90, np.uint8))]) == [()]
    assert Mtcnn(dataclasses.replace(DetectConfig(), min_face_px=12)).detect(
        [frame_of(np.zeros((*shape, 3), np.uint8))]
    ) == [()]


def test_empty_batch_and_noise(detector, seed):
    assert detector.detect([]) == []
    noise = np.random.default_rng(seed).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    assert detector.detect([frame_of(noise)]) == [()]
