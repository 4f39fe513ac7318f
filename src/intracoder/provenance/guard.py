"""Content guard: sexual content is refused, before any work on it and before an output is finished.

It fails closed: a scorer that can't be loaded, raises, or answers with anything but a number in 0..1 refuses too,
and so does a file of which no frame could be scored. Its recall is not measured by this project, which looks for
no such pictures; what Open NSFW's makers and others publish about it is in docs/responsible-use.md.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from intracoder.errors import GuardError, IntracoderError
from intracoder.media.reader import probe, read_frames, read_image
from intracoder.media.stills import IMAGE_SUFFIXES
from intracoder.nets.runtime import ORT_ERRORS, onnx_session
from intracoder.protocols import GuardScorer, Progress, silent
from intracoder.provenance.consent import source_files
from intracoder.records import Image

REFUSE_MAX = 0.85
"""Score of a single frame at which a file is refused. Harmless drawings reach 0.49."""
REFUSE_TOP_MEAN = 0.6
"""Mean of the highest tenth of the scores at which it is refused."""
SAMPLES_PER_S = 2
SAMPLES_MIN = 8
PICTURES_MAX = 400

_MEAN_BGR = np.array([104, 117, 123], np.float32)
_NUDENET_REFUSE = 0.5
_NUDENET_HARMLESS = frozenset({"ARMPITS_EXPOSED", "BELLY_EXPOSED"})
_FAILURES: tuple[type[Exception], ...] = (
    IntracoderError,
    ImportError,
    OSError,
    MemoryError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    cv2.error,
    *ORT_ERRORS,
)
"""What loading and asking a scorer can raise; all of it refuses."""


class OpenNsfw:
    """Yahoo's Open NSFW network.

    Source: github.com/yahoo/open_nsfw (BSD-2): squeeze to 256 x 256, keep the central 224 x 224, subtract the mean.
    """

    def __init__(self, *, threads: int = 0) -> None:
        self._net = onnx_session("open_nsfw", threads=threads)

    def score(self, image: Image) -> float:
        """Probability of sexual content, 0..1."""
        area = cv2.INTER_AREA if min(image.shape[:2]) >= 256 else cv2.INTER_LINEAR
        crop = cv2.resize(image, (256, 256), interpolation=area)[16:240, 16:240, ::-1]
        (scores,) = self._net.run((crop.astype(np.float32) - _MEAN_BGR)[None])
        return float(scores[0, 1])


class NudeNet:
    """The optional extra's body-part detector (AGPL-3.0), scaled so that its 0.5 is this guard's REFUSE_MAX.

    It finds bare armpits in clothed portraits at up to 0.35. These, and bellies, refuse at 0.5 like everything
    exposed, but weaker finds of them alone never add up to a refusal.
    """

    def __init__(self) -> None:
        # an optional extra: only installations that accepted its licence have it
        module: Any = importlib.import_module("nudenet")
        self._detector: Any = module.NudeDetector()

    def score(self, image: Image) -> float:
        """0..1, highest over the exposed parts found."""
        found = self._detector.detect(np.ascontiguousarray(image[..., ::-1]))
        exposed = [part for part in found if "EXPOSED" in part["class"] and "FEET" not in part["class"]]
        scores = [_scaled(part["class"], float(part["score"])) for part in exposed]
        return math.nan if any(math.isnan(s) for s in scores) else max(scores, default=0.0)


def _scaled(part: str, score: float) -> float:
    """NudeNet's score of a part on this guard's scale, 0..1; NaN stays NaN."""
    share = score / _NUDENET_REFUSE
    weak_limit = REFUSE_TOP_MEAN if part in _NUDENET_HARMLESS and share < 1 else REFUSE_MAX
    return min(share * weak_limit, 1.0)


class HighestScorer:
    """Several scorers of which any one may refuse."""

    def __init__(self, scorers: Sequence[GuardScorer]) -> None:
        if not scorers:
            raise GuardError("content guard: expected at least one scorer, got none; reinstall the package")
        self._scorers = tuple(scorers)

    def score(self, image: Image) -> float:
        """0..1, the highest of all. NaN, which is refused, where one says NaN."""
        scores = [scorer.score(image) for scorer in self._scorers]
        return math.nan if any(math.isnan(s) for s in scores) else max(scores)


def default_scorer() -> GuardScorer:
    """Open NSFW, and NudeNet beside it where that extra is installed.

    Raises:
        GuardError: a scorer can't be loaded.
    """
    try:
        scorers: list[GuardScorer] = [OpenNsfw()]
        if importlib.util.find_spec("nudenet") is not None:
            scorers.append(NudeNet())
    except _FAILURES as error:
        raise GuardError(f"content guard: can't be loaded, so nothing is processed: {_line(error)}") from error
    return HighestScorer(scorers)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardReport:
    """What the guard measured on something that it let pass."""

    sample_count: int
    highest: float
    top_mean: float
    """Mean of the highest tenth."""


class ContentGuard:
    """Scores samples of files and refuses by the two thresholds above. There is no way to switch it off."""

    def __init__(self, scorer: GuardScorer | None = None) -> None:
        """Loads ``default_scorer`` unless a scorer is given.

        Raises:
            GuardError: it can't be loaded.
        """
        self._scorer = scorer if scorer is not None else default_scorer()

    def check_images(self, images: Iterable[Image], *, what: str) -> GuardReport:
        """Refuses by the scores of ``images``.

        Args:
            images: Samples of one file or set, at least one.
            what: Their name in the message.

        Raises:
            GuardError: the scores are too high, or there is none that could be relied on.
        """
        scores = [self._score(image, what) for image in images]
        if not scores:
            raise GuardError(f"{what}: the content guard found no frame to score, so it is refused")
        top = sorted(scores, reverse=True)[: math.ceil(len(scores) / 10)]
        report = GuardReport(sample_count=len(scores), highest=top[0], top_mean=sum(top) / len(top))
        if report.highest >= REFUSE_MAX or report.top_mean >= REFUSE_TOP_MEAN:
            raise GuardError(
                f"{what}: refused as sexual content: highest score {report.highest:.2f} (limit {REFUSE_MAX}), mean of "
                f"the top tenth {report.top_mean:.2f} (limit {REFUSE_TOP_MEAN}) over {len(scores)} samples"
            )
        return report

    def check_file(self, path: Path) -> GuardReport:
        """Refuses a clip, a picture or a folder of them (with everything below it) by samples of it.

        Raises:
            GuardError: as ``check_images``.
            MediaError: it can't be read.
        """
        return self.check_images(sample_images(path), what=str(path))

    def check_files(self, paths: Sequence[Path], progress: Progress = silent) -> tuple[GuardReport, ...]:
        """``check_file`` for each of ``paths``: the target and everything of the source, before any work."""
        reports = []
        for done, path in enumerate(paths):
            progress("guard", float(done), float(len(paths)), path.name)
            reports.append(self.check_file(path))
        progress("guard", float(len(paths)), float(len(paths)))
        return tuple(reports)

    def _score(self, image: Image, what: str) -> float:
        """A score that is a number in 0..1."""
        try:
            score = float(self._scorer.score(image))
        except _FAILURES as error:
            raise GuardError(f"{what}: the content guard failed, so it is refused: {_line(error)}") from error
        if not 0.0 <= score <= 1.0:  # NaN compares false and is refused here
            raise GuardError(f"{what}: the content guard answered {score}, expected 0..1, so it is refused")
        return score


def _line(error: BaseException) -> str:
    """One line of an error."""
    return " ".join(str(error).split()) or type(error).__name__


def sample_images(path: Path) -> Iterator[Image]:
    """Frames of a clip, two a second and at least 8 where it has them; of a folder its pictures and clips' samples.

    A folder's pictures are all taken up to PICTURES_MAX, and that many evenly spread beyond.

    Raises:
        MediaError: it can't be read.
        ConsentError: a folder is empty, or a link leads out of it.
    """
    if not path.is_dir():
        yield from _clip_samples(path)
        return
    files = source_files(path)
    pictures = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    step = max(1, math.ceil(len(pictures) / PICTURES_MAX))
    for picture in pictures[::step]:
        yield read_image(picture)
    for file in files:
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            yield from _clip_samples(file)


def _clip_samples(path: Path) -> Iterator[Image]:
    """Samples of a clip or a single picture."""
    info = probe(path)
    step = max(1, int(info.frame_rate / SAMPLES_PER_S))
    if info.frame_count is not None:
        step = max(1, min(step, info.frame_count // SAMPLES_MIN))
    sampled = count = 0
    for frame in read_frames(path):
        if frame.index % step == 0:
            sampled += 1
            yield frame.pixels
        count = frame.index + 1
    if sampled < min(SAMPLES_MIN, count):  # the header promised more frames than there are
        yield from (f.pixels for f in read_frames(path) if f.index % max(1, count // SAMPLES_MIN) == 0)
