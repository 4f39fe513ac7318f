"""Where the networks run, and in which number format."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from intracoder.errors import ConfigError

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
"""Numbers of mallopt's parameters, from glibc's malloc.h."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """A resolved choice of device, precision and threads."""

    device: torch.device
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    threads: int
    """CPU threads of torch's own operators."""

    @property
    def layout(self) -> torch.memory_format:
        """How the intracoder's weights lie in memory, which its grids follow.

        GPUs multiply channels that lie together; on a CPU its small grids are a tenth faster in torch's own order.
        """
        return torch.contiguous_format if self.device.type == "cpu" else torch.channels_last

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Mixed precision around a forward pass; nothing in "32-true"."""
        if self.precision == "32-true":
            yield
            return
        dtype = torch.bfloat16 if self.precision == "bf16-mixed" else torch.float16
        with torch.autocast(self.device.type, dtype):
            yield


def choose_compute(device: DeviceName = "auto", precision: Precision = "auto", threads: int = 0) -> Compute:
    """Resolves "auto": CUDA, then MPS, then CPU; bf16 where the hardware multiplies it faster than fp32.

    Sets torch's number of CPU threads and how freed memory is kept, which are properties of the process.

    Args:
        device: Where to run.
        precision: Number format of the multiplications; weights stay fp32.
        threads: CPU threads; 0 takes all cores that this process may use.

    Raises:
        ConfigError: The device asked for isn't there, or can't do the precision.
    """
    name = _found_device() if device == "auto" else device
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("train.device: expected a CUDA device, found none; use --device cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("train.device: expected an Apple GPU (mps), found none; use --device cpu")
    if precision == "16-mixed" and name == "cpu":
        raise ConfigError("train.precision: 16-mixed needs a GPU; use bf16-mixed or 32-true on a CPU")
    count = threads or usable_cores()
    torch.set_num_threads(count)
    _keep_freed_memory()
    return Compute(
        device=torch.device(name),
        precision=_fast_precision(name) if precision == "auto" else precision,
        threads=count,
    )


def device_memory_gib(device: torch.device) -> float | None:
    """Memory of a CUDA device; None for others, which share the computer's."""
    if device.type != "cuda":
        return None
    return float(torch.cuda.get_device_properties(device).total_memory) / 2**30


def usable_cores() -> int:
    """CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _keep_freed_memory() -> None:
    """Has glibc hand freed memory out again.

    By itself it returns large pieces to the system, which zeroes every page when it is asked for again, at each step of
    a training; without glibc nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**28)
        mallopt(_M_MMAP_THRESHOLD, 2**28)


def _found_device() -> Literal["cpu", "cuda", "mps"]:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _fast_precision(device: str) -> Literal["32-true", "bf16-mixed"]:
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return "bf16-mixed" if device == "cpu" and has_fast_bf16() else "32-true"


def has_fast_bf16() -> bool:
    """True where the CPU has bf16 dot products (AVX512_BF16 or AMX); elsewhere oneDNN emulates them slowly."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    cpuinfo = Path("/proc/cpuinfo")  # torch before 2.10 does not say; Linux does
    flags = cpuinfo.read_text(encoding="ascii", errors="replace") if cpuinfo.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def step_generator(seed: int, step: int, stream: int = 0) -> torch.Generator:
    """A CPU generator that depends on nothing but its arguments, so that a resumed step repeats exactly.

    Args:
        seed: Of the run.
        step: 0-based step number.
        stream: Tells draws of one step apart (process rank, purpose).
    """
    # splitmix64's finaliser spreads neighbouring steps over the whole range of seeds
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + stream * 0x94D049BB133111EB) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return torch.Generator().manual_seed((mixed ^ (mixed >> 31)) >> 1)
