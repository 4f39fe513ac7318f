"""Content Credentials: signing an output's manifest and reading anybody's. The only module that speaks C2PA.

No network is used, except for a time stamp where the user names an authority. Thumbnails are off.
"""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import c2pa

from intracoder.errors import ProvenanceError
from intracoder.provenance.manifest import CONSENT_LABEL, OUTPUT_LABEL, SOFT_BINDING_ALGORITHM, TOOL
from intracoder.provenance.signing_keys import SigningIdentity, local_root_pem, signing_identity

_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
}
"""Files that outputs are written as, and all that can carry a manifest among them."""
_SIGNER_TIMEOUT_S = 60
_NOT_TAMPERING = ("signingCredential.", "timeStamp.", "timestamp.")
"""Validation failures that speak of the signer, not of the content."""
_REMAINS = (b"jumdc2pa", b"c2pa.claim")
"""Head of a manifest store, and the claim's label in it; no other metadata has either."""


class CredentialsState(Enum):
    """What became of a file's Content Credentials."""

    ABSENT = "absent"
    VALID = "valid"
    """Unchanged since it was signed; who signed is another question."""
    SIGNER_INVALID = "signer_invalid"
    """Content unchanged, but the certificate has expired or is not one for signing."""
    TAMPERED = "tampered"
    """Changed since it was signed, or the manifest is damaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsReading:
    """The active manifest of a file, as far as this tool has words for it."""

    state: CredentialsState
    is_own: bool = False
    """Signed with this installation's own chain."""
    signer: str | None = None
    """Common name of the certificate: a claim, unless the reader trusts its issuer."""
    time_stamp: str | None = None
    """Time by a time-stamp authority, ISO 8601; who that is, is not checked."""
    generator: str | None = None
    """Program that wrote the manifest."""
    is_ai: bool = False
    """An action, or the asset, is declared as made or changed by a trained model."""
    actions: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    """Validation codes, C2PA 2.2 section 15."""
    manifest_label: str | None = None
    manifest_count: int = 0
    """Above 1 where earlier manifests were kept as ingredients."""
    record_id: str | None = None
    """Of this tool's outputs: UUID."""
    payload: bytes | None = None
    """Watermark bytes that the soft binding states."""
    consents: tuple[tuple[str, str], ...] = ()
    """(basis, record sha256) of each consent record."""
    disclosure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class C2paSigner:
    """Signs finished files with ES256."""

    target: Path | None
    """The edited file, kept as an ingredient with whatever manifest it has."""
    identity: SigningIdentity = field(default_factory=signing_identity)

    def sign(self, unsigned: Path, signed: Path, *, manifest: str) -> None:
        """Writes ``signed``: ``unsigned`` with the manifest in it.

        Args:
            unsigned: MP4, MOV, PNG or JPEG, told by its suffix.
            signed: Written; removed again on failure.
            manifest: Definition without ingredients, JSON.

        Raises:
            ProvenanceError: the key does not fit, the file can't carry a manifest or can't be written.
        """
        kind = _TYPES.get(signed.suffix.lower())
        if kind is None:
            raise ProvenanceError(f"{signed.name}: only {', '.join(_TYPES)} can carry Content Credentials")
        definition = json.loads(manifest)
        target_kind = _readable_type(self.target) if self.target is not None else None
        definition["ingredients"] = [_ingredient("source", "source identity", "componentOf")]
        if target_kind is None:  # a folder of pictures, or MKV and the like, which can't have a manifest of their own
            definition["ingredients"].append(_ingredient("target", "target", "parentOf"))
        is_written = False
        try:
            with (
                c2pa.Context.from_dict(_settings(self.identity.tsa_url)) as context,
                self._native_signer() as signer,
                c2pa.Builder(definition, context) as builder,
            ):
                if self.target is not None and target_kind is not None:
                    with self.target.open("rb") as target:
                        builder.add_ingredient(
                            json.dumps(_ingredient("target", "target", "parentOf")), target_kind, target
                        )
                with unsigned.open("rb") as source, signed.open("w+b") as sink:
                    builder.sign(signer, kind, source, sink)
            is_written = True
        except (c2pa.C2paError, OSError) as error:
            raise ProvenanceError(f"{signed.name}: Content Credentials can't be written: {_line(error)}") from error
        finally:
            if not is_written:
                signed.unlink(missing_ok=True)

    @contextmanager
    def _native_signer(self) -> Iterator[Any]:
        """c2pa's signer around the key, or around the signer command."""
        identity = self.identity
        if identity.command is None:
            info = c2pa.C2paSignerInfo(
                alg=b"es256",
                sign_cert=identity.chain_pem.encode(),
                private_key=(identity.key_pem or "").encode(),
                ta_url=identity.tsa_url.encode() if identity.tsa_url else None,
            )
            with c2pa.Signer.from_info(info) as signer:
                yield signer
            return
        command, failed = identity.command, []

        def run(data: bytes) -> bytes:
            try:
                done = subprocess.run(  # noqa: S603 - the user's own signer, without a shell
                    command, input=data, capture_output=True, timeout=_SIGNER_TIMEOUT_S, check=True
                )
            except (OSError, subprocess.SubprocessError) as error:
                failed.append(error)  # c2pa swallows what is raised here
                return b""
            return done.stdout

        algorithm = c2pa.C2paSigningAlg.ES256
        with c2pa.Signer.from_callback(run, algorithm, identity.chain_pem, identity.tsa_url) as signer:
            try:
                yield signer
            except c2pa.C2paError as error:
                if failed:
                    raise ProvenanceError(f"{command[0]}: the signer command failed: {_line(failed[0])}") from error
                raise


