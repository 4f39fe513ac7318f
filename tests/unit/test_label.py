"""The visible badge: size, place, legibility, and that it touches nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from intracoder.provenance.label import Badge

SIZES = [(320, 320), (720, 1280), (1280, 720), (360, 640), (144, 176)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_letters_are_five_percent_of_the_shorter_side_and_stand_out(height: int, width: int, grey: int) -> None:
    image = np.full((height, width, 3), grey, np.uint8)
    badge = Badge(height, width)
    labelled = badge.apply(image)
    top, left, bottom, right = badge.region
    inside = labelled[top + 3 : bottom - 3, left + 3 : right - 3, 0]  # without the rim
    ink = inside > 200
    rows = np.flatnonzero(ink.any(axis=1))
    # the outermost ink row may be a half-covered one, hence the tolerance
    assert rows[-1] - rows[0] + 1 >= 0.05 * min(height, width) - 1
    assert np.median(inside[~ink]) < 100, "white letters stand on a dark box even over white"
    assert 0.15 < ink.mean() < 0.6


@pytest.mark.parametrize(("height", "width"), [*SIZES, (40, 400), (400, 40), (16, 16), (1, 1), (2, 3)])
def test_everything_outside_the_badge_is_untouched(height: int, width: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    before = image.copy()
    badge = Badge(height, width)
    labelled = badge.apply(image)
    top, left, bottom, right = badge.region
    assert 0 <= top < bottom <= height
    assert 0 <= left < right <= width
    np.testing.assert_array_equal(image, before)
    labelled[top:bottom, left:right] = image[top:bottom, left:right]
    np.testing.assert_array_equal(labelled, image)


def test_badge_lies_bottom_left_inside_the_frame() -> None:
    top, left, bottom, right = Badge(720, 1280).region
    assert top > 600
    assert bottom < 720
    assert 0 < left < 60
    assert right < 500


def test_badge_reads_the_same_after_jpeg_75() -> None:
    badge = Badge(320, 320)
    labelled = badge.apply(np.full((320, 320, 3), 180, np.uint8))
    _, data = cv2.imencode(".jpg", labelled, [cv2.IMWRITE_JPEG_QUALITY, 75])
    again = cv2.imdecode(data, cv2.IMREAD_COLOR)
    top, left, bottom, right = badge.region
    a, b = (x[top:bottom, left:right, 0].astype(np.float64).ravel() for x in (labelled, again))
    assert np.corrcoef(a, b)[0, 1] > 0.95


def test_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a frame of 320x240"):
        Badge(240, 320).apply(np.zeros((320, 240, 3), np.uint8))
