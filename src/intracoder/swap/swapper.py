"""The trained intracoder as a Swapper: plans a whole track, then draws crops."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from intracoder.config import require
from intracoder.errors import NoFaceError
from intracoder.faceset.likeness import Performance, RestingHead, find_rest, shape_features, steady_choice
from intracoder.faceset.likeness_file import load_likenesses
from intracoder.faceset.person import PersonFrames, spread_rows
from intracoder.faceset.planes import color_mask, decoder_planes
from intracoder.faceset.reference import PartRows, part_distances
from intracoder.nets.device import DeviceName, Precision, choose_compute
from intracoder.nets.generate import DecoderInput, generate_faces
from intracoder.nets.model_card import ModelCard, read_model
from intracoder.ops.complexion import ENOUGH_FRAMES, measure_complexion
from intracoder.ops.detail import regained
from intracoder.ops.eyes import eye_excess
from intracoder.ops.geometry import align_track, posed, rescale_matrix, transform_points, unposed, warp_to_crop
from intracoder.ops.mask import eye_mask, surface_mask
from intracoder.ops.seating import Seat
from intracoder.ops.structure import combined
from intracoder.records import (
    AlignedFace,
    Blendshapes,
    Complexion,
    Crops,
    FaceTrack,
    HeadFit,
    Image,
    PlannedFace,
    Points,
    SurfaceShares,
    SwappedCrops,
)
from intracoder.swap.motion import shot_bounds, steady_heads, steady_rows, stretches
from intracoder.swap.visible import LearnedVisibility, share_seen

TEMPLATE: Final = "wide"
CROP_SMOOTH_FRAMES: Final = 9
HEAD_SMOOTH_FRAMES: Final = 7
EXPRESSION_SMOOTH_FRAMES: Final = 5
"""A blink lasts about as long, and a local quadratic keeps it."""
SWITCH_COST: Final = 1.0
"""What a change of reference must gain over time, in squared feature units."""
STRETCH_FRAMES: Final = 500
"""Frames planned at a time, which bounds the memory of a long clip."""
REST_FRAMES: Final = 300
"""Most frames that the target's head at rest is found from."""
BATCH: Final = 16
DETAIL: Final = 2
"""Side of the finer references / the net's output."""
SKIN_SHARE: Final = 0.5
"""How much of the reference's contrast skin gets back: all of it would show the source's shadows and compression."""
SKIN_BLUR: Final = 1 / 110
"""What is finer than this fraction of the crop is skin's."""
SKIN_GRAIN: Final = 0.04
"""Contrast of skin that is left out: the source's noise and compression."""
EYE_BLUR: Final = 1 / 60
"""The same of eyes: a seventh of their width."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedParts(PlannedFace):
    """A plan whose reference is put together from several of the source's frames."""

    parts: PartRows | None
    """Stored frames for face, eyes and mouth; None for the plain net."""
    head: HeadFit
    """Where the source's head was found to sit, before it is moved by hand; centimetres to frame pixels."""


