"""People who are coloured discs, and networks that know them: for tests of what happens between networks and files."""

import cv2
import numpy as np

from intracoder.ops import topology
from intracoder.ops.geometry import posed
from intracoder.records import Face, HeadFit

RED, GREEN, BLUE = (210, 40, 40), (40, 200, 40), (40, 40, 210)
_COLORS = np.array([RED, GREEN, BLUE])
_HALF_WIDTH_CM = 7.0


def scene(people, *, height=120, width=160, seed=0):
    """A grey picture with discs: (colour, x, y, radius), a little different for each seed."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 128, np.uint8)
    picture[: height // 8, : width // 8] = rng.integers(100, 156)
    for color, x, y, radius in people:
        cv2.circle(picture, (x, y), radius, color, -1)
        # something that moves inside, or all crops would be alike
        cv2.circle(picture, (x + int(rng.integers(-radius // 3, radius // 3 + 1)), y), 3, (250, 250, 250), -1)
    return picture


def discs(image):
    """(colour number, x, y, radius) of each disc, the largest first."""
    found = []
    distance = np.abs(image[:, :, None].astype(int) - _COLORS).sum(-1)
    for number in range(len(_COLORS)):
        mask = (distance[..., number] < 120).astype(np.uint8)
        count, _, stats, centers = cv2.connectedComponentsWithStats(mask)
        found += [(number, *centers[i], max(stats[i, 2], stats[i, 3]) / 2) for i in range(1, count) if stats[i, 4] > 40]
    return sorted(found, key=lambda disc: -disc[3])


def face_points(x, y, radius):
    surface = topology.canonical_points()
    eyes = [surface[list(eye)].mean(axis=0) + np.zeros((5, 3)) for eye in topology.EYES]
    middle = topology.oval_center()
    head = HeadFit(
        scale=radius / _HALF_WIDTH_CM,
        rotation=np.eye(3),
        translation=np.array([x, y, 0.0]) - radius / _HALF_WIDTH_CM * middle,
    )
    return posed(np.concatenate([surface, *eyes]), head)


class ToyNetworks:
    """Detector, landmarker and embedder in one."""

    def __init__(self):
        self.looks = 0

    def detect(self, frames):
        return [tuple(self._face(frame.index, *disc) for disc in discs(frame.pixels)) for frame in frames]

    def _face(self, index, number, x, y, radius):
        points = face_points(x, y, radius)
        box = np.array([x - radius, y - radius, x + radius, y + radius], np.float32)
        return Face(frame_index=index, box=box, points5=points[[33, 263, 1, 61, 291], :2], score=0.9)

    def landmarks(self, image, near):
        self.looks += 1
        x, y = near[:, :2].mean(axis=0)
        around = min(discs(image), key=lambda d: np.hypot(d[1] - x, d[2] - y), default=None)
        if around is None or np.hypot(around[1] - x, around[2] - y) > 1.5 * around[3]:
            return face_points(x, y, 10.0), 0.0
        return face_points(*around[1:]), 0.95

    def blendshapes(self, points):
        return np.zeros(52, np.float32)

    def embed(self, image, points5):
        x, y = points5.mean(axis=0)
        number = min(discs(image), key=lambda d: np.hypot(d[1] - x, d[2] - y))[0]
        vector = np.random.default_rng(number).standard_normal(64)
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    def as_arguments(self):
        return {"detector": self, "landmarker": self, "embedder": self}
