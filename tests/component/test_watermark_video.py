"""The invisible mark in encoded clips: floors of z and equal payload. The matrix: benchmarks/watermark.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from provenance_outputs import TARGET

from intracoder.media.reader import probe, read_frames
from intracoder.media.writer import ClipWriter
from intracoder.provenance.watermark import TileMark
from intracoder.records import Frame, Image

PAYLOAD = b"\x01\x0c\x0f\xfe\xe0\x42"


def wide(height: int, width: int, frames: int) -> list[Image]:
    """The target's middle band, enlarged."""
    band = [f.pixels[70:250] for f in read_frames(TARGET, stop=frames)]
    return [cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC) for image in band]


def encoded(images: list[Image], path: Path, crf: int) -> list[Image]:
    height, width = images[0].shape[:2]
    with ClipWriter(path, probe(TARGET), height=height, width=width, crf=crf) as writer:
        for index, image in enumerate(images):
            writer.write(Frame(pixels=image, index=index, pts=512 * index))
    return [frame.pixels for frame in read_frames(path)]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> list[Image]:
    mark = TileMark()
    marked = [mark.embed(image, PAYLOAD) for image in wide(720, 1280, 24)]
    return encoded(marked, tmp_path_factory.mktemp("mark") / "published.mp4", 16)


@pytest.mark.parametrize(("scale", "crf", "floor"), [(1.0, 28, 12.0), (0.5, 23, 10.0), (0.5, 28, 8.0)])
def test_floors_at_720p(published: list[Image], tmp_path: Path, scale: float, crf: int, floor: float) -> None:
    small = [cv2.resize(m, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for m in published]
    reading = TileMark().read(encoded(small, tmp_path / "a.mp4", crf))
    assert reading.payload == PAYLOAD
    assert reading.z_score >= floor


def test_turned_by_three_degrees_after_compression(published: list[Image], tmp_path: Path) -> None:
    matrix = cv2.getRotationMatrix2D((640, 360), 3, 1)
    turned = [cv2.warpAffine(m, matrix, (1280, 720), flags=cv2.INTER_CUBIC) for m in published[:12]]
    reading = TileMark().read(encoded(turned, tmp_path / "t.mp4", 23))
    assert reading.payload == PAYLOAD
    assert reading.z_score >= 12.0


def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "watermark.py"
    spec = importlib.util.spec_from_file_location("watermark_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("size", ["720p", "512"])
def test_whole_matrix_on_the_talking_head(size: str) -> None:
    """512 x 512 at half size and crf 28 is part of it."""
    matrix = benchmark()
    height, width = matrix.SIZES[size]
    clip = matrix.talking_head(height, width, 48)
    mark = TileMark()
    published = matrix.encoded([mark.embed(image, PAYLOAD) for image in clip], 16)
    unread = []
    for name, apply in matrix.attacks().items():
        reading = mark.read([np.ascontiguousarray(image) for image in apply(published)])
        if reading.payload != PAYLOAD or reading.z_score < (matrix.FLOORS.get(name, 0) if size == "720p" else 0):
            unread.append((name, reading.z_score))
    assert unread == []
