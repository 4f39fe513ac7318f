"""MTCNN: three small networks in a cascade find faces with five points each.

Source: Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks",
IEEE SPL 2016; weights of facenet-pytorch 2.6.0 (MIT).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from intracoder.config import DetectConfig
from intracoder.faces.boxes import squares, suppress
from intracoder.nets.runtime import OnnxNet, onnx_session
from intracoder.records import Face, Frame

_CELL_PX = 12
"""Window of the first network; it slides by two pixels."""
_STRIDE_PX = 2
_PYRAMID_STEP = 0.709
"""About sqrt(1/2): each level has half the area of the one before."""
_PROPOSE_SCORE_MIN = 0.6
_REFINE_SCORE_MIN = 0.7
_REFINE_PX = 24
_OUTPUT_PX = 48
_LEVEL_OVERLAP_MAX = 0.5
_PROPOSAL_OVERLAP_MAX = 0.7
_STAGE_OVERLAP_MAX = 0.6
_LEVEL_PROPOSALS_MAX = 2000
"""Best windows kept of one level; only noise makes more, and it must not take minutes."""
_BATCH = 256

_Boxes = Float64[np.ndarray, "_ 4"]
_Pixels = Float32[np.ndarray, "_ _ 3"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    """What a stage leaves of one frame, best score first."""

    boxes: Float64[np.ndarray, "n 4"]
    scores: Float64[np.ndarray, "n"]
    points: Float64[np.ndarray, "n 5 2"]
    """Zeros where the network gives none."""


class Mtcnn:
    """Detector with the three-stage cascade.

    Its points serve to start the dense landmarks. As in the packages that carry these weights, they lie about half
    a pixel of the last network's window (1/100 of the face) too far right and down; dense landmarks do not.
    """

    def __init__(self, config: DetectConfig, *, threads: int = 0) -> None:
        """Opens the networks.

        Args:
            config: Smallest face and lowest score.
            threads: CPU threads of each network; 0 takes the machine's.
        """
        self._config = config
        self._propose_net = onnx_session("mtcnn_pnet", threads=threads)
        self._refine_net = onnx_session("mtcnn_rnet", threads=threads)
        self._output_net = onnx_session("mtcnn_onet", threads=threads)

    def detect(self, frames: Sequence[Frame]) -> list[tuple[Face, ...]]:
        """Faces of each frame, best score first, in frame pixels; frames may differ in size.

        The second and third network see the windows of all frames in one batch.
        """
        images = [frame.pixels.astype(np.float32) for frame in frames]
        boxes = [self._proposals(image) for image in images]
        refined = _stage(self._refine_net, images, boxes, _REFINE_PX, _REFINE_SCORE_MIN)
        boxes = [found.boxes for found in refined]
        outputs = _stage(self._output_net, images, boxes, _OUTPUT_PX, self._config.score_min)
        return [_faces(frame.index, found) for frame, found in zip(frames, outputs, strict=True)]

    def _proposals(self, image: _Pixels) -> _Boxes:
        """Windows in which the first network sees a face, over the levels of an image pyramid."""
        height, width = image.shape[:2]
        scale = _CELL_PX / self._config.min_face_px
        boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
        # level by level from the frame itself: a chain of resizes would be a little faster and blurs the small levels
        while min(height, width) * scale >= _CELL_PX:
            level_wh = int(width * scale + 1), int(height * scale + 1)
            level = _as_input(cv2.resize(image, level_wh, interpolation=cv2.INTER_AREA)[None])
            level_boxes, level_scores = _level_proposals(*self._propose_net.run(level), scale=scale)
            boxes.append(level_boxes)
            scores.append(level_scores)
            scale *= _PYRAMID_STEP
        together = np.concatenate(boxes)
        kept = suppress(together, np.concatenate(scores), _PROPOSAL_OVERLAP_MAX)
        return np.asarray(together[kept])


def _as_input(images: Float32[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "n 3 h w"]:
    """RGB 0..255 to what the networks were trained on: NCHW, about -1..1."""
    return np.ascontiguousarray(((images - 127.5) / 128).transpose(0, 3, 1, 2), dtype=np.float32)


def _level_proposals(
    offsets: Float32[np.ndarray, "1 4 gh gw"], scores: Float32[np.ndarray, "1 2 gh gw"], *, scale: float
) -> tuple[Float64[np.ndarray, "n 4"], Float64[np.ndarray, "n"]]:
    """Boxes in frame pixels, with their scores, of one pyramid level's output grid."""
    face = scores[0, 1]
    rows, columns = np.nonzero(face >= _PROPOSE_SCORE_MIN)
    if len(rows) > _LEVEL_PROPOSALS_MAX:
        best = np.argsort(-face[rows, columns], kind="stable")[:_LEVEL_PROPOSALS_MAX]
        rows, columns = rows[best], columns[best]
    corner = np.stack([columns, rows], 1) * _STRIDE_PX
    boxes = np.concatenate([corner + 1, corner + _CELL_PX], 1) / scale
    found = face[rows, columns].astype(np.float64)
    kept = suppress(boxes, found, _LEVEL_OVERLAP_MAX)
    return _moved(boxes[kept], offsets[0][:, rows[kept], columns[kept]].T), found[kept]


