import logging
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_actors import TINY, TINY_PLAIN, actor, both

from intracoder.config import TrainConfig
from intracoder.errors import TrainingError, TrainingStoppedError, WeightsError
from intracoder.media.reader import read_image
from intracoder.nets.cost import net_cost
from intracoder.nets.device import Compute, choose_compute
from intracoder.nets.generate import generate_faces
from intracoder.nets.losses import LossTerm
from intracoder.nets.model_card import read_card, read_model
from intracoder.training import loop
from intracoder.training.dataset import build_training_data, held_out_rows
from intracoder.training.loop import train_intracoder


def config(**changes):
    values = {"minutes": None, "batch": 4, "precision": "32-true", "threads": 1, "device": "cpu", "preview_s": 999.0}
    return TrainConfig(**(values | changes))


def weights(folder):
    return read_model(folder, choose_compute("cpu", "32-true", 1))[0].state_dict()


def test_a_tiny_net_overfits_eight_crops(tmp_path):
    notes = []
    result = train_intracoder(
        both(), tmp_path, config(steps=300, lr=3e-3), net_config=TINY, progress=lambda *told: notes.append(told)
    )
    losses = [float(note.split("loss ")[1].split(",")[0]) for stage, _, _, note in notes if stage == "train"]
    first = next(loss for loss in losses if loss > 0)
    assert result.card.training.train_loss < first / 2.5
    assert result.card.training.steps == 300
    assert [stage for stage, *_ in notes][:1] == ["prepare"]
    assert "faces/s" in notes[-1][3]
    assert "s left" in notes[-1][3]
    preview = read_image(tmp_path / "preview.png")
    assert preview.std() > 20


def test_swapping_the_decoder_changes_the_person_and_keeps_the_pose(tmp_path):
    people = both()
    train_intracoder(people, tmp_path, config(steps=250, lr=3e-3), net_config=TINY_PLAIN)
    compute = choose_compute("cpu", "32-true", 1)
    net, card = read_model(tmp_path, compute)
    data = build_training_data(people, TINY_PLAIN)
    target = data.people[1].layers[:, :, 4:-4, 4:-4]
    crops = target[:, :3].permute(0, 2, 3, 1).contiguous().numpy()
    masks = (target[:, 3].float() / 255).numpy()
    upper, lower = np.s_[:, 8:13, 12:20], np.s_[:, 21:25, 12:20]

    def forehead_over_chin(person):
        drawn = generate_faces(net, person, crops, masks, None, compute)
        made, alpha = drawn.crops, drawn.masks
        both_faces = ((alpha > 0.5) & (masks > 0.5)).sum() / ((alpha > 0.5) | (masks > 0.5)).sum()
        return made[upper].mean() - made[lower].mean(), both_faces

    assert crops[upper].mean() < crops[lower].mean() - 30
    bob, bob_overlap = forehead_over_chin(card.index_of("bob"))
    ann, ann_overlap = forehead_over_chin(card.index_of("ann"))
    assert bob < -30
    assert ann > 30
    # either way the face is where the target's is
    assert bob_overlap > 0.8
    assert ann_overlap > 0.8


def stalled(**changes):
    """Nothing is learned at this rate."""
    options = {"minutes": 2.0, "lr": 1e-9, "patience_minutes": 0.02, "preview_s": 0.3}
    return config(**(options | changes))


def test_a_training_that_stands_still_ends_early_and_says_so(tmp_path, caplog):
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        result = train_intracoder(both(20), tmp_path, stalled(), net_config=TINY)
    assert time.monotonic() - started < 40
    assert result.card.training.seconds < 20
    (line,) = [record.getMessage() for record in caplog.records if "held-out" in record.getMessage()]
    assert "stands still" in line
    assert "more time would not help" in line


def test_late_in_a_budget_nothing_is_cut_and_nothing_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        train_intracoder(both(20), tmp_path, stalled(minutes=0.05, patience_minutes=0.04), net_config=TINY)
    assert not [record for record in caplog.records if "held-out" in record.getMessage()]


def test_an_early_end_is_remembered(tmp_path):
    train_intracoder(both(20), tmp_path, stalled(), net_config=TINY)
    first = read_card(tmp_path).training
    again = train_intracoder(both(20), tmp_path, stalled(), net_config=TINY).card.training
    assert again.steps == first.steps


def test_steps_are_always_taken(tmp_path):
    changes = {"minutes": None, "steps": 60, "patience_minutes": 0.001, "preview_s": 0.05}
    result = train_intracoder(both(20), tmp_path, stalled(**changes), net_config=TINY)
    assert result.card.training.steps == 60


