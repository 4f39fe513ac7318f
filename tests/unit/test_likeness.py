import itertools

import numpy as np
import pytest
from face_shapes import canonical_shape, crop_points

from intracoder.errors import FaceSetError
from intracoder.faceset.likeness import (
    Performance,
    RestingHead,
    feature_distances,
    find_rest,
    make_likeness,
    measure_performance,
    steady_choice,
)
from intracoder.faceset.person import PersonFrames, spread_rows
from intracoder.ops.expression import ShapeBasis
from intracoder.ops.geometry import posed


def frames(count=5, **changes):
    values = {
        "name": "toy",
        "crops": np.zeros((count, 64, 64, 3), np.uint8),
        "points": np.stack([crop_points(64, yaw=10.0 * k - 20) for k in range(count)]),
        "blendshapes": np.zeros((count, 52), np.float32),
        "frame_indices": np.arange(count),
        "clip_indices": np.zeros(count, np.int64),
    }
    return PersonFrames(**(values | changes))


def resting(shape=None):
    return RestingHead(
        shape=canonical_shape() if shape is None else shape, basis=ShapeBasis(directions=np.zeros((52, 478, 3)))
    )


def cost(distances, choice, switch_cost, starts):
    total = distances[np.arange(len(choice)), choice].sum()
    return total + switch_cost * sum(choice[k] != choice[k - 1] for k in range(1, len(choice)) if k not in starts)


@pytest.mark.parametrize("starts", [(), (2,)])
@pytest.mark.parametrize("switch_cost", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_steady_choice_is_the_best_of_all(seed, switch_cost, starts):
    distances = np.random.default_rng(seed).random((5, 3)) * 2
    chosen = steady_choice(distances, switch_cost, starts)
    best = min(cost(distances, np.array(c), switch_cost, starts) for c in itertools.product(range(3), repeat=5))
    assert cost(distances, chosen, switch_cost, starts) == pytest.approx(best)


def test_a_choice_does_not_flicker_between_equals():
    distances = np.array([[0.0, 0.1], [0.1, 0.0]] * 10)
    assert len(set(steady_choice(distances, 1.0).tolist())) == 1
    assert steady_choice(distances, 0.0).tolist() == [0, 1] * 10


def test_a_frame_is_nearest_to_itself_and_then_to_its_neighbours_in_pose():
    likeness = make_likeness(frames(), resting())
    distances = feature_distances(likeness.features, likeness.features)
    order = distances.argsort(axis=1)
    assert order[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert set(order[2, 1:3].tolist()) == {1, 3}


def test_a_performance_is_free_of_pose():
    performance = measure_performance(frames().points)
    assert np.abs(performance.shapes - performance.shapes[:1]).max() < 1e-3


def test_a_head_at_rest_is_found_in_every_pose():
    found = find_rest(frames(9).points, np.zeros((9, 52), np.float32), resting().basis)
    performed = found.perform(frames(9).points, np.zeros((9, 52), np.float32))
    assert np.abs(performed.shapes - found.shape)[:, :468].max() < 0.05


def test_another_persons_expression_is_worn_on_the_other_ones_head():
    shape = canonical_shape()
    smaller = make_likeness(frames(), resting(0.8 * shape + [3.0, 0.0, 1.0]))
    smile = np.stack([shape, shape])
    smile[1, 61] += [-1.0, -0.5, 0.0]
    heads = measure_performance(frames(2).points).heads
    worn = smaller.wearing(Performance(heads=heads, shapes=smile), resting(shape))
    # a head of the same proportions comes to lie exactly where the other one is, whatever it was measured in
    for k in range(2):
        np.testing.assert_allclose(posed(worn.shapes[k], worn.heads[k]), posed(smile[k], heads[k]), atol=1e-3)
    # in its own measure, so that its frames can be compared
    assert worn.shapes[0] == pytest.approx(smaller.rest.shape)
    assert (worn.shapes[1] - worn.shapes[0])[61] == pytest.approx([-0.8, -0.4, 0.0])


def test_arrays_that_do_not_match_are_refused():
    with pytest.raises(FaceSetError, match="toy"):
        frames(points=np.zeros((4, 478, 3), np.float32))
    with pytest.raises(FaceSetError, match="finite"):
        frames(points=np.full((5, 478, 3), np.nan, np.float32))


def test_a_subset_keeps_the_order_asked_for():
    part = frames().subset(np.array([3, 1]))
    assert part.frame_indices.tolist() == [3, 1]
    assert part.points[0] == pytest.approx(frames().points[3])


def test_spread_rows_are_even_in_order_and_no_more_than_there_are():
    assert spread_rows(5, 40).tolist() == [0, 1, 2, 3, 4]
    assert spread_rows(101, 5).tolist() == [0, 25, 50, 75, 100]
    assert spread_rows(1, 3).tolist() == [0]
