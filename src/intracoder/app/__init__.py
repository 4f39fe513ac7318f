"""The Python API: every command of the CLI is one call to it.

Each call takes plain paths and a config, tells a ``Progress``, and raises only ``IntracoderError``. Heavy modules are
imported where they are used, so that asking for help stays quick.
"""

from __future__ import annotations

from intracoder.app.consents import kept_grants, source_grants
from intracoder.app.demo import DemoOutputs, demo
from intracoder.app.looking import doctor, explain, faces, seats, show_model
from intracoder.app.making import fit_seating, fit_visible, pretrain, synth
from intracoder.app.measuring import bench, evaluate, plan_bench
from intracoder.app.rendering import render
from intracoder.app.reports import report_to_json
from intracoder.app.requests import BenchRequest, Choice, EvaluateRequest, RenderRequest, SwapRequest
from intracoder.app.steps import add, curate, extract, train
from intracoder.app.whole import swap

__all__ = [
    "BenchRequest",
    "Choice",
    "DemoOutputs",
    "EvaluateRequest",
    "RenderRequest",
    "SwapRequest",
    "add",
    "bench",
    "curate",
    "demo",
    "doctor",
    "evaluate",
    "explain",
    "extract",
    "faces",
    "fit_seating",
    "fit_visible",
    "kept_grants",
    "plan_bench",
    "pretrain",
    "render",
    "report_to_json",
    "seats",
    "show_model",
    "source_grants",
    "swap",
    "synth",
    "train",
]
