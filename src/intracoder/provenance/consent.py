"""Consent for a source: made, shown, checked, countersigned, withdrawn.

A folder of one person's pictures and clips carries ``consent.toml``; a single file ``clip.mp4`` carries
``clip.mp4.consent.toml`` or is covered by its folder's record. The operator's signature proves that the record
was not edited, not that the person agreed; a countersignature with the subject's own key says more.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from intracoder.errors import ConsentError, ProvenanceError
from intracoder.media.atomic import atomic_path
from intracoder.provenance.consent_record import (
    MAX_RECORD_BYTES,
    SCHEMA,
    SCOPES,
    SignedRecord,
    check_record,
    merkle_root,
    parse_record,
    record_toml,
    sign_record,
)
from intracoder.provenance.home import home_folder
from intracoder.provenance.keys import add_withdrawn, is_hash, operator_key, trusted_signers, withdrawn_records
from intracoder.provenance.packaged import PINNED_RECORDS, packaged_records
from intracoder.records import Embedding, Embeddings

RECORD_NAME = "consent.toml"
MEDIA_SUFFIX = re.compile(r"\.(png|jpe?g|webp|bmp|tiff?|mp4|m4v|mov|mkv|webm|avi|3gp)", re.IGNORECASE)
"""Files of a source folder that a record covers; others (notes, records) are nobody's face."""
SAME_PERSON_MIN = 0.35
"""Cosine to the set's centroid under which a face is another person's; as curate.similarity_min."""

