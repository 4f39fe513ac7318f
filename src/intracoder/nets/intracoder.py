"""The intracoder: one deep encoder shared by all people, one shallow decoder a person, swapped in use.

    swapped = decoder_source(encoder(target_crops))

The code is narrow and of unit scale, and nothing else of the target's pixels reaches a decoder. What need not be
learned is given to it as planes: *geometry* (the wanted shape, painted) and a *reference* (a real frame of the
decoder's person, mesh-warped onto that shape), which it may copy through a gate.

Source: the two-decoder autoencoder of the first face swap programs (2017); Perov et al., DeepFaceLab,
arXiv 2005.05535; sub-pixel convolution: Shi et al. 2016; FiLM: Perez et al., arXiv 1709.07871.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from intracoder.config import require

CODE_GRID = 4
"""Side of the grid that the code is unfolded to."""
GEOMETRY_CHANNELS = 4
"""Canonical x, y, z, and parts (eye openings, irises, inner mouth)."""
REFERENCE_CHANNELS = 4
"""How visible each pixel was in the real frame, then its red, green, blue."""
FINE_CHANNELS = 4
"""Of a decoder's logits at full size: red, green, blue, alpha."""
COPY_CHANNELS = 4
"""Of its logits on the last grid: gate, and gain of red, green, blue."""
GAIN_LIMIT = 2.0
"""Most that a decoder may brighten or darken a copied reference pixel, natural log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntracoderConfig:
    """Everything that fixes the network's layers; stored with its weights."""

    width: int = 64
    """Channels of the finest encoder grid; the coarser have 2 and 4 times as many."""
    code: int = 256
    """Numbers that describe a face to a decoder."""
    blocks: int = 2
    """Residual blocks at each of the encoder's three grids."""
    head_blocks: int = 1
    """Residual blocks at each grid of a decoder."""
    head_stages: int = 2
    """Doublings in a decoder; the rest of the way to the output is one pixel shuffle."""
    encoder_px: int = 64
    """Side of the crops that the encoder sees."""
    output_px: int = 128
    """Side of the crops that a decoder makes."""
    people: int = 2
    """Number of decoders; a single one draws anybody (pretraining)."""
    geometry: bool = True
    """Decoders see geometry planes."""
    reference: bool = True
    """Decoders see, and may copy from, a warped real frame."""

    def __post_init__(self) -> None:
        """Checks ranges, also because a config can come from a file."""
        require(8 <= self.width <= 512 and self.width % 2 == 0, "net.width", "even, 8..512", self.width)
        require(8 <= self.code <= 4096, "net.code", "8..4096", self.code)
        require(1 <= self.blocks <= 8, "net.blocks", "1..8", self.blocks)
        require(1 <= self.head_blocks <= 8, "net.head_blocks", "1..8", self.head_blocks)
        require(1 <= self.head_stages <= 5, "net.head_stages", "1..5", self.head_stages)
        fits = 32 <= self.encoder_px <= 512 and self.encoder_px % 16 == 0
        require(fits, "net.encoder_px", "a multiple of 16, 32..512", self.encoder_px)
        grid = 2 * CODE_GRID << self.head_stages
        fits = grid <= self.output_px <= 1024 and self.output_px % grid == 0
        require(fits, "net.output_px", f"a multiple of {grid}, up to 1024", self.output_px)
        require(self.output_px % self.encoder_px == 0, "net.output_px", "a multiple of encoder_px", self.output_px)
        require(1 <= self.people <= 64, "net.people", "1..64", self.people)

    @property
    def shuffle(self) -> int:
        """Side of the pixel shuffle that ends a decoder."""
        return self.output_px // (2 * CODE_GRID << self.head_stages)

    @property
    def plane_channels(self) -> int:
        """Channels of the planes that decoders see; 0 for the plain autoencoder."""
        return GEOMETRY_CHANNELS * self.geometry + REFERENCE_CHANNELS * self.reference


