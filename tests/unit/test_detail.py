"""Detail as a factor, and what of it is regained from a real picture."""

import cv2
import numpy as np
import pytest

from intracoder.ops.detail import regained, with_detail

SIZE = 64


def eye(light=1.0):
    """A white disc with a dark one in it, on skin."""
    picture = np.full((SIZE, SIZE, 3), (180, 130, 110), np.uint8)
    cv2.circle(picture, (32, 32), 12, (225, 220, 215), -1, cv2.LINE_AA)
    cv2.circle(picture, (32, 32), 5, (30, 22, 20), -1, cv2.LINE_AA)
    return np.rint(picture * light).astype(np.uint8)


def drawn():
    """The same as a small network draws it: half the size, soft, its pupil grey."""
    soft = cv2.GaussianBlur(eye(), (0, 0), 3)
    return cv2.resize(soft, (SIZE // 2, SIZE // 2), interpolation=cv2.INTER_AREA)


def missing(picture):
    return np.abs(picture.astype(float) - eye())[20:44, 20:44].mean()


NOTHING = np.ones((SIZE, SIZE, 3), np.float32)
EVERYWHERE = np.ones((SIZE // 2, SIZE // 2), np.float32)


@pytest.mark.parametrize("light", [1.0, 0.5])
def test_a_grey_pupil_gets_its_contrast_back_whatever_the_references_light(light):
    grown = cv2.resize(drawn(), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    detail = regained(NOTHING, drawn(), eye(light), EVERYWHERE, blur=1 / 12, grain=0.0)
    assert missing(with_detail(grown, detail, 1.0)) < 0.45 * missing(grown)


def test_half_as_much_is_between():
    whole, half = (
        regained(NOTHING, drawn(), eye(), share * EVERYWHERE, blur=1 / 12, grain=0.0) for share in (1.0, 0.5)
    )
    inside = np.s_[30:34, 30:34]
    assert whole[inside].mean() < half[inside].mean() - 0.1 < 0.9


def test_where_nothing_is_wanted_nothing_changes():
    detail = np.random.default_rng(0).uniform(0.6, 1.7, (SIZE, SIZE, 3)).astype(np.float32)
    np.testing.assert_array_equal(regained(detail, drawn(), eye(), 0 * EVERYWHERE, blur=1 / 12, grain=0.0), detail)


def test_a_picture_has_nothing_to_regain_from_itself_and_keeps_its_colour():
    picture = cv2.resize(cv2.GaussianBlur(eye(), (0, 0), 3), (SIZE, SIZE))
    detail = regained(NOTHING, picture, picture, np.ones((SIZE, SIZE), np.float32), blur=1 / 12, grain=0.0)
    np.testing.assert_allclose(detail, 1, atol=1e-5)
    tinted = regained(NOTHING, drawn(), eye(), EVERYWHERE, blur=1 / 12, grain=0.0)
    np.testing.assert_array_equal(tinted[..., 0], tinted[..., 2])


def test_a_black_reference_and_a_white_face_stay_within_limits():
    black, white = np.zeros((SIZE, SIZE, 3), np.uint8), np.full((SIZE // 2, SIZE // 2, 3), 255, np.uint8)
    black[::2] = 255
    detail = regained(NOTHING, white, black, EVERYWHERE, blur=1 / 60, grain=0.0)
    assert np.isfinite(detail).all()
    assert detail.min() >= 1 / 3
    assert detail.max() <= 3


def test_grain_of_the_reference_stays_out_and_its_pupil_does_not():
    noise = np.random.default_rng(0).normal(1, 0.02, (SIZE, SIZE, 1))
    grainy = np.clip(np.rint(eye() * noise), 0, 255).astype(np.uint8)
    all_of_it, cored = (regained(NOTHING, drawn(), grainy, EVERYWHERE, blur=1 / 12, grain=g) for g in (0.0, 0.06))
    skin, pupil = np.s_[2:10, 2:10], np.s_[30:34, 30:34]
    assert cored[skin].std() < 0.1 * all_of_it[skin].std()
    assert cored[pupil].mean() < all_of_it[pupil].mean() + 0.1
