"""Training the intracoder: a plain loop that ends on time, can be stopped and goes on exactly where it was."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim import AdamW

import intracoder
from intracoder.config import TrainConfig
from intracoder.errors import TrainingError, TrainingStoppedError
from intracoder.faceset.likeness_file import save_likenesses
from intracoder.faceset.person import PersonFrames
from intracoder.nets.base import Start, new_start
from intracoder.nets.cost import net_cost, peak_memory_mib
from intracoder.nets.device import Compute, device_memory_gib, step_generator
from intracoder.nets.intracoder import Intracoder, IntracoderConfig, preset
from intracoder.nets.losses import intracoder_losses, of_slice
from intracoder.nets.model_card import CARD_FILE, ConsentCard, ModelCard, PersonCard, TrainingFacts, read_card
from intracoder.protocols import Progress, silent
from intracoder.records import Image
from intracoder.training.augment import Augmentation, augmented
from intracoder.training.checkpoint import (
    Counters,
    TrainingState,
    check_same,
    has_state,
    load_state,
    save_model,
    save_state,
    with_earlier,
)
from intracoder.training.dataset import TrainingData, build_training_data
from intracoder.training.interrupts import interrupts
from intracoder.training.parallel import World
from intracoder.training.preview import write_preview
from intracoder.training.schedule import (
    average_decay,
    budget_of,
    finishing_share,
    has_stalled,
    rate_factor,
    step_weights,
    triplet_share,
    warp_strength,
)
from intracoder.training.validation import validation_loss

CHECK_STEPS = 20
"""Steps between looks at the loss: for the display, and for numbers that are none."""
SAVE_S = 120.0
GRADIENT_NORM = 1.0
WARM_RATE = 0.2
"""Peak learning rate from base weights / from nothing."""
WARM_REFERENCE_LIGHT = 0.5
"""Strength of the reference's light changes from base weights, which know already how far it can be trusted."""
LEARNED_SHARE = 0.5
"""Of the weights in use that the training has learned; the rest is the base's."""
STUDIO_MINUTES = 45.0
STUDIO_GIB = 20.0
"""Budget and GPU memory from which on L is chosen by itself: it starts from nothing and is twenty times S's work."""
IMPROVEMENT = 0.998
"""A held-out loss counts as better below this share of the best so far."""
OVERFIT = 1.02
"""A held-out loss above this share of the best has risen."""
PREVIEW_FILE = "preview.png"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """A finished training."""

    folder: Path
    card: ModelCard


def network_for(config: TrainConfig, people: int, compute: Compute) -> IntracoderConfig:
    """The size asked for; auto takes S on a CPU, M on a GPU, L on a large GPU that is given time for it."""
    size = config.size
    if size == "auto":
        size = "S" if compute.device.type == "cpu" else "M"
        has_time = config.steps is None and (config.minutes or 0) >= STUDIO_MINUTES
        if has_time and (device_memory_gib(compute.device) or 0) >= STUDIO_GIB:
            size = "L"
    return preset(size, people=people, plain=config.plain)


def train_intracoder(
    people: Sequence[PersonFrames],
    folder: Path,
    config: TrainConfig,
    *,
    net_config: IntracoderConfig | None = None,
    consents: Sequence[ConsentCard] = (),
    mark_preview: Callable[[Image], Image] = lambda image: image,
    progress: Progress = silent,
) -> TrainingResult:
    """Trains until the budget is spent, going on from what ``folder`` already holds.

    Started by torchrun, each process trains on its slice of the batches (``training.parallel``); all of them must see
    the same ``folder``.

    Args:
        people: Face sets; the first is the source.
        folder: Of the model; made where it is missing. A preview is rewritten in it.
        config: Budget, size and rates.
        net_config: Layers, instead of a preset's.
        consents: What the source is used under; kept in the card beside those of earlier sittings.
        mark_preview: Puts the invisible mark into preview pictures.
        progress: Told of preparation and of steps.

    Raises:
        TrainingStoppedError: On Ctrl-C, after everything was saved.
        TrainingError: The folder holds another training, or the loss was lost twice.
        ConfigError: The device isn't there, or the batch can't be cut into equal slices.
    """
    world = World.from_environment()
    compute = world.compute(config)
    net_config = net_config or network_for(config, len(people), compute)
    folder.mkdir(parents=True, exist_ok=True)
    names = [person.name for person in people]
    if has_state(folder) or (folder / CARD_FILE).is_file():  # a person may have been added to a model without a state
        consents = with_earlier(check_same(folder, net_config, names).consents, consents)
    data = build_training_data(people, net_config, threads=compute.threads, progress=world.heard(progress))
    start = new_start(net_config, seed=config.seed, warm=config.warm_start)
    trainer = Trainer(
        data, folder, config, start, compute, progress, consents=tuple(consents), mark_preview=mark_preview
    )
    if has_state(folder):
        trainer.resume()
    elif world.is_first:
        save_likenesses(folder, [person.likeness for person in data.people], data.basis)
    return trainer.run()


