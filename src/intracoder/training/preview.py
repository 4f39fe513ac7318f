"""The picture that shows how a training comes along."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from intracoder.faceset.likeness import Likeness, shape_features
from intracoder.faceset.planes import decoder_planes, face_mask
from intracoder.faceset.reference import PartRows, part_distances
from intracoder.media.stills import write_image
from intracoder.nets.device import Compute
from intracoder.nets.generate import DecoderInput, generate_faces
from intracoder.nets.intracoder import Intracoder, IntracoderConfig
from intracoder.ops.geometry import fit_head, posed, rescale_matrix, transform_points, unposed, warp_to_crop
from intracoder.records import Crops, Image, Masks, Points
from intracoder.training.dataset import TrainingData, usable_references

COLUMNS = 8
CELL_PX = 160
LABEL_PX = 24
GAP_PX = 4
SOURCE, TARGET = 0, 1
COMMENT = "AI-modified: training preview made by Intracoder"
_PAPER, _INK = (24, 26, 31), (225, 228, 235)


class Preview:
    """Rows of target, its reconstruction, swap and source; everything but the network's part is computed once."""

    def __init__(self, data: TrainingData, config: IntracoderConfig, compute: Compute) -> None:
        self._compute = compute
        source, target = (data.people[k].likeness for k in (SOURCE, TARGET))
        count = len(target.frames)
        rows = np.unique(np.linspace(0, count - 1, min(count, COLUMNS)).round().astype(np.int64)).tolist()
        size = config.output_px
        cut = [_window(target, row, size) for row in rows]
        self._crops: Crops = np.stack([crop for crop, _ in cut])
        own_points = [points for _, points in cut]
        self._masks = _hulls(own_points, size)
        nearest_own = [_nearest_own(target, row) for row in rows]
        self._own_input = _inputs(target, own_points, nearest_own, config)
        heads = [fit_head(points) for points in own_points]
        shapes = np.stack([unposed(p, h) for p, h in zip(own_points, heads, strict=True)])
        worn = source.wearing(shapes, target.neutral)
        swapped_points = [posed(shape, head) for shape, head in zip(worn, heads, strict=True)]
        distances = part_distances(shape_features(worn, heads), source.features)
        nearest = [PartRows(*(int(d[k].argmin()) for d in distances)) for k in range(len(rows))]
        self._source_input = _inputs(source, swapped_points, nearest, config)
        self._source_crops: Crops = np.stack([_window(source, parts.face, size)[0] for parts in nearest])
        self._names = (source.frames.name, target.frames.name)

    def draw(self, net: Intracoder) -> Image:
        """The sheet for a network in eval mode."""
        recon, _ = generate_faces(net, TARGET, self._crops, self._masks, self._own_input, self._compute)
        swapped, alpha = generate_faces(net, SOURCE, self._crops, self._masks, self._source_input, self._compute)
        share = alpha[..., None]
        pasted = np.rint(swapped * share + self._crops * (1 - share)).astype(np.uint8)
        source, target = self._names
        rows = [
            (f"target: {target}", self._crops),
            (f"target redrawn by its own decoder: {target}", recon),
            (f"swap: {source} acting as {target}", pasted),
            (f"source, nearest real frame: {source}", self._source_crops),
        ]
        return np.concatenate([_strip(label, crops) for label, crops in rows])

    def write(self, net: Intracoder, path: Path) -> None:
        """Rewrites the picture, whole or not at all."""
        write_image(path, self.draw(net), comment=COMMENT)


def _window(likeness: Likeness, row: int, size: int) -> tuple[Image, Points]:
    """A stored crop and its landmarks in the network's narrower window."""
    crop = likeness.frames.crops[row]
    stored_to_window = rescale_matrix(np.eye(2, 3), "wide_margin", len(crop), "wide", size)
    points = transform_points(likeness.frames.points[row], stored_to_window)
    return warp_to_crop(crop, stored_to_window, size), points


def _hulls(points: list[Points], size: int) -> Masks:
    return np.stack([face_mask(p, size) for p in points])


def _nearest_own(likeness: Likeness, row: int) -> PartRows:
    """The most alike frames that aren't neighbours in time."""
    usable = usable_references(likeness.frames)[row]
    distances = part_distances(likeness.features[row][None], likeness.features)
    return PartRows(*(int(np.where(usable, d[0], np.inf).argmin()) for d in distances))


def _inputs(
    likeness: Likeness, points: list[Points], references: list[PartRows], config: IntracoderConfig
) -> DecoderInput | None:
    """Planes for each set of landmarks; None for the plain autoencoder."""
    if not config.plane_channels:
        return None
    planes = [
        decoder_planes(
            likeness, wanted, row if config.reference else None, config.output_px, geometry=config.geometry
        ).planes
        for wanted, row in zip(points, references, strict=True)
    ]
    return DecoderInput(np.stack(planes), _hulls(points, config.output_px))


def _strip(label: str, crops: Crops) -> Image:
    """A labelled row of pictures."""
    width = COLUMNS * CELL_PX + (COLUMNS + 1) * GAP_PX
    strip = np.full((LABEL_PX + CELL_PX + GAP_PX, width, 3), _PAPER, np.uint8)
    # OpenCV's built-in font has no more than ASCII
    text = label.encode("ascii", "replace").decode("ascii")
    cv2.putText(strip, text, (GAP_PX + 2, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    for k, crop in enumerate(crops):
        cell = cv2.resize(crop, (CELL_PX, CELL_PX), interpolation=cv2.INTER_CUBIC)
        left = GAP_PX + k * (CELL_PX + GAP_PX)
        strip[LABEL_PX : LABEL_PX + CELL_PX, left : left + CELL_PX] = cell
    return strip
