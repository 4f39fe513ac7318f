"""Intracoder: face replacement in video, trained in minutes, measured, consented and signed."""

from __future__ import annotations

__version__ = "0.1.0"
