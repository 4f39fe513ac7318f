"""A clip of dots that fake networks can read: quick, exact tests of following people."""

from dataclasses import dataclass, replace

import numpy as np

from intracoder.faces.landmarks import points5_of
from intracoder.ops.topology import canonical_points
from intracoder.records import Face, Frame

SIZE = 400
FACE_PX = 100


def toy_points(x: float, y: float) -> np.ndarray:
    """Dense landmarks of a frontal face with its middle at (x, y)."""
    points = np.zeros((478, 3), np.float32)
    shape = canonical_points()
    points[:468] = (shape - (shape.min(0) + shape.max(0)) / 2) * (FACE_PX / np.ptp(shape[:, 1]))
    points[468:] = points[[33] * 5 + [263] * 5]
    points[:, :2] += (x, y)
    return points


@dataclass(frozen=True)
class Someone:
    """A person at a place; ``identity`` counts up from 0."""

    identity: int
    x: float
    y: float = 200.0
    is_detectable: bool = True


class ToyWorld:
    """What is to be seen in each frame; each frame's pixels hold its own number and a backdrop."""

    def __init__(self, scenes, backdrops=None):
        self.scenes = [list(s) for s in scenes]
        self.backdrops = backdrops or [90] * len(self.scenes)
        self.detected, self.embedded = [], []

    def frames(self):
        for index, backdrop in enumerate(self.backdrops):
            pixels = np.full((SIZE, SIZE, 3), backdrop, np.uint8)
            pixels[0, 0] = index // 256, index % 256, 0
            yield Frame(pixels=pixels, index=index, pts=index)

    def _index(self, image):
        return int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])

    def _near(self, index, middle, reach):
        """Who stands nearest to a place."""
        away = [(np.hypot(p.x - middle[0], p.y - middle[1]), i, p) for i, p in enumerate(self.scenes[index])]
        distance, _, person = min(away, default=(np.inf, 0, None))
        return person if distance <= reach else None

    def detect(self, frames):
        found = []
        for frame in frames:
            self.detected.append(frame.index)
            points = [toy_points(p.x, p.y) for p in self.scenes[frame.index] if p.is_detectable]
            found.append(tuple(self._face(frame.index, p) for p in points))
        return found

    def _face(self, index, points):
        box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])
        return Face(frame_index=index, box=box, points5=points5_of(points), score=0.9)

    def landmarks(self, image, near):
        middle = (near[:, :2].min(0) + near[:, :2].max(0)) / 2
        person = self._near(self._index(image), middle, 45)
        if person is None:
            return toy_points(*middle), 0.1
        return toy_points(person.x, person.y), 0.99

    def blendshapes(self, points):
        return np.zeros(52, np.float32)

    def embed(self, image, points5):
        index = self._index(image)
        self.embedded.append(index)
        person = self._near(index, points5.mean(0), 1000)
        vector = np.zeros(8, np.float32)
        vector[person.identity] = 1
        return vector


def moved(person, **changes):
    return replace(person, **changes)
