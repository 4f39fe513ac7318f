"""Speed of the intracoder's training: preparation, and full steps of the S net and of the plain one.

    OMP_WAIT_POLICY=active python benchmarks/training.py [STEPS] [THREADS]

Two people of 150 frames; pictures are noise on turning canonical heads, which costs what real ones cost. A step is
everything: drawing, augmentation, forward, backward, optimiser, moving average; faces of both people are counted.
CPU seconds are printed beside wall-clock, because on a shared machine only they say what the code costs.
Bars on 2 idle cores: S at 128 px with both planes 60 faces/s, plain at 64 px 120 faces/s, preparation 25 s.
"""

import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from intracoder.config import TrainConfig
from intracoder.faceset.person import PersonFrames
from intracoder.nets.base import new_start
from intracoder.nets.cost import net_cost, peak_memory_mib
from intracoder.nets.device import choose_compute
from intracoder.nets.intracoder import Intracoder, count_parameters, preset
from intracoder.ops.geometry import posed
from intracoder.ops.topology import EYES, canonical_points, oval_center
from intracoder.protocols import silent
from intracoder.records import HeadFit
from intracoder.training.dataset import build_training_data
from intracoder.training.loop import Trainer

FRAMES, CROP_PX, BATCH = 150, 256, 8


def person(name, seed):
    rng = np.random.default_rng(seed)
    surface = canonical_points()
    rim = np.array([[0, 0, 0], [0.55, 0, 0], [0, -0.55, 0], [-0.55, 0, 0], [0, 0.55, 0]])
    shape = np.concatenate([surface, *[surface[list(eye)].mean(axis=0) + rim for eye in EYES]])
    scale, middle = CROP_PX / (21.5 * 1.25), oval_center() + np.array([0, 0.6, 0])
    points = []
    for angle in np.radians(np.linspace(-30, 30, FRAMES)):
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        shift = (CROP_PX - 1) / 2 * np.array([1, 1, 0]) - scale * turn @ middle
        moved = shape + rng.normal(0, 0.05, shape.shape)
        points.append(posed(moved, HeadFit(scale=scale, rotation=turn, translation=shift)))
    return PersonFrames(
        name=name,
        crops=rng.integers(0, 256, (FRAMES, CROP_PX, CROP_PX, 3)).astype(np.uint8),
        points=np.stack(points),
        blendshapes=rng.random((FRAMES, 52)).astype(np.float32),
        frame_indices=np.arange(FRAMES),
        clip_indices=np.zeros(FRAMES, np.int64),
    )


def measure(label, config, people, steps, compute):
    net = Intracoder(config)
    print(
        f"{label}: {net_cost(config).text()} (encoder {count_parameters(net.encoder) / 1e6:.2f} M, "
        f"a decoder {count_parameters(net.decoders[0]) / 1e6:.2f} M)"
    )
    wall, cpu = time.perf_counter(), time.process_time()
    data = build_training_data(people, config, threads=compute.threads)
    print(f"  preparation {time.perf_counter() - wall:.1f} s wall, {time.process_time() - cpu:.1f} s CPU")
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainConfig(minutes=None, steps=10_000, batch=BATCH)
        start = new_start(config, seed=settings.seed, warm=settings.warm_start)
        trainer = Trainer(
            data, Path(folder), settings, start, compute, silent, consents=(), mark_preview=lambda image: image
        )
        for _ in range(5):
            trainer.step()
        walls, cpus = [], []
        for _ in range(steps):
            wall, cpu = time.perf_counter(), time.process_time()
            trainer.step()
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
    faces = BATCH * len(people)
    low, middle, high = np.percentile(walls, [25, 50, 75]) * 1000
    cpu = float(np.median(cpus))
    print(f"  step {middle:.0f} ms wall (quartiles {low:.0f}, {high:.0f}), {cpu * 1000:.0f} ms CPU")
    print(f"  {faces / middle * 1000:.0f} faces/s by wall-clock, {faces / cpu:.0f} faces per CPU second")


def main():
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    compute = choose_compute("cpu", "auto", int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, {compute}")
    people = [person("source", 0), person("target", 1)]
    measure("S, 128 px, geometry and reference", preset("S"), people, steps, compute)
    measure("plain, 64 px", preset("S", plain=True), people, steps, compute)
    print(f"peak memory {peak_memory_mib(compute.device):.0f} MiB")


if __name__ == "__main__":
    main()
