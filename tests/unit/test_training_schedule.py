import pytest

from intracoder.config import TrainConfig
from intracoder.training.schedule import (
    LAST_FACTOR,
    Budget,
    average_decay,
    budget_of,
    rate_factor,
    triplet_share,
    warp_strength,
)


def test_steps_win_over_minutes():
    assert budget_of(TrainConfig(minutes=3.0, steps=50)) == Budget(steps=50, seconds=None)
    assert budget_of(TrainConfig(minutes=3.0)) == Budget(steps=None, seconds=180.0)


def test_progress_and_time_left():
    timed, counted = Budget(steps=None, seconds=100.0), Budget(steps=200, seconds=None)
    assert timed.progress(7, 25.0) == 0.25
    assert timed.left_s(7, 25.0) == 75.0
    assert counted.progress(50, 10.0) == 0.25
    assert counted.left_s(50, 10.0) == pytest.approx(30.0)
    assert counted.left_s(0, 0.0) is None


def test_the_rate_warms_up_stays_and_falls_to_its_end():
    assert rate_factor(0, 0.0) == pytest.approx(0.01)
    assert rate_factor(99, 0.1) == 1.0
    assert rate_factor(500, 0.44) == 1.0
    assert rate_factor(500, 0.725) == pytest.approx((1 + LAST_FACTOR) / 2)
    assert rate_factor(500, 1.0) == pytest.approx(LAST_FACTOR)
    assert rate_factor(500, 1.3) == pytest.approx(LAST_FACTOR)


def test_warp_falls_triplets_start_late_and_the_average_gets_longer():
    assert warp_strength(0.1) > warp_strength(0.6) > warp_strength(0.9) > 0
    assert triplet_share(0.01) == 0
    assert 0.3 < triplet_share(0.5) < 0.5
    assert average_decay(0) == pytest.approx(0.1)
    assert average_decay(100_000) == 0.995
