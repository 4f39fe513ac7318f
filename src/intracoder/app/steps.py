"""Extract, curate and train, each by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from intracoder.app.consents import keep_grants
from intracoder.app.requests import Choice
from intracoder.build import ENHANCER_FILE, face_networks
from intracoder.config import RunConfig
from intracoder.errors import ConfigError, ConsentError
from intracoder.media.atomic import atomic_path
from intracoder.protocols import Progress, silent

if TYPE_CHECKING:
    from intracoder.faceset.curate import CurateReport
    from intracoder.faceset.store import FaceSet
    from intracoder.provenance.consent import ConsentGrant


def extract(
    sources: Sequence[Path],
    folder: Path,
    *,
    config: RunConfig,
    person: str | None = None,
    choice: Choice = Choice(),
    is_target: bool = False,
    progress: Progress = silent,
) -> FaceSet:
    """Finds one person and writes the face set; see ``faceset.extract.extract_faces``."""
    from intracoder.faceset.extract import extract_faces

    networks = face_networks(config.detect)
    return extract_faces(
        sources,
        folder,
        detector=networks.detector,
        landmarker=networks.landmarker,
        embedder=networks.embedder,
        config=config,
        person=person,
        face=choice.face,
        face_image=choice.face_image,
        all_frames=is_target,
        progress=progress,
    )


def curate(folder: Path, *, config: RunConfig, progress: Progress = silent) -> CurateReport:
    """Drops other people, blur and repeats from a face set."""
    from intracoder.faceset.curate import curate as curate_set
    from intracoder.faceset.store import FaceSet

    return curate_set(FaceSet.open(folder), config.curate, progress)


def train(
    source_set: Path,
    target_sets: Sequence[Path],
    model: Path,
    *,
    config: RunConfig,
    grants: Sequence[ConsentGrant],
    progress: Progress = silent,
) -> None:
    """Trains intracoder and colour and resolution network; goes on where a stopped training ended.

    Args:
        source_set: Face set of the person whose face is to appear.
        target_sets: Face sets of the people whose heads it will be put on.
        model: Folder of the model.
        config: Budgets and sizes.
        grants: Consent for the source, from ``provenance.consent.load_consent``; kept with the model.
        progress: Told of every stage.

    Raises:
        ConsentError: No grant.
        TrainingInterruptedError: On Ctrl-C, after everything was saved.
    """
    from intracoder.faceset.store import FaceSet
    from intracoder.training.loop import train_intracoder

    if not grants:
        raise ConsentError("training: expected consent for the source, got none")
    if not target_sets:
        raise ConfigError("training: expected at least one target face set beside the source's, got none")
    sets = [FaceSet.open(folder) for folder in (source_set, *target_sets)]
    _check_one_person(sets[0])
    keep_grants(grants, model)
    train_intracoder([found.person_frames() for found in sets], model, config.train, progress=progress)
    train_second(model, config, progress=progress)


def _check_one_person(source: FaceSet) -> None:
    """ConsentError, naming the crop, where the source's set holds somebody whom its consent does not name."""
    import numpy as np

    from intracoder.faceset.curate import centroid
    from intracoder.provenance.consent import check_same_person

    kept = [(entry.aligned.face.embedding, entry.file) for entry in source.kept()]
    known = [(embedding, str(source.folder / "crops" / str(file))) for embedding, file in kept if embedding is not None]
    check_same_person(centroid(source), np.stack([e for e, _ in known]), [name for _, name in known])


def train_second(model: Path, config: RunConfig, *, progress: Progress = silent) -> None:
    """Trains the colour and resolution network on what the intracoder in ``model`` draws, unless that was done."""
    from intracoder.faceset.likeness_file import load_likenesses
    from intracoder.nets.device import choose_compute
    from intracoder.nets.model_card import model_sha256, read_model
    from intracoder.ops.color import SkinMatcher
    from intracoder.training.enhance import save_enhancer, train_enhancer
    from intracoder.training.enhance_data import build_enhancer_data
    from intracoder.training.schedule import Budget

    options = config.train
    stamp = model / "enhancer.json"
    if options.plain or (options.enhancer_steps is None and options.enhancer_minutes == 0):
        (model / ENHANCER_FILE).unlink(missing_ok=True)
        return
    wanted = {
        "model_sha256": model_sha256(model),
        "steps": options.enhancer_steps,
        "minutes": None if options.enhancer_steps is not None else options.enhancer_minutes,
        "seed": options.seed,
    }
    if (
        stamp.is_file()
        and (model / ENHANCER_FILE).is_file()
        and stamp.read_text(encoding="utf-8") == json.dumps(wanted)
    ):
        return
    compute = choose_compute(options.device, options.precision, options.threads)
    net, card = read_model(model, compute)
    likenesses, _ = load_likenesses(model, [person.name for person in card.people])
    data = build_enhancer_data(net, likenesses, compute, SkinMatcher(), seed=options.seed, progress=progress)
    seconds = None if options.enhancer_steps is not None else options.enhancer_minutes * 60
    budget = Budget(steps=options.enhancer_steps, seconds=seconds)
    enhancer = train_enhancer(data, compute=compute, budget=budget, seed=options.seed, progress=progress)
    save_enhancer(enhancer, model / ENHANCER_FILE)
    with atomic_path(stamp) as beside:
        beside.write_text(json.dumps(wanted), encoding="utf-8")
