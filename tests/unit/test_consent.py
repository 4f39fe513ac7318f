"""Consent records: what holds, and everything that is refused."""

from __future__ import annotations

import datetime as dt
import hashlib
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from intracoder.errors import ConsentError, ProvenanceError, RefusedError
from intracoder.provenance import consent, keys
from intracoder.provenance.consent import ConsentTerms, load_consent, new_consent
from intracoder.provenance.consent_record import merkle_root, parse_record, record_toml, sign_record
from intracoder.provenance.packaged import PINNED_RECORDS, packaged_records

TODAY = dt.date(2026, 11, 23)
SYNTHETIC = ConsentTerms(basis="synthetic", adult=True, evidence={"generator": "a test"})
WRITTEN = ConsentTerms(
    basis="written-consent", adult=True, evidence={"form_sha256": "a" * 64}, expires=TODAY + dt.timedelta(days=365)
)


@pytest.fixture
def bob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTRACODER_HOME", str(tmp_path / "home"))
    folder = tmp_path / "bob"
    (folder / "more").mkdir(parents=True)
    for i in range(4):
        (folder / f"{i}.png").write_bytes(b"picture %d" % i)
    (folder / "more" / "clip.MP4").write_bytes(b"clip")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def refused(match: str):
    return pytest.raises(ConsentError, match=match)


def test_a_record_grants_what_it_says(bob: Path) -> None:
    made = new_consent(bob, SYNTHETIC, today=TODAY)
    assert made == bob / "consent.toml"
    (grant,) = load_consent([bob], use="research", today=TODAY)
    assert (grant.identity, grant.basis, grant.scope) == ("bob", "synthetic", ("private", "research"))
    assert grant.record_sha256 == parse_record(made.read_bytes(), where="x").record.sha256
    assert consent.verify_consent(bob, today=TODAY) == consent.verify_consent(made, today=TODAY) == grant
    shown = consent.show_consent(bob, today=TODAY)
    assert "holds" in shown
    assert "generator: a test" in shown
    assert not any(word in made.read_text().lower() for word in ("embedding", "0.png", "clip"))


def test_rename_and_removal_are_free(bob: Path) -> None:
    new_consent(bob, SYNTHETIC, today=TODAY)
    (bob / "0.png").rename(bob / "more" / "renamed.png")
    (bob / "1.png").unlink()
    load_consent([bob], use="research", today=TODAY)


def test_a_single_file_has_a_record_of_its_own(bob: Path) -> None:
    new_consent(bob / "0.png", SYNTHETIC, today=TODAY)
    assert (bob / "0.png.consent.toml").is_file()
    (grant,) = load_consent([bob / "0.png"], use="private", today=TODAY)
    assert grant.identity == "0"
    with refused("no consent record"):
        load_consent([bob / "1.png"], use="private", today=TODAY)
    new_consent(bob, SYNTHETIC, today=TODAY)
    (shared,) = load_consent([bob / "1.png"], use="private", today=TODAY)
    assert shared.identity == "bob"


def test_a_record_may_lie_elsewhere(bob: Path, tmp_path: Path) -> None:
    made = new_consent(bob, SYNTHETIC, today=TODAY).rename(tmp_path / "bob.consent.toml")
    with refused("no consent record"):
        load_consent([bob], use="research", today=TODAY)
    load_consent([bob], use="research", record=made, today=TODAY)


def test_two_people_are_refused(bob: Path) -> None:
    new_consent(bob / "0.png", SYNTHETIC, today=TODAY)
    new_consent(bob / "1.png", SYNTHETIC, today=TODAY)
    with refused("expected one person"):
        load_consent([bob / "0.png", bob / "1.png"], use="research", today=TODAY)


# The refusals of PROVENANCE.md section 5, one test each


