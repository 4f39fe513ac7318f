"""The network that says where a face itself can be seen: not hair that hangs over it, nor a thing held before it.

It is given where the face is (its geometry, painted, and its outline), so that it need not find it, and colours
relative to the face's mean, so that it need not know skins.

Source: Ronneberger et al., "U-Net", MICCAI 2015, arXiv 1505.04597. docs/decisions/020-visible-face.md says what it
was made from.
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load
from torch import Tensor, nn

from intracoder.errors import WeightsError
from intracoder.nets.intracoder import GEOMETRY_CHANNELS, activate
from intracoder.nets.tensor_file import packed_in_halves
from intracoder.nets.weights import load_bytes

VISIBLE = "visible_face"
VISIBLE_PX: Final = 128
"""Side of the crops that the network takes; a multiple of 16."""
INPUT_CHANNELS: Final = 3 + GEOMETRY_CHANNELS + 1
"""Red, green, blue; canonical x, y, z and parts; the face's outline, filled."""
_WIDTHS: Final = (24, 48, 72, 96)
_UNSHUFFLE: Final = 2
_DARKEST: Final = 0.05


class VisibleNet(nn.Module):
    """Four grids down and up again, the finest of half the input's side."""

    def __init__(self) -> None:
        super().__init__()
        ins = (INPUT_CHANNELS * _UNSHUFFLE**2, *_WIDTHS[:-1])
        self.down = nn.ModuleList(
            [
                nn.Conv2d(a, b, 3, stride=1 + (k > 0), padding=1)
                for k, (a, b) in enumerate(zip(ins, _WIDTHS, strict=True))
            ]
        )
        self.same = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1) for width in _WIDTHS])
        self.up = nn.ModuleList([nn.Conv2d(a + b, a, 3, padding=1) for a, b in itertools.pairwise(_WIDTHS)])
        self.last = nn.Conv2d(_WIDTHS[0], _UNSHUFFLE**2, 3, padding=1)

    def forward(self, given: Float[Tensor, "b 8 s s"]) -> Float[Tensor, "b 1 s s"]:
        """Logits of a face that can be seen; what is given is 0..1, in the order of INPUT_CHANNELS."""
        grids: list[Tensor] = []
        x = F.pixel_unshuffle(_relative(given), _UNSHUFFLE)
        for down, same in zip(self.down, self.same, strict=True):
            x = activate(down(x))
            x = x + activate(same(x))
            grids.append(x)
        for up, finer in zip(reversed(self.up), reversed(grids[:-1]), strict=True):
            x = activate(up(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), finer], 1)))
        logits: Tensor = F.pixel_shuffle(self.last(x), _UNSHUFFLE)
        return logits


def _relative(given: Tensor) -> Tensor:
    """The same with colours as differences from the mean inside the outline, in units of it."""
    colors, rest = given[:, :3], given[:, 3:]
    inside = rest[:, -1:]
    mean = (colors * inside).sum((2, 3), keepdim=True) / (inside.sum((2, 3), keepdim=True) + 1)
    return torch.cat([((colors - mean) / (mean + _DARKEST)).clamp(-2, 3), rest], 1)


def read_visible() -> VisibleNet:
    """The packaged network, in eval mode.

    Raises:
        WeightsError: The file is damaged, or another network's.
    """
    try:
        arrays = load(load_bytes(VISIBLE))
    except SafetensorError as error:
        raise WeightsError(f"weights {VISIBLE!r}: expected safetensors: {error}; reinstall the package") from error
    net = VisibleNet().eval().requires_grad_(requires_grad=False)
    if {name: array.shape for name, array in arrays.items()} != {
        n: tuple(v.shape) for n, v in net.state_dict().items()
    }:
        raise WeightsError(f"weights {VISIBLE!r}: expected the tensors of VisibleNet; reinstall the package")
    net.load_state_dict({name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()})
    return net


def pack_visible(net: VisibleNet) -> bytes:
    """The network as the file that ships, in half precision."""
    return packed_in_halves(net)
