"""Whose key signs the Content Credentials: the user's own, a signer command's, or this installation's.

The package ships no key: a key that everybody has would let anybody sign as this tool.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from intracoder.errors import ConfigError, ProvenanceError
from intracoder.provenance.home import home_folder, read_private, write_private

CERT_VARIABLE = "INTRACODER_C2PA_CERT"
KEY_VARIABLE = "INTRACODER_C2PA_KEY"
SIGNER_VARIABLE = "INTRACODER_C2PA_SIGNER"
TSA_VARIABLE = "INTRACODER_C2PA_TSA_URL"

_ORGANISATION = "Intracoder local signer (UNTRUSTED LOCAL)"
_DOCUMENT_SIGNING = ObjectIdentifier("1.3.6.1.5.5.7.3.36")
_YEARS = 10
"""Long, because without a time stamp a signature dies with its certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningIdentity:
    """An ES256 certificate chain and what signs for it."""

    chain_pem: str
    """Leaf first."""
    key_pem: str | None
    """PKCS8; None where ``command`` signs."""
    command: tuple[str, ...] | None
    """Reads the bytes to be signed on its input, writes the signature (DER, or r and s) to its output."""
    tsa_url: str | None
    """RFC 3161 time-stamp authority; None for none, which needs no network."""
    is_local: bool
    """True for the chain that this installation made for itself."""


def signing_identity() -> SigningIdentity:
    """The identity that the environment names, or this installation's own, which is made on first use.

    Raises:
        ConfigError: the environment names half of one, or a time-stamp address that is none.
        ProvenanceError: a file of it can't be read, or is readable by others.
    """
    cert, key, command = (os.environ.get(name, "") for name in (CERT_VARIABLE, KEY_VARIABLE, SIGNER_VARIABLE))
    tsa_url = os.environ.get(TSA_VARIABLE, "") or None
    if tsa_url is not None and not tsa_url.startswith(("http://", "https://")):
        raise ConfigError(f"{TSA_VARIABLE}: expected an http address, got {tsa_url!r}")
    if not (cert or key or command):
        key_pem, chain_pem = _local_identity(home_folder() / "c2pa_identity.pem")
        return SigningIdentity(chain_pem=chain_pem, key_pem=key_pem, command=None, tsa_url=tsa_url, is_local=True)
    if not cert or bool(key) == bool(command):
        raise ConfigError(f"expected {CERT_VARIABLE} with either {KEY_VARIABLE} or {SIGNER_VARIABLE}; unset the others")
    try:
        chain_pem = Path(cert).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ProvenanceError(f"{cert}: can't be read as a PEM certificate chain: {error}") from error
    return SigningIdentity(
        chain_pem=chain_pem,
        key_pem=read_private(Path(key)).decode("ascii", errors="replace") if key else None,
        command=tuple(shlex.split(command)) if command else None,
        tsa_url=tsa_url,
        is_local=False,
    )


def local_root_pem() -> str | None:
    """The root certificate of this installation's own chain.

    None where it has not signed anything yet, or its file can't be relied on: then reading claims less, while signing
    says what is wrong.
    """
    path = home_folder() / "c2pa_identity.pem"
    if not path.exists():
        return None
    try:
        _, chain_pem = _local_identity(path)
    except ProvenanceError:
        return None
    return chain_pem[chain_pem.rindex("-----BEGIN CERTIFICATE-----") :]


def _local_identity(path: Path) -> tuple[str, str]:
    """(key, chain) of the per-install file; both live in one file so that they can't come apart."""
    if not path.exists():
        key, chain = make_chain()
        write_private(path, key + chain)
    text = read_private(path).decode("ascii", errors="replace")
    split = text.find("-----BEGIN CERTIFICATE-----")
    if split <= 0 or text.count("-----BEGIN CERTIFICATE-----") != 2:
        raise ProvenanceError(f"{path}: expected a key and two certificates; delete it, and a new one is made")
    return text[:split], text[split:]


def make_chain(*, not_before: dt.datetime | None = None, days: int = 365 * _YEARS) -> tuple[bytes, bytes]:
    """A fresh key and its two-link certificate chain (PEM). The root's key is gone when this returns.

    Source: C2PA 2.2 section 14.5 (certificate profile); c2pa-rs refuses leaves without the e-mail usage.
    """
    tag = secrets.token_hex(4)
    begin = not_before or dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
    end = begin + dt.timedelta(days=days)
    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name, leaf_name = _name(f"local root {tag}"), _name(f"local signer {tag}")
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    root = (
        _certificate(root_name, root_name, root_key.public_key(), begin, end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .add_extension(authority, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    usages = [_DOCUMENT_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION]
    leaf = (
        _certificate(leaf_name, root_name, leaf_key.public_key(), begin, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(authority, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_pem = leaf_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key_pem, leaf.public_bytes(pem) + root.public_bytes(pem)


def _name(common_name: str) -> x509.Name:
    """A distinguished name that says how little it means."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begin: dt.datetime, end: dt.datetime
) -> x509.CertificateBuilder:
    """What root and leaf have in common."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    """Signing certificates, or signing documents."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
