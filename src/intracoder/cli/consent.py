"""Commands of the consent record."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from intracoder.errors import ConfigError

app = App(name="consent", help="Why a person's face may be used: makes, shows, checks and withdraws records.")


@app.command
def new(
    path: Path,
    *,
    basis: Literal["synthetic", "self", "dataset-licence", "written-consent"],
    adult: Annotated[bool, Parameter(negative="", help="The person is 18 or older; there is no consent else.")] = False,
    scope: Annotated[list[str] | None, Parameter(help="research, private, publish, commercial; repeatable.")] = None,
    identity: Annotated[str | None, Parameter(help="Whose face; the folder's name by default.")] = None,
    generator: Annotated[str | None, Parameter(help="synthetic: what made the person.")] = None,
    dataset: Annotated[str | None, Parameter(help="dataset-licence: name.")] = None,
    licence: Annotated[str | None, Parameter(help="dataset-licence: its licence.")] = None,
    url: Annotated[str | None, Parameter(help="dataset-licence: where it is described.")] = None,
    form: Annotated[Path | None, Parameter(help="written-consent: the signed form, of which the hash is kept.")] = None,
    expires: Annotated[dt.date | None, Parameter(help="Last day, at most five years on.")] = None,
) -> None:
    """Makes and signs the record of a source folder or file."""
    from intracoder.provenance import consent as records

    given = {"generator": generator, "dataset": dataset, "licence": licence, "url": url}
    evidence = {name: value for name, value in given.items() if value is not None}
    if form is not None:
        evidence["form_sha256"] = records.sha256_file(form)
    terms = records.ConsentTerms(
        basis=basis,
        adult=adult,
        scope=tuple(scope or ("private", "research")),
        evidence=evidence,
        identity=identity,
        expires=expires.date() if isinstance(expires, dt.datetime) else expires,
    )
    print(records.new_consent(path, terms))


@app.command
def show(path: Path) -> None:
    """Prints a record in plain words, and whether it holds today."""
    from intracoder.provenance import consent as records

    print(records.show_consent(path))


@app.command
def verify(path: Path) -> None:
    """Checks a record and every file that it covers."""
    from intracoder.provenance import consent as records

    grant = records.verify_consent(path)
    print(f"{path}: holds for {', '.join(grant.scope)}; {grant.identity}, {grant.basis}")


@app.command
def withdraw(record: str) -> None:
    """Withdraws a record for good, by its source, its file or its hash; its models are refused from then on."""
    from intracoder.provenance import consent as records

    print(f"withdrawn {records.withdraw_consent(record if len(record) == 64 else Path(record))}")


@app.command
def countersign(path: Path, *, key: Annotated[Path, Parameter(help="The subject's own Ed25519 key, PEM.")]) -> None:
    """Adds the subject's own signature to a record."""
    from intracoder.provenance import consent as records

    print(f"countersigned with {records.countersign_consent(path, key)}")


@app.command
def trust(fingerprint: str) -> None:
    """Accepts records signed by another installation, for which you answer."""
    from intracoder.provenance.keys import trust_signer

    if len(fingerprint) != 64:
        raise ConfigError(f"consent trust: expected a 64-digit fingerprint, got {fingerprint!r:.80}")
    trust_signer(fingerprint)
    print(f"trusted {fingerprint}")
