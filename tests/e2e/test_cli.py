"""The command line in processes of its own: exit codes, and one whole swap of a short cut of the demo pair."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest

from intracoder.media.reader import probe, read_frames, read_image
from intracoder.media.writer import ClipWriter

FRAMES = 24
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str

    def error_line(self):
        """The only line on stderr."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


@dataclass(frozen=True)
class Place:
    """A folder with a cut of the demo pair and a home of its own."""

    folder: Path

    @property
    def source(self):
        return self.folder / "footage"

    @property
    def target(self):
        return self.folder / "target.mp4"

    @property
    def output(self):
        return self.folder / "out.mp4"

    def run(self, *arguments, command=("-m", "intracoder"), cwd=None):
        settings = {**os.environ, "INTRACODER_HOME": str(self.folder / "home"), "OMP_WAIT_POLICY": "passive"}
        done = subprocess.run(
            [sys.executable, *command, *map(str, arguments)],
            cwd=cwd or self.folder,
            env=settings,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr)


def cut(name, path):
    with as_file(files("intracoder") / "demo" / f"{name}.mp4") as clip, ClipWriter(path, probe(clip)) as writer:
        for frame in read_frames(clip, stop=FRAMES):
            writer.write(frame)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("cli"))
    made.source.mkdir()
    cut("source", made.source / "person.mp4")
    cut("target", made.target)
    return made


@pytest.fixture(scope="module")
def swapped(place):
    """The one run of the pipeline that this module makes; needs the consent that it makes first."""
    consent = place.run("consent", "new", place.source, "--basis", "synthetic", "--generator", "test", "--adult")
    assert consent.code == 0, consent.err
    steps = ("--steps", 4, "--set", "train.enhancer_steps=2", "--quiet", "--json")
    run = place.run("swap", "--source", place.source, "--target", place.target, "--out", place.output, *steps)
    assert run.code == 0, run.err
    return json.loads(run.out)


@pytest.mark.parametrize("arguments", [["swap"], ["nonsense"], ["faces", "clip.mp4", "--no-such-flag"]])
def test_wrong_usage_is_one_line_and_exit_2(place, arguments):
    run = place.run(*arguments)
    assert run.code == 2
    assert run.error_line().startswith("error: ")
    assert run.out == ""


def test_an_unknown_key_of_the_config_is_named_and_exit_2(place, tmp_path):
    (tmp_path / "run.toml").write_text("[train]\nminits = 3\n", encoding="utf-8")
    run = place.run("faces", place.target, "--config", tmp_path / "run.toml", "--out", tmp_path / "sheet.png")
    assert run.code == 2
    line = run.error_line()
    assert "run.toml" in line
    assert "'minits'" in line
    assert not (tmp_path / "sheet.png").exists()


def test_a_swap_without_consent_is_refused_and_says_how_to_make_it(place, tmp_path):
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    shutil.copyfile(place.source / "person.mp4", stranger / "clip.mp4")
    run = place.run("swap", "--source", stranger, "--target", place.target, "--out", tmp_path / "out.mp4", "--quiet")
    assert run.code == 3
    assert "intracoder consent new" in run.error_line()
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.usefixtures("swapped")
def test_a_place_that_cannot_be_written_is_one_line(place, tmp_path):
    (tmp_path / "file").write_text("no folder")
    out = tmp_path / "file" / "out.mp4"
    run = place.run("swap", "--source", place.source, "--target", place.target, "--out", out, "--quiet")
    assert run.code == 1
    assert "file" in run.error_line()


@pytest.mark.usefixtures("swapped")
def test_a_refused_swap_leaves_no_folder(place, tmp_path):
    (tmp_path / "empty").mkdir()
    run = place.run("swap", "--source", place.source, "--target", tmp_path / "empty", "--out", tmp_path / "out.mp4")
    assert run.code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.usefixtures("swapped")
def test_a_text_named_mp4_fails_in_one_line_and_leaves_no_output(place, tmp_path):
    text = tmp_path / "notes.mp4"
    text.write_text("this is no clip\n" * 50, encoding="utf-8")
    run = place.run("swap", "--source", place.source, "--target", text, "--out", tmp_path / "out.mp4", "--quiet")
    assert run.code == 1
    assert "notes.mp4" in run.error_line()
    assert not list(tmp_path.glob("out*.mp4"))


