from dataclasses import replace

import numpy as np
import pytest
from toy_faceset import toy_face, toy_scores, write_set

from intracoder.faces.landmarks import BLENDSHAPE_NAMES
from intracoder.faceset.coverage import AXES, coverage, coverage_of_target
from intracoder.faceset.sheet import draw_sheet
from intracoder.faceset.store import FaceSet


def looking(**names):
    coefficients = np.zeros(52, np.float32)
    for name, value in names.items():
        coefficients[BLENDSHAPE_NAMES.index(name)] = value
    return coefficients


def with_gaze(face, *, right_px):
    points = face.points.copy()
    points[468:, 0] += right_px
    return replace(face, points=points)


@pytest.fixture
def toy(tmp_path):
    """Ten faces: turned, tilted, speaking and lit in known ways."""
    yaws = [-40, -20, 0, 0, 0, 5, 11.9, 12, 30, 36]
    pitches = [0, 0, 0, 0, 0, 0, 0, 0, -20, 20]
    mouths = [0, 0, 0, 0, 0.5, 0.5, 0.5, 1.0, 1.0, 2.5]
    faces = [
        toy_face(i, yaw=float(y), pitch=float(p), mouth_cm=float(m))
        for i, (y, p, m) in enumerate(zip(yaws, pitches, mouths, strict=True))
    ]
    # 6 px are 1 cm
    faces[6], faces[7], faces[8] = (with_gaze(f, right_px=x) for f, x in zip(faces[6:9], (-2, 2, 2), strict=True))
    lowered = looking(eyeLookDownLeft=0.9, eyeLookDownRight=0.9)
    faces[9] = replace(faces[9], blendshapes=lowered)
    scores = [toy_scores(exposure=0.1 * i, side_light=-0.5 if i == 0 else 0.0, seed=i) for i in range(10)]
    return write_set(tmp_path / "toy", faces, scores=scores)


def counts(covered):
    return {one.axis.name: one.counts for one in covered.axes}


def test_counts_are_exact(toy):
    found = coverage(toy)
    assert found.face_count == 10
    assert counts(found) == {
        "turn (yaw)": (1, 1, 5, 2, 1),
        "tilt (pitch)": (1, 8, 1),
        "mouth": (4, 3, 2, 1),
        "eyes": counts(found)["eyes"],  # the canonical head's, all alike
        "gaze across": (1, 7, 2),
        "gaze up/down": (1, 9, 0),
        "light": (3, 3, 4),
        "light from": (1, 9, 0),
    }
    assert sorted(counts(found)["eyes"]) == [0, 0, 10]


def test_what_is_lacking_is_said(toy):
    lacks = coverage(toy).lacks
    assert "eyes never raised" in lacks
    assert "tilt (pitch): up in only 1 of 10 faces" in lacks
    assert "light always from one direction (both sides)" in lacks
    assert not any("front" in lack or "strength" in lack for lack in lacks)


def test_tilt_counts_from_what_is_usual_for_the_person(tmp_path):
    built_so = write_set(tmp_path, [toy_face(i, pitch=-14.0 + (20.0 if i == 3 else 0.0)) for i in range(9)])
    assert counts(coverage(built_so))["tilt (pitch)"] == (0, 8, 1)


def test_shut_eyes_say_nothing_of_gaze(tmp_path):
    faces = [toy_face(i) for i in range(4)]
    points = faces[1].points.copy()
    points[[159, 386]] = points[[145, 374]]
    faces[1] = replace(faces[1], points=points, blendshapes=looking(eyeLookDownLeft=0.9, eyeLookDownRight=0.9))
    found = coverage(write_set(tmp_path, faces))
    assert counts(found)["eyes"][0] == 1
    assert counts(found)["gaze up/down"] == (0, 3, 0)
    assert found.axes[5].unmeasured == 1


def test_dropped_faces_do_not_count(toy):
    (toy.folder / "crops" / "000001.png").unlink()
    opened = FaceSet.open(toy.folder)
    assert counts(coverage(opened))["turn (yaw)"] == (0, 1, 5, 2, 1)
    assert counts(coverage(opened, kept_only=False))["turn (yaw)"] == (1, 1, 5, 2, 1)


def test_the_text_has_a_row_for_each_range(toy):
    text = coverage(toy).text()
    assert text.startswith("10 faces\nturn (yaw)\n")
    assert "  far left        1   10%  ██" in text
    assert len(text.splitlines()) == 1 + sum(1 + len(axis.ranges) for axis in AXES) + len(coverage(toy).lacks)


def test_what_the_target_needs_and_the_source_lacks(toy, tmp_path):
    source = write_set(tmp_path / "source", [toy_face(i, yaw=0.0) for i in range(100)])
    gaps = coverage_of_target(source, toy)
    found = {(gap.axis, gap.label): gap for gap in gaps}
    turned = found["turn (yaw)", "right"]
    assert (turned.target_count, turned.target_share, turned.source_count) == (2, 0.2, 0)
    assert ("turn (yaw)", "front") not in found
    assert gaps[0].target_share == max(gap.target_share for gap in gaps)
    assert turned.text() == "turn (yaw): right in 20% of the target, in 0 faces of the source"
    assert coverage_of_target(source, source) == ()


def test_a_target_without_crops_is_measured_by_its_landmarks(toy, tmp_path):
    target = write_set(tmp_path / "target", [toy_face(i, yaw=40.0) for i in range(20)], cut={0})
    needed = coverage(target, kept_only=False)
    assert counts(needed)["turn (yaw)"] == (0, 0, 0, 0, 20)
    assert needed.axes[6].unmeasured == 19


def test_an_empty_set_has_a_table(tmp_path):
    empty = write_set(tmp_path, [])
    assert coverage(empty).face_count == 0
    assert coverage(empty).lacks == ()
    assert "0%" in coverage(empty).text()


def test_the_sheet_shows_what_is_there(toy):
    sheet = draw_sheet(toy)
    assert sheet.shape == (26 + 4 * 160, 92 + 5 * 160, 3)
    # row "closed", column "far left" shows face 1; row "wide open" there is empty
    crop = toy.crop(toy.entries[0])
    np.testing.assert_array_equal(sheet[26 + 40, 92 + 80], crop[32, 32])
    np.testing.assert_array_equal(sheet[26 + 3 * 160 + 40, 92 + 80], [225, 225, 225])