class Trainer:
    """One sitting of a training; ``train_intracoder`` is the way in."""

    def __init__(
        self,
        data: TrainingData,
        folder: Path,
        config: TrainConfig,
        start: Start,
        compute: Compute,
        progress: Progress,
        *,
        consents: tuple[ConsentCard, ...],
        mark_preview: Callable[[Image], Image],
    ) -> None:
        self.world = World.from_environment()
        self.data = data.to(compute.device)
        self.consents = consents
        self.mark_preview = mark_preview
        self.folder = folder
        self.config = config
        self.compute = compute
        self.progress = self.world.heard(progress)
        self.budget = budget_of(config)
        net, is_warm = start
        net.to(compute.device, memory_format=compute.layout)  # type: ignore[call-overload]
        self.from_base = is_warm
        self.base = {name: value.clone() for name, value in net.state_dict().items()} if is_warm else None
        self.lr = config.lr * (WARM_RATE if is_warm else 1.0)
        self.strengths = Augmentation(reference_light=WARM_REFERENCE_LIGHT) if is_warm else Augmentation()
        average = copy.deepcopy(net).eval().requires_grad_(requires_grad=False)
        learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
        optimizer = AdamW(learned, self.lr, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
        self.state = TrainingState(net=net, average=average, optimizer=optimizer, counters=Counters())
        self.fabric = self.world.fabric(compute)
        self.wrapped, self.wrapped_optimizer = self.fabric.setup(net, optimizer)
        self.shares = (config.batch // self.world.size,) * len(data.people)
        self.cost = net_cost(net.config)
        self.peak_mib: float | None = None
        self.running = torch.zeros((), device=compute.device)
        self.good = copy.deepcopy(average.state_dict())
        self.validation_loss: float | None = None

    def resume(self) -> None:
        """Goes on from what the folder holds."""
        load_state(self.folder, self.state)
        self.from_base |= read_card(self.folder).training.from_base
        self.remember()
        self.budget = budget_of(self.config, self.state.counters.budget_share)

    def run(self) -> TrainingResult:
        """Steps until the budget is spent; saves; raises TrainingStoppedError when asked to stop."""
        counters, world = self.state.counters, self.world
        self.running.fill_(counters.train_loss)
        sitting = time.monotonic() - counters.elapsed_s
        next_preview, next_save = counters.elapsed_s, counters.elapsed_s + SAVE_S
        self.introduce()
        with interrupts() as interrupted:
            while self.budget.progress(counters.step, counters.elapsed_s) < 1 and not world.any(interrupted.is_set()):
                started = time.monotonic()
                self.step()
                counters.stepping_s += time.monotonic() - started
                if counters.step % CHECK_STEPS == 0:
                    self.check()
                counters.elapsed_s = world.highest(time.monotonic() - sitting)
                self.report()
                if counters.elapsed_s >= next_preview:
                    self.show()
                    self.judge()
                    next_preview = world.highest(time.monotonic() - sitting) + self.config.preview_s
                if counters.elapsed_s >= next_save:
                    self.save()
                    next_save = time.monotonic() - sitting + SAVE_S
        self.check()
        self.show()
        card = self.save()
        if world.any(interrupted.is_set()):  # here the others wait until the first has saved
            raise TrainingStoppedError(
                f"{self.folder}: training stopped after {counters.step} steps and saved; "
                "give the same command again to go on"
            )
        return TrainingResult(folder=self.folder, card=card)

    def step(self) -> None:
        """One batch forward, backward and into the weights."""
        state, counters, net = self.state, self.state.counters, self.state.net.config
        done = self.budget.progress(counters.step, counters.elapsed_s)
        generator = step_generator(self.config.seed, counters.step)
        samples = self.data.draw(self.config.batch, generator, triplet_share=self.triplet_share(done))
        whole = augmented(
            samples,
            generator,
            encoder_px=net.encoder_px,
            output_px=net.output_px,
            warp=warp_strength(done),
            strengths=self.strengths,
        )
        batch = self.world.own_rows(whole, len(self.shares))
        for group in state.optimizer.param_groups:
            group["lr"] = self.lr * rate_factor(counters.step, done) * counters.rate_scale
        predicted = self.wrapped(batch.inputs, self.shares, batch.planes)
        terms = intracoder_losses(predicted, batch.expected, batch.mask, batch.weight, step_weights(counters.step))
        loss = (terms if batch is whole else of_slice(terms, batch.weight, whole.weight)).total()
        self.fabric.backward(loss)
        self.fabric.clip_gradients(
            self.wrapped, self.wrapped_optimizer, max_norm=GRADIENT_NORM, error_if_nonfinite=False
        )
        self.wrapped_optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        decay = 0.98 if counters.step else 0.0
        self.running.mul_(decay).add_(loss.detach(), alpha=1 - decay)
        if counters.step % 2 == 0:
            share = 1 - average_decay(counters.step)
            with torch.no_grad():
                for mean, value in zip(state.average.parameters(), state.net.parameters(), strict=True):
                    mean.lerp_(value, share)
        counters.step += 1

    def in_use(self) -> Intracoder:
        """The averaged weights; where training started from base weights, half-way back to those.

        A person's own footage has one light. Training on it alone sharpens the face and unlearns to take over light;
        the mean of both networks keeps both.

        Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, arXiv 2109.01903.
        """
        if self.base is None:
            return self.state.average
        mean = copy.deepcopy(self.state.average)
        for name, value in mean.state_dict().items():
            value.lerp_(self.base[name], 1 - LEARNED_SHARE)
        return mean

    def triplet_share(self, done: float) -> float:
        """Share of the inputs that show somebody else."""
        return triplet_share(done)

    def check(self) -> None:
        """Reads the running loss; sets the training back, once, where it is not a number."""
        counters = self.state.counters
        self.peak_mib = peak_memory_mib(self.compute.device)
        found = self.world.mean(float(self.running))
        if math.isfinite(found):
            counters.train_loss = found
            self.remember()
            return
        if counters.rate_scale < 1:
            raise TrainingError(
                f"{self.folder}: the loss was lost twice, last at step {counters.step}; "
                f"train again with a lower rate than {self.config.lr * counters.rate_scale:g}"
            )
        counters.rate_scale /= 2
        level = self.world.level(logging.WARNING)
        log.log(level, "loss is not a number at step %d: back to the last good weights, rate halved", counters.step)
        self.state.net.load_state_dict(self.good)
        self.state.average.load_state_dict(self.good)
        for moments in self.state.optimizer.state.values():
            for value in moments.values():
                value.zero_()
        self.running.fill_(counters.train_loss)

    def remember(self) -> None:
        """Keeps the averaged weights as good."""
        for name, value in self.state.average.state_dict().items():
            self.good[name].copy_(value)

    def introduce(self) -> None:
        """Says what is about to be trained, and what it costs."""
        compute, start = self.compute, "base weights" if self.from_base else "nothing"
        line = (
            f"{self.state.net.config.output_px} px: {self.cost.text()}, from {start}; "
            f"{compute.device}, {compute.precision}, {compute.threads} threads, processes: {self.world.size}"
        )
        log.log(self.world.level(logging.INFO), line)
        self.progress("prepare", 1.0, 1.0, line)

    def report(self) -> None:
        """Tells progress: rate, losses, memory, time left."""
        counters = self.state.counters
        left = self.budget.left_s(counters.step, counters.elapsed_s)
        held = "" if self.validation_loss is None else f", held-out {self.validation_loss:.4f}"
        note = f"{self.faces_per_s():.0f} faces/s, loss {counters.train_loss:.4f}{held}"
        if self.peak_mib is not None:
            note += f", {self.peak_mib:.0f} MiB"
        if left is not None:
            note += f", {left:.0f} s left"
        if self.budget.steps is not None:
            self.progress("train", float(counters.step), float(self.budget.steps), note)
        else:
            self.progress("train", counters.elapsed_s, self.budget.seconds, note)

    def show(self) -> None:
        """Held-out loss and a new preview, both by the first process; the others take its word for the loss."""
        self.validation_loss = self.fabric.broadcast(self.look() if self.world.is_first else None)

    def look(self) -> float | None:
        """Writes the preview; returns the held-out loss, None where nothing is held out."""
        net = self.in_use()
        loss = validation_loss(net, self.data, self.compute)
        likenesses = [person.likeness for person in self.data.people]
        write_preview(net, likenesses, self.compute, self.folder / PREVIEW_FILE, self.mark_preview)
        return loss

    def judge(self) -> None:
        """Finishes early where the held-out loss has stood still, and says so. A budget in steps is always used up."""
        counters, loss = self.state.counters, self.validation_loss
        if loss is None or self.budget.steps is not None:
            return
        if loss < IMPROVEMENT * counters.best_loss:
            counters.best_loss, counters.best_s = loss, counters.elapsed_s
        patience_s = self.config.patience_minutes * 60
        share = finishing_share(self.budget.progress(counters.step, counters.elapsed_s))
        if counters.budget_share == 1 and share < 1 and has_stalled(counters.best_s, counters.elapsed_s, patience_s):
            has_risen = loss > OVERFIT * counters.best_loss
            counters.budget_share = share
            self.budget = budget_of(self.config, share)
            log.log(
                self.world.level(logging.WARNING),
                "held-out loss %s at %.4f, best %.4f at %.0f s: finishing in %.0f s; more time would not help",
                "rises (it learns these pictures by heart)" if has_risen else "stands still",
                loss,
                counters.best_loss,
                counters.best_s,
                self.budget.left_s(counters.step, counters.elapsed_s) or 0.0,
            )

    def save(self) -> ModelCard:
        """Weights, card and state, written by the first process."""
        counters = self.state.counters
        facts = TrainingFacts(
            package_version=intracoder.__version__,
            steps=counters.step,
            seconds=round(counters.elapsed_s, 1),
            batch=self.config.batch,
            lr=self.lr,
            seed=self.config.seed,
            device=str(self.compute.device),
            precision=self.compute.precision,
            faces_per_s=round(self.faces_per_s(), 1),
            train_loss=counters.train_loss,
            validation_loss=self.validation_loss,
            from_base=self.from_base,
            parameters=self.cost.parameters,
            macs_per_face=self.cost.macs_per_face,
            peak_memory_mib=None if self.peak_mib is None else round(self.peak_mib, 1),
        )
        people = tuple(
            PersonCard(name=p.likeness.frames.name, frames=len(p) - len(p.held_out), held_out=len(p.held_out))
            for p in self.data.people
        )
        card = ModelCard(net=self.state.net.config, training=facts, people=people, consents=self.consents)
        if self.world.is_first:
            save_model(self.folder, card, self.in_use())
            save_state(self.folder, self.state)
        return card

    def faces_per_s(self) -> float:
        """Faces of all people through a full step, per second of stepping."""
        counters = self.state.counters
        return counters.step * sum(self.shares) * self.world.size / counters.stepping_s if counters.stepping_s else 0.0
