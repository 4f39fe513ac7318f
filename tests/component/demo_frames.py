"""Frames of the packaged demo clips and what other tools say about them (tests/data/face_reference.json)."""

import functools
import importlib.resources
import json
from pathlib import Path

import numpy as np

from intracoder.media.reader import read_frames
from intracoder.records import Frame

REFERENCE = json.loads((Path(__file__).parent.parent / "data" / "face_reference.json").read_text(encoding="utf-8"))


@functools.cache
def demo_clip(name: str) -> tuple[Frame, ...]:
    """Every frame of the source or target clip."""
    path = Path(str(importlib.resources.files("intracoder"))) / "demo" / f"{name}.mp4"
    return tuple(read_frames(path))


def frame_of(pixels: np.ndarray, index: int = 0) -> Frame:
    return Frame(pixels=np.ascontiguousarray(pixels), index=index, pts=index)


def side_by_side() -> Frame:
    """Source on the left, target on the right."""
    return frame_of(np.hstack([demo_clip("source")[0].pixels, demo_clip("target")[60].pixels]))
