"""Face sets as tensors: everything that a training step draws from, computed once and kept in memory as uint8.

Source: pseudo-triplets, a false face as input and a real one as the expected output: ReliableSwap,
arXiv 2306.05356; references and geometry planes: METHODS §8.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from torch import Generator, Tensor

from intracoder.errors import TrainingError
from intracoder.faceset.likeness import (
    Likeness,
    feature_distances,
    find_rest,
    make_likeness,
    measure_performance,
    shape_features,
)
from intracoder.faceset.person import PersonFrames, spread_rows
from intracoder.faceset.planes import MARGIN, color_mask, face_mask
from intracoder.faceset.reference import REFERENCE_CHANNELS, PartRows, compose_reference, part_distances
from intracoder.nets.intracoder import IntracoderConfig
from intracoder.ops.expression import ShapeBasis, fit_shape_basis
from intracoder.ops.geometry import posed, rescale_matrix, transform_points
from intracoder.ops.mask import weight_map
from intracoder.ops.mesh import apply_warp, fit_square, paint_geometry, warp_field
from intracoder.protocols import Progress, silent
from intracoder.records import Image, Points
from intracoder.training.augment import WEIGHT_UNIT, Samples


class PartShares(NamedTuple):
    """One number for each part of a reference."""

    face: float
    eyes: float
    mouth: float


REFERENCE_RANKS = (
    PartShares(face=0.0, eyes=0.0, mouth=0.0),
    PartShares(face=1 / 6, eyes=1 / 3, mouth=0.0),
    PartShares(face=1 / 3, eyes=0.0, mouth=1 / 6),
)
"""How far down the list of like frames each part of a reference is taken, as shares of a person's frames.

Only the likest would teach to copy everything, also where in use nothing like it is there.
"""
REFERENCE_GAP = 8
"""Frames of one clip closer than this in time are too alike to be a reference for each other."""
TRIPLETS = 2
HELD_OUT_SHARE = 0.1
BLOCK_FRAMES = 5
"""Least length of a held-out stretch; single frames would be copies of their neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PersonData:
    """One person's stored pictures, side q = MARGIN * the network's output."""

    likeness: Likeness
    layers: UInt8[Tensor, "n c q q"]
    """Crop (3), mask (1), weight (1), skin (1), geometry (4 or 0)."""
    references: UInt8[Tensor, "n k 4 q q"] | None
    """Visibility and colour of other frames of the person, warped onto each frame; None for a net that takes none."""
    triplets: UInt8[Tensor, "n t 3 q q"]
    """Frames of the other people, warped to each frame's pose and expression."""
    probabilities: Float32[Tensor, "n"]
    """Of being drawn: even over pose and expression, 0 for held-out frames."""
    held_out: Int64[Tensor, "v"]
    """Frames kept for validation, in stretches; may be empty."""

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.layers)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingData:
    """All people of a training and the expression basis that they share."""

    people: tuple[PersonData, ...]
    basis: ShapeBasis

    def draw(self, batch: int, generator: Generator, *, triplet_share: float) -> Samples:
        """``batch`` random frames of each person, in order of persons; a share of the inputs are pseudo-triplets."""
        return _joined([_draw_person(person, batch, generator, triplet_share) for person in self.people])

    def held_out(self, limit: int) -> tuple[Samples, tuple[int, ...]] | None:
        """Up to ``limit`` held-out frames of each person, evenly spaced, and how many of each; None without any."""
        rows = [_thinned(person.held_out, limit) for person in self.people]
        shares = tuple(len(r) for r in rows)
        if not sum(shares):
            return None
        drawn = [_at(person, r) for person, r in zip(self.people, rows, strict=True) if len(r)]
        return _joined(drawn), shares

    def rows_of(self, person: int, rows: Tensor) -> Samples:
        """Frames of one person, each with its nearest reference."""
        return _at(self.people[person], rows)

    def to(self, device: torch.device) -> TrainingData:
        """The same with every tensor on ``device``."""
        moved = [
            PersonData(
                likeness=p.likeness,
                layers=p.layers.to(device),
                references=None if p.references is None else p.references.to(device),
                triplets=p.triplets.to(device),
                probabilities=p.probabilities,
                held_out=p.held_out.to(device),
            )
            for p in self.people
        ]
        return TrainingData(people=tuple(moved), basis=self.basis)


