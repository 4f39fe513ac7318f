import numpy as np
import pytest

from intracoder.faces.boxes import overlaps, squares, suppress
from intracoder.faces.window import Window, cut, window_of_points, window_of_points5


def test_overlaps_by_hand():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 9]], np.float64)
    found = overlaps(boxes, boxes)
    np.testing.assert_allclose(found[0], [1, 1 / 3, 0, 0], atol=1e-9)
    assert found[3].max() == 0


def test_suppression_keeps_the_best_and_the_far():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [40, 0, 50, 10], [1, 1, 11, 11]], np.float64)
    assert suppress(boxes, np.array([0.5, 0.9, 0.7, 0.6]), 0.5).tolist() == [1, 2]
    assert suppress(boxes[:0], np.zeros(0), 0.5).tolist() == []


def test_squares_keep_centres():
    np.testing.assert_allclose(squares(np.array([[0.0, 0, 10, 30]])), [[-10, 0, 20, 30]])


@pytest.mark.parametrize("side_px", [40.0, 256.0, 900.0])
def test_window_maps_its_middle_to_the_crop_middle_and_its_edge_to_the_edge(side_px):
    window = Window(center=np.array([100.0, 80.0]), side_px=side_px, angle_rad=0.3)
    matrix = window.frame_to_crop(64)
    np.testing.assert_allclose(matrix @ [100, 80, 1], [31.5, 31.5], atol=1e-9)
    right = window.center + side_px / 2 * np.array([np.cos(0.3), np.sin(0.3)])
    np.testing.assert_allclose(matrix @ [*right, 1], [63.5, 31.5], atol=1e-9)


@pytest.mark.parametrize("side_px", [30.0, 64.0, 150.0, 257.0, 400.0])
def test_cut_has_no_shift_at_any_size(side_px):
    """A linear ramp stays the same ramp: the value tells the place that was cut."""
    y, x = np.mgrid[:200, :200]
    image = np.repeat(np.round(0.37 * x + 0.61 * y).astype(np.uint8)[..., None], 3, 2)
    window = Window(center=np.array([100.0, 95.0]), side_px=side_px, angle_rad=0.1)
    crop = cut(image, window.frame_to_crop(64), 64).astype(float)[..., 0]
    to_frame = np.linalg.inv(np.vstack([window.frame_to_crop(64), [0, 0, 1]]))
    v, u = np.mgrid[:64, :64]
    place = to_frame @ np.stack([u.ravel(), v.ravel(), np.ones(u.size)])
    inside = (place[:2] > 8).all(0) & (place[:2] < 190).all(0)
    wanted = 0.37 * place[0] + 0.61 * place[1]
    assert inside.sum() > 500
    assert np.abs(crop.ravel() - wanted)[inside].mean() < 0.4
    assert abs((crop.ravel() - wanted)[inside].mean()) < 0.2


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (50, 40)])
def test_cut_outside_a_small_image_repeats_its_edge(shape):
    image = np.full((*shape, 3), 77, np.uint8)
    for center in ([0.0, 0.0], [900.0, -500.0]):
        window = Window(center=np.array(center), side_px=700.0, angle_rad=0.5)
        assert (cut(image, window.frame_to_crop(32), 32) == 77).all()


def test_windows_follow_size_turn_and_place():
    five = np.array([[40, 50], [80, 50], [60, 75], [45, 95], [75, 95]], np.float32)
    upright = window_of_points5(five)
    assert upright.angle_rad == pytest.approx(0)
    assert 150 < upright.side_px < 190
    assert upright.center[1] < five[:, 1].mean()
    turned = window_of_points5(np.stack([-five[:, 1], five[:, 0]], 1) * 2)
    assert turned.angle_rad == pytest.approx(np.pi / 2)
    assert turned.side_px == pytest.approx(2 * upright.side_px)
    points = np.zeros((478, 3), np.float32)
    points[33, :2], points[263, :2], points[10, :2], points[152, :2] = (30, 50), (70, 50), (50, 10), (50, 110)
    points[points.sum(1) == 0, :2] = (50, 60)
    window = window_of_points(points)
    assert window.side_px == pytest.approx(150)
    np.testing.assert_allclose(window.center, [50, 60])
