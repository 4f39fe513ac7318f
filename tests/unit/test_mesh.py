import cv2
import numpy as np
import pytest
from face_shapes import crop_points

from intracoder.ops import topology
from intracoder.ops.mesh import apply_warp, fit_square, mesh_warp, paint_geometry, warp_field


def plane_at(planes, point):
    column, row = np.rint(point[:2]).astype(int)
    return planes[row, column].astype(int)


def canonical_color(index):
    canonical = topology.canonical_points()
    low, high = canonical.min(axis=0), canonical.max(axis=0)
    return (canonical[index] - low) / (high - low) * 225 + 30


def picture(size=256):
    noise = np.random.default_rng(5).integers(0, 256, (size, size, 3)).astype(np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)


def hull(points, size, scale):
    oval = points[list(topology.OVAL), :2]
    mask = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(mask, np.rint(oval.mean(axis=0) + (oval - oval.mean(axis=0)) * scale).astype(np.int32), 1)
    return mask > 0


# ---- geometry planes


@pytest.mark.parametrize("size", [64, 160, 256])
def test_planes_show_canonical_coordinates(size):
    points = crop_points(size)
    planes = paint_geometry(points, size)
    assert planes.shape == (size, size, 4)
    for index in (1, 50, 280, 151, 199, 8):
        np.testing.assert_allclose(plane_at(planes, points[index])[:3], canonical_color(index), atol=8)
    assert (planes[0] == 0).all()
    assert (planes[:, 0] == 0).all()


@pytest.mark.parametrize(("yaw", "nose_side"), [(40, 1), (-40, -1)])
def test_the_nearer_nose_hides_the_farther_cheek(yaw, nose_side):
    points = crop_points(yaw=yaw)
    planes = paint_geometry(points, 256)
    nearest = paint_geometry(points, 256)[..., 2]
    tip = points[1]
    np.testing.assert_allclose(plane_at(planes, tip)[:3], canonical_color(1), atol=20)
    # along the row of the tip every pixel shows the nearest surface there: depth colours fall towards the tip
    row = nearest[round(float(tip[1]))].astype(int)
    columns = np.flatnonzero(row)
    assert row[columns].min() < 50
    assert (np.diff(columns) == 1).all()  # one piece: no holes, no detached fold
    # canonical x runs one way across the row: nothing folded over
    across = planes[round(float(tip[1])), columns[9:-9], 0].astype(int)
    assert (np.diff(across) >= -2).all()
    assert np.sign(tip[0] - points[168][0]) == nose_side


def nearest_color(points, x, y):
    """What the surface shows at a point, found triangle by triangle."""
    found, depth = None, np.inf
    for corners in topology.face_mesh().triangles:
        (ax, ay, _), (bx, by, _), (cx, cy, _) = points[corners].astype(float)
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area <= 0:
            continue
        wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
        wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
        weights = np.array([1 - wb - wc, wb, wc])
        if weights.min() >= 0 and weights @ points[corners, 2] < depth:
            depth = weights @ points[corners, 2]
            found = weights @ np.array([canonical_color(k) for k in corners])
    return found


def test_planes_are_those_of_the_nearest_triangle():
    points = crop_points(yaw=40, pitch=-15)
    planes = paint_geometry(points, 256)
    inside = np.argwhere(cv2.erode((planes[..., 0] > 0).astype(np.uint8), np.ones((15, 15))))
    errors = []
    for row, column in np.random.default_rng(0).permutation(inside)[:80]:
        errors.append(np.abs(planes[row, column, :3] - nearest_color(points, column, row)).max())
    assert np.median(errors) < 2
    assert np.mean(np.array(errors) > 25) < 0.05  # the softened edge of the nose


