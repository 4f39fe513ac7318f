import cv2
import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve

from intracoder.errors import BlendError
from intracoder.ops.blend import FeatherBlender, MultibandBlender, PoissonBlender

BLENDERS = [FeatherBlender(), MultibandBlender(), PoissonBlender(), PoissonBlender(reach=np.inf)]
NAMES = ["feather", "multiband", "poisson", "pure-poisson"]
every_blender = pytest.mark.parametrize("blender", BLENDERS, ids=NAMES)


def picture(seed, height=128, width=128, sigma=2.0):
    noise = np.random.default_rng(seed).normal(0, 1, (height, width, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    return np.clip(128 + smooth / smooth.std() * 40, 0, 255).astype(np.uint8)


def oval(height=128, width=128, feather=4.0):
    mask = np.zeros((height, width), np.float32)
    cv2.ellipse(mask, (width // 2, height // 2), (int(width * 0.28), int(height * 0.36)), 0, 0, 360, 1.0, -1)
    mask = np.clip(cv2.GaussianBlur(mask, (0, 0), feather) * 1.2 - 0.1, 0, 1)
    return mask.astype(np.float32)


@every_blender
@pytest.mark.parametrize(("height", "width"), [(128, 128), (97, 61), (1, 1), (2, 3), (9, 40)])
def test_alpha_zero_is_the_background_and_alpha_one_the_foreground(blender, height, width):
    background, foreground = picture(0, height, width), picture(1, height, width)
    nothing = blender.blend(background, foreground, np.zeros((height, width), np.float32))
    everything = blender.blend(background, foreground, np.ones((height, width), np.float32))
    np.testing.assert_array_equal(nothing, background)
    assert np.abs(everything.astype(int) - foreground).max() <= 1


@every_blender
def test_pixels_outside_the_support_are_untouched(blender):
    background, foreground, alpha = picture(0), picture(1), oval()
    result = blender.blend(background, foreground, alpha)
    np.testing.assert_array_equal(result[alpha == 0], background[alpha == 0])
    assert (result[alpha == 1] != background[alpha == 1]).mean() > 0.9
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous


@every_blender
def test_same_picture_stays_itself(blender):
    image = picture(3)
    assert np.abs(blender.blend(image, image, oval()).astype(int) - image).max() <= 1


@every_blender
def test_moving_the_pictures_moves_the_result(blender):
    # nothing is centred or cropped by the mask's box: the whole of Poisson's jumping in the original
    height = width = 160
    shift = 16
    background, foreground = picture(0, height, width), picture(1, height, width)
    alpha = np.zeros((height, width), np.float32)
    alpha[16:144, 16:144] = oval()
    rolled = [np.roll(x, shift, axis=1) for x in (background, foreground, alpha)]
    result, moved = blender.blend(background, foreground, alpha), blender.blend(*rolled)
    difference = np.abs(np.roll(result, shift, axis=1).astype(int) - moved)[:, 32:]
    assert difference.max() <= 1


@pytest.mark.parametrize("blender", [MultibandBlender(), PoissonBlender()], ids=["multiband", "poisson"])
def test_edge_is_less_visible_than_a_cut(blender):
    background = picture(0)
    foreground = np.clip(background.astype(int) + 30, 0, 255).astype(np.uint8)
    alpha = (oval() > 0.5).astype(np.float32)
    result = blender.blend(background, foreground, alpha).astype(int) - background
    edge = np.abs(np.diff(result, axis=1)).max()
    assert edge < 30
    assert PoissonBlender(reach=np.inf).blend(background, foreground, alpha)[64, 64] == pytest.approx(
        background[64, 64], abs=1
    )  # a constant offset is all undone by the unscreened equation


def test_poisson_solves_its_equation():
    size = 40
    background, foreground = picture(0, size, size), picture(1, size, size)
    alpha = oval(size, size, feather=2.0)
    reach = 0.3
    result = PoissonBlender(reach=reach, tolerance=1e-3).blend(background, foreground, alpha).astype(float)
    expected = dense_solution(background.astype(float), foreground.astype(float), alpha, 1 / (reach * size) ** 2)
    assert np.abs(result - np.clip(expected, 0, 255)).max() < 0.6


@pytest.mark.parametrize("reach", [0.12, np.inf])
def test_poisson_solves_its_equation_under_a_ragged_mask_too(reach):
    """Cycles over coarser grids diverge there: the residual was 776 levels, and the whole render ended."""
    height, width = 130, 110
    background, foreground = picture(0, height, width), picture(1, height, width)
    foreground[:, 55:] //= 2
    ragged = np.random.default_rng(0).random((height, width)) > 0.4
    alpha = (0.9 * ragged * (oval(height, width) > 0)).astype(np.float32)
    result = PoissonBlender(reach=reach).blend(background, foreground, alpha).astype(float)
    screen = 0.0 if np.isinf(reach) else 1 / (reach * width) ** 2
    expected = dense_solution(background.astype(float), foreground.astype(float), alpha, screen)
    assert np.abs(result - np.clip(expected, 0, 255)).max() < 0.8


def dense_solution(background, foreground, alpha, screen):
    """The same minimum by a direct solver: one row per equation, edges first, then the screen."""
    height, width = alpha.shape
    index = np.arange(alpha.size).reshape(alpha.shape)
    flat = [x.reshape(-1, 3) for x in (background, foreground)]
    weight = alpha.ravel().astype(float)
    pairs = np.concatenate(
        [
            np.stack([index[:-1].ravel(), index[1:].ravel()], 1),
            np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()], 1),
        ]
    )
    first, second = pairs.T
    mixed = ((weight[first] + weight[second]) / 2)[:, None]
    guide = mixed * (flat[1][second] - flat[1][first]) + (1 - mixed) * (flat[0][second] - flat[0][first])
    rows = np.arange(len(pairs))
    gradient = sparse.csr_matrix(
        (np.repeat([1.0, -1.0], len(pairs)), (np.tile(rows, 2), np.concatenate([second, first]))),
        shape=(len(pairs), alpha.size),
    )
    composite = flat[0] + weight[:, None] * (flat[1] - flat[0])
    free = np.nonzero(weight > 0)[0]
    fixed = np.nonzero(weight == 0)[0]
    matrix = gradient.T @ gradient + screen * sparse.eye(alpha.size)
    right = gradient.T @ guide + screen * composite
    right = right[free] - matrix[free][:, fixed] @ flat[0][fixed]
    solution = flat[0].copy()
    solution[free] = spsolve(matrix[free][:, free].tocsc(), right)
    return solution.reshape(height, width, 3)


def test_poisson_reports_failure_instead_of_hiding_it():
    background, foreground = picture(0), picture(1)
    with pytest.raises(BlendError, match=r"not solved on \d+x\d+ px"):
        PoissonBlender(tolerance=1e-7, cycles_max=1).blend(background, foreground, oval())
    broken = oval()
    broken[60, 60] = np.nan
    with pytest.raises(BlendError, match="not finite"):
        PoissonBlender().blend(background, foreground, broken)


def test_poisson_reach_bounds_the_bleed():
    # black hair around a bright face: unscreened it darkens the whole face
    background, foreground = np.full((128, 128, 3), 20, np.uint8), np.full((128, 128, 3), 200, np.uint8)
    near, pure = (PoissonBlender(reach=r).blend(background, foreground, oval())[64, 64, 0] for r in (0.1, np.inf))
    assert near > 150
    assert pure < 60
