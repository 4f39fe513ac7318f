"""The pretrained networks, run by onnxruntime on the CPU."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
from jaxtyping import Float32
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from intracoder.errors import WeightsError
from intracoder.nets.onnx_file import refuse_external_tensors
from intracoder.nets.weights import load_bytes

_THREADS_MAX = 4
_SEVERITY_ERROR = 3
ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(ort_errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
"""Everything that onnxruntime raises; its exceptions have no class in common."""


class OnnxNet:
    """One network with one input. It belongs to whoever opened it; ``run`` may be called from several threads."""

    def __init__(self, session: ort.InferenceSession, *, name: str) -> None:
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise WeightsError(f"weights {name!r}: expected one input, got {[i.name for i in inputs]}")
        self._session = session
        self._name = name
        self._input_name: str = inputs[0].name
        self._outputs: list[str] = [output.name for output in session.get_outputs()]

    @property
    def name(self) -> str:
        """Key in the weights manifest."""
        return self._name

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of what ``run`` returns, in order."""
        return tuple(self._outputs)

    def run(self, batch: Float32[np.ndarray, "..."]) -> tuple[Float32[np.ndarray, "..."], ...]:
        """All outputs for one input batch, in the file's order; layouts are in the manifest.

        Raises:
            WeightsError: the batch does not fit, or there is too little memory.
        """
        try:
            return tuple(self._session.run(self._outputs, {self._input_name: batch}))
        except ORT_ERRORS as error:
            reason = " ".join(str(error).split())
            raise WeightsError(f"weights {self._name!r}: onnxruntime can't run it: {reason}") from error


def onnx_session(name: str, *, threads: int = 0, folder: Path | None = None) -> OnnxNet:
    """Opens a network of the weights manifest after checking its bytes.

    Args:
        name: Key in the manifest.
        threads: CPU threads; 0 takes the machine's, at most 4, beyond which networks this small gain nothing.
        folder: Weights folder; the packaged one unless given.

    Raises:
        ChecksumError: The file's bytes are not those of the manifest.
        WeightsError: No such network, not an ONNX file, or one that reads tensors from other files.
    """
    data = load_bytes(name, folder=folder)
    refuse_external_tensors(data, where=f"weights {name!r}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or min(_THREADS_MAX, os.cpu_count() or 1)
    options.log_severity_level = _SEVERITY_ERROR
    # idle threads that spin take the cores from whatever else works: 3 times the CPU time on a busy machine, for 15 %
    # less wall time on an idle one
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise WeightsError(f"weights {name!r}: onnxruntime can't open it: {error}") from error
    return OnnxNet(session, name=name)
