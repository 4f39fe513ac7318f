"""What each step refuses by itself: consent and guard come before any work, whichever command is called."""

from __future__ import annotations

import dataclasses
import json
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from provenance_outputs import TARGET
from toy_actors import TINY, both
from toy_faceset import INFO, toy_face, toy_origin, write_set

from intracoder import app
from intracoder.app import consents, steps
from intracoder.config import RunConfig, TrainConfig
from intracoder.errors import ConsentError, GuardError, WeightsError
from intracoder.faceset.sources import CLIP_SUFFIXES, fingerprint
from intracoder.media.stills import IMAGE_SUFFIXES, read_image
from intracoder.nets.model_card import INTENDED_USE, LIMITS, card_to_toml, read_card
from intracoder.provenance import guard as guards
from intracoder.provenance.consent import MEDIA_SUFFIX, ConsentTerms, new_consent, withdraw_consent
from intracoder.provenance.manifest import payload_of
from intracoder.provenance.verify import verify_file
from intracoder.provenance.watermark import TileMark
from intracoder.provenance.working import WorkingMark
from intracoder.records import Image
from intracoder.training.loop import train_intracoder

CONFIG = RunConfig(train=TrainConfig(steps=1, batch=2, device="cpu", threads=1))
SYNTHETIC = ConsentTerms(basis="synthetic", adult=True, evidence={"generator": "a test"})


class Refuses:
    """Objects to everything."""

    def score(self, image: Image) -> float:
        return 1.0


def broken() -> guards.GuardScorer:
    raise GuardError("content guard: can't be loaded, so nothing is processed: file missing")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTRACODER_HOME", str(tmp_path / "home"))


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    """A source folder of one picture, with its record."""
    folder = tmp_path / "footage"
    folder.mkdir()
    cv2.imwrite(str(folder / "1.png"), np.full((64, 64, 3), 90, np.uint8))
    new_consent(folder, SYNTHETIC)
    return folder


@pytest.fixture
def source_set(tmp_path: Path, footage: Path) -> Path:
    """A face set that was cut from ``footage``."""
    origin = dataclasses.replace(toy_origin(), sha256=fingerprint(footage / "1.png"))
    return write_set(tmp_path / "source", [toy_face(k) for k in range(4)], origins=[origin]).folder


@pytest.fixture
def target_set(tmp_path: Path) -> Path:
    info = dataclasses.replace(INFO, person="other")
    return write_set(tmp_path / "target", [toy_face(k, person=2) for k in range(4)], info=info).folder


def train(source_set: Path, target_set: Path, model: Path, footage: Path) -> None:
    grants = app.source_grants([footage], use="private")
    app.train(source_set, [target_set], model, config=CONFIG, sources=[footage], grants=grants)


# The guard


@pytest.mark.parametrize("scorer", [Refuses, broken])
def test_extract_guards_its_footage_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorer: Callable[[], guards.GuardScorer]
) -> None:
    monkeypatch.setattr(guards, "default_scorer", scorer)
    monkeypatch.setattr(steps, "face_networks", lambda config: pytest.fail("work was begun"))
    for is_target in (False, True):
        with pytest.raises(GuardError):
            app.extract([TARGET], tmp_path / "set", config=CONFIG, is_target=is_target)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("scorer", [Refuses, broken])
def test_faces_guards_its_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorer: Callable[[], guards.GuardScorer]
) -> None:
    monkeypatch.setattr(guards, "default_scorer", scorer)
    with pytest.raises(GuardError):
        app.faces(TARGET, tmp_path / "sheet.png", config=CONFIG)
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize("scorer", [Refuses, broken])
def test_train_guards_the_source_before_any_work(
    source_set: Path,
    target_set: Path,
    footage: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scorer: Callable[[], guards.GuardScorer],
) -> None:
    monkeypatch.setattr(guards, "default_scorer", scorer)
    with pytest.raises(GuardError):
        train(source_set, target_set, tmp_path / "model", footage)
    assert not (tmp_path / "model").exists()


