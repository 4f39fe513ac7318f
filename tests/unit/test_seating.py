"""How faces sit in other heads: a linear function of two heads' difference; fitting finds one that is there."""

import dataclasses
import io

import numpy as np
import pytest
from face_shapes import canonical_shape, rotation

from intracoder.errors import TrainingError
from intracoder.faceset.likeness import packaged_seating
from intracoder.ops.geometry import placed
from intracoder.ops.seating import Seat, Seating, upright
from intracoder.ops.topology import EYE_CORNERS, EYE_LEFT, IRIS_LEFT, OVAL, canonical_points, mirror_indices
from intracoder.records import HeadFit
from intracoder.training.seating import RANK, SeatedFace, fit_seating, pack_seating

NOSE_TIP, CHIN = 4, 152


def toy_seating():
    """Where the nose is longer (in y), the chin goes down by half of that and the left eye to the left by a tenth."""
    seen, moved = np.zeros((1, 468, 3)), np.zeros((1, 468, 3))
    seen[0, NOSE_TIP, 1] = 1.0
    moved[0, CHIN, 1] = 0.5
    moved[0, list(EYE_LEFT), 0] = -0.1
    return Seating(seen=seen, moved=moved)


def longer_nose(by):
    shape = canonical_shape()
    shape[NOSE_TIP, 1] += by
    return shape


def test_equal_heads_need_no_offset_and_the_way_back_is_the_opposite():
    seating = toy_seating()
    assert np.abs(seating.offset(longer_nose(0.5), longer_nose(0.5))).max() == 0
    longer, usual = longer_nose(0.4), canonical_shape()
    there, back = seating.offset(longer, usual), seating.offset(usual, longer)
    np.testing.assert_allclose(there, -back, atol=1e-12)
    assert there[CHIN, 1] == pytest.approx(0.2, abs=0.01)


def test_the_iris_goes_where_its_lids_go():
    offset = toy_seating().offset(longer_nose(0.4), canonical_shape())
    np.testing.assert_allclose(offset[list(IRIS_LEFT), 0], -0.04, atol=0.003)


def test_size_place_and_turn_of_a_head_do_not_count():
    seating, shape = toy_seating(), longer_nose(0.4)
    moved = 0.7 * shape @ rotation(20, -10, 5).T + [3.0, -2.0, 1.0]
    np.testing.assert_allclose(upright(moved), upright(shape), atol=1e-9)
    expected = seating.offset(shape, canonical_shape())
    np.testing.assert_allclose(seating.offset(moved, canonical_shape()), expected, atol=1e-9)


def toy_faces(people, *, seed=0, noise=0.0):
    """Heads that differ in three smooth ways, and truths that lie elsewhere by a linear function of these."""
    rng = np.random.default_rng(seed)
    canonical = canonical_points()
    mirror = mirror_indices()[:468]

    def mode():
        way = np.sin(canonical @ rng.normal(0, 0.35, (3, 3)) + rng.uniform(0, 6, 3))
        return (way + way[mirror] * [-1.0, 1.0, 1.0]) / 2  # even, as people are by and large

    modes, answers = [mode() for _ in range(3)], [0.3 * mode() for _ in range(3)]
    amounts = rng.normal(0, 0.25, (people, 3))
    shapes = [canonical + sum(a * m for a, m in zip(row, modes, strict=True)) for row in amounts]
    offsets = [sum(a * m for a, m in zip(row, answers, strict=True)) for row in amounts]
    heads = tuple(
        HeadFit(scale=12.0, rotation=rotation(yaw, yaw / 3, 0), translation=np.array([128.0, 128.0, 0.0]))
        for yaw in (-30, -15, 0, 15, 30)
    )
    faces = []
    for k in range(people):
        for step in (1, 3):
            other = (k + step) % people
            planned = np.stack([shapes[k]] * len(heads))
            there = shapes[k] + offsets[k] - offsets[other]
            truth = np.stack([(h.scale * there @ h.rotation.T + h.translation)[:, :2] for h in heads])
            rests = [np.concatenate([shapes[p], np.zeros((10, 3))]) for p in (k, other)]
            faces.append(
                SeatedFace(
                    source=f"p{k}_000",
                    target=f"p{other}_000",
                    source_rest=rests[0],
                    target_rest=rests[1],
                    heads=heads,
                    planned=planned,
                    truth=truth + noise * rng.normal(size=truth.shape),
                )
            )
    return faces, {f"p{k}_000": f"p{k}" for k in range(people)}


