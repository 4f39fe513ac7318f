"""Identity embeddings: one network for the tool's own decisions, another that only judges its results."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float32

from intracoder.faces.window import Window, cut
from intracoder.nets.runtime import OnnxNet, onnx_session
from intracoder.ops.geometry import fit_similarity
from intracoder.records import Embedding, Image, Points5

_ARCFACE_PX = 112
_ARCFACE_POINTS: Final = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""Where ArcFace-style networks expect the five points in their crop, pixels."""
_DLIB_PX = 150
_DLIB_FACE_FRACTION = 0.45
_DLIB_CENTER = (0.5, 0.43)


class MobileFaceNet:
    """Embedder for tracking, sorting, curating and training: 192 values.

    Cosine of the same person: 0.77 to 1 between photos, 0.56 to 1 between frames of unlike pose and light (mean 0.85);
    of two people 0.03 on average and under 0.38 in 99 of 100 pairs (40 photographed people).

    Source: Chen et al., "MobileFaceNets", CCBR 2018; crop of Deng et al., "ArcFace", CVPR 2019.
    """

    def __init__(self, *, threads: int = 0) -> None:
        """Opens the network with so many CPU threads; 0 takes the machine's."""
        self._net = onnx_session("mobilefacenet", threads=threads)

    def embed(self, image: Image, points5: Points5) -> Embedding:
        """Unit-length identity vector of the face at ``points5`` (image pixels).

        Raises NoFaceError where the points are all in one place or not finite.
        """
        crop = cut(image, fit_similarity(points5, _ARCFACE_POINTS), _ARCFACE_PX)
        return _unit(self._net, (crop[None].astype(np.float32) - np.float32(127.5)) / np.float32(128))


class DlibResnet:
    """Embedder for evaluation ONLY: 128 values.

    It must never steer training, curation or the choice of anything, or it could not judge the result as an
    outsider. Its cosines are all high: of 40 photographed people (neutral and smiling) the same person had 0.95 to 1,
    two people 0.84 on average and under 0.915 in 99 of 100 pairs.

    Source: D. King, dlib's face recognition network and its crop, as in face-api 1.7.15.
    """

    def __init__(self, *, threads: int = 0) -> None:
        """Opens the network with so many CPU threads; 0 takes the machine's."""
        self._net = onnx_session("dlib_resnet", threads=threads)

    def embed(self, image: Image, points5: Points5) -> Embedding:
        """Unit-length identity vector of the face at ``points5`` (image pixels)."""
        crop = cut(image, _dlib_window(points5).frame_to_crop(_DLIB_PX), _DLIB_PX)
        return _unit(self._net, crop.transpose(2, 0, 1)[None].astype(np.float32))


def _dlib_window(points5: Points5) -> Window:
    """The upright square that dlib's network was trained on, from eyes and mouth."""
    points = points5.astype(np.float64)
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    across = points[1] - points[0]
    length = float(np.linalg.norm(points[:2] - mouth, axis=1).mean())
    side = max(1.0, length / _DLIB_FACE_FRACTION)
    angle = float(np.arctan2(across[1], across[0]))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    # the anchor lies at _DLIB_CENTER of the square, not in its middle
    offset = rotation @ (np.array([0.5, 0.5]) - _DLIB_CENTER) * side
    return Window(center=(2 * eyes + mouth) / 3 + offset, side_px=side, angle_rad=angle)


def _unit(net: OnnxNet, batch: Float32[np.ndarray, "1 ..."]) -> Embedding:
    """The network's answer for one crop at length 1."""
    vector = net.run(batch)[0].reshape(-1).astype(np.float64)
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)
