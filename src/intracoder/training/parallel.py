"""Training in several processes: the batch is cut into equal slices, gradients and losses are averaged.

Every process draws and augments the same whole batch from the same generator and then keeps its own rows of each
person. So the randomness, and with it the loss curve, is that of one process but for the order of sums; the price is
that augmentation is not shared out. Whatever depends on clocks or signals is agreed upon, or one would run on alone.

Source: synchronous data-parallel SGD: Goyal et al., arXiv 1706.02677; Li et al., PyTorch Distributed,
arXiv 2006.15704.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, distributed

from intracoder.config import TrainConfig
from intracoder.errors import ConfigError
from intracoder.nets.device import Compute, choose_compute, usable_cores
from intracoder.protocols import Progress, silent
from intracoder.training.augment import Batch

NEEDED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The processes of a training, as one of them sees it; alone by default."""

    rank: int = 0
    """Which process this is; the first, 0, is the one that writes files and tells progress."""
    size: int = 1
    """How many there are."""
    local_rank: int = 0
    """Which one of those on this machine; also the number of its GPU."""
    local_size: int = 1
    """How many there are on this machine."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> World:
        """As torchrun tells in WORLD_SIZE, RANK, LOCAL_RANK and LOCAL_WORLD_SIZE; alone without WORLD_SIZE.

        Raises:
            ConfigError: A variable is missing, or no number in its range.
        """
        size = _number(environment, "WORLD_SIZE", 1, 1 << 16) if "WORLD_SIZE" in environment else 1
        if size == 1:
            return cls()
        missing = [name for name in NEEDED if name not in environment]
        if missing:
            raise ConfigError(f"WORLD_SIZE is {size}, but {missing[0]} is missing; start with torchrun, or unset it")
        local_size = _number(environment, "LOCAL_WORLD_SIZE", 1, size) if "LOCAL_WORLD_SIZE" in environment else size
        return cls(
            rank=_number(environment, "RANK", 0, size - 1),
            size=size,
            local_rank=_number(environment, "LOCAL_RANK", 0, local_size - 1),
            local_size=local_size,
        )

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def level(self, level: int) -> int:
        """The level at which this process logs what every process finds: debugging, except in the first."""
        return level if self.is_first else logging.DEBUG

    def heard(self, progress: Progress) -> Progress:
        """``progress`` in the first process, silence in the others."""
        return progress if self.is_first else silent

    def compute(self, config: TrainConfig) -> Compute:
        """Device, precision and threads of this process: a GPU of its own, or a share of the machine's cores.

        Raises:
            ConfigError: The device isn't there or can't be shared, or the batch can't be cut into equal slices.
        """
        if config.batch % self.size:
            raise ConfigError(
                f"train.batch: expected a multiple of {self.size}, the number of processes, got {config.batch}; "
                "change it or start another number"
            )
        if self.size == 1:
            return choose_compute(config.device, config.precision, config.threads)
        threads = config.threads or max(1, usable_cores() // self.local_size)
        compute = choose_compute(config.device, config.precision, threads)
        if compute.device.type == "mps":
            raise ConfigError("train.device: an Apple GPU takes one process only; start without torchrun or use cpu")
        if compute.device.type == "cpu":
            return compute
        found = torch.cuda.device_count()
        if self.local_size > found:
            raise ConfigError(
                f"train.device: expected {self.local_size} CUDA devices, one a process, found {found}; "
                "start fewer processes"
            )
        return replace(compute, device=torch.device("cuda", self.local_rank))

    def own_rows(self, batch: Batch, people: int) -> Batch:
        """This process's slice of each of ``people`` equally large parts; the batch itself where it is alone."""
        if self.size == 1:
            return batch
        share = len(batch.inputs) // (people * self.size)
        starts = [(person * self.size + self.rank) * share for person in range(people)]

        def own(part: Tensor) -> Tensor:
            return torch.cat([part[start : start + share] for start in starts])

        return Batch(
            inputs=own(batch.inputs),
            expected=own(batch.expected),
            mask=own(batch.mask),
            weight=own(batch.weight),
            planes=None if batch.planes is None else own(batch.planes),
        )

    def highest(self, value: float) -> float:
        """The highest of what the processes give; all wait for one another."""
        return value if self.size == 1 else _reduced(value, distributed.ReduceOp.MAX)

    def mean(self, value: float) -> float:
        """The mean of what the processes give, not a number where one isn't; all wait for one another."""
        return value if self.size == 1 else _reduced(value, distributed.ReduceOp.SUM) / self.size

    def any(self, flag: bool) -> bool:  # noqa: FBT001 - reads as a statement
        """Whether it is so in any process; all wait for one another."""
        return self.highest(float(flag)) > 0

    def fabric(self, compute: Compute) -> Fabric:
        """Fabric over all processes, joined up, without its lines about itself."""
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        kind = compute.device.type
        if self.size == 1:
            return Fabric(accelerator=kind, devices=1, precision=compute.precision)
        # gloo beside nccl: a flag on the CPU is agreed upon without waiting for the GPU
        strategy = DDPStrategy(process_group_backend="gloo" if kind == "cpu" else "cpu:gloo,cuda:nccl")
        fabric = Fabric(
            accelerator=kind,
            devices=self.local_size,
            num_nodes=self.size // self.local_size,
            strategy=strategy,
            precision=compute.precision,
            plugins=[TorchElasticEnvironment()],
        )
        fabric.launch()
        return fabric


def require_alone(work: str) -> None:
    """ConfigError where several processes were started for work that only one can do."""
    world = World.from_environment()
    if world.size > 1:
        raise ConfigError(f"{work}: expected one process, got {world.size}; only train and pretrain take torchrun")


def _reduced(value: float, operation: distributed.ReduceOp.RedOpType) -> float:
    shared = torch.tensor(value, dtype=torch.float64)
    distributed.all_reduce(shared, operation)
    return float(shared)


def _number(environment: Mapping[str, str], name: str, low: int, high: int) -> int:
    text = environment[name]
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise ConfigError(f"{name}: expected a whole number, {low}..{high}, got {text!r}; start with torchrun")
    return int(text)
