"""Figures: what is where, and that pictures stay exact."""

from __future__ import annotations

import numpy as np
import pytest

from intracoder.errors import ConfigError
from intracoder.evaluation.canvas import Canvas, fit_square
from intracoder.evaluation.curves import draw_curves
from intracoder.evaluation.figures import ERROR_FULL_SCALE, IdentityRow, StripRow, draw_grid, draw_strips, error_map
from intracoder.evaluation.scorecard import Scorecard, measured
from intracoder.evaluation.windows import SIDE_PX, face_square


def plain(color: tuple[int, int, int], side: int = 40) -> np.ndarray:
    return np.full((side, side, 3), color, np.uint8)


RED, GREEN, BLUE = (200, 30, 30), (30, 200, 30), (30, 30, 200)


def cells(image: np.ndarray, color: tuple[int, int, int], side: int) -> int:
    """How many whole cells of one colour the figure shows."""
    return round(int((image == np.array(color)).all(axis=2).sum()) / side**2)


def test_the_grid_shows_every_face_of_every_row_exactly() -> None:
    rows = [
        IdentityRow(name="W", swapped_crops=[plain(GREEN)] * 3, source_crops=[plain(BLUE)] * 3),
        IdentityRow(name="H", swapped_crops=[plain(GREEN)] * 3),
    ]
    grid = draw_grid([plain(RED)] * 3, rows, cell_px=64, title="title", column_names=["a", "b", "c"])
    assert grid.dtype == np.uint8
    assert [cells(grid, color, 64) for color in (RED, GREEN, BLUE)] == [3, 6, 3]


def test_solid_lines_join_performances_and_dotted_lines_identities() -> None:
    row = IdentityRow(name="W", swapped_crops=[plain(GREEN)] * 2, source_crops=[plain(BLUE)] * 2)
    grid = draw_grid([plain(RED)] * 2, [row], cell_px=64)
    ys, xs = np.nonzero((grid == np.array(RED)).all(axis=2))
    left, bottom = xs.min(), ys.max()
    below_target = grid[bottom + 4 : bottom + 36, left + 32].astype(int).sum(axis=1)
    assert (below_target < 3 * 90).all()
    swapped_bottom = np.nonzero((grid == np.array(GREEN)).all(axis=2))[0].max()
    below_swapped = grid[swapped_bottom + 4 : swapped_bottom + 36, left + 32].astype(int).sum(axis=1)
    assert (below_swapped > 3 * 240).any()
    assert (below_swapped < 3 * 200).any()


@pytest.mark.parametrize(
    ("targets", "row", "names"),
    [
        (0, (0, 0), 0),
        (2, (3, 0), 0),
        (2, (2, 1), 0),
        (2, (2, 2), 3),
    ],
)
def test_grids_that_do_not_fit_are_one_clear_line(targets: int, row: tuple[int, int], names: int) -> None:
    one = IdentityRow(name="W", swapped_crops=[plain(GREEN)] * row[0], source_crops=[plain(BLUE)] * row[1])
    with pytest.raises(ConfigError, match="performance grid"):
        draw_grid([plain(RED)] * targets, [one], column_names=["x"] * names)


def test_strips_have_a_row_a_method() -> None:
    rows = [StripRow(name=f"method {k}, with a long name", crops=[plain(RED)] * 4, note="5 min") for k in range(3)]
    assert cells(draw_strips(rows, column_names=list("abcd"), title="t", cell_px=50), RED, 50) == 12
    with pytest.raises(ConfigError, match="strips"):
        draw_strips([])
    with pytest.raises(ConfigError, match="strips"):
        draw_strips([*rows, StripRow(name="short", crops=[])])


def test_error_maps_are_black_where_equal_and_saturate() -> None:
    image = plain((100, 100, 100))
    other = image.copy()
    other[:20] += np.uint8(ERROR_FULL_SCALE)
    other[30:] += np.uint8(2 * ERROR_FULL_SCALE)
    shown = error_map(other, image)
    assert shown[25, 5].max() <= 4
    assert np.array_equal(shown[5, 5], shown[35, 5])
    assert shown[5, 5].sum() > 500


def test_curves_draw_what_was_measured() -> None:
    values = np.array([0.1, np.nan, 0.3])
    one = measured(values)
    assert one is not None
    card = Scorecard(
        output="o",
        target="t",
        source="s",
        truth=None,
        embedder="e",
        start=0,
        frame_count=3,
        target_faces=3,
        metrics={"pose_deg": one, "expression": one},
    )
    image = draw_curves({"ours": card, "other": card}, title="a pair")
    assert image.shape[1] == 1100
    assert image.std() > 5
    empty = Scorecard(**{f: getattr(card, f) for f in card.__slots__ if f != "metrics"}, metrics={})
    assert draw_curves({"none": empty}).shape[1] == 1100


def test_pictures_are_laid_down_pixel_for_pixel() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (30, 20, 3), dtype=np.uint8)
    sheet = Canvas(80, 90)
    sheet.picture(noise, 10, 20)
    assert np.array_equal(sheet.to_image()[20:50, 10:30], noise)


def test_names_with_dollar_signs_are_no_formula() -> None:
    sheet = Canvas(40, 200)
    sheet.words("costs $5 and $6", 5, 20)
    assert sheet.to_image().min() < 128


def test_crops_keep_their_shape_in_a_square() -> None:
    square = fit_square(np.full((20, 40, 3), 7, np.uint8), 40)
    assert square.shape == (40, 40, 3)
    assert (square[10:30] == 7).all()
    assert (square[:10] == 255).all()


def test_face_squares_are_centred_on_the_face() -> None:
    points = np.zeros((478, 3), np.float32)
    points[:468, 0] = np.linspace(40, 60, 468)
    points[:468, 1] = np.linspace(20, 60, 468)
    image = np.zeros((100, 100, 3), np.uint8)
    image[39:42, 49:52] = 255
    square = face_square(image, points)
    assert square.shape == (SIDE_PX, SIDE_PX, 3)
    ys, xs = np.nonzero(square[..., 0] > 128)
    assert abs(ys.mean() - SIDE_PX / 2) < 4
    assert abs(xs.mean() - SIDE_PX / 2) < 4
