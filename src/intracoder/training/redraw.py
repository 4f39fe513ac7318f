"""Stored frames drawn again: by their own decoder, or by another person's, acting what they show.

Previews show it, and the colour and resolution network learns from it what the intracoder's pictures lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from intracoder.faceset.likeness import Likeness, shape_features
from intracoder.faceset.planes import color_mask, decoder_planes, face_mask
from intracoder.faceset.reference import PartRows, part_distances
from intracoder.nets.device import Compute
from intracoder.nets.generate import DecoderInput, generate_faces
from intracoder.nets.intracoder import Intracoder, IntracoderConfig
from intracoder.ops.geometry import posed, rescale_matrix, transform_points, warp_to_crop
from intracoder.records import Crops, Masks, Points
from intracoder.training.dataset import usable_references

BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cast:
    """Who is seen, and who draws."""

    actor: Likeness
    """Whose stored frames are drawn again."""
    artist: Likeness
    """Whose face is drawn; the actor, or somebody else."""
    person: int
    """The artist's decoder."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Redrawn:
    """Rows of the same windows, all at the network's output size."""

    real: Crops
    """The actor's frames in the network's window."""
    generated: Crops
    """What the artist's decoder makes of them."""
    alpha: Masks
    """The decoder's own masks, 0..1."""
    masks: Masks
    """Hull of the actor's landmarks, soft, 0..1."""
    generated_points: Float32[np.ndarray, "n 478 3"]
    """Where the drawn face's landmarks are, crop pixels."""
    references: tuple[PartRows, ...]
    """The artist's frames that were copied from."""


def redraw(net: Intracoder, cast: Cast, rows: Sequence[int], compute: Compute) -> Redrawn:
    """Draws the actor's frames ``rows``.

    Where the actor is the artist, references come from frames that aren't neighbours in time, as in training: a frame
    itself would be copied, and show nothing of what the network can do.
    """
    size = net.config.output_px
    real, points = window_crops(cast.actor, rows, size)
    masks = np.stack([face_mask(p, size) for p in points])
    skin = np.stack([color_mask(p, size) for p in points])
    if cast.actor is cast.artist:
        drawn_points, references = points, [_nearest_own(cast.actor, row) for row in rows]
    else:
        drawn_points, references = _acted(cast, points, rows)
    generated, alpha = [], []
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        given = _inputs(cast.artist, drawn_points[part], references[part], net.config)
        made = generate_faces(net, cast.person, real[part], skin[part], given, compute)
        generated.append(made.crops)
        alpha.append(made.masks)
    return Redrawn(
        real=real,
        generated=np.concatenate(generated),
        alpha=np.concatenate(alpha),
        masks=masks,
        generated_points=np.stack(drawn_points),
        references=tuple(references),
    )


def window_crops(likeness: Likeness, rows: Sequence[int], size: int) -> tuple[Crops, list[Points]]:
    """Stored frames and their landmarks in the network's narrower window, at any size."""
    crops, points = [], []
    for row in rows:
        stored = likeness.frames.crops[row]
        stored_to_window = rescale_matrix(np.eye(2, 3), "wide_margin", len(stored), "wide", size)
        crops.append(warp_to_crop(stored, stored_to_window, size))
        points.append(transform_points(likeness.frames.points[row], stored_to_window))
    return np.stack(crops), points


def _acted(cast: Cast, points: Sequence[Points], rows: Sequence[int]) -> tuple[list[Points], list[PartRows]]:
    """The artist's landmarks with the actor's pose and expression, and the frames most like that."""
    acted = cast.actor.rest.perform(np.stack(points), cast.actor.frames.blendshapes[list(rows)])
    worn = cast.artist.wearing(acted, cast.actor.rest)
    distances = part_distances(shape_features(worn.shapes, worn.heads), cast.artist.features)
    nearest = [PartRows(*(int(d[k].argmin()) for d in distances)) for k in range(len(points))]
    return [posed(shape, head) for shape, head in zip(worn.shapes, worn.heads, strict=True)], nearest


def _nearest_own(likeness: Likeness, row: int) -> PartRows:
    """The most alike frames that aren't neighbours in time."""
    usable = usable_references(likeness.frames)[row]
    distances = part_distances(likeness.features[row][None], likeness.features)
    return PartRows(*(int(np.where(usable, d[0], np.inf).argmin()) for d in distances))


def _inputs(
    likeness: Likeness, points: Sequence[Points], references: Sequence[PartRows], config: IntracoderConfig
) -> DecoderInput | None:
    """Planes for each set of landmarks; None for the plain autoencoder."""
    if not config.plane_channels:
        return None
    size = config.output_px
    planes = [
        decoder_planes(likeness, p, rows if config.reference else None, size, geometry=config.geometry).planes
        for p, rows in zip(points, references, strict=True)
    ]
    return DecoderInput(np.stack(planes), np.stack([color_mask(p, size) for p in points]))
