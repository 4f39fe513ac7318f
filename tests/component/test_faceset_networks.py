"""Face sets of the packaged people, with the real networks."""

import numpy as np
import pytest
from demo_frames import demo_clip
from media_clips import write_clip

from intracoder.config import RunConfig
from intracoder.errors import ConfigError
from intracoder.faces.embedder import MobileFaceNet
from intracoder.faces.landmarks import FaceMesh
from intracoder.faces.mtcnn import Mtcnn
from intracoder.faceset.coverage import coverage, measures
from intracoder.faceset.curate import OTHER_PERSON, centroid, curate
from intracoder.faceset.extract import extract_faces
from intracoder.media.stills import write_image

CONFIG = RunConfig()


@pytest.fixture(scope="module")
def networks():
    return {
        "detector": Mtcnn(CONFIG.detect, threads=1),
        "landmarker": FaceMesh(threads=1),
        "embedder": MobileFaceNet(threads=1),
    }


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory):
    """Every sixth frame of the source: quick turns of the head and a mouth that speaks."""
    frames = [frame.pixels for frame in demo_clip("source")[::6]]
    return write_clip(tmp_path_factory.mktemp("clips") / "source.mp4", frames)


@pytest.fixture(scope="module")
def made(short_clip, networks, tmp_path_factory):
    return extract_faces([short_clip], tmp_path_factory.mktemp("source"), config=CONFIG, **networks)


def test_every_frame_gives_a_face(made):
    assert [entry.aligned.face.frame_index for entry in made.entries] == list(range(25))
    assert min(entry.aligned.face.presence for entry in made.entries) > 0.9


def test_landmarks_found_in_the_crop_are_those_of_the_frame(made, networks):
    entry = made.entries[10]
    points = made.crop_points(entry)
    again, presence = networks["landmarker"].landmarks(made.crop(entry), points)
    assert presence > 0.9
    assert np.abs(again[:, :2] - points[:, :2]).mean() < 1.5


def test_the_head_turns_as_it_was_rendered(made):
    # known from rendering: from 27 degrees to the viewer's left to 22 to the right, mouth mostly open
    yaws = [measures(entry)[0] for entry in made.entries]
    assert -32 < min(yaws) < -20
    assert 15 < max(yaws) < 28
    turn = coverage(made).axes[0]
    assert turn.counts[0] == turn.counts[4] == 0
    assert min(turn.counts[1:4]) > 0
    assert any("far to the left" in lack for lack in coverage(made).lacks)


def test_a_stranger_among_the_photos_is_dropped(networks, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, step in (("source", 15), ("target", 50)):
        for frame in demo_clip(name)[::step]:
            write_image(folder / f"{name}{frame.index}.png", frame.pixels)
    found = extract_faces([folder], tmp_path / "set", config=CONFIG, **networks)
    assert len(found.entries) == 13
    report = curate(found, CONFIG.curate)
    assert report.dropped[OTHER_PERSON] == 3
    kept = {report.faceset.origins[entry.origin_id].media.path.name[:6] for entry in report.faceset.kept()}
    assert kept == {"source"}
    own = centroid(report.faceset)
    similarities = {e.origin_id: float(e.aligned.face.embedding @ own) for e in report.faceset.entries}
    strangers = {e.origin_id for e in report.faceset.entries if not e.is_kept}
    assert max(similarities[i] for i in strangers) < 0.3
    assert min(s for i, s in similarities.items() if i not in strangers) > 0.5


def test_two_people_in_one_clip(networks, tmp_path):
    pairs = zip(demo_clip("source")[:10], demo_clip("target")[:10], strict=True)
    both = write_clip(tmp_path / "both.mp4", [np.hstack([a.pixels, b.pixels]) for a, b in pairs])
    with pytest.raises(ConfigError, match=r"both\.mp4: expected one person, got 2 \(numbers 1, 2\)"):
        extract_faces([both], tmp_path / "set", config=CONFIG, **networks)
    write_image(tmp_path / "right.png", demo_clip("target")[100].pixels)
    chosen = extract_faces([both], tmp_path / "set", config=CONFIG, face_image=tmp_path / "right.png", **networks)
    assert len(chosen.entries) == 10
    assert all(entry.aligned.face.points[:, 0].mean() > 320 for entry in chosen.entries)
