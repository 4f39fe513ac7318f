import cv2
import numpy as np
import pytest
from toy_actors import TINY, both, track_of

from intracoder.config import TrainConfig
from intracoder.errors import NoFaceError, WeightsError
from intracoder.ops.geometry import transform_points
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


def test_swaps_are_deterministic_and_batches_do_not_matter(model):
    tool = swapper(model)
    plan = tool.plan(track_of(both()[1]))
    crops = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    made, masks = tool.swap(crops, plan)
    again, _ = swapper(model).swap(crops[2:5], plan[2:5])
    assert made.shape == (8, 32, 32, 3)
    assert masks.shape == (8, 32, 32)
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert np.abs(made[2:5].astype(int) - again).max() <= 1


def test_finer_crops_show_the_same_face(model):
    coarse, fine = swapper(model), swapper(model, detail=2)
    assert (coarse.crop_px, fine.crop_px) == (32, 64)
    track = track_of(both()[1])
    picture = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    made = {}
    for tool in (coarse, fine):
        crop = cv2.resize(picture, (tool.crop_px, tool.crop_px), interpolation=cv2.INTER_CUBIC)
        made[tool.crop_px], masks = tool.swap(np.stack([crop] * 8), tool.plan(track))
        assert masks.shape == (8, tool.crop_px, tool.crop_px)
    shrunk = np.stack([cv2.resize(crop, (32, 32), interpolation=cv2.INTER_AREA) for crop in made[64]])
    assert np.abs(shrunk.astype(int) - made[32]).mean() < 6


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
    made, _ = tool.swap(np.zeros((1, 32, 32, 3), np.uint8), (plain,))
    assert made.shape == (1, 32, 32, 3)


def test_nobody_and_nothing(model):
    tool = swapper(model)
    assert tool.plan(FaceTrack(track_id=0, faces=())) == ()
    made, masks = tool.swap(np.zeros((0, 32, 32, 3), np.uint8), ())
    assert made.shape == (0, 32, 32, 3)
    assert masks.shape == (0, 32, 32)


def test_any_person_of_the_model_can_be_the_source(model):
    assert swapper(model).source == "ann"
    assert swapper(model, source="bob").source == "bob"
    with pytest.raises(WeightsError, match="ann, bob"):
        swapper(model, source="eve")


def test_a_face_without_landmarks_is_refused(model):
    from dataclasses import replace

    track = track_of(both()[1])
    bare = replace(track, faces=(replace(track.faces[0], blendshapes=None), *track.faces[1:]))
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
