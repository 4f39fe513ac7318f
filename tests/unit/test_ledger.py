"""The ledger's hash chain: every edit is noticed, and nothing but the owner can read it."""

from __future__ import annotations

import random
import stat
import uuid
from pathlib import Path

import pytest

from intracoder.errors import ProvenanceError
from intracoder.provenance.ledger import LedgerEntry, append_entry, find_payload, ledger_path, now, read_ledger
from intracoder.provenance.manifest import payload_of


def entry(number: int) -> LedgerEntry:
    return LedgerEntry(
        record_id=str(uuid.UUID(int=number << 100 | number)),
        output_sha256=f"{number:064x}",
        manifest_label=f"urn:c2pa:{number}",
        consent_sha256=("c" * 64,),
        consent_basis=("synthetic",),
        model_sha256="0" * 64,
        time=now(),
    )


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTRACODER_HOME", str(tmp_path / "home"))
    assert read_ledger().entries == ()
    for number in range(1, 6):
        append_entry(entry(number))
    return ledger_path()


def test_entries_come_back_in_order(ledger: Path) -> None:
    reading = read_ledger()
    assert reading.broken_at is None
    assert [e.manifest_label for e in reading.entries] == [f"urn:c2pa:{n}" for n in range(1, 6)]
    assert stat.S_IMODE(ledger.stat().st_mode) == 0o600
    assert find_payload(reading.entries, payload_of(uuid.UUID(entry(3).record_id))) == reading.entries[2]
    assert find_payload(reading.entries, b"\x01nobod") is None


@pytest.mark.parametrize("kind", ["changed", "removed", "inserted", "swapped", "truncated"])
def test_any_edit_breaks_the_chain_where_it_is(ledger: Path, kind: str) -> None:
    lines = ledger.read_bytes().splitlines(keepends=True)
    if kind == "changed":
        lines[2] = lines[2].replace(b'"synthetic"', b'"self"')
        expected = 4  # the line itself still reads; the next one names another hash
    elif kind == "removed":
        del lines[2]
        expected = 3
    elif kind == "inserted":
        lines.insert(2, lines[0])
        expected = 3
    elif kind == "swapped":
        lines[1], lines[2] = lines[2], lines[1]
        expected = 2
    else:
        lines[-1] = lines[-1][:-20]
        expected = 5
    ledger.write_bytes(b"".join(lines))
    assert read_ledger().broken_at == expected
    with pytest.raises(ProvenanceError, match="chain is broken"):
        append_entry(entry(9))


def test_readable_by_others_is_refused(ledger: Path) -> None:
    ledger.chmod(0o640)
    with pytest.raises(ProvenanceError, match="expected mode 0600, got 0640"):
        read_ledger()


def test_hostile_ledgers_never_raise_anything_else(ledger: Path) -> None:
    seed = ledger.read_bytes()
    rng = random.Random(0)
    for data in (b"\xff\n", b"[]\n", b"{}\n", b"null\n", b"[" * 9000, b'{"previous":1}\n', b"\n\n"):
        ledger.write_bytes(data)
        assert read_ledger().broken_at == 1
    for _ in range(300):
        mutated = bytearray(seed)
        mutated[rng.randrange(len(mutated))] ^= 1 << rng.randrange(8)
        ledger.write_bytes(bytes(mutated))
        reading = read_ledger()
        is_last_line = bytes(mutated).splitlines()[:-1] == seed.splitlines()[:-1]
        assert reading.broken_at is not None or is_last_line
