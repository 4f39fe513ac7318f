"""Swaps without learning: what a method has to beat before it may call itself one.

All of them take, for each target frame, the source's real frame nearest in pose, mouth, lids and gaze. They are kept
simple on purpose, and see nothing that a learning method doesn't.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from intracoder.evaluation.footage import (
    SMOOTH_FRAMES,
    Footage,
    cut_crops,
    features,
    fit_neutrals,
    from_readings,
    gather,
    resized,
)
from intracoder.evaluation.methods import SwapJob
from intracoder.evaluation.readings import Clip, FaceReaders, read_target
from intracoder.evaluation.suites import Pair
from intracoder.media.reader import probe
from intracoder.media.writer import ClipWriter
from intracoder.ops.blend import FeatherBlender, MultibandBlender, PoissonBlender
from intracoder.ops.color import NoMatcher, ReinhardMatcher, SkinMatcher
from intracoder.ops.expression import nearest
from intracoder.ops.geometry import fit_similarity, posed, transform_points, warp_from_crop, warp_to_crop
from intracoder.ops.mask import hull_mask, skin_mask, soften
from intracoder.ops.mesh import mesh_warp
from intracoder.ops.topology import STABLE
from intracoder.protocols import Blender, ColorMatcher, Progress
from intracoder.provenance.consent import load_consent
from intracoder.provenance.guard import ContentGuard
from intracoder.provenance.working import WorkingMark
from intracoder.records import Affine, Crops, Image, Mask, Points

CRF = 16
"""All methods' clips are encoded alike; RenderConfig's default."""
_PEOPLE_KEPT = 4
REVISION = "2"
"""Raised when what a baseline draws changes: outputs of benchmarks are then made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """How the nearest source frame gets into the target."""

    bends: bool
    """Bend its mesh to the source's neutral shape with the target's pose and expression; else only move it."""
    color: ColorMatcher
    measures_skin: bool
    """Colours are measured on bare skin; else on the whole face."""
    blender: Blender
    mask_scale: float
    """Of the landmark hull."""
    feather: float
    """Fraction of the crop's side."""


_RECIPES = {
    "nearest-paste": _Recipe(
        bends=False,
        color=NoMatcher(),
        measures_skin=False,
        blender=FeatherBlender(),
        mask_scale=0.95,
        feather=0.03,
    ),
    # Reinhard 2001 and Perez 2003 as they are usually put together
    "mesh-warp classical": _Recipe(
        bends=True,
        color=ReinhardMatcher(),
        measures_skin=False,
        blender=PoissonBlender(reach=float("inf")),
        mask_scale=0.95,
        feather=0.01,
    ),
    # the strong one: skin zones are compared with skin zones, and hairline and rim light are left alone
    "mesh-warp strong": _Recipe(
        bends=True,
        color=SkinMatcher(),
        measures_skin=True,
        blender=MultibandBlender(levels=3),
        mask_scale=0.84,
        feather=0.05,
    ),
}
BaselineName = Literal["nearest-paste", "mesh-warp classical", "mesh-warp strong"]
BASELINES: tuple[BaselineName, ...] = ("nearest-paste", "mesh-warp classical", "mesh-warp strong")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Person:
    """The source's frames, ready to be taken."""

    footage: Footage
    crops: Crops
    points: Float32[np.ndarray, "n 478 3"]


