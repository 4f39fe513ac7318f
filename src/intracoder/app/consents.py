"""Consent on its way: checked for a source, kept in the model's card, checked again at every use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from intracoder.errors import ConsentError

if TYPE_CHECKING:
    from intracoder.faceset.store import FaceSet
    from intracoder.nets.model_card import ConsentCard, ModelCard
    from intracoder.provenance.consent import ConsentGrant

EARLIER_FOLDER = "consent"
"""In a model folder of an earlier version: the records, which lay beside the card."""
_RECORD_MAX_BYTES = 1 << 16
SUITE_EVIDENCE: Mapping[str, Mapping[str, str]] = {
    "synthetic": {"generator": "rendered for a SwapBench suite"},
    "dataset-licence": {
        "dataset": "a SwapBench suite",
        "licence": "as the data set's own terms say",
        "url": "see the suite",
    },
}
"""What a record states that a benchmark makes for its own footage; other bases need a record of the user's own."""


def source_grants(sources: Sequence[Path], *, use: str, consent: Path | None = None) -> tuple[ConsentGrant, ...]:
    """Checks consent for a source; ConsentError, in one line that says how to make a record, without."""
    from intracoder.provenance.consent import load_consent

    return load_consent(sources, use=use, record=consent)


def suite_footage(sources: Sequence[Path], folder: Path, *, basis: str, pair: str) -> tuple[Path, ...]:
    """Footage of a benchmark's pair that a swap may use.

    Args:
        sources: The pair's source clips.
        folder: For a copy of them with a record of what the suite states, where its basis is one of SUITE_EVIDENCE.
        basis: The suite's. Any other than those needs the records that lie with the clips, which the swap checks.
        pair: Named in the record.
    """
    from intracoder.provenance.consent import ConsentTerms, new_consent

    if basis not in SUITE_EVIDENCE:
        return tuple(sources)
    folder.mkdir(parents=True, exist_ok=True)
    for path in sources:
        if path.is_dir():
            shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, folder / path.name)
    evidence, identity = SUITE_EVIDENCE[basis], f"source of {pair}"
    new_consent(
        folder, ConsentTerms(basis=basis, adult=True, scope=("research",), evidence=evidence, identity=identity)
    )
    return (folder,)


def check_covered(faceset: FaceSet, grants: Sequence[ConsentGrant]) -> None:
    """ConsentError, naming the file, where a face set was cut from footage that no grant was checked for."""
    covered = frozenset[str]().union(*(grant.file_hashes for grant in grants))
    for origin in faceset.origins:
        if origin.sha256 not in covered:
            raise ConsentError(
                f"{faceset.folder}: holds faces of {origin.media.path}, which is not among the source footage whose "
                "consent was checked; name that footage as --source, or extract the set anew"
            )


def consent_cards(grants: Sequence[ConsentGrant], *, person: str) -> tuple[ConsentCard, ...]:
    """What a model's card says of the records that ``person`` is used under."""
    from intracoder.nets.model_card import ConsentCard

    return tuple(
        ConsentCard(
            person=person,
            basis=grant.basis,
            scope=grant.scope,
            expires=None if grant.expires is None else grant.expires.isoformat(),
            record_sha256=grant.record_sha256,
            record=grant.record_toml,
        )
        for grant in grants
    )


def kept_grants(model: Path, *, use: str, person: str | None = None) -> tuple[ConsentGrant, ...]:
    """The records a model was trained under, checked for ``use`` today.

    All of them, whoever is drawn: the encoder has seen everybody.

    Args:
        model: Folder of the model.
        use: What the output is for.
        person: Who is to be drawn, by the name in the card; the training's source by default.

    Raises:
        ConsentError: There is none for that person, or one does not hold (any more), or its line in the card was
            edited.
        WeightsError: The model has no card, or nobody of that name.
    """
    from intracoder.nets.model_card import CARD_FILE, read_card
    from intracoder.provenance.consent import check_grant

    card, where = read_card(model), model / CARD_FILE
    drawn = 0 if person is None else card.index_of(person)
    grants = []
    for consent in card.consents:
        grant = check_grant(consent.record, use=use, where=str(where))
        if consent_cards([grant], person=consent.person) != (consent,):
            raise ConsentError(
                f"{where}: what it says of consent {grant.record_sha256[:16]} is not what that record says; it was "
                "edited: train the model again"
            )
        grants.append(grant)
    is_named = any(consent.person == card.people[drawn].name for consent in card.consents)
    earlier = [check_grant(text, use=use, where=str(path)) for path, text in _earlier_records(model)]
    if drawn and not is_named:
        raise ConsentError(
            f"{model}: the model carries no consent record of {card.people[drawn].name}, whose face was only its "
            "target; add that person as a source with intracoder add"
        )
    if not is_named and not earlier:  # earlier versions knew no other person than the source
        raise ConsentError(f"{model}: the model carries no consent record; train it with intracoder train or swap")
    return tuple({grant.record_sha256: grant for grant in (*grants, *earlier)}.values())


def consent_states(model: Path, card: ModelCard) -> Iterator[str]:
    """A line a record of a model: whether it holds today."""
    from intracoder.provenance.consent import check_grant

    for path, text in [*((model, consent.record) for consent in card.consents), *_earlier_records(model)]:
        try:
            grant = check_grant(text, use=None, where=str(path))
        except ConsentError as error:
            yield f"consent refused: {error}"
        else:
            yield f"consent {grant.record_sha256}: {grant.basis}, for {', '.join(grant.scope)}; holds today"


def _earlier_records(model: Path) -> Iterator[tuple[Path, str]]:
    """Records that lie beside the card of a model of an earlier version."""
    for path in sorted((model / EARLIER_FOLDER).glob("*.toml")):
        try:
            with path.open(encoding="utf-8") as file:
                yield path, file.read(_RECORD_MAX_BYTES)
        except (OSError, UnicodeDecodeError) as error:
            raise ConsentError(f"{path}: the consent record can't be read: {error}") from error
