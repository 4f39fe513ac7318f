"""Eyes that are lit like the head they are in, on painted faces."""

import numpy as np
import pytest
from face_shapes import crop_points

from intracoder.ops.color import encoded, linear_light
from intracoder.ops.eyes import eye_excess, with_eye_light
from intracoder.ops.mask import opening_mask
from intracoder.ops.topology import EYES

SIZE = 256
WHITE = np.array([0.5, 0.5, 0.5])


def face(skin, *, light=1.0, yaw=0.0, closed=0.0):
    """A crop with skin of that reflectance and half-white eyes, and its landmarks."""
    points = crop_points(SIZE, yaw=yaw)
    for lids in EYES:
        row = list(lids)
        points[row, 1] += closed * (points[row, 1].mean() - points[row, 1])
    colors = np.broadcast_to(np.array(skin) * light, (SIZE, SIZE, 3)).copy()
    opening = opening_mask(points, SIZE) > 0
    colors[opening] = WHITE * light
    # every third row is lash or iris
    colors[np.arange(SIZE) % 3 == 0] = np.where(opening[np.arange(SIZE) % 3 == 0, :, None], 0.02, colors[::3][:1])
    return np.rint(encoded(np.clip(colors, 0, 1)) * 255).astype(np.uint8), points


def footage(skin, **options):
    faces = [face(skin, yaw=yaw, **options) for yaw in (-10, -5, 0, 5, 10)]
    return [crop for crop, _ in faces], [points for _, points in faces]


@pytest.mark.parametrize("light", [0.3, 0.9])
def test_only_dark_skin_leaves_eyes_that_are_too_light(light):
    assert eye_excess(*footage((0.45, 0.38, 0.33), light=light)) == 0
    # ln(.5 / .1) is 1.6, of which .5 is usual
    assert eye_excess(*footage((0.1, 0.1, 0.1), light=light)) == pytest.approx(1.1, abs=0.12)


def test_eyes_darker_than_skin_say_nothing():
    assert eye_excess(*footage((0.9, 0.9, 0.9))) == 0


def test_closed_eyes_and_too_few_frames_say_nothing():
    crops, points = footage((0.1, 0.1, 0.1))
    assert eye_excess(crops, points) > 0.8
    assert eye_excess(crops[:2], points[:2]) == 0
    assert eye_excess(*footage((0.1, 0.1, 0.1), closed=0.9)) == 0


def test_a_gain_of_eyes_leaves_the_skin_alone():
    crop, points = face((0.2, 0.15, 0.1), light=0.8)
    darker = with_eye_light(crop, points, -0.7)
    deep = opening_mask(points, SIZE) > 0.999
    deep &= np.roll(deep, 3, 0) & np.roll(deep, -3, 0) & np.roll(deep, 3, 1) & np.roll(deep, -3, 1)
    assert deep.any()
    ratio = linear_light(darker)[deep].sum() / linear_light(crop)[deep].sum()
    assert np.log(ratio) == pytest.approx(-0.7, abs=0.03)
    away = np.ones((SIZE, SIZE), bool)
    for lids in EYES:
        x, y = points[list(lids), :2].mean(axis=0).astype(int)
        away[y - 25 : y + 25, x - 35 : x + 35] = False
    np.testing.assert_array_equal(darker[away], crop[away])
    assert with_eye_light(crop, points, 0.0) is crop
