import numpy as np
import pytest
from face_shapes import canonical_shape, crop_points

from intracoder.ops.color import encoded, linear_light
from intracoder.ops.mask import hull_mask, skin_mask
from intracoder.ops.mesh import surface_normals
from intracoder.ops.relight import harmonics, measure_shading, relit

SIZE = 96
FROM_LEFT = np.array([[1.0, -0.5, 0.1, -0.2, 0, 0, 0, 0, 0]] * 3).T
FROM_ABOVE = np.array([[1.0, 0.1, -0.4, -0.3, 0, 0, 0, 0.1, 0], [1.0, 0.0, -0.3, -0.3, 0, 0, 0, 0, 0]] * 2).T[:, :3]


def lit_face(normals, light, skin=(0.45, 0.3, 0.22)):
    """A matt head of one colour."""
    shade = harmonics(normals) @ light
    return np.rint(encoded(np.clip(shade * np.array(skin), 0, 1)) * 255).astype(np.uint8)


@pytest.fixture
def turned():
    points = crop_points(SIZE, yaw=12, pitch=4)
    return points, surface_normals(points, SIZE), skin_mask(points, SIZE)


def test_normals_are_unit_vectors_that_face_the_viewer():
    points = crop_points(SIZE)
    normals = surface_normals(points, SIZE)
    assert np.linalg.norm(normals, axis=2) == pytest.approx(1, abs=1e-3)
    face = hull_mask(points, SIZE, SIZE, scale=0.8) > 0.5
    assert (normals[face][:, 2] < 0).mean() > 0.99
    left, right = normals[face & (np.arange(SIZE) < SIZE * 0.4)], normals[face & (np.arange(SIZE) > SIZE * 0.6)]
    # cheeks face outwards
    assert left[:, 0].mean() < -0.2
    assert right[:, 0].mean() > 0.2
    chin, brow = points[152].astype(int), points[9].astype(int)
    assert normals[chin[1] - 3, chin[0], 1] > normals[brow[1], brow[0], 1]


def test_a_turned_head_turns_its_normals():
    straight, turned_right = (surface_normals(crop_points(SIZE, yaw=yaw), SIZE) for yaw in (0, 25))
    nose = [crop_points(SIZE, yaw=yaw)[4].astype(int) for yaw in (0, 25)]
    before, after = straight[nose[0][1], nose[0][0]], turned_right[nose[1][1], nose[1][0]]
    assert after[0] - before[0] == pytest.approx(np.sin(np.radians(25)), abs=0.15)


def test_light_is_exchanged(turned):
    _, normals, skin = turned
    own, expected = lit_face(normals, FROM_LEFT), lit_face(normals, FROM_ABOVE)
    present, wanted = measure_shading(own, normals, skin), measure_shading(expected, normals, skin)
    result = relit(own, normals, present, wanted)
    inside = skin > 0.5
    mean = [linear_light(image[inside]).mean(axis=0) for image in (result, expected)]
    before = np.abs(
        linear_light(own)[inside] / linear_light(own)[inside].mean(axis=0) - linear_light(expected)[inside] / mean[1]
    )
    after = np.abs(linear_light(result)[inside] / mean[0] - linear_light(expected)[inside] / mean[1])
    assert before.mean() > 0.08
    assert after.mean() < 0.02


def test_light_is_carried_to_another_shape(turned):
    _, normals, skin = turned
    shape = canonical_shape()
    shape[:, 0] *= 1.12
    shape[[1, 4, 5], 2] -= 0.8
    other_points = crop_points(SIZE, yaw=12, pitch=4, shape=shape)
    other_normals, other_skin = surface_normals(other_points, SIZE), skin_mask(other_points, SIZE)
    own = lit_face(other_normals, FROM_LEFT, skin=(0.2, 0.12, 0.08))
    expected = lit_face(other_normals, FROM_ABOVE, skin=(0.2, 0.12, 0.08))
    present = measure_shading(own, other_normals, other_skin)
    wanted = measure_shading(lit_face(normals, FROM_ABOVE), normals, skin)
    result = relit(own, other_normals, present, wanted)
    inside = other_skin > 0.5
    relative = [linear_light(i)[inside] / linear_light(i)[inside].mean(axis=0) for i in (own, result, expected)]
    assert np.abs(relative[1] - relative[2]).mean() < 0.25 * np.abs(relative[0] - relative[2]).mean()


def test_the_same_light_and_no_strength_change_nothing(turned):
    _, normals, skin = turned
    own, other = lit_face(normals, FROM_LEFT), lit_face(normals, FROM_ABOVE)
    light = measure_shading(own, normals, skin)
    assert np.abs(relit(own, normals, light, light).astype(int) - own).max() <= 1
    wanted = measure_shading(other, normals, skin)
    assert np.abs(relit(own, normals, light, wanted, strength=0.0).astype(int) - own).max() <= 1


def test_moles_and_shine_are_not_taken_for_light(turned):
    _, normals, skin = turned
    own = lit_face(normals, FROM_LEFT)
    clean = measure_shading(own, normals, skin)
    rows, columns = np.nonzero(skin > 0.5)
    picked = np.random.default_rng(0).choice(len(rows), len(rows) // 12, replace=False)
    own[rows[picked], columns[picked]] = 250
    spotted = measure_shading(own, normals, skin)
    face = skin > 0.5
    light = [m.light(normals)[face] / m.light(normals)[face].mean(axis=0) for m in (clean, spotted)]
    assert np.abs(light[0] - light[1]).mean() < 0.02


def test_without_skin_there_is_no_light(turned):
    _, normals, _ = turned
    assert measure_shading(lit_face(normals, FROM_LEFT), normals, np.zeros((SIZE, SIZE), np.float32)) is None
    assert measure_shading(np.zeros((SIZE, SIZE, 3), np.uint8), normals, np.ones((SIZE, SIZE), np.float32)) is None


def test_a_change_of_light_is_bounded(turned):
    _, normals, skin = turned
    own = lit_face(normals, FROM_LEFT)
    harsh = lit_face(normals, np.array([[1.0, -2.0, 0, 0, 0, 0, 0, 0, 0]] * 3).T)
    result = relit(own, normals, measure_shading(own, normals, skin), measure_shading(harsh, normals, skin))
    ratio = (linear_light(result) + 1e-3) / (linear_light(own) + 1e-3)
    assert ratio.max() < np.exp(0.7) * 1.1
    assert ratio.min() > np.exp(-0.7) * 0.85
