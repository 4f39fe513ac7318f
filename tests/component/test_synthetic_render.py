"""Blender renders a few small frames with their labels. Needs bpy and the avatars (see docs/synthetic.md)."""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

from intracoder import app
from intracoder.errors import ConfigError
from intracoder.media.reader import read_frames
from intracoder.synthetic.suite import find_suite

ASSETS = Path(os.environ.get("INTRACODER_VALID_AVATARS", "valid"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="bpy is not installed"),
    pytest.mark.skipif(not ASSETS.is_dir(), reason="INTRACODER_VALID_AVATARS doesn't name the avatars' folder"),
]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    out = tmp_path_factory.mktemp("tiny")
    return out, app.synth("tiny", ASSETS, out, threads=1)


def frames_of(path):
    return np.stack([frame.pixels for frame in read_frames(path)]).astype(float)


def test_a_suite_is_rendered_and_then_kept(rendered):
    out, made = rendered
    assert (made.clips, made.frames, made.kept) == (3, 4, 0)
    again = app.synth("tiny", ASSETS, out)
    assert (again.frames, again.kept) == (0, 4)
    assert not any((out / "frames").iterdir())


def test_the_picture_and_its_labels_agree(rendered):
    out, _ = rendered
    pictures, masks = frames_of(out / "clips" / "B.mp4"), frames_of(out / "masks" / "B.mp4")
    meta = json.loads((out / "meta" / "B.json").read_text())
    size = find_suite("tiny").quality.size_px
    assert pictures.shape == masks.shape == (2, size, size, 3)
    assert [frame["frame"] for frame in meta["frames"]] == [0, 10]
    assert 20 < pictures.mean() < 235
    nose = np.array(meta["frames"][0]["points5"][2]) - 0.5
    x, y = np.round(nose).astype(int)
    assert masks[0, y, x].min() > 200, "the nose is face"
    assert masks[0, :4].max() < 40, "the top is not"
    inside = np.argwhere(masks[0, :, :, 0] > 128)
    x0, y0, x1, y1 = meta["frames"][0]["face_box"]
    assert (np.abs(inside.min(0) - [y0, x0]) < 8).all()
    assert (np.abs(inside.max(0) - [y1, x1]) < 8).all()


def test_an_occluder_is_seen_and_not_masked(rendered):
    out, _ = rendered
    masks = frames_of(out / "masks" / "B.mp4")
    assert masks[1].sum() < 0.9 * masks[0].sum(), "in frame 10 the ball is before the face"
    meta = json.loads((out / "meta" / "B.json").read_text())
    x, y = np.round(meta["frames"][1]["occluder"]).astype(int)
    assert masks[1, y, x].max() < 40


def test_the_truth_is_the_owners_picture_outside_the_face(rendered):
    out, _ = rendered
    own, truth = frames_of(out / "clips" / "B.mp4")[1], frames_of(out / "gt" / "B_as_White_F_1_face.mp4")[0]
    mask = frames_of(out / "masks" / "B_as_White_F_1_face.mp4")[0][:, :, 0]
    difference = np.abs(own - truth).mean(-1)
    assert difference[mask < 10].mean() < 4
    assert difference[mask > 200].mean() > 6


def test_other_settings_are_refused(rendered, tmp_path):
    out, _ = rendered
    suite = Path(__file__).parents[2] / "src/intracoder/synthetic/suites/tiny.toml"
    changed = tmp_path / "other.toml"
    changed.write_text(suite.read_text().replace("samples = 1", "samples = 2"))
    with pytest.raises(ConfigError, match="rendered with other settings"):
        app.synth(str(changed), ASSETS, out)
