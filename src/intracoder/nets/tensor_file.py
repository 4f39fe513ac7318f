"""Safetensors files: read as hostile input, names, types and shapes checked before a byte of data is taken; packed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import nn

from intracoder.errors import WeightsError


class Layout(NamedTuple):
    """What a tensor must be."""

    dtype: str
    """"F32", "F64", "I64" or "U8"."""
    shape: tuple[int | None, ...]
    """None: any length, at least 1."""


def read_tensors(path: Path, layout: Mapping[str, Layout]) -> dict[str, np.ndarray]:
    """The named tensors of a file that holds exactly those.

    Raises:
        WeightsError: No such file, not safetensors, a tensor missing or not asked for, another type or shape than
            in ``layout``, or a number that isn't finite.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: expected a safetensors file, found none; train the model again")
    try:
        with safe_open(path, framework="np") as file:
            _check_names(path, set(file.keys()), set(layout))
            for name, wanted in layout.items():
                part = file.get_slice(name)
                _check_layout(path, name, Layout(str(part.get_dtype()), tuple(part.get_shape())), wanted)
            tensors = {name: file.get_tensor(name) for name in layout}
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{path}: can't be read as safetensors: {reason}; train the model again") from error
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise WeightsError(f"{path}: {name}: expected finite numbers, got NaN or infinity; train the model again")
    return tensors


def packed_in_halves(net: nn.Module) -> bytes:
    """A network's weights as a safetensors file in half precision, which halves it."""
    halves = {name: value.detach().cpu().numpy().astype(np.float16) for name, value in net.state_dict().items()}
    # safetensors writes memory as it lies, and a training's network may lie channels last
    return save({name: np.ascontiguousarray(half) for name, half in halves.items()})


def _check_names(path: Path, found: set[str], expected: set[str]) -> None:
    for problem, names in (("lacks", expected - found), ("has unknown", found - expected)):
        if names:
            some = ", ".join(sorted(names)[:3])
            raise WeightsError(
                f"{path}: {problem} {len(names)} of {len(expected)} expected tensors, such as {some}; "
                "it belongs to another model"
            )


def _check_layout(path: Path, name: str, found: Layout, wanted: Layout) -> None:
    fits = (
        found.dtype == wanted.dtype
        and len(found.shape) == len(wanted.shape)
        and all(w in (None, f) for f, w in zip(found.shape, wanted.shape, strict=True))
        and 0 not in found.shape
    )
    if not fits:
        shape = " x ".join("any" if side is None else str(side) for side in wanted.shape) or "a number"
        got = " x ".join(map(str, found.shape)) or "a number"
        raise WeightsError(f"{path}: {name}: expected {wanted.dtype} {shape}, got {found.dtype} {got}")
