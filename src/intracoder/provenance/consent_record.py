"""The consent record: its fields, its TOML form, its signatures, and the Merkle root that binds it to files.

A record is signed over the canonical JSON of its fields. The list of file hashes lies beside them in the same
TOML file and is bound by ``files_root``, so that a model card can carry the record without the list. No field
holds a face embedding, a file name or anything else measured from a face.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomli_w
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from intracoder.errors import ConsentError

SCHEMA = "intracoder-consent/1"
EVIDENCE: Mapping[str, frozenset[str]] = {
    "synthetic": frozenset({"generator"}),
    "self": frozenset(),
    "dataset-licence": frozenset({"dataset", "licence", "url"}),
    "written-consent": frozenset({"form_sha256"}),
}
"""Bases on which a face may be used, and what each has to state. There is none for a public figure."""
SCOPES = ("research", "private", "publish", "commercial")
"""Uses that a person can agree to, each separately."""
LONGEST_DAYS = 5 * 365 + 2
"""Longest written consent: five years, two of them leap years."""
MAX_RECORD_BYTES = 4 << 20

_HEX64 = re.compile(r"[0-9a-f]{64}")
_FIELDS = frozenset(
    {"schema", "identity", "basis", "scope", "adult", "created", "expires", "attested_by", "file_count", "files_root"}
)
_TABLES = frozenset({"evidence", "signature", "countersignature", "files"})
_SIGNED_BY_OPERATOR = b"intracoder consent, operator\n"
_SIGNED_BY_SUBJECT = b"intracoder consent, subject\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One Ed25519 signature."""

    public_key: bytes
    """32 bytes."""
    value: bytes
    """64 bytes."""

    @property
    def fingerprint(self) -> str:
        """sha256 of the public key, hex."""
        return hashlib.sha256(self.public_key).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentRecord:
    """What a person, or the rights holder of an image set, agreed to."""

    identity: str
    """Whose face: a name or pseudonym that the operator chose."""
    basis: str
    """Key of EVIDENCE."""
    scope: tuple[str, ...]
    """Out of SCOPES, sorted."""
    created: dt.date
    """Day of the record."""
    expires: dt.date | None
    """Last day on which it holds; None where the basis itself has no end."""
    attested_by: str
    """Who states all this."""
    evidence: Mapping[str, str]
    """What the basis has to state, and an optional ``note``."""
    file_count: int
    """Number of distinct files."""
    files_root: str
    """Merkle root over the files' contents, hex."""

    def canonical(self) -> bytes:
        """The bytes that are signed: JSON with sorted keys and no spaces."""
        fields: dict[str, Any] = {
            "schema": SCHEMA,
            "identity": self.identity,
            "basis": self.basis,
            "scope": list(self.scope),
            "adult": True,
            "created": self.created.isoformat(),
            "attested_by": self.attested_by,
            "evidence": dict(self.evidence),
            "file_count": self.file_count,
            "files_root": self.files_root,
        }
        if self.expires is not None:
            fields["expires"] = self.expires.isoformat()
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def sha256(self) -> str:
        """Hash of the canonical bytes, hex: what manifests, the ledger and the deny list name the record by."""
        return hashlib.sha256(self.canonical()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRecord:
    """A record with its signatures and, in a source's own consent.toml, its files."""

    record: ConsentRecord
    signature: Signature | None
    """Operator's; None only in records that the package pins by their hash."""
    countersignature: Signature | None = None
    """Subject's."""
    file_hashes: tuple[str, ...] = ()
    """sha256 of each file's content, sorted; empty in the copy that a model card carries."""


def merkle_root(file_hashes: Sequence[str]) -> str:
    """Root over content hashes, hex; order and file names do not matter.

    Args:
        file_hashes: sha256 of each file, hex, at least one.

    Source: RFC 6962 section 2.1 (leaf and node prefixes); an odd node is paired with itself.
    """
    if not file_hashes:
        raise ConsentError("consent record: expected at least one file, got none")
    level = sorted(hashlib.sha256(b"\0" + bytes.fromhex(h)).digest() for h in set(file_hashes))
    while len(level) > 1:
        pairs = [(level[i], level[min(i + 1, len(level) - 1)]) for i in range(0, len(level), 2)]
        level = [hashlib.sha256(b"\1" + a + b).digest() for a, b in pairs]
    return level[0].hex()


def sign_record(record: ConsentRecord, key: Ed25519PrivateKey, *, as_subject: bool = False) -> Signature:
    """Operator's signature, or the subject's; the two cannot stand for each other."""
    purpose = _SIGNED_BY_SUBJECT if as_subject else _SIGNED_BY_OPERATOR
    value = key.sign(purpose + record.canonical())
    return Signature(public_key=key.public_key().public_bytes_raw(), value=value)


def check_signature(record: ConsentRecord, signature: Signature, *, where: str, as_subject: bool = False) -> None:
    """ConsentError unless ``signature`` was made over this very record."""
    purpose = _SIGNED_BY_SUBJECT if as_subject else _SIGNED_BY_OPERATOR
    try:
        key = Ed25519PublicKey.from_public_bytes(signature.public_key)
        key.verify(signature.value, purpose + record.canonical())
    except (InvalidSignature, ValueError) as error:
        which = "countersignature" if as_subject else "signature"
        raise ConsentError(f"{where}: the {which} does not fit the record, which was edited; make it anew") from error


def _need(condition: bool, where: str, message: str) -> None:  # noqa: FBT001 - reads as a statement
    """ConsentError unless ``condition``."""
    if not condition:
        raise ConsentError(f"{where}: {message}")


def _text(value: object, where: str, name: str, *, longest: int = 200) -> str:
    """``value`` where it is a short printable line."""
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        raise ConsentError(
            f"{where}: {name}: expected one line of 1..{longest} printable characters, got {value!r:.60}"
        )
    return value


def _day(value: object, where: str, name: str) -> dt.date:
    """``value`` as a date."""
    try:
        return dt.date.fromisoformat(_text(value, where, name, longest=10))
    except ValueError as error:
        raise ConsentError(f'{where}: {name}: expected a quoted day like "2026-11-23", got {value!r:.60}') from error


def _bytes_of(table: object, where: str, name: str) -> Signature:
    """A signature table."""
    if not isinstance(table, dict) or set(table) != {"alg", "key", "value"} or table["alg"] != "ed25519":
        raise ConsentError(f'{where}: {name}: expected alg = "ed25519", key and value, got {table!r:.60}')
    try:
        key, value = (base64.b64decode(_text(table[k], where, k), validate=True) for k in ("key", "value"))
    except (binascii.Error, ValueError) as error:
        raise ConsentError(f"{where}: {name}: expected base64, got {table!r:.60}") from error
    _need(len(key) == 32 and len(value) == 64, where, f"{name}: expected 32 + 64 bytes, got {len(key)} + {len(value)}")
    return Signature(public_key=key, value=value)


def _evidence(table: object, basis: str, where: str) -> dict[str, str]:
    """What the basis states, complete."""
    if not isinstance(table, dict):
        raise ConsentError(f"{where}: evidence: expected a table, got {table!r:.60}")
    missing, unknown = EVIDENCE[basis] - set(table), set(table) - EVIDENCE[basis] - {"note"}
    _need(not missing, where, f"basis {basis} needs evidence: {', '.join(sorted(missing))}")
    _need(not unknown, where, f"basis {basis} knows no evidence {', '.join(sorted(unknown))}")
    stated = {k: _text(v, where, f"evidence.{k}", longest=500) for k, v in sorted(table.items())}
    if basis == "written-consent":
        is_hash = _HEX64.fullmatch(stated["form_sha256"]) is not None
        _need(is_hash, where, "evidence.form_sha256: expected 64 hex digits of the signed form's sha256")
    return stated


def check_record(fields: Mapping[str, Any], *, where: str) -> ConsentRecord:
    """A record from plain values.

    Args:
        fields: As in the TOML file, without signatures and file list.
        where: File that they come from, for messages.

    Raises:
        ConsentError: a field is missing, unknown, of the wrong kind, or not allowed.
    """
    unknown = set(fields) - _FIELDS - {"evidence"}
    _need(not unknown, where, f"unknown field {', '.join(sorted(unknown))}; known: {', '.join(sorted(_FIELDS))}")
    _need(fields.get("schema") == SCHEMA, where, f"schema: expected {SCHEMA!r}, got {fields.get('schema')!r:.60}")
    basis = fields.get("basis")
    if not isinstance(basis, str) or basis not in EVIDENCE:
        raise ConsentError(f"{where}: basis: expected one of {', '.join(EVIDENCE)}, got {basis!r:.60}")
    _need(fields.get("adult") is True, where, "adult must be true: children's faces are not processed; state --adult")
    scope = fields.get("scope")
    if not isinstance(scope, list) or not scope or not all(isinstance(s, str) and s in SCOPES for s in scope):
        raise ConsentError(f"{where}: scope: expected a list out of {', '.join(SCOPES)}, got {scope!r:.80}")
    created = _day(fields.get("created"), where, "created")
    expires = _day(fields["expires"], where, "expires") if "expires" in fields else None
    if basis == "written-consent":
        _need(expires is not None, where, "written-consent needs expires, at most five years after created")
    if expires is not None:
        _need(created <= expires, where, f"expires: expected a day after created, got {expires}")
        within = (expires - created).days <= LONGEST_DAYS
        _need(within, where, f"expires: expected at most five years after created {created}, got {expires}")
    count, root = fields.get("file_count"), fields.get("files_root")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ConsentError(f"{where}: file_count: expected a number above 0, got {count!r:.60}")
    if not isinstance(root, str) or _HEX64.fullmatch(root) is None:
        raise ConsentError(f"{where}: files_root: expected 64 hex digits, got {root!r:.60}")
    return ConsentRecord(
        identity=_text(fields.get("identity"), where, "identity"),
        basis=basis,
        scope=tuple(sorted(set(scope))),
        created=created,
        expires=expires,
        attested_by=_text(fields.get("attested_by"), where, "attested_by"),
        evidence=_evidence(fields.get("evidence", {}), basis, where),
        file_count=count,
        files_root=root,
    )


def parse_record(data: bytes, *, where: str) -> SignedRecord:
    """Reads a consent.toml, or the copy of one that a model card carries.

    The result is well-formed, its signatures fit, and its file list, where there is one, has the stated root.
    Whether the signer is one to believe, and whether the record holds today, is for the caller.

    Raises:
        ConsentError: anything else.
    """
    _need(len(data) <= MAX_RECORD_BYTES, where, f"expected at most {MAX_RECORD_BYTES} bytes, got {len(data)}")
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ConsentError(f"{where}: not a TOML file: {error}") from error
    record = check_record({k: v for k, v in table.items() if k not in _TABLES - {"evidence"}}, where=where)
    signature = _bytes_of(table["signature"], where, "signature") if "signature" in table else None
    if signature is not None:
        check_signature(record, signature, where=where)
    counter = _bytes_of(table["countersignature"], where, "countersignature") if "countersignature" in table else None
    if counter is not None:
        check_signature(record, counter, where=where, as_subject=True)
    hashes = _file_hashes(table["files"], where) if "files" in table else ()
    if hashes:
        fits = len(hashes) == record.file_count and merkle_root(hashes) == record.files_root
        _need(fits, where, "the list of files was edited: it does not have the signed root; make the record anew")
    return SignedRecord(record=record, signature=signature, countersignature=counter, file_hashes=hashes)


def _file_hashes(table: object, where: str) -> tuple[str, ...]:
    """The ``[files]`` table's hashes."""
    hashes = table.get("sha256") if isinstance(table, dict) and set(table) == {"sha256"} else None
    if not isinstance(hashes, list) or not all(isinstance(h, str) and _HEX64.fullmatch(h) for h in hashes):
        raise ConsentError(f"{where}: files: expected sha256 = a list of 64-digit hashes, got {table!r:.60}")
    return tuple(sorted(set(hashes)))


def record_toml(signed: SignedRecord, *, with_files: bool) -> str:
    """The record as TOML; without the file list it is the short form for project folders and model cards."""
    table: dict[str, Any] = json.loads(signed.record.canonical())
    evidence = table.pop("evidence")
    if evidence:
        table["evidence"] = evidence
    for name, signature in (("signature", signed.signature), ("countersignature", signed.countersignature)):
        if signature is not None:
            key, value = (base64.b64encode(b).decode() for b in (signature.public_key, signature.value))
            table[name] = {"alg": "ed25519", "key": key, "value": value}
    if with_files:
        table["files"] = {"sha256": list(signed.file_hashes)}
    return tomli_w.dumps(table)
