import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import cv2
import numpy as np
import pytest
from toy_faceset import INFO, toy_face, toy_origin, write_set

from intracoder.errors import FaceSetError, MediaError
from intracoder.faceset.entries import DELETED_BY_HAND, NOT_CUT, Verdict
from intracoder.faceset.store import FaceSet


@pytest.fixture
def folder(tmp_path):
    write_set(tmp_path / "set", [toy_face(i, yaw=float(i)) for i in range(5)])
    return tmp_path / "set"


def change(folder, *statements):
    with closing(sqlite3.connect(folder / "faces.db", isolation_level=None)) as database:
        for statement in statements:
            database.execute(*statement) if isinstance(statement, tuple) else database.execute(statement)


def assert_refused(folder, *words):
    with pytest.raises(FaceSetError) as caught:
        FaceSet.open(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    for word in words:
        assert word in message


# ---- what goes in comes out


def test_everything_written_is_read_again(tmp_path):
    origins = [
        toy_origin(0, people=[(1, [3, 4, 9]), (2, [2, 4])], cuts=(4, 8)),
        toy_origin(1, frame_count=1),
    ]
    faces = [[toy_face(i, yaw=-3.5, presence=0.75) for i in (3, 4, 9)], [toy_face(0)]]
    made = write_set(tmp_path / "set", faces, origins=origins)
    assert made.info == INFO
    assert [e.file for e in made.entries] == ["000001.png", "000002.png", "000003.png", "000004.png"]
    assert all(e.is_kept and e.why == "" for e in made.entries)
    first, stored = faces[0][0], made.entries[0].aligned.face
    for name in ("box", "points5", "points", "blendshapes", "embedding"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(first, name))
    assert (stored.frame_index, stored.score, stored.presence, stored.pose) == (3, 0.99, 0.75, first.pose)
    assert made.entries[0].pts == 3 * 512
    assert made.origins[0].media == replace(origins[0].media, path=origins[0].media.path)
    assert made.origins[0].cuts == (4, 8)
    assert made.origins[0].other_frames() == {2}
    assert [len(track.faces) for track in made.tracks()] == [3, 1]
    assert made.tracks()[0].cuts == (4, 8)
    assert [a.face.frame_index for a in made.aligned_faces(0)] == [3, 4, 9]


def test_the_matrix_cuts_where_the_points_are(folder):
    entry = FaceSet.open(folder).entries[0]
    points = FaceSet.open(folder).crop_points(entry)
    # the template is centred on the face outline: all of it lies well inside the crop
    assert points[:, :2].min() > 0.1 * 64
    assert points[:, :2].max() < 0.9 * 64
    oval = points[[10, 152], 0].mean()
    assert oval == pytest.approx((64 - 1) / 2, abs=1.0)


def test_person_frames_are_the_kept_faces(folder):
    (folder / "crops" / "000002.png").unlink()
    person = FaceSet.open(folder).person_frames()
    assert person.name == "toy"
    assert person.crops.shape == (4, 64, 64, 3)
    assert person.frame_indices.tolist() == [0, 2, 3, 4]
    assert person.clip_indices.tolist() == [0, 0, 0, 0]
    stored = cv2.imread(str(folder / "crops" / "000003.png"))[:, :, ::-1]
    np.testing.assert_array_equal(person.crops[1], stored)


# ---- excluded faces


def test_a_deleted_file_is_an_excluded_face_and_comes_back_with_it(folder):
    file = folder / "crops" / "000004.png"
    saved = file.read_bytes()
    file.unlink()
    opened = FaceSet.open(folder)
    assert [e.is_kept for e in opened.entries] == [True, True, True, False, True]
    assert opened.entries[3].why == DELETED_BY_HAND
    file.write_bytes(saved)
    assert len(FaceSet.open(folder).kept()) == 5


def test_a_missing_crops_folder_excludes_all(folder):
    shutil.rmtree(folder / "crops")
    opened = FaceSet.open(folder)
    assert not opened.kept()
    with pytest.raises(FaceSetError, match="no face of 5 is kept"):
        opened.person_frames()


def test_an_uncut_face_is_listed_but_not_kept(tmp_path):
    made = write_set(tmp_path / "set", [toy_face(i) for i in range(4)], cut={1, 3})
    assert [e.file for e in made.entries] == [None, "000002.png", None, "000004.png"]
    assert [e.why for e in made.entries] == [NOT_CUT, "", NOT_CUT, ""]
    assert len(made.aligned_faces()) == 4
    with pytest.raises(FaceSetError, match="not cut"):
        made.crop(made.entries[0])


def test_verdicts_are_written_and_nothing_lies_around(folder):
    opened = FaceSet.open(folder).with_verdicts({2: Verdict(is_kept=False, why="blurred")})
    assert [(e.is_kept, e.why) for e in opened.entries][1] == (False, "blurred")
    assert len(opened.kept()) == 4
    again = opened.with_verdicts({2: Verdict(is_kept=True)})
    assert len(again.kept()) == 5
    assert sorted(p.name for p in folder.iterdir()) == ["crops", "faces.db"]
    assert len(list((folder / "crops").iterdir())) == 5


# ---- writing


def test_a_failed_extraction_leaves_the_old_set(folder):
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(ZeroDivisionError), FaceSet.create(folder, INFO) as writer:
        writer.add_origin(toy_origin(1 // 0))
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_a_new_set_replaces_the_old_one_and_leaves_other_files(folder):
    (folder / "crops" / "notes.txt").write_text("mine")
    (folder / "consent.toml").write_text("mine")
    write_set(folder, [toy_face(i) for i in range(2)])
    assert sorted(p.name for p in (folder / "crops").iterdir()) == ["000001.png", "000002.png", "notes.txt"]
    assert (folder / "consent.toml").read_text() == "mine"
    assert len(FaceSet.open(folder).entries) == 2


def test_a_killed_run_is_swept(folder):
    partial = folder / ".faceset.partial" / "crops"
    partial.mkdir(parents=True)
    (partial / "000009.png").write_bytes(b"half")
    write_set(folder, [toy_face(0), toy_face(1)])
    assert sorted(p.name for p in folder.iterdir()) == ["crops", "faces.db"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(MediaError) as caught, FaceSet.create(tmp_path / "file" / "set", INFO):
        pass
    assert "\n" not in str(caught.value)


def test_faces_outside_the_block_are_refused(tmp_path):
    with pytest.raises(FaceSetError, match="with-block"):
        FaceSet.create(tmp_path, INFO).add_origin(toy_origin())


# ---- hostile files


def test_no_face_set(tmp_path):
    assert_refused(tmp_path, "faces.db", "extract")


@pytest.mark.parametrize("content", [b"", b"just text", b"SQLite format 3\0", b"\x89PNG\r\n\x1a\n" + b"\0" * 600])
def test_a_file_that_is_no_database(tmp_path, content):
    (tmp_path / "faces.db").write_bytes(content)
    assert_refused(tmp_path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_database(folder, part):
    data = (folder / "faces.db").read_bytes()
    (folder / "faces.db").write_bytes(data[: int(len(data) * part)])
    assert_refused(folder)


def test_flipped_bytes_never_escape(folder):
    data = bytearray((folder / "faces.db").read_bytes())
    rng = np.random.default_rng(3)
    messages = []
    for _ in range(150):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 20):
            damaged[place] = rng.integers(0, 256)
        (folder / "faces.db").write_bytes(bytes(damaged))
        try:
            FaceSet.open(folder)
        except FaceSetError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert not any("\n" in message for message in messages)


def test_a_database_of_another_program(tmp_path):
    with closing(sqlite3.connect(tmp_path / "faces.db")) as database:
        database.execute("CREATE TABLE moz_places (id INTEGER)")
        database.commit()
    assert_refused(tmp_path, "another program")


def test_a_later_version(folder):
    change(folder, "PRAGMA user_version = 99")
    assert_refused(folder, "schema version 1", "99")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW extra AS SELECT 1",
        "CREATE TRIGGER t AFTER UPDATE ON faces BEGIN SELECT 1; END",
        "DROP TABLE cuts",
        "ALTER TABLE faces ADD COLUMN more TEXT",
        "CREATE INDEX i ON faces (pts)",
    ],
)
def test_a_schema_that_is_not_ours(folder, statement):
    change(folder, statement)
    assert_refused(folder, "tables")


def test_an_endless_view_in_the_place_of_a_table(folder):
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, x, x FROM n"
    change(folder, "DROP TABLE people", f"CREATE VIEW people AS {endless}")
    assert_refused(folder, "tables")


def blob(values, dtype):
    return np.asarray(values, dtype).tobytes()


@pytest.mark.parametrize(
    ("column", "value", "word"),
    [
        ("points", b"\0" * 100, "points"),
        ("points", b"", "points"),
        ("points", None, "points"),
        ("points", "text", "points"),
        ("points", blob(np.full((478, 3), np.nan), "f4"), "points"),
        ("points", blob(np.full((478, 3), 1e30), "f4"), "points"),
        ("points5", b"\0" * 39, "points5"),
        ("box", blob([0, 0, np.inf, 1], "f4"), "box"),
        ("blendshapes", b"\0" * 12, "blendshapes"),
        ("embedding", blob(np.ones(192), "f4"), "embedding"),
        ("embedding", blob([1], "f4"), "embedding"),
        ("embedding", b"\0\0\0", "embedding"),
        ("frame_to_crop", blob(np.zeros((2, 3)), "f8"), "frame_to_crop"),
        ("head", blob(np.ones(13), "f8"), "head"),
        ("file", "../../etc/passwd", "file"),
        ("file", "000001.png/../x.png", "file"),
        ("file", "000002.png", "file"),
        ("file", "000001.jpg", "file"),
        ("score", 7.0, "score"),
        ("score", "high", "score"),
        ("presence", -1.0, "presence"),
        ("yaw_deg", 1e9, "pose"),
        ("sharpness", None, "sharpness"),
        ("exposure", 3.0, "exposure"),
        ("thumbnail", b"\0" * 255, "thumbnail"),
        ("kept", 5, "kept"),
        ("kept", b"1", "kept"),
        ("why", "x" * 100_000, "why"),
        ("origin", 4, "origin"),
        ("origin", -1, "origin"),
        ("frame_index", -3, "frame_index"),
        ("frame_index", 4, "by origin and frame"),
        ("pts", 1.5, "pts"),
        ("track_id", 2**60, "track_id"),
    ],
)
def test_a_bad_value_is_named(folder, column, value, word):
    change(folder, (f"UPDATE faces SET {column} = ? WHERE id = 1", (value,)))
    assert_refused(folder, word)


@pytest.mark.parametrize(
    ("table", "column", "value", "word"),
    [
        ("origins", "sha256", "abc", "sha256"),
        ("origins", "name", "../clip.mp4", "name"),
        ("origins", "frame_rate", "25/0", "frame_rate"),
        ("origins", "time_base", "nan", "time_base"),
        ("origins", "height", 0, "height"),
        ("origins", "color", "1,1", "color"),
        ("origins", "id", 3, "origin id"),
        ("face_set", "crop_px", 10**9, "crop_px"),
        ("face_set", "template", "whatever", "template"),
        ("face_set", "person", None, "person"),
    ],
)
def test_a_bad_value_of_the_set_is_named(folder, table, column, value, word):
    change(folder, (f"UPDATE {table} SET {column} = ?", (value,)))
    assert_refused(folder, word)


def test_a_set_without_its_row(folder):
    change(folder, "DELETE FROM face_set")
    assert_refused(folder, "1 row")


def test_an_enormous_value_is_refused_unread(folder):
    change(folder, "UPDATE faces SET why = zeroblob(100000000) WHERE id = 1")
    assert_refused(folder)


def test_a_journal_beside_it_is_not_replayed(folder):
    (folder / "faces.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + os.urandom(4096))
    (folder / "faces.db-wal").write_bytes(os.urandom(4096))
    before = (folder / "faces.db").read_bytes()
    assert len(FaceSet.open(folder).entries) == 5
    assert (folder / "faces.db").read_bytes() == before
    assert (folder / "faces.db-journal").exists()


def test_a_crop_of_another_size(folder):
    cv2.imwrite(str(folder / "crops" / "000001.png"), np.zeros((64, 63, 3), np.uint8))
    opened = FaceSet.open(folder)
    with pytest.raises(FaceSetError, match="64x64"):
        opened.crop(opened.entries[0])


def test_a_crop_that_is_no_picture(folder):
    (folder / "crops" / "000001.png").write_bytes(b"nothing")
    opened = FaceSet.open(folder)
    with pytest.raises(MediaError, match=r"000001\.png"):
        opened.crop(opened.entries[0])