def test_refused_missing(bob: Path) -> None:
    with refused("intracoder consent new .*bob --adult --basis") as caught:
        load_consent([bob], use="research", today=TODAY)
    assert isinstance(caught.value, RefusedError)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_refused_wrong_scope(bob: Path) -> None:
    new_consent(bob, SYNTHETIC, today=TODAY)
    with refused("covers private, research, not publish"):
        load_consent([bob], use="publish", today=TODAY)


def test_refused_added_file_by_name(bob: Path) -> None:
    new_consent(bob, SYNTHETIC, today=TODAY)
    (bob / "stranger.jpg").write_bytes(b"somebody else")
    with refused(r"stranger\.jpg: was added or changed"):
        load_consent([bob], use="research", today=TODAY)


def test_refused_changed_file_by_name(bob: Path) -> None:
    new_consent(bob, SYNTHETIC, today=TODAY)
    (bob / "2.png").write_bytes(b"other pixels")
    with refused(r"2\.png: was added or changed"):
        load_consent([bob], use="research", today=TODAY)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"private"', '"publish"'),
        ('identity = "bob"', 'identity = "rob"'),
        ("file_count = 5", "file_count = 6"),
        ("2026-11-23", "2026-11-22"),
    ],
)
def test_refused_edited(bob: Path, old: str, new: str) -> None:
    path = new_consent(bob, SYNTHETIC, today=TODAY)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with refused("does not fit the record"):
        load_consent([bob], use="research", today=TODAY)


def test_refused_edited_file_list(bob: Path) -> None:
    path = new_consent(bob, SYNTHETIC, today=TODAY)
    (bob / "stranger.jpg").write_bytes(b"somebody else")
    digest = hashlib.sha256(b"somebody else").hexdigest()
    path.write_text(path.read_text().replace("sha256 = [", f'sha256 = ["{digest}",'))
    with refused("list of files was edited"):
        load_consent([bob], use="research", today=TODAY)


@pytest.mark.parametrize("basis", ["synthetic", "dataset-licence", "written-consent"])
def test_refused_lacking_evidence(bob: Path, basis: str) -> None:
    with refused("needs e"):
        new_consent(bob, ConsentTerms(basis=basis, adult=True), today=TODAY)


def test_refused_expired(bob: Path) -> None:
    new_consent(bob, WRITTEN, today=TODAY)
    load_consent([bob], use="research", today=TODAY + dt.timedelta(days=365))
    with refused("expired on 2027-11-23"):
        load_consent([bob], use="research", today=TODAY + dt.timedelta(days=366))


def test_refused_longer_than_five_years(bob: Path) -> None:
    new_consent(bob, replace(WRITTEN, expires=TODAY.replace(year=2031)), today=TODAY)
    with refused("at most five years"):
        new_consent(bob, replace(WRITTEN, expires=TODAY.replace(year=2031, day=25)), today=TODAY)


@pytest.mark.parametrize("basis", ["public-figure", "found-online", "", "Self"])
def test_refused_unknown_basis(bob: Path, basis: str) -> None:
    with refused("basis: expected one of"):
        new_consent(bob, replace(SYNTHETIC, basis=basis), today=TODAY)


