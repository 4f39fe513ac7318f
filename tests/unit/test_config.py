"""Options: what is refused, what goes over what, and that a saved config says everything."""

import dataclasses
import os

import pytest

from intracoder.cli.options import render_flags, resolved, training_flags
from intracoder.config import DetectConfig, RenderConfig, RunConfig, TrainConfig, from_mapping, load_config, to_toml
from intracoder.errors import ConfigError, WeightsError
from intracoder.evaluation.suites import find_suite
from intracoder.nets.model_card import read_card


def saved(folder, text):
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[trian]\nlr = 0.1", r"run\.toml: unknown key 'trian'; known keys: detect, extract, curate, train, render"),
        ("[train]\nminits = 3", r"run\.toml: train: unknown key 'minits'; known keys: minutes, steps"),
        ("train = 3", r"run\.toml: train: expected a table, got 3"),
        ("[train]\nsteps = 'many'", r"run\.toml: train: steps: expected int, got 'many'"),
        ("[train]\nsteps = 1.5", r"train: steps: expected int, got 1\.5"),
        ("[train]\nsteps = true", r"train: steps: expected int, got True"),
        ("[train]\nminutes = '3'", r"train: minutes: expected float, got '3'"),
        ("[render]\nsharpness = 1", r"render: sharpness: expected bool, got 1"),
        ("[render]\nblend = 'glue'", r"render: blend: expected one of feather, poisson, multiband, got 'glue'"),
        ("[render]\ncrf = 52", r"render\.crf: expected 0\.\.51, got 52"),
        ("[render]\nlabel = 'none'", r"render\.label: expected badge, or none with render\.disclosure"),
        ("[extract]\nsmooth_frames = 4", r"extract\.smooth_frames: expected an odd number, at least 1, got 4"),
        ("[detect]\nscore_min = 0", r"detect\.score_min: expected in \(0, 1\], got 0"),
        ("[train]\nlr = nan", r"train\.lr: expected in \(0, 0\.1\], got nan"),
        ("[train\n", r"run\.toml: can't be read as a TOML config"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(saved(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path, content):
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.toml: can't be read"):
        load_config(path)


HOSTILE = {
    "brackets": b"a = " + b"[" * 5000,
    "digits": b"a = " + b"9" * 5000,
    "size": b"a = 1\n" + b"#" * (1 << 20),
}


@pytest.mark.parametrize("kind", [*HOSTILE, "pipe", "folder"])
def test_hostile_toml_is_one_line_for_every_reader(tmp_path, kind):
    path = tmp_path / "model.toml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(HOSTILE[kind])
    readers = (load_config, lambda p: find_suite(str(p)), lambda p: read_card(p.parent))
    for read in readers:
        with pytest.raises((ConfigError, WeightsError), match=r"model\.toml: can't be read") as caught:
            read(path)
        assert "\n" not in str(caught.value)


RANGES = {
    "detect.min_face_px": (11, 12),
    "detect.score_min": (1.1, 1.0),
    "detect.presence_min": (1.0, 0.99),
    "detect.redetect_every": (0, 1),
    "extract.crop_px": (1025, 1024),
    "extract.smooth_frames": (0, 1),
    "extract.max_faces": (9, 10),
    "curate.similarity_min": (-1.1, -1.0),
    "curate.sharpness_min": (1.1, 1.0),
    "curate.duplicate_max": (-0.1, 0.0),
    "curate.min_face_px": (15, 16),
    "train.minutes": (0, 0.01),
    "train.steps": (0, 1),
    "train.enhancer_minutes": (-1, 0),
    "train.batch": (1, 2),
    "train.lr": (0.11, 0.1),
    "train.threads": (-1, 0),
    "train.preview_s": (0, 0.1),
    "render.mask_scale": (1.3, 1.2),
    "render.feather": (0.3, 0.2),
    "render.min_face_px": (7, 8),
    "render.segment_frames": (1, 2),
    "render.crf": (-1, 0),
}


@pytest.mark.parametrize(("key", "values"), RANGES.items())
def test_ranges_end_where_they_say(key, values):
    outside, inside = values
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        resolved(None, [f"{key}={outside}"])
    table, _, name = key.partition(".")
    assert getattr(getattr(resolved(None, [f"{key}={inside}"]), table), name) == inside


def test_training_needs_a_budget():
    with pytest.raises(ConfigError, match="minutes or steps"):
        TrainConfig(minutes=None)
    assert TrainConfig(minutes=None, steps=5).steps == 5


def test_whole_numbers_are_good_fractions():
    config = from_mapping(TrainConfig, {"minutes": 2}, where="here")
    assert isinstance(config.minutes, float)
    assert config.minutes == 2.0


class TestPrecedence:
    def test_defaults_hold_where_nothing_is_said(self):
        assert resolved(None) == RunConfig()

    def test_file_under_set_under_flag(self, tmp_path):
        file = saved(tmp_path, "[train]\nsteps = 10\nbatch = 4\nseed = 7\n[render]\nblend = 'feather'\n")
        config = resolved(
            file,
            ["train.steps=20", "train.batch=6"],
            {**training_flags(minutes=None, steps=30, plain=False), **render_flags()},
        )
        assert (config.train.steps, config.train.batch, config.train.seed) == (30, 6, 7)
        assert config.render.blend == "feather"
        assert config.train.lr == RunConfig().train.lr

    def test_the_last_of_equal_settings_counts(self):
        assert resolved(None, ["train.seed=1", "train.seed=2"]).train.seed == 2

    def test_flags_that_are_not_given_change_nothing(self):
        flags = {**training_flags(minutes=None, steps=None, plain=False), **render_flags()}
        assert resolved(None, None, flags) == RunConfig()

    @pytest.mark.parametrize(("preset", "size"), [("fast", "S"), ("quality", "M"), ("studio", "L")])
    def test_a_preset_is_a_size(self, preset, size):
        flags = training_flags(minutes=None, steps=None, plain=False, preset=preset)
        assert resolved(None, ["train.size=auto"], flags).train.size == size

    def test_no_label_goes_with_a_disclosure_only(self):
        with pytest.raises(ConfigError, match=r"--label: .*|render\.label"):
            resolved(None, None, render_flags(label="none"))
        config = resolved(None, None, render_flags(label="none", disclosure="in the credits"))
        assert (config.render.label, config.render.disclosure) == ("none", "in the credits")

    @pytest.mark.parametrize(
        ("setting", "table", "name", "value"),
        [
            ("render.color=skin", "render", "color", "skin"),
            ('render.color="skin"', "render", "color", "skin"),
            ("render.sharpness=false", "render", "sharpness", False),
            ("train.lr = 0.002", "train", "lr", 0.002),
            ("train.minutes=2", "train", "minutes", 2.0),
        ],
    )
    def test_settings_read_like_toml_or_bare_words(self, setting, table, name, value):
        assert getattr(getattr(resolved(None, [setting]), table), name) == value

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ("lr=0.1", r"--set: expected TABLE\.OPTION=VALUE"),
            ("model.lr=0.1", r"--set: expected TABLE\.OPTION=VALUE"),
            ("train.rate=0.1", r"--set: unknown key 'rate'"),
            ("train.steps=soon", r"--set: steps: expected int, got 'soon'"),
            ("train.steps", r"--set: steps: expected int, got ''"),
        ],
    )
    def test_wrong_settings_are_refused(self, setting, message):
        with pytest.raises(ConfigError, match=message):
            resolved(None, [setting])


@pytest.mark.parametrize(
    "config",
    [
        RunConfig(),
        RunConfig(
            detect=DetectConfig(min_face_px=64, score_min=1.0),
            train=TrainConfig(minutes=2.5, steps=9, enhancer_steps=3, size="M", plain=True, lr=0.02),
            render=RenderConfig(label="none", disclosure='in the "credits", \\ ü\n', color="none", crf=0),
        ),
    ],
)
def test_a_saved_config_reads_back_the_same(tmp_path, config):
    assert load_config(saved(tmp_path, to_toml(config))) == config


def test_every_option_is_in_the_saved_text():
    text = to_toml(RunConfig(train=TrainConfig(steps=1, enhancer_steps=1)))
    for table in dataclasses.fields(RunConfig):
        assert f"[{table.name}]" in text
        for option in dataclasses.fields(table.default_factory):
            assert f"\n{option.name} = " in text
