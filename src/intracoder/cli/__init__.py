"""The command line. Imports no framework before a command needs it, so that help is quick."""

from __future__ import annotations

from intracoder.cli.main import main

__all__ = ["main"]
