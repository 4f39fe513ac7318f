from fractions import Fraction

import numpy as np
import pytest
from toy_world import Someone, ToyWorld

from intracoder.config import DetectConfig
from intracoder.errors import NoFaceError
from intracoder.faces.contact_sheet import collect_thumbnails, draw_contact_sheet
from intracoder.faces.shots import CUT_MIN, DOUBT_MIN, ShotWatch
from intracoder.faces.tracker import track_faces
from intracoder.records import FaceTrack

A, B = Someone(0, 100), Someone(1, 300)


def follow(world, **config):
    return track_faces(world.frames(), detector=world, landmarker=world, embedder=world, config=DetectConfig(**config))


def span(track):
    return [f.frame_index for f in track.faces]


def xs(track):
    return [round(float(f.points[:, 0].mean())) for f in track.faces]


def test_two_people_have_a_track_each_in_every_frame():
    world = ToyWorld([[A, B]] * 60)
    tracks = follow(world)
    assert [t.track_id for t in tracks] == [1, 2]
    assert all(span(t) == list(range(60)) for t in tracks)
    assert {round(float(t.faces[0].box[0] + t.faces[0].box[2]) / 2) for t in tracks} == {100, 300}
    # looked for at the start and every 25 frames, recognised every 5
    assert world.detected == [0, 25, 50]
    for track in tracks:
        assert [f.frame_index for f in track.faces if f.embedding is not None] == list(range(0, 60, 5))
        assert all(f.pose is not None and f.blendshapes is not None and f.presence > 0.9 for f in track.faces)
        assert track.cuts == ()


def test_a_newcomer_is_followed_back_to_where_they_came_in():
    world = ToyWorld([[A]] * 33 + [[A, B]] * 40)
    first, second = follow(world)
    assert span(first) == list(range(73))
    assert span(second) == list(range(33, 73))


def test_someone_who_leaves_and_returns_keeps_the_track():
    world = ToyWorld([[A]] * 20 + [[]] * 40 + [[Someone(0, 310)]] * 20)
    (track,) = follow(world)
    assert span(track) == [*range(20), *range(60, 80)]
    assert xs(track)[-1] == pytest.approx(310, abs=3)


def test_cuts_are_recorded_and_people_known_again_after_them():
    scenes = [[A]] * 20 + [[Someone(1, 105)]] * 20 + [[Someone(0, 95)]] * 20
    tracks = follow(ToyWorld(scenes, [60] * 20 + [180] * 20 + [60] * 20))
    assert [span(t) for t in tracks] == [[*range(20), *range(40, 60)], list(range(20, 40))]
    assert tracks[0].cuts == (20, 40)
    assert tracks[1].cuts == ()


def test_a_cut_that_cannot_be_seen_is_found_by_identity():
    """Two people in turn at about the same place before the same backdrop: no face of one is in the other's track."""
    world = ToyWorld([[A]] * 32 + [[Someone(1, 112)]] * 40)
    tracks = follow(world)
    assert sorted(span(t) for t in tracks) == [list(range(32)), list(range(32, 72))]


def test_crossing_people_do_not_swap():
    """B passes in front of A: A is hidden for a while and comes out on the other side."""
    scenes = []
    for i in range(80):
        a, b = Someone(0, 60 + 3.5 * i), Someone(1, 340 - 3.5 * i)
        scenes.append([b] if abs(a.x - b.x) < 60 else [a, b])
    tracks = follow(ToyWorld(scenes))
    assert len(tracks) == 2
    for track in tracks:
        values = np.array(xs(track))
        direction = np.sign(np.diff(values))
        assert (direction == direction[0]).all()
    assert span(tracks[0]) == list(range(80))


def test_two_windows_that_slide_onto_one_face_part_by_identity():
    """A vanishes beside B: A's window then shows B, who keeps it."""
    scenes = [[Someone(0, 180), Someone(1, 220)]] * 10 + [[Someone(1, 220)]] * 20
    tracks = follow(ToyWorld(scenes))
    assert [len(t.faces) for t in tracks] == [30, 10]
    assert all(abs(x - 180) < 3 for x in xs(tracks[1]))


def test_a_jump_within_a_take_is_a_break_for_smoothing():
    world = ToyWorld([[A]] * 30 + [[Someone(0, 130)]] * 30)
    (track,) = follow(world)
    assert span(track) == list(range(60))
    assert track.cuts == (30,)