class IntracoderSwapper:
    """Draws one person of a trained model on the crops of a target track."""

    def __init__(
        self,
        model_folder: Path,
        *,
        source: str | None = None,
        detail: int = DETAIL,
        seat: Seat = Seat(),
        device: DeviceName = "auto",
        precision: Precision = "auto",
        threads: int = 0,
    ) -> None:
        """Loads a model folder.

        Args:
            model_folder: As the training wrote it.
            source: Whose face to draw; None takes the training's source.
            detail: Side of the finer references / the net's output; 1 for no finer detail than the crops show.
            seat: Where in the target's head the face sits, beside what is found.
            device: Where to run.
            precision: Number format.
            threads: CPU threads; 0 takes all cores.

        Raises:
            WeightsError: A file is missing or not what it should be, or the model has no such person.
        """
        require(1 <= detail <= 4, "swap.detail", "1..4", detail)
        self._detail = detail
        self._seat = seat
        self._compute = choose_compute(device, precision, threads)
        self._net, self._card = read_model(model_folder, self._compute)
        likenesses, _ = load_likenesses(model_folder, [person.name for person in self._card.people])
        self._person = 0 if source is None else self._card.index_of(source)
        self._likeness = likenesses[self._person]

    @property
    def card(self) -> ModelCard:
        """What the model says of itself."""
        return self._card

    @property
    def crop_px(self) -> int:
        """Side of the crops that go in and come out, pixels."""
        return self._net.config.output_px

    @property
    def source(self) -> str:
        """Name of the person who is drawn."""
        return self._likeness.frames.name

    @functools.cached_property
    def complexion(self) -> Complexion | None:
        """Of the person who is drawn, from the model's stored frames; None for the plain net."""
        if not self._net.config.plane_channels:
            return None
        some = self._some_frames()
        return measure_complexion(some.crops, some.points)

    @functools.cached_property
    def eye_excess(self) -> float:
        """Of the person who is drawn; 0 for the plain net."""
        if not self._net.config.plane_channels:
            return 0.0
        some = self._some_frames()
        return eye_excess(some.crops, some.points)

    @functools.cached_property
    def shown(self) -> SurfaceShares | None:
        """How much of each point of the drawn face its footage shows, 0..1; None for the plain net."""
        if not self._net.config.plane_channels:
            return None
        some = self._some_frames()
        window = rescale_matrix(np.eye(2, 3), "wide_margin", some.crops.shape[1], TEMPLATE, self.crop_px)
        crops = [warp_to_crop(crop, window, self.crop_px) for crop in some.crops]
        return share_seen(LearnedVisibility(), crops, [transform_points(row, window) for row in some.points])

    def _some_frames(self) -> PersonFrames:
        """Stored frames that tell what the person looks like."""
        frames = self._likeness.frames
        return frames.subset(spread_rows(len(frames), ENOUGH_FRAMES))

    def plan(self, track: FaceTrack) -> tuple[PlannedFace, ...]:
        """Geometry of the swap for a whole target track, one entry per face of it.

        The target's neutral face comes from the whole track; head and expression are steadied over time within
        each shot, and the source's reference frame changes only where that pays.

        Raises:
            NoFaceError: A face without landmarks or expression coefficients.
        """
        aligned = align_track(track, template=TEMPLATE, crop_px=self.crop_px, smooth_frames=CROP_SMOOTH_FRAMES)
        if not aligned:
            return ()
        times = np.array([a.face.frame_index for a in aligned], dtype=np.int64)
        bounds = shot_bounds(times, track.cuts, max_gap=CROP_SMOOTH_FRAMES // 2)
        rest = self._resting(aligned)
        heads = steady_heads(_heads(rest, aligned), times, bounds, HEAD_SMOOTH_FRAMES)
        moved = self._seat.move(self._likeness.rest.shape)
        swapped: list[Points] = []
        found: list[HeadFit] = []
        features = []
        for inner, outer in stretches(bounds, STRETCH_FRAMES, margin=EXPRESSION_SMOOTH_FRAMES):
            pairs = zip(aligned[outer], heads[outer], strict=True)
            shapes = np.stack([unposed(_points(a), head) for a, head in pairs])
            rows = shapes.reshape(len(shapes), -1)
            steady = steady_rows(rows, times[outer], [(0, len(rows))], EXPRESSION_SMOOTH_FRAMES)
            part = steady[inner.start - outer.start : inner.stop - outer.start].reshape(-1, *shapes.shape[1:])
            worn = self._likeness.wearing(Performance(heads=tuple(heads[inner]), shapes=part), rest)
            seated = [combined(head, moved) for head in worn.heads]
            found += worn.heads
            features.append(shape_features(worn.shapes, seated))
            swapped += [posed(shape, head) for shape, head in zip(worn.shapes, seated, strict=True)]
        references = self._references(np.concatenate(features), [start for start, _ in bounds])
        return tuple(
            PlannedParts(
                frame_index=a.face.frame_index,
                frame_to_crop=a.frame_to_crop,
                target_points=_points(a),
                swapped_points=points,
                reference_index=None if parts is None else parts.face,
                parts=parts,
                head=head,
            )
            for a, points, parts, head in zip(aligned, swapped, references, found, strict=True)
        )

    def reseated(self, planned: PlannedParts, seat: Seat) -> PlannedParts:
        """A face of this swapper's plan as another seat than its own would have it; its stored frames stay."""
        rest = self._likeness.rest.shape
        worn = unposed(planned.swapped_points, combined(planned.head, self._seat.move(rest)))
        points = posed(worn, combined(planned.head, seat.move(rest)))
        return dataclasses.replace(planned, swapped_points=points)

    def stored_frame(self, planned: PlannedFace) -> Image | None:
        """The source's stored crop that is nearest to a planned face; None for the plain net."""
        row = planned.reference_index
        return None if row is None else np.asarray(self._likeness.frames.crops[row])

    def _resting(self, aligned: Sequence[AlignedFace]) -> RestingHead:
        """The target's head at rest, from frames spread over the whole track: a long clip is never held all at once."""
        some = [aligned[row] for row in spread_rows(len(aligned), REST_FRAMES)]
        return find_rest(
            np.stack([_points(a) for a in some]), np.stack([_blendshapes(a) for a in some]), self._likeness.rest.basis
        )

    def swap(self, target_crops: Crops, planned: Sequence[PlannedFace]) -> SwappedCrops:
        """Swapped crops, in the target's colours, the network's own face masks, and the copied pixels' finer detail."""
        if not planned:
            return SwappedCrops(crops=target_crops, masks=np.zeros(target_crops.shape[:3], np.float32))
        parts = [
            self._swap_batch(target_crops[start : start + BATCH], planned[start : start + BATCH])
            for start in range(0, len(planned), BATCH)
        ]
        details = [part.detail for part in parts if part.detail is not None]
        return SwappedCrops(
            crops=np.concatenate([part.crops for part in parts]),
            masks=np.concatenate([part.masks for part in parts]),
            detail=np.concatenate(details) if details else None,
        )

    def planes(self, planned: PlannedFace) -> UInt8[np.ndarray, "n n p"] | None:
        """What the decoder sees beside the code, at the net's output size, for showing; None for the plain net."""
        config = self._net.config
        if not config.plane_channels:
            return None
        wanted = transform_points(planned.swapped_points, planned.frame_to_crop)
        return decoder_planes(
            self._likeness, wanted, _parts(planned), config.output_px, geometry=config.geometry, detail=self._detail
        ).planes

    def _swap_batch(self, crops: Crops, planned: Sequence[PlannedFace]) -> SwappedCrops:
        config = self._net.config
        size = config.output_px
        skin = [color_mask(transform_points(p.target_points, p.frame_to_crop), size) for p in planned]
        decoder_input = None
        if config.plane_channels:
            wanted = [transform_points(p.swapped_points, p.frame_to_crop) for p in planned]
            drawn = [
                decoder_planes(self._likeness, points, _parts(p), size, geometry=config.geometry, detail=self._detail)
                for points, p in zip(wanted, planned, strict=True)
            ]
            fine = [d.detail for d in drawn if d.detail is not None]
            decoder_input = DecoderInput(
                np.stack([d.planes for d in drawn]),
                np.stack([color_mask(points, size) for points in wanted]),
                np.stack(fine) if fine else None,
            )
        made = generate_faces(self._net, self._person, crops, np.stack(skin), decoder_input, self._compute)
        if made.detail is None or decoder_input is None or decoder_input.detail is None:
            return made
        rows = zip(made.detail, made.crops, decoder_input.detail, decoder_input.planes[..., -4], planned, strict=True)
        return dataclasses.replace(made, detail=np.stack([_with_contrast(*row) for row in rows]))

    def _references(self, wanted: Float64[np.ndarray, "n 8"], starts: Sequence[int]) -> Sequence[PartRows | None]:
        """The source's frames for each moment, chosen so that they change seldom."""
        if not self._net.config.reference:
            return [None] * len(wanted)
        distances = part_distances(wanted, self._likeness.features)
        chosen = [steady_choice(d, SWITCH_COST, starts).tolist() for d in distances]
        return [PartRows(*rows) for rows in zip(*chosen, strict=True)]


def _with_contrast(
    detail: Float32[np.ndarray, "d d 3"],
    drawn: Image,
    reference: UInt8[np.ndarray, "d d 3"],
    visibility: UInt8[np.ndarray, "s s"],
    planned: PlannedFace,
) -> Float32[np.ndarray, "d d 3"]:
    """Detail with the reference's contrast where a small network loses most: skin's grain, and all of the eyes."""
    size = len(drawn)
    points = transform_points(planned.swapped_points, planned.frame_to_crop)
    seen = visibility.astype(np.float32) / 255
    skin = SKIN_SHARE * surface_mask(points, size) * seen
    finer = regained(detail, drawn, reference, np.asarray(skin, np.float32), blur=SKIN_BLUR, grain=SKIN_GRAIN)
    return regained(finer, drawn, reference, eye_mask(points, size), blur=EYE_BLUR, grain=0.0)


def _heads(rest: RestingHead, aligned: Sequence[AlignedFace]) -> list[HeadFit]:
    """Where the target's head is in every frame."""
    heads: list[HeadFit] = []
    for start in range(0, len(aligned), STRETCH_FRAMES):
        part = aligned[start : start + STRETCH_FRAMES]
        points, blendshapes = np.stack([_points(a) for a in part]), np.stack([_blendshapes(a) for a in part])
        heads += rest.perform(points, blendshapes).heads
    return heads


def _parts(planned: PlannedFace) -> PartRows | None:
    """Where a plan says no more than one frame, that one serves for all parts."""
    if isinstance(planned, PlannedParts):
        return planned.parts
    row = planned.reference_index
    return None if row is None else PartRows(row, row, row)


def _points(aligned: AlignedFace) -> np.ndarray:
    points = aligned.face.points
    if points is None:
        raise NoFaceError(
            f"frame {aligned.face.frame_index}: expected dense landmarks, got none; analyse the clip anew"
        )
    return points


def _blendshapes(aligned: AlignedFace) -> Blendshapes:
    scores = aligned.face.blendshapes
    if scores is None:
        raise NoFaceError(
            f"frame {aligned.face.frame_index}: expected expression coefficients, got none; analyse the clip anew"
        )
    return scores
