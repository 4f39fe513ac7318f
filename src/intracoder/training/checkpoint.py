"""A model folder: weights in use, card, likenesses, and the state that a training goes on from. All written whole.

model.toml              the card
model.safetensors       averaged weights, the ones in use
references.safetensors  likenesses: real frames, neutral shapes, expression basis
state.safetensors       raw weights, optimiser and counters
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor
from torch.optim import AdamW

from intracoder.errors import TrainingError
from intracoder.media.atomic import atomic_path, sweep_leftovers
from intracoder.nets.intracoder import Intracoder, IntracoderConfig
from intracoder.nets.model_card import (
    CARD_FILE,
    WEIGHTS_FILE,
    ConsentCard,
    ModelCard,
    card_to_toml,
    read_card,
    weights_layout,
)
from intracoder.nets.tensor_file import Layout, read_tensors

STATE_FILE = "state.safetensors"


@dataclass(slots=True, kw_only=True)
class Counters:
    """Numbers that change as a training goes on."""

    step: int = 0
    """Steps taken."""
    elapsed_s: float = 0.0
    """Seconds of the budget spent, in all sittings."""
    stepping_s: float = 0.0
    """Seconds spent in steps, which the rate is measured by."""
    rate_scale: float = 1.0
    """Halved when training was set back."""
    train_loss: float = 0.0
    """Running mean of the weighted sum."""

    best_loss: float = float(np.finfo(np.float64).max)
    """Lowest held-out loss."""
    best_s: float = 0.0
    """When it was measured, seconds of the budget."""
    budget_share: float = 1.0
    """Of the budget that is to be spent; less than 1 where the training ends early."""

    def as_row(self) -> np.ndarray:
        """All of it as one float64 row."""
        return np.array(dataclasses.astuple(self), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingState:
    """Everything that the next step depends on besides the data and the config."""

    net: Intracoder
    average: Intracoder
    """Same layers; the moving average of the weights."""
    optimizer: AdamW
    counters: Counters


def save_model(folder: Path, card: ModelCard, average: Intracoder) -> None:
    """Writes weights and card; MediaError where the folder can't be written."""
    _write_tensors(folder / WEIGHTS_FILE, _arrays(average.state_dict()))
    with atomic_path(folder / CARD_FILE) as path:
        path.write_text(card_to_toml(card), encoding="utf-8")


def save_state(folder: Path, state: TrainingState) -> None:
    """Writes what ``load_state`` needs to go on exactly."""
    moments = state.optimizer.state
    first = next(iter(state.net.parameters()))
    arrays = {"counters": state.counters.as_row(), "optimizer_steps": moments[first]["step"].cpu().numpy()[None]}
    arrays |= _arrays(state.net.state_dict(), "net.")
    arrays |= _arrays(state.average.state_dict(), "average.")
    for name, parameter in state.net.named_parameters():
        arrays |= _arrays({key: moments[parameter][key] for key in ("exp_avg", "exp_avg_sq")}, f"{name}.")
    sweep_leftovers(folder)
    _write_tensors(folder / STATE_FILE, arrays)


def has_state(folder: Path) -> bool:
    """Whether a training can go on in this folder."""
    return (folder / STATE_FILE).is_file()


def check_same(folder: Path, net_config: IntracoderConfig, names: Sequence[str]) -> ModelCard:
    """The card of the folder's model; TrainingError unless it has these layers and people."""
    card = read_card(folder)
    found = [person.name for person in card.people]
    if card.net != net_config or found != list(names):
        raise TrainingError(
            f"{folder}: holds a training of {', '.join(found)} at {card.net.output_px} px, expected one of "
            f"{', '.join(names)} at {net_config.output_px} px; choose another folder or remove this one"
        )
    return card


def with_earlier(earlier: Sequence[ConsentCard], new: Sequence[ConsentCard]) -> tuple[ConsentCard, ...]:
    """All records, each once: what a model learned from footage withdrawn later can't be shed by training on."""
    known = {consent.record_sha256 for consent in earlier}
    return (*earlier, *(consent for consent in new if consent.record_sha256 not in known))


def load_state(folder: Path, state: TrainingState) -> None:
    """Fills ``state`` in place from ``save_state``'s file; WeightsError where it doesn't fit the network."""
    weights = weights_layout(state.net)
    layout = {"counters": Layout("F64", (len(dataclasses.fields(Counters)),)), "optimizer_steps": Layout("F32", (1,))}
    layout |= {f"{prefix}.{name}": shape for prefix in ("net", "average") for name, shape in weights.items()}
    for name, _ in state.net.named_parameters():
        layout |= {f"{name}.{key}": weights[name] for key in ("exp_avg", "exp_avg_sq")}
    arrays = read_tensors(folder / STATE_FILE, layout)
    for prefix, net in (("net", state.net), ("average", state.average)):
        net.load_state_dict({name: torch.from_numpy(arrays[f"{prefix}.{name}"]) for name in weights})
    counters = arrays["counters"].tolist()
    if counters[0] < 1 or min(counters) < 0:
        raise TrainingError(f"{folder / STATE_FILE}: expected counters of a training, got {counters}; remove the file")
    _fill_optimizer(state, arrays)
    for field, value in zip(dataclasses.fields(Counters), counters, strict=True):
        setattr(state.counters, field.name, int(value) if field.name == "step" else value)


def _fill_optimizer(state: TrainingState, arrays: Mapping[str, np.ndarray]) -> None:
    packed = state.optimizer.state_dict()
    packed["state"] = {
        index: {
            "step": torch.from_numpy(arrays["optimizer_steps"])[0].clone(),
            "exp_avg": _laid_out_as(parameter, arrays[f"{name}.exp_avg"]),
            "exp_avg_sq": _laid_out_as(parameter, arrays[f"{name}.exp_avg_sq"]),
        }
        for index, (name, parameter) in enumerate(state.net.named_parameters())
    }
    state.optimizer.load_state_dict(packed)


def _laid_out_as(parameter: Tensor, values: np.ndarray) -> Tensor:
    """The values in the parameter's memory format: the fused optimiser pairs numbers by their place in memory."""
    return torch.empty_like(parameter, requires_grad=False).copy_(torch.from_numpy(values))


def _arrays(tensors: Mapping[str, Tensor], prefix: str = "") -> dict[str, np.ndarray]:
    return {prefix + name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in tensors.items()}


def _write_tensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(dict(arrays)))
