import cv2
import numpy as np
import pytest

from intracoder.ops.quality import (
    add_grain,
    exposure,
    match_sharpness,
    matching_blur,
    noise_level,
    sharpen,
    sharpness,
    soften,
)

MASK = np.zeros((192, 192), np.float32)
MASK[16:-16, 16:-16] = 1.0


def portrait(seed, contrast=40.0, size=192):
    """A smooth picture with edges of parts, as a face has."""
    rng = np.random.default_rng(seed)
    layers = [cv2.GaussianBlur(rng.normal(0, 1, (size, size)), (0, 0), s) * s**1.3 for s in (4.0, 8.0, 16.0)]
    values = sum(layers)
    values = values / values.std() * contrast + 128
    for _ in range(16):
        centre, axes = rng.integers(30, size - 30, 2), rng.integers(5, 18, 2)
        spot = np.zeros((size, size))
        cv2.ellipse(spot, centre.tolist(), axes.tolist(), float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA)
        values -= contrast * cv2.GaussianBlur(spot, (0, 0), 0.7)
    return np.repeat(np.clip(values, 0, 255).astype(np.uint8)[..., None], 3, 2)


def test_sharpness_falls_with_blur_and_knows_no_contrast_or_light():
    image = portrait(0)
    levels = [sharpness(soften(image, s), MASK) for s in (0.0, 0.7, 1.5, 3.0)]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > 2 * levels[2]
    flat = np.rint(image * 0.5 + 60).astype(np.uint8)
    assert sharpness(flat, MASK) == pytest.approx(sharpness(image, MASK), rel=0.2)


def test_sharpness_does_not_take_noise_for_detail():
    crisp, soft = portrait(0), soften(portrait(0), 2.0)
    noisy = add_grain(soft, 2.0, 0)
    assert sharpness(noisy, MASK) < 0.6 * sharpness(crisp, MASK)
    # the Laplacian itself answers more to this noise than to all that the soft picture shows
    assert cv2.Laplacian(noisy[..., 1], cv2.CV_32F).std() > 2 * cv2.Laplacian(soft[..., 1], cv2.CV_32F).std()


@pytest.mark.parametrize("measure", [sharpness, exposure, noise_level])
def test_measures_are_zero_for_an_empty_mask(measure):
    assert measure(portrait(0), np.zeros((192, 192), np.float32)) == 0.0


def test_exposure_is_mean_luma():
    image = np.zeros((192, 192, 3), np.uint8)
    image[:, :96] = 255
    assert exposure(image, np.ones((192, 192), np.float32)) == pytest.approx(0.5, abs=1e-6)
    half = np.zeros((192, 192), np.float32)
    half[:, :96] = 1
    assert exposure(image, half) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("deviation", [2.0, 5.0, 10.0])
def test_noise_level_finds_the_deviation(deviation):
    smooth = soften(portrait(0), 3.0)
    assert noise_level(add_grain(smooth, deviation, 1), MASK) == pytest.approx(deviation, rel=0.12)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.5])
def test_matching_blur_finds_the_blur(sigma):
    image = portrait(0)
    assert matching_blur(image, soften(image, sigma), MASK) == pytest.approx(sigma, rel=0.2)
    # of another picture too, and under another light
    other = np.rint(soften(portrait(1), sigma) * 0.6 + 30).astype(np.uint8)
    assert matching_blur(image, other, MASK) == pytest.approx(sigma, abs=0.1 + 0.12 * sigma)


def test_a_soft_reference_makes_a_crisp_image_soft():
    image, reference = portrait(0), soften(portrait(0), 2.0)
    matched = match_sharpness(image, reference, MASK, 0)
    assert sharpness(matched, MASK) == pytest.approx(sharpness(reference, MASK), rel=0.10)
    assert sharpness(image, MASK) > 3 * sharpness(reference, MASK)


def test_noise_in_the_reference_is_not_taken_for_sharpness():
    image, reference = portrait(0), add_grain(soften(portrait(1), 2.0), 6.0, 3)
    assert matching_blur(image, reference, MASK) == pytest.approx(2.0, rel=0.25)


def test_a_crisp_reference_sharpens_within_limits_and_an_equal_picture_stays():
    crisp, soft = portrait(0), soften(portrait(0), 0.8)
    matched = match_sharpness(soft, crisp, MASK, 0)
    assert sharpness(soft, MASK) < 0.8 * sharpness(crisp, MASK)
    assert sharpness(soft, MASK) * 1.15 < sharpness(matched, MASK) < 1.1 * sharpness(crisp, MASK)
    very_soft = soften(crisp, 2.5)
    np.testing.assert_array_equal(match_sharpness(very_soft, crisp, MASK, 0), sharpen(very_soft, 0.8 * (1 - 1 / 64)))
    np.testing.assert_array_equal(match_sharpness(crisp, crisp, MASK, 0), crisp)


def test_sharpening_keeps_flat_parts_and_steepens_edges():
    edge = np.full((128, 128, 3), 80, np.uint8)
    edge[:, 64:] = 160
    edge = soften(edge, 0.8)
    done = sharpen(edge, 1.0).astype(int)
    np.testing.assert_array_equal(done[:, :40], 80)
    np.testing.assert_array_equal(done[:, 90:], 160)
    assert np.abs(np.diff(done[64, :, 0])).max() > 1.2 * np.abs(np.diff(edge[64, :, 0].astype(int))).max()
    np.testing.assert_array_equal(sharpen(edge, 0.0), edge)


def test_grain_is_the_references_and_repeats_by_seed():
    image = soften(portrait(0), 2.0)
    reference = add_grain(soften(portrait(1), 2.0), 5.0, 9)
    first, again, other = (match_sharpness(image, reference, MASK, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5
    assert noise_level(first, MASK) == pytest.approx(noise_level(reference, MASK), rel=0.15)


def test_an_empty_mask_changes_nothing():
    image = portrait(0)
    np.testing.assert_array_equal(match_sharpness(image, soften(image, 3.0), np.zeros_like(MASK), 0), image)
