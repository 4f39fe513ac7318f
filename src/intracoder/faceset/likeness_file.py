"""``references.safetensors``: the likenesses that a model was trained on, beside its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from intracoder.errors import FaceSetError, WeightsError
from intracoder.faceset.likeness import Likeness, RestingHead, make_likeness
from intracoder.faceset.person import PersonFrames
from intracoder.media.atomic import atomic_path
from intracoder.nets.tensor_file import Layout, read_tensors
from intracoder.ops.expression import ShapeBasis

LIKENESS_FILE = "references.safetensors"
CROP_PX = 256
_BASIS = {"basis.directions": Layout("F64", (52, 478, 3))}
_PERSON = {
    "crops": Layout("U8", (None, CROP_PX, CROP_PX, 3)),
    "points": Layout("F32", (None, 478, 3)),
    "blendshapes": Layout("F32", (None, 52)),
    "frame_indices": Layout("I64", (None,)),
    "clip_indices": Layout("I64", (None,)),
    "rest": Layout("F64", (478, 3)),
}


def save_likenesses(folder: Path, likenesses: Sequence[Likeness], basis: ShapeBasis) -> None:
    """Writes the file, whole or not at all; MediaError where the folder can't be written."""
    arrays = {"basis.directions": basis.directions}
    for index, likeness in enumerate(likenesses):
        frames = likeness.frames
        values = (
            frames.crops,
            frames.points,
            frames.blendshapes,
            frames.frame_indices,
            frames.clip_indices,
            likeness.rest.shape,
        )
        arrays |= {f"{index}.{key}": value for key, value in zip(_PERSON, values, strict=True)}
    with atomic_path(folder / LIKENESS_FILE) as path:
        path.write_bytes(save({name: np.ascontiguousarray(value) for name, value in arrays.items()}))


def load_likenesses(folder: Path, names: Sequence[str]) -> tuple[tuple[Likeness, ...], ShapeBasis]:
    """Likenesses in the order of ``names`` (of the model card); WeightsError where the file is not one of them."""
    path = folder / LIKENESS_FILE
    layout = dict(_BASIS)
    for index in range(len(names)):
        layout |= {f"{index}.{key}": wanted for key, wanted in _PERSON.items()}
    arrays = read_tensors(path, layout)
    basis = ShapeBasis(directions=arrays["basis.directions"])
    try:
        likenesses = tuple(_likeness(arrays, index, name, basis) for index, name in enumerate(names))
    except FaceSetError as error:
        raise WeightsError(f"{path}: {error}") from error
    return likenesses, basis


def _likeness(arrays: dict[str, np.ndarray], index: int, name: str, basis: ShapeBasis) -> Likeness:
    frames = PersonFrames(
        name=name,
        crops=arrays[f"{index}.crops"],
        points=arrays[f"{index}.points"],
        blendshapes=arrays[f"{index}.blendshapes"],
        frame_indices=arrays[f"{index}.frame_indices"],
        clip_indices=arrays[f"{index}.clip_indices"],
    )
    return make_likeness(frames, RestingHead(shape=arrays[f"{index}.rest"], basis=basis))