def build_training_data(
    people: Sequence[PersonFrames],
    config: IntracoderConfig,
    *,
    threads: int = 1,
    max_frames: int = 600,
    progress: Progress = silent,
) -> TrainingData:
    """Computes masks, planes, references and pseudo-triplets for every frame.

    Args:
        people: In the order of the network's decoders, at least two; person 0 is the source.
        config: Of the network: sizes, and whether it takes planes.
        threads: For the warps.
        max_frames: Frames of one person kept, evenly spaced; bounds memory and time.
        progress: Told of every frame.

    Raises:
        TrainingError: Fewer people than decoders, or two of one name.
    """
    names = [person.name for person in people]
    if len(people) != config.people or len(people) < 2 or len(set(names)) != len(names):
        raise TrainingError(f"training: expected {config.people} face sets of different people, got {names}")
    kept = [person.subset(spread_rows(len(person), max_frames)) for person in people]
    performances = [measure_performance(person.points) for person in kept]
    basis = fit_shape_basis([seen.shapes for seen in performances], [person.blendshapes for person in kept])
    size = stored_px(config)
    prepared = [
        _Person(make_likeness(person, find_rest(person.points, person.blendshapes, basis)), size) for person in kept
    ]
    built: list[PersonData] = []
    total = float(sum(len(person) for person in kept))
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for index, name in enumerate(names):
            done = float(sum(len(person) for person in built))
            tell = partial(_tell, progress, done, total, f"{name}: planes and references")
            built.append(_Builder(prepared, index, config).build(pool, tell))
    return TrainingData(people=tuple(built), basis=basis)


def build_added_data(
    person: PersonFrames,
    others: Sequence[Likeness],
    basis: ShapeBasis,
    config: IntracoderConfig,
    *,
    threads: int = 1,
    max_frames: int = 600,
    progress: Progress = silent,
) -> TrainingData:
    """The same of one person who comes to others that a model knows; these give the pseudo-triplets.

    Args:
        person: The new person's face set.
        others: Likenesses of the model, at least one.
        basis: The model's; the others' shapes are measured by it, so that the new person's must be, too.
        config: Of the network, for its sizes and planes.
        threads: For the warps.
        max_frames: Of the new person.
        progress: Told of every frame.
    """
    kept = person.subset(spread_rows(len(person), max_frames))
    likeness = make_likeness(kept, find_rest(kept.points, kept.blendshapes, basis))
    prepared = [_Person(known, stored_px(config)) for known in (likeness, *others)]
    tell = partial(_tell, progress, 0.0, float(len(kept)), f"{kept.name}: planes and references")
    with ThreadPoolExecutor(max_workers=threads) as pool:
        built = _Builder(prepared, 0, config).build(pool, tell)
    return TrainingData(people=(built,), basis=basis)


def _tell(progress: Progress, before: float, total: float, note: str, done: int) -> None:
    progress("prepare", before + done, total, note)


class _Person:
    """A person's frames at the stored size."""

    def __init__(self, likeness: Likeness, size: int) -> None:
        self.likeness = likeness
        frames = likeness.frames
        squares = [fit_square(c, p, size) for c, p in zip(frames.crops, frames.points, strict=True)]
        self.crops = [crop for crop, _ in squares]
        self.points = [points for _, points in squares]


