from pathlib import Path

import cv2
import numpy as np
import pytest
from demo_frames import demo_clip

from intracoder.faces.segment import HandSegmenter, PersonSegmenter, VisiblePerson

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="module")
def person():
    return PersonSegmenter()


@pytest.fixture(scope="module")
def hands():
    return HandSegmenter()


def with_hand(name, *, mirrored=False):
    """A demo frame with a rendered hand before the face, and where exactly the hand is."""
    frame = cv2.resize(demo_clip("target")[0].pixels, (480, 480), interpolation=cv2.INTER_CUBIC)
    hand = cv2.imread(str(DATA / f"hand_{name}.png"), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3]]
    hand = cv2.resize(hand[:, ::-1] if mirrored else hand, (400, 400), interpolation=cv2.INTER_LINEAR)
    where = np.zeros((480, 480), bool)
    where[40:440, 40:440] = hand[..., 3] > 127
    frame[where] = hand[..., :3][hand[..., 3] > 127]
    return np.ascontiguousarray(frame), where


@pytest.mark.parametrize("name", ["palm", "back"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_an_open_hand_before_the_face_is_found(hands, name, mirrored):
    frame, where = with_hand(name, mirrored=mirrored)
    mask = hands.segment(frame)
    assert mask.shape == where.shape
    assert len(hands.hands(frame)) == 1
    found = mask > 0.5
    # the forearm is not followed to its end
    assert (found & where).sum() / where.sum() > 0.7
    assert (found & where).sum() / found.sum() > 0.85


def test_hand_points_run_from_wrist_to_tips_in_frame_pixels(hands):
    frame, where = with_hand("palm")
    (points,) = hands.hands(frame)
    inside = where[np.clip(points[:, 1], 0, 479).round().astype(int), np.clip(points[:, 0], 0, 479).round().astype(int)]
    assert inside.mean() > 0.9
    # finger tips above their roots
    assert (points[[8, 12, 16, 20], 1] < points[[5, 9, 13, 17], 1]).all()


def test_no_hand_no_mask(hands):
    for clip in ("source", "target"):
        for frame in demo_clip(clip)[::75]:
            assert hands.segment(frame.pixels).max() == 0


def test_the_person_is_told_from_the_background(person):
    frame = demo_clip("target")[0].pixels
    mask = person.segment(frame)
    assert mask.shape == frame.shape[:2]
    assert mask[100:200, 120:180].min() > 0.9
    assert mask[:40, :40].max() < 0.1
    assert mask[:40, -40:].max() < 0.1
    # twice the size, the same mask
    large = person.segment(cv2.resize(frame, (640, 400), interpolation=cv2.INTER_CUBIC))
    assert large.shape == (400, 640)
    assert np.abs(cv2.resize(large, (320, 320), interpolation=cv2.INTER_AREA) - mask).mean() < 0.03


def test_what_a_hand_covers_is_not_visible_person(person, hands):
    frame, where = with_hand("palm")
    mask = VisiblePerson(person, hands).segment(frame)
    covered = hands.segment(frame) > 0.99
    assert mask[covered].max() < 0.02
    face = np.zeros_like(where)
    face[140:200, 100:190] = True
    assert mask[face & (hands.segment(frame) == 0)].mean() > 0.8


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (700, 2)])
def test_odd_images_are_answered_at_their_size(person, hands, shape):
    image = np.full((*shape, 3), 60, np.uint8)
    for segmenter in (person, hands, VisiblePerson(person, hands)):
        mask = segmenter.segment(image)
        assert mask.shape == shape
        assert mask.dtype == np.float32
        assert mask.min() >= 0
        assert mask.max() <= 1
