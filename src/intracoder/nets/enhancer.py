"""Colour correction and super-resolution: the second network, run on what the intracoder made.

Two parts, in this order. ``ColorGrid`` moves the face's colours by a smooth field of affine maps. It is shown nothing
but how the target's inner face, blurred, differs from the generated one's: there is nothing of the target's identity
that could pass. ``Detail`` doubles the resolution; it adds only what is finer than a face part, so
that it can't undo the colours. Untrained, the whole is bicubic enlargement.

Source: bilateral grid: Gharbi et al., "Deep bilateral learning for real-time image enhancement", arXiv 1707.02880;
residual over bicubic: Kim et al., arXiv 1511.04587; pixel shuffle: Shi et al., arXiv 1609.05158.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from intracoder.config import from_mapping, require
from intracoder.errors import ConfigError, WeightsError
from intracoder.nets.intracoder import Residual, activate
from intracoder.nets.losses import LUMA
from intracoder.nets.tensor_file import Layout, read_tensors

METADATA_KEY = "intracoder.enhancer"

VEIL = 1 / 8
"""Deviation of the blur over the target's inner face, fraction of the side."""
AFFINE = 12
"""Numbers of a colour map: three rows of three factors and an offset."""
CLUES = 4
CLUE_GAIN = 4.0
"""Brings colour differences to about the size of the mask."""
FINEST_CARRIED = 32
"""Output pixels over which added detail has no mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnhancerConfig:
    """Everything that fixes the network's layers; stored with its weights."""

    crop_px: int = 128
    """Side of the crops that come in."""
    scale: int = 2
    """Output side / input side."""
    width: int = 56
    """Channels of the detail part."""
    blocks: int = 4
    """Residual blocks of the detail part."""
    thumb_px: int = 64
    """Side of the pictures that colours are judged by."""
    grid_px: int = 8
    """Cells of the colour grid along each side."""
    bins: int = 8
    """Cells of the colour grid over brightness."""

    def __post_init__(self) -> None:
        """Checks ranges, also because a config can come from a file."""
        fits = 32 <= self.crop_px <= 512 and self.crop_px % 16 == 0
        require(fits, "enhancer.crop_px", "a multiple of 16, 32..512", self.crop_px)
        require(self.scale in (1, 2, 4), "enhancer.scale", "1, 2 or 4", self.scale)
        require(8 <= self.width <= 256, "enhancer.width", "8..256", self.width)
        require(1 <= self.blocks <= 16, "enhancer.blocks", "1..16", self.blocks)
        require(16 <= self.thumb_px <= self.crop_px, "enhancer.thumb_px", "16..crop_px", self.thumb_px)
        require(2 <= self.bins <= 32, "enhancer.bins", "2..32", self.bins)
        steps = self.thumb_px // self.grid_px if self.grid_px > 0 and self.thumb_px % self.grid_px == 0 else 0
        fits = steps >= 2 and steps & (steps - 1) == 0 and self.grid_px >= 2
        require(fits, "enhancer.grid_px", "thumb_px divided by 2, 4, 8, ...", self.grid_px)

    @property
    def output_px(self) -> int:
        """Side of the crops that come out."""
        return self.crop_px * self.scale


class Enhancer(nn.Module):
    """Both parts. Images are 0..1."""

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        self.config = config
        self.color = ColorGrid(config)
        self.detail = Detail(config)

    def forward(
        self,
        crops: Float[Tensor, "b 3 s s"],
        references: Float[Tensor, "b 3 s s"],
        masks: Float[Tensor, "b 1 s s"],
        *,
        recolor: bool = True,
    ) -> Float[Tensor, "b 3 z z"]:
        """Recoloured and enlarged crops, 0..1.

        Args:
            crops: What the intracoder made, its colours already matched in closed form where ``recolor``.
            references: The target in the same window.
            masks: Where the face is, 0..1.
            recolor: False leaves the colours alone.
        """
        colored = self.color(crops, references, masks) if recolor else crops
        enhanced: Tensor = self.detail(colored, references, masks)
        return enhanced.clamp(0, 1)


