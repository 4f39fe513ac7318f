"""``model.toml`` and ``model.safetensors``: a trained intracoder and what is said of it, in plain files."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tomli_w
import torch

from intracoder.config import from_mapping, read_toml
from intracoder.errors import ConfigError, WeightsError
from intracoder.nets.device import Compute
from intracoder.nets.intracoder import Intracoder, IntracoderConfig
from intracoder.nets.tensor_file import Layout, read_tensors

CARD_FILE = "model.toml"
WEIGHTS_FILE = "model.safetensors"
FORMAT = 1
INTENDED_USE = (
    "Replacing the target's face with the source's in footage that the consent below covers. Outputs are labelled, "
    "marked and signed. Not for deceiving anybody, for sexual content, or for people who did not agree."
)
LIMITS = (
    "It draws the people named here and nobody else.",
    "It fails where a pose, an expression or a light is far from what both people's crops show.",
    "Hair, glasses that cross the face, hands and anything else in front of it stay the target's or are drawn badly.",
    "Its losses measure redrawing of known faces; how good a swap is only `intracoder evaluate` measures.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonCard:
    """One decoder."""

    name: str
    """Who it draws."""
    frames: int
    """Crops it was trained on."""
    held_out: int
    """Crops it was measured on."""
    added_steps: int | None = None
    """Steps of its own, where it was added to a trained model; None for those whom the whole model was trained with."""
    added_loss: float | None = None
    """Loss on its held-out crops after these; None where none were held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentCard:
    """Why a person of the model may be used: what one consent record says, and the record itself."""

    person: str
    """PersonCard.name of whom it is about."""
    basis: str
    """Why the face may be used, such as synthetic or written-consent."""
    scope: tuple[str, ...]
    """Uses that it covers."""
    expires: str | None = None
    """Last day on which it holds."""
    record_sha256: str
    """What manifests, the ledger and the deny list name the record by."""
    record: str
    """The signed record as TOML, without its list of files; every use of the model checks it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """How the weights came about."""

    package_version: str
    """Of this program."""
    steps: int
    """Taken so far."""
    seconds: float
    """Spent so far."""
    batch: int
    """Faces of each person in a step."""
    lr: float
    """Peak learning rate."""
    seed: int
    """Of weights and augmentation."""
    device: str
    """Where it ran."""
    precision: str
    """Number format of the multiplications."""
    faces_per_s: float
    """Through a full step, all people counted."""
    train_loss: float
    """Running mean of the weighted sum at the end."""
    validation_loss: float | None = None
    """The same on held-out frames without augmentation; None where none were held out."""
    from_base: bool = False
    """Started from the packaged base weights; cards written before this was said read as not."""
    parameters: int | None = None
    """Trained numbers of the network, all decoders counted."""
    macs_per_face: int | None = None
    """Multiply-adds of one face through encoder and one decoder, forward."""
    peak_memory_mib: float | None = None
    """Most memory in the last sitting, MiB: of tensors on a GPU, else of the (first) process; None on Windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """All of ``model.toml``."""

    net: IntracoderConfig
    """The network's layers."""
    training: TrainingFacts
    """How it was made."""
    people: tuple[PersonCard, ...]
    """In the order of the decoders; the first is the source of the training."""
    consents: tuple[ConsentCard, ...] = ()
    """Records that the source, and whoever was added later, were used under, of all sittings."""
    intended_use: str = INTENDED_USE
    """What the model is for."""
    limits: tuple[str, ...] = LIMITS
    """What it can't do."""

    def index_of(self, name: str) -> int:
        """Decoder of the person called ``name``; WeightsError where there is none."""
        names = [person.name for person in self.people]
        if name not in names:
            raise WeightsError(f"model: expected a decoder for {name!r}, it has {', '.join(names)}")
        return names.index(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CardFile:
    """The file without its lists of people and consents."""

    format: int
    intended_use: str = INTENDED_USE
    limits: tuple[str, ...] = LIMITS
    net: IntracoderConfig = field(default_factory=IntracoderConfig)
    training: TrainingFacts


def card_to_toml(card: ModelCard) -> str:
    """The file's text; values that are None are left out."""

    def table(record: object) -> dict[str, object]:
        fields = dataclasses.asdict(record)  # type: ignore[call-overload]
        return {key: value for key, value in fields.items() if value is not None}

    return tomli_w.dumps(
        {
            "format": FORMAT,
            "intended_use": card.intended_use,
            "limits": card.limits,
            "net": table(card.net),
            "training": table(card.training),
            "people": [table(person) for person in card.people],
            "consents": [table(consent) for consent in card.consents],
        },
        multiline_strings=True,
    )


def read_card(folder: Path) -> ModelCard:
    """Reads ``model.toml``; WeightsError in one line for anything but a card of this format."""
    path = folder / CARD_FILE
    try:
        data = read_toml(path, what="a model card")
    except ConfigError as error:
        raise WeightsError(f"{error}; train the model first") from error
    people, consents = data.pop("people", None), data.pop("consents", [])
    if data.get("format") != FORMAT:
        raise WeightsError(f"{path}: expected format {FORMAT}, got {data.get('format')!r}; train the model again")
    for name, tables in (("people", people), ("consents", consents)):
        if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
            raise WeightsError(f"{path}: expected a list of {name}, got {tables!r:.200}")
    try:
        file = from_mapping(_CardFile, data, where=str(path))
        cards = tuple(from_mapping(PersonCard, person, where=f"{path}: people") for person in people)
        records = tuple(from_mapping(ConsentCard, consent, where=f"{path}: consents") for consent in consents)
    except (ConfigError, TypeError) as error:
        raise WeightsError(f"{path}: not a model card of this program: {error}; train the model again") from error
    if len({card.name for card in cards}) != file.net.people:
        raise WeightsError(f"{path}: expected {file.net.people} people of different names, got {len(cards)}")
    return ModelCard(
        net=file.net,
        training=file.training,
        people=cards,
        consents=records,
        intended_use=file.intended_use,
        limits=file.limits,
    )


def weights_layout(net: Intracoder) -> dict[str, Layout]:
    """What a weights file of this network must hold."""
    return {name: Layout("F32", tuple(value.shape)) for name, value in net.state_dict().items()}


def read_model(folder: Path, compute: Compute) -> tuple[Intracoder, ModelCard]:
    """The network with its weights, in eval mode on the device; WeightsError where a file is missing or doesn't fit."""
    card = read_card(folder)
    with torch.device("meta"):  # a card may claim any size; only a file that really has it takes memory
        net = Intracoder(card.net)
    tensors = read_tensors(folder / WEIGHTS_FILE, weights_layout(net))
    net.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()}, assign=True)
    net.to(compute.device, memory_format=compute.layout)  # type: ignore[call-overload]
    return net.eval().requires_grad_(requires_grad=False), card


def model_sha256(folder: Path) -> str:
    """Fingerprint of the weights in use."""
    digest = hashlib.sha256()
    with (folder / WEIGHTS_FILE).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
