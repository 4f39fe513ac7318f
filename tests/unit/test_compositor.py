"""Putting a changed crop back into its frame, and the order of the stages around it."""

import dataclasses

import numpy as np
import pytest

from intracoder.config import RenderConfig
from intracoder.ops.blend import FeatherBlender
from intracoder.ops.color import NoMatcher
from intracoder.ops.geometry import crop_matrix, invert_affine, posed, transform_points, warp_from_crop, warp_to_crop
from intracoder.ops.topology import canonical_points
from intracoder.protocols import Enhancer, FaceSegmenter, Segmenter, Swapper
from intracoder.records import Frame, HeadFit, PlannedFace, SwappedCrops
from intracoder.swap.compositor import Compositor, Parts, put_back

CROP_PX = 64


def field(height, width, *, seed=0):
    """A smooth picture: what resampling twice leaves as it is."""
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    y, x = np.mgrid[:height, :width]
    waves = [128 + 60 * np.sin(x / 37 + y / 45 + p) for p in phase]
    return np.stack(waves, axis=2).astype(np.uint8)


def disc(side, radius, soft):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.clip((radius - np.hypot(x, y)) / soft, 0, 1).astype(np.float32)


def placed(x, y, *, zoom=1.0, angle=0.3):
    """A crop around frame pixel (x, y), turned by an odd angle."""
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    matrix = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0]])
    matrix[:, 2] = (CROP_PX - 1) / 2 - matrix[:, :2] @ [x, y]
    return matrix


PLACES = {
    "inside an odd frame": ((131, 97), placed(50.3, 60.7)),
    "finer than the frame": ((120, 161), placed(80.0, 55.5, zoom=1.9)),
    "coarser than the frame": ((151, 149), placed(75.0, 70.0, zoom=0.6)),
    "partly outside": ((101, 121), placed(4.0, 95.0)),
}
where = pytest.mark.parametrize(("size", "matrix"), PLACES.values(), ids=PLACES.keys())


@where
def test_outside_alpha_no_bit_changes(size, matrix):
    frame, alpha = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8), disc(CROP_PX, 26, 6)
    crop = warp_to_crop(frame, matrix, CROP_PX)
    composite = put_back(frame, crop, FeatherBlender().blend(crop, 255 - crop, alpha), alpha, matrix)
    untouched = warp_from_crop(alpha, matrix, *size, border="zero") == 0
    assert composite.shape == frame.shape
    assert composite.dtype == np.uint8
    assert 0.02 < 1 - untouched.mean() < 0.7
    np.testing.assert_array_equal(composite[untouched], frame[untouched])
    # and nothing further away than alpha and the reach of cubic weights, by geometry alone
    y, x = np.mgrid[: size[0], : size[1]]
    crop_points = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)
    radius = np.hypot(*(transform_points(crop_points, matrix) - (CROP_PX - 1) / 2).T).reshape(size)
    np.testing.assert_array_equal(composite[radius > 33], frame[radius > 33])


@where
def test_deep_inside_alpha_the_frame_shows_the_blended_crop(size, matrix):
    frame, blended, alpha = field(*size), np.full((CROP_PX, CROP_PX, 3), 77, np.uint8), disc(CROP_PX, 28, 4)
    composite = put_back(frame, warp_to_crop(frame, matrix, CROP_PX), blended, alpha, matrix)
    inside = warp_from_crop(disc(CROP_PX, 20, 0.1), matrix, *size, border="zero") == 1
    assert inside.any()
    np.testing.assert_array_equal(composite[inside], 77)


@where
def test_an_unchanged_crop_changes_nothing_beyond_rounding(size, matrix):
    frame = field(*size)
    crop = warp_to_crop(frame, matrix, CROP_PX)
    # where the crop sees past the frame's edge there is nothing to compare with but repeated pixels
    composite = put_back(frame, crop, crop.copy(), disc(CROP_PX, 28, 8), matrix)
    assert np.abs(composite.astype(int) - frame).max() <= 1


def test_towards_the_edge_the_background_keeps_its_detail():
    frame = np.random.default_rng(2).integers(60, 190, (128, 128, 3), dtype=np.uint8)
    matrix = placed(64.0, 64.0, angle=0.4)
    crop = warp_to_crop(frame, matrix, CROP_PX)
    alpha = 0.2 * disc(CROP_PX, 28, 4)
    composite = put_back(frame, crop, crop, alpha, matrix)
    # a plain mix of two resamplings would lose a fifth of the difference; noise shows what is lost
    lost = np.abs(composite.astype(int) - frame).mean()
    resampled = np.abs(warp_from_crop(crop, matrix, 128, 128).astype(int) - frame)[40:88, 40:88].mean()
    assert lost < 0.2 * resampled


