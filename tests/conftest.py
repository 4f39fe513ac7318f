"""Fixtures for every test."""

from __future__ import annotations

import random
import socket
import sys
from typing import Any

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection but a local UNIX socket fails the test: nothing here may need a network."""

    def guard(connect: Any) -> Any:
        def guarded(self: socket.socket, address: Any) -> Any:
            if self.family != getattr(socket, "AF_UNIX", None):
                pytest.fail(f"the test opens a network connection to {address!r}")
            return connect(self, address)

        return guarded

    monkeypatch.setattr(socket.socket, "connect", guard(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guard(socket.socket.connect_ex))


@pytest.fixture
def seed() -> int:
    """Seeds every global generator that is loaded and returns the number, for generators of a test's own."""
    number = 20261122
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 - for code under test that uses the global generator
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(number)
    return number
