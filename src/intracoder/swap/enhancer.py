"""Enlarging swapped crops: the trained colour and resolution network, and plain bicubic where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float32, UInt8
from torch import Tensor

from intracoder.config import require
from intracoder.nets.device import Compute, DeviceName, Precision, choose_compute
from intracoder.nets.enhancer import Enhancer, load_enhancer

BATCH: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class BicubicEnhancer:
    """Enlarges without adding anything."""

    scale: int = 2
    """Output side / input side."""

    def __post_init__(self) -> None:
        """Checks the range."""
        require(1 <= self.scale <= 8, "enhancer.scale", "1..8", self.scale)

    def enhance(
        self,
        crops: UInt8[np.ndarray, "n s s 3"],
        reference_crops: UInt8[np.ndarray, "n z z 3"],
        masks: Float32[np.ndarray, "n m m"],
    ) -> UInt8[np.ndarray, "n z z 3"]:
        """``crops`` at ``scale`` times their side; the rest is not looked at."""
        del masks
        grown = np.empty_like(reference_crops)
        for row, crop in enumerate(crops):
            grown[row] = cv2.resize(crop, reference_crops.shape[1:3], interpolation=cv2.INTER_CUBIC)
        return grown


class LearnedEnhancer:
    """The trained network on swapped crops."""

    def __init__(
        self,
        path: Path,
        *,
        recolor: bool = True,
        device: DeviceName = "auto",
        precision: Precision = "auto",
        threads: int = 0,
    ) -> None:
        """Loads a file of ``training.enhance.save_enhancer``.

        Args:
            path: The file.
            recolor: Whether to correct colours too; give crops that a closed-form matcher has been over.
            device: Where to run.
            precision: Number format of the resolution part; colours are always worked out in fp32.
            threads: CPU threads; 0 takes all cores.

        Raises:
            WeightsError: The file is missing, damaged, or another network's.
        """
        self._compute: Compute = choose_compute(device, precision, threads)
        net = load_enhancer(path)
        self._net: Enhancer = net.to(self._compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._recolor = recolor

    @property
    def scale(self) -> int:
        """Output side / input side."""
        return self._net.config.scale

    @property
    def crop_px(self) -> int:
        """Side of the crops that go in, pixels."""
        return self._net.config.crop_px

    def enhance(
        self,
        crops: UInt8[np.ndarray, "n s s 3"],
        reference_crops: UInt8[np.ndarray, "n z z 3"],
        masks: Float32[np.ndarray, "n m m"],
    ) -> UInt8[np.ndarray, "n z z 3"]:
        """Crops of ``crop_px`` recoloured and enlarged.

        Args:
            crops: Swapped faces.
            reference_crops: The target in the same windows, at ``scale`` times the side.
            masks: Where the face is, 0..1; at any size.

        Raises:
            ConfigError: Crops of other sizes than the network was trained for.
        """
        side, output = self._net.config.crop_px, self._net.config.output_px
        require(crops.shape[1] == side, "enhancer crops", f"{side} px", crops.shape[1])
        require(
            reference_crops.shape[1] == output, "enhancer reference crops", f"{output} px", reference_crops.shape[1]
        )
        parts = [
            self._enhance_batch(*(x[start : start + BATCH] for x in (crops, reference_crops, masks)))
            for start in range(0, len(crops), BATCH)
        ]
        return np.concatenate(parts) if parts else np.empty_like(reference_crops)

    @torch.inference_mode()
    def _enhance_batch(
        self,
        crops: UInt8[np.ndarray, "n s s 3"],
        reference_crops: UInt8[np.ndarray, "n z z 3"],
        masks: Float32[np.ndarray, "n m m"],
    ) -> UInt8[np.ndarray, "n z z 3"]:
        size = crops.shape[1:3]
        references = F.interpolate(self._images(reference_crops), size=size, mode="area")
        covers = F.interpolate(torch.from_numpy(masks).to(self._compute.device)[:, None], size=size, mode="area")
        with self._compute.autocast():
            enhanced: Tensor = self._net(self._images(crops), references, covers, recolor=self._recolor)
        levels = enhanced.float().mul(255).round().to(torch.uint8)
        return np.ascontiguousarray(levels.permute(0, 2, 3, 1).cpu().numpy())

    def _images(self, images: UInt8[np.ndarray, "n s s 3"]) -> Tensor:
        return torch.from_numpy(images).to(self._compute.device).permute(0, 3, 1, 2).float().div(255)
