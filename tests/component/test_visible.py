"""The packaged network that sees what hides a face, on the demo's people and things laid over them."""

from functools import cache
from importlib.resources import as_file, files

import numpy as np
import pytest

from intracoder import build
from intracoder.config import DetectConfig
from intracoder.errors import WeightsError
from intracoder.media.reader import read_frames
from intracoder.nets.visible import VisibleNet, pack_visible, read_visible
from intracoder.ops.geometry import rescale_matrix, transform_points, warp_to_crop
from intracoder.ops.mask import hull_mask
from intracoder.protocols import FaceSegmenter
from intracoder.training.performances import CROP_PX, TEMPLATE, FaceReader


@cache
def faces(size):
    """A "wide" crop of each of the demo's people, and its landmarks."""
    networks = build.face_networks(DetectConfig())
    reader = FaceReader(networks.detector, networks.landmarker)
    found = []
    for name in ("source", "target"):
        with as_file(files("intracoder") / "demo" / f"{name}.mp4") as clip:
            (frame,) = list(read_frames(clip, stop=1))
        points, _, frame_to_crop = reader.read(frame)
        matrix = rescale_matrix(frame_to_crop, TEMPLATE, CROP_PX, "wide", size)
        found.append((warp_to_crop(frame.pixels, matrix, size), transform_points(points, matrix)))
    return found


@pytest.mark.parametrize("size", [128, 200])
@pytest.mark.parametrize("make", build.FACE_SEGMENTERS.values(), ids=build.FACE_SEGMENTERS)
def test_a_bare_face_is_seen_and_what_is_laid_over_it_hides_it(make, size):
    segmenter = make()
    assert isinstance(segmenter, FaceSegmenter)
    for crop, points in faces(size):
        inside = hull_mask(points, size, size, scale=0.85) > 0.5
        bare = segmenter.visible(crop, points)
        assert bare.shape == (size, size)
        assert bare.dtype == np.float32
        assert 0 <= bare.min() <= bare.max() <= 1
        assert (bare[inside] > 0.5).mean() > 0.97
        strip = slice(int(0.52 * size), int(0.68 * size))
        covered = crop.copy()
        covered[strip] = (30, 160, 60)
        seen = segmenter.visible(covered, points)
        hidden = np.zeros_like(inside)
        hidden[strip] = True
        assert (seen[inside & hidden] < 0.5).mean() > 0.7
        assert (seen[inside & ~hidden] > 0.5).mean() > 0.85


def test_light_does_not_matter():
    segmenter = build.FACE_SEGMENTERS["learned"]()
    for crop, points in faces(128):
        inside = hull_mask(points, 128, 128, scale=0.85) > 0.5
        for gain in (0.35, 1.4):
            lit = np.clip(crop * gain, 0, 255).astype(np.uint8)
            assert (segmenter.visible(lit, points)[inside] > 0.5).mean() > 0.95


@pytest.mark.parametrize("data", [b"", b"\xff" * 64])
def test_damaged_weights_are_refused_in_a_line(monkeypatch, data):
    monkeypatch.setattr("intracoder.nets.visible.load_bytes", lambda name: data)
    with pytest.raises(WeightsError, match="visible_face"):
        read_visible()


def test_packing_loses_no_more_than_half_precision_does(monkeypatch):
    net = VisibleNet()
    monkeypatch.setattr("intracoder.nets.visible.load_bytes", lambda name: pack_visible(net))
    for name, value in read_visible().state_dict().items():
        np.testing.assert_allclose(value, net.state_dict()[name], rtol=1e-3, atol=1e-6)
