"""What a network costs: numbers it has, multiplications of a face, memory of the process."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from intracoder.nets.intracoder import Intracoder, IntracoderConfig, count_parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class NetCost:
    """Of one intracoder."""

    parameters: int
    """Trained numbers, all people's decoders counted."""
    macs_per_face: int
    """Multiply-adds of one face through encoder, planes, trunk and one decoder, forward; convolutions and products."""

    def text(self) -> str:
        """Both in words."""
        return f"{self.parameters / 1e6:.2f} M parameters, {self.macs_per_face / 1e9:.3f} GMACs a face"


def net_cost(config: IntracoderConfig) -> NetCost:
    """Counts on tensors without memory, so that it costs next to nothing at any size."""
    with torch.device("meta"):
        net = Intracoder(config).eval()
        crop = torch.empty(1, 3, config.encoder_px, config.encoder_px)
        planes = torch.empty(1, config.plane_channels, config.output_px, config.output_px)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net.decoder(0)(net.encoder(crop), planes if config.plane_channels else None)
    return NetCost(parameters=count_parameters(net), macs_per_face=counter.get_total_flops() // 2)


def peak_memory_mib(device: torch.device) -> float | None:
    """The most memory so far, MiB: of CUDA tensors on a GPU, else of the whole process; None on Windows."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere
