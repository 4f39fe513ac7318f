"""Extraction between files and networks; the networks are toys, everything else is real."""

import os
import shutil
import sys
import weakref

import numpy as np
import pytest
from media_clips import write_clip
from toy_people import BLUE, GREEN, RED, ToyNetworks, scene

from intracoder.config import CurateConfig, DetectConfig, ExtractConfig, RunConfig
from intracoder.errors import ConfigError, MediaError, NoFaceError
from intracoder.faceset import cut as cut_module
from intracoder.faceset.curate import OTHER_PERSON, curate
from intracoder.faceset.entries import DELETED_BY_HAND, NOT_CUT
from intracoder.faceset.extract import extract_faces
from intracoder.faceset.store import FaceSet
from intracoder.media.stills import write_image

CONFIG = RunConfig(
    detect=DetectConfig(min_face_px=20),
    extract=ExtractConfig(crop_px=64, max_faces=100),
    curate=CurateConfig(min_face_px=24),
)


def clip(path, people, *, count=12, audio=None, height=120, width=160):
    frames = [
        scene([(c, x + i, y, r) for c, x, y, r in people], seed=i, height=height, width=width) for i in range(count)
    ]
    return write_clip(path, frames, audio=audio)


def extract(sources, folder, *, config=CONFIG, networks=None, **choice):
    networks = networks or ToyNetworks()
    sources = sources if isinstance(sources, list) else [sources]
    return extract_faces(sources, folder, config=config, **networks.as_arguments(), **choice)


def frames_of(faceset, origin_id=0):
    return [e.aligned.face.frame_index for e in faceset.entries if e.origin_id == origin_id]


def files_of(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


# ---- a clip


def test_a_clip_of_one_person(tmp_path):
    source = clip(tmp_path / "anna.mp4", [(RED, 60, 60, 24)], audio="aac")
    steps = []
    made = extract(source, tmp_path / "set", person="Anna", progress=lambda *step: steps.append(step))
    assert made.info.person == "Anna"
    assert frames_of(made) == list(range(12))
    assert files_of(tmp_path / "set") == [f"crops/{i:06d}.png" for i in range(1, 13)] + ["faces.db"]
    assert [e.pts * made.origins[0].media.time_base * 25 for e in made.entries] == list(range(12))
    origin = made.origins[0]
    assert (origin.media.path.name, origin.frame_count, origin.track_id) == ("anna.mp4", 12, 1)
    assert origin.media.has_audio
    assert all(e.scores is not None and e.aligned.face.embedding is not None for e in made.entries)
    assert all(e.aligned.face.pose is not None for e in made.entries)
    # the disc lies in the middle of the crop: the outline's middle is the template's, 0.6 cm lower
    crop = made.crop(made.entries[5]).astype(int)
    assert np.abs(crop[20, 32] - RED).sum() < 60
    assert np.abs(crop[4, 4] - 128).sum() < 60
    assert steps[-1][:3] == ("cut", 12.0, 12.0)
    assert {step[0] for step in steps} == {"analyse", "cut"}


def test_extracting_again_does_nothing(tmp_path):
    source = clip(tmp_path / "a.mp4", [(RED, 60, 60, 24)])
    networks = ToyNetworks()
    first = extract(source, tmp_path / "set", networks=networks)
    looks = networks.looks
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "set").rglob("*")}
    curate(first, CONFIG.curate)
    again = extract(source, tmp_path / "set", networks=networks)
    assert networks.looks == looks
    assert [e.file for e in again.entries] == [e.file for e in first.entries]
    crops = {p: t for p, t in before.items() if p.suffix == ".png"}
    assert {p: p.stat().st_mtime_ns for p in crops} == crops


@pytest.mark.parametrize("change", ["option", "clip", "person", "crops thrown away", "damaged"])
def test_a_set_is_made_anew_where_something_changed(tmp_path, change):
    source = clip(tmp_path / "a.mp4", [(RED, 60, 60, 24)])
    networks = ToyNetworks()
    extract(source, tmp_path / "set", networks=networks, person="a")
    config, person, looks = CONFIG, "a", networks.looks
    if change == "option":
        config = RunConfig(detect=CONFIG.detect, curate=CONFIG.curate, extract=ExtractConfig(crop_px=80))
    elif change == "clip":
        clip(tmp_path / "a.mp4", [(RED, 60, 70, 24)])
    elif change == "person":
        person = "b"
    elif change == "crops thrown away":
        shutil.rmtree(tmp_path / "set" / "crops")
    else:
        (tmp_path / "set" / "faces.db").write_bytes(b"SQLite format 3\0" + b"\0" * 200)
    made = extract(source, tmp_path / "set", config=config, networks=networks, person=person)
    assert networks.looks > looks
    assert len(made.kept()) == 12
    assert made.crop(made.entries[0]).shape == ((80,) * 2 if change == "option" else (64,) * 2) + (3,)