def test_an_empty_alpha_gives_a_copy():
    frame, matrix = field(90, 70), placed(40.0, 40.0)
    crop = warp_to_crop(frame, matrix, CROP_PX)
    composite = put_back(frame, crop, 255 - crop, np.zeros((CROP_PX, CROP_PX), np.float32), matrix)
    np.testing.assert_array_equal(composite, frame)
    assert composite is not frame
    assert not np.shares_memory(composite, frame)


class FakeSwapper:
    """Paints every face in one colour."""

    crop_px = CROP_PX
    complexion = None
    eye_excess = 0.0
    shown = None

    def __init__(self, level=200, detail=None):
        self.level = level
        self.detail = detail
        self.seen = []

    def plan(self, track):
        raise NotImplementedError

    def swap(self, target_crops, planned):
        self.seen.append((target_crops.shape, [plan.frame_index for plan in planned]))
        crops = np.full_like(target_crops, self.level)
        return SwappedCrops(crops=crops, masks=np.ones(target_crops.shape[:3], np.float32), detail=self.detail)


class FakeEnhancer:
    """Repeats pixels."""

    scale = 2

    def enhance(self, crops, reference_crops, masks):
        assert reference_crops.shape[1] == self.scale * crops.shape[1]
        assert masks.shape == crops.shape[:3]
        return crops.repeat(2, axis=1).repeat(2, axis=2)


class FakeSegmenter:
    """The same everywhere."""

    def __init__(self, level):
        self.level = level

    def segment(self, image):
        return np.full(image.shape[:2], self.level, np.float32)


class FakeVisibility:
    """Hair hangs over the left part of every crop."""

    def __init__(self, hidden):
        self.hidden = hidden

    def visible(self, crop, points):
        assert points.shape == (478, 3)
        assert 0 < points[:, 0].min() < points[:, 0].max() < len(crop)
        mask = np.ones(crop.shape[:2], np.float32)
        mask[:, : round(self.hidden * len(crop))] = 0
        return mask


def made_compositor(swapper=None, *, person=1.0, hand=0.0, hidden=0.0, **options):
    parts = Parts(
        swapper=swapper or FakeSwapper(),
        matcher=NoMatcher(),
        enhancer=FakeEnhancer(),
        blender=FeatherBlender(),
        person=FakeSegmenter(person),
        hand=FakeSegmenter(hand),
        visible=FakeVisibility(hidden),
    )
    return Compositor(parts, RenderConfig(**{"sharpness": False, **options}))


def frame_with_face(index, size=(183, 201)):
    """A frame and a frontal head in it."""
    middle = np.array([size[1] / 2, size[0] / 2, 0.0])
    shape = np.zeros((478, 3))
    shape[:468] = canonical_points()
    shape[468:] = shape[1]
    points = posed(shape, HeadFit(scale=5.0, rotation=np.eye(3), translation=middle)).astype(np.float32)
    matrix = crop_matrix(middle[:2], 0.0, 5.0, "wide", CROP_PX)
    plan = PlannedFace(
        frame_index=index, frame_to_crop=matrix, target_points=points, swapped_points=points, reference_index=None
    )
    return Frame(pixels=field(*size, seed=index), index=index, pts=512 * index), plan


def test_the_fakes_are_what_the_protocols_ask_for():
    assert isinstance(FakeSwapper(), Swapper)
    assert isinstance(FakeEnhancer(), Enhancer)
    assert isinstance(FakeSegmenter(0.0), Segmenter)
    assert isinstance(FakeVisibility(0.0), FaceSegmenter)


def test_no_frames_give_no_stages():
    assert made_compositor().compose([], []) == []


def test_a_batch_goes_through_every_stage_in_its_order():
    swapper = FakeSwapper()
    frames, planned = zip(*(frame_with_face(index) for index in (3, 4, 9)), strict=True)
    done = made_compositor(swapper).compose(frames, planned)
    assert swapper.seen == [((3, CROP_PX, CROP_PX, 3), [3, 4, 9])]
    for stages, frame, plan in zip(done, frames, planned, strict=True):
        assert stages.frame is frame
        assert stages.planned is plan
        assert stages.composite.shape == frame.pixels.shape
        assert stages.swapped.shape == stages.matched.shape == (CROP_PX, CROP_PX, 3)
        for grown in (stages.crop, stages.enhanced, stages.sharpened, stages.blended):
            assert grown.shape == (2 * CROP_PX, 2 * CROP_PX, 3)
        assert stages.alpha.shape == (2 * CROP_PX, 2 * CROP_PX)
        assert stages.alpha.max() == 1
        np.testing.assert_array_equal(stages.blended[stages.alpha == 0], stages.crop[stages.alpha == 0])


