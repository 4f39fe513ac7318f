"""What the network of visible faces learns from: rendered heads, and the same under random light, things and strands.

FOLDER is what the command ``synth`` makes of its suite ``visible``:

    clips/ANN_000.mp4    Ann, whose hair may hang over her face
    masks/ANN_000.mp4    where her face itself is seen, white
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

from intracoder.errors import ConfigError
from intracoder.faceset.likeness_file import CROP_PX
from intracoder.faceset.planes import MARGIN
from intracoder.media.reader import read_frames
from intracoder.nets.visible import VISIBLE_PX
from intracoder.ops.geometry import rescale_matrix, transform_points, warp_to_crop
from intracoder.ops.mask import hull_mask
from intracoder.ops.mesh import paint_geometry
from intracoder.protocols import Progress, silent
from intracoder.records import Frame, Image
from intracoder.training.performances import TEMPLATE, FaceReader

STORED_PX: Final = round(VISIBLE_PX * MARGIN)
"""Side of the stored crops: room around the network's window to turn and shift it in."""
_LEAST_HEIGHT_PX: Final = 400
"""Faces are found in frames of at least this height; smaller ones are enlarged."""
_TURN, _SIZE, _SHIFT = 0.6, 0.3, 0.16
"""Ranges of the random similarity, middle to middle: radians, log size, and half windows."""
_THINGS, _STRANDS = 0.3, 0.2
"""Shares of the samples that get things, and strands of hair, pasted over them."""
_LEAST_CANONICAL: Final = 30 / 255
"""Least level of a canonical coordinate in a painted face."""
_BEARDS: Final = 0.35
"""Share of the samples that get a beard."""
_GAMMA, _GAIN, _WHITE, _FIELD = 0.3, 0.35, 0.15, 0.35
"""Deviations, in logs, of gamma, exposure, white balance and a smooth field of light."""
_NOISE: Final = 0.05
_SMALLEST: Final = 0.25
"""Least size that half of a batch is shrunk to, to lose resolution."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VisibleFaces:
    """Faces whose visible parts are known."""

    planes: UInt8[Tensor, "n 9 s s"]
    """Red, green, blue; the visible face; canonical x, y, z and parts; the outline, filled."""
    people: tuple[str, ...]
    """Whose face each row is."""


class VisibleBatch(NamedTuple):
    """What is given to the network, and what it is to answer."""

    given: Float[Tensor, "b 8 v v"]
    """In the order of ``nets.visible.INPUT_CHANNELS``, 0..1."""
    visible: Float[Tensor, "b 1 v v"]
    """0..1."""
    hull: Float[Tensor, "b 1 v v"]
    """The outline, filled, 0..1."""


def gather_faces(folder: Path, reader: FaceReader, progress: Progress = silent) -> VisibleFaces:
    """Reads the clips of a folder; frames in which no face is found are left out.

    Raises:
        ConfigError: The folder holds no clips, or no face is found in any.
        MediaError: A clip or its mask can't be read.
    """
    clips = sorted((folder / "clips").glob("*.mp4"))
    if not clips:
        raise ConfigError(f"{folder}: expected clips/*.mp4 as the command synth writes them, found none")
    rows: list[Tensor] = []
    people: list[str] = []
    for done, path in enumerate(clips):
        progress("gather", float(done), float(len(clips)), path.stem)
        found = [torch.from_numpy(row) for row in _clip_rows(path, folder / "masks" / path.name, reader)]
        rows += found
        people += [path.stem.rpartition("_")[0] or path.stem] * len(found)
    if not rows:
        raise ConfigError(f"{folder}: expected clips/*.mp4 that show a face, found none in {len(clips)} clips")
    progress("gather", float(len(clips)), float(len(clips)), f"{len(rows)} frames")
    return VisibleFaces(planes=torch.stack(rows), people=tuple(people))


def plain_batch(rows: UInt8[Tensor, "b 9 s s"]) -> VisibleBatch:
    """Stored rows as they are, cut to the network's window."""
    still = torch.tensor([[1 / MARGIN, 0.0, 0.0], [0.0, 1 / MARGIN, 0.0]])
    return _batch(_window(rows, still.expand(len(rows), 2, 3)))


