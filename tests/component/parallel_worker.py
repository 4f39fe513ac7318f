"""One process of a training in several, run by test_training_parallel.py: ``parallel_worker.py FOLDER``.

Its last line is JSON with what it saw.
"""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from toy_actors import TINY, both

from intracoder.config import TrainConfig
from intracoder.errors import TrainingStoppedError
from intracoder.nets.losses import LossTerm
from intracoder.training import loop

PEOPLE = both(10)
STEPS = 12
CONFIG = TrainConfig(
    steps=STEPS, batch=4, lr=3e-3, precision="32-true", threads=1, device="cpu", preview_s=999.0, minutes=None
)
CUT_AT = 7
LOST_AT = 4


class Recorder(loop.Trainer):
    """Keeps the loss after every step of the last sitting."""

    curve = ()

    def run(self):
        Recorder.curve = []
        return super().run()

    def report(self):
        Recorder.curve.append(self.state.counters.train_loss)
        super().report()


class Cut(Recorder):
    """The last process alone is asked to stop."""

    def report(self):
        super().report()
        if self.state.counters.step == CUT_AT and not self.world.is_first:
            signal.raise_signal(signal.SIGINT)


def train(trainer, folder, config, progress=loop.silent):
    loop.Trainer, loop.CHECK_STEPS = trainer, 1
    return loop.train_intracoder(PEOPLE, folder, config, net_config=TINY, progress=progress).card.training


def cut_and_gone_on(folder):
    try:
        train(Cut, folder, CONFIG)
    except TrainingStoppedError:
        first = Recorder.curve
        done = train(Recorder, folder, CONFIG)
        return {"curve": first + Recorder.curve, "cut": len(first), "steps": done.steps}
    raise AssertionError("was not cut")


def on_the_clock(folder):
    """Minutes and previews, where clocks differ."""
    notes = []
    config = replace(CONFIG, steps=None, minutes=0.02, preview_s=0.3)
    done = train(Recorder, folder, config, lambda *told: notes.append(told))
    return {"steps": done.steps, "seconds": done.seconds, "held_out": done.validation_loss, "told": len(notes)}


def lost(folder):
    """The loss is no number in the last process alone."""
    real, calls = loop.intracoder_losses, iter(range(100))

    def losses(*arguments):
        terms = real(*arguments)
        if next(calls) == LOST_AT and os.environ["RANK"] == "1":
            terms["color"] = LossTerm(terms["color"].raw * float("nan"), 1.0)
        return terms

    loop.intracoder_losses = losses
    done = train(Recorder, folder, CONFIG)
    return {"curve": Recorder.curve, "steps": done.steps}


if __name__ == "__main__":
    root = Path(sys.argv[1])
    data = loop.build_training_data(PEOPLE, TINY)
    loop.build_training_data = lambda *_, **__: data  # once for all trainings, which saves seconds
    seen = {
        "cut": cut_and_gone_on(root / "cut"),
        "clock": on_the_clock(root / f"clock{os.environ['RANK']}"),
        "lost": lost(root / "lost"),
    }
    sys.stdout.write(json.dumps(seen) + "\n")
