"""Two people made of stripes: the same head, one with a pale forehead, one with a pale chin."""

import sys
from pathlib import Path

import cv2
import numpy as np

from intracoder.faceset.person import PersonFrames
from intracoder.nets.intracoder import IntracoderConfig
from intracoder.ops.mask import hull_mask
from intracoder.records import Face, FaceTrack

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from face_shapes import canonical_shape, crop_points

TINY = IntracoderConfig(width=16, code=32, blocks=1, head_stages=1, encoder_px=32, output_px=32)
TINY_PLAIN = IntracoderConfig(
    width=16, code=32, blocks=1, head_stages=1, encoder_px=32, output_px=32, geometry=False, reference=False
)
PALE, DARK = (225, 190, 165), (95, 60, 45)


def actor(name, *, pale_forehead, count=8, px=256):
    """Turning from left to right and opening the mouth on the way."""
    crops, points, blendshapes = [], [], []
    for k in range(count):
        opening = k / max(count - 1, 1)
        shape = canonical_shape()
        shape[[14, 17, 152]] += [0, 1.2 * opening, 0]
        at = crop_points(px, yaw=-20 + 40 * opening, shape=shape)
        crops.append(_picture(at, px, pale_forehead=pale_forehead))
        points.append(at)
        scores = np.zeros(52, np.float32)
        scores[25] = opening  # jawOpen
        blendshapes.append(scores)
    return PersonFrames(
        name=name,
        crops=np.stack(crops),
        points=np.stack(points),
        blendshapes=np.stack(blendshapes),
        frame_indices=np.arange(count) * 10,
        clip_indices=np.zeros(count, np.int64),
    )


def _picture(points, px, *, pale_forehead):
    up, down = (PALE, DARK) if pale_forehead else (DARK, PALE)
    rows = np.arange(px)[:, None, None] < points[4, 1]  # above the tip of the nose
    face = np.where(rows, np.array(up), np.array(down)).astype(np.float32) * np.ones((px, px, 1), np.float32)
    mask = hull_mask(points, px, px)[..., None]
    image = (face * mask + 120 * (1 - mask)).astype(np.uint8)
    for eye in (points[468], points[473]):
        cv2.circle(image, (round(float(eye[0])), round(float(eye[1]))), 8, (20, 20, 20), -1)
    mouth = (points[13] + points[14]) / 2
    height = max(2, round(float(points[14, 1] - points[13, 1]) / 2))
    cv2.ellipse(image, (round(float(mouth[0])), round(float(mouth[1]))), (22, height), 0, 0, 360, (60, 20, 20), -1)
    return image


def both(count=8):
    return [actor("ann", pale_forehead=True, count=count), actor("bob", pale_forehead=False, count=count)]


def track_of(person, *, offset=40.0, scale=1.5):
    """The person's crops laid out as a clip: frame k is a larger picture with the crop in it."""
    faces = []
    for k, points in enumerate(person.points):
        moved = (points * scale + np.array([offset, offset, 0])).astype(np.float32)
        low, high = moved[:, :2].min(axis=0), moved[:, :2].max(axis=0)
        faces.append(
            Face(
                frame_index=k,
                box=np.concatenate([low, high]),
                points5=moved[[468, 473, 4, 61, 291], :2],
                score=0.99,
                points=moved,
                presence=1.0,
                blendshapes=person.blendshapes[k],
            )
        )
    return FaceTrack(track_id=0, faces=tuple(faces))
