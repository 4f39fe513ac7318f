import itertools

import numpy as np
import pytest
from face_shapes import crop_points

from intracoder.errors import FaceSetError
from intracoder.faceset.likeness import (
    EYE_CORNERS,
    feature_distances,
    make_likeness,
    measure_performance,
    steady_choice,
)
from intracoder.faceset.person import PersonFrames


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
    likeness = make_likeness(frames(), np.zeros((478, 3)))
    distances = feature_distances(likeness.features, likeness.features)
    order = distances.argsort(axis=1)
    assert order[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert set(order[2, 1:3].tolist()) == {1, 3}


def test_a_performance_is_free_of_pose():
    performance = measure_performance(frames().points)
    assert np.abs(performance.shapes - performance.shapes[:1]).max() < 1e-3


def test_another_persons_expression_is_worn_where_that_ones_eyes_are():
    shape = measure_performance(frames().points).shapes[0]
    smaller = make_likeness(frames(), 0.8 * shape + [3.0, 0.0, 1.0])
    smile = np.stack([shape, shape])
    smile[1, 61] += [-1.0, -0.5, 0.0]
    worn = smaller.wearing(smile, shape)
    corners = list(EYE_CORNERS)
    assert worn[0, corners].mean(axis=0) == pytest.approx(shape[corners].mean(axis=0))
    assert worn[1] - worn[0] == pytest.approx(smile[1] - smile[0])
    # the size of the face stays its own
    assert np.ptp(worn[0], axis=0) == pytest.approx(0.8 * np.ptp(shape, axis=0))


def test_arrays_that_do_not_match_are_refused():
    with pytest.raises(FaceSetError, match="toy"):
        frames(points=np.zeros((4, 478, 3), np.float32))
    with pytest.raises(FaceSetError, match="finite"):
        frames(points=np.full((5, 478, 3), np.nan, np.float32))


def test_a_subset_keeps_the_order_asked_for():
    part = frames().subset(np.array([3, 1]))
    assert part.frame_indices.tolist() == [3, 1]
    assert part.points[0] == pytest.approx(frames().points[3])
