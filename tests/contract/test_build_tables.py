"""What every entry of every table in ``build.py`` has to do, whichever part it is."""

from functools import cache
from importlib.resources import as_file, files

import numpy as np
import pytest

from intracoder import build
from intracoder.config import DetectConfig
from intracoder.errors import ConfigError
from intracoder.media.reader import read_frames
from intracoder.protocols import (
    Blender,
    ColorMatcher,
    Detector,
    Embedder,
    GuardScorer,
    Landmarker,
    Segmenter,
    Watermarker,
)
from intracoder.records import Frame

PAYLOAD = bytes.fromhex("01a2b3c4d5e6")
LEVEL = 1
"""Grey levels of rounding that identity may cost."""


def every(table):
    return pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in table.items()])


@cache
def demo_frame(name="source"):
    with as_file(files("intracoder") / "demo" / f"{name}.mp4") as clip:
        (frame,) = list(read_frames(clip, stop=1))
    return frame


@cache
def demo_face():
    """The face of the demo frame, by the detector that ships."""
    ((face, *_),) = build.DETECTORS["mtcnn"](DetectConfig()).detect([demo_frame()])
    return face


def textured(height, width, *, seed=0):
    """A picture with colours and detail."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    slope = np.stack([60 + 90 * x / width, 70 + 80 * y / height, 140 - 50 * x / width], axis=2)
    return np.clip(slope + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)


def disc(side, radius, *, soft=1.0):
    """1 inside, exactly 0 from ``radius + soft`` on."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.clip((radius + soft - np.hypot(x, y)) / soft, 0, 1).astype(np.float32)


@every(build.DETECTORS)
class TestDetector:
    def test_gives_one_tuple_a_frame(self, make):
        detector = make(DetectConfig())
        assert isinstance(detector, Detector)
        assert detector.detect([]) == []
        empty = Frame(pixels=np.full((90, 131, 3), 120, np.uint8), index=1, pts=1)
        found = detector.detect([demo_frame(), empty])
        assert [len(faces) for faces in found] == [1, 0]
        assert found[0][0].frame_index == 0

    def test_puts_the_best_first_and_boxes_into_the_frame(self, make):
        big = demo_frame().pixels
        small = demo_frame("target").pixels[::2, ::2]
        wide = np.full((320, 520, 3), 90, np.uint8)
        wide[:, :320] = big
        wide[:160, 340:500] = small
        (faces,) = make(DetectConfig()).detect([Frame(pixels=wide, index=7, pts=7)])
        assert len(faces) == 2
        scores = [face.score for face in faces]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        for face in faces:
            assert face.frame_index == 7
            x0, y0, x1, y1 = face.box
            assert -20 < x0 < x1 < 540
            assert -20 < y0 < y1 < 340
            # left and right are the viewer's
            assert face.points5[0, 0] < face.points5[1, 0]

    def test_finds_the_same_alone_and_in_a_batch(self, make):
        detector = make(DetectConfig())
        frames = [demo_frame(), demo_frame("target")]
        together = detector.detect(frames)
        for frame, batched in zip(frames, together, strict=True):
            (alone,) = detector.detect([frame])
            assert [face.score for face in alone] == pytest.approx([face.score for face in batched], abs=1e-4)
            np.testing.assert_allclose(alone[0].box, batched[0].box, atol=0.05)


@every(build.LANDMARKERS)
class TestLandmarker:
    def test_finds_points_in_frame_pixels(self, make):
        landmarker = make()
        assert isinstance(landmarker, Landmarker)
        face = demo_face()
        points, presence = landmarker.landmarks(demo_frame().pixels, face.points5)
        assert 0.9 < presence <= 1
        x0, y0, x1, y1 = face.box
        # most of what is dense lies in the detector's box, grown by a fifth for chin and forehead
        grown = 0.2 * (x1 - x0)
        inside = (points[:, :2] > [x0 - grown, y0 - grown]) & (points[:, :2] < [x1 + grown, y1 + grown])
        assert inside.all(axis=1).mean() > 0.95

    def test_coefficients_are_fractions(self, make):
        landmarker = make()
        points, _ = landmarker.landmarks(demo_frame().pixels, demo_face().points5)
        shapes = landmarker.blendshapes(points)
        assert shapes.min() >= 0
        assert shapes.max() <= 1


@every(build.EMBEDDERS)
def test_an_embedder_gives_unit_vectors_that_repeat(make):
    embedder = make()
    assert isinstance(embedder, Embedder)
    first = embedder.embed(demo_frame().pixels, demo_face().points5)
    assert float(np.linalg.norm(first)) == pytest.approx(1.0, abs=1e-5)
    brighter = np.clip(demo_frame().pixels.astype(int) + 12, 0, 255).astype(np.uint8)
    assert float(first @ embedder.embed(brighter, demo_face().points5)) > 0.9


