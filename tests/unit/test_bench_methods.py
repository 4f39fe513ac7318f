"""The learning methods of a benchmark: what they may spend, and what voids their kept outputs."""

from __future__ import annotations

import dataclasses

import pytest

from intracoder.app.trying import learning_methods, within
from intracoder.config import RenderConfig, RunConfig, TrainConfig
from intracoder.evaluation.suites import Budget


@pytest.mark.parametrize(("minutes", "second"), [(15.0, 0.75), (5.0, 0.75), (0.4, 0.08)])
def test_both_networks_share_the_minutes(minutes: float, second: float) -> None:
    train = within(Budget(minutes=minutes), TrainConfig())
    assert train.steps is None
    assert train.enhancer_steps is None
    assert train.enhancer_minutes == pytest.approx(second)
    assert (train.minutes or 0) + train.enhancer_minutes == pytest.approx(minutes)


def test_a_budget_in_steps_leaves_nothing_to_the_clock() -> None:
    train = within(Budget(steps=50), TrainConfig())
    assert (train.steps, train.enhancer_steps) == (40, 10)
    alone = within(Budget(steps=50), TrainConfig(enhancer_minutes=0.0))
    assert (alone.steps, alone.enhancer_steps) == (50, None)
    plain = within(Budget(minutes=5.0), TrainConfig(enhancer_minutes=0.0))
    assert (plain.minutes, plain.enhancer_minutes) == (5.0, 0.0)


def states(config: RunConfig) -> list[str]:
    return [method.state for method in learning_methods(config)]


def test_options_void_the_outputs_that_they_change() -> None:
    plain, ours = states(RunConfig())
    assert plain != ours
    second = states(RunConfig(train=TrainConfig(enhancer_minutes=0.5)))
    assert second[0] == plain
    assert second[1] != ours
    learned = states(RunConfig(render=RenderConfig(color="learned")))
    assert learned[0] == plain
    assert learned[1] != ours
    rate = states(dataclasses.replace(RunConfig(), train=TrainConfig(lr=5e-4)))
    assert rate[0] != plain
    assert rate[1] != ours
