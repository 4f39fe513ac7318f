"""The metrics by name: what each says, its ideal, its noise floor, and what a perfect swap reads without truth."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """One column of every table."""

    label: str
    unit: str
    """Empty for ratios and scores."""
    ideal: float | None
    """What a perfect swap reads when measured against its truth; None where more is better without end."""
    says: str
    """One sentence for readers of the table."""
    needs_truth: bool = False
    digits: int = 2


def _specs() -> dict[str, MetricSpec]:
    return {
        "nid": MetricSpec(
            label="NID",
            unit="",
            ideal=1.0,
            digits=2,
            says="How far the identity moved from the target's to the source's.",
        ),
        "leak": MetricSpec(
            label="leak", unit="", ideal=0.0, digits=2, says="How much of the target's identity is left."
        ),
        "similarity": MetricSpec(
            label="similarity", unit="", ideal=None, digits=3, says="Cosine to the source's centroid, not normalised."
        ),
        "pose_deg": MetricSpec(label="pose", unit="°", ideal=0.0, digits=1, says="Head rotation off by."),
        "expression": MetricSpec(
            label="expression",
            unit="",
            ideal=0.0,
            digits=2,
            says="52 blendshapes off by; 1 is a face that never moves.",
        ),
        "expression_kept": MetricSpec(
            label="expression, neutral kept",
            unit="",
            ideal=0.0,
            digits=2,
            says="The same without subtracting anybody's neutral face.",
            needs_truth=True,
        ),
        "gaze_deg": MetricSpec(label="gaze", unit="°", ideal=0.0, digits=1, says="Eyes turned sideways off by."),
        "seam_de": MetricSpec(
            label="seam",
            unit="ΔE",
            ideal=0.0,
            digits=2,
            says="Colour step across the edge of the swap, beyond the reference's.",
        ),
        "detail_ratio": MetricSpec(
            label="HF",
            unit="",
            ideal=1.0,
            digits=2,
            says="Finest details against the reference: below 1 is blur, above is noise.",
        ),
        "flicker_ratio": MetricSpec(
            label="flicker",
            unit="",
            ideal=1.0,
            digits=2,
            says="Change from frame to frame along the target's motion, relative.",
        ),
        "jitter_ratio": MetricSpec(
            label="jitter",
            unit="",
            ideal=1.0,
            digits=2,
            says="Acceleration of the landmarks, relative to the reference's.",
        ),
        "background_psnr_db": MetricSpec(
            label="background", unit="dB", ideal=None, digits=1, says="How untouched everything but the face is."
        ),
        "light_de": MetricSpec(
            label="light", unit="ΔE", ideal=0.0, digits=2, says="Low-frequency colour of the face off by."
        ),
        "found": MetricSpec(
            label="found", unit="", ideal=1.0, digits=2, says="Share of the target's faces that the output still shows."
        ),
        "psnr_db": MetricSpec(
            label="PSNR", unit="dB", ideal=None, digits=1, says="Pixel fidelity in the face.", needs_truth=True
        ),
        "ssim": MetricSpec(
            label="SSIM", unit="", ideal=1.0, digits=3, says="Structural fidelity in the face.", needs_truth=True
        ),
        "perceptual": MetricSpec(
            label="perceptual",
            unit="",
            ideal=0.0,
            digits=3,
            says="Distance of deep features in the face.",
            needs_truth=True,
        ),
        "gt_margin": MetricSpec(
            label="GT-margin",
            unit="",
            ideal=1.0,
            digits=2,
            says="Perceptually nearer to the truth (1) or to the target (-1).",
            needs_truth=True,
        ),
        "nme_percent": MetricSpec(
            label="NME",
            unit="%",
            ideal=0.0,
            digits=2,
            says="Landmarks off by, percent of eye distance.",
            needs_truth=True,
        ),
        "mask_iou": MetricSpec(
            label="mask IoU",
            unit="",
            ideal=1.0,
            digits=2,
            says="Changed region against the region that should change.",
            needs_truth=True,
        ),
    }


METRICS: Final[Mapping[str, MetricSpec]] = MappingProxyType(_specs())
"""In the order of the tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Typical:
    """What naive scoring gives perfect swaps: their mean and range over the measured pairs."""

    mean: float
    low: float
    high: float


@functools.cache
def _reference_values() -> dict[str, dict[str, dict[str, float]]]:
    text = files("intracoder.evaluation").joinpath("reference_values.json").read_text(encoding="utf-8")
    loaded: dict[str, dict[str, dict[str, float]]] = json.loads(text)
    return loaded


def noise_floor(key: str) -> float | None:
    """How far metric ``key`` strays from its ideal when nothing visible is wrong; None where it was not measured.

    Measured on perfect swaps that were moved by half a pixel and back, grained by one level and encoded again
    (``evaluation.floors``). Smaller differences mean nothing.
    """
    return _reference_values()["noise_floor"].get(key, {}).get("mean")


def typical_perfect(key: str) -> Typical | None:
    """What a perfect swap reads for ``key`` when there is no truth to compare with, None where it was not measured."""
    found = _reference_values()["typical_perfect"].get(key)
    return None if found is None else Typical(mean=found["mean"], low=found["low"], high=found["high"])
