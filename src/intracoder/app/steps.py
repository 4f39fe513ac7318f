"""Extract, curate, train and add, each by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from intracoder.app.consents import EARLIER_FOLDER, check_covered, consent_cards, kept_grants
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
    from intracoder.provenance.guard import ContentGuard


def extract(
    sources: Sequence[Path],
    folder: Path,
    *,
    config: RunConfig,
    person: str | None = None,
    choice: Choice = Choice(),
    is_target: bool = False,
    guard: ContentGuard | None = None,
    progress: Progress = silent,
) -> FaceSet:
    """Finds one person and writes the face set; see ``faceset.extract.extract_faces``.

    Args:
        sources: Clips, photos and folders.
        folder: Of the face set.
        config: Its ``detect``, ``extract`` and ``curate`` parts.
        person: Who this is; the folder's name by default.
        choice: Which of several people.
        is_target: Lists every frame's face, as rendering needs.
        guard: One that has checked the footage; without, a new one checks it before any work.
        progress: Told of frames and crops.

    Raises:
        GuardError: The content guard refuses.
        ConfigError, MediaError, NoFaceError: As ``extract_faces``.
    """
    from intracoder.faceset.extract import extract_faces

    if guard is None:
        _guarded(sources, progress)
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
    sources: Sequence[Path],
    grants: Sequence[ConsentGrant],
    guard: ContentGuard | None = None,
    progress: Progress = silent,
) -> None:
    """Trains intracoder and colour and resolution network; goes on where a stopped training ended.

    Takes torchrun: the intracoder is then trained by all processes.

    Args:
        source_set: Face set of the person whose face is to appear.
        target_sets: Face sets of the people whose heads it will be put on.
        model: Folder of the model.
        config: Budgets and sizes.
        sources: The footage that the source's face set was cut from.
        grants: Consent for that footage, from ``provenance.consent.load_consent``; kept in the model's card.
        guard: One that has checked the footage; without, a new one checks it, and the targets' crops, before any work.
        progress: Told of every stage.

    Raises:
        ConsentError: No grant, a face of other footage than it was given for, or another person's face.
        GuardError: The content guard refuses.
        TrainingStoppedError: On Ctrl-C, after everything was saved.
    """
    from intracoder.faceset.store import FaceSet
    from intracoder.provenance.working import WorkingMark
    from intracoder.training.loop import train_intracoder
    from intracoder.training.parallel import World

    if not grants:
        raise ConsentError("training: expected consent for the source, got none")
    if not target_sets:
        raise ConfigError("training: expected at least one target face set beside the source's, got none")
    sets = [FaceSet.open(folder) for folder in (source_set, *target_sets)]
    check_covered(sets[0], grants)
    if guard is None:
        _guarded([*sources, *target_sets], progress)
    _check_one_person(sets[0])
    train_intracoder(
        [found.person_frames() for found in sets],
        model,
        config.train,
        consents=consent_cards(grants, person=sets[0].info.person),
        mark_preview=WorkingMark(f"preview of {model.name}").mark_frame,
        progress=progress,
    )
    if World.from_environment().is_first:  # the second network is small: one process is enough
        train_second(model, config, progress=progress)


def add(
    source_set: Path,
    model: Path,
    grown: Path,
    *,
    config: RunConfig,
    use: str,
    sources: Sequence[Path],
    grants: Sequence[ConsentGrant],
    progress: Progress = silent,
) -> None:
    """Adds a person to a trained model, of whom nothing else changes; see ``training.adding.add_person``.

    The colour and resolution network comes along as it is: it is about colours and size, not about people.

    Args:
        source_set: Face set of the person whose face is to appear.
        model: Folder of the trained model, which is only read.
        grown: Folder of the new model; appears whole or not at all.
        config: Its ``train`` part; a minute is enough.
        use: What the model is for; the records of those who are in it already have to cover that, too.
        sources: The footage that the face set was cut from.
        grants: Consent for that footage, from ``provenance.consent.load_consent``; kept in the card beside the others'.
        progress: Told of every stage.

    Raises:
        ConsentError: No grant, a face of other footage than it was given for, or another person's face; or a record of
            the model does not hold (any more).
        GuardError: The content guard refuses.
        TrainingError: The name or the folder is taken.
        TrainingStoppedError: On Ctrl-C; nothing was written.
        WeightsError: ``model`` is no folder of a trained model.
    """
    from intracoder.faceset.store import FaceSet
    from intracoder.provenance.working import WorkingMark
    from intracoder.training.adding import add_person
    from intracoder.training.parallel import require_alone

    require_alone("add")
    if not grants:
        raise ConsentError("adding: expected consent for the person, got none")
    kept_grants(model, use=use)
    found = FaceSet.open(source_set)
    check_covered(found, grants)
    _guarded(sources, progress)
    _check_one_person(found)
    earlier = sorted((model / EARLIER_FOLDER).glob("*.toml"))
    second = [path for path in (model / ENHANCER_FILE,) if path.is_file()]
    add_person(
        model,
        found.person_frames(),
        grown,
        config.train,
        consents=consent_cards(grants, person=found.info.person),
        kept_files=[str(path.relative_to(model)) for path in (*earlier, *second)],
        mark_preview=WorkingMark(f"preview of {grown.name}").mark_frame,
        progress=progress,
    )


def _check_one_person(source: FaceSet) -> None:
    """ConsentError, naming the crop, where the source's set holds somebody whom its consent does not name."""
    import numpy as np

    from intracoder.faceset.curate import centroid
    from intracoder.provenance.consent import check_same_person

    kept = {str(source.folder / "crops" / str(entry.file)): entry.aligned.face.embedding for entry in source.kept()}
    known = {name: embedding for name, embedding in kept.items() if embedding is not None}
    if len(known) < len(kept):
        unknown = next(name for name in kept if name not in known)
        raise ConsentError(f"{unknown}: whose face it is was never measured; extract the face set anew")
    check_same_person(centroid(source), np.stack(list(known.values())), list(known))


def _guarded(paths: Sequence[Path], progress: Progress) -> None:
    """GuardError where the content guard refuses one of ``paths``, or can't answer."""
    from intracoder.provenance.guard import ContentGuard

    ContentGuard().check_files(paths, progress)


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