def test_a_constant_offset_is_found_from_several_views():
    (face, *_), _ = toy_faces(9)
    assert face.error_percent() > 0.5
    assert face.error_percent(face.offset()) < 0.1 * face.error_percent()


def test_fitting_helps_people_who_were_left_out():
    faces, person_of = toy_faces(24, noise=0.3)
    fitted = fit_seating(faces, person_of)
    assert (fitted.pairs, fitted.people) == (48, 24)
    assert fitted.after_percent < 0.65 * fitted.before_percent
    assert fitted.seating.seen.shape == fitted.seating.moved.shape == (RANK, 468, 3)


def test_what_has_nothing_to_do_with_the_heads_is_not_learned_as_if_it_had():
    faces, person_of = toy_faces(24)
    rng = np.random.default_rng(1)
    order = rng.permutation(24)
    shuffled = [
        dataclasses.replace(
            face,
            source_rest=faces[2 * order[k // 2]].source_rest,
            target_rest=faces[2 * order[(k // 2 + (1 if k % 2 == 0 else 3)) % 24]].source_rest,
        )
        for k, face in enumerate(faces)
    ]
    fitted = fit_seating(shuffled, person_of)
    assert fitted.after_percent > 0.85 * fitted.before_percent


def test_a_handful_of_people_is_too_few():
    faces, person_of = toy_faces(5)
    with pytest.raises(TrainingError, match="at least 8 people, got 5"):
        fit_seating(faces, person_of)


def test_the_file_keeps_the_function_to_half_precision():
    faces, person_of = toy_faces(12)
    seating = fit_seating(faces, person_of).seating
    stored = np.load(io.BytesIO(pack_seating(seating)), allow_pickle=False)
    assert stored.dtype == np.float16
    again = Seating(seen=stored[0].astype(float), moved=stored[1].astype(float))
    one, other = faces[0].source_rest, faces[0].target_rest
    np.testing.assert_allclose(again.offset(one, other), seating.offset(one, other), atol=2e-3)


def test_the_packaged_function_moves_points_by_millimetres_and_treats_both_sides_alike():
    seating = packaged_seating()
    shape = canonical_shape()
    shape[:468, 1] *= 1.05  # a longer face
    shape[NOSE_TIP, 2] -= 0.3
    offset = seating.offset(shape, canonical_shape())[:468]
    assert 0.005 < np.linalg.norm(offset, axis=1).mean() < 0.5
    mirrored = offset[mirror_indices()[:468]] * [-1.0, 1.0, 1.0]
    assert np.abs(offset - mirrored).max() < 0.05


def test_a_seat_by_hand_tips_enlarges_and_lifts_about_the_outlines_middle():
    shape = canonical_shape()
    middle = shape[list(OVAL)].mean(axis=0)
    eyes = np.linalg.norm(shape[EYE_CORNERS[0]] - shape[EYE_CORNERS[3]])
    np.testing.assert_array_equal(placed(shape, Seat().move(shape)), shape)
    tipped = placed(shape, Seat(tilt_deg=10.0).move(shape))
    # y is down and z away: the nose goes up, the chin comes nearer, the outline's middle stays
    assert tipped[NOSE_TIP, 1] < shape[NOSE_TIP, 1] - 0.5
    assert tipped[CHIN, 2] < shape[CHIN, 2] - 0.5
    np.testing.assert_allclose(tipped[list(OVAL)].mean(axis=0), middle, atol=1e-12)
    grown = placed(shape, Seat(size=1.1).move(shape))
    np.testing.assert_allclose(grown - middle, 1.1 * (shape - middle), atol=1e-12)
    lifted = placed(shape, Seat(height=0.1).move(shape)) - shape
    np.testing.assert_allclose(lifted, np.tile([0.0, -0.1 * eyes, 0.0], (len(shape), 1)), atol=1e-12)
