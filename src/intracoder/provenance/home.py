"""The per-install folder: keys, the deny list and the ledger, readable by their owner only."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from intracoder.errors import ProvenanceError
from intracoder.media.atomic import atomic_path


def home_folder() -> Path:
    """``INTRACODER_HOME``, or the platform's folder for a user's settings; it may not exist yet."""
    chosen = os.environ.get("INTRACODER_HOME", "")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "intracoder"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "intracoder"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "intracoder"


def make_private_folder(folder: Path) -> None:
    """Makes ``folder`` and its parents; a new folder is the owner's alone (0700)."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ProvenanceError(
            f"{folder}: can't be made: {error.strerror}; set INTRACODER_HOME to a folder you own"
        ) from error


def write_private(path: Path, data: bytes) -> None:
    """Writes ``data`` to ``path`` with mode 0600; a reader sees the old file or the whole new one.

    Raises:
        MediaError: the folder can't be written.
    """
    make_private_folder(path.parent)
    with atomic_path(path) as beside:
        beside.chmod(0o600)
        beside.write_bytes(data)


def read_private(path: Path) -> bytes:
    """Bytes of a file that nobody else may read.

    Raises:
        ProvenanceError: it can't be read, or other users of the machine can read or write it.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        # Windows has no such bits: the user's profile folder is what protects the file there
        if os.name == "posix" and mode & 0o077:
            raise ProvenanceError(f"{path}: expected mode 0600, got {mode:04o}; run: chmod 600 {path}")
        return path.read_bytes()
    except OSError as error:
        raise ProvenanceError(f"{path}: can't be read: {error.strerror}") from error