@pytest.mark.parametrize("yaw", [0, 25, 50, -50])
def test_planes_have_no_holes(yaw):
    points = crop_points(yaw=yaw, pitch=10, roll=12)
    shown = paint_geometry(points, 256)[..., 0] > 0
    filled = shown.astype(np.uint8)
    contours, _ = cv2.findContours(filled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    assert len(contours) == 1


def test_parts_plane_levels():
    points = crop_points()
    lower = list(topology.INNER_LIPS[11:])
    points[lower, 1] += 12  # open the mouth
    parts = paint_geometry(points, 256)[..., 3]
    mouth = points[list(topology.INNER_LIPS)].mean(axis=0)
    assert plane_at(parts[..., None], mouth)[0] == 200
    for ring in topology.IRISES:
        assert plane_at(parts[..., None], points[ring[0]])[0] >= 225
    assert parts[parts > 0].size < 256 * 256 * 0.03
    assert ((parts > 100) & (parts < 120)).any()


def test_points_outside_the_crop_are_cut_off():
    points = crop_points() + np.array([140, -90, 0], np.float32)
    planes = paint_geometry(points, 256)
    assert (planes[:, -1, 0] > 0).any()
    assert (paint_geometry(points + np.float32(4000), 256) == 0).all()


# ---- bending


@pytest.mark.parametrize("yaw", [0, 35])
def test_same_points_leave_the_image_alone(yaw):
    image, points = picture(), crop_points(yaw=yaw)
    warped = mesh_warp(image, points, points, 256)
    np.testing.assert_allclose(warped.astype(int), image, atol=1)
    visibility = warp_field(points, points, 256).visibility
    assert visibility[hull(points, 256, 0.85)].mean() > 0.97


def test_a_known_shift_is_followed_in_the_face_and_not_at_the_border():
    image, points = picture(), crop_points()
    warped = mesh_warp(image, points, points + np.array([6, -4, 0], np.float32), 256)
    moved = cv2.warpAffine(image, np.array([[1.0, 0, 6], [0, 1, -4]]), (256, 256))
    inside = hull(points + np.array([6, -4, 0], np.float32), 256, 0.85)
    difference = np.abs(warped.astype(int) - moved)
    assert difference[inside].mean() < 0.6
    rim = np.ones((256, 256), bool)
    rim[2:-2, 2:-2] = False
    assert np.abs(warped.astype(int) - image)[rim].mean() < 3


@pytest.mark.parametrize("yaw", [15, 30])
def test_landmarks_of_the_image_land_on_the_wanted_ones(yaw):
    frontal, turned = crop_points(), crop_points(yaw=yaw)
    origin = warp_field(frontal, turned, 256).origin
    for index in (1, 4, 6, 50, 205, 13, 152, 8, 151, 133):
        column, row = np.rint(turned[index, :2]).astype(int)
        np.testing.assert_allclose(origin[row, column], frontal[index, :2], atol=2.5)


def test_gaze_moves_within_the_lids():
    points = crop_points()
    looking = points.copy()
    for ring in topology.IRISES:
        looking[list(ring), 0] += 3
    origin = warp_field(points, looking, 256).origin
    for ring in topology.IRISES:
        column, row = np.rint(looking[ring[0], :2]).astype(int)
        np.testing.assert_allclose(origin[row, column], points[ring[0], :2], atol=1.2)
    brow = np.rint(points[105, :2]).astype(int)
    np.testing.assert_allclose(origin[brow[1], brow[0]], brow, atol=0.05)


def test_nothing_folds_at_large_yaw():
    origin = warp_field(crop_points(), crop_points(yaw=40), 256).origin
    inside = hull(crop_points(yaw=40), 256, 0.8)[:, 1:]
    steps = np.diff(origin[..., 0], axis=1)[inside]
    assert (steps < -0.5).mean() < 0.01


def test_hidden_and_edge_on_parts_are_known_as_such():
    turned, frontal = crop_points(yaw=50), crop_points()
    visibility = warp_field(turned, frontal, 256).visibility
    assert 0 <= visibility.min() <= visibility.max() <= 1
    near, far = (frontal[list(cheek), :2].mean(axis=0) for cheek in topology.CHEEKS)
    values = [visibility[round(float(c[1])), round(float(c[0]))] for c in (near, far)]
    assert min(values) < 0.25
    assert max(values) > 0.8
    assert visibility[:10].min() > 0.9999


def test_an_image_of_another_size_is_resized_with_its_points():
    points = crop_points(512)
    image = picture(512)
    square, small = fit_square(image, points, 256)
    np.testing.assert_allclose(small, crop_points(256), atol=1e-3)
    field = warp_field(small, crop_points(256, yaw=10), 256)
    np.testing.assert_array_equal(mesh_warp(image, points, crop_points(256, yaw=10), 256), apply_warp(square, field))