def interrupt_after(step):
    def progress(stage, done, total, note=""):
        if stage == "train" and done == step:
            signal.raise_signal(signal.SIGINT)

    return progress


def test_an_interrupted_run_saves_says_how_to_go_on_and_resumes_bit_for_bit(tmp_path):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    before = signal.getsignal(signal.SIGINT)  # a shell starts what runs behind it with the signal ignored
    train_intracoder(both(), straight, config(steps=14), net_config=TINY)
    with pytest.raises(TrainingStoppedError, match="same command again"):
        train_intracoder(both(), stopped, config(steps=14), net_config=TINY, progress=interrupt_after(7))
    assert read_card(stopped).training.steps == 7
    assert not [p for p in stopped.iterdir() if p.name.startswith(".")]
    train_intracoder(both(), stopped, config(steps=14), net_config=TINY)
    assert read_card(stopped).training.steps == 14
    once, twice = weights(straight), weights(stopped)
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_card_and_the_first_line_say_what_it_costs(tmp_path):
    told = []
    train_intracoder(both(), tmp_path, config(steps=1), net_config=TINY, progress=lambda *t: told.append(t))
    facts, cost = read_card(tmp_path).training, net_cost(TINY)
    assert (facts.parameters, facts.macs_per_face) == (cost.parameters, cost.macs_per_face)
    assert facts.peak_memory_mib is None or 50 < facts.peak_memory_mib < 100_000
    first = next(k for k, (stage, *_) in enumerate(told) if stage == "train")
    assert told[first - 1][3] == f"32 px: {cost.text()}, from nothing; cpu, 32-true, 1 threads, processes: 1"
    # a card from before this was said
    card = tmp_path / "model.toml"
    new = ("from_base", "parameters", "macs_per_face", "peak_memory_mib")
    card.write_text("".join(line for line in card.read_text().splitlines(keepends=True) if not line.startswith(new)))
    old = read_card(tmp_path).training
    assert (old.from_base, old.parameters, old.macs_per_face, old.peak_memory_mib) == (False, None, None, None)


def test_the_card_says_whether_base_weights_were_the_start_also_after_going_on(tmp_path, monkeypatch):
    train_intracoder(both(), tmp_path / "new", config(steps=1), net_config=TINY)
    assert not read_card(tmp_path / "new").training.from_base
    monkeypatch.setattr("intracoder.nets.base.warm_start", lambda net: True)
    train_intracoder(both(), tmp_path / "warm", config(steps=1), net_config=TINY)
    assert read_card(tmp_path / "warm").training.from_base
    train_intracoder(both(), tmp_path / "warm", config(steps=2, warm_start=False), net_config=TINY)
    assert read_card(tmp_path / "warm").training.from_base


def test_a_finished_training_is_not_trained_again(tmp_path):
    train_intracoder(both(), tmp_path, config(steps=4), net_config=TINY)
    before = (tmp_path / "model.safetensors").read_bytes()
    again = train_intracoder(both(), tmp_path, config(steps=4), net_config=TINY)
    assert again.card.training.steps == 4
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_another_training_in_the_folder_is_refused(tmp_path):
    train_intracoder(both(), tmp_path, config(steps=2), net_config=TINY)
    others = [both()[0], actor("eve", pale_forehead=False)]
    with pytest.raises(TrainingError, match="ann, bob at 32 px"):
        train_intracoder(others, tmp_path, config(steps=4), net_config=TINY)
    with pytest.raises(TrainingError, match="different people"):
        train_intracoder([both()[0]] * 2, tmp_path / "new", config(steps=4), net_config=TINY)


def test_minutes_end_on_time_with_a_usable_model(tmp_path):
    started = time.monotonic()
    told = []
    result = train_intracoder(
        both(),
        tmp_path,
        config(minutes=0.05, preview_s=1.0),
        net_config=TINY,
        progress=lambda stage, done, total, note="": told.append((stage, done, total)),
    )
    assert 3.0 <= result.card.training.seconds < 4.0
    assert time.monotonic() - started < 15
    assert result.card.training.steps > 3
    assert result.card.training.faces_per_s > 0
    assert told[-1][2] == 3.0
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def lose_loss(monkeypatch, when):
    """Makes the loss NaN in the calls whose number ``when`` accepts."""
    real, calls = loop.intracoder_losses, iter(range(10_000))

    def losses(*arguments):
        terms = real(*arguments)
        if torch.is_grad_enabled() and when(next(calls)):
            terms["color"] = LossTerm(terms["color"].raw * float("nan"), 1.0)
        return terms

    monkeypatch.setattr(loop, "intracoder_losses", losses)