def test_every_frame_is_swapped_and_counted(place, swapped):
    assert swapped["counts"] == {"swapped": FRAMES, "no_face": 0, "other_person": 0, "too_small": 0}
    assert [row[0] for row in swapped["frames"]] == list(range(FRAMES))
    assert json.loads((place.folder / "out.report.json").read_text(encoding="utf-8")) == swapped


@pytest.mark.usefixtures("swapped")
def test_the_same_swap_in_another_seat_trains_nothing_and_moves_the_face(place, tmp_path):
    model = place.folder / "out_project" / "model"
    before = {path.name: path.read_bytes() for path in model.glob("*.safetensors")}
    steps = ("--steps", 4, "--set", "train.enhancer_steps=2", "--quiet", "--project", place.folder / "out_project")
    files = ("--source", place.source, "--target", place.target, "--out", tmp_path / "moved.mp4")
    moved = place.run("swap", *files, *steps, "--set", "render.seat_tilt=10")
    assert moved.code == 0, moved.err
    assert before
    assert {path.name: path.read_bytes() for path in model.glob("*.safetensors")} == before
    pairs = zip(read_frames(place.output), read_frames(tmp_path / "moved.mp4"), strict=True)
    apart = np.stack([b.pixels[:220].astype(float) - a.pixels[:220] for a, b in pairs])
    face, side = apart[:, 110:210, 110:210], apart[:, :160, :32]
    assert (face**2).mean() > 10 * (side**2).mean()


def test_the_output_has_the_frames_and_times_of_the_target(place, swapped):
    del swapped
    before, after = probe(place.target), probe(place.output)
    assert (after.height, after.width) == (before.height, before.width)
    times = [frame.pts * before.time_base for frame in read_frames(place.target)]
    assert [frame.pts * after.time_base for frame in read_frames(place.output)] == times


def test_the_picture_away_from_the_face_is_the_targets(place, swapped):
    del swapped
    frames = zip(read_frames(place.target), read_frames(place.output), strict=True)
    apart = np.stack([b.pixels.astype(float) - a.pixels for a, b in frames])
    # the sides of the upper half: no face, and the label is below
    sides = np.concatenate([apart[:, :160, :32], apart[:, :160, -32:]], axis=2)
    middle = apart[:, 110:210, 110:210]
    assert abs(sides.mean()) < 0.5
    # what is left there is the mark and one encoding
    assert 10 * np.log10(255**2 / (sides**2).mean()) > 36
    assert (middle**2).mean() > 3 * (sides**2).mean()