class _Builder:
    """Makes one person's arrays, frame by frame."""

    def __init__(self, people: Sequence[_Person], index: int, config: IntracoderConfig) -> None:
        self.own = people[index]
        self.config = config
        self.size = stored_px(config)
        self.others = [other for k, other in enumerate(people) if k != index]
        own = self.own.likeness
        self.to_stored = rescale_matrix(np.eye(2, 3), "wide_margin", len(own.frames.crops[0]), "wide_margin", self.size)
        self.distances = part_distances(own.features, own.features)
        self.far_enough = usable_references(own.frames)
        self.worn = [other.likeness.wearing(own.performance, own.rest) for other in self.others]
        self.nearest_others = [
            feature_distances(shape_features(worn.shapes, worn.heads), other.likeness.features).argsort(axis=1)
            for other, worn in zip(self.others, self.worn, strict=True)
        ]

    def build(self, pool: ThreadPoolExecutor, tell: Callable[[int], None]) -> PersonData:
        count = len(self.own.crops)
        layers = torch.empty(count, 6 + 4 * self.config.geometry, self.size, self.size, dtype=torch.uint8)
        references = torch.empty(
            count, len(REFERENCE_RANKS), REFERENCE_CHANNELS, self.size, self.size, dtype=torch.uint8
        )
        triplets = torch.empty(count, TRIPLETS, 3, self.size, self.size, dtype=torch.uint8)

        def one(row: int) -> None:
            layers[row] = channels_first(self.layers(row))
            if self.config.reference:
                for k, shares in enumerate(REFERENCE_RANKS):
                    references[row, k] = channels_first(self.reference(row, shares))
            for k in range(TRIPLETS):
                triplets[row, k] = channels_first(self.triplet(row, k))

        jobs = [pool.submit(one, row) for row in range(count)]
        for done, job in enumerate(as_completed(jobs), start=1):
            job.result()
            tell(done)
        held_out = held_out_rows(self.own.likeness.frames)
        return PersonData(
            likeness=self.own.likeness,
            layers=layers,
            references=references if self.config.reference else None,
            triplets=triplets,
            probabilities=_even_probabilities(self.own.likeness.features, held_out),
            held_out=torch.from_numpy(np.flatnonzero(held_out)),
        )

    def layers(self, row: int) -> UInt8[np.ndarray, "q q c"]:
        return frame_layers(self.own.crops[row], self.own.points[row], geometry=self.config.geometry)

    def reference(self, row: int, shares: PartShares) -> UInt8[np.ndarray, "q q 4"]:
        """Other frames of the person, bent onto this one."""
        usable = self.far_enough[row]
        chosen: list[int] = []
        for share, distances in zip(shares, self.distances, strict=True):
            order = distances[row].argsort()
            order = order[usable[order]]
            chosen.append(int(order[min(int(share * len(order)), len(order) - 1)]))
        return compose_reference(self.own.crops, self.own.points, PartRows(*chosen), self.own.points[row], self.size)

    def triplet(self, row: int, k: int) -> Image:
        """Another person's frame with this frame's pose and expression."""
        turn = k % len(self.others)
        other, order = self.others[turn], self.nearest_others[turn][row]
        chosen = int(order[min(k // len(self.others), len(order) - 1)])
        worn = self.worn[turn]
        wanted = transform_points(posed(worn.shapes[row], worn.heads[row]), self.to_stored)
        return _bent(other.crops[chosen], other.points[chosen], wanted, self.size)


def frame_layers(crop: Image, points: Points, *, geometry: bool) -> UInt8[np.ndarray, "q q c"]:
    """What is stored of a frame: crop, mask, weight, skin and, where asked for, its geometry."""
    size = len(crop)
    mask = np.rint(face_mask(points, size) * 255).astype(np.uint8)
    weight = np.clip(np.rint(weight_map(points, size) * WEIGHT_UNIT), 0, 255).astype(np.uint8)
    skin = np.rint(color_mask(points, size) * 255).astype(np.uint8)
    return np.dstack([crop, mask, weight, skin, *([paint_geometry(points, size)] if geometry else [])])


def stored_px(config: IntracoderConfig) -> int:
    """Side of the stored pictures."""
    return round(config.output_px * MARGIN)


def held_out_rows(frames: PersonFrames) -> Bool[np.ndarray, "n"]:
    """A tenth of the frames, in stretches of neighbours spread over the whole; none of fewer than ten."""
    count = len(frames)
    held = np.zeros(count, dtype=bool)
    wanted = int(count * HELD_OUT_SHARE)
    if not wanted:
        return held
    stretches = max(1, wanted // BLOCK_FRAMES)
    length = wanted // stretches
    for k in range(stretches):
        middle = int((k + 0.5) * count / stretches)
        start = min(max(middle - length // 2, 0), count - length)
        held[start : start + length] = True
    return held


def usable_references(frames: PersonFrames) -> Bool[np.ndarray, "n n"]:
    """[i, j]: j may be the reference of i; at least one j for each i, itself if there is no other."""
    same_clip = frames.clip_indices[:, None] == frames.clip_indices[None]
    apart = np.abs(frames.frame_indices[:, None] - frames.frame_indices[None])
    usable = ~same_clip | (apart >= REFERENCE_GAP)
    lonely = ~usable.any(axis=1)
    usable[lonely] = ~np.eye(len(frames), dtype=bool)[lonely] if len(frames) > 1 else True
    return np.asarray(usable)


def _even_probabilities(features: Float64[np.ndarray, "n 8"], held_out: Bool[np.ndarray, "n"]) -> Float32[Tensor, "n"]:
    """Half even over frames, half over yaw and mouth opening, where common poses share what rare ones get alone."""
    seen = features[:, [0, 2]]
    seen = (seen - seen.mean(axis=0)) / (seen.std(axis=0) + 1e-6)
    neighbours = (((seen[:, None] - seen[None]) ** 2).sum(axis=2) < 0.25).sum(axis=1)
    rarity = np.where(held_out, 0.0, 1.0 / neighbours)
    even = np.where(held_out, 0.0, 1.0)
    return torch.from_numpy((0.5 * rarity / rarity.sum() + 0.5 * even / even.sum()).astype(np.float32))


def _draw_person(person: PersonData, batch: int, generator: Generator, triplet_share: float) -> Samples:
    rows = torch.multinomial(person.probabilities, batch, replacement=True, generator=generator)
    drawn = _at(person, rows.to(person.layers.device), generator)
    fed = round(triplet_share * batch)
    if not fed:
        return drawn
    which = torch.randint(person.triplets.shape[1], (fed,), generator=generator)
    inputs = drawn.inputs.clone()
    inputs[:fed] = person.triplets[rows[:fed], which]  # rows are random already, so the first will do
    return drawn._replace(inputs=inputs)


def _at(person: PersonData, rows: Tensor, generator: Generator | None = None) -> Samples:
    """Frames by row, each with its nearest reference, or a random one where a generator is given."""
    layers = person.layers[rows]
    references = None
    if person.references is not None:
        ranks = torch.zeros(len(rows), dtype=torch.int64)
        if generator is not None:
            ranks = torch.randint(person.references.shape[1], (len(rows),), generator=generator)
        references = person.references[rows, ranks.to(rows.device)]
    return Samples(layers[:, :3], layers, references)


def _joined(samples: Sequence[Samples]) -> Samples:
    references = [s.references for s in samples if s.references is not None]
    return Samples(
        torch.cat([s.inputs for s in samples]),
        torch.cat([s.layers for s in samples]),
        torch.cat(references) if references else None,
    )


def _bent(crop: Image, points: Points, wanted: Points, size: int) -> Image:
    return apply_warp(crop, warp_field(points, wanted, size))


def channels_first(picture: UInt8[np.ndarray, "h w c"]) -> UInt8[Tensor, "c h w"]:
    """A picture as the network has it."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def _thinned(rows: Tensor, limit: int) -> Tensor:
    return rows[torch.from_numpy(spread_rows(len(rows), limit)).to(rows.device)] if len(rows) else rows
