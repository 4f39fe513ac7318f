import pytest

from intracoder.config import TrainConfig
from intracoder.training.schedule import (
    LAST_FACTOR,
    Budget,
    average_decay,
    budget_of,
    finishing_share,
    has_stalled,
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


def test_a_loss_that_was_best_long_ago_has_stalled():
    assert not has_stalled(best_s=100.0, elapsed_s=219.0, patience_s=120.0)
    assert has_stalled(best_s=100.0, elapsed_s=220.0, patience_s=120.0)
    assert not has_stalled(best_s=0.0, elapsed_s=1e6, patience_s=0.0)


def test_an_early_end_takes_time_to_bring_the_rate_down():
    config = TrainConfig(minutes=10.0)
    before = budget_of(config).progress(1000, 240.0)
    shortened = budget_of(config, finishing_share(before))
    assert shortened.left_s(1000, 240.0) == pytest.approx(96.0)
    rates = [rate_factor(1000, shortened.progress(1000, t)) for t in (240.0, 290.0, 336.0)]
    assert rates[0] > rates[1] > rates[2] == pytest.approx(LAST_FACTOR)
    # late in a budget there is nothing left to cut
    assert finishing_share(0.9) == 1.0