def test_verify_finds_credentials_and_notices_a_changed_byte(place, swapped, tmp_path):
    whole = place.run("verify", place.output, "--json")
    assert whole.code == 0, whole.out
    assert swapped["record_id"] in whole.out
    data = bytearray(place.output.read_bytes())
    start = data.rindex(b"mdat")
    data[(start + len(data)) // 2 if data.find(b"moov") < start else start + 4096] ^= 0x01
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(data)
    assert place.run("verify", changed).code == 4


def test_steps_by_themselves_show_their_consent_and_end_with_its_withdrawal(place, swapped, tmp_path):
    del swapped
    own = Place(tmp_path / "own")
    shutil.copytree(place.folder, own.folder)
    source, project = own.source, own.folder / "out_project"

    def run(code, *arguments):
        done = own.run(*arguments)
        assert done.code == code, done.err
        return done.out if code == 0 else done.error_line()

    card = run(0, "show", "model", project / "model")
    assert all(word in card for word in ('basis = "synthetic"', "intended_use = ", "limits = ", "steps = 4"))
    digest = card.split("# consent ")[1].split(":")[0]
    assert "holds today" in card
    assert digest in run(0, "consent", "show", source)
    assert "holds for private, research" in run(0, "consent", "verify", source)
    run(0, "consent", "countersign", source, "--key", own.folder / "subject.key")
    assert "countersigned no" not in run(0, "consent", "show", source)

    run(0, "extract", source, "--out", own.folder / "set", "--person", "source", "--quiet")
    model = own.folder / "model"
    sets = ("--source-set", own.folder / "set", "--target-set", project / "target")
    budget = ("--steps", 2, "--set", "train.enhancer_minutes=0", "--quiet")
    run(0, "train", "--source", source, *sets, "--model", model, *budget)
    rendered = (
        "--target",
        own.target,
        "--target-set",
        project / "target",
        "--out",
        own.folder / "again.mov",
        "--quiet",
    )
    assert "covers private, research, not publish" in run(3, "render", "--model", model, *rendered, "--use", "publish")
    assert "disclosure" in run(2, "render", "--model", model, *rendered, "--label", "none")
    told = ("--label", "none", "--disclosure", "at the door")
    run(0, "render", "--model", model, *rendered, *told)
    assert "viewers are told here: at the door" in run(0, "verify", own.folder / "again.mov")

    assert digest in run(0, "consent", "withdraw", source)
    (own.folder / "again.mov").unlink()
    assert "withdrawn" in run(3, "render", "--model", model, *rendered)
    assert "withdrawn" in run(3, "train", "--source", source, *sets, "--model", model, *budget)
    assert "withdrawn" in run(3, "consent", "verify", source)
    assert "withdrawn" in run(3, "explain", "--project", project, "--target", own.target, "--out", own.folder / "e.png")
    assert "# consent refused: " in run(0, "show", "model", model)
    assert not (own.folder / "again.mov").exists()
    assert not (own.folder / "e.png").exists()


def test_a_person_is_added_to_a_model_and_rendered_by_name(place, swapped, tmp_path):
    del swapped
    project, eves = place.folder / "out_project", tmp_path / "eves"
    eves.mkdir()
    shutil.copyfile(place.source / "person.mp4", eves / "clip.mp4")

    def run(code, *arguments):
        done = place.run(*arguments)
        assert done.code == code, done.err
        return done.out if code == 0 else done.error_line()

    run(0, "extract", eves, "--out", tmp_path / "eve", "--quiet")
    given = ("--model", project / "model", "--source", eves, "--source-set", tmp_path / "eve")
    added = ("--out", tmp_path / "grown", "--steps", 2, "--quiet")
    assert "intracoder consent new" in run(3, "add", *given, *added)
    run(0, "consent", "new", eves, "--basis", "synthetic", "--generator", "test", "--adult")
    assert "train the model first" in run(1, "add", "--model", tmp_path, *given[2:], *added)
    run(0, "add", *given, *added)
    assert "expected a new folder" in run(1, "add", *given, *added)
    out = ("--target", place.target, "--target-set", project / "target", "--out", tmp_path / "eve.mp4", "--quiet")
    line = run(1, "render", "--model", tmp_path / "grown", *out, "--person", "zoe")
    assert "'zoe', it has source, target, eve" in line
    report = json.loads(run(0, "render", "--model", tmp_path / "grown", *out, "--person", "eve", "--json"))
    assert (report["source"], report["counts"]["swapped"]) == ("eve", FRAMES)

    shutil.copytree(tmp_path / "grown", tmp_path / "again" / "model")
    shutil.copytree(project / "target", tmp_path / "again" / "target")
    shown = ("explain", "--project", tmp_path / "again", "--target", place.target, "--frame", 1)
    assert "'zoe', it has source, target, eve" in run(1, *shown, "--out", tmp_path / "zoe.png", "--person", "zoe")
    assert "consent" in run(3, *shown, "--out", tmp_path / "target.png", "--person", "target")
    assert not (tmp_path / "target.png").exists()
    run(0, *shown, "--out", tmp_path / "eve.png", "--person", "eve")
    run(0, "verify", tmp_path / "eve.png")
    assert read_image(tmp_path / "eve.png").std() > 10
    run(0, *shown, "--out", tmp_path / "seats.png", "--person", "eve", "--seats")
    run(0, "verify", tmp_path / "seats.png")
    assert read_image(tmp_path / "seats.png").shape > read_image(tmp_path / "eve.png").shape
    assert "consent" in run(3, *shown, "--out", tmp_path / "target.png", "--person", "target", "--seats")
    assert not (tmp_path / "target.png").exists()


def test_the_target_itself_has_nothing_to_verify(place):
    assert place.run("verify", place.target).code == 1


def test_faces_writes_a_sheet(place, tmp_path):
    sheet = tmp_path / "sheet.png"
    run = place.run("faces", place.target, "--out", sheet, "--quiet", "--json")
    assert run.code == 0, run.err
    (person,) = json.loads(run.out)["faces"]
    assert (person["first_frame"], person["last_frame"], person["frames"]) == (0, FRAMES - 1, FRAMES)
    assert read_image(sheet).std() > 10


def test_the_first_projects_command_is_the_same_program(place):
    ours = place.run("--help")
    theirs = place.run("--help", command=("faceSwapPipeline.py",), cwd=ROOT)
    assert (theirs.code, ours.code) == (0, 0)
    assert theirs.out == ours.out
    assert all(name in ours.out for name in ("swap", "demo", "verify", "consent"))
