"""Scores an output against target, source and, where it exists, the truth. Works from files alone."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from intracoder.errors import MediaError, NoFaceError
from intracoder.evaluation import image_metrics as pixels
from intracoder.evaluation import performance
from intracoder.evaluation.identity import identity_scores
from intracoder.evaluation.perceptual import CROP_PX, PerceptualNet, perceptual_distance
from intracoder.evaluation.readings import (
    Clip,
    FaceReaders,
    FaceReadings,
    read_at,
    read_pictures,
    read_target,
    spread_frames,
)
from intracoder.evaluation.scorecard import Measured, Scorecard, measured
from intracoder.evaluation.temporal import acceleration, backward_flow, warp_error
from intracoder.faces.landmarks import BLENDSHAPE_NAMES
from intracoder.ops.mask import hull_mask
from intracoder.protocols import Progress, silent
from intracoder.records import FaceTrack, Image, Mask, Points

SOURCE_FRAMES = 64
"""Evenly spread frames of a source clip that its identity is read from."""
JAW_DEG = 20.0
"""A mouth that is wide open is as far from a closed one as so many degrees of head turn."""
_JAW = BLENDSHAPE_NAMES.index("jawOpen")
_FLICKER_FLOOR = 0.25
"""Squared levels added to both warp errors: below half a level, flicker can't be seen and its ratio says nothing."""
_Row: TypeAlias = dict[str, float | None]
"""One frame's metrics by key, None where not measured."""
_JITTER_FLOOR = 1e-7
"""Squared eye distances added to both accelerations (0.03 % of it): a still reference has none to divide by."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """Everything one evaluation looks at; the clips run in step, frame by frame."""

    output: Clip
    target: Clip
    source: tuple[Clip, ...]
    """Clips, pictures or folders of the source person, of any length."""
    truth: Clip | None = None
    """A perfect swap of the same frames."""
    truth_mask: Clip | None = None
    """Grey: which part of the target the truth replaces."""
    alpha: Clip | None = None
    """Grey: the mask that the output was blended with; else the changed region is taken."""
    track: FaceTrack | None = None
    """The target's face that was swapped; else the widest one."""
    frames: frozenset[int] | None = None
    """Frames of the target that a run reports as swapped; only they are judged. None judges all."""
    source_name: str = ""


