"""CPU milliseconds per call of the mesh operations on one core: ``python benchmarks/mesh.py``; median and fastest."""

import time

import cv2
import numpy as np

from intracoder.ops.geometry import posed
from intracoder.ops.mask import hull_mask, skin_mask, weight_map
from intracoder.ops.mesh import mesh_warp, paint_geometry, warp_field
from intracoder.ops.topology import EYES, canonical_points, oval_center
from intracoder.records import HeadFit

REPEATS = 40


def crop_points(size, yaw_deg):
    """The canonical head in a "wide_margin" crop."""
    surface = canonical_points()
    irises = [surface[list(eye)].mean(axis=0) + 0.5 * np.eye(3)[[2, 0, 1, 0, 1]] for eye in EYES]
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    turn = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    scale = size / 26.875
    shift = (size - 1) / 2 * np.array([1.0, 1.0, 0.0]) - scale * turn @ oval_center()
    return posed(np.concatenate([surface, *irises]), HeadFit(scale=scale, rotation=turn, translation=shift))


def milliseconds(call):
    call()
    times = []
    for _ in range(REPEATS):
        start = time.thread_time()
        call()
        times.append(1000 * (time.thread_time() - start))
    return np.median(times), min(times)


def main():
    cv2.setNumThreads(1)
    for size in (160, 200, 256):
        frontal, turned = crop_points(size, 0), crop_points(size, 30)
        image = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
        calls = {
            "paint_geometry": lambda p=turned, s=size: paint_geometry(p, s),
            "warp_field": lambda a=frontal, b=turned, s=size: warp_field(a, b, s),
            "mesh_warp": lambda i=image, a=frontal, b=turned, s=size: mesh_warp(i, a, b, s),
            "hull_mask": lambda p=turned, s=size: hull_mask(p, s, s, feather_px=10.0),
            "weight_map": lambda p=turned, s=size: weight_map(p, s),
            "skin_mask": lambda p=turned, s=size: skin_mask(p, s),
        }
        for name, call in calls.items():
            median, fastest = milliseconds(call)
            print(f"{name:16s} {size:4d} px  median {median:6.2f} ms  fastest {fastest:6.2f} ms")


if __name__ == "__main__":
    main()