def test_deletions_survive_a_new_extraction(tmp_path):
    source = clip(tmp_path / "a.mp4", [(RED, 60, 60, 24)])
    extract(source, tmp_path / "set")
    (tmp_path / "set" / "crops" / "000003.png").unlink()
    config = RunConfig(detect=CONFIG.detect, curate=CONFIG.curate, extract=ExtractConfig(crop_px=80))
    made = extract(source, tmp_path / "set", config=config)
    assert [e.face_id for e in made.entries if not e.is_kept] == [3]
    assert made.entries[2].why == DELETED_BY_HAND


def test_a_failure_leaves_the_old_set(tmp_path):
    source = clip(tmp_path / "a.mp4", [(RED, 60, 60, 24)])
    extract(source, tmp_path / "set")
    before = {p: p.read_bytes() for p in (tmp_path / "set").rglob("*") if p.is_file()}
    empty = clip(tmp_path / "empty.mp4", [])
    with pytest.raises(NoFaceError):
        extract(empty, tmp_path / "set")
    assert {p: p.read_bytes() for p in (tmp_path / "set").rglob("*") if p.is_file()} == before


def test_an_interrupted_run_is_done_again(tmp_path, monkeypatch):
    source = clip(tmp_path / "a.mp4", [(RED, 60, 60, 24)])

    def interrupted(stage, done, total, note=""):
        if stage == "cut" and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(source, tmp_path / "set", progress=interrupted)
    assert files_of(tmp_path / "set") == []
    assert len(extract(source, tmp_path / "set").kept()) == 12


def test_a_long_clip_is_sampled_evenly(tmp_path):
    source = clip(tmp_path / "a.mp4", [(RED, 60, 60, 24)], count=30)
    config = RunConfig(detect=CONFIG.detect, curate=CONFIG.curate, extract=ExtractConfig(crop_px=64, max_faces=10))
    made = extract(source, tmp_path / "set", config=config)
    assert frames_of(made) == [0, 3, 6, 10, 13, 16, 19, 23, 26, 29]
    assert len(made.kept()) == 10


def test_a_very_long_source_is_analysed_in_steps(tmp_path):
    source = clip(tmp_path / "a.mp4", [(RED, 40, 60, 24)], count=90)
    config = RunConfig(detect=CONFIG.detect, curate=CONFIG.curate, extract=ExtractConfig(crop_px=64, max_faces=10))
    made = extract(source, tmp_path / "set", config=config)
    assert made.origins[0].frame_step == 2
    assert made.origins[0].frame_count == 90
    assert all(index % 2 == 0 for index in frames_of(made))
    assert len(made.kept()) == 10


def test_a_target_lists_every_frame_and_cuts_a_sample(tmp_path):
    frames = [scene([(RED, 40 + i, 60, 24)] if i not in (7, 8, 9) else [], seed=i) for i in range(45)]
    source = write_clip(tmp_path / "target.mp4", frames)
    config = RunConfig(detect=CONFIG.detect, curate=CONFIG.curate, extract=ExtractConfig(crop_px=64, max_faces=10))
    made = extract(source, tmp_path / "set", config=config, all_frames=True)
    assert set(frames_of(made)) >= set(range(45)) - {7, 8, 9, 10}
    assert not set(frames_of(made)) & {7, 8, 9}
    assert len(made.kept()) == 10
    assert {e.why for e in made.entries if not e.is_kept} == {NOT_CUT}
    assert all(e.aligned.face.blendshapes is not None and e.aligned.face.pose is not None for e in made.entries)
    (track,) = made.tracks()
    assert len(track.faces) == len(made.entries) == len(made.aligned_faces())
    assert len(list((tmp_path / "set" / "crops").iterdir())) == 10


