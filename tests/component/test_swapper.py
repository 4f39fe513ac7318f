import dataclasses

import cv2
import numpy as np
import pytest
from toy_actors import TINY, both, track_of

from intracoder.build import intracoder_swapper
from intracoder.config import RenderConfig, RunConfig, TrainConfig
from intracoder.errors import NoFaceError, WeightsError
from intracoder.ops.geometry import transform_points
from intracoder.ops.seating import Seat
from intracoder.records import FaceTrack, PlannedFace
from intracoder.swap.swapper import IntracoderSwapper
from intracoder.training.loop import train_intracoder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    settings = TrainConfig(minutes=None, steps=30, batch=4, precision="32-true", threads=1, device="cpu")
    train_intracoder(both(), folder, settings, net_config=TINY)
    return folder


def swapper(folder, **changes):
    return IntracoderSwapper(folder, device="cpu", precision="32-true", threads=1, **changes)


def test_a_plan_has_one_entry_a_face_and_ends_where_the_face_is(model):
    track = track_of(both()[1])
    plan = swapper(model).plan(track)
    assert [p.frame_index for p in plan] == list(range(8))
    for planned, face in zip(plan, track.faces, strict=True):
        assert planned.target_points == pytest.approx(face.points)
        # both actors have one head, so the source's face goes where the target's is
        assert np.abs(planned.swapped_points[:, :2] - face.points[:, :2]).mean() < 3.0
        assert 0 <= planned.reference_index < 8
        inside = transform_points(planned.swapped_points, planned.frame_to_crop)
        assert inside[:468, :2].min() > 0
        assert inside[:468, :2].max() < 31


def test_the_expression_of_a_plan_is_the_targets(model):
    plan = swapper(model).plan(track_of(both()[1]))
    opening = [np.linalg.norm(p.swapped_points[13] - p.swapped_points[14]) for p in plan]
    assert opening[7] > opening[0] + 5


def test_a_seat_by_hand_moves_the_face_and_nothing_of_the_targets(model):
    track = track_of(both()[1])
    plain, seated = swapper(model).plan(track), swapper(model, seat=Seat(size=1.1, height=0.1)).plan(track)
    for before, after in zip(plain, seated, strict=True):
        np.testing.assert_array_equal(after.target_points, before.target_points)
        np.testing.assert_array_equal(after.frame_to_crop, before.frame_to_crop)
        wide = [np.ptp(one.swapped_points[:468, 0]) for one in (before, after)]
        assert wide[1] == pytest.approx(1.1 * wide[0], rel=0.01)
        assert after.swapped_points[4, 1] < before.swapped_points[4, 1]


def test_a_plan_is_reseated_as_a_plan_of_that_seat_would_be(model):
    track = track_of(both()[1])
    first, second = Seat(tilt_deg=4.0, size=1.1, height=0.1), Seat(tilt_deg=-5.0, size=0.95, height=-0.05)
    drawn = swapper(model, seat=first)
    for before, expected in zip(drawn.plan(track), swapper(model, seat=second).plan(track), strict=True):
        assert np.abs(before.swapped_points - expected.swapped_points).max() > 1
        np.testing.assert_allclose(drawn.reseated(before, second).swapped_points, expected.swapped_points, atol=1e-3)
        np.testing.assert_allclose(drawn.reseated(before, first).swapped_points, before.swapped_points, atol=1e-3)


def test_the_stored_frame_of_a_plan_is_the_sources(model):
    drawn, source = swapper(model), both()[0]
    for planned in drawn.plan(track_of(both()[1])):
        crop = drawn.stored_frame(planned)
        assert any(np.abs(crop.astype(int) - own).mean() < 12 for own in source.crops)