def read_credentials(path: Path) -> CredentialsReading:
    """Reads and validates the manifest of any file, of this tool or another, without the network.

    Raises:
        ProvenanceError: the file can't be read at all.
    """
    kind = _readable_type(path)
    if kind is None:
        return CredentialsReading(state=CredentialsState.ABSENT)
    settings = _settings(None)
    own_root = local_root_pem()
    if own_root is not None:
        settings["trust"] = {"user_anchors": own_root}
    try:
        with (
            path.open("rb") as file,
            c2pa.Context.from_dict(settings) as context,
            c2pa.Reader(kind, file, context=context) as reader,
        ):
            store, state = json.loads(reader.json()), str(reader.get_validation_state())
            failures = _failures(_table(reader.get_validation_results()))
    except (c2pa.C2paError, ValueError, RecursionError) as error:
        return _without_manifest(path, error)
    except OSError as error:
        raise ProvenanceError(f"{path}: can't be read: {error.strerror or error}") from error
    return _reading(_table(store), state, failures)


def _reading(store: Mapping[str, Any], state: str, failures: tuple[str, ...]) -> CredentialsReading:
    """What a manifest store says, every field of which may be missing or of any type."""
    manifests = _table(store.get("manifests"))
    label = _text(store.get("active_manifest"))
    active = _table(manifests.get(label or ""))
    assertions = {_text(a.get("label")): _table(a.get("data")) for a in map(_table, _items(active.get("assertions")))}
    actions = [
        action
        for name, data in assertions.items()
        if name is not None and name.startswith("c2pa.actions")
        for action in map(_table, _items(data.get("actions")))
    ]
    kinds = [_text(action.get("digitalSourceType")) or "" for action in actions]
    kinds += [_text(assertions.get("cawg.metadata", {}).get("Iptc4xmpExt:DigitalSourceType")) or ""]
    generators = [_text(_table(g).get("name")) for g in _items(active.get("claim_generator_info"))]
    output = assertions.get(OUTPUT_LABEL, {})
    consents = [_table(r) for r in _items(assertions.get(CONSENT_LABEL, {}).get("records"))]
    signature = _table(active.get("signature_info"))
    return CredentialsReading(
        state=_state(state, failures),
        is_own=state == "Trusted",
        signer=_text(signature.get("common_name")),
        time_stamp=_text(signature.get("time")),
        generator=next((g for g in generators if g), _text(active.get("claim_generator"))),
        is_ai=any(kind.lower().endswith("algorithmicmedia") for kind in kinds),
        actions=tuple(a for a in (_text(action.get("action")) for action in actions) if a),
        failures=failures,
        manifest_label=label,
        manifest_count=len(manifests),
        record_id=_text(output.get("record_id")),
        payload=_soft_binding(assertions.get("c2pa.soft-binding", {})),
        consents=tuple((_text(c.get("basis")) or "?", _text(c.get("record_sha256")) or "?") for c in consents),
        disclosure=_text(output.get("disclosure")),
    )


