import cv2
import numpy as np
import pytest
from face_shapes import crop_points
from hypothesis import given
from hypothesis import strategies as st

from intracoder.ops import topology
from intracoder.ops.mask import (
    border_ramp,
    combine_alpha,
    eye_mask,
    hull_mask,
    skin_mask,
    soften,
    surface_mask,
    weight_map,
)


def outline_area(points, indices):
    return cv2.contourArea(cv2.convexHull(points[list(indices), :2]))


def at(mask, point):
    return mask[round(float(point[1])), round(float(point[0]))]


@pytest.mark.parametrize("scale", [0.84, 1.0, 1.18])
@pytest.mark.parametrize("feather_px", [0.0, 9.0])
def test_hull_has_the_outlines_area(scale, feather_px):
    points = crop_points(yaw=20)
    mask = hull_mask(points, 256, 256, scale=scale, feather_px=feather_px)
    assert mask.dtype == np.float32
    assert mask.sum() == pytest.approx(outline_area(points, topology.OVAL) * scale**2, rel=0.02)
    assert mask.min() == 0
    assert 0.9999 < mask.max() <= 1


def test_feather_is_the_width_of_the_edge():
    step = np.zeros((64, 64), np.float32)
    step[:, 32:] = 1
    row = soften(step, 12.0)[32]
    rise = np.interp([0.1, 0.5, 0.9], row, np.arange(64))
    assert rise[2] - rise[0] == pytest.approx(12, abs=0.6)
    assert rise[1] == pytest.approx(31.5, abs=0.1)
    np.testing.assert_array_equal(soften(step, 0.0), step)


def test_convention_hull_is_centred_on_the_points():
    points = crop_points() + np.array([0.37, -0.21, 0], np.float32)
    mask = hull_mask(points, 256, 300)
    y, x = np.mgrid[:256, :300]
    found = np.array([(mask * x).sum(), (mask * y).sum()]) / mask.sum()
    moments = cv2.moments(cv2.convexHull(points[list(topology.OVAL), :2]))
    np.testing.assert_allclose(found, [moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]], atol=0.1)


@pytest.mark.parametrize("size", [64, 256])
def test_weights_of_face_ring_outside_eyes_and_lips(size):
    points = crop_points(size)
    weights = weight_map(points, size)
    assert weights.dtype == np.float32
    assert weights[0, 0] == pytest.approx(0.1, abs=1e-3)
    assert at(weights, points[50]) == pytest.approx(1, abs=0.1)
    for eye in topology.EYES:
        assert 2.0 < at(weights, points[list(eye)].mean(axis=0)) <= 3.001
    assert 1.5 < at(weights, points[13]) <= 2.001
    outline = points[list(topology.OVAL), :2]
    middle = outline.mean(axis=0)
    assert at(weights, middle + (points[152, :2] - middle) * 1.1) == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("yaw", [0, 30])
def test_skin_is_where_neither_hair_nor_features_are(yaw):
    points = crop_points(yaw=yaw)
    skin = skin_mask(points, 256)
    assert 0 <= skin.min() <= skin.max() <= 1
    assert 0.1 < skin.sum() / outline_area(points, topology.OVAL) < 0.4
    for index in (151, 5, 205):
        assert at(skin, points[index]) > 0.5
    for index in (13, 152, 164, 17, 172, 397, 105, 334):
        assert at(skin, points[index]) < 0.35
    for eye in topology.EYES:
        assert at(skin, points[list(eye)].mean(axis=0)) == 0


def test_surface_is_the_face_without_its_eyes():
    points = crop_points()
    surface = surface_mask(points, 256)
    assert 0.75 < surface.sum() / outline_area(points, topology.OVAL) < 0.95
    for index in (13, 164, 17, 105, 334, 5, 205):
        assert at(surface, points[index]) > 0.9
    for eye in topology.EYES:
        assert at(surface, points[list(eye)].mean(axis=0)) < 0.1
    assert surface[0].max() == 0


def test_alpha_is_limited_by_each_mask_and_zero_at_the_border():
    points = crop_points()
    hull = hull_mask(points, 256, 256, feather_px=10.0)
    ones = np.ones_like(hull)
    np.testing.assert_allclose(combine_alpha(hull, ones, ones, 0 * ones), hull * border_ramp(256, 256))
    np.testing.assert_allclose(combine_alpha(hull, None, None, None), hull * border_ramp(256, 256))
    assert combine_alpha(hull, 0 * ones, ones, None).max() == 0
    assert combine_alpha(hull, ones, 0 * ones, None).max() == 0
    hand = np.zeros_like(hull)
    hand[:, :128] = 1
    alpha = combine_alpha(hull, ones, ones, hand, feather_px=6.0)
    assert alpha[128, :110].max() < 0.01
    assert alpha[128, 150] > 0.99


@given(st.integers(0, 2**32 - 1), st.floats(0, 12))
def test_alpha_stays_in_range_and_in_the_hull(seed, feather_px):
    rng = np.random.default_rng(seed)
    hull, predicted, person, hand = rng.random((4, 40, 30), dtype=np.float32)
    hull[:, 5] = 0
    alpha = combine_alpha(hull, predicted, person, hand, feather_px=feather_px)
    assert alpha.dtype == np.float32
    assert 0 <= alpha.min() <= alpha.max() <= 1
    assert (alpha[hull == 0] == 0).all()
    for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
        assert (edge == 0).all()


def test_faces_partly_outside_the_crop():
    points = crop_points() + np.array([120, 0, 0], np.float32)
    for mask in (hull_mask(points, 256, 256), skin_mask(points, 256), weight_map(points, 256)):
        assert np.isfinite(mask).all()
    assert hull_mask(points + np.float32(1e5), 256, 256).max() == 0


@pytest.mark.parametrize("yaw", [0, 25])
def test_the_eyes_have_their_mask_and_nothing_else_has(yaw):
    points = crop_points(yaw=yaw)
    mask = eye_mask(points, 256)
    for iris in (468, 473):
        assert at(mask, points[iris]) > 0.8
    for corner in topology.EYE_CORNERS:
        assert at(mask, points[corner]) > 0.4
    for away in (1, 13, 152, 151, 50, 280, 168):
        assert at(mask, points[away]) < 0.05


def test_closed_eyes_count_less():
    points = crop_points()
    closed = points.copy()
    for lids in topology.EYES:
        closed[list(lids), 1] = points[list(lids), 1].mean() + 0.1 * (
            points[list(lids), 1] - points[list(lids), 1].mean()
        )
    wide, shut = eye_mask(points, 256), eye_mask(closed, 256)
    assert 0.1 < shut.max() < 0.7 * wide.max()