def test_train_guards_source_footage_and_target_crops(
    source_set: Path, target_set: Path, footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Counts:
        def score(self, image: Image) -> float:
            seen.append(image.shape[:2])
            return 0.0

    monkeypatch.setattr(guards, "default_scorer", Counts)
    monkeypatch.setattr(steps, "_check_one_person", lambda source: (_ for _ in ()).throw(ConsentError("far enough")))
    with pytest.raises(ConsentError, match="far enough"):
        train(source_set, target_set, tmp_path / "model", footage)
    assert seen == [(64, 64)] * 5  # one photo of the source, four crops of the target


# Consent


def test_train_needs_consent(source_set: Path, target_set: Path, footage: Path, tmp_path: Path) -> None:
    with pytest.raises(ConsentError, match="expected consent"):
        app.train(source_set, [target_set], tmp_path / "model", config=CONFIG, sources=[footage], grants=())


def test_train_refuses_a_face_set_of_other_footage(
    target_set: Path, footage: Path, tmp_path: Path, source_set: Path
) -> None:
    """Consent for one folder is none for a face set that was cut from another."""
    strangers = write_set(tmp_path / "strangers", [toy_face(k) for k in range(4)]).folder
    with pytest.raises(ConsentError, match=r"strangers: holds faces of clip0\.mp4, which is not among"):
        train(strangers, target_set, tmp_path / "model", footage)
    assert not (tmp_path / "model").exists()


def test_train_refuses_another_persons_face_in_the_source(target_set: Path, footage: Path, tmp_path: Path) -> None:
    origin = dataclasses.replace(toy_origin(), sha256=fingerprint(footage / "1.png"))
    faces = [*(toy_face(k) for k in range(5)), toy_face(5, person=3)]
    mixed = write_set(tmp_path / "mixed", faces, origins=[origin]).folder
    with pytest.raises(ConsentError, match=r"6\.png: not the person whom the consent record names"):
        train(mixed, target_set, tmp_path / "model", footage)
    unmeasured = [*(toy_face(k) for k in range(4)), dataclasses.replace(toy_face(4), embedding=None)]
    unknown = write_set(tmp_path / "unknown", unmeasured, origins=[origin]).folder
    with pytest.raises(ConsentError, match="whose face it is was never measured"):
        train(unknown, target_set, tmp_path / "model", footage)
    assert not (tmp_path / "model").exists()


def test_a_benchmark_makes_a_record_for_a_suites_own_people_only(footage: Path, tmp_path: Path) -> None:
    clips, folder = (footage / "1.png",), tmp_path / "copy"
    assert consents.suite_footage(clips, folder, basis="synthetic", pair="a_on_b") == (folder,)
    (grant,) = app.source_grants([folder], use="research")
    assert (grant.identity, grant.scope) == ("source of a_on_b", ("research",))
    for basis in ("self", "written-consent"):
        assert consents.suite_footage(clips, tmp_path / "other", basis=basis, pair="a_on_b") == clips
    assert not (tmp_path / "other").exists()


def test_every_file_that_extraction_reads_is_covered_by_consent() -> None:
    assert all(MEDIA_SUFFIX.fullmatch(suffix) for suffix in CLIP_SUFFIXES | IMAGE_SUFFIXES)


# Working pictures


def test_training_previews_carry_the_invisible_mark(tmp_path: Path) -> None:
    mark = WorkingMark("preview of model")
    train_intracoder(both(), tmp_path, CONFIG.train, net_config=TINY, mark_preview=mark.mark_frame)
    reading = TileMark().read([read_image(tmp_path / "preview.png")])
    assert reading.is_found
    assert reading.payload == payload_of(uuid.UUID(json.loads(mark.container_tags()["AIGC"])["ProduceID"]))
    assert verify_file(tmp_path / "preview.png").exit_code == 0


# The model's card


@pytest.fixture
def model(tmp_path: Path, footage: Path) -> Path:
    folder = tmp_path / "model"
    cards = consents.consent_cards(app.source_grants([footage], use="private"), person=both()[0].name)
    train_intracoder(both(), folder, CONFIG.train, net_config=TINY, consents=cards)
    return folder


def test_the_card_says_why_its_people_may_be_used_and_what_it_is_for(model: Path, footage: Path) -> None:
    (grant,) = app.source_grants([footage], use="private")
    assert app.kept_grants(model, use="private") == (grant,)
    shown = app.show_model(model)
    for words in (
        'basis = "synthetic"',
        f'record_sha256 = "{grant.record_sha256}"',
        '"private"',
        "frames = 8",
        "held_out = 0",
        "steps = 1",
        "train_loss = ",
        "from_base = false",
        INTENDED_USE,
        *LIMITS,
        f"# consent {grant.record_sha256}: synthetic, for private, research; holds today",
    ):
        assert words in shown
    assert read_card(model).consents[0].person == both()[0].name
    with pytest.raises(ConsentError, match="covers private, research, not publish"):
        app.kept_grants(model, use="publish")


def test_a_withdrawal_reaches_the_model_and_training_on_does_not_shed_it(model: Path, footage: Path) -> None:
    withdrawn = withdraw_consent(footage)
    with pytest.raises(ConsentError, match="withdrawn"):
        app.kept_grants(model, use="private")
    assert "# consent refused: " in app.show_model(model)
    new_consent(footage, dataclasses.replace(SYNTHETIC, identity="a new record"))
    cards = consents.consent_cards(app.source_grants([footage], use="private"), person=both()[0].name)
    train_intracoder(both(), model, CONFIG.train, net_config=TINY, consents=cards)
    assert [c.record_sha256 for c in read_card(model).consents] == [withdrawn, cards[0].record_sha256]
    with pytest.raises(ConsentError, match="withdrawn"):
        app.kept_grants(model, use="private")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('basis = "synthetic"\nscope', 'basis = "self"\nscope'),
        ('    "research",\n]\nrecord_sha256', '    "publish",\n]\nrecord_sha256'),
        ('record_sha256 = "', 'record_sha256 = "0'),
        ("file_count = 1", "file_count = 2"),
    ],
)
def test_an_edited_consent_in_the_card_is_refused(model: Path, old: str, new: str) -> None:
    card = model / "model.toml"
    text = card.read_text(encoding="utf-8")
    assert text.count(old) == 1
    card.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConsentError, match="edited"):
        app.kept_grants(model, use="private")


