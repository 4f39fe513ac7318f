import cv2
import numpy as np
import pytest

from intracoder.ops.color import (
    NoMatcher,
    ReinhardMatcher,
    SkinMatcher,
    delta_e2000,
    lab_ruderman_to_rgb,
    lab_to_rgb,
    masked_statistics,
    rgb_to_lab,
    rgb_to_lab_ruderman,
)

# Sharma, Wu & Dalal 2005, table 1
SHARMA = [
    (50, 2.6772, -79.7751, 50, 0, -82.7485, 2.0425),
    (50, 3.1571, -77.2803, 50, 0, -82.7485, 2.8615),
    (50, -1.3802, -84.2814, 50, 0, -82.7485, 1.0000),
    (50, 0, 0, 50, -1, 2, 2.3669),
    (50, 2.49, -0.001, 50, -2.49, 0.0009, 7.1792),
    (50, 2.49, -0.001, 50, -2.49, 0.0010, 7.1792),
    (50, 2.49, -0.001, 50, -2.49, 0.0011, 7.2195),
    (50, -0.001, 2.49, 50, 0.0009, -2.49, 4.8045),
    (50, -0.001, 2.49, 50, 0.0011, -2.49, 4.7461),
    (50, 2.5, 0, 50, 0, -2.5, 4.3065),
    (50, 2.5, 0, 73, 25, -18, 27.1492),
    (50, 2.5, 0, 61, -5, 29, 22.8977),
    (50, 2.5, 0, 56, -27, -3, 31.9030),
    (50, 2.5, 0, 58, 24, 15, 19.4535),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630),
    (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
    (90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381),
    (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
]
MATCHERS = [NoMatcher(), ReinhardMatcher(), SkinMatcher()]
every_matcher = pytest.mark.parametrize("matcher", MATCHERS, ids=["none", "reinhard", "skin"])
transferring = pytest.mark.parametrize("matcher", MATCHERS[1:], ids=["reinhard", "skin"])


def skin_like(seed, size=96, mean=(170, 130, 110), contrast=12.0):
    noise = np.random.default_rng(seed).normal(0, 1, (size, size, 1))
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)[..., None]
    return np.clip(np.array(mean) + smooth / smooth.std() * contrast, 0, 255).astype(np.uint8)


def disc(size=96, radius=30, centre=None):
    mask = np.zeros((size, size), np.float32)
    cv2.circle(mask, centre or (size // 2, size // 2), radius, 1.0, -1)
    return mask


@pytest.mark.parametrize("row", SHARMA)
def test_delta_e2000_is_the_published_one_both_ways(row):
    first, second = np.array(row[:3], float), np.array(row[3:6], float)
    assert delta_e2000(first, second) == pytest.approx(row[6], abs=1e-4)
    assert delta_e2000(second, first) == pytest.approx(row[6], abs=1e-4)


def test_delta_e2000_works_on_pictures():
    lab = rgb_to_lab(skin_like(0))
    result = delta_e2000(lab, lab)
    assert result.shape == (96, 96)
    assert result.max() == 0


def test_convention_lab_is_cielab_d65():
    swatches = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255]]], np.uint8)
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(rgb_to_lab(swatches)[0], expected, atol=0.1)


@pytest.mark.parametrize(
    ("there", "back"),
    [(rgb_to_lab, lab_to_rgb), (rgb_to_lab_ruderman, lab_ruderman_to_rgb)],
    ids=["cielab", "ruderman"],
)
def test_colour_spaces_round_trip(there, back):
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    image = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(len(levels), -1, 3)
    assert np.abs(back(there(image)).astype(int) - image).max() <= 1


def test_ruderman_axes_are_lightness_yellow_blue_and_red_green():
    swatches = np.array([[[128] * 3, [255] * 3, [255, 255, 0], [255, 0, 0], [0, 255, 0]]], np.uint8)
    grey, white, yellow, red, green = rgb_to_lab_ruderman(swatches)[0]
    assert white[0] > grey[0]
    assert np.abs(grey[1:]).max() < 0.03
    assert yellow[1] > 0.2
    assert red[2] > 0.1 > 0 > green[2]


@every_matcher
def test_same_picture_stays_itself(matcher):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    mask = disc(64, 20)
    assert np.abs(matcher.match(image, image, mask, mask).astype(int) - image).max() <= 1


@every_matcher
def test_an_empty_mask_changes_nothing(matcher):
    image, reference = skin_like(0), skin_like(1, mean=(90, 80, 100))
    nothing = np.zeros((96, 96), np.float32)
    np.testing.assert_array_equal(matcher.match(image, reference, nothing, disc()), image)
    np.testing.assert_array_equal(matcher.match(image, reference, disc(), nothing), image)


@transferring
def test_mean_colour_is_the_references(matcher):
    image, reference = skin_like(0), skin_like(1, mean=(120, 100, 105))
    matched = matcher.match(image, reference, disc(), disc())
    got, _ = masked_statistics(rgb_to_lab(matched), disc())
    wanted, _ = masked_statistics(rgb_to_lab(reference), disc())
    assert np.abs(got - wanted).max() < 1.0


def test_reinhard_gives_mean_and_deviation_where_the_masks_are():
    image, reference = skin_like(0), skin_like(1, mean=(120, 100, 105), contrast=20.0)
    here, there = disc(centre=(40, 40), radius=25), disc(centre=(60, 60), radius=25)
    matched = ReinhardMatcher().match(image, reference, here, there)
    for got, wanted in zip(
        masked_statistics(rgb_to_lab_ruderman(matched), here),
        masked_statistics(rgb_to_lab_ruderman(reference), there),
        strict=True,
    ):
        np.testing.assert_allclose(got, wanted, atol=0.01)


def test_skin_takes_the_references_light_field_but_not_its_detail():
    size = 96
    base = skin_like(0, size)
    ramp = np.linspace(-25, 25, size)[None, :, None]
    reference = np.clip(skin_like(1, size).astype(float) + ramp, 0, 255).astype(np.uint8)
    matched = SkinMatcher(deviation_min=1.0).match(base, reference, disc(), disc())
    low = [cv2.GaussianBlur(x.astype(float), (0, 0), 12) for x in (matched, reference, base)]
    inside = disc(radius=22) > 0
    before, after = (np.abs(x - low[1])[inside].mean() for x in (low[2], low[0]))
    assert after < 0.55 * before
    detail = [x.astype(float) - cv2.GaussianBlur(x.astype(float), (0, 0), 3) for x in (matched, base)]
    assert np.corrcoef(detail[0][inside].ravel(), detail[1][inside].ravel())[0, 1] > 0.9


def test_skin_never_raises_the_deviation():
    image, reference = skin_like(0, contrast=5.0), skin_like(1, contrast=25.0)
    matched = SkinMatcher(weight=0.0).match(image, reference, disc(), disc())
    assert (
        masked_statistics(rgb_to_lab(matched), disc())[1][0]
        <= 1.05 * masked_statistics(rgb_to_lab(image), disc())[1][0]
    )


def test_skin_reads_only_the_masked_pixels():
    image, reference = skin_like(0), skin_like(1, mean=(120, 100, 105))
    painted = reference.copy()
    painted[disc() == 0] = (0, 255, 0)
    expected = SkinMatcher().match(image, reference, disc(), disc())
    np.testing.assert_array_equal(SkinMatcher().match(image, painted, disc(), disc()), expected)