def test_options_of_rendering_set_the_seat(model):
    track = track_of(both()[1])
    train = TrainConfig(device="cpu", precision="32-true", threads=1)
    render = RenderConfig(seat_tilt=10.0, seat_size=1.1, seat_height=0.1)
    by_options = intracoder_swapper(model, None, RunConfig(train=train, render=render)).plan(track)
    by_hand = swapper(model, seat=Seat(tilt_deg=10.0, size=1.1, height=0.1)).plan(track)
    as_found = swapper(model).plan(track)
    for chosen, wanted, found in zip(by_options, by_hand, as_found, strict=True):
        np.testing.assert_array_equal(chosen.swapped_points, wanted.swapped_points)
        assert np.abs(chosen.swapped_points - found.swapped_points).max() > 1.0


def test_swaps_are_deterministic_and_batches_do_not_matter(model):
    tool = swapper(model)
    plan = tool.plan(track_of(both()[1]))
    crops = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    drawn = tool.swap(crops, plan)
    made, masks = drawn.crops, drawn.masks
    again = swapper(model).swap(crops[2:5], plan[2:5]).crops
    assert made.shape == (8, 32, 32, 3)
    assert masks.shape == (8, 32, 32)
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert np.abs(made[2:5].astype(int) - again).max() <= 1


def test_detail_is_what_crops_are_too_small_for(model):
    coarse, fine = swapper(model, detail=1), swapper(model, detail=2)
    track = track_of(both()[1])
    picture = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    crops = np.stack([cv2.resize(picture, (32, 32), interpolation=cv2.INTER_CUBIC)] * 8)
    plain, detailed = (tool.swap(crops, tool.plan(track)) for tool in (coarse, fine))
    assert plain.detail is None
    assert detailed.detail.shape == (8, 64, 64, 3)
    # the same face, and on the average of every pixel nothing is added to it
    assert np.abs(detailed.crops.astype(int) - plain.crops).mean() < 6
    pooled = detailed.detail.reshape(8, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(pooled[:, 4:-4, 4:-4] - 1).mean() < 0.02
    assert 1 / 3 <= detailed.detail.min() < 1 < detailed.detail.max() <= 3


def test_parts_of_the_reference_change_seldom(model):
    plan = swapper(model).plan(track_of(both()[1]))
    assert all(0 <= row < 8 for planned in plan for row in planned.parts)
    assert all(planned.parts.face == planned.reference_index for planned in plan)


def test_a_plan_of_one_frame_serves_too(model):
    tool = swapper(model)
    plan = tool.plan(track_of(both()[1]))[:1]
    p = plan[0]
    plain = PlannedFace(
        frame_index=p.frame_index,
        frame_to_crop=p.frame_to_crop,
        target_points=p.target_points,
        swapped_points=p.swapped_points,
        reference_index=p.reference_index,
    )
    assert tool.stored_frame(plain) is not None
    assert tool.stored_frame(dataclasses.replace(plain, reference_index=None)) is None
    made = tool.swap(np.zeros((1, 32, 32, 3), np.uint8), (plain,)).crops
    assert made.shape == (1, 32, 32, 3)


def test_nobody_and_nothing(model):
    tool = swapper(model)
    assert tool.plan(FaceTrack(track_id=0, faces=())) == ()
    drawn = tool.swap(np.zeros((0, 32, 32, 3), np.uint8), ())
    assert drawn.crops.shape == (0, 32, 32, 3)
    assert drawn.masks.shape == (0, 32, 32)


def test_any_person_of_the_model_can_be_the_source(model):
    assert swapper(model).source == "ann"
    assert swapper(model, source="bob").source == "bob"
    with pytest.raises(WeightsError, match="ann, bob"):
        swapper(model, source="eve")


def test_a_face_without_landmarks_is_refused(model):
    track = track_of(both()[1])
    bare = dataclasses.replace(track, faces=(dataclasses.replace(track.faces[0], blendshapes=None), *track.faces[1:]))
    with pytest.raises(NoFaceError, match="frame 0"):
        swapper(model).plan(bare)


def test_a_broken_references_file_gives_one_line(model, tmp_path):
    for path in model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    whole = (tmp_path / "references.safetensors").read_bytes()
    (tmp_path / "references.safetensors").write_bytes(whole[:-100])
    with pytest.raises(WeightsError, match=r"references\.safetensors") as raised:
        swapper(tmp_path)
    assert "\n" not in str(raised.value)