def test_a_lost_loss_is_set_back_once_with_half_the_rate(tmp_path, monkeypatch, caplog):
    lose_loss(monkeypatch, lambda call: call == 25)
    with caplog.at_level(logging.WARNING):
        result = train_intracoder(both(), tmp_path, config(steps=60), net_config=TINY)
    assert [r.message for r in caplog.records] == [
        "loss is not a number at step 40: back to the last good weights, rate halved"
    ]
    assert np.isfinite(result.card.training.train_loss)
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_a_loss_that_is_lost_again_ends_the_training(tmp_path, monkeypatch):
    lose_loss(monkeypatch, lambda call: call >= 25)
    with pytest.raises(TrainingError, match="lower rate"):
        train_intracoder(both(), tmp_path, config(steps=100), net_config=TINY)


def test_held_out_frames_are_stretches_and_are_never_drawn():
    person = actor("ann", pale_forehead=True, count=100, px=256)
    held = held_out_rows(person)
    assert held.sum() == 10
    assert np.diff(np.flatnonzero(held)).tolist().count(1) == 8
    data = build_training_data([person.subset(np.arange(40)), both()[1]], TINY)
    assert (data.people[0].probabilities[data.people[0].held_out] == 0).all()
    assert data.people[0].probabilities.sum().item() == pytest.approx(1)
    assert len(data.people[0].held_out) == 4
    assert len(data.people[1].held_out) == 0


def test_three_people_and_a_single_photo_can_be_trained(tmp_path):
    people = [*both(), actor("eve", pale_forehead=True, count=1)]
    result = train_intracoder(people, tmp_path, config(steps=3), net_config=replace(TINY, people=3))
    assert [(card.name, card.frames) for card in result.card.people] == [("ann", 8), ("bob", 8), ("eve", 1)]
    assert result.card.training.validation_loss is None
    assert len(read_model(tmp_path, choose_compute("cpu", "32-true", 1))[0].decoders) == 3


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("model.toml", b"format = 1\n", "people"),
        ("model.toml", b"\xff\xfe", "model card"),
        ("model.toml", b"format = 99\n[[people]]\n", "format"),
        ("model.toml", None, "train the model first"),
        ("model.safetensors", b"not a safetensors file", "safetensors"),
        ("model.safetensors", None, "found none"),
        ("state.safetensors", b"\x08\0\0\0\0\0\0\0{}      ", "lacks"),
    ],
)
def test_hostile_model_files_give_one_line(tmp_path, name, content, expected):
    train_intracoder(both(), tmp_path, config(steps=1), net_config=TINY)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)

    def use():
        if name.startswith("state"):
            train_intracoder(both(), tmp_path, config(steps=3), net_config=TINY)
        return read_model(tmp_path, choose_compute("cpu", "32-true", 1))

    with pytest.raises(WeightsError, match=expected) as raised:
        use()
    assert "\n" not in str(raised.value)
    assert str(tmp_path / name) in str(raised.value)


def test_a_card_that_claims_another_size_does_not_fit_the_weights(tmp_path):
    train_intracoder(both(), tmp_path, config(steps=1), net_config=TINY)
    card = tmp_path / "model.toml"
    card.write_text(card.read_text().replace("width = 16", "width = 512"))
    with pytest.raises(WeightsError, match="expected F32 512 x 48"):
        read_model(tmp_path, choose_compute("cpu", "32-true", 1))
    card.write_text(card.read_text().replace("width = 512", "width = 99999"))
    with pytest.raises(WeightsError, match=r"net\.width"):
        read_model(tmp_path, choose_compute("cpu", "32-true", 1))


@pytest.mark.parametrize(
    ("device", "gib", "minutes", "width"),
    [
        ("cpu", None, 180.0, 64),
        ("mps", None, 180.0, 96),
        ("cuda", 12, 180.0, 96),
        ("cuda", 80, 3.0, 96),
        ("cuda", 24, 45.0, 128),
    ],
)
def test_the_hardware_chooses_the_size_unless_it_is_given(monkeypatch, device, gib, minutes, width):
    monkeypatch.setattr(loop, "device_memory_gib", lambda _: gib)
    compute = Compute(device=torch.device(device), precision="32-true", threads=1)
    assert loop.network_for(TrainConfig(minutes=minutes), 2, compute).width == width
    assert loop.network_for(TrainConfig(minutes=minutes, size="S"), 2, compute).width == 64
