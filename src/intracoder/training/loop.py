"""Training the intracoder: a plain loop that ends on time, can be stopped and goes on exactly where it was."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch.optim import AdamW

import intracoder
from intracoder.config import TrainConfig
from intracoder.errors import TrainingError
from intracoder.faceset.likeness_file import save_likenesses
from intracoder.faceset.person import PersonFrames
from intracoder.nets.base import Start, new_start
from intracoder.nets.device import Compute, choose_compute, step_generator
from intracoder.nets.intracoder import Intracoder, IntracoderConfig, preset
from intracoder.nets.losses import LossWeights, intracoder_losses
from intracoder.nets.model_card import CARD_FILE, ConsentCard, ModelCard, PersonCard, TrainingFacts, read_card
from intracoder.protocols import Progress, silent
from intracoder.records import Image
from intracoder.training.augment import Augmentation, augmented, centered
from intracoder.training.checkpoint import Counters, TrainingState, has_state, load_state, save_model, save_state
from intracoder.training.dataset import TrainingData, build_training_data
from intracoder.training.interrupts import interrupts
from intracoder.training.preview import write_preview
from intracoder.training.schedule import (
    average_decay,
    budget_of,
    finishing_share,
    has_stalled,
    rate_factor,
    triplet_share,
    warp_strength,
)

CHECK_STEPS = 20
"""Steps between looks at the loss: for the display, and for numbers that are none."""
SAVE_S = 120.0
VALIDATION_FRAMES = 16
GRADIENT_NORM = 1.0
WARM_RATE = 0.2
"""Peak learning rate from base weights / from nothing."""
WARM_LIGHT = 2.5
"""Strength of the light changes from base weights: they take over light already, and shall not forget it."""
LEARNED_SHARE = 0.5
"""Of the weights in use that the training has learned; the rest is the base's."""
IMPROVEMENT = 0.998
"""A held-out loss counts as better below this share of the best so far."""
OVERFIT = 1.02
"""A held-out loss above this share of the best has risen."""
PREVIEW_FILE = "preview.png"

log = logging.getLogger(__name__)


