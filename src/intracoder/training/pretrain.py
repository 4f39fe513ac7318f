"""Pretraining: one decoder learns to draw anybody, from a reference of that person and somebody else's performance.

The input shows who acts; the expected picture shows another person acting the same, in the same light. So the network
learns what a swap is from exact examples: pose, expression and light come from the code, the person from the
reference, whose own light (another clip's) must not come along.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64, UInt8
from torch import Tensor

from intracoder.config import TrainConfig
from intracoder.errors import TrainingError
from intracoder.faceset.likeness import Likeness, find_rest, make_likeness, measure_performance
from intracoder.faceset.reference import PartRows, compose_reference, part_distances
from intracoder.media.atomic import atomic_path
from intracoder.media.stills import write_image
from intracoder.nets.base import base_config, new_start, pack_base
from intracoder.nets.intracoder import IntracoderConfig
from intracoder.ops.expression import fit_shape_basis
from intracoder.ops.mesh import fit_square
from intracoder.protocols import Progress, silent
from intracoder.records import Image
from intracoder.training.augment import centered
from intracoder.training.checkpoint import Counters, has_state
from intracoder.training.dataset import (
    REFERENCE_RANKS,
    PersonData,
    TrainingData,
    channels_first,
    frame_layers,
    stored_px,
)
from intracoder.training.loop import PREVIEW_FILE, Trainer
from intracoder.training.parallel import World
from intracoder.training.performances import Ensemble
from intracoder.training.preview import COMMENT
from intracoder.training.validation import validation_loss

HELD_OUT_PEOPLE = 3
"""People whose frames are never learned from."""
PAIRED_SHARE = 0.6
"""Share of the inputs that show the partner, where there is one."""
BASE_FILE = "intracoder_base.safetensors"
SHOWN = 12
CELL_PX = 128

log = logging.getLogger(__name__)


def pretrain(
    cast: Ensemble,
    folder: Path,
    config: TrainConfig,
    *,
    mark_preview: Callable[[Image], Image] = lambda image: image,
    progress: Progress = silent,
) -> Path:
    """Trains until the budget is spent, going on from what ``folder`` holds; returns the file of base weights.

    Takes torchrun, as ``train_intracoder`` does.

    Args:
        cast: Everybody's frames.
        folder: Of the training; made where it is missing. A preview is rewritten in it.
        config: Budget and rates; ``warm_start`` is better off.
        mark_preview: Puts the invisible mark into preview pictures.
        progress: Told of preparation and of steps.

    Raises:
        TrainingStoppedError: On Ctrl-C, after everything was saved.
        TrainingError: Fewer than two people, or the loss was lost twice.
        ConfigError: The device isn't there, or the batch can't be cut into equal slices.
    """
    world = World.from_environment()
    compute = world.compute(config)
    net_config = base_config()
    folder.mkdir(parents=True, exist_ok=True)
    data = build_pretraining_data(cast, net_config, threads=compute.threads, progress=world.heard(progress))
    start = new_start(net_config, seed=config.seed, warm=config.warm_start)
    trainer = Pretrainer(data, folder, config, start, compute, progress, consents=(), mark_preview=mark_preview)
    if has_state(folder):
        trainer.resume()
    trainer.run()
    path = folder / BASE_FILE
    if world.is_first:
        with atomic_path(path) as beside:
            beside.write_bytes(pack_base(trainer.state.average))
    return path


class Pretrainer(Trainer):
    """A training with one decoder and many people."""

    def triplet_share(self, done: float) -> float:
        """Exact partners may be shown from the start."""
        del done
        return PAIRED_SHARE

    def look(self) -> float | None:
        """Held-out loss, and rows of input, reference, drawn and expected faces of people who were held out."""
        loss = validation_loss(self.state.average, self.data, self.compute)
        (anybody,) = self.data.people
        net = self.state.average.config
        rows = anybody.held_out[torch.linspace(0, len(anybody.held_out) - 1, SHOWN).round().long()]
        samples = self.data.rows_of(0, rows)._replace(inputs=anybody.triplets[rows, 0])
        batch = centered(samples, encoder_px=net.encoder_px, output_px=net.output_px)
        with torch.inference_mode(), self.compute.autocast():
            drawn = self.state.average(batch.inputs, (len(rows),), batch.planes)
        assert batch.planes is not None
        strips = [batch.inputs, batch.planes[:, -3:], drawn.rgb.float(), batch.expected]
        picture = self.mark_preview(np.concatenate([_strip(s) for s in strips]))
        write_image(self.folder / PREVIEW_FILE, picture, comment=COMMENT)
        counters: Counters = self.state.counters
        log.info("step %d: loss %.4f, held out %.4f", counters.step, counters.train_loss, loss or 0.0)
        return loss


def _strip(images: Tensor) -> UInt8[np.ndarray, "h w 3"]:
    levels = images.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return np.concatenate([cv2.resize(image, (CELL_PX, CELL_PX)) for image in levels], axis=1)


def build_pretraining_data(
    cast: Ensemble, config: IntracoderConfig, *, threads: int = 1, progress: Progress = silent
) -> TrainingData:
    """Everybody's frames as those of one person without a face of its own.

    Raises:
        TrainingError: Fewer than two people besides those held out.
    """
    names = sorted(cast.rows)
    acting = sorted({name for name, _ in cast.partners})
    held_out = set(acting[:: max(1, len(acting) // HELD_OUT_PEOPLE)][:HELD_OUT_PEOPLE])
    if len(names) < len(held_out) + 2:
        raise TrainingError(f"pretraining: expected at least {len(held_out) + 2} people, got {len(names)}")
    people = [cast.frames(name) for name in names]
    seen = [measure_performance(person.points) for person in people]
    basis = fit_shape_basis([s.shapes for s in seen], [person.blendshapes for person in people])
    likenesses = [make_likeness(p, find_rest(p.points, p.blendshapes, basis)) for p in people]
    first = np.cumsum([0, *(len(person) for person in people)])
    at = {name: int(start) for name, start in zip(names, first, strict=False)}
    size, count = stored_px(config), int(first[-1])
    layers = torch.empty(count, 10, size, size, dtype=torch.uint8)
    references = torch.empty(count, len(REFERENCE_RANKS), 4, size, size, dtype=torch.uint8)
    partner = torch.arange(count)
    for (name, row), (other, other_row) in cast.partners.items():
        partner[at[name] + row] = at[other] + other_row

    def one(job: tuple[int, int]) -> None:
        who, row = job
        likeness, start = likenesses[who], int(first[who])
        crop, points = fit_square(likeness.frames.crops[row], likeness.frames.points[row], size)
        layers[start + row] = channels_first(frame_layers(crop, points, geometry=True))
        for k, parts in enumerate(_references(likeness, row)):
            drawn = compose_reference(likeness.frames.crops, likeness.frames.points, parts, points, size)
            references[start + row, k] = channels_first(drawn)

    jobs = [(who, row) for who, person in enumerate(people) for row in range(len(person))]
    with ThreadPoolExecutor(max_workers=threads) as pool:
        for done, _ in enumerate(pool.map(one, jobs)):
            progress("prepare", float(done), float(count), "planes and references")
    is_held = np.repeat([name in held_out for name in names], [len(person) for person in people])
    anybody = PersonData(
        likeness=likenesses[0],
        layers=layers,
        references=references,
        triplets=layers[partner, None, :3].contiguous(),
        probabilities=_probabilities(people_sizes=[len(p) for p in people], is_held=is_held),
        held_out=torch.from_numpy(np.flatnonzero(is_held)),
    )
    return TrainingData(people=(anybody,), basis=basis)


def _references(likeness: Likeness, row: int) -> Sequence[PartRows]:
    """Frames of other clips, near and less near; of other frames, for those who have but one clip."""
    frames = likeness.frames
    elsewhere = frames.clip_indices != frames.clip_indices[row]
    usable: Bool[np.ndarray, "n"] = elsewhere if elsewhere.any() else np.arange(len(frames)) != row
    distances = part_distances(likeness.features[row][None], likeness.features)
    chosen = []
    for shares in REFERENCE_RANKS:
        ranked = [_ranked(d[0], usable, share) for d, share in zip(distances, shares, strict=True)]
        chosen.append(PartRows(*ranked))
    return chosen


def _ranked(distances: Float64[np.ndarray, "n"], usable: Bool[np.ndarray, "n"], share: float) -> int:
    order: Int64[np.ndarray, "m"] = distances.argsort()
    order = order[usable[order]]
    return int(order[min(int(share * len(order)), len(order) - 1)])


def _probabilities(people_sizes: Sequence[int], is_held: Bool[np.ndarray, "n"]) -> Tensor:
    """By the root of how many frames there are of a person: many frames count more, but not as much as they are."""
    each = np.repeat([count**-0.5 for count in people_sizes], people_sizes)
    each[is_held] = 0.0
    return torch.from_numpy((each / each.sum()).astype(np.float32))
