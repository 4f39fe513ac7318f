"""``intracoder verify``: what a file's marks say, in plain words.

It tells what was found and what was changed since. It never says that a file is genuine: a mark can be absent, and
credentials removed, without a trace.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from intracoder.errors import MediaError, ProvenanceError
from intracoder.media.reader import probe, read_frames, read_metadata
from intracoder.provenance.credentials import CredentialsReading, CredentialsState, is_ours, read_credentials
from intracoder.provenance.ledger import LedgerEntry, LedgerReading, find_payload, read_ledger
from intracoder.provenance.manifest import DIGITAL_SOURCE_TYPE
from intracoder.provenance.watermark import Residual, TileMark
from intracoder.records import WatermarkReading

VERIFY_FRAMES = 96
"""Frames that the mark is read from, spread over the first minutes of a clip."""
_SPREAD_MAX = 3000
"""Frames decoded at most."""
_CHANGED = {
    "assertion.bmffHash": "the picture, the sound or the container was changed",
    "assertion.dataHash": "the picture or its container was changed",
    "assertion.boxesHash": "the picture or its container was changed",
    "assertion.": "a statement in the credentials was changed or taken out",
    "claim": "the signed list of statements was changed",
    "ingredient.": "what is said of an earlier version was changed",
    "": "the credentials are damaged",
}
"""What a validation code says in plain words, by how it begins; the first that fits. Source: C2PA 2.2 section 15.2."""


class Verdict(Enum):
    """What ``verify`` came to; the value is the exit code."""

    MARKED = 0
    NOTHING_FOUND = 1
    TAMPERED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """Everything that was found on one file."""

    file: str
    """Name without folder."""
    verdict: Verdict
    credentials: CredentialsReading
    mark: WatermarkReading | None
    """None where no picture could be decoded."""
    unreadable: str | None
    """Why no picture could be decoded, or None."""
    ledger_entry: LedgerEntry | None
    is_ledger_file: bool
    """The file is, byte for byte, the output that the ledger names."""
    ledger_broken_at: int | None
    ledger_fault: str | None
    """Why this installation's ledger could not be used at all, or None."""
    comment: str | None
    """The container's own word that it is AI-modified."""
    has_source_type: bool
    """IPTC's digital source type for composites with trained models is somewhere in the file."""
    words: tuple[str, ...]
    """The findings in plain words, one sentence each."""

    @property
    def exit_code(self) -> int:
        """0 marked, 1 nothing found, 4 changed since it was signed."""
        return self.verdict.value

    def to_json(self) -> str:
        """One JSON object for machines."""
        mark, entry = self.mark, self.ledger_entry
        credentials: dict[str, Any] = {
            "state": self.credentials.state.value,
            "signer": self.credentials.signer,
            "time_stamp": self.credentials.time_stamp,
            "generator": self.credentials.generator,
            "is_own": self.credentials.is_own,
            "is_ai": self.credentials.is_ai,
            "actions": list(self.credentials.actions),
            "failures": list(self.credentials.failures),
            "manifest_count": self.credentials.manifest_count,
            "record_id": self.credentials.record_id,
            "consents": [{"basis": b, "record_sha256": s} for b, s in self.credentials.consents],
        }
        found: dict[str, Any] | None = None
        if mark is not None:
            payload = mark.payload.hex() if mark.payload is not None else None
            found = {"found": mark.is_found, "payload": payload, "z": round(mark.z_score, 2)}
            found["log10_fpr"] = round(mark.log10_fpr, 1)
        return json.dumps(
            {
                "file": self.file,
                "verdict": self.verdict.name.lower(),
                "credentials": credentials,
                "mark": found,
                "unreadable": self.unreadable,
                "ledger": {"record_id": entry.record_id, "same_file": self.is_ledger_file} if entry else None,
                "ledger_broken_at": self.ledger_broken_at,
                "ledger_fault": self.ledger_fault,
                "comment": self.comment,
                "digital_source_type": self.has_source_type,
                "words": list(self.words),
            },
            ensure_ascii=False,
        )


