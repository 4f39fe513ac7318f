import numpy as np
import pytest
import torch
from toy_actors import TINY, both

from intracoder.errors import TrainingError
from intracoder.nets.device import choose_compute
from intracoder.nets.intracoder import Intracoder
from intracoder.ops.color import SkinMatcher
from intracoder.training.dataset import build_training_data
from intracoder.training.enhance_data import build_enhancer_data, random_light


def setting():
    torch.manual_seed(0)
    data = build_training_data(both(), TINY)
    return Intracoder(TINY).eval(), [p.likeness for p in data.people], choose_compute("cpu", "32-true", 1)


def test_lessons_show_the_sources_frames():
    net, people, compute = setting()
    told = []
    data = build_enhancer_data(
        net,
        people,
        compute,
        SkinMatcher(),
        max_frames=20,
        progress=lambda stage, done, total, note="": told.append((stage, done, total)),
    )
    count = min(20, len(people[0].frames))
    assert data.generated.shape == data.faces.shape == data.disguised.shape == (count, 32, 32, 3)
    assert data.expected.shape == (count, 64, 64, 3)
    assert data.changed.shape == (count, 3, 32, 32, 3)
    assert told[-1] == ("prepare", count, count)
    face = data.masks > 200
    small = data.expected.reshape(count, 32, 2, 32, 2, 3).mean((2, 4))
    # the same window at both sizes, pixel edges on one another
    assert np.abs(small - data.faces)[face].mean() < 6
    # drawn by the source's own decoder, which is more like the source than the other's is
    own, other = (np.abs(x.astype(float) - data.faces)[face].mean() for x in (data.generated, data.disguised))
    assert own < other
    again = build_enhancer_data(net, people, compute, SkinMatcher(), max_frames=20)
    np.testing.assert_array_equal(again.changed, data.changed)


def test_somebody_else_is_needed():
    net, people, compute = setting()
    with pytest.raises(TrainingError, match="two or more people, got 1"):
        build_enhancer_data(net, people[:1], compute, SkinMatcher())


def test_random_light_grows_with_its_strength_and_repeats():
    image = np.random.default_rng(0).integers(40, 200, (32, 32, 3), dtype=np.uint8)
    weak, strong = (
        np.mean(
            [np.abs(random_light(image, k, np.random.default_rng(s)).astype(float) - image).mean() for s in range(20)]
        )
        for k in (0.1, 1.0)
    )
    assert weak < 8 < strong
    first, again = (random_light(image, 1.0, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
