"""How long colour matching, blending and the sharpness match take on one crop, and how well an edge hides.

    python benchmarks/blend.py [--threads 2] [--repeats 20]

Milliseconds of wall-clock, median and interquartile range after warm-up, for made-up pictures (what they show does not
change the time). "seam": the steepest step between neighbours that is left of a foreground 25 levels too light, cut out
hard, as a share of those 25 levels. One JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from intracoder.ops.blend import FeatherBlender, MultibandBlender, PoissonBlender
from intracoder.ops.color import ReinhardMatcher, SkinMatcher
from intracoder.ops.quality import match_sharpness, soften
from intracoder.protocols import Blender

SHIFT = 25


def picture(seed: int, size: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (size, size, 3))
    smooth = sum(cv2.GaussianBlur(noise, (0, 0), s) * s for s in (1.0, size / 32, size / 8))
    return np.clip(128 + smooth / np.std(smooth) * 35, 0, 255).astype(np.uint8)


def oval(size: int) -> np.ndarray:
    mask = np.zeros((size, size), np.float32)
    cv2.ellipse(mask, (size // 2, size // 2), (int(size * 0.3), int(size * 0.38)), 0, 0, 360, 1.0, -1)
    return np.clip(cv2.GaussianBlur(mask, (0, 0), size * 0.02) * 1.1 - 0.05, 0, 1).astype(np.float32)


def timed(call: Callable[[], object], repeats: int) -> dict[str, float]:
    spans = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        call()
        spans.append((time.perf_counter() - start) * 1e3)
    low, middle, high = np.percentile(spans[3:], [25, 50, 75])
    return {"ms": round(float(middle), 2), "iqr_ms": round(float(high - low), 2)}


def seam(blender: Blender, size: int) -> float:
    background, alpha = picture(0, size) // 2 + 40, (oval(size) > 0.5).astype(np.float32)
    raised = (background + SHIFT).astype(np.uint8)
    added = blender.blend(background, raised, alpha).astype(np.float32) - background
    return round(float(max(np.abs(np.diff(added, axis=axis)).max() for axis in (0, 1))) / SHIFT, 3)


def rows_for(size: int, repeats: int) -> list[dict[str, object]]:
    background, foreground, alpha = picture(0, size), picture(1, size), oval(size)
    core, soft = (alpha > 0.9).astype(np.float32), soften(picture(0, size), 2.0)
    blenders: dict[str, Blender] = {
        "feather": FeatherBlender(),
        "multiband": MultibandBlender(),
        "poisson": PoissonBlender(),
        "poisson, unscreened": PoissonBlender(reach=np.inf),
    }
    rows: list[dict[str, object]] = []
    for name, blender in blenders.items():
        took = timed(partial(blender.blend, background, foreground, alpha), repeats)
        rows.append({"px": size, "part": name, **took, "seam": seam(blender, size)})
    for name, matcher in {"reinhard": ReinhardMatcher(), "skin": SkinMatcher()}.items():
        rows.append(
            {"px": size, "part": name, **timed(partial(matcher.match, foreground, background, core, core), repeats)}
        )
    rows.append(
        {"px": size, "part": "sharpness", **timed(partial(match_sharpness, foreground, soft, core, 0), repeats)}
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    cv2.setNumThreads(options.threads)
    head = {
        "machine": platform.processor() or platform.machine(),
        "threads": options.threads,
        "opencv": cv2.__version__,
    }
    print(json.dumps(head))
    for size in (128, 256, 512):
        for row in rows_for(size, options.repeats):
            print(json.dumps(row))


if __name__ == "__main__":
    main()
