"""Complexion told from light, on painted heads whose both are known."""

import numpy as np
import pytest
from face_shapes import crop_points

from intracoder.ops.color import encoded, linear_light
from intracoder.ops.complexion import complexion_change, measure_complexion, with_complexion
from intracoder.ops.mask import surface_mask
from intracoder.ops.mesh import spread_over, surface_normals
from intracoder.ops.relight import harmonics
from intracoder.ops.topology import canonical_points

SIZE = 96
SKIN = np.array([0.4, 0.27, 0.2])
FROM_LEFT = np.array([[1.0, -0.45, 0.1, -0.2, 0, 0, 0, 0, 0]] * 3).T
FROM_ABOVE = np.array([[1.0, 0.1, -0.35, -0.3, 0, 0, 0, 0.1, 0]] * 3).T
TURNS = [(yaw, pitch) for yaw in (-30, -15, 0, 15, 30) for pitch in (-8, 0, 8)]


def beard():
    """Dark from the mouth down, logarithmic."""
    y = canonical_points()[:, 1]
    return np.repeat(-0.9 * np.clip((y - 4.0) / 2, 0, 1)[:, None], 3, axis=1)


def bare():
    return np.zeros((468, 3))


def footage(own, light, turns=TURNS):
    """Crops and landmarks of a matt head of that complexion, turning in a light that stays."""
    points = [crop_points(SIZE, yaw=yaw, pitch=pitch) for yaw, pitch in turns]
    crops = []
    for row in points:
        shade = np.maximum(harmonics(surface_normals(row, SIZE)) @ light, 0.05)
        color = SKIN * np.exp(spread_over(row, own.astype(np.float32), SIZE))
        crops.append(np.rint(encoded(np.clip(color * shade, 0, 1)) * 255).astype(np.uint8))
    return np.stack(crops), np.stack(points)


def at(values, *indices):
    return float(values[list(indices)].mean())


CHIN, FOREHEAD, CHEEKS = (152, 175, 199), (151, 9, 108, 337), (50, 280, 205, 425)


@pytest.mark.parametrize("light", [FROM_LEFT, FROM_ABOVE], ids=["left", "above"])
def test_a_beard_is_complexion_and_a_lamp_is_not(light):
    own = measure_complexion(*footage(beard(), light))
    assert at(own, *CHIN) == pytest.approx(-0.9, abs=0.2)
    assert at(own, *FOREHEAD) == pytest.approx(0, abs=0.12)
    # a lamp from the left makes one cheek three times as bright as the other
    assert at(own, 50, 205) == pytest.approx(at(own, 280, 425), abs=0.12)
    plain = measure_complexion(*footage(bare(), light))
    assert np.abs(plain[list(CHIN + FOREHEAD + CHEEKS)]).mean() < 0.1


def test_the_same_person_in_another_light_needs_no_change():
    left, above = (measure_complexion(*footage(beard(), light)) for light in (FROM_LEFT, FROM_ABOVE))
    change = complexion_change(left, above)
    assert np.abs(change[list(CHIN + FOREHEAD + CHEEKS)]).mean() < 0.12


def test_a_single_picture_still_tells_a_beard():
    own = measure_complexion(*footage(beard(), FROM_LEFT, turns=[(5, 0)]))
    change = complexion_change(own, measure_complexion(*footage(bare(), FROM_ABOVE, turns=[(0, 0)])))
    assert at(change, *CHIN) < -0.4
    assert abs(at(change, *FOREHEAD)) < 0.2


def test_the_target_is_shown_with_the_others_complexion():
    (crops, points), (expected, _) = (footage(own, FROM_LEFT, turns=[(12, 4)]) for own in (bare(), beard()))
    change = complexion_change(
        measure_complexion(*footage(beard(), FROM_ABOVE)), measure_complexion(*footage(bare(), FROM_LEFT))
    )
    shown = with_complexion(crops[0], points[0], change)
    inside = surface_mask(points[0], SIZE) > 0.5
    before, after = (
        np.abs(linear_light(image)[inside] - linear_light(expected[0])[inside]).mean() for image in (crops[0], shown)
    )
    assert after < 0.35 * before


def test_a_beard_that_reaches_onto_the_cheeks_does_not_brighten_the_skin():
    full = np.repeat(-0.9 * np.clip((canonical_points()[:, 1] - 0.5) / 2, 0, 1)[:, None], 3, axis=1)
    shaven, bearded = (measure_complexion(*footage(own, FROM_LEFT)) for own in (bare(), full))
    change = complexion_change(bearded, shaven)
    assert abs(at(change, *FOREHEAD)) < 0.04
    assert at(change, *CHIN) < -0.6


def test_a_bright_nose_does_not_darken_the_rest_though_most_points_lie_there():
    apart = np.linalg.norm((canonical_points() - canonical_points()[4])[:, :2], axis=1)
    nose = np.repeat(0.6 * np.clip(3.2 - apart, 0, 1)[:, None], 3, axis=1)
    plain, bright = (measure_complexion(*footage(own, FROM_LEFT)) for own in (bare(), nose))
    change = complexion_change(bright, plain)
    assert at(change, 4, 5) > 0.45
    assert abs(at(change, *FOREHEAD)) < 0.05
    assert abs(at(change, *CHEEKS)) < 0.05


def test_without_change_a_crop_stays_as_it_is():
    crops, points = footage(beard(), FROM_LEFT, turns=[(0, 0)])
    np.testing.assert_array_equal(with_complexion(crops[0], points[0], bare()), crops[0])


def test_a_point_that_is_never_seen_counts_as_skin():
    own = measure_complexion(*footage(bare(), FROM_LEFT, turns=[(40, 0)]))
    assert np.isfinite(own).all()
    # the right cheek's edge faces away
    assert np.abs(own[[454, 323, 356]]).max() < 0.05


def test_spread_over_interpolates_and_is_carried_on():
    points = crop_points(SIZE)
    heights = spread_over(points, points[:468, 1:2], SIZE)[..., 0]
    inside = surface_mask(points, SIZE) > 0.9
    rows = np.repeat(np.arange(SIZE)[:, None], SIZE, axis=1)
    assert np.abs(heights - rows)[inside].mean() < 0.3
    assert heights[0].max() <= points[:468, 1].max()
    assert heights[0].min() >= points[:468, 1].min() - 1e-3