@every(build.SEGMENTERS)
@pytest.mark.parametrize("size", [(96, 96), (75, 133)])
def test_a_segmenter_gives_fractions_at_the_images_size(make, size):
    segmenter = make()
    assert isinstance(segmenter, Segmenter)
    mask = segmenter.segment(textured(*size))
    assert mask.shape == size
    assert mask.dtype == np.float32
    assert mask.min() >= 0
    assert mask.max() <= 1


@every(build.COLOR_MATCHERS)
class TestColorMatcher:
    def test_of_equal_pictures_is_identity(self, make):
        matcher = make()
        assert isinstance(matcher, ColorMatcher)
        image, mask = textured(64, 64), disc(64, 24)
        matched = matcher.match(image, image.copy(), mask, mask)
        assert np.abs(matched.astype(int) - image).max() <= LEVEL

    @pytest.mark.parametrize("empty", ["image", "reference", "both"])
    def test_of_an_empty_mask_returns_the_image(self, make, empty):
        image, reference, mask = textured(64, 64), textured(64, 64, seed=1) // 2, disc(64, 24)
        nothing = np.zeros_like(mask)
        masks = (nothing if empty != "reference" else mask, nothing if empty != "image" else mask)
        np.testing.assert_array_equal(make().match(image, reference, *masks), image)

    def test_does_not_change_its_inputs(self, make):
        image, reference, mask = textured(64, 64), textured(64, 64, seed=1) // 2, disc(64, 24)
        before = image.copy(), reference.copy()
        make().match(image, reference, mask, mask)
        np.testing.assert_array_equal(image, before[0])
        np.testing.assert_array_equal(reference, before[1])


@pytest.mark.parametrize("name", [name for name in build.COLOR_MATCHERS if name != "none"])
def test_a_color_matcher_comes_nearer_to_the_reference(name):
    image, mask = textured(96, 96), disc(96, 36)
    reference = np.clip(image.astype(float) * [0.8, 0.9, 1.1], 0, 255).astype(np.uint8)
    matched = build.COLOR_MATCHERS[name]().match(image, reference, mask, mask)
    inside = mask == 1

    def apart(picture):
        return np.abs(picture[inside].mean(0) - reference[inside].mean(0)).mean()

    assert apart(matched) < apart(image) / 3


@every(build.BLENDERS)
class TestBlender:
    def test_of_no_alpha_is_the_background_bit_for_bit(self, make):
        blender = make()
        assert isinstance(blender, Blender)
        below, above = textured(97, 97), 255 - textured(97, 97, seed=1)
        np.testing.assert_array_equal(blender.blend(below, above, np.zeros((97, 97), np.float32)), below)

    def test_leaves_everything_outside_alpha_alone(self, make):
        below, above, alpha = textured(128, 128), textured(128, 128, seed=1) // 2, disc(128, 30, soft=6)
        blended = make().blend(below, above, alpha)
        np.testing.assert_array_equal(blended[alpha == 0], below[alpha == 0])
        assert np.abs(blended[alpha == 1].astype(int) - below[alpha == 1]).mean() > 3

    def test_of_full_alpha_has_the_foregrounds_detail(self, make):
        below, above = textured(128, 128), textured(128, 128, seed=1)
        blended = make().blend(below, above, np.ones((128, 128), np.float32))
        detail = [np.diff(picture[40:88, 40:88].astype(float), axis=1).ravel() for picture in (blended, above)]
        assert np.corrcoef(*detail)[0, 1] > 0.99

    def test_of_equal_pictures_is_that_picture(self, make):
        below = textured(96, 96)
        blended = make().blend(below, below.copy(), disc(96, 30, soft=8))
        assert np.abs(blended.astype(int) - below).max() <= LEVEL


@every(build.GUARD_SCORERS)
def test_a_guard_scorer_gives_a_fraction_and_a_low_one_to_a_portrait(make):
    scorer = make()
    assert isinstance(scorer, GuardScorer)
    portrait, pattern = scorer.score(demo_frame().pixels), scorer.score(textured(61, 140))
    assert 0 <= pattern <= 1
    assert 0 <= portrait < 0.3


@every(build.WATERMARKERS)
class TestWatermarker:
    def test_reads_what_it_wrote(self, make):
        watermarker = make()
        assert isinstance(watermarker, Watermarker)
        image = demo_frame().pixels
        marked = watermarker.embed(image, PAYLOAD)
        assert marked.shape == image.shape
        assert 10 * np.log10(255**2 / ((marked.astype(float) - image) ** 2).mean()) > 36
        reading = watermarker.read([marked])
        assert reading.payload == PAYLOAD
        assert reading.is_found

    def test_reads_nothing_in_unmarked_pictures(self, make):
        reading = make().read([demo_frame().pixels, demo_frame("target").pixels])
        assert reading.payload is None
        assert not reading.is_found


def test_a_name_that_is_in_no_table_is_refused_with_those_that_are():
    with pytest.raises(ConfigError, match=r"blend: expected one of feather, poisson, multiband, got 'glue'"):
        build.pick(build.BLENDERS, "glue", what="blend")