def preset(size: Literal["S", "M", "L"], *, people: int = 2, plain: bool = False) -> IntracoderConfig:
    """The measured network for a CPU (S), an ordinary GPU (M) and a large one (L); ``plain`` is the 64 px baseline."""
    width, code, blocks = {"S": (64, 256, 2), "M": (96, 384, 3), "L": (128, 512, 5)}[size]
    if plain:
        return IntracoderConfig(
            width=width,
            code=code,
            blocks=blocks,
            head_stages=1,
            output_px=64,
            people=people,
            geometry=False,
            reference=False,
        )
    stages, head_blocks, encoder_px, output_px = {"S": (2, 1, 64, 128), "M": (3, 1, 64, 192), "L": (3, 2, 128, 256)}[
        size
    ]
    return IntracoderConfig(
        width=width,
        code=code,
        blocks=blocks,
        head_blocks=head_blocks,
        head_stages=stages,
        encoder_px=encoder_px,
        output_px=output_px,
        people=people,
    )


class Generated(NamedTuple):
    """What a decoder makes."""

    rgb: Float[Tensor, "b 3 s s"]
    """Normalised colour (see nets.normalize), about 0..1."""
    alpha: Float[Tensor, "b 1 s s"]
    """Where the face is, 0..1."""


def activate(x: Tensor) -> Tensor:
    """The nonlinearity of every layer."""
    return F.leaky_relu(x, 0.1)


class Residual(nn.Module):
    """Two convolutions whose sum is added; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(_bias(self.second))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        change: Tensor = self.second(activate(self.first(activate(x))))
        return x + change


class Upscale(nn.Module):
    """Convolution and pixel shuffle to twice the side, started free of checkerboards (ICNR, arXiv 1707.02937)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, 4 * channels_out, 3, padding=1)
        start = torch.empty(channels_out, channels_in, 3, 3)
        nn.init.kaiming_normal_(start, 0.1)
        with torch.no_grad():
            self.conv.weight.copy_(start.repeat_interleave(4, 0))
        nn.init.zeros_(_bias(self.conv))

    def forward(self, x: Tensor) -> Tensor:
        """(b, i, s, s) to (b, o, 2s, 2s)."""
        return activate(F.pixel_shuffle(self.conv(x), 2))


class PersonFilm(nn.Module):
    """A scale and an offset per channel and person."""

    def __init__(self, channels: int, people: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(people, channels))
        self.offset = nn.Parameter(torch.zeros(people, channels))

    def forward(self, x: Tensor, shares: Sequence[int]) -> Tensor:
        """``x`` holds ``shares[p]`` rows of person p, in order of p."""
        return x * (1 + _per_row(self.scale, shares, x)) + _per_row(self.offset, shares, x)