def test_the_face_is_replaced_in_the_middle_and_the_frame_kept_around_it():
    frame, plan = frame_with_face(0)
    (stages,) = made_compositor(relight=0.0, feather=0.04).compose([frame], [plan])
    x, y = np.rint(plan.target_points[1, :2]).astype(int)
    np.testing.assert_array_equal(stages.composite[y - 5 : y + 5, x - 5 : x + 5], 200)
    changed = np.argwhere((stages.composite != frame.pixels).any(axis=2))
    (top, left), (bottom, right) = changed.min(0), changed.max(0)
    x_points, y_points = plan.target_points[:, 0], plan.target_points[:, 1]
    slack = 0.05 * CROP_PX / np.sqrt(abs(np.linalg.det(plan.frame_to_crop[:, :2])))
    assert x_points.min() - slack < left < right < x_points.max() + slack
    assert y_points.min() - slack < top < bottom < y_points.max() + slack


@pytest.mark.parametrize("seen", [{"person": 0.0}, {"hand": 1.0}])
def test_what_stands_before_the_face_stays(seen):
    frame, plan = frame_with_face(0)
    (stages,) = made_compositor(**seen).compose([frame], [plan])
    assert stages.alpha.max() == 0
    np.testing.assert_array_equal(stages.composite, frame.pixels)


def test_hair_over_the_face_stays_over_it_unless_asked():
    frame, plan = frame_with_face(0)
    (hidden,) = made_compositor(hidden=0.5).compose([frame], [plan])
    (laid_over,) = made_compositor(hidden=0.5, cover="none").compose([frame], [plan])
    (whole,) = made_compositor().compose([frame], [plan])
    middle, edge = len(whole.alpha) // 2, 8
    assert hidden.alpha[:, : middle - edge].max() == 0
    np.testing.assert_allclose(hidden.alpha[:, middle + edge :], whole.alpha[:, middle + edge :], atol=1e-5)
    np.testing.assert_array_equal(laid_over.alpha, whole.alpha)


def test_what_hid_the_source_is_not_drawn_over_the_target():
    frame, plan = frame_with_face(0)
    swapper = FakeSwapper()
    swapper.shown = np.where(canonical_points()[:, 0] < 0, 0.2, 1.0)
    (half,) = made_compositor(swapper).compose([frame], [plan])
    (whole,) = made_compositor().compose([frame], [plan])
    middle, edge = len(whole.alpha) // 2, 12
    assert half.alpha[:, : middle - edge].max() < 0.02
    np.testing.assert_allclose(half.alpha[:, middle + edge :], whole.alpha[:, middle + edge :], atol=0.02)


def test_the_targets_light_is_put_on_the_face_by_its_shape():
    frame, plan = frame_with_face(0)
    sideways = np.linspace(90, 190, frame.pixels.shape[1]).astype(np.uint8)[None, :, None]
    frame = Frame(pixels=np.ascontiguousarray(np.broadcast_to(sideways, frame.pixels.shape)), index=0, pts=0)
    lit, plain = (made_compositor(relight=r).compose([frame], [plan])[0].matched for r in (1.0, 0.0))
    np.testing.assert_array_equal(plain, 200)
    cheeks = lit[30:36, 16:24].mean(), lit[30:36, 40:48].mean()
    assert cheeks[1] > cheeks[0] + 20


@pytest.mark.parametrize(("options", "is_lost"), [({}, False), ({"complexion": 0.0}, True), ({"color": "none"}, True)])
def test_the_swapped_faces_beard_is_not_taken_for_shadow(options, is_lost):
    """The target's chin is as light as its forehead; the source's is much darker, and the plan says so."""
    frame, plan = frame_with_face(0)
    frame = Frame(pixels=np.full_like(frame.pixels, 150), index=0, pts=0)
    heights = canonical_points()[:, 1]
    beard = np.repeat(-0.8 * np.clip((heights - 4.0) / 2, 0, 1)[:, None], 3, axis=1)
    plan = dataclasses.replace(plan, complexion_change=beard)
    (stages,) = made_compositor(relight=0.0, **options).compose([frame], [plan])
    chin, forehead = (transform_points(plan.swapped_points, plan.frame_to_crop)[k, :2].astype(int) for k in (199, 9))
    lighter = stages.matched[forehead[1], forehead[0], 1] - float(stages.matched[chin[1], chin[0], 1])
    assert (lighter < 5) == is_lost
    assert is_lost or lighter > 30