def test_faces_seen_for_a_moment_are_left_out_except_in_short_clips():
    brief = Someone(2, 200, 330)
    world = ToyWorld([[A, brief]] * 2 + [[A]] * 40)
    assert [span(t) for t in follow(world)] == [list(range(42))]
    assert len(follow(ToyWorld([[A]]))) == 1
    assert len(follow(ToyWorld([[A, B]]))) == 2


def test_nobody_and_nothing():
    world = ToyWorld([[]] * 30)
    assert follow(world) == ()
    assert world.detected == [0, 5, 10, 15, 20, 25]
    assert follow(ToyWorld([])) == ()


def test_a_sampled_clip_is_followed_by_the_frames_that_were_seen():
    """Every third frame: periods, gaps and jumps count in seen frames."""
    world = ToyWorld([[A]] * 96 + [[A, B]] * 93 + [[Someone(2, 110), B]] * 90)
    tracks = track_faces(
        (f for f in world.frames() if f.index % 3 == 0),
        detector=world,
        landmarker=world,
        embedder=world,
        config=DetectConfig(),
    )
    assert [span(t) for t in tracks] == [list(range(0, 189, 3)), list(range(96, 279, 3)), list(range(189, 279, 3))]
    assert [f.frame_index for f in tracks[0].faces if f.embedding is not None][:4] == [0, 15, 30, 45]
    assert world.detected[:3] == [0, 75, 150]


def test_low_presence_ends_a_track_and_each_frame_is_searched_for_a_while():
    hidden = Someone(0, 100, is_detectable=False)
    world = ToyWorld([[A]] * 10 + [[]] * 8 + [[hidden]] * 4 + [[A]] * 10)
    (track,) = follow(world)
    # found again by the detector at 22 and followed back to 18, where it was not detectable
    assert span(track) == [*range(10), *range(18, 32)]
    assert set(range(10, 21)) <= set(world.detected)


def test_progress_ends_with_the_count():
    world, calls = ToyWorld([[A]] * 12), []
    track_faces(
        world.frames(),
        detector=world,
        landmarker=world,
        embedder=world,
        config=DetectConfig(),
        progress=lambda *a: calls.append(a),
        frame_count=12,
    )
    assert calls[-1][:3] == ("faces", 12, 12)
    assert "people: 1" in calls[-1][3]


def test_shot_changes_by_size():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (90, 160, 3), dtype=np.uint8)
    watch = ShotWatch()
    assert watch.change(image) == 0
    assert watch.change(image) == 0
    assert watch.change(np.roll(image, 3, axis=1)) < DOUBT_MIN
    assert watch.change(image[:, :100]) == 1
    dark = (image // 4).astype(np.uint8)
    watch.change(image)
    assert watch.change(dark) > CUT_MIN
    assert ShotWatch().change(np.zeros((1, 1, 3), np.uint8)) == 0


def test_contact_sheet_has_a_tile_for_each_person():
    world = ToyWorld([[A, B]] * 20 + [[B]] * 20, [60] * 40)
    tracks = follow(world)
    thumbnails = collect_thumbnails(world.frames(), tracks)
    assert set(thumbnails) == {1, 2}
    assert all(t.shape == (192, 192, 3) for t in thumbnails.values())
    one = draw_contact_sheet(tracks[:1], thumbnails)
    two = draw_contact_sheet(tracks, thumbnails, frame_rate=Fraction(25))
    assert two.shape[0] == one.shape[0]
    assert two.shape[1] > one.shape[1]
    # the number's badge
    assert (two == (255, 196, 0)).all(-1).sum() > 300
    seven = tuple(FaceTrack(track_id=i, faces=tracks[0].faces) for i in range(1, 8))
    tall = draw_contact_sheet(seven, dict.fromkeys(range(1, 8), thumbnails[1]))
    assert tall.shape[0] > 1.5 * one.shape[0]


def test_contact_sheet_of_nobody_or_of_another_clip_is_refused():
    with pytest.raises(NoFaceError, match="at least one person"):
        draw_contact_sheet((), {})
    assert collect_thumbnails(iter(()), ()) == {}
    tracks = follow(ToyWorld([[A]] * 10))
    with pytest.raises(NoFaceError, match="clip ended before"):
        collect_thumbnails(iter(()), tracks)
