"""This installation's signing key, whom it trusts, and what was withdrawn on it."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from intracoder.errors import ConsentError
from intracoder.provenance.home import home_folder, read_private, write_private


def operator_key(path: Path | None = None) -> Ed25519PrivateKey:
    """This installation's Ed25519 key, made on first use (0600).

    Args:
        path: Another key file than ``operator.key`` in the home folder.

    Raises:
        ConsentError: it is not an Ed25519 key.
        ProvenanceError: other users can read it, or it can't be read or made.
    """
    path = path or home_folder() / "operator.key"
    if not path.exists():
        made = Ed25519PrivateKey.generate()
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        write_private(path, made.private_bytes(encoding, form, serialization.NoEncryption()))
    try:
        key = serialization.load_pem_private_key(read_private(path), None)
    except (ValueError, TypeError) as error:
        raise ConsentError(f"{path}: expected an unencrypted PEM key, got something else: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConsentError(f"{path}: expected an Ed25519 key, got {type(key).__name__}")
    return key


def _hash_list(name: str) -> frozenset[str]:
    """64-digit hashes, one a line, of a file in the home folder; none where there is no file."""
    path = home_folder() / name
    if not path.exists():
        return frozenset()
    lines = frozenset(read_private(path).decode("ascii", errors="replace").split())
    bad = [line for line in lines if not is_hash(line)]
    if bad:  # a list that can't be read must not count as empty
        raise ConsentError(f"{path}: expected 64-digit hashes, one a line, got {bad[0]!r:.80}; restore the file")
    return lines


def is_hash(text: str) -> bool:
    """True for a sha256 in hex."""
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _add_hash(name: str, digest: str) -> None:
    """Adds a line to a list in the home folder."""
    if not is_hash(digest):
        raise ConsentError(f"expected 64 lower-case hex digits, got {digest!r:.80}")
    lines = sorted(_hash_list(name) | {digest})
    write_private(home_folder() / name, ("\n".join(lines) + "\n").encode())


def withdrawn_records() -> frozenset[str]:
    """Hashes of the records withdrawn on this installation."""
    return _hash_list("withdrawn.txt")


def trusted_signers() -> frozenset[str]:
    """Fingerprints of other installations' keys that the operator answers for."""
    return _hash_list("trusted_signers.txt")


def trust_signer(fingerprint: str) -> None:
    """Accepts records signed with another installation's key, named by its 64-digit fingerprint."""
    _add_hash("trusted_signers.txt", fingerprint)


def add_withdrawn(digest: str) -> None:
    """Puts a record's hash on the deny list for good."""
    _add_hash("withdrawn.txt", digest)