def test_a_model_without_consent_for_its_source_is_refused(model: Path) -> None:
    card = read_card(model)
    for kept in ((), (dataclasses.replace(card.consents[0], person="bob"),)):
        (model / "model.toml").write_text(card_to_toml(dataclasses.replace(card, consents=kept)), encoding="utf-8")
        with pytest.raises(ConsentError, match="carries no consent record"):
            app.kept_grants(model, use="private")


def test_records_beside_the_card_of_an_earlier_version_count(model: Path, footage: Path) -> None:
    card = read_card(model)
    (model / "model.toml").write_text(card_to_toml(dataclasses.replace(card, consents=())), encoding="utf-8")
    (model / "consent").mkdir()
    (grant,) = app.source_grants([footage], use="private")
    (model / "consent" / f"{grant.record_sha256}.toml").write_text(grant.record_toml, encoding="utf-8")
    assert app.kept_grants(model, use="private") == (grant,)
    assert "holds today" in app.show_model(model)
    withdraw_consent(footage)
    with pytest.raises(ConsentError, match="withdrawn"):
        app.kept_grants(model, use="private")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[[consents]]", "[consents]", "expected a list of consents"),
        ("[[consents]]", "[[consents]]\nextra = 1", "unknown key 'extra'"),
        ('person = "ann"', "person = 5", "person: expected str"),
        ('scope = [\n    "private",', "scope = [\n    1,", r"scope\[0\]: expected str"),
        ("limits = [", "limits = 4\nmore = [", "limits: expected a list"),
        ('basis = "synthetic"\nscope', "scope", "expected the key 'basis'"),
    ],
)
def test_a_hostile_card_is_one_line(model: Path, old: str, new: str, says: str) -> None:
    card = model / "model.toml"
    text = card.read_text(encoding="utf-8")
    assert old in text
    card.write_text(text.replace(old, new, 1), encoding="utf-8")
    for use in (lambda: app.show_model(model), lambda: app.kept_grants(model, use="private")):
        with pytest.raises(WeightsError, match=says) as caught:
            use()
        assert "\n" not in str(caught.value)


def test_show_model_prints_no_control_characters(model: Path) -> None:
    card = model / "model.toml"
    text = card.read_text(encoding="utf-8").replace(INTENDED_USE, "\\u001b[2J\\u0007cleared\u009b\u202e")
    card.write_text(text, encoding="utf-8")
    shown = app.show_model(model)
    assert "cleared" in shown
    assert all(character.isprintable() or character == "\n" for character in shown)
