"""Suites of synthetic clips: read from TOML, refused in one line, planned in a balanced order, not the benchmark."""

import dataclasses

import pytest

from intracoder import app
from intracoder.errors import ConfigError
from intracoder.synthetic.plan import plan_clips
from intracoder.synthetic.suite import PACKAGED, find_suite, load_suite

BENCHMARK_PEOPLE = ("White_M_1", "MENA_M_3", "Asian_M_1", "Hispanic_F_2")


def test_packaged_suites_are_sound():
    for name in PACKAGED:
        plans = plan_clips(find_suite(name))
        assert plans
        assert len({plan.name for plan in plans}) == len(plans)
        assert all(plan.frames and max(plan.frames) < plan.track.frame_count for plan in plans)


def test_the_benchmark_has_the_layout_of_its_evaluation_suite():
    plans = {plan.name: plan for plan in plan_clips(find_suite("benchmark"))}
    assert len(plans) == 6 + 12 + 2 + 12
    assert len(plans["W"].frames) == 150
    assert plans["M_as_W_face"].frames == tuple(range(50))
    assert plans["M_as_W"].frames == tuple(range(0, 50, 4))
    assert len(plans["M2_as_W_face"].frames) == 40
    assert plans["M_as_W_face"].light == plans["M"].light


@pytest.mark.parametrize("suite_name", ["pretrain", "seating", "visible"])
def test_the_people_of_the_benchmark_are_not_learned_from(suite_name):
    suite = find_suite(suite_name)
    for name, file in suite.people.items():
        assert not any(person in f"{name} {file}" for person in BENCHMARK_PEOPLE)
    benchmark = {file.rsplit("_", 1)[0] for file in find_suite("benchmark").people.values()}
    assert benchmark == set(BENCHMARK_PEOPLE)


def test_a_part_of_the_pretraining_order_is_balanced():
    suite = find_suite("pretrain")
    plans, count = plan_clips(suite), len(suite.people)
    assert len(plans) == 2 * count * suite.sweep.rounds
    for number in range(3):
        part = plans[2 * count * number : 2 * count * (number + 1)]
        owners = [plan.person for plan in part if plan.kind == "own"]
        partners = [plan.person for plan in part if plan.kind == "full"]
        assert sorted(owners) == sorted(suite.people)
        assert sorted(partners) == sorted(suite.people)
    own, full = plans[0], plans[1]
    assert (own.track, own.camera, own.light, own.frames) == (full.track, full.camera, full.light, full.frames)
    assert own.person != full.person


def test_the_seatings_truths_are_a_part_of_the_owners_frames_with_two_other_faces():
    suite = find_suite("seating")
    plans, count = plan_clips(suite), len(suite.people)
    assert len(plans) == 3 * count * suite.sweep.rounds
    own, one, other = plans[:3]
    assert [plan.kind for plan in plans[:3]] == ["own", "face", "face"]
    assert len({own.person, one.person, other.person}) == 3
    assert one.frames == other.frames == own.frames[::3]
    assert (own.track, own.camera, own.light) == (one.track, one.camera, one.light)
    shown = sorted(plan.person for plan in plans[: 3 * count] if plan.kind == "face")
    assert shown == sorted([*suite.people, *suite.people])


def test_more_rounds_do_not_change_the_first_ones():
    suite = find_suite("pretrain")
    longer = dataclasses.replace(suite, sweep=dataclasses.replace(suite.sweep, rounds=suite.sweep.rounds + 1))
    first, more = plan_clips(suite), plan_clips(longer)
    assert more[: len(first)] == first


def test_threads_do_not_change_a_clips_settings():
    suite = find_suite("tiny")
    plan = plan_clips(suite)[0]
    threaded = dataclasses.replace(suite, quality=dataclasses.replace(suite.quality, threads=3))
    finer = dataclasses.replace(suite, quality=dataclasses.replace(suite.quality, samples=2))
    assert plan.settings(suite) == plan.settings(threaded) != plan.settings(finer)


