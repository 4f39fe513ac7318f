"""Consent on its way: checked for a source, kept with the model, checked again at every use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from intracoder.errors import ConsentError
from intracoder.media.atomic import atomic_path

if TYPE_CHECKING:
    from intracoder.provenance.consent import ConsentGrant

CONSENT_FOLDER = "consent"
"""In a model folder: the records of the source, which every render checks again."""


def source_grants(sources: Sequence[Path], *, use: str, consent: Path | None = None) -> tuple[ConsentGrant, ...]:
    """Checks consent for a source; ConsentError, in one line that says how to make a record, without."""
    from intracoder.provenance.consent import load_consent

    return load_consent(sources, use=use, record=consent)


def keep_grants(grants: Sequence[ConsentGrant], model: Path) -> None:
    """Keeps the records with a model, so that every use of it can check them again."""
    folder = model / CONSENT_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for grant in grants:
        with atomic_path(folder / f"{grant.record_sha256}.toml") as beside:
            beside.write_text(grant.record_toml, encoding="utf-8")


def kept_grants(model: Path, *, use: str) -> tuple[ConsentGrant, ...]:
    """The records a model was trained under, checked for ``use`` today; ConsentError without."""
    from intracoder.provenance.consent import check_grant

    records = sorted((model / CONSENT_FOLDER).glob("*.toml"))
    if not records:
        raise ConsentError(f"{model}: the model carries no consent record; train it with intracoder train or swap")
    try:
        return tuple(check_grant(path.read_text(encoding="utf-8"), use=use, where=str(path)) for path in records)
    except (OSError, UnicodeDecodeError) as error:
        raise ConsentError(f"{model}: its consent record can't be read: {error}") from error
