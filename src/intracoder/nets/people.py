"""People in a network: one taken out, one put in. What is not a person's own is shared and stays bit for bit.

The networks made here are for use, not for training: their tensors lie in the same memory as those they came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from intracoder.config import require
from intracoder.nets.intracoder import Intracoder

DECODERS = "decoders."
"""Begins the names of people's decoders: ``decoders.PERSON.LAYER``."""
FILM = "_film."
"""In the names of tensors that hold a row for each person."""


def is_own(name: str) -> bool:
    """Whether the tensor of this name belongs to people; all others are shared."""
    return name.startswith(DECODERS) or FILM in name


def one_person(net: Intracoder, person: int) -> Intracoder:
    """A network that draws nobody but person number ``person``; ConfigError where there is no such number."""
    require(0 <= person < net.config.people, "person", f"0..{net.config.people - 1}", person)
    tensors = {}
    for name, value in net.state_dict().items():
        if FILM in name:
            tensors[name] = value[person : person + 1]
        elif not name.startswith(DECODERS):
            tensors[name] = value
        elif name.startswith(f"{DECODERS}{person}."):
            tensors[f"{DECODERS}0.{_layer(name)}"] = value
    return _filled(net, 1, tensors)


def joined(first: Intracoder, second: Intracoder) -> Intracoder:
    """A network of the people of ``first``, then those of ``second``; what is shared is first's.

    Args:
        first: Of any number of people.
        second: Of the same layers. Its people are drawn as before where its shared tensors are those of ``first``.

    Raises:
        ConfigError: The layers differ, or there would be too many people.
    """
    is_like = replace(second.config, people=first.config.people) == first.config
    require(is_like, "net", f"the layers of {first.config}", second.config)
    before = first.config.people
    tensors = dict(first.state_dict())
    for name, value in second.state_dict().items():
        if FILM in name:
            tensors[name] = torch.cat([tensors[name], value])
        elif name.startswith(DECODERS):
            person = int(name.split(".", 2)[1])
            tensors[f"{DECODERS}{before + person}.{_layer(name)}"] = value
    return _filled(first, before + second.config.people, tensors)


def _layer(name: str) -> str:
    """``decoders.3.last.bias`` to ``last.bias``."""
    return name.split(".", 2)[2]


def _filled(like: Intracoder, people: int, tensors: Mapping[str, Tensor]) -> Intracoder:
    """A network in eval mode that draws ``people`` people and is otherwise like another."""
    config = replace(like.config, people=people)
    with torch.device("meta"):
        net = Intracoder(config)
    net.load_state_dict(dict(tensors), assign=True)
    return net.eval().requires_grad_(requires_grad=False)
