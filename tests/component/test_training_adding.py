"""A person more in a trained model: only that person's own layers are new, and consent is asked as for any source."""

import dataclasses
import signal
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from toy_actors import TINY, actor, both, track_of
from toy_faceset import INFO, toy_face, toy_origin, write_set

from intracoder import app
from intracoder.app import consents
from intracoder.config import RunConfig, TrainConfig
from intracoder.errors import ConsentError, TrainingError, TrainingStoppedError, WeightsError
from intracoder.faceset.likeness_file import load_likenesses
from intracoder.faceset.sources import fingerprint
from intracoder.media.stills import read_image
from intracoder.nets.base import read_base
from intracoder.nets.device import choose_compute
from intracoder.nets.intracoder import Intracoder, preset
from intracoder.nets.model_card import read_card, read_model
from intracoder.provenance import guard as guards
from intracoder.provenance.consent import ConsentTerms, new_consent, withdraw_consent
from intracoder.swap.swapper import IntracoderSwapper
from intracoder.training.adding import add_person, newcomer
from intracoder.training.loop import train_intracoder

SYNTHETIC = ConsentTerms(basis="synthetic", adult=True, evidence={"generator": "a test"})


def config(**changes):
    values = {"minutes": None, "batch": 4, "precision": "32-true", "threads": 1, "device": "cpu", "preview_s": 999.0}
    return TrainConfig(**(values | changes))


def eve(count=20):
    """Like ann, with her right half in the dark."""
    person = actor("eve", pale_forehead=True, count=count)
    crops = person.crops.copy()
    crops[:, :, :128] = (crops[:, :, :128] * 0.45).astype(np.uint8)
    return dataclasses.replace(person, crops=crops)


def weights(folder):
    return read_model(folder, choose_compute("cpu", "32-true", 1))[0].state_dict()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "model"
    train_intracoder(both(), folder, config(steps=20, lr=3e-3), net_config=TINY)
    return folder


