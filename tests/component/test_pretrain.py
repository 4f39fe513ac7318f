"""Pretraining on the demo's two people, who act for several names."""

import json
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from intracoder.build import face_networks
from intracoder.config import DetectConfig, TrainConfig
from intracoder.errors import ConfigError, TrainingError
from intracoder.media.reader import probe, read_frames
from intracoder.media.stills import write_image
from intracoder.media.writer import ClipWriter
from intracoder.nets.base import base_config, read_base
from intracoder.training.performances import Ensemble, FaceReader, gather_performances, gather_portraits
from intracoder.training.pretrain import BASE_FILE, build_pretraining_data, pretrain

FRAMES = 4
NAMES = ("ann", "bob", "cem", "dot", "eva")


def shortened(source, path):
    with ClipWriter(path, probe(source), crf=18) as writer:
        for frame in read_frames(source, stop=FRAMES):
            writer.write(frame)


def describe(folder, stem, person, frames=range(FRAMES)):
    table = {"person": person, "frames": [{"frame": 16 * k} for k in frames]}
    (folder / "meta" / f"{stem}.json").write_text(json.dumps(table), encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every name has a clip of its own; the next one acts the same."""
    out = tmp_path_factory.mktemp("performances")
    for name in ("clips", "gt", "meta"):
        (out / name).mkdir()
    demo = Path(str(files("intracoder"))) / "demo"
    shortened(demo / "target.mp4", out / "target.mp4")
    shortened(demo / "source.mp4", out / "source.mp4")
    for k, name in enumerate(NAMES):
        other = NAMES[(k + 1) % len(NAMES)]
        shutil.copy(out / "target.mp4", out / "clips" / f"{name}_000.mp4")
        shutil.copy(out / "source.mp4", out / "gt" / f"{name}_000_as_{other}.mp4")
        describe(out, f"{name}_000", name)
        describe(out, f"{name}_000_as_{other}", other)
    return out


@pytest.fixture(scope="module")
def reader():
    networks = face_networks(DetectConfig())
    return FaceReader(networks.detector, networks.landmarker)


@pytest.fixture(scope="module")
def cast(folder, reader):
    gathered = Ensemble()
    gather_performances(folder, reader, gathered)
    return gathered


def test_everybody_is_found_in_the_window_of_who_acts(cast):
    assert sorted(cast.rows) == sorted(NAMES)
    assert all(len(rows) == 2 * FRAMES for rows in cast.rows.values())
    assert len(cast.partners) == 2 * FRAMES * len(NAMES)
    for (name, row), (other, other_row) in cast.partners.items():
        assert cast.partners[other, other_row] == (name, row)
        assert cast.rows[name][row].frame == cast.rows[other][other_row].frame
    # one's own performance is centred in its window; the points lie where the crop shows the face
    own = cast.frames("ann")
    mine = own.points[own.clip_indices == 0]
    middle = (mine[:, :468, :2].max(axis=1) + mine[:, :468, :2].min(axis=1)) / 2
    assert np.abs(middle - 128).max() < 25


def test_inputs_show_the_partner_and_references_another_clip(cast):
    data = build_pretraining_data(cast, base_config())
    (anybody,) = data.people
    count = 2 * FRAMES * len(NAMES)
    assert anybody.layers.shape == (count, 10, 160, 160)
    names = sorted(cast.rows)
    at = {name: 2 * FRAMES * k for k, name in enumerate(names)}
    for (name, row), (other, other_row) in list(cast.partners.items())[:8]:
        shown = anybody.triplets[at[name] + row, 0]
        assert (shown == anybody.layers[at[other] + other_row, :3]).all()
        assert not (shown == anybody.layers[at[name] + row, :3]).all()
    held = anybody.held_out.numpy() // (2 * FRAMES)
    assert len(set(held)) == 3
    assert (anybody.probabilities[anybody.held_out] == 0).all()
    assert anybody.probabilities.sum().item() == pytest.approx(1, abs=1e-5)


def test_a_pretraining_writes_weights_that_a_training_can_start_from(cast, tmp_path, monkeypatch):
    config = TrainConfig(steps=2, batch=4, threads=1, warm_start=False)
    path = pretrain(cast, tmp_path, config)
    assert path == tmp_path / BASE_FILE
    monkeypatch.setattr("intracoder.nets.base.load_bytes", lambda name: path.read_bytes())
    assert all(np.isfinite(value.numpy()).all() for value in read_base().values())
    assert (tmp_path / "preview.png").stat().st_size > 10_000


def test_portraits_need_two_pictures_of_a_person(tmp_path, folder, reader):
    pictures = tmp_path / "london"
    pictures.mkdir()
    (first, second) = (next(iter(read_frames(folder / f"{n}.mp4"))).pixels for n in ("target", "source"))
    write_image(pictures / "001_03.png", first)
    write_image(pictures / "001_08.png", second)
    write_image(pictures / "002_03.png", first)
    gathered = Ensemble()
    gather_portraits(pictures, reader, gathered)
    assert list(gathered.rows) == ["london 001"]
    assert gathered.frames("london 001").clip_indices.tolist() == [0, 1]
    with pytest.raises(TrainingError, match="people"):
        build_pretraining_data(gathered, base_config())


@pytest.mark.parametrize("text", ["", "[]", '{"person": 3}', '{"person": "ann", "frames": [{"frame": "x"}]}'])
def test_a_bad_description_is_one_line(folder, tmp_path, reader, text):
    (tmp_path / "clips").mkdir()
    (tmp_path / "meta").mkdir()
    shutil.copy(folder / "target.mp4", tmp_path / "clips" / "ann_000.mp4")
    (tmp_path / "meta" / "ann_000.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"ann_000\.json"):
        gather_performances(tmp_path, reader, Ensemble())


def test_an_empty_folder_is_one_line(tmp_path, reader):
    with pytest.raises(ConfigError, match="synth"):
        gather_performances(tmp_path, reader, Ensemble())
