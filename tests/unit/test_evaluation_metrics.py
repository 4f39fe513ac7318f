"""Metrics on pictures and numbers whose answer is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from intracoder.evaluation import image_metrics as pixels
from intracoder.evaluation.identity import centroid, identity_scores
from intracoder.evaluation.statistics import bootstrap_interval, percentiles, summarize
from intracoder.evaluation.temporal import acceleration, backward_flow, warp_error

SIZE = 96


def disc(radius: float = 30.0) -> np.ndarray:
    yy, xx = np.mgrid[:SIZE, :SIZE]
    return (np.hypot(xx - 48, yy - 48) < radius).astype(np.float32)


def texture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).uniform(0, 255, (SIZE, SIZE, 3)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 3.0) * 2.0 - 128.0


def picture(seed: int = 0) -> np.ndarray:
    return np.clip(texture(seed), 30, 220).astype(np.uint8)


def test_psnr_counts_only_the_mask() -> None:
    image = picture()
    other = image.copy()
    other[disc() < 0.5] = 0
    assert pixels.psnr_db(image, other, disc()) == pixels.PSNR_CAP_DB
    moved = image.astype(int) + 10 * (disc() > 0)[..., None]
    got = pixels.psnr_db(moved.astype(np.uint8), image, disc())
    assert got == pytest.approx(20 * np.log10(255 / 10), abs=1e-6)
    assert pixels.psnr_db(image, image, np.zeros((SIZE, SIZE), np.float32)) is None


def test_ssim_is_one_for_equal_and_small_for_unlike_pictures() -> None:
    assert pixels.ssim(picture(), picture(), disc()) == pytest.approx(1.0)
    grain = [np.random.default_rng(k).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8) for k in range(2)]
    unlike = pixels.ssim(grain[0], grain[1], disc())
    assert unlike is not None
    assert unlike < 0.3


def test_detail_level_falls_with_blur_and_ignores_light() -> None:
    image = np.random.default_rng(0).integers(60, 180, (SIZE, SIZE, 3), dtype=np.uint8)
    sharp, brighter = pixels.detail_level(image, disc()), pixels.detail_level(image + np.uint8(20), disc())
    blurred = pixels.detail_level(np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5)), disc())
    assert sharp is not None
    assert blurred is not None
    assert brighter == pytest.approx(sharp, rel=1e-5)
    assert blurred < 0.2 * sharp


def test_light_error_sees_casts_and_not_details() -> None:
    image = picture()
    cast = np.clip(image.astype(int) + np.array([12, 0, -12]), 0, 255).astype(np.uint8)
    grain = np.clip(image + np.random.default_rng(0).normal(0, 6, image.shape), 0, 255).astype(np.uint8)
    light = pixels.light_error(cast, image, disc())
    detail = pixels.light_error(grain, image, disc())
    assert light is not None
    assert detail is not None
    assert light > 5
    assert detail < 0.6
    assert pixels.light_error(image, image, disc()) == pytest.approx(0.0, abs=1e-6)


def test_changed_region_finds_the_pasted_disc_and_nothing_in_a_copy() -> None:
    target = picture()
    output = np.where(disc(24)[..., None] > 0, np.uint8(200), target).astype(np.uint8)
    found = pixels.changed_region(output, target, disc(30))
    iou = pixels.mask_iou(found, disc(24))
    assert iou is not None
    assert iou > 0.85
    assert not pixels.changed_region(target, target, disc(30)).any()
    grain = np.clip(target + np.random.default_rng(0).normal(0, 2, target.shape), 0, 255).astype(np.uint8)
    assert not pixels.changed_region(grain, target, disc(30)).any()


def test_a_label_beside_the_face_is_no_part_of_the_swap() -> None:
    target = np.full((120, 120, 3), 120, np.uint8)
    face = np.zeros((120, 120), np.float32)
    cv2.circle(face, (60, 50), 30, 1.0, -1)
    output = target.copy()
    cv2.circle(output, (60, 50), 26, (140, 130, 130), -1)
    alone = pixels.changed_region(output, target, face)
    output[88:112, 4:90] = 16
    output[94:106, 10:84:4] = 250
    assert pixels.mask_iou(pixels.changed_region(output, target, face), alone) == pytest.approx(1, abs=0.02)


def test_seam_is_the_step_across_the_edge_beyond_the_references() -> None:
    flat = np.full((SIZE, SIZE, 3), 128, np.uint8)
    stepped = np.where(disc(24)[..., None] > 0, np.uint8(158), flat).astype(np.uint8)
    hard = pixels.seam_excess(stepped, flat, disc(24))
    soft_alpha = cv2.GaussianBlur(disc(24), (0, 0), 8.0)[..., None]
    soft = pixels.seam_excess((flat + 30 * soft_alpha).astype(np.uint8), flat, disc(24))
    assert hard is not None
    assert soft is not None
    assert hard > 5
    assert soft < 0.5 * hard
    # a step that both have is no seam, and one that only the reference has is none either
    assert pixels.seam_excess(stepped, stepped, disc(24)) == 0.0
    assert pixels.seam_excess(flat, stepped, disc(24)) == 0.0
    assert pixels.seam_excess(flat, flat, np.zeros((SIZE, SIZE), np.float32)) is None


def test_warp_error_follows_motion_and_sees_flicker() -> None:
    big = np.clip(cv2.resize(texture(2), (SIZE * 2, SIZE * 2)), 0, 255).astype(np.uint8)
    frames = [np.ascontiguousarray(big[40 : 40 + SIZE, 40 + 2 * k : 40 + 2 * k + SIZE]) for k in range(2)]
    flow = backward_flow(frames[1], frames[0])
    inner = disc(25)
    assert float(np.median(flow.xy[40:56, 40:56, 0])) == pytest.approx(2.0, abs=0.3)
    steady = warp_error(frames[1], frames[0], flow, inner)
    brighter = np.clip(frames[1].astype(int) + 8, 0, 255).astype(np.uint8)
    flickered = warp_error(brighter, frames[0], flow, inner)
    assert steady is not None
    assert flickered is not None
    assert steady < 6
    assert flickered > steady + 40


def test_acceleration_is_zero_for_constant_motion() -> None:
    points = np.random.default_rng(0).uniform(0, 50, (468, 2)).astype(np.float32)
    points[33], points[263] = (10, 20), (60, 20)
    steady = np.stack([points + np.float32(3 * k) for k in range(6)])
    assert np.nanmax(acceleration(steady)) < 1e-9
    shaken = steady.copy()
    shaken[3] += 5.0
    squared = acceleration(shaken)
    # the second difference of a bump of 5 px in x and y is 10 px at its top, in eye distances of 50 px
    assert squared[3] == pytest.approx(2 * (10 / 50) ** 2, rel=1e-3)
    assert np.isnan(squared[[0, -1]]).all()


def people(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 1, (2, 16))
    rows = [one + rng.normal(0, 0.1, (10, 16)) for one in base]
    return tuple((r / np.linalg.norm(r, axis=1, keepdims=True)).astype(np.float32) for r in rows)  # type: ignore[return-value]


def test_identity_is_normalised_by_the_truth() -> None:
    source, target = people()
    mixed = 0.8 * source + 0.6 * target
    truth = (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)
    copied = identity_scores(target, target, source, truth)
    perfect = identity_scores(truth, target, source, truth)
    assert copied.nid is not None
    assert copied.leak is not None
    assert perfect.nid is not None
    assert perfect.leak is not None
    np.testing.assert_allclose(copied.nid, 0, atol=1e-9)
    np.testing.assert_allclose(copied.leak, 1, atol=1e-9)
    assert perfect.nid.mean() == pytest.approx(1.0)
    assert perfect.leak.mean() == pytest.approx(0.0, abs=1e-9)


def test_identity_without_truth_reaches_one_only_for_the_source_itself() -> None:
    source, target = people()
    scores = identity_scores(source, target, source, None)
    assert scores.nid is not None
    assert scores.leak is not None
    assert scores.nid.mean() == pytest.approx(1.0, abs=0.02)
    assert scores.leak.mean() == pytest.approx(0.0, abs=0.05)


def test_identity_of_one_person_with_itself_is_not_scored() -> None:
    source, _ = people()
    scores = identity_scores(source, source, source, source)
    assert scores.nid is None
    assert scores.leak is None
    assert scores.similarity.mean() > 0.9


def test_rows_without_a_face_are_left_out() -> None:
    source, target = people()
    output = target.copy()
    output[3] = np.nan
    scores = identity_scores(output, target, source, None)
    assert np.isnan(scores.similarity[3])
    assert scores.leak is not None
    assert np.nanmean(scores.leak) == pytest.approx(1.0)
    assert np.isfinite(centroid(output)).all()


def test_intervals_rest_on_clips_and_not_on_seeds() -> None:
    assert bootstrap_interval([1.0]) == (None, None)
    low, high = bootstrap_interval([0.0, 1.0, 2.0, 3.0])
    assert low is not None
    assert high is not None
    assert 0 <= low < 1.5 < high <= 3
    assert bootstrap_interval([0.0, 1.0, 2.0, 3.0]) == (low, high)
    one_clip = summarize([[1.0, 2.0, 3.0]])
    assert one_clip is not None
    assert (one_clip.mean, one_clip.clips, one_clip.ci_low) == (2.0, 1, None)
    # three seeds of one clip weigh no more than one of the other
    both = summarize([[1.0, 1.0, 1.0], [3.0]])
    assert both is not None
    assert both.mean == 2.0
    assert summarize([[], []]) is None
    assert percentiles(np.array([np.nan])) == (None, None)
