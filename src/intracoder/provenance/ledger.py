"""The local ledger: which output carries which record id. A hash-chained JSONL file, readable by its owner only.

A line holds the record id, the output's sha256, the manifest label, the consent hashes, the model's sha256 and the
time; no faces, no names, no file names. Each line names the hash of the line before it, so that one that was
changed, taken out or put in breaks the chain. (Cutting off the end does not; a chain can't tell.)
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from intracoder.errors import ProvenanceError
from intracoder.provenance.home import home_folder, make_private_folder, read_private, write_private

_START = "0" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One output."""

    record_id: str
    """UUID; its first 40 bits are in the mark."""
    output_sha256: str
    manifest_label: str
    consent_sha256: tuple[str, ...]
    consent_basis: tuple[str, ...]
    model_sha256: str
    time: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerReading:
    """All entries up to the first fault."""

    entries: tuple[LedgerEntry, ...]
    broken_at: int | None
    """1-based line at which the chain breaks; None where it holds."""


def ledger_path() -> Path:
    """Where this installation keeps its ledger."""
    return home_folder() / "ledger.jsonl"


def append_entry(entry: LedgerEntry, *, path: Path | None = None) -> None:
    """Adds a line; a killed run leaves the old ledger or the new one.

    Raises:
        ProvenanceError: the ledger is broken, readable by others, or can't be written.
        MediaError: the disk is full.
    """
    path = path or ledger_path()
    make_private_folder(path.parent)
    with _locked(path):
        old = read_private(path) if path.exists() else b""
        if read_ledger(path=path).broken_at is not None:
            raise ProvenanceError(f"{path}: the ledger's chain is broken; move the file away and keep it, then go on")
        lines = old.splitlines()
        previous = hashlib.sha256(lines[-1]).hexdigest() if lines else _START
        line = json.dumps({"previous": previous, **asdict(entry)}, sort_keys=True, separators=(",", ":"))
        write_private(path, old + line.encode() + b"\n")


def read_ledger(*, path: Path | None = None) -> LedgerReading:
    """Reads and checks the chain; an installation without a ledger has an empty one.

    Raises:
        ProvenanceError: the file is readable by others or can't be read.
    """
    path = path or ledger_path()
    if not path.exists():
        return LedgerReading(entries=(), broken_at=None)
    entries: list[LedgerEntry] = []
    previous = _START
    data = read_private(path)
    for number, line in enumerate(data.splitlines(), start=1):
        entry = _parse(line, previous)
        if entry is None:
            return LedgerReading(entries=tuple(entries), broken_at=number)
        entries.append(entry)
        previous = hashlib.sha256(line).hexdigest()
    is_whole = not data or data.endswith(b"\n")
    return LedgerReading(entries=tuple(entries), broken_at=None if is_whole else len(entries))


def find_payload(entries: tuple[LedgerEntry, ...], payload: bytes) -> LedgerEntry | None:
    """The latest entry whose record id the mark's 6 bytes begin with."""
    prefix = payload[1:].hex()
    return next((e for e in reversed(entries) if e.record_id.replace("-", "").startswith(prefix)), None)


def now() -> str:
    """The time for an entry."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _parse(line: bytes, previous: str) -> LedgerEntry | None:
    """A line that follows ``previous``, or None."""
    try:
        table = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(table, dict) or table.pop("previous", None) != previous:
        return None
    lists = ("consent_sha256", "consent_basis")
    texts = ("record_id", "output_sha256", "manifest_label", "model_sha256", "time")
    if set(table) != {*lists, *texts} or not all(isinstance(table[name], str) for name in texts):
        return None
    if not all(isinstance(table[n], list) and all(isinstance(v, str) for v in table[n]) for n in lists):
        return None
    return LedgerEntry(**{**table, **{name: tuple(table[name]) for name in lists}})


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time, where the platform can lock files."""
    lock = path.with_name(path.name + ".lock")
    with os.fdopen(os.open(lock, os.O_CREAT | os.O_RDWR, 0o600), "wb") as file:
        _lock(file.fileno())
        yield


def _lock(descriptor: int) -> None:
    """Waits for an exclusive lock, which closing the file gives back."""
    try:
        import fcntl
    except ImportError:  # Windows: the rename keeps the file whole, two runs at once could lose a line
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX)
