from dataclasses import replace

import numpy as np
import pytest
from toy_faceset import near, toy_face, toy_scores, unit_vector, write_set

from intracoder.config import CurateConfig
from intracoder.errors import FaceSetError
from intracoder.faceset import curate as curate_module
from intracoder.faceset.curate import (
    BLURRED,
    DUPLICATE,
    OTHER_PERSON,
    OUTSIDE,
    TOO_BRIGHT,
    TOO_DARK,
    TOO_SMALL,
    UNCERTAIN,
    centroid,
    curate,
    robust_centroid,
    spread_out,
)
from intracoder.faceset.entries import DELETED_BY_HAND
from intracoder.faceset.store import FaceSet

CONFIG = CurateConfig()


def reasons(report):
    return {entry.face_id: entry.why for entry in report.faceset.entries if entry.why}


def test_a_set_of_different_good_faces_is_kept(tmp_path):
    made = write_set(tmp_path, [toy_face(i, mouth_cm=0.1 * i) for i in range(20)])
    report = curate(made, CONFIG)
    assert report.kept == 20
    assert sum(report.dropped.values()) == 0
    assert len(report.faceset.kept()) == 20
    assert any("only 20" in warning for warning in report.warnings)


def test_each_fault_is_found_and_written(tmp_path):
    faces = [toy_face(i, mouth_cm=0.1 * i) for i in range(20)]
    scores = [toy_scores(seed=i) for i in range(20)]
    faces[1] = toy_face(1, scale=1.5)  # about 27 px
    faces[2] = toy_face(2, at=(20.0, 160.0))
    faces[3] = toy_face(3, presence=0.2)
    faces[6] = replace(faces[6], embedding=unit_vector(99))
    scores[4] = toy_scores(exposure=0.01)
    scores[5] = toy_scores(exposure=0.99)
    scores[7] = toy_scores(sharpness=0.05)
    made = write_set(tmp_path, faces, scores=scores)
    (tmp_path / "crops" / "000010.png").unlink()
    report = curate(FaceSet.open(made.folder), CONFIG)
    assert reasons(report) == {
        2: TOO_SMALL,
        3: OUTSIDE,
        4: UNCERTAIN,
        5: TOO_DARK,
        6: TOO_BRIGHT,
        7: OTHER_PERSON,
        8: BLURRED,
        10: DELETED_BY_HAND,
    }
    assert report.kept == 12
    assert report.text().startswith("12 faces kept; dropped: 1 deleted by hand, 1 too small")
    # marked, not moved
    assert len(list((tmp_path / "crops").iterdir())) == 19
    assert reasons(report) == {e.face_id: e.why for e in FaceSet.open(tmp_path).entries if e.why}


def test_curating_again_starts_anew(tmp_path):
    scores = [toy_scores(seed=i, sharpness=0.3 if i else 0.05) for i in range(10)]
    made = write_set(tmp_path, [toy_face(i) for i in range(10)], scores=scores)
    strict = curate(made, CONFIG)
    assert reasons(strict) == {1: BLURRED}
    loose = curate(strict.faceset, CurateConfig(sharpness_min=0.0))
    assert reasons(loose) == {}


def test_a_file_put_back_counts_again(tmp_path):
    write_set(tmp_path, [toy_face(i) for i in range(10)])
    file = tmp_path / "crops" / "000003.png"
    saved = file.read_bytes()
    file.unlink()
    report = curate(FaceSet.open(tmp_path), CONFIG)
    assert reasons(report) == {3: DELETED_BY_HAND}
    file.write_bytes(saved)
    assert len(FaceSet.open(tmp_path).kept()) == 10


def test_the_larger_group_is_the_person(tmp_path):
    faces = [toy_face(i, person=1 if i % 3 else 2) for i in range(30)]
    report = curate(write_set(tmp_path, faces), CONFIG)
    assert report.dropped[OTHER_PERSON] == 10
    assert all(entry.aligned.face.frame_index % 3 for entry in report.faceset.kept())
    assert float(centroid(report.faceset) @ unit_vector(1)) > 0.95


def test_duplicates_are_dropped_down_to_a_floor(tmp_path, monkeypatch):
    monkeypatch.setattr(curate_module, "FEW", 4)
    same = toy_scores(seed=0)
    faces = [toy_face(i) for i in range(12)] + [toy_face(20, mouth_cm=1.0), toy_face(21, mouth_cm=2.0)]
    report = curate(write_set(tmp_path, faces, scores=[same] * 14), CONFIG)
    assert report.kept == 4
    assert report.dropped[DUPLICATE] == 10
    assert {13, 14} <= {entry.face_id for entry in report.faceset.kept()}


def test_few_faces_keep_their_duplicates(tmp_path):
    report = curate(write_set(tmp_path, [toy_face(i) for i in range(12)], scores=[toy_scores()] * 12), CONFIG)
    assert report.kept == 12


def test_a_blink_is_no_duplicate(tmp_path, monkeypatch):
    monkeypatch.setattr(curate_module, "FEW", 1)
    faces = [toy_face(i) for i in range(10)]
    points = faces[4].points.copy()
    # the upper lids come down on the lower ones
    for upper, lower in ((159, 145), (160, 144), (158, 153), (386, 374), (385, 380), (387, 373)):
        points[upper] = points[lower]
    faces[4] = replace(faces[4], points=points)
    report = curate(write_set(tmp_path, faces, scores=[toy_scores()] * 10), CONFIG)
    assert report.dropped[DUPLICATE] == 8
    assert 5 in {entry.face_id for entry in report.faceset.kept()}


def test_too_few_left_is_refused_and_nothing_written(tmp_path):
    faces = [toy_face(i, scale=1.5) for i in range(9)] + [toy_face(9)]
    made = write_set(tmp_path, faces)
    before = (tmp_path / "faces.db").read_bytes()
    with pytest.raises(FaceSetError, match=r"1 of 10 faces can be used.*9 too small") as caught:
        curate(made, CONFIG)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "faces.db").read_bytes() == before


def test_progress_is_reported(tmp_path):
    seen = []
    curate(write_set(tmp_path, [toy_face(i) for i in range(3)]), CONFIG, lambda *step: seen.append(step[:3]))
    assert seen[0] == ("curate", 0, 3)
    assert seen[-1] == ("curate", 3, 3)


def test_robust_centroid_ignores_a_minority():
    person, other = unit_vector(1), unit_vector(2)
    rows = np.stack([near(person, 100 + i) for i in range(30)] + [near(other, 200 + i) for i in range(20)])
    assert float(robust_centroid(rows, 0.35) @ person) > 0.97


def test_spread_out_takes_the_farthest():
    line = np.array([[0.0], [0.01], [0.02], [1.0], [1.01], [5.0]], np.float32)
    no_picture = np.zeros_like(line)
    assert np.flatnonzero(spread_out([line, no_picture], 0.5, count_min=1)).tolist() in (
        [2, 3, 5],
        [0, 4, 5],
        [0, 3, 5],
        [2, 4, 5],
    )
    assert spread_out([line, no_picture], 0.5, count_min=6).all()
    assert spread_out([line, no_picture], 0.0, count_min=1).all()