def _moved(boxes: Float64[np.ndarray, "n 4"], offsets: Float32[np.ndarray, "n 4"]) -> Float64[np.ndarray, "n 4"]:
    """Boxes with each side shifted by its offset, a fraction of the box's side."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.asarray(boxes + offsets * np.concatenate([sides, sides], 1))


def _stage(
    net: OnnxNet, images: Sequence[_Pixels], boxes: Sequence[_Boxes], side_px: int, score_min: float
) -> list[_Found]:
    """Runs the second or third network on the windows of all images: what stays of each image."""
    windows = [squares(b) for b in boxes]
    crops = [_crop(image, window, side_px) for image, found in zip(images, windows, strict=True) for window in found]
    if not crops:
        return [_Found(boxes=np.zeros((0, 4)), scores=np.zeros(0), points=np.zeros((0, 5, 2))) for _ in images]
    parts = [net.run(_as_input(np.stack(crops[i : i + _BATCH]))) for i in range(0, len(crops), _BATCH)]
    outputs = dict(zip(net.output_names, map(np.concatenate, zip(*parts, strict=True)), strict=True))
    no_points = np.zeros((len(crops), 10), np.float32)
    ends = np.cumsum([len(found) for found in windows])[:-1]
    per_image = [np.split(a, ends) for a in (outputs["box"], outputs["score"][:, 1], outputs.get("points", no_points))]
    results = []
    for window, offsets, scores, fractions in zip(windows, *per_image, strict=True):
        kept = np.nonzero(scores > score_min)[0]
        moved = _moved(window[kept], offsets[kept])
        kept_scores = scores[kept].astype(np.float64)
        best = suppress(moved, kept_scores, _STAGE_OVERLAP_MAX)
        corner, sides = window[kept[best], None, :2], window[kept[best], None, 2:] - window[kept[best], None, :2]
        # five x, then five y
        points = corner + fractions[kept[best]].reshape(-1, 2, 5).transpose(0, 2, 1) * sides
        results.append(_Found(boxes=moved[best], scores=kept_scores[best], points=points))
    return results


def _crop(image: _Pixels, window: Float64[np.ndarray, "4"], side_px: int) -> Float32[np.ndarray, "s s 3"]:
    """A square window resampled to ``side_px``; black outside the frame, as in training."""
    x0, y0, x1, _ = window
    scale = side_px / max(x1 - x0, 1)
    window_to_crop = np.array([[scale, 0, -x0 * scale], [0, scale, -y0 * scale]])
    return cv2.warpAffine(image, window_to_crop, (side_px, side_px), flags=cv2.INTER_LINEAR)


def _faces(frame_index: int, found: _Found) -> tuple[Face, ...]:
    """Records of one frame's final boxes."""
    return tuple(
        Face(frame_index=frame_index, box=box.astype(np.float32), points5=five.astype(np.float32), score=float(score))
        for box, score, five in zip(found.boxes, found.scores, found.points, strict=True)
    )
