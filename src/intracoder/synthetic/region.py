"""Where the inner face is: on the mesh, in texture space, and the bare skin that colour is judged by."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64

from intracoder.synthetic.avatar import BODY, PARTS
from intracoder.synthetic.head import Head
from intracoder.synthetic.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceRegion:
    """The inner face of all people, since they share the topology."""

    vertices: Float64[np.ndarray, "v"]
    """Weight of each vertex of the body part: 1 inside, smoothly 0 at hairline, ears and under the chin."""
    texture: Float32[np.ndarray, "s s"]
    """The same in texture space."""
    features: Bool[np.ndarray, "s s"]
    """Texture of eyes, tear ducts, teeth."""
    skin: Bool[np.ndarray, "s s"]
    """Texture of cheeks, nose and lower forehead."""


def face_region(topology: Topology, reference: Head) -> FaceRegion:
    """Works the region out on a reference person."""
    size = reference.color.shape[0]
    vertices = face_weights(reference)
    texture = _painted(topology, vertices, size)
    return FaceRegion(
        vertices=vertices,
        texture=np.asarray(cv2.GaussianBlur(texture, (0, 0), 2), np.float32),
        features=_feature_texture(topology, size) & (texture == 0),
        skin=_skin_texture(topology, reference, vertices, size),
    )


def face_weights(reference: Head) -> Float64[np.ndarray, "v"]:
    """Weight of each vertex of the body part, 0..1: an egg about the nose, in distances between the eyes."""
    depth = reference.parts[BODY].positions[:, 2]
    eye, distance = _eye_frame(reference)
    weight = _smooth(np.clip((1.12 - _egg(reference)) / 0.3, 0, 1))
    front = np.clip((depth - (eye[2] - 1.05 * distance)) / (0.35 * distance), 0, 1)
    return np.asarray(weight * front)


def head_weights(reference: Head) -> Float64[np.ndarray, "v"]:
    """Weight of each vertex of the body part, 0..1: a wider egg with forehead, temples, ears and chin in it.

    Its edge is hard, since it tells skin from the rest and blends nothing.
    """
    depth = reference.parts[BODY].positions[:, 2]
    eye, distance = _eye_frame(reference)
    weight = np.clip((1.55 - _egg(reference)) / 0.05, 0, 1)
    return np.asarray(weight * (depth > eye[2] - 1.9 * distance))


def _egg(head: Head) -> Float64[np.ndarray, "v"]:
    """How far each vertex of the body part is from the nose, seen from the front; 1 is an egg about the face."""
    eye, distance = _eye_frame(head)
    offset = (head.parts[BODY].positions - (eye + np.array([0.0, -0.5 * distance, 0.0]))) / distance
    tall = np.where(offset[:, 1] > 0, offset[:, 1] / 1.18, offset[:, 1] / 1.52)
    return np.asarray(np.hypot(offset[:, 0] / 1.13, tall))


def _smooth(x: np.ndarray) -> np.ndarray:
    """Hermite step of 0..1."""
    return np.asarray(x * x * (3 - 2 * x))


def _eye_frame(head: Head) -> tuple[Float64[np.ndarray, "3"], float]:
    """Middle between the eyes, and their distance in metres."""
    right, left = head.eyes()
    return (right + left) / 2, float(np.linalg.norm(left - right))


def _painted(topology: Topology, weights: Float64[np.ndarray, "v"], size: int) -> Float32[np.ndarray, "s s"]:
    """Vertex weights drawn into texture space, grown by a hair so that no seam stays empty."""
    part = topology.parts[BODY]
    picture = np.zeros((size, size), np.float32)
    corner_weights = weights[part.triangles]
    chosen = corner_weights.max(1) > 0
    for corners, values in zip(part.uv[chosen] * size, corner_weights[chosen], strict=True):
        edges = (corners[1:] - corners[0]).T
        if abs(edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0]) < 1e-9:
            continue
        low = np.maximum(np.floor(corners.min(0)).astype(int) - 1, 0)
        high = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, size)
        x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
        second, third = np.linalg.inv(edges) @ np.stack([x.ravel() + 0.5, y.ravel() + 0.5] - corners[0][:, None])
        inside = (second >= -0.15) & (third >= -0.15) & (second + third <= 1.15)
        value = values[0] + second * (values[1] - values[0]) + third * (values[2] - values[0])
        at = y.ravel()[inside], x.ravel()[inside]
        picture[at] = np.maximum(picture[at], np.clip(value[inside], 0, 1))
    return picture


def _filled(polygons: Float64[np.ndarray, "t 3 2"], size: int) -> np.ndarray:
    """Triangles in texture space as a 0/1 picture."""
    picture = np.zeros((size, size), np.uint8)
    cv2.fillPoly(picture, list((polygons * size).round().astype(np.int32)), (1,))
    return picture


def _feature_texture(topology: Topology, size: int) -> Bool[np.ndarray, "s s"]:
    """Islands of the parts other than the body, a little grown."""
    uv = np.concatenate([topology.parts[name].uv for name in PARTS[1:]])
    return np.asarray(cv2.dilate(_filled(uv, size), np.ones((5, 5), np.uint8)) > 0)


def _skin_texture(
    topology: Topology, reference: Head, weights: Float64[np.ndarray, "v"], size: int
) -> Bool[np.ndarray, "s s"]:
    """Bare skin: no brows, eyes, lips or beard."""
    eye, distance = _eye_frame(reference)
    height = (reference.parts[BODY].positions[:, 1] - eye[1]) / distance
    band = ((height < -0.30) & (height > -0.85)) | ((height > 0.55) & (height < 0.8))
    part = topology.parts[BODY]
    chosen = ((weights > 0.97) & band)[part.triangles].all(1)
    return np.asarray(_filled(part.uv[chosen], size) > 0)