class ColorGrid(nn.Module):
    """Judges colours on thumbnails and corrects them at any size."""

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        self.config = config
        self.judge = ColorJudge(config)
        self.guide = Guide(config.bins)

    def forward(
        self, crops: Float[Tensor, "b 3 s s"], references: Float[Tensor, "b 3 s s"], masks: Float[Tensor, "b 1 s s"]
    ) -> Float[Tensor, "b 3 s s"]:
        """The crops under their colour maps; not clipped."""
        side = self.config.thumb_px
        # in full precision: bf16 is coarser than the colour differences that matter here
        with torch.autocast(crops.device.type, enabled=False):
            small = [F.interpolate(x, size=(side, side), mode="area") for x in (crops, references, masks)]
            grid: Tensor = self.judge(color_clues(*small))
            return recolored(crops, grid, self.guide(crops))


class ColorJudge(nn.Module):
    """Thumbnails to a grid of colour maps, as differences from the identity; starts at no change."""

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, side = CLUES, config.thumb_px
        for wider in (16, 32, 64, *[64] * 8):
            if side == config.grid_px:
                break
            layers += [nn.Conv2d(channels, wider, 3, stride=2, padding=1), nn.LeakyReLU(0.1)]
            channels, side = wider, side // 2
        self.shrink = nn.Sequential(*layers)
        self.local = nn.Sequential(Residual(channels), Residual(channels))
        self.overall = nn.Sequential(nn.Linear(channels, channels), nn.LeakyReLU(0.1), nn.Linear(channels, channels))
        self.last = nn.Conv2d(channels, AFFINE * config.bins, 1)
        self.bins = config.bins
        zero_(self.last)

    def forward(self, clues: Float[Tensor, "b k t t"]) -> Float[Tensor, "b 12 bins g g"]:
        """What ``recolored`` takes."""
        x = self.shrink(clues)
        x = activate(self.local(x) + self.overall(x.mean((2, 3)))[:, :, None, None])
        maps: Tensor = self.last(x)
        return maps.reshape(len(maps), AFFINE, self.bins, *maps.shape[2:])


class Guide(nn.Module):
    """Learned brightness, 0..1, that tells which bin of the grid a pixel asks; starts at luma."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.tensor(LUMA))
        self.slopes = nn.Parameter(torch.eye(1, bins)[0])
        self.register_buffer("knots", torch.arange(bins) / bins, persistent=False)

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b s s"]:
        """A curve of as many straight pieces as bins."""
        luma = torch.einsum("bchw,c->bhw", images, self.mix)
        curve = torch.zeros_like(luma)
        for slope, knot in zip(self.slopes, self.knots.unbind(), strict=True):  # type: ignore[operator]
            curve = curve + slope * (luma - knot).clamp_min(0)
        return curve.clamp(0, 1)


class Detail(nn.Module):
    """Crops to larger ones, from their own pixels and the target's around the face; starts as bicubic enlargement."""

    def __init__(self, config: EnhancerConfig) -> None:
        super().__init__()
        self.scale = config.scale
        self.first = nn.Conv2d(4 * 7, config.width, 3, padding=1)
        self.blocks = nn.Sequential(*[Residual(config.width) for _ in range(config.blocks)])
        self.last = nn.Conv2d(config.width, 3 * (2 * config.scale) ** 2, 3, padding=1)
        zero_(self.last)

    def forward(
        self, crops: Float[Tensor, "b 3 s s"], references: Float[Tensor, "b 3 s s"], masks: Float[Tensor, "b 1 s s"]
    ) -> Float[Tensor, "b 3 z z"]:
        """Side times scale; not clipped. ``s`` is even and may be less than the whole crop's side."""
        around = references * (1 - masks)
        # half the side and four times the channels: as much arithmetic as at full size with half the width, but the
        # wider convolutions run several times faster on a CPU and see twice as far
        x = F.pixel_unshuffle(torch.cat([crops, masks, around], 1) - 0.5, 2)
        x = self.last(activate(self.blocks(self.first(x))))
        added = F.pixel_shuffle(x, 2 * self.scale).float()
        return enlarged(crops, self.scale) + added - carried(added)