class TrainingInterruptedError(TrainingError):
    """The user stopped a training; everything is saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """A finished training."""

    folder: Path
    card: ModelCard


def network_for(config: TrainConfig, people: int, compute: Compute) -> IntracoderConfig:
    """The preset asked for; auto takes S on a CPU and M on a GPU."""
    size = config.size
    if size == "auto":
        size = "S" if compute.device.type == "cpu" else "M"
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

    Args:
        people: Face sets; the first is the source.
        folder: Of the model; made where it is missing. A preview is rewritten in it.
        config: Budget, size and rates.
        net_config: Layers, instead of a preset's.
        consents: What the source is used under; kept in the card beside those of earlier sittings.
        mark_preview: Puts the invisible mark into preview pictures.
        progress: Told of preparation and of steps.

    Raises:
        TrainingInterruptedError: On Ctrl-C, after everything was saved.
        TrainingError: The folder holds another training, or the loss was lost twice.
    """
    compute = choose_compute(config.device, config.precision, config.threads)
    net_config = net_config or network_for(config, len(people), compute)
    folder.mkdir(parents=True, exist_ok=True)
    names = [person.name for person in people]
    if has_state(folder) or (folder / CARD_FILE).is_file():  # a person may have been added to a model without a state
        consents = _with_earlier(_check_same(folder, net_config, names).consents, consents)
    data = build_training_data(people, net_config, threads=compute.threads, progress=progress)
    start = new_start(net_config, seed=config.seed, warm=config.warm_start)
    trainer = Trainer(
        data, folder, config, start, compute, progress, consents=tuple(consents), mark_preview=mark_preview
    )
    if has_state(folder):
        trainer.resume()
    else:
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
        self.data = data.to(compute.device)
        self.consents = consents
        self.mark_preview = mark_preview
        self.folder = folder
        self.config = config
        self.compute = compute
        self.progress = progress
        self.budget = budget_of(config)
        net, is_warm = start
        net.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.base = {name: value.clone() for name, value in net.state_dict().items()} if is_warm else None
        self.lr = config.lr * (WARM_RATE if is_warm else 1.0)
        self.strengths = Augmentation(light=WARM_LIGHT, reference_light=WARM_LIGHT) if is_warm else Augmentation()
        average = copy.deepcopy(net).eval().requires_grad_(requires_grad=False)
        learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
        optimizer = AdamW(learned, self.lr, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
        self.state = TrainingState(net=net, average=average, optimizer=optimizer, counters=Counters())
        self.fabric = _quiet_fabric(compute)
        self.wrapped, self.wrapped_optimizer = self.fabric.setup(net, optimizer)
        self.shares = (config.batch,) * len(data.people)
        self.running = torch.zeros((), device=compute.device)
        self.good = copy.deepcopy(average.state_dict())
        self.validation_loss: float | None = None

    def resume(self) -> None:
        """Goes on from what the folder holds."""
        load_state(self.folder, self.state)
        self.remember()
        self.budget = budget_of(self.config, self.state.counters.budget_share)

    def run(self) -> TrainingResult:
        """Steps until the budget is spent; saves; raises TrainingInterruptedError when asked to stop."""
        counters = self.state.counters
        self.running.fill_(counters.train_loss)
        sitting = time.monotonic() - counters.elapsed_s
        next_preview, next_save = counters.elapsed_s, counters.elapsed_s + SAVE_S
        with interrupts() as interrupted:
            while self.budget.progress(counters.step, counters.elapsed_s) < 1 and not interrupted.is_set():
                started = time.monotonic()
                self.step()
                counters.stepping_s += time.monotonic() - started
                if counters.step % CHECK_STEPS == 0:
                    self.check()
                counters.elapsed_s = time.monotonic() - sitting
                self.report()
                if counters.elapsed_s >= next_preview:
                    self.show()
                    self.judge()
                    next_preview = time.monotonic() - sitting + self.config.preview_s
                if counters.elapsed_s >= next_save:
                    self.save()
                    next_save = time.monotonic() - sitting + SAVE_S
        self.check()
        self.show()
        card = self.save()
        if interrupted.is_set():
            raise TrainingInterruptedError(
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
        batch = augmented(
            samples,
            generator,
            encoder_px=net.encoder_px,
            output_px=net.output_px,
            warp=warp_strength(done),
            strengths=self.strengths,
        )
        for group in state.optimizer.param_groups:
            group["lr"] = self.lr * rate_factor(counters.step, done) * counters.rate_scale
        predicted = self.wrapped(batch.inputs, self.shares, batch.planes)
        terms = intracoder_losses(predicted, batch.expected, batch.mask, batch.weight, step_weights(counters.step))
        loss = terms.total()
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
        found = float(self.running)
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
        log.warning("loss is not a number at step %d: back to the last good weights, rate halved", counters.step)
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

    def report(self) -> None:
        """Tells progress: rate, losses, time left."""
        counters = self.state.counters
        left = self.budget.left_s(counters.step, counters.elapsed_s)
        held = "" if self.validation_loss is None else f", held-out {self.validation_loss:.4f}"
        note = f"{self.faces_per_s():.0f} faces/s, loss {counters.train_loss:.4f}{held}"
        if left is not None:
            note += f", {left:.0f} s left"
        if self.budget.steps is not None:
            self.progress("train", float(counters.step), float(self.budget.steps), note)
        else:
            self.progress("train", counters.elapsed_s, self.budget.seconds, note)

    def show(self) -> None:
        """Held-out loss and a new preview."""
        net = self.in_use()
        self.validation_loss = validation_loss(net, self.data, self.compute)
        likenesses = [person.likeness for person in self.data.people]
        write_preview(net, likenesses, self.compute, self.folder / PREVIEW_FILE, self.mark_preview)

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
            log.warning(
                "held-out loss %s at %.4f, best %.4f at %.0f s: finishing in %.0f s; more time would not help",
                "rises (it learns these pictures by heart)" if has_risen else "stands still",
                loss,
                counters.best_loss,
                counters.best_s,
                self.budget.left_s(counters.step, counters.elapsed_s) or 0.0,
            )

    def save(self) -> ModelCard:
        """Weights, card and state."""
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
        )
        people = tuple(
            PersonCard(name=p.likeness.frames.name, frames=len(p) - len(p.held_out), held_out=len(p.held_out))
            for p in self.data.people
        )
        card = ModelCard(net=self.state.net.config, training=facts, people=people, consents=self.consents)
        save_model(self.folder, card, self.in_use())
        save_state(self.folder, self.state)
        return card

    def faces_per_s(self) -> float:
        """Faces of all people through a full step, per second of stepping."""
        counters = self.state.counters
        return counters.step * sum(self.shares) / counters.stepping_s if counters.stepping_s else 0.0


def step_weights(step: int) -> LossWeights:
    """SSIM costs as much as all other terms, so it is taken at every second step with double weight."""
    weights = LossWeights()
    return replace(weights, ssim=2 * weights.ssim if step % 2 == 0 else 0.0)


@torch.inference_mode()
def validation_loss(net: Intracoder, data: TrainingData, compute: Compute) -> float | None:
    """Weighted sum on held-out frames, unchanged, with their nearest reference; None where there are none."""
    held = data.held_out(VALIDATION_FRAMES)
    if held is None:
        return None
    samples, shares = held
    batch = centered(samples, encoder_px=net.config.encoder_px, output_px=net.config.output_px)
    with compute.autocast():
        predicted = net(batch.inputs, shares, batch.planes)
    return float(intracoder_losses(predicted, batch.expected, batch.mask, batch.weight).total())


def _with_earlier(earlier: Sequence[ConsentCard], new: Sequence[ConsentCard]) -> tuple[ConsentCard, ...]:
    """All records, each once: what a model learned from footage withdrawn later can't be shed by training on."""
    known = {consent.record_sha256 for consent in earlier}
    return (*earlier, *(consent for consent in new if consent.record_sha256 not in known))


def _check_same(folder: Path, net_config: IntracoderConfig, names: Sequence[str]) -> ModelCard:
    """The card of the folder's model; TrainingError unless it has these layers and people."""
    card = read_card(folder)
    found = [person.name for person in card.people]
    if card.net != net_config or found != list(names):
        raise TrainingError(
            f"{folder}: holds a training of {', '.join(found)} at {card.net.output_px} px, expected one of "
            f"{', '.join(names)} at {net_config.output_px} px; choose another folder or remove this one"
        )
    return card


def _quiet_fabric(compute: Compute) -> Fabric:
    """Fabric on one device, without its lines about itself."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric(accelerator=compute.device.type, devices=1, precision=compute.precision)
