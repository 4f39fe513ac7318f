import numpy as np
import torch
from toy_actors import TINY, both

from intracoder.nets.device import choose_compute
from intracoder.nets.intracoder import Intracoder
from intracoder.training.dataset import build_training_data
from intracoder.training.preview import draw_preview
from intracoder.training.redraw import Cast, redraw, window_crops


def setting():
    torch.manual_seed(0)
    data = build_training_data(both(), TINY)
    return Intracoder(TINY).eval(), [p.likeness for p in data.people], choose_compute("cpu", "32-true", 1)


def test_own_frames_are_redrawn_from_others_in_the_same_window():
    net, people, compute = setting()
    rows = list(range(8))
    made = redraw(net, Cast(actor=people[0], artist=people[0], person=0), rows, compute)
    real, _ = window_crops(people[0], rows, 32)
    assert (made.real == real).all()
    assert made.generated.shape == (8, 32, 32, 3)
    for row, parts in zip(rows, made.references, strict=True):
        assert row not in parts
    # untrained, most of the reference is copied: that is already like the real frame
    face = made.masks > 0.9
    assert np.corrcoef(made.generated[face].ravel(), real[face].ravel())[0, 1] > 0.8


def test_another_person_is_drawn_with_the_actors_pose():
    net, people, compute = setting()
    made = redraw(net, Cast(actor=people[1], artist=people[0], person=0), [0, 7], compute)
    points = window_crops(people[1], [0, 7], 32)[1]
    assert np.abs(made.generated_points - np.stack(points))[..., :2].mean() < 0.5
    # ann's pale forehead on bob's frames, who has a dark one
    forehead, chin = np.s_[:, 8:12, 13:19], np.s_[:, 21:24, 13:19]
    assert made.real[forehead].mean() < made.real[chin].mean()
    assert made.generated[forehead].mean() > made.generated[chin].mean()


def test_the_preview_has_four_labelled_rows_of_eight():
    net, people, compute = setting()
    sheet = draw_preview(net, people, compute)
    assert sheet.shape == (4 * (24 + 160 + 4), 8 * 160 + 9 * 4, 3)
    cells = [sheet[24 + k * 188 : 184 + k * 188, 4:164].astype(float) for k in range(4)]
    assert all(cell.std() > 10 for cell in cells)
