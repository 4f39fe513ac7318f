"""Base weights: what is common to all faces, learned beforehand from people who are nobody or who agreed.

The encoder then already knows pose, expression and light, and every decoder starts as one that draws anybody from a
reference; a training only has to fit two people. docs/base-model.md says what they were made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load
from torch import Tensor

from intracoder.errors import WeightsError
from intracoder.nets.intracoder import Intracoder, IntracoderConfig, preset
from intracoder.nets.people import DECODERS, FILM
from intracoder.nets.tensor_file import packed_in_halves
from intracoder.nets.weights import load_bytes

BASE = "intracoder_base"


class Start(NamedTuple):
    """Where a training starts."""

    net: Intracoder
    is_warm: bool
    """Whether it starts from base weights."""


def new_start(config: IntracoderConfig, *, seed: int, warm: bool) -> Start:
    """A network with random weights of ``seed``, or with base weights where they are asked for (``warm``) and fit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Intracoder(config)
    return Start(net, warm and warm_start(net))


def base_config() -> IntracoderConfig:
    """The network that the base weights are of: size S with one decoder that draws anybody."""
    return preset("S", people=1)


def warm_start(net: Intracoder, weights: Mapping[str, Tensor] | None = None) -> bool:
    """Fills a network with base weights; False, and nothing changed, where its layers are others.

    Args:
        net: Of any number of people: each gets a copy of the decoder that draws anybody.
        weights: Of a network with ``base_config``; the packaged ones where left out.

    Raises:
        WeightsError: The packaged file is damaged.
    """
    if replace(net.config, people=1) != base_config():
        return False
    known = read_base() if weights is None else weights
    with torch.no_grad():
        for name, value in net.state_dict().items():
            # FiLM rows are people; a person's own decoder is number 0 of the base
            own = f"{DECODERS}0.{name.split('.', 2)[2]}" if name.startswith(DECODERS) else name
            value.copy_(known[own].expand_as(value) if FILM in name else known[own])
    return True


def read_base() -> dict[str, Tensor]:
    """The packaged base weights, fp32.

    Raises:
        WeightsError: The file is damaged, or not of ``base_config``.
    """
    try:
        arrays = load(load_bytes(BASE))
    except SafetensorError as error:
        raise WeightsError(f"weights {BASE!r}: expected safetensors: {error}; reinstall the package") from error
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in Intracoder(base_config()).state_dict().items()}
    if {name: array.shape for name, array in arrays.items()} != expected:
        raise WeightsError(f"weights {BASE!r}: expected the tensors of size S with one decoder; reinstall the package")
    return {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}


def pack_base(net: Intracoder) -> bytes:
    """A network with ``base_config`` as the file that ships: half precision, which halves it."""
    return packed_in_halves(net)