def _state(state: str, failures: tuple[str, ...]) -> CredentialsState:
    """C2PA's verdict, with changed content told apart from a signer that can't be relied on."""
    if state in ("Valid", "Trusted"):
        return CredentialsState.VALID
    if failures and all(code.startswith(_NOT_TAMPERING) for code in failures):
        return CredentialsState.SIGNER_INVALID
    return CredentialsState.TAMPERED


def _without_manifest(path: Path, error: Exception) -> CredentialsReading:
    """No manifest, or remains of one: c2pa does not find a store whose box was damaged or cut away in part."""
    try:
        with path.open("rb") as file:
            has_remains = any(mark in block for block in _blocks(file) for mark in _REMAINS)
    except OSError as unreadable:
        raise ProvenanceError(f"{path}: can't be read: {unreadable.strerror}") from unreadable
    if not has_remains:
        return CredentialsReading(state=CredentialsState.ABSENT)
    return CredentialsReading(state=CredentialsState.TAMPERED, failures=(f"unreadable: {_line(error)[:120]}",))


def _blocks(file: Any) -> Iterator[bytes]:
    """Overlapping blocks of a file."""
    tail = b""
    while block := file.read(1 << 20):
        yield tail + block
        tail = block[-16:]


def _soft_binding(data: Mapping[str, Any]) -> bytes | None:
    """The mark's bytes in a soft binding of this tool; c2pa gives byte strings as base64 or as lists."""
    if data.get("alg") != SOFT_BINDING_ALGORITHM:
        return None
    for block in map(_table, _items(data.get("blocks"))):
        value = block.get("value")
        if isinstance(value, list) and all(isinstance(v, int) and 0 <= v < 256 for v in value):
            return bytes(value)
        if isinstance(value, str):
            return _base64(value)
    return None


def _base64(text: str) -> bytes | None:
    """Decoded, or None."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _failures(results: Mapping[str, Any]) -> tuple[str, ...]:
    """Codes of the active manifest's failures."""
    found = map(_table, _items(_table(results.get("activeManifest")).get("failure")))
    return tuple(code for code in (_text(f.get("code")) for f in found) if code)


def _ingredient(label: str, title: str, relationship: str) -> dict[str, str]:
    """An ingredient under a fixed title, never a file name."""
    return {"title": title, "relationship": relationship, "label": label, "instance_id": label}


def _settings(tsa_url: str | None) -> dict[str, Any]:
    """No network but the time-stamp authority's host, no thumbnails."""
    host = urlsplit(tsa_url).hostname if tsa_url else None
    return {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": True},
        "core": {"allowed_network_hosts": [host] if host else []},
        "builder": {"thumbnail": {"enabled": False}},
    }


def _readable_type(path: Path | None) -> str | None:
    """Media type of a file that could have a manifest; None for any other."""
    if path is None or not path.is_file():
        return None
    kind = _TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0]
    return kind if kind in c2pa.Reader.get_supported_mime_types() else None


def _table(value: object) -> Mapping[str, Any]:
    """``value`` where it is a table, else an empty one."""
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[Any]:
    """``value`` where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    """``value`` where it is text: one printable line of at most 200 characters."""
    if not isinstance(value, str):
        return None
    return "".join(c if c.isprintable() else "?" for c in value[:200])


def _line(error: Exception) -> str:
    """One line of an error."""
    return " ".join(str(error).split()) or type(error).__name__


def is_ours(reading: CredentialsReading) -> bool:
    """True where the manifest says that this tool wrote it."""
    return reading.generator == TOOL