def test_a_mask_of_the_head_is_another_setting_and_one_of_the_face_none():
    suite = find_suite("tiny")
    plan = plan_clips(suite)[0]
    assert plan.settings(suite) == "a20000887e8da466", "clips from before there was a choice stay valid"
    assert plan.settings(dataclasses.replace(suite, mask="head")) != plan.settings(suite)


def test_the_visible_suite_shows_everybody_once_a_round_with_a_mask_of_the_head():
    suite = find_suite("visible")
    assert suite.mask == "head"
    plans, count = plan_clips(suite), len(suite.people)
    assert len(plans) == count * suite.sweep.rounds
    assert {plan.kind for plan in plans} == {"own"}
    assert sorted(plan.person for plan in plans[:count]) == sorted(suite.people)


SOUND = """
name = "x"
mesh_of = "W"
[people]
W = "White"
[cameras]
front = {}
[lights]
day = { areas = [{ position = [0, -1, 0.5], power_w = 2 }] }
[tracks]
W = { person = "W", camera = "front", light = "day", occluder = { shape = "ball" } }
[[render]]
kind = "own"
tracks = ["W"]
"""


def test_a_suite_is_read_with_its_tables(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(SOUND)
    suite = load_suite(path)
    assert suite.lights["day"].areas[0].position == (0.0, -1.0, 0.5)
    assert suite.tracks["W"].occluder.shape == "ball"
    assert suite.render[0].tracks == ("W",)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('name = "x"', 'nam = "x"', "unknown key 'nam'"),
        ('name = "x"', "", "expected the key 'name'"),
        ("power_w = 2", "power = 2", "unknown key 'power'"),
        ("[0, -1, 0.5]", "[0, -1]", "expected a list of 3"),
        ("[0, -1, 0.5]", '[0, -1, "x"]', r"position\[2\]: expected float"),
        ("areas = [", "areas = 3 #[", "can't be read as a suite"),
        ('shape = "ball"', 'shape = "cat"', "expected one of ball"),
        ('shape = "ball"', 'shap = "ball"', "unknown key 'shap'"),
        ('person = "W"', 'person = "Z"', r"tracks\.W\.person"),
        ('light = "day"', 'light = "dusk"', r"tracks\.W\.light"),
        ('mesh_of = "W"', 'mesh_of = "Z"', "mesh_of"),
        ('kind = "own"', 'kind = "face"', r"render\.people"),
        ('W = "White"', 'W = "../White"', r"people\.W"),
        ('mesh_of = "W"', 'mesh_of = "W"\nmask = "hair"', "mask: expected one of face, head"),
        ('tracks = ["W"]', 'tracks = ["V"]', r"render\.tracks"),
        ("front = {}", "front = { lens_mm = 1 }", r"camera\.lens_mm"),
        ("front = {}", "front = 3", "expected a table"),
    ],
)
def test_a_wrong_suite_is_one_line(tmp_path, old, new, match):
    path = tmp_path / "x.toml"
    assert old in SOUND
    path.write_text(SOUND.replace(old, new))
    with pytest.raises(ConfigError, match=match) as caught:
        load_suite(path)
    assert "\n" not in str(caught.value)


def test_an_unknown_suite_names_the_known_ones():
    with pytest.raises(ConfigError, match="benchmark, occluded, pretrain, seating, tiny, visible"):
        find_suite("huge")


def test_a_wrong_assets_folder_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"expected the VALID avatars, .*, got 0 GLB files"):
        app.synth("tiny", tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_blender_is_one_line(tmp_path, monkeypatch):
    for file in find_suite("tiny").people.values():
        (tmp_path / f"{file}.glb").write_bytes(b"")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"bpy.*is not installed.*pip install"):
        app.synth("tiny", tmp_path, tmp_path / "out")