def enlarged(images: Float[Tensor, "b c s s"], scale: int) -> Float[Tensor, "b c z z"]:
    """Bicubic, pixel centres at half integers as OpenCV has them."""
    if scale == 1:
        return images
    return F.interpolate(images, scale_factor=scale, mode="bicubic", align_corners=False)


def carried(images: Float[Tensor, "b c z z"]) -> Float[Tensor, "b c z z"]:
    """The low frequencies: means of blocks of FINEST_CARRIED pixels, joined smoothly."""
    side = images.shape[-1]
    means = F.adaptive_avg_pool2d(images, max(1, side // FINEST_CARRIED))
    return F.interpolate(means, size=(side, side), mode="bilinear", align_corners=False)


def color_clues(
    crops: Float[Tensor, "b 3 t t"], references: Float[Tensor, "b 3 t t"], masks: Float[Tensor, "b 1 t t"]
) -> Float[Tensor, "b 4 t t"]:
    """What colours are judged by: how the blurred target differs from the blurred generated face, and where that is.

    Neither the target's sharp surroundings nor either face's own colours are shown: from two people's pictures a
    network learns whose colours go with which surroundings, and paints the target's face back.
    """
    return torch.cat([CLUE_GAIN * (veiled(references, masks) - veiled(crops, masks)) * masks, masks], 1)


def veiled(images: Float[Tensor, "b 3 t t"], masks: Float[Tensor, "b 1 t t"]) -> Float[Tensor, "b 3 t t"]:
    """The masked part blurred by VEIL of the side, from nothing but itself."""
    side = images.shape[-1]
    offsets = torch.arange(side, device=images.device, dtype=images.dtype)
    band = torch.exp(-(offsets[:, None] - offsets).square() / (2 * (VEIL * side) ** 2)) / (VEIL * side)
    weights = masks * 0.999 + 1e-3  # so that an empty mask gives the plain blur
    return (band @ (images * weights) @ band) / (band @ weights @ band)


def recolored(
    images: Float[Tensor, "b 3 s s"], grid: Float[Tensor, "b 12 bins g g"], guide: Float[Tensor, "b s s"]
) -> Float[Tensor, "b 3 s s"]:
    """Every pixel under its own affine colour map, interpolated in the grid at its place and brightness."""
    count, side = len(guide), guide.shape[-1]
    steps = (torch.arange(side, device=images.device, dtype=guide.dtype) + 0.5) * (2 / side) - 1
    across = steps[None, None, :].expand(count, side, side)
    place = torch.stack([across, across.transpose(1, 2), guide * 2 - 1], -1)[:, None]
    maps = F.grid_sample(grid, place, mode="bilinear", padding_mode="border", align_corners=False)[:, :, 0]
    rows = maps.reshape(count, 3, 4, side, side)
    return images + (rows[:, :, :3] * images[:, None]).sum(2) + rows[:, :, 3]


def zero_(layer: nn.Conv2d) -> None:
    """Makes a layer answer 0 to everything."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def save_tensors(enhancer: Enhancer) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What a file of the network holds: tensors, and metadata with its config."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in enhancer.state_dict().items()}
    return tensors, {METADATA_KEY: json.dumps(asdict(enhancer.config))}


def load_enhancer(path: Path) -> Enhancer:
    """The network in a file that ``training.enhance.save_enhancer`` wrote, in eval mode on the CPU.

    Raises:
        WeightsError: The file is missing, damaged, of another network, or its config is out of range.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: expected the trained colour and resolution network, found none; train it first")
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(METADATA_KEY, "")
        config = from_mapping(EnhancerConfig, json.loads(text), where=METADATA_KEY)
    except (SafetensorError, OSError, json.JSONDecodeError, RecursionError, AttributeError, ConfigError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{path}: expected an enhancer's config in its header: {reason}; train it again") from error
    enhancer = Enhancer(config)
    layout = {name: Layout("F32", tuple(tensor.shape)) for name, tensor in enhancer.state_dict().items()}
    arrays = read_tensors(path, layout)
    enhancer.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return enhancer.eval().requires_grad_(False)
