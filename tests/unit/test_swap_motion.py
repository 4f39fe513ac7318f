import numpy as np
import pytest
from face_shapes import rotation

from intracoder.records import HeadFit
from intracoder.swap import motion
from intracoder.swap.motion import shot_bounds, steady_heads, steady_rows


def test_shots_end_at_cuts_and_long_gaps():
    times = np.array([0, 1, 2, 3, 5, 6, 20, 21])
    assert shot_bounds(times, (2,), max_gap=4) == [(0, 2), (2, 6), (6, 8)]
    assert shot_bounds(times, (), max_gap=100) == [(0, 8)]


def test_jitter_shrinks_steady_motion_stays_and_cuts_stay_sharp():
    times = np.arange(40)
    truth = np.stack([times * 2.0, np.where(times < 20, 0.0, 50.0)], axis=1)
    noisy = truth + np.random.default_rng(0).normal(0, 0.5, truth.shape)
    steady = steady_rows(noisy, times, [(0, 20), (20, 40)], 7)
    assert np.abs(steady - truth).std() < 0.75 * np.abs(noisy - truth).std()
    assert steady_rows(truth, times, [(0, 20), (20, 40)], 7) == pytest.approx(truth, abs=1e-9)


def test_smoothed_heads_are_rotations_and_keep_a_steady_turn():
    times = np.arange(15)
    heads = [
        HeadFit(scale=5.0 + 0.1 * k, rotation=rotation(2.0 * k, 0, 0), translation=np.array([k, 0.0, 0.0]))
        for k in range(15)
    ]
    smooth = steady_heads(heads, times, [(0, 15)], 7)
    for head, was in zip(smooth, heads, strict=True):
        assert head.rotation @ head.rotation.T == pytest.approx(np.eye(3), abs=1e-9)
        assert head.rotation == pytest.approx(was.rotation, abs=2e-3)
        assert head.scale == pytest.approx(was.scale, rel=1e-3)
        assert head.translation == pytest.approx(was.translation, abs=1e-6)


def test_smoothing_piece_by_piece_equals_smoothing_whole_shots():
    rows = np.random.default_rng(3).normal(size=(90, 4))
    times, bounds = np.arange(90), [(0, 33), (33, 90)]
    whole = motion.steady_rows(rows, times, bounds, 5)
    pieces = []
    for inner, outer in motion.stretches(bounds, 20, margin=5):
        part = motion.steady_rows(rows[outer], times[outer], [(0, outer.stop - outer.start)], 5)
        pieces.append(part[inner.start - outer.start : inner.stop - outer.start])
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-12)