def varied_batch(rows: UInt8[Tensor, "b 9 s s"], generator: Generator) -> VisibleBatch:
    """Stored rows turned, shifted, mirrored, partly hidden, in other light, and less sharp."""
    moves, mirrored = _similarities(len(rows), generator)
    x = _window(rows, moves)
    # someone mirrored has the canonical head's other side on each side; 0 is no face
    other_side = torch.where(x[:, 4] > 0, 1 + _LEAST_CANONICAL - x[:, 4], 0.0)
    x[:, 4] = torch.where(mirrored[:, None, None], other_side, x[:, 4])
    over = _pasted_shapes(len(rows), generator)
    bearded = _bearded(x, generator)
    colors = bearded * (1 - over) + _pasted_colors(x[:, :3], generator) * over
    visible = x[:, 3:4] * (1 - over)
    x[:, :3] = _photographed(_relit(colors, generator), generator)
    return _batch(torch.cat([x[:, :3], visible, x[:, 4:]], 1))


# ---- reading ---------------------------------------------------------------------------------------------------


def _clip_rows(clip: Path, mask: Path, reader: FaceReader) -> Iterator[UInt8[np.ndarray, "9 s s"]]:
    """The planes of every frame that shows a face."""
    for frame, shown in zip(read_frames(clip), read_frames(mask), strict=False):
        picture = _enlarged(frame.pixels, cv2.INTER_CUBIC)
        read = reader.read(Frame(pixels=picture, index=frame.index, pts=frame.pts))
        if read is None:
            continue
        to_crop = rescale_matrix(read[2], TEMPLATE, CROP_PX, TEMPLATE, STORED_PX)
        points = transform_points(read[0], to_crop)
        crop = warp_to_crop(picture, to_crop, STORED_PX)
        visible = warp_to_crop(_enlarged(shown.pixels, cv2.INTER_LINEAR), to_crop, STORED_PX)[..., :1]
        hull = np.rint(hull_mask(points, STORED_PX, STORED_PX) * 255).astype(np.uint8)[..., None]
        planes = np.concatenate([crop, visible, paint_geometry(points, STORED_PX), hull], axis=2)
        yield np.ascontiguousarray(planes.transpose(2, 0, 1))


def _enlarged(picture: Image, interpolation: int) -> UInt8[np.ndarray, "height width 3"]:
    """The picture at the least height or more."""
    zoom = max(1.0, _LEAST_HEIGHT_PX / picture.shape[0])
    if zoom == 1:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=interpolation), dtype=np.uint8)


# ---- where it lies ---------------------------------------------------------------------------------------------


def _batch(x: Float[Tensor, "b 9 v v"]) -> VisibleBatch:
    return VisibleBatch(torch.cat([x[:, :3], x[:, 4:]], 1), x[:, 3:4], x[:, 8:9])


def _window(rows: UInt8[Tensor, "b 9 s s"], moves: Float[Tensor, "b 2 3"]) -> Float[Tensor, "b 9 v v"]:
    """The network's window of stored rows, 0..1; ``moves`` take it there, in half sides about the middle."""
    grid = F.affine_grid(moves, [len(rows), 3, VISIBLE_PX, VISIBLE_PX], align_corners=False)
    return F.grid_sample(rows.float() / 255, grid, padding_mode="border", align_corners=False)


def _similarities(count: int, generator: Generator) -> tuple[Float[Tensor, "b 2 3"], Tensor]:
    """Random turns, sizes, shifts and mirrorings, and which are mirrored."""
    draws = torch.rand(4, count, generator=generator) - 0.5
    turn, size, shift = draws[0] * _TURN, torch.exp(draws[1] * _SIZE) / MARGIN, draws[2:] * _SHIFT
    mirrored = torch.rand(count, generator=generator) < 0.5
    side = torch.where(mirrored, -1.0, 1.0)
    cos, sin = size * turn.cos(), size * turn.sin()
    return torch.stack([cos * side, -sin, shift[0], sin * side, cos, shift[1]], 1).view(count, 2, 3), mirrored


# ---- what hides it ---------------------------------------------------------------------------------------------


def _pasted_shapes(count: int, generator: Generator) -> Float[Tensor, "b 1 v v"]:
    """Things or strands in some samples, 0 or 1."""
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    shapes = np.zeros((count, VISIBLE_PX, VISIBLE_PX), dtype=np.uint8)
    for shape in shapes:
        kind = rng.random()
        if kind < _THINGS:
            _paint_things(shape, rng)
        elif kind < _THINGS + _STRANDS:
            _paint_strands(shape, rng)
    return torch.from_numpy(shapes)[:, None].float()


def _paint_things(shape: UInt8[np.ndarray, "v v"], rng: np.random.Generator) -> None:
    """One or two ellipses or bars."""
    for _ in range(rng.integers(1, 3)):
        middle, end = rng.integers(0, VISIBLE_PX, (2, 2)).tolist()
        if rng.random() < 0.5:
            axes = rng.integers(8, 40, 2).tolist()
            cv2.ellipse(shape, middle, axes, float(rng.integers(0, 180)), 0, 360, 1, -1)
        else:
            cv2.line(shape, middle, end, 1, int(rng.integers(3, 22)))


