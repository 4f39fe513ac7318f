"""Two processes train as one does."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import parallel_worker
import pytest
import torch
from parallel_worker import CONFIG, CUT_AT, LOST_AT, STEPS, Recorder, train
from toy_actors import TINY, both

from intracoder.errors import ConfigError
from intracoder.nets.device import choose_compute
from intracoder.nets.intracoder import Intracoder
from intracoder.nets.model_card import read_model
from intracoder.training import loop
from intracoder.training.augment import Batch
from intracoder.training.parallel import World, require_alone

SOURCES = Path(loop.__file__).parents[2]


def torchrun_variables(rank, size=2, port="29500"):
    """What torchrun tells its processes."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return dict(zip(names, map(str, (rank, rank, size, size, "127.0.0.1", port)), strict=True))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder of a training in two processes, and what each of them saw."""
    folder, port = tmp_path_factory.mktemp("parallel"), free_port()
    paths = os.pathsep.join([str(SOURCES), str(Path(__file__).parent)])
    started = [
        subprocess.Popen(
            [sys.executable, parallel_worker.__file__, str(folder)],
            env=os.environ | torchrun_variables(rank, port=port) | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        told = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], "\n".join(error for _, error in told)
    return folder, [json.loads(out.splitlines()[-1]) for out, _ in told]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The folder of the same training in this process, and its losses."""
    before, folder = (loop.Trainer, loop.CHECK_STEPS), tmp_path_factory.mktemp("alone")
    train(Recorder, folder, CONFIG)
    loop.Trainer, loop.CHECK_STEPS = before
    return folder, Recorder.curve


def weights(folder):
    net, _ = read_model(folder, choose_compute("cpu", "32-true", 1))
    return torch.cat([value.flatten() for value in net.state_dict().values()])


def test_two_processes_give_the_curve_and_the_weights_of_one(one, two):
    (alone, curve), (folder, seen) = one, two
    assert len(curve) == STEPS
    for told in seen:
        assert told["cut"]["curve"] == pytest.approx(curve, rel=1e-4)
    start = torch.cat([value.flatten() for value in initial().state_dict().values()])
    expected, got = weights(alone), weights(folder / "cut")
    assert float((got - expected).norm()) < 1e-4 * float(expected.norm())
    assert float((got - expected).norm()) < 1e-2 * float((expected - start).norm())


def initial():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(CONFIG.seed)
        return Intracoder(TINY)


def test_a_stop_that_one_process_hears_stops_all_at_the_same_step_and_they_go_on(two):
    _, seen = two
    assert [told["cut"]["cut"] for told in seen] == [CUT_AT, CUT_AT]
    assert [told["cut"]["steps"] for told in seen] == [STEPS, STEPS]


def test_a_time_budget_ends_in_all_processes_at_the_same_step(two):
    _, (first, second) = two
    assert first["clock"]["steps"] == second["clock"]["steps"] >= 1
    assert first["clock"]["seconds"] == second["clock"]["seconds"]
    assert first["clock"]["seconds"] >= 1.2
    assert first["clock"]["held_out"] == second["clock"]["held_out"] > 0


def test_only_the_first_process_writes_and_speaks(two):
    folder, (first, second) = two
    written = {path.name for path in (folder / "clock0").iterdir()}
    assert written == {"model.toml", "model.safetensors", "references.safetensors", "state.safetensors", "preview.png"}
    assert list((folder / "clock1").iterdir()) == []
    assert first["clock"]["told"] > first["clock"]["steps"]
    assert second["clock"]["told"] == 0


def test_a_loss_that_one_process_loses_sets_all_back(two):
    folder, (first, second) = two
    assert first["lost"] == second["lost"]
    assert first["lost"]["curve"][LOST_AT] == first["lost"]["curve"][LOST_AT - 1]
    assert np.isfinite(first["lost"]["curve"]).all()
    assert bool(weights(folder / "lost").isfinite().all())


def test_slices_hold_every_persons_rows_once():
    rows = torch.arange(12.0)[:, None, None, None]
    whole = Batch(inputs=rows, expected=rows, mask=rows, weight=rows, planes=rows)
    slices = [World(rank=rank, size=2, local_rank=rank, local_size=2).own_rows(whole, 3) for rank in range(2)]
    assert slices[0].planes.flatten().tolist() == [0, 1, 4, 5, 8, 9]
    assert slices[1].inputs.flatten().tolist() == [2, 3, 6, 7, 10, 11]
    assert World().own_rows(whole, 3) is whole


def test_a_batch_that_does_not_divide_is_one_line(tmp_path, monkeypatch):
    for name, value in torchrun_variables(0).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"train\.batch: expected a multiple of 2, .* got 5") as raised:
        loop.train_intracoder(both(), tmp_path, replace(CONFIG, batch=5), net_config=TINY)
    assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match="swap: expected one process, got 2"):
        require_alone("swap")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"RANK": "2"}, r"RANK: expected a whole number, 0\.\.1, got '2'"),
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE"),
        ({"LOCAL_WORLD_SIZE": "3"}, r"LOCAL_WORLD_SIZE: .* 1\.\.2"),
        ({"MASTER_PORT": None}, "MASTER_PORT is missing"),
    ],
)
def test_a_wrong_environment_is_one_line(changes, expected):
    variables = {k: v for k, v in (torchrun_variables(0) | changes).items() if v is not None}
    with pytest.raises(ConfigError, match=expected):
        World.from_environment(variables)


def test_a_process_knows_its_place_on_one_of_two_machines():
    variables = torchrun_variables(5, size=8) | {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert World.from_environment(variables) == World(rank=5, size=8, local_rank=1, local_size=4)
    assert World.from_environment({}) == World()
    assert World.from_environment({"WORLD_SIZE": "1"}) == World()
