"""Adding a person to a trained model: a decoder more, and nothing of the others changes.

Encoder, planes, trunk and the others' decoders are kept bit for bit; the new person's decoder and FiLM rows are all
that learns. They learn in a network of that one person, so that nothing else can, and are joined to the model then.
The expression basis stays the model's, which the others' shapes are measured by; the colour and resolution network
stays, too: it knows the intracoder's colours and size, not people.

Source: one encoder with a decoder for each of many people, the "comb": Naruniec et al., "High-Resolution Neural Face
Swapping for Visual Effects", Computer Graphics Forum 39(4), 2020.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from intracoder.config import TrainConfig
from intracoder.errors import TrainingError, TrainingStoppedError
from intracoder.faceset.likeness import Likeness
from intracoder.faceset.likeness_file import load_likenesses, save_likenesses
from intracoder.faceset.person import PersonFrames
from intracoder.nets.base import Start, new_start
from intracoder.nets.device import Compute, choose_compute
from intracoder.nets.intracoder import Intracoder
from intracoder.nets.model_card import ConsentCard, ModelCard, PersonCard, read_model
from intracoder.nets.people import is_own, joined, one_person
from intracoder.protocols import Progress, silent
from intracoder.records import Image
from intracoder.training.checkpoint import save_model
from intracoder.training.dataset import TrainingData, build_added_data
from intracoder.training.loop import (
    PREVIEW_FILE,
    Trainer,
    TrainingResult,
)
from intracoder.training.preview import write_preview
from intracoder.training.validation import validation_loss


def add_person(
    model: Path,
    person: PersonFrames,
    folder: Path,
    config: TrainConfig,
    *,
    consents: Sequence[ConsentCard] = (),
    kept_files: Sequence[str] = (),
    mark_preview: Callable[[Image], Image] = lambda image: image,
    progress: Progress = silent,
) -> TrainingResult:
    """Writes a model of one person more; ``model`` is only read.

    It takes a minute, so there is no going on in the middle: one that is stopped leaves nothing behind, and starts
    anew when asked again. The new folder appears whole or not at all.

    Args:
        model: Folder of a trained model.
        person: Face set of the new person, named as nobody of the model is.
        folder: Of the new model; must not exist.
        config: Budget and rates; size and planes are the model's.
        consents: What the new person is used under; the card keeps those of the others, too.
        kept_files: Files of ``model``, named from there, that the new model has as they are.
        mark_preview: Puts the invisible mark into the preview picture.
        progress: Told of preparation and of steps.

    Raises:
        TrainingError: The name or the folder is taken, or the loss was lost twice.
        TrainingStoppedError: On Ctrl-C.
        WeightsError: ``model`` is no folder of a trained model.
        ConfigError: It draws as many people as a model can.
        OSError: The place of ``folder`` can't be written.
    """
    compute = choose_compute(config.device, config.precision, config.threads)
    net, card = read_model(model, compute)
    names = [known.name for known in card.people]
    if person.name in names:
        raise TrainingError(
            f"{model}: draws {', '.join(names)} already, expected another name than {person.name!r} for a new person; "
            "extract the face set with another --person"
        )
    if folder.exists():
        raise TrainingError(f"{folder}: expected a new folder for the model with {person.name}; choose another")
    replace(net.config, people=len(names) + 1)  # refuses one too many before any work
    others, basis = load_likenesses(model, names)
    data = build_added_data(person, others, basis, net.config, threads=compute.threads, progress=progress)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        made = Path(beside) / folder.name
        made.mkdir()
        known, agreed = _Known(net, card), tuple(consents)
        adder = _Adder(known, data, made, config, compute, progress, consents=agreed, mark_preview=mark_preview)
        try:
            grown = adder.run().card
        except TrainingStoppedError as stopped:
            raise TrainingStoppedError(
                f"{folder}: adding {person.name} was stopped and nothing written; {model} is as it was; "
                "give the same command again to start anew"
            ) from stopped
        (added,) = adder.data.people
        save_likenesses(made, [*others, added.likeness], basis)
        adder.draw_on(others[-1])
        for name in kept_files:
            (made / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(model / name, made / name)
        made.rename(folder)
    return TrainingResult(folder=folder, card=grown)


def newcomer(net: Intracoder, config: TrainConfig) -> Start:
    """A network of one person whose own layers are new and learn; what it shares with ``net`` is net's, and is held.

    Its own layers start as those of the base weights, which draw anybody, where these fit and are wanted; else as the
    mean of all people's. A copy of the decoder that happens to draw the new person best comes out the same.
    """
    new, is_warm = new_start(replace(net.config, people=1), seed=config.seed, warm=config.warm_start)
    people = [one_person(net, person).state_dict() for person in range(net.config.people)]
    for name, value in new.state_dict().items():
        if not is_own(name):
            value.copy_(people[0][name])
        elif not is_warm:
            value.copy_(torch.stack([known[name] for known in people]).mean(dim=0))
    for name, parameter in new.named_parameters():
        parameter.requires_grad_(is_own(name))
    return Start(new, is_warm)


class _Known(NamedTuple):
    """The model that a person is added to."""

    net: Intracoder
    card: ModelCard


class _Adder(Trainer):
    """A training of one person's own layers, in a network of that person alone."""

    def __init__(
        self,
        known: _Known,
        data: TrainingData,
        folder: Path,
        config: TrainConfig,
        compute: Compute,
        progress: Progress,
        *,
        consents: tuple[ConsentCard, ...],
        mark_preview: Callable[[Image], Image],
    ) -> None:
        start = newcomer(known.net, config)
        super().__init__(data, folder, config, start, compute, progress, consents=consents, mark_preview=mark_preview)
        self.known = known

    def look(self) -> float | None:
        """Held-out loss of the new person; the picture is drawn when it is done."""
        return validation_loss(self.in_use(), self.data, self.compute)

    def save(self) -> ModelCard:
        """Weights and card of everybody; there is no state to go on from."""
        (person,) = self.data.people
        added = PersonCard(
            name=person.likeness.frames.name,
            frames=len(person) - len(person.held_out),
            held_out=len(person.held_out),
            added_steps=self.state.counters.step,
            added_loss=self.validation_loss,
        )
        net, card = joined(self.known.net, self.in_use()), self.known.card
        new_consents = (consent for consent in self.consents if consent not in card.consents)
        card = replace(card, net=net.config, people=(*card.people, added), consents=(*card.consents, *new_consents))
        save_model(self.folder, card, net)
        return card

    def draw_on(self, target: Likeness) -> None:
        """Writes the preview picture: the new person's face on the head of one of the others."""
        (person,) = self.data.people
        at = [known.name for known in self.known.card.people].index(target.frames.name)
        pair = joined(self.in_use(), one_person(self.known.net, at))
        write_preview(pair, [person.likeness, target], self.compute, self.folder / PREVIEW_FILE, self.mark_preview)
