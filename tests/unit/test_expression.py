import numpy as np
import pytest
from face_shapes import canonical_shape, rotation

from intracoder.errors import ConfigError
from intracoder.ops.expression import FEATURE_COUNT, fit_shape_basis, frame_features, nearest, neutral_shape
from intracoder.records import HeadFit


def head(yaw=0.0, pitch=0.0, roll=0.0):
    return HeadFit(scale=8.0, rotation=rotation(yaw, pitch, roll), translation=np.zeros(3))


def people(rng, counts=(160, 90), noise=0.0):
    """Two faces that move by the same linear basis."""
    directions = rng.normal(size=(52, 478, 3)) * 0.3
    neutrals, shapes, coefficients = [], [], []
    for k, count in enumerate(counts):
        neutral = canonical_shape() + rng.normal(size=(478, 3)) * 0.5
        rows = np.clip(rng.beta(0.7, 2, size=(count, 52)) * (1 if k else 0.8), 0, 1).astype(np.float32)
        neutrals.append(neutral)
        coefficients.append(rows)
        moved = neutral + np.tensordot(rows.astype(float), directions, axes=1)
        shapes.append(moved + rng.normal(size=moved.shape) * noise)
    return directions, neutrals, shapes, coefficients


def test_basis_and_neutral_shapes_are_recovered():
    directions, neutrals, shapes, coefficients = people(np.random.default_rng(0))
    basis = fit_shape_basis(shapes, coefficients, ridge=1e-6)
    np.testing.assert_allclose(basis.directions, directions, atol=0.01)
    for neutral, s, b in zip(neutrals, shapes, coefficients, strict=True):
        np.testing.assert_allclose(neutral_shape(basis, s, b), neutral, atol=0.02)


def test_the_default_penalty_beats_the_mean_shape_with_noise():
    _, neutrals, shapes, coefficients = people(np.random.default_rng(1), noise=0.1)
    basis = fit_shape_basis(shapes, coefficients)
    for neutral, s, b in zip(neutrals, shapes, coefficients, strict=True):
        found = np.abs(neutral_shape(basis, s, b) - neutral).mean()
        assert found < 0.25 * np.abs(s.mean(axis=0) - neutral).mean()


def test_neutral_plus_offset_is_the_person_in_that_expression():
    _, _, shapes, coefficients = people(np.random.default_rng(2))
    basis = fit_shape_basis(shapes, coefficients, ridge=1e-6)
    rebuilt = neutral_shape(basis, shapes[0], coefficients[0]) + basis.offset(coefficients[0][7])
    np.testing.assert_allclose(rebuilt, shapes[0][7], atol=0.03)


def test_one_frame_gives_a_basis_that_does_not_move():
    basis = fit_shape_basis([canonical_shape()[None]], [np.full((1, 52), 0.3, np.float32)])
    assert np.abs(basis.directions).max() == 0
    np.testing.assert_allclose(
        neutral_shape(basis, canonical_shape()[None], np.zeros((1, 52), np.float32)), canonical_shape()
    )


def test_lists_that_do_not_match_are_refused():
    shapes, rows = np.zeros((3, 478, 3)), np.zeros((2, 52), np.float32)
    with pytest.raises(ConfigError, match="as many shapes as blendshapes"):
        fit_shape_basis([shapes], [rows])
    with pytest.raises(ConfigError, match="at least 1"):
        fit_shape_basis([], [])


def test_convention_features_have_the_signs_of_pose():
    shape = canonical_shape()
    assert frame_features(shape, head()).shape == (FEATURE_COUNT,)
    np.testing.assert_allclose(frame_features(shape, head(yaw=16))[:2], [2, 0], atol=1e-9)
    np.testing.assert_allclose(frame_features(shape, head(pitch=-8))[:2], [0, -1], atol=1e-9)
    np.testing.assert_allclose(frame_features(shape, head(roll=30)), frame_features(shape, head()), atol=1e-9)


def test_features_measure_mouth_lids_and_gaze():
    neutral = canonical_shape()
    base = frame_features(neutral, head(), neutral)
    moved = neutral.copy()
    moved[14, 1] += 0.4
    moved[291, 0] += 0.6
    moved[145, 1] += 0.25
    moved[468:, 0] += 0.15
    difference = frame_features(moved, head(), neutral) - base
    np.testing.assert_allclose(difference, [0, 0, 1, 1, 1, 0, 1, 0], atol=0.1)


def test_another_persons_wide_mouth_does_not_count():
    wide = canonical_shape()
    wide[61, 0] -= 1
    wide[291, 0] += 1
    own = frame_features(canonical_shape(), head(), canonical_shape())
    np.testing.assert_allclose(frame_features(wide, head(), wide), own, atol=1e-9)


def test_nearest_orders_by_distance():
    features = np.array([[5.0, 0], [1, 0], [0, 0], [1, 0]])
    np.testing.assert_array_equal(nearest(features, np.array([0.9, 0]), 3), [1, 3, 2])
    assert len(nearest(features, np.zeros(2), 10)) == 4
