"""Making synthetic people's clips with their truth, and what the package ships from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from intracoder.build import face_networks
from intracoder.config import RunConfig
from intracoder.protocols import Progress, silent

if TYPE_CHECKING:
    from intracoder.synthetic.generate import Generated
    from intracoder.training.seating import FittedSeating
    from intracoder.training.visible import FittedVisible

VISIBLE_STEPS: Final = 1500
"""Of training the network of visible faces, where no number is asked for."""


def synth(
    suite: str,
    assets: Path,
    out: Path,
    *,
    clips: int | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Generated:
    """Renders a suite of synthetic clips into ``out``; what is there already is kept.

    Args:
        suite: Name of a packaged suite, or a TOML file.
        assets: Folder of the avatars' GLB files (docs/synthetic.md).
        out: Folder for clips, truths, masks and metadata.
        clips: Render only so many of the suite's clips, the first ones.
        threads: CPU threads, where not those of the suite.
        progress: Told of every frame.

    Raises:
        ConfigError: A bad suite, missing avatars, Blender not installed, or clips of other settings in ``out``.
        MediaError: An avatar can't be read, or a file can't be written.
    """
    from intracoder.synthetic.generate import generate
    from intracoder.synthetic.suite import find_suite

    return generate(find_suite(suite), assets, out, clips=clips, threads=threads, progress=progress)


def pretrain(
    performances: Path,
    out: Path,
    *,
    portraits: Sequence[Path] = (),
    config: RunConfig,
    progress: Progress = silent,
) -> Path:
    """Trains base weights, going on from what ``out`` holds; see docs/base-model.md.

    Args:
        performances: Folder that ``synth`` has filled with its suite ``pretrain``.
        out: Folder of the training.
        portraits: Folders with at least two pictures a person, NAME_*.jpg.
        config: Budget and rates; ``train.size`` is not looked at, base weights are of size S.
        progress: Told of every stage.

    Returns:
        The file of weights, for the folder of packaged weights and its manifest.

    Raises:
        ConfigError: The folder holds no performances.
        TrainingError: Too few people, or the loss was lost twice.
    """
    from intracoder.provenance.working import WorkingMark
    from intracoder.training.performances import Ensemble, FaceReader, gather_performances, gather_portraits
    from intracoder.training.pretrain import pretrain as train_base

    networks = face_networks(config.detect)
    reader, cast = FaceReader(networks.detector, networks.landmarker), Ensemble()
    gather_performances(performances, reader, cast, progress)
    for folder in portraits:
        gather_portraits(folder, reader, cast, progress)
    options = dataclasses.replace(config.train, warm_start=False)
    mark = WorkingMark(f"preview of {out.name}").mark_frame
    return train_base(cast, out, options, mark_preview=mark, progress=progress)


def fit_seating(truths: Path, out: Path, *, config: RunConfig, progress: Progress = silent) -> FittedSeating:
    """Fits how faces sit in other heads, and writes the file that ships; see docs/decisions/017-seating.md.

    Args:
        truths: Folder that ``synth`` has filled with its suite ``seating``.
        out: The file, for the folder of packaged weights and its manifest.
        config: How faces are found.
        progress: Told of every clip.

    Raises:
        ConfigError: The folder holds no truths, or a clip without faces.
        TrainingError: Too few people.
        MediaError: A clip can't be read, or the file can't be written.
    """
    from intracoder.media.atomic import atomic_path
    from intracoder.training.performances import FaceReader
    from intracoder.training.seating import fit_seating as fit
    from intracoder.training.seating import gather_truths, pack_seating

    networks = face_networks(config.detect)
    gathered = gather_truths(truths, FaceReader(networks.detector, networks.landmarker), progress)
    fitted = fit(gathered.faces, gathered.person_of)
    with atomic_path(out) as path:
        path.write_bytes(pack_seating(fitted.seating))
    return fitted


def fit_visible(faces: Path, out: Path, *, config: RunConfig, progress: Progress = silent) -> FittedVisible:
    """Trains where a face is hidden, and writes the file that ships; see docs/decisions/020-visible-face.md.

    Args:
        faces: Folder that ``synth`` has filled with its suite ``visible``.
        out: The file, for the folder of packaged weights and its manifest.
        config: How faces are found; steps, seed and threads of the training, which is always on the CPU.
        progress: Told of every clip and of the training.

    Raises:
        ConfigError: The folder holds no clips, or none with faces.
        TrainingError: Too few people, or the loss was lost.
        MediaError: A clip can't be read, or the file can't be written.
    """
    from intracoder.media.atomic import atomic_path
    from intracoder.nets.device import choose_compute
    from intracoder.nets.visible import pack_visible
    from intracoder.training.performances import FaceReader
    from intracoder.training.visible import fit_visible as fit
    from intracoder.training.visible_data import gather_faces

    networks = face_networks(config.detect)
    choose_compute("cpu", "32-true", config.train.threads)
    gathered = gather_faces(faces, FaceReader(networks.detector, networks.landmarker), progress)
    fitted = fit(gathered, steps=config.train.steps or VISIBLE_STEPS, seed=config.train.seed, progress=progress)
    with atomic_path(out) as path:
        path.write_bytes(pack_visible(fitted.net))
    return fitted