def verify_file(path: Path, *, mark: TileMark | None = None) -> VerifyReport:
    """Looks for every mark in a file of this tool or any other.

    Args:
        path: Clip or picture.
        mark: Whose invisible mark; the public one by default.

    Raises:
        ProvenanceError: there is no such file, or it can't be read.
    """
    if not path.is_file():
        raise ProvenanceError(f"{path}: expected a file to verify, found none")
    credentials = read_credentials(path)
    reading, unreadable, comment = None, None, None
    try:
        reading = (mark or TileMark()).read_residual(_residual(path))
        comment = read_metadata(path).get("comment")
    except MediaError as error:
        unreadable = str(error)
    is_ai_comment = comment is not None and comment.startswith("AI-modified")
    digest, has_source_type = _scan(path)
    ledger, ledger_fault = _own_ledger()
    payload = reading.payload if reading is not None else None
    entry = next((e for e in ledger.entries if e.output_sha256 == digest), None)
    if entry is None and (payload or credentials.payload) is not None:
        entry = find_payload(ledger.entries, payload or credentials.payload or b"")
    report = VerifyReport(
        file=path.name,
        verdict=_verdict(credentials, reading, is_declared=is_ai_comment or has_source_type),
        credentials=credentials,
        mark=reading,
        unreadable=unreadable,
        ledger_entry=entry,
        is_ledger_file=entry is not None and entry.output_sha256 == digest,
        ledger_broken_at=ledger.broken_at,
        ledger_fault=ledger_fault,
        comment=comment if is_ai_comment else None,
        has_source_type=has_source_type,
        words=(),
    )
    return _with_words(report)


def _own_ledger() -> tuple[LedgerReading, str | None]:
    """This installation's ledger; an empty one and the reason where it can't be used, which is no word on the file."""
    try:
        return read_ledger(), None
    except ProvenanceError as error:
        return LedgerReading(entries=(), broken_at=None), str(error)


def _verdict(credentials: CredentialsReading, mark: WatermarkReading | None, *, is_declared: bool) -> Verdict:
    """The three outcomes; a changed file is one even where the mark still stands."""
    if credentials.state is CredentialsState.TAMPERED:
        return Verdict.TAMPERED
    is_marked = mark is not None and mark.is_found
    return Verdict.MARKED if credentials.is_ai or is_marked or is_declared else Verdict.NOTHING_FOUND