@pytest.fixture(scope="module")
def grown(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("added") / "grown"
    add_person(model, eve(), folder, config(steps=60, lr=3e-3))
    return folder


def test_all_others_stay_bit_for_bit(model, grown):
    before, after = weights(model), weights(grown)
    for name, value in before.items():
        assert torch.equal(after[name][: len(value)], value), name
        assert len(after[name]) == (3 if "_film." in name else len(value))
    assert {name for name in after if name not in before} == {
        name.replace("decoders.0", "decoders.2") for name in before if name.startswith("decoders.0.")
    }
    assert after["trunk.fine_film.scale"][2].abs().max() > 1e-4


def test_the_others_swaps_and_stored_frames_stay_the_same(model, grown):
    track = track_of(both()[1])
    crops = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    for name in ("ann", "bob"):
        old, new = (
            IntracoderSwapper(folder, source=name, device="cpu", precision="32-true", threads=1)
            for folder in (model, grown)
        )
        expected, found = old.swap(crops, old.plan(track)), new.swap(crops, new.plan(track))
        assert np.array_equal(found.crops, expected.crops)
        assert np.array_equal(found.masks, expected.masks)
    before, basis = load_likenesses(model, ["ann", "bob"])
    after, kept_basis = load_likenesses(grown, ["ann", "bob", "eve"])
    assert np.array_equal(kept_basis.directions, basis.directions)
    assert all(np.array_equal(a.frames.crops, b.frames.crops) for a, b in zip(before, after[:2], strict=True))
    assert np.array_equal(after[2].frames.crops, eve().crops)


def test_the_new_person_is_learned(model, grown, tmp_path):
    at_first = add_person(model, eve(), tmp_path / "first", config(steps=1, lr=3e-3)).card.people[2]
    learned = read_card(grown).people[2]
    assert learned.added_loss < 0.6 * at_first.added_loss
    swapper = IntracoderSwapper(grown, source="eve", device="cpu", precision="32-true", threads=1)
    assert swapper.source == "eve"
    plan = swapper.plan(track_of(both()[1]))
    drawn = swapper.swap(np.full((8, 32, 32, 3), 120, np.uint8), plan).crops.astype(float)
    ann = IntracoderSwapper(grown, device="cpu", precision="32-true", threads=1)
    anns = ann.swap(np.full((8, 32, 32, 3), 120, np.uint8), ann.plan(track_of(both()[1]))).crops.astype(float)

    def right_over_left(faces):
        return faces[:, 10:22, 18:23].mean() - faces[:, 10:22, 9:14].mean()

    assert right_over_left(drawn) > right_over_left(anns) + 15


def test_the_card_tells_of_everybody(model, grown):
    before, after = read_card(model), read_card(grown)
    assert [(p.name, p.frames, p.held_out, p.added_steps) for p in after.people] == [
        ("ann", 8, 0, None),
        ("bob", 8, 0, None),
        ("eve", 18, 2, 60),
    ]
    assert after.net.people == 3
    assert after.training == before.training
    assert read_image(grown / "preview.png").std() > 20
    assert not (grown / "state.safetensors").exists()


def test_a_start_from_base_weights_and_one_from_the_mean(model):
    net, _ = read_model(model, choose_compute("cpu", "32-true", 1))
    start, known = newcomer(net, config(steps=1)), net.state_dict()
    assert not start.is_warm
    for name, parameter in start.net.named_parameters():
        is_own = name.startswith("decoders.") or "_film." in name
        assert parameter.requires_grad == is_own
        if not is_own:
            assert torch.equal(parameter, known[name])
    mean = (known["decoders.0.last.weight"] + known["decoders.1.last.weight"]) / 2
    torch.testing.assert_close(start.net.decoders[0].last.weight.detach(), mean)
    film = known["trunk.coarse_film.offset"].mean(dim=0, keepdim=True)
    torch.testing.assert_close(start.net.trunk.coarse_film.offset.detach(), film)

    large = Intracoder(preset("S"))
    base, start = read_base(), newcomer(large, config(steps=1))
    assert start.is_warm
    assert torch.equal(start.net.decoders[0].last.weight.detach(), base["decoders.0.last.weight"])
    assert torch.equal(start.net.trunk.fine_film.scale.detach(), base["trunk.fine_film.scale"])
    assert torch.equal(start.net.encoder.squeeze.weight.detach(), large.encoder.squeeze.weight.detach())
    assert not newcomer(large, config(steps=1, warm_start=False)).is_warm


def test_people_are_added_one_after_another(grown, tmp_path):
    last = dataclasses.replace(both()[1], name="dan")
    card = add_person(grown, last, tmp_path / "four", config(steps=2)).card
    assert [person.name for person in card.people] == ["ann", "bob", "eve", "dan"]
    before, after = weights(grown), weights(tmp_path / "four")
    assert all(torch.equal(after[name][: len(value)], value) for name, value in before.items())


# What is refused


def test_names_and_folders_that_are_taken_are_refused(model, tmp_path):
    with pytest.raises(TrainingError, match="draws ann, bob already, expected another name than 'bob'") as caught:
        add_person(model, both()[1], tmp_path / "new", config(steps=1))
    assert "\n" not in str(caught.value)
    with pytest.raises(TrainingError, match="expected a new folder"):
        add_person(model, eve(8), model, config(steps=1))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_model_is_refused(model, tmp_path):
    with pytest.raises(WeightsError, match="train the model first"):
        add_person(tmp_path, eve(8), tmp_path / "new", config(steps=1))
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for name in ("model.toml", "model.safetensors"):
        (damaged / name).write_bytes((model / name).read_bytes())
    with pytest.raises(WeightsError, match=r"references\.safetensors"):
        add_person(damaged, eve(8), tmp_path / "new", config(steps=1))
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


def test_one_that_is_stopped_leaves_everything_as_it_was(model, tmp_path):
    def progress(stage, done, total, note=""):
        if stage == "train" and done == 2:
            signal.raise_signal(signal.SIGINT)

    before = contents(model)
    with pytest.raises(TrainingStoppedError, match="nothing written") as caught:
        add_person(model, eve(8), tmp_path / "new", config(steps=9), progress=progress)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert contents(model) == before


def test_a_training_of_others_does_not_write_over_it(grown):
    before = contents(grown)
    with pytest.raises(TrainingError, match="holds a training of ann, bob, eve"):
        train_intracoder(both(), grown, config(steps=1), net_config=TINY)
    assert contents(grown) == before


# Consent


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("INTRACODER_HOME", str(tmp_path / "home"))


@pytest.fixture
def footage(tmp_path, home):
    """Two people's source folders, each of one picture with its record."""
    folders = tmp_path / "ann_footage", tmp_path / "eve_footage"
    for level, folder in enumerate(folders):
        folder.mkdir()
        cv2.imwrite(str(folder / "1.png"), np.full((64, 64, 3), 90 + level, np.uint8))
        new_consent(folder, SYNTHETIC)
    return folders


@pytest.fixture
def consented(tmp_path, footage):
    """A model of ann and bob, in which ann is used under a record; with a second network."""
    cards = consents.consent_cards(app.source_grants([footage[0]], use="private"), person="ann")
    train_intracoder(both(), tmp_path / "model", config(steps=1), net_config=TINY, consents=cards)
    (tmp_path / "model" / "enhancer.safetensors").write_bytes(b"as it was")
    return tmp_path / "model"


@pytest.fixture
def source_set(tmp_path, footage):
    return made_set(tmp_path / "eve_set", footage[1])


def made_set(folder, footage, faces=None):
    origin = dataclasses.replace(toy_origin(), sha256=fingerprint(footage / "1.png"))
    info = dataclasses.replace(INFO, person="eve", crop_px=256)
    return write_set(folder, faces or [toy_face(k) for k in range(4)], info=info, origins=[origin]).folder


def add(source_set, model, footage, *, use="private"):
    grants = app.source_grants([footage], use=use)
    options = RunConfig(train=config(steps=1, batch=2))
    grown = model.with_name("grown")
    app.add(source_set, model, grown, config=options, use=use, sources=[footage], grants=grants)
    return grown


def test_an_added_person_may_be_drawn_by_name_under_a_record_of_its_own(consented, source_set, footage):
    grown = add(source_set, consented, footage[1])
    card = read_card(grown)
    assert [(c.person, c.record_sha256) for c in card.consents] == [
        ("ann", read_card(consented).consents[0].record_sha256),
        ("eve", app.source_grants([footage[1]], use="private")[0].record_sha256),
    ]
    assert (grown / "enhancer.safetensors").read_bytes() == b"as it was"
    assert app.kept_grants(grown, use="private", person="eve") == app.kept_grants(grown, use="private")
    with pytest.raises(ConsentError, match="no consent record of bob, whose face was only its target"):
        app.kept_grants(grown, use="private", person="bob")
    with pytest.raises(WeightsError, match="expected a decoder for 'zoe', it has ann, bob, eve"):
        app.kept_grants(grown, use="private", person="zoe")
    withdraw_consent(footage[1])
    for person in (None, "ann", "eve"):
        with pytest.raises(ConsentError, match="withdrawn"):
            app.kept_grants(grown, use="private", person=person)
    assert len(app.kept_grants(consented, use="private")) == 1


def test_records_beside_the_card_of_an_earlier_version_come_along(consented, source_set, footage):
    (grant,) = app.source_grants([footage[0]], use="private")
    (consented / "consent").mkdir()
    (consented / "consent" / f"{grant.record_sha256}.toml").write_text(grant.record_toml, encoding="utf-8")
    grown = add(source_set, consented, footage[1])
    assert (grown / "consent" / f"{grant.record_sha256}.toml").read_text(encoding="utf-8") == grant.record_toml


def test_adding_needs_consent_for_the_very_footage(consented, source_set, footage, tmp_path):
    options = RunConfig(train=config(steps=1))
    given = {"config": options, "use": "private", "sources": [footage[1]]}
    with pytest.raises(ConsentError, match="expected consent for the person, got none"):
        app.add(source_set, consented, tmp_path / "grown", grants=(), **given)
    with pytest.raises(ConsentError, match="which is not among the source footage"):
        add(source_set, consented, footage[0])
    strangers = made_set(tmp_path / "mixed", footage[1], [*(toy_face(k) for k in range(5)), toy_face(5, person=3)])
    with pytest.raises(ConsentError, match="not the person whom the consent record names"):
        add(strangers, consented, footage[1])
    withdraw_consent(footage[0])
    with pytest.raises(ConsentError, match="withdrawn"):
        add(source_set, consented, footage[1])
    assert not (tmp_path / "grown").exists()


def test_adding_guards_its_footage(consented, source_set, footage, tmp_path, monkeypatch):
    class Refuses:
        def score(self, image):
            return 1.0

    monkeypatch.setattr(guards, "default_scorer", Refuses)
    with pytest.raises(guards.GuardError):
        add(source_set, consented, footage[1])
    assert not (tmp_path / "grown").exists()
