import numpy as np
import pytest
from face_shapes import canonical_shape, rotation

from intracoder.ops.geometry import fit_head, posed
from intracoder.ops.structure import combined, find_heads, lay_on, shape_from_motion
from intracoder.ops.topology import OVAL
from intracoder.records import HeadFit


def another_head():
    """The canonical head with a longer profile: forehead back, chin forward, and a bigger nose."""
    shape = canonical_shape()
    middle = shape[:468, 1].mean()
    shape[:, 2] += -0.12 * (shape[:, 1] - middle)
    shape[[1, 4, 5], 2] -= 0.6
    return shape


def filmed(shape, *, yaws, pitches, offsets=None, noise=0.0, seed=0):
    """Landmarks whose depth is read as if the head were the canonical one, as a network does that sees one picture."""
    random = np.random.default_rng(seed)
    rows, heads = [], []
    for k, (yaw, pitch) in enumerate(zip(yaws, pitches, strict=True)):
        head = HeadFit(scale=9.0, rotation=rotation(yaw, pitch, 3.0), translation=np.array([120.0, 110.0, 0.0]))
        moved = shape if offsets is None else shape + offsets[k]
        seen = posed(moved, head)
        seen[:, 2] = posed(canonical_shape(), head)[:, 2]
        seen[:, :2] += noise * random.standard_normal((478, 2))
        rows.append(seen)
        heads.append(head)
    return np.stack(rows).astype(np.float64), heads


def degrees_between(a, b):
    return np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1)))


def test_heads_are_found_from_pictures_alone():
    shape = another_head()
    points, heads = filmed(shape, yaws=np.linspace(-40, 40, 9), pitches=np.linspace(12, -12, 9))
    start = [fit_head(row.astype(np.float32)) for row in points]
    points[:, :, 2] = np.nan  # what was read as depth is not looked at
    found = find_heads(shape, np.zeros((9, 478, 3)), points, start)
    for head, expected in zip(found, heads, strict=True):
        assert degrees_between(head.rotation, expected.rotation) < 0.01
        assert head.scale == pytest.approx(expected.scale, rel=1e-4)
        assert head.translation[:2] == pytest.approx(expected.translation[:2], abs=1e-2)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_depth_comes_from_motion(noise):
    shape = another_head()
    count = 120
    yaws, pitches = 30 * np.sin(np.arange(count) / 9), 8 * np.cos(np.arange(count) / 5)
    points, heads = filmed(shape, yaws=yaws, pitches=pitches, noise=noise)
    offsets = np.zeros((count, 478, 3))
    found = shape_from_motion(canonical_shape(), offsets, points, heads)
    at_rest = lay_on(found, shape)
    error = at_rest.scale * found @ at_rest.rotation.T + at_rest.translation - shape
    before = lay_on(canonical_shape(), shape)
    misread = before.scale * canonical_shape() @ before.rotation.T + before.translation - shape
    assert np.abs(error[:468, 2]).mean() < 0.35 * np.abs(misread[:468, 2]).mean()
    assert np.abs(error[[1, 4, 5], 2]).max() < 0.25


def test_a_person_who_does_not_turn_keeps_the_read_depth():
    shape = another_head()
    points, heads = filmed(shape, yaws=[0.0, 0.5, -0.5], pitches=[0.0, 0.3, 0.0])
    found = shape_from_motion(canonical_shape(), np.zeros((3, 478, 3)), points, heads)
    assert np.abs(found[:468, 2] - canonical_shape()[:468, 2]).mean() < 0.1
    assert np.isfinite(found).all()


def test_expressions_are_not_taken_for_shape():
    shape = canonical_shape()
    count = 60
    offsets = np.zeros((count, 478, 3))
    offsets[:, [13, 14, 17, 152], 1] = np.linspace(0, 2, count)[:, None]
    points, heads = filmed(shape, yaws=np.linspace(-25, 25, count), pitches=np.zeros(count), offsets=offsets)
    found = shape_from_motion(shape, offsets, points, heads)
    assert np.abs(found[:468] - shape[:468]).max() < 0.02


def test_heads_are_laid_on_one_another_along_the_edge():
    shape = canonical_shape()
    head = HeadFit(scale=1.2, rotation=rotation(4.0, -6.0, 2.0), translation=np.array([0.3, -0.2, 0.5]))
    other = head.scale * shape @ head.rotation.T + head.translation
    laid = lay_on(shape, other)
    assert laid.scale == pytest.approx(1.2)
    assert degrees_between(laid.rotation, head.rotation) < 1e-4
    bigger_nose = shape.copy()
    bigger_nose[[1, 2, 4, 5, 19, 94], 2] -= 1.0
    moved = lay_on(bigger_nose, other)
    edge = moved.scale * bigger_nose @ moved.rotation.T + moved.translation - other
    assert np.abs(edge[list(OVAL)]).max() < 0.06


def test_poses_are_combined_from_the_inside_out():
    shape = canonical_shape()
    inner = HeadFit(scale=0.9, rotation=rotation(5.0, 2.0, 0.0), translation=np.array([0.1, 0.2, 0.3]))
    outer = HeadFit(scale=7.0, rotation=rotation(-20.0, 8.0, 5.0), translation=np.array([90.0, 80.0, 4.0]))
    step = inner.scale * shape @ inner.rotation.T + inner.translation
    np.testing.assert_allclose(posed(shape, combined(outer, inner)), posed(step, outer), atol=1e-3)
