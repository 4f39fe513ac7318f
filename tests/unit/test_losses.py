import pytest
import torch

from intracoder.nets.intracoder import Generated
from intracoder.nets.losses import LossWeights, charbonnier, gradient_loss, intracoder_losses, of_slice, ssim_loss


def flat(value, channels=3, size=32):
    return torch.full((1, channels, size, size), value)


def test_a_perfect_picture_costs_nothing_but_charbonniers_epsilon():
    torch.manual_seed(0)
    expected, mask = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32)
    terms = intracoder_losses(Generated(expected, mask), expected, mask, mask + 0.1)
    assert float(terms["color"].raw) == pytest.approx(1e-3, rel=1e-3)
    for name in ("ssim", "gradient", "alpha"):
        assert float(terms[name].raw) == pytest.approx(0, abs=1e-5)


def test_a_constant_error_is_its_own_charbonnier_and_has_no_gradient_loss():
    difference, weight = flat(0.2), flat(1.0, 1)
    assert float(charbonnier(difference, weight)) == pytest.approx(0.2, rel=1e-3)
    assert float(gradient_loss(difference, weight)) == pytest.approx(0, abs=1e-7)


def test_gradient_loss_counts_every_pair_of_neighbours_once_and_none_across_the_border():
    torch.manual_seed(0)
    difference, weight = torch.rand(2, 3, 6, 8), torch.rand(2, 1, 6, 8)
    across = (difference[..., 1:] - difference[..., :-1]).abs().mean(1, keepdim=True)
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean(1, keepdim=True)
    by_hand = ((weight[..., 1:] * across).sum() + (weight[..., 1:, :] * down).sum()) / weight.sum()
    assert float(gradient_loss(difference, weight)) == pytest.approx(float(by_hand), rel=1e-5)


def test_weights_say_where_an_error_counts():
    difference, weight = flat(0.0), flat(0.0, 1)
    difference[..., :16] = 0.4
    weight[..., :16] = 1.0
    assert float(charbonnier(difference, weight)) == pytest.approx(0.4, rel=1e-3)
    assert float(charbonnier(difference, 1 - weight)) == pytest.approx(1e-3, rel=1e-3)
    # an area mean: the scale of the weights does not matter
    assert float(charbonnier(difference, 7 * weight)) == pytest.approx(0.4, rel=1e-3)


def test_ssim_falls_with_contrast_but_hardly_with_brightness():
    torch.manual_seed(0)
    expected, weight = 0.3 + 0.4 * torch.rand(1, 3, 32, 32), flat(1.0, 1)
    brighter = float(ssim_loss(expected + 0.05, expected, weight))
    flatter = float(ssim_loss((expected - 0.5) * 0.4 + 0.5, expected, weight))
    inverted = float(ssim_loss(1 - expected, expected, weight))
    assert brighter < 0.05 < flatter < 1 < inverted < 2


def test_ssim_is_the_published_one():
    # of two constants: the structure part is 1, the luminance part by the formula with K1 = .01
    a, b, weight = flat(0.5), flat(0.25), flat(1.0, 1)
    expected = 1 - (2 * 0.5 * 0.25 + 1e-4) / (0.5**2 + 0.25**2 + 1e-4)
    assert float(ssim_loss(a, b, weight)) == pytest.approx(expected, rel=1e-3)


def test_the_total_is_the_weighted_sum_and_zero_weights_leave_terms_out():
    torch.manual_seed(0)
    expected, mask = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
    made = Generated(torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32))
    terms = intracoder_losses(made, expected, mask, mask, LossWeights(color=2.0, ssim=0.0, gradient=0.5, alpha=0.1))
    assert list(terms) == ["color", "gradient", "alpha"]
    by_hand = 2.0 * terms["color"].raw + 0.5 * terms["gradient"].raw + 0.1 * terms["alpha"].raw
    assert float(terms.total()) == pytest.approx(float(by_hand))


def test_every_term_pulls_towards_the_expected_picture():
    torch.manual_seed(0)
    expected, mask = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
    rgb = torch.rand(1, 3, 32, 32).requires_grad_()
    alpha = torch.rand(1, 1, 32, 32).requires_grad_()
    before = intracoder_losses(Generated(rgb, alpha), expected, mask, mask)
    before.total().backward()
    after = intracoder_losses(Generated(rgb - 20 * rgb.grad, alpha - 20 * alpha.grad), expected, mask, mask)
    for name, term in before.items():
        assert float(after[name].raw.detach()) < float(term.raw.detach()), name


def test_the_mean_over_slices_is_the_whole_batchs_loss():
    generator = torch.Generator().manual_seed(0)

    def drawn(channels):
        return torch.rand(4, channels, 32, 32, generator=generator)

    expected, mask, made = drawn(3), drawn(1), Generated(drawn(3), drawn(1))
    expected[2:] += 0.3 * (made.rgb[2:] - expected[2:])
    weight = drawn(1) * torch.tensor([0.2, 3.0, 1.0, 5.0])[:, None, None, None]
    whole = intracoder_losses(made, expected, mask, weight)
    slices = []
    for rows in (slice(0, 2), slice(2, 4)):
        own = intracoder_losses(Generated(*(m[rows] for m in made)), expected[rows], mask[rows], weight[rows])
        slices.append(of_slice(own, weight[rows], weight))
    for name, term in whole.items():
        assert float(sum(s[name].raw for s in slices)) / 2 == pytest.approx(float(term.raw), rel=1e-5)
        assert all(s[name].weight == term.weight for s in slices)
    # without the shares it would be another loss
    plain = [charbonnier((made.rgb - expected)[rows], weight[rows]) for rows in (slice(0, 2), slice(2, 4))]
    assert abs(float(sum(plain)) / 2 - float(whole["color"].raw)) > 1e-3
