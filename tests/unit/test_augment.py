import pytest
import torch

from intracoder.faceset.planes import MARGIN
from intracoder.nets.device import step_generator
from intracoder.nets.normalize import LEVEL
from intracoder.training.augment import WEIGHT_UNIT, Augmentation, Samples, augmented, centered

SIDE, OUT, IN = 80, 64, 32
USUAL = Augmentation()


def samples(count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layers = torch.randint(0, 256, (count, 10, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    layers[:, 3] = 0
    layers[:, 3, 20:60, 20:60] = 255
    layers[:, 4] = int(WEIGHT_UNIT)
    layers[:, 5] = layers[:, 3]
    references = torch.randint(0, 256, (count, 4, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    return Samples(layers[:, :3], layers, references)


def run(seed, step, strengths=USUAL, warp=0.03):
    return augmented(
        samples(), step_generator(seed, step), encoder_px=IN, output_px=OUT, warp=warp, strengths=strengths
    )


def test_the_stored_side_is_the_windows_times_the_margin():
    assert round(OUT * MARGIN) == SIDE


def test_a_step_repeats_bit_for_bit_and_another_does_not():
    first, again, other = run(3, 5), run(3, 5), run(3, 6)
    for a, b, c in zip(first, again, other, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_shapes_and_ranges():
    batch = run(0, 0)
    assert batch.inputs.shape == (6, 3, IN, IN)
    assert batch.expected.shape == (6, 3, OUT, OUT)
    assert batch.planes.shape == (6, 8, OUT, OUT)
    for part in (batch.inputs, batch.expected, batch.mask, batch.planes):
        assert part.min() >= 0
        assert part.max() <= 1 + 1e-5
    assert batch.weight.numpy() == pytest.approx(1, abs=1e-5)


def test_without_change_the_middle_window_comes_out():
    given = samples()
    batch = centered(given, encoder_px=IN, output_px=OUT)
    border = (SIDE - OUT) // 2
    mask = given.layers[:, 3:4, border:-border, border:-border] / 255
    assert torch.allclose(batch.mask, mask, atol=1e-4)
    assert torch.allclose(batch.planes[:, :4], given.layers[:, 6:, border:-border, border:-border] / 255, atol=1e-4)


def test_inputs_expected_and_references_have_one_skin_level():
    batch = centered(samples(), encoder_px=IN, output_px=OUT)
    for picture in (batch.expected, batch.planes[:, -3:]):
        inside = picture[:, :, 14:50, 14:50]
        assert inside.mean((2, 3)).numpy() == pytest.approx(LEVEL, abs=0.03)


def test_only_inputs_are_warped_and_degraded():
    still = Augmentation(degrade_share=0.0)
    plain, changed = run(1, 1, still, warp=0.0), run(1, 1, Augmentation(degrade_share=1.0), warp=0.0)
    assert torch.equal(plain.mask, changed.mask)
    assert not torch.equal(plain.inputs, changed.inputs)


def test_the_references_light_is_its_own():
    # three pictures that are the same before get the same geometry, but only input and expected the same light
    given = samples()
    visible = torch.cat([given.references[:, :1], given.layers[:, :3]], 1)
    same = Samples(given.inputs, given.layers, visible)
    strengths = Augmentation(degrade_share=0.0)
    batch = augmented(same, step_generator(0, 0), encoder_px=OUT, output_px=OUT, warp=0.0, strengths=strengths)
    assert torch.allclose(batch.inputs, batch.expected, atol=1e-5)
    assert (batch.planes[:, -3:] - batch.expected).abs().mean() > 0.01


def test_a_plain_net_gets_no_planes():
    given = samples()
    plain = Samples(given.inputs, given.layers[:, :6], None)
    batch = augmented(plain, step_generator(0, 0), encoder_px=IN, output_px=OUT, warp=0.02, strengths=Augmentation())
    assert batch.planes is None
