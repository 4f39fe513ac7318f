import numpy as np
import pytest
from face_shapes import canonical_shape, crop_points

from intracoder.faceset.reference import PartRows, compose_reference, part_distances
from intracoder.ops.topology import EYES, LIPS

SIZE = 128


def flat(level):
    return np.full((SIZE, SIZE, 3), level, np.uint8)


def striped(level):
    """Stripes whose mean is ``level`` everywhere."""
    stripes = np.where(np.arange(SIZE) // 2 % 2, level + 20, level - 20).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(stripes[:, None, None], (SIZE, SIZE, 3)))


def region(points, indices, crop):
    (x0, y0), (x1, y1) = points[list(indices), :2].min(0).astype(int), points[list(indices), :2].max(0).astype(int) + 1
    return crop[y0:y1, x0:x1]


def test_one_frame_on_its_own_points_comes_back():
    points = crop_points(SIZE)
    made = compose_reference([striped(120)], [points], PartRows(0, 0, 0), points, SIZE)
    assert made.shape == (SIZE, SIZE, 4)
    assert made[..., 1:] == pytest.approx(striped(120), abs=1)
    assert made[SIZE // 2, SIZE // 2, 0] >= 250


def test_parts_come_from_their_own_frames_with_the_faces_brightness():
    points = crop_points(SIZE)
    crops, at = [flat(120), striped(200), striped(60)], [points] * 3
    made = compose_reference(crops, at, PartRows(0, 1, 2), points, SIZE)[..., 1:].astype(float)
    for eye in EYES:
        part = region(points, eye, made)
        assert part.std() > 12
        assert part.mean() == pytest.approx(120, abs=6)
    mouth = region(points, LIPS, made)
    assert mouth.std() > 12
    assert mouth.mean() == pytest.approx(120, abs=6)
    cheek = made[int(points[205, 1]) - 3 : int(points[205, 1]) + 3, int(points[205, 0]) - 3 : int(points[205, 0]) + 3]
    assert cheek.std() < 2


def test_detail_is_the_same_picture_finer():
    points, wanted = crop_points(SIZE), crop_points(SIZE, yaw=12)
    coarse = compose_reference([striped(120)], [points], PartRows(0, 0, 0), wanted, SIZE)
    fine = compose_reference([striped(120)], [points], PartRows(0, 0, 0), wanted, SIZE, 2)
    assert fine.shape == (2 * SIZE, 2 * SIZE, 4)
    shrunk = fine.reshape(SIZE, 2, SIZE, 2, 4).astype(float).mean(axis=(1, 3))
    assert np.abs(shrunk - coarse).mean() < 4


def test_each_part_asks_for_what_matters_to_it():
    closed = np.array([0, 0, 0, 0, -4, -4, 0, 0.0])
    turned = np.array([2.0, 0, 0, 0, 0, 0, 0, 0])
    open_mouth = np.array([0, 0, 3.0, 0, 0, 0, 0, 0])
    stored = np.stack([closed, turned, open_mouth])
    for wanted, part in ((closed, "eyes"), (turned, "face"), (open_mouth, "mouth")):
        distances = part_distances(wanted[None], stored)
        own = getattr(distances, part)[0]
        assert own.argmin() == [id(row) for row in (closed, turned, open_mouth)].index(id(wanted))
    # a blink of the wanted face must not change where its mouth is taken from
    blinking = open_mouth + closed
    assert part_distances(blinking[None], stored).mouth[0].argmin() == 2
    assert part_distances(blinking[None], stored).eyes[0].argmin() == 0


def test_a_closed_mouth_still_gets_its_part():
    points = crop_points(SIZE, shape=canonical_shape())
    made = compose_reference([flat(100), striped(100)], [points] * 2, PartRows(0, 0, 1), points, SIZE)
    assert region(points, LIPS, made[..., 1:].astype(float)).std() > 12