class Encoder(nn.Module):
    """Normalised crop to code; shared by all people and deeper than any decoder."""

    def __init__(self, config: IntracoderConfig) -> None:
        super().__init__()
        w = config.width
        layers: list[nn.Module] = [nn.PixelUnshuffle(4), nn.Conv2d(48, w, 3, padding=1)]
        for factor in (1, 2, 4):
            if factor > 1:
                layers.append(nn.Conv2d(factor // 2 * w, factor * w, 3, stride=2, padding=1))
            layers += [Residual(factor * w) for _ in range(config.blocks)]
        layers += [nn.LeakyReLU(0.1), nn.Conv2d(4 * w, w, 1)]
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, 0.1)
                nn.init.zeros_(_bias(layer))
        self.layers = nn.Sequential(*layers)
        self.squeeze = nn.Linear(CODE_GRID**2 * w, config.code)

    def forward(self, crops: Float[Tensor, "b 3 e e"]) -> Float[Tensor, "b c"]:
        """Codes of unit mean square, so that no person can be told by the code's size."""
        features = F.adaptive_avg_pool2d(self.layers((crops - 0.5) * 4), CODE_GRID)
        code = self.squeeze(features.flatten(1)).float()
        unit: Tensor = code * (code.pow(2).mean(1, keepdim=True) + 1e-6).rsqrt()
        return unit


class PlaneNet(nn.Module):
    """Planes to features for every grid of trunk and decoder, finest first, coarsest (4 x 4) last."""

    def __init__(self, config: IntracoderConfig) -> None:
        super().__init__()
        self.shuffle = config.shuffle
        widths = [*_head_widths(config)[::-1], 2 * config.width, 4 * config.width]
        first = nn.Conv2d(config.shuffle**2 * config.plane_channels, widths[0], 3, padding=1)
        rest = [nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(widths)]
        self.convs = nn.ModuleList([first, *rest])

    def forward(self, planes: Float[Tensor, "b p s s"]) -> list[Tensor]:
        """Features of ``head_stages`` decoder grids, then of the trunk's two."""
        x = F.pixel_unshuffle((planes - 0.5) * 2, self.shuffle)
        features: list[Tensor] = []
        for conv in self.convs:
            x = conv(x)
            if len(features) < len(self.convs) - 1:
                x = activate(x)
            features.append(x)
        return features


class Trunk(nn.Module):
    """What all faces have in common, told by FiLM whose face it is."""

    def __init__(self, config: IntracoderConfig) -> None:
        super().__init__()
        w = config.width
        self.unfold = nn.Linear(config.code, CODE_GRID**2 * w)
        self.widen = nn.Conv2d(w, 4 * w, 3, padding=1)
        self.coarse = Residual(4 * w)
        self.coarse_film = PersonFilm(4 * w, config.people)
        self.upscale = Upscale(4 * w, 2 * w)
        self.fine = Residual(2 * w)
        self.fine_film = PersonFilm(2 * w, config.people)

    def forward(self, code: Tensor, shares: Sequence[int], features: list[Tensor] | None) -> Tensor:
        """(b, c) to (b, 2w, 8, 8)."""
        x = self.widen(self.unfold(code).view(len(code), -1, CODE_GRID, CODE_GRID))
        if features is not None:
            x = x + features[-1]
        x = self.upscale(self.coarse_film(self.coarse(activate(x)), shares))
        if features is not None:
            x = x + features[-2]
        shaped: Tensor = self.fine_film(self.fine(x), shares)
        return shaped


class Decoder(nn.Module):
    """One person's own layers: shallow, from the trunk's 8 x 8 grid to logits at full size."""

    def __init__(self, config: IntracoderConfig) -> None:
        super().__init__()
        widths = _head_widths(config)
        self.upscales = nn.ModuleList(
            [Upscale(a, b) for a, b in zip([2 * config.width, *widths[:-1]], widths, strict=True)]
        )
        self.residuals = nn.ModuleList(
            [nn.Sequential(*[Residual(c) for _ in range(config.head_blocks)]) for c in widths]
        )
        self.shuffle = config.shuffle
        fine, coarse = config.shuffle**2 * FINE_CHANNELS, COPY_CHANNELS * config.reference
        self.last = nn.Conv2d(widths[-1], fine + coarse, 3, padding=1)
        nn.init.normal_(self.last.weight, 0, 0.01)
        nn.init.zeros_(_bias(self.last))
        with torch.no_grad():
            _bias(self.last)[fine - self.shuffle**2 : fine] = -0.5  # most of a crop is not face
            _bias(self.last)[fine : fine + 1] = 1.0  # a real picture is a better start than a grey one

    def forward(self, x: Tensor, features: Sequence[Tensor] | None) -> tuple[Tensor, Tensor]:
        """(b, 2w, 8, 8) to fine logits (b, 4, s, s) and, on the last grid, copying's (b, 4 or 0, g, g)."""
        stages = len(self.upscales)
        for k, (upscale, residual) in enumerate(zip(self.upscales, self.residuals, strict=True)):
            x = upscale(x)
            x = residual(x if features is None else x + features[stages - 1 - k])
        logits = self.last(activate(x))
        fine = self.shuffle**2 * FINE_CHANNELS
        painted, copied = logits.split((fine, logits.shape[1] - fine), 1)
        return F.pixel_shuffle(painted, self.shuffle), copied


class Intracoder(nn.Module):
    """Encoder, planes, trunk and N decoders."""

    def __init__(self, config: IntracoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.plane_net = PlaneNet(config) if config.plane_channels else None
        self.trunk = Trunk(config)
        self.decoders = nn.ModuleList([Decoder(config) for _ in range(config.people)])

    def forward(
        self, crops: Float[Tensor, "b 3 e e"], shares: Sequence[int], planes: Float[Tensor, "b p s s"] | None
    ) -> Generated:
        """Every crop through the decoder of its own person.

        Args:
            crops: Normalised crops at ``encoder_px``; the first ``shares[0]`` are person 0's, and so on.
            shares: Rows of each person; sums to b.
            planes: Geometry (4 channels), then the reference's visibility (1) and normalised colour (3), as the config
                has them; 0..1.
        """
        return self.decode(self.encoder(crops), shares, planes)

    def decoder(self, person: int) -> PersonDecoder:
        """Trunk and decoder of one person, as a function of code and planes."""
        return PersonDecoder(self, person)

    def decode(
        self, code: Float[Tensor, "b c"], shares: Sequence[int], planes: Tensor | None, detail: Tensor | None = None
    ) -> Generated:
        """``code`` holds ``shares[p]`` rows for person p's decoder, in order of p.

        ``detail`` (b, 3, z, z) is the reference at a finer size, normalised as it is in the planes: the face comes
        out at that size, with what is copied as sharp as the detail.
        """
        features = self.plane_net(planes) if self.plane_net is not None else None
        x = self.trunk(code, shares, features)
        own = [None] * len(shares) if features is None else list(zip(*(f.split(shares) for f in features), strict=True))
        drawn = [
            decoder(rows, seen)
            for decoder, rows, seen in zip(self.decoders, x.split(shares), own, strict=True)
            if len(rows)
        ]
        fine, coarse = (torch.cat(part).float() for part in zip(*drawn, strict=True))
        return self._composed(fine, coarse, planes, detail)

    def _composed(self, fine: Tensor, coarse: Tensor, planes: Tensor | None, detail: Tensor | None) -> Generated:
        """The gated sum of the copied and the painted face, in fp32.

        Gate and gain are smooth, so that what is copied keeps its detail: a gain for each pixel could blur it away.
        """
        painted, alpha = torch.split(fine.sigmoid(), [3, 1], 1)
        if not self.config.reference or planes is None:
            return Generated(painted, alpha)
        reference = planes[:, -3:]
        if detail is not None:
            reference, size = detail, detail.shape[2:]
            painted = F.interpolate(painted, size=size, mode="bicubic", align_corners=False)
            alpha = F.interpolate(alpha, size=size, mode="bilinear", align_corners=False)
        smooth = F.interpolate(coarse, size=reference.shape[2:], mode="bilinear", align_corners=False)
        gate, gain = torch.split(smooth, [1, 3], 1)
        copied = reference * gain.clamp(-GAIN_LIMIT, GAIN_LIMIT).exp()
        return Generated(torch.lerp(painted, copied, gate.sigmoid()), alpha)


class PersonDecoder:
    """``decoder_source`` of ``decoder_source(encoder(target_crops))``: a view of an Intracoder for one person."""

    def __init__(self, net: Intracoder, person: int) -> None:
        require(0 <= person < net.config.people, "person", f"0..{net.config.people - 1}", person)
        self._net = net
        self._person = person

    def __call__(
        self, code: Float[Tensor, "b c"], planes: Tensor | None = None, detail: Tensor | None = None
    ) -> Generated:
        """This person's face for each code; see ``Intracoder.decode``."""
        shares = [len(code) if p == self._person else 0 for p in range(self._net.config.people)]
        return self._net.decode(code, shares, planes, detail)


def swap_faces(
    net: Intracoder,
    source: int,
    target_crops: Float[Tensor, "b 3 e e"],
    planes: Tensor | None = None,
    detail: Tensor | None = None,
) -> Generated:
    """The swap itself: the source's decoder on the target's code."""
    encoder, decoder_source = net.encoder, net.decoder(source)
    swapped: Generated = decoder_source(encoder(target_crops), planes, detail)
    return swapped


def count_parameters(module: nn.Module) -> int:
    """Trainable numbers of a module."""
    return sum(p.numel() for p in module.parameters())


def _head_widths(config: IntracoderConfig) -> list[int]:
    """Channels of a decoder's grids, coarse to fine: w, w/2, w/2, ..."""
    return [config.width, *[config.width // 2] * (config.head_stages - 1)]


def _per_row(values: Tensor, shares: Sequence[int], like: Tensor) -> Tensor:
    """(people, c) to (b, c, 1, 1) in ``like``'s type; built from views, which keeps the gradient exact and ordered."""
    rows = [values[p].expand(share, -1) for p, share in enumerate(shares) if share]
    return torch.cat(rows)[:, :, None, None].to(like.dtype)


def _bias(layer: nn.Conv2d) -> Tensor:
    bias = layer.bias
    if bias is None:
        raise TypeError("expected a convolution with a bias")
    return bias