class Evaluator:
    """Holds the networks, and remembers the readings of clips that many outputs share."""

    def __init__(self, readers: FaceReaders, perceptual: PerceptualNet, *, embedder_name: str = "dlib_resnet") -> None:
        self._readers = readers
        self._perceptual = perceptual
        self._embedder_name = embedder_name
        self._known: dict[object, FaceReadings] = {}

    def evaluate(self, trial: Trial, progress: Progress = silent) -> Scorecard:
        """Scores ``trial.output``.

        Raises:
            MediaError: a clip can't be read, or the clips differ in length or size.
            NoFaceError: target, source, truth or output shows no face at all.
        """
        target = self._read_target(trial)
        truth = None if trial.truth is None else self._read_truth(trial.truth, trial.target, target)
        source = np.concatenate([self._read_source(clip).embeddings for clip in trial.source])
        output = read_at(trial.output, self._readers, target)
        series = self._from_readings(output, target, truth, source)
        series.update(self._from_pixels(trial, target, truth, progress))
        card = {key: one for key, one in series.items() if one is not None}
        return Scorecard(
            output=trial.output.name,
            target=trial.target.name,
            source=trial.source_name or trial.source[0].name,
            truth=None if trial.truth is None else trial.truth.name,
            embedder=self._embedder_name,
            start=trial.target.start,
            frame_count=len(target),
            target_faces=int(target.found.sum()),
            metrics=card,
        )

    def readings_of(self, trial: Trial) -> FaceReadings:
        """The target's readings, for methods and figures that need to know where the face is."""
        return self._read_target(trial)

    def source_faces(
        self, clip: Clip, target: FaceReadings, moments: Sequence[int], cut: Callable[[Image, Points], Image]
    ) -> list[Image]:
        """For each moment of the target the source's frame nearest in pose and mouth, cut out by ``cut``."""
        source = self._read_source(clip)
        wanted = [_nearest(source, target, moment) for moment in moments]
        frames = {k: frame.pixels for k, frame in enumerate(spread_frames(clip, SOURCE_FRAMES)) if k in wanted}
        return [cut(frames[k], source.points[k]) for k in wanted]

    def _read_target(self, trial: Trial) -> FaceReadings:
        key = ("target", trial.target, trial.frames, id(trial.track) if trial.track else None)
        if key not in self._known:
            readings = read_target(trial.target, self._readers, trial.track)
            self._known[key] = readings if trial.frames is None else _only(readings, trial)
        return self._known[key]

    def _read_truth(self, truth: Clip, target_clip: Clip, target: FaceReadings) -> FaceReadings:
        key = ("truth", truth, target_clip)
        if key not in self._known:
            self._known[key] = read_at(truth, self._readers, target)
        return self._known[key]

    def _read_source(self, clip: Clip) -> FaceReadings:
        if ("source", clip) not in self._known:
            self._known["source", clip] = read_pictures(clip, self._readers, limit=SOURCE_FRAMES)
        return self._known["source", clip]

    def _from_readings(
        self,
        output: FaceReadings,
        target: FaceReadings,
        truth: FaceReadings | None,
        source: Float32[np.ndarray, "n d"],
    ) -> dict[str, Measured | None]:
        """Metrics of landmarks and embeddings."""
        reference = target if truth is None else truth
        identity = identity_scores(
            output.embeddings, target.embeddings, source, None if truth is None else truth.embeddings
        )
        expression = performance.expression_error(output, reference)
        still = output.found[target.found].astype(np.float64)
        scores: dict[str, Measured | None] = {
            "similarity": measured(identity.similarity),
            "nid": None if identity.nid is None else measured(identity.nid),
            "leak": None if identity.leak is None else measured(identity.leak),
            "pose_deg": measured(performance.pose_error(output, reference)),
            "expression": None if expression is None else measured(expression),
            "gaze_deg": measured(performance.gaze_error(output, reference, same_person=truth is not None)),
            "jitter_ratio": _jitter(output, reference),
            "found": measured(still),
        }
        if truth is not None:
            kept = performance.expression_error(output, truth, keep_neutral=True)
            scores["expression_kept"] = None if kept is None else measured(kept)
            scores["nme_percent"] = measured(performance.landmark_error_percent(output, truth))
        return scores

    def _from_pixels(
        self, trial: Trial, target: FaceReadings, truth: FaceReadings | None, progress: Progress
    ) -> dict[str, Measured | None]:
        """Metrics of pictures, in one pass over all clips together."""
        rows: list[_Row] = []
        previous: _Moment | None = None
        for index, moment in enumerate(_moments(trial)):
            progress("evaluate", float(index), float(len(target)), "")
            if not target.found[index]:
                rows.append({})
                previous = None
                continue
            points = [target.points[index]]
            if truth is not None and truth.found[index]:
                points.append(truth.points[index])
            rows.append(self._one_frame(moment, points, previous))
            previous = moment
        progress("evaluate", float(len(rows)), float(len(target)), "")
        columns = {key: _column(rows, key) for key in dict.fromkeys(key for row in rows for key in row)}
        flicker = _ratio_of_sums(columns.pop("warp_output", None), columns.pop("warp_reference", None), _FLICKER_FLOOR)
        scores: dict[str, Measured | None] = {key: measured(column) for key, column in columns.items()}
        scores["flicker_ratio"] = flicker
        return scores

    def _one_frame(self, moment: _Moment, points: Sequence[Points], previous: _Moment | None) -> _Row:
        """All picture metrics of one frame; the face lies at ``points`` (target's, and truth's where there is one)."""
        window = _window(points, moment.target.shape[0], moment.target.shape[1])
        near = moment.cut(window)
        corner = np.array([window.x.start, window.y.start])
        hulls = [hull_mask(p[:, :2] - corner, *near.target.shape[:2]) for p in points]
        face = hulls[-1] if near.truth_mask is None else np.maximum(hulls[-1], near.truth_mask)
        reference = near.target if near.truth is None else near.truth
        changed = pixels.changed_region(near.output, near.target, np.maximum(hulls[0], face))
        region = changed if near.alpha is None else near.alpha
        sharp, expected = pixels.detail_level(near.output, face), pixels.detail_level(reference, face)
        row: _Row = {
            # a copy has no edge, and so no seam
            "seam_de": pixels.seam_excess(near.output, reference, region) if region.any() else 0.0,
            "detail_ratio": sharp / max(expected, 0.1) if sharp is not None and expected is not None else None,
            "light_de": pixels.light_error(near.output, reference, pixels.eroded(face, 0.05)),
            "background_psnr_db": _background(moment, window, np.maximum.reduce([*hulls, face])),
        }
        if near.truth is not None:
            row.update(self._against_truth(near, face, region))
        if previous is not None:
            before = previous.cut(window)
            flow = backward_flow(near.target, before.target)
            row["warp_output"] = warp_error(near.output, before.output, flow, face)
            expected_before = before.target if before.truth is None else before.truth
            row["warp_reference"] = warp_error(reference, expected_before, flow, face)
        return row

    def _against_truth(self, near: _Moment, face: Mask, region: Mask) -> _Row:
        """What only the truth can tell, on the face's window."""
        assert near.truth is not None
        square = _square(face)
        crops = [_to_square(image, square) for image in (near.output, near.target, near.truth)]
        mask = cv2.resize(_to_square(face, square), (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA)
        output, target, truth = self._perceptual.features(crops)
        to_truth = perceptual_distance(output, truth, mask)
        apart = perceptual_distance(target, truth, mask)
        row: _Row = {
            "psnr_db": pixels.psnr_db(near.output, near.truth, face),
            "ssim": pixels.ssim(near.output, near.truth, face),
            "perceptual": to_truth,
            "gt_margin": (perceptual_distance(output, target, mask) - to_truth) / apart if apart > 0 else None,
        }
        if near.truth_mask is not None:
            row["mask_iou"] = pixels.mask_iou(region, near.truth_mask)
        return row


def _nearest(source: FaceReadings, target: FaceReadings, moment: int) -> int:
    """Row of the source whose head and jaw are most like the target's at ``moment``."""
    turned = np.linalg.norm(source.pose_deg - target.pose_deg[moment], axis=1)
    opened = np.abs(source.blendshapes[:, _JAW] - target.blendshapes[moment, _JAW])
    return int(np.nanargmin(turned + JAW_DEG * opened))


def _only(readings: FaceReadings, trial: Trial) -> FaceReadings:
    """The target's readings with all but the swapped frames marked as not found."""
    swapped = trial.frames or frozenset()
    kept = np.array([k + trial.target.start in swapped for k in range(len(readings))])
    if not (kept & readings.found).any():
        raise NoFaceError(f"{trial.target.path}: expected at least one swapped frame with a face, got none")
    return dataclasses.replace(readings, found=readings.found & kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """A part of the picture."""

    y: slice
    x: slice


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Moment:
    """One frame of every clip."""

    output: Image
    target: Image
    truth: Image | None
    truth_mask: Mask | None
    alpha: Mask | None

    def cut(self, window: _Window) -> _Moment:
        """The part of each picture inside ``window``."""

        def part(picture: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(picture[window.y, window.x])

        return _Moment(
            output=part(self.output),
            target=part(self.target),
            truth=None if self.truth is None else part(self.truth),
            truth_mask=None if self.truth_mask is None else part(self.truth_mask),
            alpha=None if self.alpha is None else part(self.alpha),
        )


def _moments(trial: Trial) -> Iterator[_Moment]:
    """Decodes the clips in step. Their lengths were compared when the faces were read."""
    clips = (trial.output, trial.target, trial.truth, trial.truth_mask, trial.alpha)
    streams = [None if clip is None else clip.frames() for clip in clips]
    for index in itertools.count():
        frames = [None if stream is None else next(stream, None) for stream in streams]
        output, target, truth, truth_mask, alpha = (None if frame is None else frame.pixels for frame in frames)
        if output is None or target is None:
            return
        for clip, frame in zip(clips, frames, strict=True):
            if clip is not None and (frame is None or frame.pixels.shape != target.shape):
                got = "nothing" if frame is None else f"{frame.pixels.shape[1]}x{frame.pixels.shape[0]}"
                wanted = f"{target.shape[1]}x{target.shape[0]}"
                raise MediaError(
                    f"{clip.path}, frame {index}: expected a {wanted} picture like the target's, got {got}"
                )
        yield _Moment(
            output=output,
            target=target,
            truth=truth,
            truth_mask=None if truth_mask is None else _grey(truth_mask),
            alpha=None if alpha is None else _grey(alpha),
        )


def _grey(image: Image) -> Mask:
    """A grey picture as mask."""
    return image[..., 1].astype(np.float32) / np.float32(255)


def _window(points: Sequence[Points], height: int, width: int) -> _Window:
    """The faces' common box with 60 % of its longer side around it, cut to the picture."""
    xy = np.concatenate([p[:468, :2] for p in points])
    low, high = xy.min(axis=0), xy.max(axis=0)
    edge = 0.6 * float((high - low).max())
    x0, y0 = np.maximum(0, np.floor(low - edge)).astype(int)
    x1, y1 = np.ceil(high + edge).astype(int) + 1
    return _Window(y=slice(y0, min(int(y1), height)), x=slice(x0, min(int(x1), width)))


def _square(mask: Mask) -> tuple[int, int, int]:
    """Left, top and side of the square around ``mask`` with a margin of 10 %."""
    x, y, width, height = cv2.boundingRect((mask > 0.5).astype(np.uint8))
    side = max(8, round(1.2 * max(width, height)))
    return round(x + width / 2 - side / 2), round(y + height / 2 - side / 2), side


def _to_square(picture: np.ndarray, square: tuple[int, int, int]) -> np.ndarray:
    """Cuts a square out; outside of the picture its edge is repeated."""
    left, top, side = square
    rows = np.clip(np.arange(top, top + side), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, picture.shape[1] - 1)
    return np.ascontiguousarray(picture[rows[:, None], columns[None]])


def _background(moment: _Moment, window: _Window, faces: Mask) -> float | None:
    """PSNR of the output to the target away from the face, decibel; None where the face fills the picture."""
    outside = np.ones(moment.target.shape[:2], np.float32)
    outside[window.y, window.x] = 1 - pixels.dilated(faces, 0.25)
    return pixels.psnr_db(moment.output, moment.target, outside)


def _column(rows: Sequence[_Row], key: str) -> Float64[np.ndarray, "n"]:
    """One metric over the frames, NaN where it is missing."""
    return np.array([np.nan if (value := row.get(key)) is None else value for row in rows], dtype=np.float64)


def _ratio_of_sums(
    output: Float64[np.ndarray, "n"] | None, reference: Float64[np.ndarray, "n"] | None, floor: float
) -> Measured | None:
    """Sum of ``output`` over sum of ``reference``, each with ``floor`` added: quiet frames can't decide it."""
    if output is None or reference is None or not (both := np.isfinite(output) & np.isfinite(reference)).any():
        return None
    mean = float(reference[both].mean()) + floor
    return measured((np.where(both, output, np.nan) + floor) / mean)


def _jitter(output: FaceReadings, reference: FaceReadings) -> Measured | None:
    """Root mean square acceleration of the landmarks over that of the reference."""
    squared = _ratio_of_sums(acceleration(output.points), acceleration(reference.points), _JITTER_FLOOR)
    if squared is None:
        return None
    roots = np.sqrt(np.array([np.nan if v is None else v for v in squared.frames]))
    return measured(roots, value=float(np.sqrt(squared.value)))