@pytest.mark.parametrize(("options", "lighter"), [({}, True), ({"eye_light": 0.0}, False)])
def test_eyes_take_the_plans_own_gain(options, lighter):
    frame, plan = frame_with_face(0)
    plan = dataclasses.replace(plan, eye_gain=0.4)
    (stages,) = made_compositor(relight=0.0, color="none", **options).compose([frame], [plan])
    eye, cheek = (transform_points(plan.swapped_points, plan.frame_to_crop)[k, :2] for k in ((159, 145), (50,)))
    (x, y), (cheek_x, cheek_y) = (np.rint(one.mean(axis=0)).astype(int) for one in (eye, cheek))
    assert (int(stages.matched[y, x, 1]) > 205) == lighter
    assert stages.matched[cheek_y, cheek_x, 1] == 200


def open_mouthed(plan, opening_px=12.0):
    points = plan.target_points.copy()
    points[[87, 14, 317, 178, 402, 88, 318], 1] += opening_px
    return PlannedFace(
        frame_index=0,
        frame_to_crop=plan.frame_to_crop,
        target_points=points,
        swapped_points=points,
        reference_index=None,
    )


@pytest.mark.parametrize("mouth", ["target", "source"])
def test_an_open_mouth_shows_whose_teeth_were_asked_for(mouth):
    frame, plan = frame_with_face(0)
    plan = open_mouthed(plan)
    x, y = np.rint(plan.target_points[[13, 14], :2].mean(axis=0)).astype(int)
    frame.pixels[y - 5 : y + 6, x - 8 : x + 9] = [20, 240, 60]
    (stages,) = made_compositor(relight=0.0, mouth=mouth).compose([frame], [plan])
    shown = stages.composite[y - 1 : y + 2, x - 2 : x + 3].astype(int)
    expected = [20, 240, 60] if mouth == "target" else [200, 200, 200]
    assert np.abs(shown - expected).max() < 12
    chin = np.rint(plan.target_points[152, :2]).astype(int)  # below the opening nothing of the target's shows
    assert np.abs(stages.composite[chin[1] - 9, chin[0]].astype(int) - 200).max() < 6


def test_a_closed_mouth_shows_nothing_of_the_target():
    frame, plan = frame_with_face(0)
    frame.pixels[...] = [20, 240, 60]
    (stages,) = made_compositor(relight=0.0).compose([frame], [plan])
    x, y = np.rint(plan.target_points[13, :2]).astype(int)
    assert np.abs(stages.composite[y, x].astype(int) - 200).max() < 60


def test_hair_and_temples_stay_with_the_target_and_the_jaw_does_not():
    frame, plan = frame_with_face(0)
    all_of_it, less = (made_compositor(hairline=h).compose([frame], [plan])[0].alpha for h in (1.0, 0.8))
    middle = len(all_of_it) // 2
    assert less[:middle].sum() < 0.8 * all_of_it[:middle].sum()
    chin = transform_points(plan.target_points, plan.frame_to_crop)[152] * 2
    row = int(chin[1]) - 6
    assert less[row].sum() == pytest.approx(all_of_it[row].sum(), rel=0.02)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_detail_is_laid_over_the_enlarged_face(share):
    frame, plan = frame_with_face(0)
    detail = np.ones((1, 2 * CROP_PX, 2 * CROP_PX, 3), np.float32)
    detail[:, ::2] = 1.2
    swapper = FakeSwapper(level=100, detail=detail)
    (stages,) = made_compositor(swapper, relight=0.0, mouth="source", detail=share).compose([frame], [plan])
    np.testing.assert_array_equal(stages.enhanced[::2], 100 + round(20 * share))
    np.testing.assert_array_equal(stages.enhanced[1::2], 100)


def test_mask_scale_makes_the_replaced_part_smaller():
    frame, plan = frame_with_face(0)
    areas = [made_compositor(mask_scale=scale).compose([frame], [plan])[0].alpha.mean() for scale in (0.6, 0.92, 1.1)]
    assert areas[0] < 0.6 * areas[1] < areas[1] < areas[2]


def test_a_face_at_the_frames_edge_is_composed_too():
    frame, plan = frame_with_face(0)
    cornered = Frame(pixels=np.ascontiguousarray(frame.pixels[60:, 90:]), index=0, pts=0)
    shift = np.array([[1.0, 0.0, 90.0], [0.0, 1.0, 60.0]])
    matrix = plan.frame_to_crop.copy()
    matrix[:, 2] = plan.frame_to_crop @ [90.0, 60.0, 1.0]
    moved = transform_points(plan.target_points, invert_affine(shift)).astype(np.float32)
    plan = PlannedFace(
        frame_index=0, frame_to_crop=matrix, target_points=moved, swapped_points=moved, reference_index=None
    )
    (stages,) = made_compositor().compose([cornered], [plan])
    assert stages.composite.shape == (123, 111, 3)
    assert (stages.composite != cornered.pixels).any()