def test_refused_link_out_of_the_folder(bob: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.png").write_bytes(b"x")
    (bob / "link.png").symlink_to(tmp_path / "outside.png")
    with refused("link.png: leads out"):
        new_consent(bob, SYNTHETIC, today=TODAY)


def test_refused_withdrawn_even_for_models(bob: Path) -> None:
    new_consent(bob, SYNTHETIC, today=TODAY)
    (grant,) = load_consent([bob], use="research", today=TODAY)
    assert consent.check_grant(grant.record_toml, use="research", where="model", today=TODAY) == grant
    assert consent.withdraw_consent(bob) == grant.record_sha256
    with refused("withdrawn"):
        load_consent([bob], use="research", today=TODAY)
    with refused("model: this consent was withdrawn"):
        consent.check_grant(grant.record_toml, use="research", where="model", today=TODAY)
    assert "withdrawn" in consent.show_consent(bob, today=TODAY)


def test_refused_key_readable_by_others(bob: Path) -> None:
    new_consent(bob, SYNTHETIC, today=TODAY)
    key = consent.home_folder() / "operator.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    with pytest.raises(ProvenanceError, match="chmod 600"):
        load_consent([bob], use="research", today=TODAY)


def test_refused_not_adult(bob: Path) -> None:
    with refused("adult must be true"):
        new_consent(bob, replace(SYNTHETIC, adult=False), today=TODAY)


def test_refused_signed_elsewhere_until_trusted(bob: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_consent(bob, SYNTHETIC, today=TODAY)
    fingerprint = hashlib.sha256(keys.operator_key().public_key().public_bytes_raw()).hexdigest()
    monkeypatch.setenv("INTRACODER_HOME", str(tmp_path / "other"))
    with refused(f"consent trust {fingerprint}"):
        load_consent([bob], use="research", today=TODAY)
    keys.trust_signer(fingerprint)
    load_consent([bob], use="research", today=TODAY)


def test_refused_created_in_the_future(bob: Path) -> None:
    new_consent(bob, SYNTHETIC, today=TODAY)
    with refused("future"):
        load_consent([bob], use="research", today=TODAY - dt.timedelta(days=3))


def test_refused_unknown_use(bob: Path) -> None:
    new_consent(bob, SYNTHETIC, today=TODAY)
    with refused("use: expected one of"):
        load_consent([bob], use="anything", today=TODAY)


def test_refused_no_source_and_empty_source(bob: Path, tmp_path: Path) -> None:
    with refused("at least one"):
        load_consent([], use="research")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nowhere"):
        with refused("expected"):
            new_consent(path, SYNTHETIC)


def test_a_damaged_deny_list_is_not_an_empty_one(bob: Path) -> None:
    new_consent(bob, SYNTHETIC, today=TODAY)
    consent.withdraw_consent("b" * 64)
    (consent.home_folder() / "withdrawn.txt").write_text("garbage\n")
    with refused("restore the file"):
        load_consent([bob], use="research", today=TODAY)


def test_countersignature(bob: Path, tmp_path: Path) -> None:
    path = new_consent(bob, SYNTHETIC, today=TODAY)
    with refused("subject's own key"):
        consent.countersign_consent(bob, consent.home_folder() / "operator.key")
    fingerprint = consent.countersign_consent(bob, tmp_path / "subject.key")
    (grant,) = load_consent([bob], use="research", today=TODAY)
    assert grant.is_countersigned
    assert fingerprint[:16] in consent.show_consent(bob, today=TODAY)
    signed = parse_record(path.read_bytes(), where="x")
    # the operator's signature can't pose as the subject's
    path.write_text(record_toml(replace(signed, countersignature=signed.signature), with_files=True))
    with refused("countersignature does not fit"):
        load_consent([bob], use="research", today=TODAY)


def test_short_form_of_a_card_covers_no_files(bob: Path) -> None:
    path = new_consent(bob, SYNTHETIC, today=TODAY)
    (grant,) = load_consent([bob], use="research", today=TODAY)
    path.write_text(grant.record_toml)
    with refused("was added or changed"):
        load_consent([bob], use="research", today=TODAY)


def test_unsigned_copy_of_a_record_is_refused(bob: Path) -> None:
    path = new_consent(bob, SYNTHETIC, today=TODAY)
    signed = parse_record(path.read_bytes(), where="x")
    path.write_text(record_toml(replace(signed, signature=None), with_files=True))
    with refused("not signed"):
        load_consent([bob], use="research", today=TODAY)


def test_packaged_demo_people_have_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTRACODER_HOME", str(tmp_path / "home"))
    demo = Path(consent.__file__).parents[1] / "demo"
    for name, person in (("source.mp4", "synthetic person W"), ("target.mp4", "synthetic person M")):
        (grant,) = load_consent([demo / name], use="publish")
        assert (grant.identity, grant.basis, grant.signer) == (person, "synthetic", "package")
        assert consent.check_grant(grant.record_toml, use="publish", where="card").signer == "package"
    with refused("no consent record"):
        load_consent([demo], use="publish")  # two people in one folder
    assert {r.record.sha256 for r in packaged_records()} == PINNED_RECORDS


def test_research_photos_are_for_research(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTRACODER_HOME", str(tmp_path / "home"))
    photos = [r.record for r in packaged_records() if r.record.basis == "dataset-licence"]
    assert len(photos) == 3
    assert all(r.scope == ("research",) and r.evidence["licence"] == "CC BY 4.0" for r in photos)


def test_merkle_root_ignores_order_and_names() -> None:
    hashes = [hashlib.sha256(bytes([i])).hexdigest() for i in range(7)]
    assert merkle_root(hashes) == merkle_root(hashes[::-1])
    assert len({merkle_root(hashes[:n]) for n in range(1, 8)}) == 7


def test_same_person_check() -> None:
    rng = np.random.default_rng(0)
    centroid = rng.standard_normal(128).astype(np.float32)
    centroid /= np.linalg.norm(centroid)
    near = centroid + 0.05 * rng.standard_normal((5, 128)).astype(np.float32)
    near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    names = [f"{i}.png" for i in range(5)]
    consent.check_same_person(centroid, near, names)
    near[3] = -near[3]
    with refused(r"3\.png: not the person"):
        consent.check_same_person(centroid, near, names)
    near[3] = np.nan
    with refused("not the person"):
        consent.check_same_person(centroid, near, names)


def test_hostile_records_raise_consent_errors_only(bob: Path) -> None:
    seed = new_consent(bob, SYNTHETIC, today=TODAY).read_bytes()
    hand_made = [
        b"",
        b"\xff\xfe\x00",
        b"schema = 1",
        b"[" * 5000,
        b"a = " + b"[" * 5000,
        seed.replace(b'"2026-11-23"', b"2026-11-23"),
        seed.replace(b"file_count = 5", b"file_count = nan"),
        seed.replace(b"[evidence]", b"[evidence]\nx = {y = 1}"),
        seed.replace(b'identity = "bob"', b'identity = "bo\\nb"'),
        seed.replace(b'identity = "bob"', b'identity = "' + b"b" * 300 + b'"'),
        seed.replace(b'alg = "ed25519"', b'alg = "none"'),
        seed + b"\nx = " + b"9" * 5000,
        seed + b" " * (5 << 20),
    ]
    rng = random.Random(0)
    for _ in range(1500):
        mutated = bytearray(seed)
        for _ in range(rng.randint(1, 8)):
            at = rng.randrange(len(mutated))
            kind = rng.randrange(3)
            if kind == 0:
                mutated[at] = rng.randrange(256)
            elif kind == 1:
                del mutated[at : at + rng.randint(1, 40)]
            else:
                mutated[at:at] = rng.choice([b'"', b"[", b"\n", b"=", b"\x00", b"true", b"1e999", b"[files]\n"])
        hand_made.append(bytes(mutated))
    held = parse_record(seed, where="x").record
    messages: list[str] = []
    for data in hand_made:
        try:
            parsed = parse_record(data, where="x")
        except ConsentError as error:
            messages.append(str(error))
        else:
            assert parsed.record == held  # only comments and layout differ
            assert parsed.file_hashes in ((), parse_record(seed, where="x").file_hashes)
    assert len(messages) > 1000
    assert not any("\n" in message for message in messages)


def test_signing_key_of_another_kind_is_refused(bob: Path) -> None:
    path = consent.home_folder() / "operator.key"
    keys.operator_key()
    path.write_text("not a key")
    with refused("PEM key"):
        new_consent(bob, SYNTHETIC)


def test_record_signature_is_bound_to_its_purpose(bob: Path) -> None:
    signed = parse_record(new_consent(bob, SYNTHETIC, today=TODAY).read_bytes(), where="x")
    key = Ed25519PrivateKey.generate()
    assert sign_record(signed.record, key).value != sign_record(signed.record, key, as_subject=True).value
