import cv2
import numpy as np
import pytest
from face_shapes import canonical_shape, rotation, similarity
from hypothesis import given
from hypothesis import strategies as st

from intracoder.errors import ConfigError, NoFaceError
from intracoder.ops import topology
from intracoder.ops.geometry import (
    ARCFACE_POINTS5,
    TEMPLATES,
    affine_scale,
    align_track,
    compose,
    crop_matrix,
    fit_head,
    fit_similarity,
    invert_affine,
    posed,
    rescale_matrix,
    smooth_series,
    transform_points,
    unposed,
    warp_from_crop,
    warp_to_crop,
)
from intracoder.records import Face, FaceTrack, HeadFit

angles = st.floats(-3.1, 3.1)
scales = st.floats(0.05, 20.0)
shifts = st.floats(-500, 500)


def face_at(frame_index, *, scale=8.0, angles_deg=(0, 0, 0), at=(160, 150)):
    head = HeadFit(scale=scale, rotation=rotation(*angles_deg), translation=np.array([*at, 0.0]))
    return Face(
        frame_index=frame_index,
        box=np.zeros(4, np.float32),
        points5=np.zeros((5, 2), np.float32),
        score=1.0,
        points=posed(canonical_shape(), head),
    )


def smooth_picture(height, width, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    picture = cv2.GaussianBlur(noise, (0, 0), 3)
    return cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


# ---- fits


@given(angles, scales, shifts, shifts)
def test_fit_similarity_recovers_the_similarity(angle, scale, dx, dy):
    points = np.random.default_rng(1).normal(size=(7, 2)) * 10
    matrix = similarity(angle, scale, dx, dy)
    fitted = fit_similarity(points, transform_points(points, matrix))
    np.testing.assert_allclose(fitted, matrix, atol=1e-6 * max(1, scale))


def test_fit_similarity_never_mirrors():
    points = np.array([[0.0, 0], [1, 0], [0, 1], [1, 2]])
    fitted = fit_similarity(points, points * [-1, 1])
    assert np.linalg.det(fitted[:, :2]) > 0


def test_fit_similarity_of_one_place_is_refused():
    with pytest.raises(NoFaceError, match="different, finite"):
        fit_similarity(np.ones((5, 2)), ARCFACE_POINTS5.astype(float))
    with pytest.raises(NoFaceError, match="different, finite"):
        fit_similarity(ARCFACE_POINTS5, np.full((5, 2), np.nan, np.float32))


@given(st.floats(-60, 60), st.floats(-30, 30), st.floats(-90, 90), st.floats(1, 40))
def test_fit_head_recovers_pose_and_size(yaw, pitch, roll, scale):
    face = face_at(0, scale=scale, angles_deg=(yaw, pitch, roll))
    head = fit_head(face.points)
    np.testing.assert_allclose(head.rotation, rotation(yaw, pitch, roll), atol=1e-4)
    assert head.scale == pytest.approx(scale, rel=1e-4)
    np.testing.assert_allclose(unposed(face.points, head), canonical_shape(), atol=1e-3)
    np.testing.assert_allclose(posed(unposed(face.points, head), head), face.points, atol=1e-3)


# ---- matrices


@given(angles, scales, shifts, shifts)
def test_inverse_and_compose(angle, scale, dx, dy):
    matrix = similarity(angle, scale, dx, dy)
    np.testing.assert_allclose(compose(invert_affine(matrix), matrix), np.eye(3)[:2], atol=1e-8)
    assert affine_scale(matrix) == pytest.approx(scale)


def test_compose_applies_its_second_argument_first():
    double, right = np.array([[2.0, 0, 0], [0, 2, 0]]), np.array([[1.0, 0, 3], [0, 1, 0]])
    moved = transform_points(np.array([[1.0, 1.0]]), compose(double, right))
    np.testing.assert_allclose(moved, [[8, 2]])


def test_a_flat_matrix_has_no_inverse():
    with pytest.raises(ConfigError, match="invertible"):
        invert_affine(np.zeros((2, 3)))


def test_depth_moves_with_the_scale():
    points = np.array([[1, 2, 3]], np.float32)
    moved = transform_points(points, similarity(0.3, 2.5, 10, -4))
    assert moved.dtype == np.float32
    assert moved[0, 2] == pytest.approx(7.5)


@pytest.mark.parametrize(("old", "new"), [("wide_margin", "wide"), ("wide", "wide_margin"), ("wide", "wide")])
def test_rescaled_matrix_is_the_other_templates_matrix(old, new):
    where = np.array([100.0, 80.0])
    matrix = crop_matrix(where, 0.4, 7.0, old, 256)
    np.testing.assert_allclose(
        rescale_matrix(matrix, old, 256, new, 128), crop_matrix(where, 0.4, 7.0, new, 128), atol=1e-9
    )


def test_unknown_template():
    with pytest.raises(ConfigError, match="wide_margin"):
        crop_matrix(np.zeros(2), 0.0, 1.0, "ffhq", 128)


# ---- conventions


def test_convention_the_crops_middle_is_between_its_pixels():
    center = np.array([40.25, 31.5])
    matrix = crop_matrix(center, 0.7, 3.0, "wide", 128)
    np.testing.assert_allclose(transform_points(center[None], matrix), [[63.5, 63.5]])


def test_convention_a_crop_spans_half_a_pixel_more_on_each_side():
    side = TEMPLATES["wide"].side_cm
    matrix = crop_matrix(np.zeros(2), 0.0, 10.0, "wide", 100)
    corner = transform_points(np.array([[-5.0 * side, -5.0 * side], [5.0 * side, 5.0 * side]]), matrix)
    np.testing.assert_allclose(corner, [[-0.5, -0.5], [99.5, 99.5]])


def test_convention_resizing_a_crop_is_rescaling_its_matrix():
    frame = smooth_picture(300, 320)
    matrix = crop_matrix(np.array([160.0, 150.0]), 0.2, 9.0, "wide", 256)
    small = warp_to_crop(frame, rescale_matrix(matrix, "wide", 256, "wide", 64), 64)
    resized = cv2.resize(warp_to_crop(frame, matrix, 256), (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - resized).max() <= 3


def test_convention_pixel_centres_are_integers():
    frame = np.zeros((20, 30, 3), np.uint8)
    frame[7, 11] = 255
    crop = warp_to_crop(frame, np.array([[1.0, 0, -5], [0, 1, -2]]), 16)
    assert crop[5, 6, 0] == 255
    assert crop.sum() == 3 * 255


def test_convention_roll_is_clockwise_and_the_crop_upright():
    face = face_at(0, angles_deg=(0, 0, 20))
    (aligned,) = align_track(FaceTrack(track_id=0, faces=(face,)), template="wide", crop_px=128, smooth_frames=9)
    points = transform_points(face.points, aligned.frame_to_crop)
    eyes = [points[list(eye), :2].mean(axis=0) for eye in topology.EYES]
    assert face.points[263, 1] > face.points[33, 1]
    assert abs(eyes[1][1] - eyes[0][1]) < 0.1
    assert eyes[1][0] > eyes[0][0]
    assert points[152, 1] > eyes[0][1]


# ---- tracks


def test_the_template_holds_the_head_centred():
    face = face_at(0)
    (aligned,) = align_track(FaceTrack(track_id=0, faces=(face,)), template="wide", crop_px=215, smooth_frames=1)
    points = transform_points(face.points, aligned.frame_to_crop)
    oval = points[list(topology.OVAL), :2]
    middle = (oval.max(axis=0) + oval.min(axis=0)) / 2
    np.testing.assert_allclose(middle, [107, 107 - 6], atol=0.1)
    assert affine_scale(aligned.frame_to_crop) == pytest.approx(10 / 8)


def test_smoothing_keeps_steady_motion():
    track = FaceTrack(
        track_id=0,
        faces=tuple(
            face_at(t, at=(100 + 2 * t, 150 - t), angles_deg=(0, 0, t)) for t in (0, 1, 2, 4, 5, 6, 9, 10, 11, 12)
        ),
    )
    raw = align_track(track, template="wide", crop_px=128, smooth_frames=1)
    smoothed = align_track(track, template="wide", crop_px=128, smooth_frames=9)
    for a, b in zip(raw, smoothed, strict=True):
        np.testing.assert_allclose(a.frame_to_crop, b.frame_to_crop, atol=2e-2)


def test_smoothing_takes_jitter_away():
    noise = np.random.default_rng(3).normal(size=(60, 2))
    track = FaceTrack(track_id=0, faces=tuple(face_at(t, at=(160 + noise[t, 0], 150 + noise[t, 1])) for t in range(60)))
    centers = [
        np.array(
            [
                invert_affine(a.frame_to_crop)[:, 2]
                for a in align_track(track, template="wide", crop_px=64, smooth_frames=w)
            ]
        )
        for w in (1, 9)
    ]
    raw, smoothed = (np.diff(c, axis=0).std() for c in centers)
    assert smoothed < 0.3 * raw


def test_smoothing_never_crosses_a_cut_or_a_long_gap():
    before = [face_at(t, at=(100, 100)) for t in range(10)]
    after = [face_at(t, at=(220, 180)) for t in range(10, 20)]
    cut = align_track(
        FaceTrack(track_id=0, faces=(*before, *after), cuts=(10,)), template="wide", crop_px=128, smooth_frames=9
    )
    late = [face_at(t, at=(220, 180)) for t in range(40, 50)]
    gap = align_track(FaceTrack(track_id=0, faces=(*before, *late)), template="wide", crop_px=128, smooth_frames=9)
    for aligned in (cut, gap):
        exact = [
            align_track(FaceTrack(track_id=0, faces=(f,)), template="wide", crop_px=128, smooth_frames=1)[0]
            for f in (aligned[0].face, aligned[-1].face)
        ]
        for k, a in enumerate(aligned):
            np.testing.assert_allclose(a.frame_to_crop, exact[k >= 10].frame_to_crop, atol=1e-3)


def test_roll_through_half_a_turn_is_unwrapped():
    faces = tuple(face_at(t, angles_deg=(0, 0, 170 + 2 * t)) for t in range(12))
    smoothed = align_track(FaceTrack(track_id=0, faces=faces), template="wide", crop_px=128, smooth_frames=9)
    raw = align_track(FaceTrack(track_id=0, faces=faces), template="wide", crop_px=128, smooth_frames=1)
    for a, b in zip(raw, smoothed, strict=True):
        np.testing.assert_allclose(a.frame_to_crop, b.frame_to_crop, atol=2e-2)


def test_tracks_shorter_than_the_window():
    for n in range(1, 9):
        track = FaceTrack(track_id=0, faces=tuple(face_at(t) for t in range(n)))
        assert len(align_track(track, template="wide", crop_px=128, smooth_frames=9)) == n
    assert align_track(FaceTrack(track_id=0, faces=()), template="wide", crop_px=128, smooth_frames=9) == ()


def test_a_face_without_dense_landmarks_is_named():
    face = Face(frame_index=17, box=np.zeros(4, np.float32), points5=np.zeros((5, 2), np.float32), score=1.0)
    with pytest.raises(NoFaceError, match="frame 17"):
        align_track(FaceTrack(track_id=0, faces=(face,)), template="wide", crop_px=128, smooth_frames=9)


def test_even_windows_are_refused():
    with pytest.raises(ConfigError, match="odd"):
        align_track(FaceTrack(track_id=0, faces=()), template="wide", crop_px=128, smooth_frames=4)


def test_smooth_series_is_savitzky_golay_on_even_samples():
    from scipy.signal import savgol_filter

    values = np.random.default_rng(0).normal(size=(40, 3))
    np.testing.assert_allclose(
        smooth_series(values, np.arange(40), 9), savgol_filter(values, 9, 2, axis=0, mode="interp"), atol=1e-9
    )


# ---- warps


@pytest.mark.parametrize(("scale", "least_db"), [(1.0, 38), (2.1, 42), (0.8, 30)])
def test_round_trip(scale, least_db):
    frame = smooth_picture(240, 320)
    matrix = crop_matrix(np.array([150.3, 121.7]), 0.3, 100 / 21.5, "wide", round(100 * scale))
    crop = warp_to_crop(frame, matrix, round(100 * scale))
    back = warp_from_crop(crop, matrix, 240, 320)
    inside = warp_from_crop(np.ones((len(crop), len(crop)), np.float32), matrix, 240, 320, border="zero") > 0.999
    inside = cv2.erode(inside.astype(np.uint8), np.ones((5, 5))) > 0
    assert inside.sum() > 6000
    assert psnr(frame[inside], back[inside]) > least_db


@pytest.mark.parametrize("scale", [0.13, 0.4, 1.0, 3.0])
def test_points_and_pixels_move_alike(scale):
    frame = np.zeros((400, 400), np.float32)
    at = np.array([[211.3, 187.6]])
    y, x = np.mgrid[:400, :400]
    frame[:] = np.exp(-((x - at[0, 0]) ** 2 + (y - at[0, 1]) ** 2) / (2 * max(3, 2 / scale) ** 2))
    matrix = similarity(0.5, scale, 0, 0)
    matrix[:, 2] = [60.3, 58.9] - transform_points(at, matrix)[0]
    crop = warp_to_crop(frame, matrix, 120)
    y, x = np.mgrid[:120, :120]
    found = np.array([(crop * x).sum(), (crop * y).sum()]) / crop.sum()
    np.testing.assert_allclose(found, transform_points(at, matrix)[0], atol=0.05)
    back = warp_from_crop(crop, matrix, 400, 400, border="zero")
    y, x = np.mgrid[:400, :400]
    found = np.array([(back * x).sum(), (back * y).sum()]) / back.sum()
    np.testing.assert_allclose(found, at[0], atol=0.05 + 0.05 / scale)


def test_shrinking_does_not_alias():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 200
    crop = warp_to_crop(stripes, similarity(0.0, 0.19, 0, 0), 90)
    assert crop[10:-10, 10:-10].astype(float).std() < 12  # 100 without averaging
    back = warp_from_crop(stripes, similarity(0.1, 4.7, 0, 0), 90, 90)
    assert back[10:-10, 10:-10].astype(float).std() < 12  # 100 without averaging


@given(st.floats(-1, 1), st.floats(0.2, 4))
def test_warped_masks_stay_between_0_and_1(angle, scale):
    mask = np.zeros((40, 40), np.float32)
    mask[10:30, 12:28] = 1
    there = warp_to_crop(mask, similarity(angle, scale, 3, 2), 48)
    back = warp_from_crop(there, similarity(angle, scale, 3, 2), 40, 40, border="zero")
    for warped in (there, back):
        assert warped.dtype == np.float32
        assert warped.min() >= 0
        assert warped.max() <= 1


def test_a_crop_outside_the_frame_leaves_it_empty_or_streaked():
    crop = np.full((16, 16, 3), 90, np.uint8)
    away = np.array([[1.0, 0, -500], [0, 1, -500]])
    assert warp_from_crop(crop, away, 20, 30, border="zero").max() == 0
    assert (warp_from_crop(crop, away, 20, 30) == 90).all()


def test_only_what_the_crop_reaches_is_computed_yet_nothing_is_cut_off():
    matrix = similarity(0.6, 0.7, 20, -9)
    crop = np.ones((64, 64), np.float32)
    there = warp_from_crop(crop, matrix, 150, 170, border="zero")
    whole = cv2.warpAffine(crop, matrix, (170, 150), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    np.testing.assert_allclose(there, np.clip(whole, 0, 1), atol=0.02)


def test_one_channel_keeps_its_axis():
    assert warp_to_crop(np.zeros((8, 9, 1), np.uint8), np.eye(3)[:2], 5).shape == (5, 5, 1)
    assert warp_from_crop(np.zeros((5, 5, 1), np.uint8), np.eye(3)[:2], 8, 9).shape == (8, 9, 1)


# ---- topology


def test_topology_is_sound():
    mesh = topology.face_mesh()
    corners = mesh.canonical[mesh.triangles][:, :, :2]
    (ax, ay), (bx, by) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
    area = ax * by - ay * bx
    assert (area > 0).all()
    assert len(np.unique(mesh.triangles)) == topology.SURFACE_COUNT
    assert not mesh.canonical.flags.writeable
    assert mesh.canonical[:, 2].argmin() in {1, 4}  # the nose's tip is nearest


def test_mirroring_twice_changes_nothing():
    mirror = topology.mirror_indices()
    np.testing.assert_array_equal(mirror[mirror], np.arange(478))
    assert [mirror[i] for i in (33, 61, 1, 468, 10)] == [263, 291, 1, 473, 10]
    canonical = topology.canonical_points()
    np.testing.assert_allclose(canonical[mirror[:468]] * [-1, 1, 1], canonical, atol=0.3)