def test_crops_are_written_as_the_clip_streams(tmp_path, monkeypatch):
    source = clip(tmp_path / "a.mp4", [(RED, 60, 60, 24)])
    alive, most = set(), []
    real = cut_module.read_frames

    def counted(path, stop):
        for frame in real(path, stop=stop):
            alive.add(frame.index)
            weakref.finalize(frame.pixels, alive.discard, frame.index)
            most.append(len(alive))
            yield frame

    monkeypatch.setattr(cut_module, "read_frames", counted)
    assert len(extract(source, tmp_path / "set").kept()) == 12
    assert len(most) == 12
    assert max(most) <= 3


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_file_name_that_is_no_text(tmp_path):
    source = clip(tmp_path / "a.mp4", [(RED, 60, 60, 24)], count=3)
    odd = source.rename(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    assert extract(odd, tmp_path / "set").origins[0].media.path.name == "caf?.mp4"


# ---- who


def test_two_people_where_one_was_expected(tmp_path):
    source = clip(tmp_path / "two.mp4", [(RED, 40, 60, 24), (BLUE, 110, 60, 22)])
    with pytest.raises(ConfigError) as caught:
        extract(source, tmp_path / "set")
    message = str(caught.value)
    assert "\n" not in message
    assert "expected one person, got 2 (numbers 1, 2)" in message
    assert "--face N" in message
    assert "intracoder faces two.mp4" in message
    assert not (tmp_path / "set").exists()


def test_a_person_by_number(tmp_path):
    source = clip(tmp_path / "two.mp4", [(RED, 40, 60, 24), (BLUE, 110, 60, 22)])
    xs = {}
    for number in (1, 2):
        made = extract(source, tmp_path / str(number), face=number)
        assert made.origins[0].track_id == number
        xs[number] = float(made.entries[0].aligned.face.points[:, 0].mean())
        assert made.origins[0].other_frames() == frozenset()
    assert sorted(round(x, -1) for x in xs.values()) == [40, 110]
    with pytest.raises(ConfigError, match=r"--face 3: expected one of 1, 2"):
        extract(source, tmp_path / "3", face=3)


def test_a_person_by_picture(tmp_path):
    source = clip(tmp_path / "two.mp4", [(RED, 40, 60, 24), (BLUE, 110, 60, 22)])
    write_image(tmp_path / "blue.png", scene([(BLUE, 80, 60, 40), (RED, 20, 20, 12)]))
    write_image(tmp_path / "green.png", scene([(GREEN, 80, 60, 40)]))
    write_image(tmp_path / "nobody.png", scene([]))
    made = extract(source, tmp_path / "blue", face_image=tmp_path / "blue.png")
    assert made.entries[0].aligned.face.points[:, 0].mean() == pytest.approx(110, abs=3)
    with pytest.raises(NoFaceError, match="nobody looks like"):
        extract(source, tmp_path / "green", face_image=tmp_path / "green.png")
    with pytest.raises(NoFaceError, match=r"nobody\.png"):
        extract(source, tmp_path / "nobody", face_image=tmp_path / "nobody.png")
    with pytest.raises(ConfigError, match="expected one of them, got both"):
        extract(source, tmp_path / "both", face=1, face_image=tmp_path / "blue.png")


def test_somebody_in_the_background_is_not_meant(tmp_path):
    source = clip(tmp_path / "a.mp4", [(RED, 50, 60, 36), (BLUE, 120, 20, 12)])
    made = extract(source, tmp_path / "set")
    assert made.entries[0].aligned.face.points[:, 0].mean() == pytest.approx(50, abs=3)
    assert len(made.origins[0].people) == 2


def test_frames_that_show_only_others_are_known(tmp_path):
    frames = [
        scene([(RED, 50, 60, 36), (BLUE, 120, 20, 12)] if i < 15 else [(BLUE, 120, 20, 12)], seed=i) for i in range(20)
    ]
    made = extract(write_clip(tmp_path / "a.mp4", frames), tmp_path / "set", all_frames=True)
    assert made.origins[0].other_frames() == frozenset(range(15, 20))


def test_who_is_alone_in_one_clip_is_found_in_another(tmp_path):
    folder = tmp_path / "anna"
    folder.mkdir()
    clip(folder / "alone.mp4", [(BLUE, 60, 60, 24)])
    clip(folder / "both.mp4", [(RED, 40, 60, 26), (BLUE, 110, 60, 22)])
    made = extract(folder, tmp_path / "set")
    assert frames_of(made, 1) == list(range(12))
    assert made.entries[-1].aligned.face.points[:, 0].mean() == pytest.approx(121, abs=3)


def test_two_people_in_each_of_several_clips(tmp_path):
    sources = [clip(tmp_path / n, [(RED, 40, 60, 24), (BLUE, 110, 60, 22)]) for n in ("a.mp4", "b.mp4")]
    with pytest.raises(ConfigError, match=r"a\.mp4: expected one person, got 2 \(.*; choose with --face-image;"):
        extract(sources, tmp_path / "set")


def test_numbers_count_within_one_clip(tmp_path):
    sources = [clip(tmp_path / name, [(RED, 60, 60, 24)]) for name in ("a.mp4", "b.mp4")]
    with pytest.raises(ConfigError, match="got 2 files; use --face-image"):
        extract(sources, tmp_path / "set", face=1)


# ---- folders and photos


def test_a_source_folder_with_other_files(tmp_path):
    folder = tmp_path / "anna"
    (folder / "more").mkdir(parents=True)
    clip(folder / "walk.MP4", [(RED, 60, 60, 24)])
    write_image(folder / "photo10.png", scene([(RED, 60, 60, 30)], seed=1))
    write_image(folder / "photo2.jpg", scene([(RED, 90, 50, 32)], seed=2))
    write_image(folder / ".hidden.png", scene([(BLUE, 60, 60, 24)]))
    (folder / "consent.toml").write_text("basis = 'self'")
    (folder / "notes.txt").write_text("hello")
    made = extract(folder, tmp_path / "set")
    assert [o.media.path.name for o in made.origins] == ["walk.MP4", "photo2.jpg", "photo10.png"]
    assert [len(frames_of(made, i)) for i in range(3)] == [12, 1, 1]
    assert made.origins[1].media.is_still


def test_in_a_photo_the_largest_face_counts_and_curation_drops_others(tmp_path):
    folder = tmp_path / "anna"
    folder.mkdir()
    for i in range(6):
        write_image(folder / f"{i}.png", scene([(RED, 40, 60, 30), (BLUE, 110, 60, 20)], seed=i))
    write_image(folder / "6.png", scene([(GREEN, 40, 60, 30)]))
    write_image(folder / "7.png", scene([]))
    made = extract(folder, tmp_path / "set")
    assert [o.track_id is not None for o in made.origins] == [True] * 7 + [False]
    assert len(made.entries) == 7
    report = curate(made, CONFIG.curate)
    assert report.dropped[OTHER_PERSON] == 1
    assert report.kept == 6


def test_a_target_folder_is_a_clip(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(11):
        write_image(folder / f"{i}.png", scene([(RED, 40 + i, 60, 24)], seed=i))
    made = extract(folder, tmp_path / "set", all_frames=True)
    assert len(made.origins) == 1
    assert frames_of(made) == list(range(11))
    with pytest.raises(ConfigError, match="target: expected one clip, got 2"):
        extract([folder, folder], tmp_path / "set", all_frames=True)


# ---- bad input


def test_no_face(tmp_path):
    with pytest.raises(NoFaceError) as caught:
        extract(clip(tmp_path / "empty.mp4", []), tmp_path / "set")
    assert "empty.mp4: no face found in 12 frames" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_a_face_too_small_to_train_on(tmp_path):
    config = RunConfig(detect=CONFIG.detect, extract=CONFIG.extract, curate=CurateConfig(min_face_px=60))
    source = clip(tmp_path / "a.mp4", [(RED, 60, 60, 12)])
    with pytest.raises(NoFaceError, match=r"too small to train on: 3\d px at its largest, expected at least .*= 60"):
        extract(source, tmp_path / "set", config=config)


def test_nothing_named_and_nothing_there(tmp_path):
    with pytest.raises(ConfigError, match="at least one"):
        extract([], tmp_path / "set")
    with pytest.raises(MediaError, match=r"missing\.mp4"):
        extract(tmp_path / "missing.mp4", tmp_path / "set")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "consent.toml").write_text("")
    with pytest.raises(MediaError, match="clips or photos directly in it"):
        extract(empty, tmp_path / "set")


def test_sound_only_and_files_that_are_no_media(tmp_path):
    sound = tmp_path / "sound.wav"
    sound.write_bytes(b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x44\xac\0\0\x88\x58\1\0\2\0\x10\0data\0\0\0\0")
    text = tmp_path / "text.mp4"
    text.write_text("not a film")
    for path in (sound, text):
        with pytest.raises(MediaError) as caught:
            extract(path, tmp_path / "set")
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_pictures_of_one_pixel_and_clips_of_one_frame(tmp_path):
    write_image(tmp_path / "dot.png", np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(NoFaceError, match="no face found in 1 frames"):
        extract(tmp_path / "dot.png", tmp_path / "set")
    made = extract(clip(tmp_path / "one.mp4", [(RED, 60, 60, 24)], count=1), tmp_path / "set")
    assert frames_of(made) == [0]


def test_a_clip_that_changes_between_the_passes(tmp_path, monkeypatch):
    source = clip(tmp_path / "a.mp4", [(RED, 60, 60, 24)])
    real = cut_module.read_frames
    monkeypatch.setattr(cut_module, "read_frames", lambda path, stop: real(path, stop=5))
    with pytest.raises(MediaError, match="it has changed"):
        extract(source, tmp_path / "set")
    assert files_of(tmp_path / "set") == []


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="can't be written"):
        extract(clip(tmp_path / "a.mp4", [(RED, 60, 60, 24)]), tmp_path / "file" / "set")


def test_opened_again_it_is_the_same(tmp_path):
    made = extract(clip(tmp_path / "a.mp4", [(RED, 60, 60, 24)]), tmp_path / "set")
    opened = FaceSet.open(tmp_path / "set")
    for one, other in zip(made.entries, opened.entries, strict=True):
        np.testing.assert_array_equal(one.aligned.frame_to_crop, other.aligned.frame_to_crop)
        np.testing.assert_array_equal(one.aligned.face.points, other.aligned.face.points)
