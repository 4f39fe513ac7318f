"""Reading truths for the seating, on the demo's two people."""

import json
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from intracoder import app
from intracoder.build import face_networks
from intracoder.config import DetectConfig, RunConfig
from intracoder.errors import ConfigError, TrainingError
from intracoder.media.reader import probe, read_frames
from intracoder.media.writer import ClipWriter
from intracoder.training.performances import FaceReader
from intracoder.training.seating import gather_truths

FRAMES = 6


def shortened(source, path):
    with ClipWriter(path, probe(source), crf=18) as writer:
        for frame in read_frames(source, stop=FRAMES):
            writer.write(frame)


def describe(folder, stem, person):
    table = {"person": person, "frames": [{"frame": 5 * k} for k in range(FRAMES)]}
    (folder / "meta" / f"{stem}.json").write_text(json.dumps(table), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """Ann's and Bob's own clips; Bob's face on Ann's head is, for once, Ann herself."""
    for name in ("clips", "gt", "meta"):
        (tmp_path / name).mkdir()
    demo = Path(str(files("intracoder"))) / "demo"
    shortened(demo / "target.mp4", tmp_path / "clips" / "ann_000.mp4")
    shortened(demo / "source.mp4", tmp_path / "clips" / "bob_000.mp4")
    shutil.copy(tmp_path / "clips" / "ann_000.mp4", tmp_path / "gt" / "ann_000_as_bob_face.mp4")
    for stem, person in (("ann_000", "Ann"), ("bob_000", "Bob"), ("ann_000_as_bob_face", "Bob")):
        describe(tmp_path, stem, person)
    return tmp_path


@pytest.fixture(scope="module")
def reader():
    networks = face_networks(DetectConfig())
    return FaceReader(networks.detector, networks.landmarker)


def test_a_truth_is_read_where_the_targets_face_is(folder, reader):
    truths = gather_truths(folder, reader)
    (face,) = truths.faces
    assert (face.source, face.target) == ("bob_000", "ann_000")
    assert truths.person_of == {"ann_000": "Ann", "bob_000": "Bob"}
    assert face.planned.shape == (FRAMES, 468, 3)
    target = reader.read(next(iter(read_frames(folder / "clips" / "ann_000.mp4"))))
    assert np.abs(face.truth[0] - target[0][:468, :2]).max() < 1.0  # the same picture, looked at from nearer
    # Bob's face is planned on a head that shows Ann's: two people, but at one place and size
    assert 1.0 < face.error_percent() < 8.0
    assert face.error_percent(face.offset()) < 0.6 * face.error_percent()


def test_two_people_are_too_few_to_fit_anything_to(folder, tmp_path):
    with pytest.raises(TrainingError, match="at least 8 people, got 2"):
        app.fit_seating(folder, tmp_path / "seating.npy", config=RunConfig())
    assert not (tmp_path / "seating.npy").exists()


def test_a_truth_without_its_sources_own_clip_is_named(folder, reader, tmp_path):
    (folder / "clips" / "bob_000.mp4").unlink()
    with pytest.raises(ConfigError, match=r"ann_000_as_bob_face\.mp4: expected .*bob_000\.mp4"):
        gather_truths(folder, reader)
    with pytest.raises(ConfigError, match="found none"):
        gather_truths(tmp_path / "nothing", reader)