_HINT = (
    "make one with: intracoder consent new {path} --adult --basis " + "self|synthetic|dataset-licence|written-consent"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentGrant:
    """A record that was checked and holds today; what the later stages and the marks need of it."""

    identity: str
    basis: str
    scope: tuple[str, ...]
    expires: dt.date | None
    record_sha256: str
    signer: str
    """First 16 hex digits of the operator key's fingerprint, or "package"."""
    is_countersigned: bool
    record_toml: str
    """The signed record without its file list, to be kept in model cards."""
    file_hashes: frozenset[str] = field(default=frozenset(), compare=False)
    """sha256 of the files that it was checked for; none where a model card's copy was checked."""


def sha256_file(path: Path) -> str:
    """sha256 of a file's content, hex.

    Raises:
        ConsentError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConsentError(f"{path}: can't be read: {error.strerror}") from error


def source_files(path: Path) -> tuple[Path, ...]:
    """The media files that a source path stands for: itself, or those below a folder.

    Raises:
        ConsentError: nothing is there, or a link leads out of the folder.
    """
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise ConsentError(f"{path}: expected a picture, a clip or a folder of them, found nothing")
    base, found = path.resolve(), []
    for file in sorted(path.rglob("*")):
        if MEDIA_SUFFIX.fullmatch(file.suffix) is None or file.name.startswith(".") or not file.is_file():
            continue
        if not file.resolve().is_relative_to(base):
            raise ConsentError(f"{file}: leads out of {path}; copy the file into the folder instead of linking it")
        found.append(file)
    if not found:
        raise ConsentError(f"{path}: expected pictures or clips, found none")
    return tuple(found)


def record_path(path: Path) -> Path:
    """Where the record of ``path`` (folder, media file, or a record itself) lies or would be made."""
    if path.name.endswith(RECORD_NAME):
        return path
    if path.is_dir():
        return path / RECORD_NAME
    own, shared = path.with_name(f"{path.name}.{RECORD_NAME}"), path.with_name(RECORD_NAME)
    return shared if shared.is_file() and not own.is_file() else own


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentTerms:
    """What the operator states when making a record."""

    basis: str
    """"synthetic", "self", "dataset-licence" or "written-consent"."""
    adult: bool
    """The person is 18 or older; False is refused."""
    scope: tuple[str, ...] = ("private", "research")
    """Uses agreed to, out of SCOPES."""
    evidence: Mapping[str, str] = field(default_factory=dict)
    """What the basis has to state (EVIDENCE); ``form_sha256`` is ``sha256_file`` of the signed form."""
    identity: str | None = None
    """Whose face; the file's or folder's name by default."""
    attested_by: str | None = None
    """Who states this; the operator key's fingerprint by default."""
    expires: dt.date | None = None
    """Last day, at most five years on; required for written consent."""


def new_consent(path: Path, terms: ConsentTerms, *, today: dt.date | None = None) -> Path:
    """Makes and signs the record of a folder (``consent.toml`` in it) or of one file (beside it).

    Args:
        path: Source folder or file. An older record is replaced.
        terms: What is stated.
        today: Day of the record, for tests.

    Returns:
        Path of the record.

    Raises:
        ConsentError: something in ``terms`` is missing or not allowed, or ``path`` has no pictures.
    """
    hashes = tuple(sorted({sha256_file(file) for file in source_files(path)}))
    key = operator_key()
    fingerprint = hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()
    where = path / RECORD_NAME if path.is_dir() else path.with_name(f"{path.name}.{RECORD_NAME}")
    fields: dict[str, Any] = {
        "schema": SCHEMA,
        "identity": terms.identity or (path.resolve().name if path.is_dir() else path.stem),
        "basis": terms.basis,
        "scope": list(terms.scope),
        "adult": terms.adult,
        "created": (today or dt.date.today()).isoformat(),
        "attested_by": terms.attested_by or f"operator {fingerprint[:16]}",
        "evidence": dict(terms.evidence),
        "file_count": len(hashes),
        "files_root": merkle_root(hashes),
    }
    if terms.expires is not None:
        fields["expires"] = terms.expires.isoformat()
    record = check_record(fields, where=str(where))
    _write_record(where, SignedRecord(record=record, signature=sign_record(record, key), file_hashes=hashes))
    return where


def _write_record(path: Path, signed: SignedRecord) -> None:
    """Writes a record with its files, atomically."""
    note = "# Made by `intracoder consent`. Any edit by hand breaks the signature.\n"
    with atomic_path(path) as beside:
        beside.write_text(note + record_toml(signed, with_files=True), encoding="utf-8")


def read_consent(path: Path) -> SignedRecord:
    """Parses the record of ``path`` (folder, media file or record) without asking whether it holds today.

    Raises:
        ConsentError: there is none, or it is malformed or edited.
    """
    where = record_path(path)
    if not where.is_file():
        raise ConsentError(f"{path}: has no consent record ({where.name}); " + _HINT.format(path=path))
    try:
        with where.open("rb") as file:
            data = file.read(MAX_RECORD_BYTES + 1)
    except OSError as error:
        raise ConsentError(f"{where}: can't be read: {error.strerror}") from error
    return parse_record(data, where=str(where))


def load_consent(
    source_paths: Sequence[Path], *, use: str, record: Path | None = None, today: dt.date | None = None
) -> tuple[ConsentGrant, ...]:
    """Checks consent for everything that a source is made of; nothing may be done with it before.

    Args:
        source_paths: Folders and files of one person.
        use: What the output is for, out of SCOPES.
        record: A record that lies elsewhere (a read-only source); it must cover every file.
        today: For tests.

    Returns:
        The distinct records that cover the source.

    Raises:
        ConsentError: a record is missing, malformed, edited, expired, withdrawn, of too narrow a scope, signed by
            a stranger, or does not cover a file (which is named); or the paths are two people's.
    """
    if not source_paths:
        raise ConsentError("source: expected at least one folder or file, got none")
    grants: dict[str, ConsentGrant] = {}
    for path in source_paths:
        files = source_files(path)
        hashes = {sha256_file(file): file for file in files}
        signed = _record_for(path, set(hashes), record)
        where = str(record or record_path(path))
        for digest, file in hashes.items():
            if digest not in signed.file_hashes:
                raise ConsentError(
                    f"{file}: was added or changed after {where} was made; take it out, or " + _HINT.format(path=path)
                )
        grant = _grant(signed, use=use, today=today, where=where)
        known = grants.get(grant.record_sha256, grant).file_hashes
        grants[grant.record_sha256] = replace(grant, file_hashes=known | frozenset(hashes))
    people = sorted({grant.identity for grant in grants.values()})
    if len(people) > 1:
        raise ConsentError(f"source: expected one person, got records of {', '.join(people)}; swap them one by one")
    return tuple(grants.values())


def _record_for(path: Path, hashes: set[str], record: Path | None) -> SignedRecord:
    """The record given, the one beside ``path``, or one that the package carries for these very files."""
    if record is not None:
        return read_consent(record)
    if not record_path(path).is_file():
        for known in packaged_records():
            if hashes <= set(known.file_hashes):
                return known
    return read_consent(path)


def check_grant(toml_text: str, *, use: str | None, where: str, today: dt.date | None = None) -> ConsentGrant:
    """Checks again the record that a project folder or a model card carries (``ConsentGrant.record_toml``).

    Called before a trained model is used: a withdrawal, an expiry or a narrower scope stops it there. With ``use``
    None it only asks whether the record holds at all, for showing it.

    Raises:
        ConsentError: it is malformed, edited, expired, withdrawn, of too narrow a scope or signed by a stranger.
    """
    signed = parse_record(toml_text.encode(), where=where)
    return _grant(signed, use=use or signed.record.scope[0], today=today, where=where)


def verify_consent(path: Path, *, today: dt.date | None = None) -> ConsentGrant:
    """Everything that ``load_consent`` checks, except the use."""
    signed = read_consent(path)
    source = path.parent if path.name == RECORD_NAME else path.with_name(path.name.removesuffix(f".{RECORD_NAME}"))
    (grant,) = load_consent([source], use=signed.record.scope[0], today=today)
    return grant


def show_consent(path: Path, *, today: dt.date | None = None) -> str:
    """The record in plain words, and whether it holds today."""
    signed = read_consent(path)
    record, signature = signed.record, signed.signature
    lines = [
        f"identity      {record.identity}",
        f"basis         {record.basis}",
        *(f"              {name}: {value}" for name, value in record.evidence.items()),
        f"scope         {', '.join(record.scope)}",
        "adult         stated",
        f"created       {record.created}, expires {record.expires or 'never'}",
        f"attested by   {record.attested_by}",
        f"signed with   {signature.fingerprint[:16] if signature else 'nothing (pinned by the package)'}",
        f"countersigned {signed.countersignature.fingerprint[:16] if signed.countersignature else 'no'}",
        f"files         {record.file_count}",
        f"record        {record.sha256}",
    ]
    try:
        _grant(signed, use=record.scope[0], today=today, where=str(record_path(path)))
    except ConsentError as error:
        return "\n".join([*lines, f"state         refused: {error}"])
    return "\n".join([*lines, "state         holds"])


def _grant(signed: SignedRecord, *, use: str, where: str, today: dt.date | None) -> ConsentGrant:
    """A grant where the record holds for ``use`` today."""
    record, today = signed.record, today or dt.date.today()
    if use not in SCOPES:
        raise ConsentError(f"use: expected one of {', '.join(SCOPES)}, got {use!r:.60}")
    signer = _known_signer(signed, where)
    if record.sha256 in withdrawn_records():
        raise ConsentError(f"{where}: this consent was withdrawn; outputs and models made from it stay blocked")
    if record.expires is not None and record.expires < today:
        raise ConsentError(f"{where}: consent expired on {record.expires}; ask again and make a new record")
    if record.created > today + dt.timedelta(days=1):  # one day for time zones
        raise ConsentError(f"{where}: created {record.created} lies in the future; check this machine's clock")
    if use not in record.scope:
        raise ConsentError(
            f"{where}: consent covers {', '.join(record.scope)}, not {use}; ask for it, make a new record"
        )
    return ConsentGrant(
        identity=record.identity,
        basis=record.basis,
        scope=record.scope,
        expires=record.expires,
        record_sha256=record.sha256,
        signer=signer,
        is_countersigned=signed.countersignature is not None,
        record_toml=record_toml(signed, with_files=False),
    )


def _known_signer(signed: SignedRecord, where: str) -> str:
    """Who vouches for the record: the package, this installation, or one that the operator trusts."""
    if signed.record.sha256 in PINNED_RECORDS:
        return "package"
    if signed.signature is None:
        raise ConsentError(f"{where}: the record is not signed; make it with: intracoder consent new")
    fingerprint = signed.signature.fingerprint
    own = home_folder() / "operator.key"
    is_own = own.exists() and operator_key().public_key().public_bytes_raw() == signed.signature.public_key
    if not is_own and fingerprint not in trusted_signers():
        raise ConsentError(
            f"{where}: signed by {fingerprint[:16]}, not by this installation; where you answer for that signer, "
            f"run: intracoder consent trust {fingerprint}; else make your own record"
        )
    return fingerprint[:16]


def withdraw_consent(path_or_sha256: Path | str) -> str:
    """Withdraws a record for good; returns its hash. Sources, project folders and models with it are refused.

    Args:
        path_or_sha256: The source, its record, or the record's hash where the files are gone.
    """
    if isinstance(path_or_sha256, str) and is_hash(path_or_sha256):
        digest = path_or_sha256
    else:
        digest = read_consent(Path(path_or_sha256)).record.sha256
    add_withdrawn(digest)
    return digest


def countersign_consent(path: Path, key_path: Path) -> str:
    """Adds the subject's signature to a record; returns the subject's fingerprint.

    Args:
        path: Source folder, file or record.
        key_path: The subject's own Ed25519 key (PEM, 0600); made where there is none.

    Raises:
        ConsentError: the key is the operator's, whose word the record has already.
    """
    signed = read_consent(path)
    key = operator_key(key_path)
    if signed.signature is not None and key.public_key().public_bytes_raw() == signed.signature.public_key:
        raise ConsentError(f"{key_path}: expected the subject's own key, got the one that signed as operator")
    signature = sign_record(signed.record, key, as_subject=True)
    _write_record(record_path(path), replace(signed, countersignature=signature))
    return signature.fingerprint


def check_same_person(
    centroid: Embedding, embeddings: Embeddings, names: Sequence[str], *, similarity_min: float = SAME_PERSON_MIN
) -> None:
    """Refuses a source in which somebody else's face turned up. Nothing of it is stored.

    Args:
        centroid: Unit mean embedding of the person's own set.
        embeddings: Unit embeddings of the faces to be used.
        names: File or frame of each, for the message.
        similarity_min: Cosine under which a face is another person's.

    Raises:
        ConsentError: naming the least similar face.
    """
    if len(names) != len(embeddings):
        raise ProvenanceError(f"check_same_person: expected {len(embeddings)} names, got {len(names)}")
    if len(embeddings) == 0:
        return
    similarity = embeddings @ centroid
    worst = int(np.argmin(similarity))
    # negated so that a NaN, which compares false, is refused
    if not similarity[worst] >= similarity_min or bool(np.isnan(similarity).any()):
        strangers = int((~(similarity >= similarity_min)).sum())
        raise ConsentError(
            f"{names[worst]}: not the person whom the consent record names (similarity {similarity[worst]:.2f}, "
            f"expected at least {similarity_min}; {strangers} of {len(names)} faces); take them out of the source"
        )
