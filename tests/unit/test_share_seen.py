"""Which parts of a face a person's footage shows."""

import numpy as np
import pytest
from face_shapes import crop_points

from intracoder.ops.mesh import point_normals
from intracoder.swap.visible import share_seen

SIZE = 96
LOCK_PX = 48


class Lock:
    """Hair over the left half of the picture, in some of the frames."""

    def __init__(self, every):
        self.every = every
        self.count = 0

    def visible(self, crop, points):
        mask = np.ones(crop.shape[:2], np.float32)
        mask[:, :LOCK_PX] = float(self.count % self.every != 0)
        self.count += 1
        return mask


def footage(yaws):
    return np.zeros((len(yaws), SIZE, SIZE, 3), np.uint8), np.stack([crop_points(SIZE, yaw=yaw) for yaw in yaws])


def facing(points):
    return -point_normals(points)[:, 2]


@pytest.mark.parametrize(("every", "share"), [(1, 0.0), (2, 0.5), (4, 0.75)])
def test_a_point_is_shown_as_often_as_nothing_hides_it(every, share):
    crops, points = footage([0] * 24)
    shown = share_seen(Lock(every), crops, points)
    x = points[0][:468, 0]
    under = (x < LOCK_PX - 2) & (facing(points[0]) > 0.5)
    assert under.sum() > 50
    np.testing.assert_allclose(shown[under], share, atol=0.08)
    np.testing.assert_allclose(shown[x > LOCK_PX + 2], 1, atol=1e-6)


def test_what_was_never_looked_at_is_taken_for_shown():
    crops, points = footage([50] * 8)
    turned_away = facing(points[0]) < 0.1
    assert turned_away.sum() > 20
    np.testing.assert_allclose(share_seen(Lock(1), crops, points)[turned_away], 1, atol=1e-6)


def test_a_bare_face_is_shown_whole():
    bare = Lock(10**9)
    bare.count = 1
    np.testing.assert_allclose(share_seen(bare, *footage([-20, 0, 20])), 1, atol=1e-6)
