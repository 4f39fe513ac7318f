"""The seat sheet."""

import numpy as np

from intracoder.evaluation.seats import CELL_PX, draw_seats, seats_about
from intracoder.ops.seating import Seat


def test_the_seat_as_set_is_in_the_middle_of_every_row_and_each_row_changes_one_thing():
    base = Seat(tilt_deg=2.0, size=1.1, height=-0.02)
    tilts, sizes, heights = seats_about(base)
    assert [row[2] for row in (tilts, sizes, heights)] == [base] * 3
    assert [one.tilt_deg for one in tilts] == [-4, -1, 2, 5, 8]
    np.testing.assert_allclose([one.size for one in sizes], [1.034, 1.067, 1.1, 1.133, 1.166])
    np.testing.assert_allclose([one.height for one in heights], [-0.07, -0.045, -0.02, 0.005, 0.03])
    assert {(one.size, one.height) for one in tilts} == {(base.size, base.height)}
    assert {(one.tilt_deg, one.height) for one in sizes} == {(base.tilt_deg, base.height)}
    assert {(one.tilt_deg, one.size) for one in heights} == {(base.tilt_deg, base.size)}


def test_every_picture_is_on_the_sheet_once_and_in_its_place():
    seats = seats_about(Seat())
    levels = np.arange(10, 10 + 17 * 12, 12, dtype=np.uint8)
    plain = [np.full((64, 64, 3), level, np.uint8) for level in levels]
    rows = [plain[2 + 5 * row : 7 + 5 * row] for row in range(3)]
    sheet = draw_seats(plain[0], plain[1], seats, rows)
    found = []
    for level in levels:
        y, x = np.nonzero((sheet == level).all(2))
        # words and lines have a few pixels of any grey; a cell has all of its own
        assert len(y) >= CELL_PX**2
        found.append((np.median(y), np.median(x)))
    tops, lefts = np.array(found).T
    assert tops[0] == tops[1] < tops[2]
    for row in range(3):
        assert len(set(tops[2 + 5 * row : 7 + 5 * row])) == 1
        assert (np.diff(lefts[2 + 5 * row : 7 + 5 * row]) == CELL_PX + 18).all()
    assert tops[2] < tops[7] < tops[12]