class Baseline:
    """One of BASELINES; the three of a benchmark share what they read (``shared``)."""

    learns = False

    def __init__(self, name: BaselineName, shared: BaselineReader) -> None:
        self.name: str = name
        self._recipe = _RECIPES[name]
        self._shared = shared

    def state_for(self, pair: Pair) -> str:
        """The same for every pair."""
        del pair
        return REVISION

    def run(self, job: SwapJob, progress: Progress) -> Clip:
        """Swaps the judged frames and writes them to the job's folder.

        Raises:
            ConsentError, GuardError: refused, before any work.
            NoFaceError: source or target shows no face.
            MediaError: a clip can't be read or written.
        """
        check_allowed(job)
        clip = Clip(path=job.target, start=job.start, stop=job.stop)
        target = self._shared.target(clip)
        crop_px = target.native_crop_px()
        source = [self._shared.person(path, crop_px) for path in job.source]
        neutrals = fit_neutrals([one.footage for one in source], target)
        known = np.concatenate([features(one.footage, neutrals.source) for one in source])
        crops = [crop for one in source for crop in one.crops]
        points = [p for one in source for p in one.points]
        wanted = features(target, neutrals.target)
        shapes = target.shapes - neutrals.target + neutrals.source
        places = {one.face.frame_index: k for k, one in enumerate(target.aligned)}
        path, mark = job.folder / "output.mp4", WorkingMark(f"{self.name} of {job.pair}")
        tags = mark.container_tags()
        comment = tags.pop("comment")
        with ClipWriter(path, probe(job.target), crf=CRF, comment=comment, metadata=tags) as writer:
            for index, frame in enumerate(clip.frames()):
                k = places.get(index)
                if k is None:
                    writer.write(dataclasses.replace(frame, pixels=mark.mark_frame(frame.pixels)))
                    continue
                j = int(nearest(known, wanted[k], 1)[0])
                face = target.aligned[k]
                matrix = resized(face, crop_px)
                assert face.face.points is not None
                swapped = transform_points(posed(shapes[k], face.head), matrix)
                there = transform_points(face.face.points, matrix)
                image = self._composite(frame.pixels, matrix, crops[j], points[j], swapped, there)
                writer.write(dataclasses.replace(frame, pixels=mark.mark_frame(image)))
                progress(self.name, float(index + 1), float(len(target.aligned)), "")
        return Clip(path=path)

    def _composite(
        self,
        frame: Image,
        matrix: Affine,
        crop: UInt8[np.ndarray, "s s 3"],
        points: Points,
        swapped_points: Points,
        target_points: Points,
    ) -> Image:
        """``frame`` with the source's ``crop`` laid over the target's face; all points in crop pixels."""
        recipe, size = self._recipe, len(crop)
        if recipe.bends:
            face, outline = mesh_warp(crop, points, swapped_points, size), swapped_points
        else:
            stable = list(STABLE)
            move = fit_similarity(points[stable, :2], target_points[stable, :2])
            face, outline = warp_to_crop(crop, move, size), transform_points(points, move)
        below = warp_to_crop(frame, matrix, size)
        hull = hull_mask(outline, size, size, scale=recipe.mask_scale)
        if recipe.bends:
            hull = np.minimum(hull, hull_mask(target_points, size, size, scale=min(1.0, recipe.mask_scale * 1.02)))
        masks = [skin_mask(p, size) if recipe.measures_skin else hull for p in (outline, target_points)]
        face = recipe.color.match(face, below, masks[0], masks[1])
        alpha = _feathered(hull, recipe.feather * size)
        height, width = frame.shape[:2]
        over = warp_from_crop(face, matrix, height, width)
        return recipe.blender.blend(frame, over, warp_from_crop(alpha, matrix, height, width, border="zero"))


def _feathered(hull: Mask, width_px: float) -> Mask:
    """``hull`` with a soft edge that lies inside it."""
    side = 2 * max(1, round(width_px / 2)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    core = np.asarray(cv2.erode(hull, kernel, borderValue=0.0), dtype=np.float32)
    return np.asarray(soften(core, width_px) * (hull > 0), dtype=np.float32)


def check_allowed(job: SwapJob) -> None:
    """Consent and content guard for a swap that a benchmark makes by itself.

    A suite of people who don't exist, or of a data set whose licence allows it, says so itself; footage of anybody
    else needs the record that every swap needs.

    Raises:
        ConsentError: there is no record, or it does not hold.
        GuardError: the content guard refuses, or can't answer.
    """
    if job.consent_basis not in ("synthetic", "dataset-licence"):
        load_consent(job.source, use="research")
    ContentGuard().check_files([job.target, *job.source])


class BaselineReader:
    """Reads each clip once for all baselines."""

    def __init__(self, readers: FaceReaders) -> None:
        self._readers = readers
        self._gathered: dict[Path, Footage] = {}
        self._targets: dict[Clip, Footage] = {}
        self._people: dict[tuple[Path, int], _Person] = {}

    def target(self, clip: Clip) -> Footage:
        """The judged frames of the target."""
        if clip not in self._targets:
            readings = read_target(clip, self._readers)
            self._targets[clip] = from_readings(readings, crop_px=256, smooth_frames=SMOOTH_FRAMES)
        return self._targets[clip]

    def person(self, path: Path, crop_px: int) -> _Person:
        """A source clip or folder, cut at ``crop_px``; only the last few cuts are kept in memory."""
        key = (path, crop_px)
        if key not in self._people:
            if path not in self._gathered:
                self._gathered[path] = gather(path, self._readers)
            crops, points = cut_crops(path, self._gathered[path], crop_px)
            while len(self._people) >= _PEOPLE_KEPT:
                self._people.pop(next(iter(self._people)))
            self._people[key] = _Person(footage=self._gathered[path], crops=crops, points=points)
        return self._people[key]


def baselines(readers: FaceReaders) -> tuple[Baseline, ...]:
    """All of them."""
    shared = BaselineReader(readers)
    return tuple(Baseline(name, shared) for name in BASELINES)