def _residual(path: Path) -> Residual:
    """Up to VERIFY_FRAMES frames, spread evenly; small frames of a damaged file are read as far as they go."""
    count = probe(path).frame_count or VERIFY_FRAMES
    step = max(1, min(count, _SPREAD_MAX) // VERIFY_FRAMES)
    residual = Residual()
    try:
        for frame in read_frames(path, stop=min(_SPREAD_MAX, step * VERIFY_FRAMES)):
            if frame.index % step == 0:
                residual.add(frame.pixels)
    except MediaError:
        if residual.count == 0:
            raise
    return residual


def _scan(path: Path) -> tuple[str, bool]:
    """sha256 of a file, and whether the digital source type of composites stands anywhere in it."""
    digest, needle, tail, found = hashlib.sha256(), DIGITAL_SOURCE_TYPE.encode(), b"", False
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                found = found or needle in tail + block
                tail = block[-len(needle) :]
    except OSError as error:
        raise ProvenanceError(f"{path}: can't be read: {error.strerror}") from error
    return digest.hexdigest(), found


def _with_words(report: VerifyReport) -> VerifyReport:
    """The report with its sentences."""
    words = (*_headline(report), *_on_credentials(report), *_on_mark(report), *_on_basis(report), *_on_ledger(report))
    return replace(report, words=words)


def _headline(report: VerifyReport) -> Iterator[str]:
    """What it comes to."""
    if report.verdict is Verdict.TAMPERED:
        yield "This file was changed after it was signed, or its credentials are damaged."
    elif report.verdict is Verdict.MARKED:
        yield "This file is marked as made or changed by AI."
    else:
        yield "No mark was found. That proves nothing: marks can be missing or removed."


def _on_credentials(report: VerifyReport) -> Iterator[str]:
    """The signed metadata."""
    credentials = report.credentials
    by = f"{credentials.generator or 'an unnamed program'}, signed by {credentials.signer or 'an unnamed signer'}"
    if credentials.state is CredentialsState.ABSENT:
        yield "Content Credentials: none. Re-encoding, screen recording and most platforms remove them."
        return
    if credentials.state is CredentialsState.TAMPERED:
        yield f"Content Credentials of {by} do not fit the file: {'; '.join(_changes(credentials.failures))}."
        return
    if credentials.state is CredentialsState.SIGNER_INVALID:
        yield f"Content Credentials of {by} fit the file, but the certificate does not count: " + (
            f"{', '.join(credentials.failures)}."
        )
    else:
        yield f"Content Credentials of {by}: the file is unchanged since."
    if credentials.is_own:
        yield "The signature is this installation's own."
    elif is_ours(credentials):
        yield "Who runs the installation that signed is not proven; only that nothing was changed since."
    if credentials.time_stamp is not None:
        yield f"Time-stamped {credentials.time_stamp}, by an authority that is not checked here."
    yield f"They declare {'content made or changed by a trained model' if credentials.is_ai else 'no use of AI'}."
    if credentials.disclosure:
        yield f"There is no visible label; viewers are told here: {credentials.disclosure}"
    if credentials.manifest_count > 1:
        yield f"Credentials of earlier versions are kept inside ({credentials.manifest_count - 1})."


def _changes(failures: Sequence[str]) -> Iterator[str]:
    """What was changed, each once, with the validation codes that say so."""
    found: dict[str, list[str]] = {}
    for code in failures or ("unreadable",):
        if not code.startswith("signingCredential."):  # who signed is another question
            found.setdefault(next(w for begins, w in _CHANGED.items() if code.startswith(begins)), []).append(code)
    for words, codes in found.items():
        yield f"{words} ({', '.join(codes)})"


def _on_mark(report: VerifyReport) -> Iterator[str]:
    """The invisible mark, and the plain metadata."""
    mark = report.mark
    if mark is None:
        yield f"Invisible mark: the picture can't be read ({report.unreadable})."
    elif mark.is_found:
        chance = f"10^{math.floor(mark.log10_fpr)}" if mark.log10_fpr > -300 else "less than 10^-300"
        yield f"Invisible mark of Intracoder found (chance in an unmarked picture at most {chance})."
        stated = report.credentials.payload
        if mark.payload is None:
            yield "Its record number is too damaged to read."
        elif stated is not None and stated != mark.payload:
            yield f"Its record number {mark.payload[1:].hex()} is not that of the credentials ({stated[1:].hex()})."
        else:
            yield f"Its record number is {mark.payload[1:].hex()}."
    else:
        yield "Invisible mark of Intracoder: not found."
    if report.comment is not None or report.has_source_type:
        yield "The file's plain metadata says that it is AI-modified."


def _on_basis(report: VerifyReport) -> Iterator[str]:
    """Consent of the person whose face was put in."""
    explained = {
        "synthetic": "a synthetic person, who does not exist",
        "self": "the operator's own face",
        "dataset-licence": "a data set whose licence allows it",
        "written-consent": "the person's written consent",
    }
    consents = report.credentials.consents
    if not consents and report.ledger_entry is not None:
        consents = tuple(zip(report.ledger_entry.consent_basis, report.ledger_entry.consent_sha256, strict=False))
    for basis, digest in consents:
        yield f"Basis for using the source's face: {explained.get(basis, basis)} (record {digest[:16]})."


def _on_ledger(report: VerifyReport) -> Iterator[str]:
    """This installation's own memory."""
    entry = report.ledger_entry
    if report.ledger_fault is not None:
        yield f"This installation's ledger is not used: {report.ledger_fault}."
    if report.ledger_broken_at is not None:
        yield f"This installation's ledger is broken at line {report.ledger_broken_at}; what follows there is not used."
    if entry is not None and report.is_ledger_file:
        yield f"The ledger knows this very file: record {entry.record_id}, made {entry.time}."
    elif entry is not None:
        yield f"The ledger knows its record: {entry.record_id}, made {entry.time}; this file is a changed copy of it."
