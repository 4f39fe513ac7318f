import cv2
import numpy as np
import pytest
from demo_frames import demo_clip, frame_of

from intracoder.config import DetectConfig
from intracoder.faces.embedder import MobileFaceNet
from intracoder.faces.landmarks import FaceMesh
from intracoder.faces.mtcnn import Mtcnn
from intracoder.faces.tracker import track_faces


@pytest.fixture(scope="module")
def follow():
    networks = {"detector": Mtcnn(DetectConfig()), "landmarker": FaceMesh(), "embedder": MobileFaceNet()}

    def run(images):
        frames = (frame_of(image, index) for index, image in enumerate(images))
        return track_faces(frames, config=DetectConfig(), **networks)

    return run


def pixels(clip, *indices):
    return [demo_clip(clip)[i].pixels for i in range(*indices)]


def span(track):
    return [f.frame_index for f in track.faces]


def test_cuts_between_two_people_and_back(follow):
    tracks = follow(pixels("source", 0, 12) + pixels("target", 0, 12) + pixels("source", 60, 72))
    assert [span(t) for t in tracks] == [[*range(12), *range(24, 36)], list(range(12, 24))]
    assert tracks[0].cuts == (12, 24)
    for track in tracks:
        assert all(f.presence > 0.9 and f.score > 0.9 for f in track.faces)
        assert all(f.points is not None and f.blendshapes is not None and f.pose is not None for f in track.faces)
        embedded = [f.embedding for f in track.faces if f.embedding is not None]
        assert len(embedded) >= 3
        assert min(float(a @ b) for a in embedded for b in embedded) > 0.6


def test_two_people_who_cross_keep_their_tracks(follow):
    """One passes before the other; both come out with the track that they went in with."""
    images = []
    for i in range(40):
        canvas = np.full((200, 460, 3), 100, np.uint8)
        for clip, x in (("source", 10 + 7 * i), ("target", 290 - 7 * i)):
            face = cv2.resize(demo_clip(clip)[i].pixels[20:260, 60:260], (160, 192), interpolation=cv2.INTER_AREA)
            canvas[4:196, x : x + 160] = face
        images.append(canvas)
    tracks = follow(images)
    assert len(tracks) == 2
    in_front, behind = tracks
    assert span(in_front) == list(range(40))
    for track, sign in ((in_front, -1), (behind, 1)):
        middles = [float(f.points[:, 0].mean()) for f in track.faces]
        assert (sign * np.diff(middles) > 0).all()
    assert set(span(behind)) >= {*range(8), *range(32, 40)}


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (64, 48)])
def test_frames_without_a_face_give_no_track(follow, shape):
    assert follow([np.full((*shape, 3), 120, np.uint8)] * 3) == ()


def test_one_picture_gives_one_face(follow):
    (track,) = follow(pixels("target", 0, 1))
    assert span(track) == [0]
    assert track.faces[0].embedding is not None