def _paint_strands(shape: UInt8[np.ndarray, "v v"], rng: np.random.Generator) -> None:
    """A lock of curves that fall from the upper edge."""
    down = np.linspace(0, 1, 12)
    root = rng.integers(0, VISIBLE_PX)
    for _ in range(rng.integers(3, 14)):
        start, slope = rng.normal() * 10, rng.normal() * 15
        x = root + start + np.cumsum(rng.normal(size=len(down)) * 3) + down * slope
        curve = np.stack([x, down * rng.integers(40, VISIBLE_PX)], 1).astype(np.int32)
        cv2.polylines(shape, [curve], isClosed=False, color=1, thickness=int(rng.integers(1, 6)))


def _pasted_colors(colors: Float[Tensor, "b 3 v v"], generator: Generator) -> Float[Tensor, "b 3 v v"]:
    """Smooth random colours, or another sample's, which has skin and hair where this one has something else."""
    count = len(colors)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    smooth = F.interpolate(coarse, size=VISIBLE_PX, mode="bicubic", align_corners=False).clamp(0, 1)
    smooth = 0.6 * smooth + 0.5 * torch.rand(count, 3, 1, 1, generator=generator) - 0.1
    others = colors[torch.randperm(count, generator=generator)].roll(40, -1)
    chosen = torch.where(torch.rand(count, 1, 1, 1, generator=generator) < 0.5, smooth, others).clamp(0, 1)
    if torch.rand((), generator=generator) < 0.5:
        return chosen
    return chosen * (1 + 0.15 * torch.randn(count, 1, VISIBLE_PX, VISIBLE_PX, generator=generator)).clamp(0.5, 1.5)


def _bearded(x: Float[Tensor, "b 9 v v"], generator: Generator) -> Float[Tensor, "b 3 v v"]:
    """Colours with a beard of random colour, thickness and outline in some samples.

    It is the face's, and hides nothing; few of the rendered people have one, which would be taken for a lock of hair.
    """
    count = len(x)
    draws = torch.rand(6, count, 1, 1, 1, generator=generator)
    low = x[:, 5:6] + 0.3 * (2 * x[:, 4:5] - 1 - _LEAST_CANONICAL).abs()  # cheeks grow it as high as the jaw's corner
    edge, soft, thick = 0.62 + 0.23 * draws[0], 0.02 + 0.13 * draws[1], 0.25 + 0.65 * draws[2]
    where = ((low - edge) / soft).clamp(0, 1) * (draws[3] < _BEARDS) * x[:, 3:4]
    hairs = 0.4 + 0.6 * torch.rand(count, 1, VISIBLE_PX, VISIBLE_PX, generator=generator)
    tint = torch.rand(count, 3, 1, 1, generator=generator) * 0.15 + 0.35 * draws[4] * draws[5]
    return torch.lerp(x[:, :3], tint, where * thick * hairs)


# ---- how it is seen --------------------------------------------------------------------------------------------


def _relit(colors: Float[Tensor, "b 3 v v"], generator: Generator) -> Float[Tensor, "b 3 v v"]:
    """Under another gamma, exposure, white balance and field of light."""
    count = len(colors)
    gamma = torch.exp(torch.randn(count, 1, 1, 1, generator=generator) * _GAMMA)
    exposure = torch.randn(count, 1, 1, 1, generator=generator) * _GAIN
    white = torch.randn(count, 3, 1, 1, generator=generator) * _WHITE
    coarse = torch.randn(count, 1, 3, 3, generator=generator) * _FIELD
    field = F.interpolate(coarse, size=VISIBLE_PX, mode="bilinear", align_corners=True)
    return (colors.clamp_min(1e-3) ** gamma * torch.exp(exposure + white + field)).clamp(0, 1)


def _photographed(colors: Float[Tensor, "b 3 v v"], generator: Generator) -> Float[Tensor, "b 3 v v"]:
    """Half of the batch less sharp, all of it with noise."""
    half = len(colors) // 2
    share = _SMALLEST + (0.9 - _SMALLEST) * float(torch.rand((), generator=generator))
    small = F.interpolate(colors[:half], size=round(VISIBLE_PX * share), mode="bilinear", align_corners=False)
    soft = F.interpolate(small, size=VISIBLE_PX, mode="bilinear", align_corners=False)
    strength = torch.rand(len(colors), 1, 1, 1, generator=generator) * _NOISE
    noise = torch.randn(colors.shape, generator=generator) * strength
    return (torch.cat([soft, colors[half:]]) + noise).clamp(0, 1)
