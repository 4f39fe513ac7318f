"""Every swappable part by name. To add one: a class, a line here, its option; the contract tests pick it up.

Factories import lazily, so that asking what exists costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from intracoder.config import DetectConfig, RenderConfig, RunConfig, TrainConfig
from intracoder.errors import ConfigError
from intracoder.protocols import (
    Blender,
    ColorMatcher,
    Detector,
    Embedder,
    Enhancer,
    FaceSegmenter,
    GuardScorer,
    Landmarker,
    Segmenter,
    Signer,
    Swapper,
    Watermarker,
)

if TYPE_CHECKING:
    from intracoder.ops.seating import Seat
    from intracoder.swap.compositor import Compositor
    from intracoder.swap.swapper import IntracoderSwapper

PartT = TypeVar("PartT")
ENHANCER_FILE = "enhancer.safetensors"
"""Name of the second network in a model folder."""


def _mtcnn(config: DetectConfig) -> Detector:
    from intracoder.faces.mtcnn import Mtcnn

    return Mtcnn(config)


def _face_mesh() -> Landmarker:
    from intracoder.faces.landmarks import FaceMesh

    return FaceMesh()


def _mobilefacenet() -> Embedder:
    from intracoder.faces.embedder import MobileFaceNet

    return MobileFaceNet()


def _person() -> Segmenter:
    from intracoder.faces.segment import PersonSegmenter

    return PersonSegmenter()


def _hand() -> Segmenter:
    from intracoder.faces.segment import HandSegmenter

    return HandSegmenter()


def _learned_visibility() -> FaceSegmenter:
    from intracoder.swap.visible import LearnedVisibility

    return LearnedVisibility()


def _no_matcher() -> ColorMatcher:
    from intracoder.ops.color import NoMatcher

    return NoMatcher()


def _reinhard() -> ColorMatcher:
    from intracoder.ops.color import ReinhardMatcher

    return ReinhardMatcher()


def _skin() -> ColorMatcher:
    from intracoder.ops.color import SkinMatcher

    return SkinMatcher()


def _feather() -> Blender:
    from intracoder.ops.blend import FeatherBlender

    return FeatherBlender()


def _poisson() -> Blender:
    from intracoder.ops.blend import PoissonBlender

    return PoissonBlender()


def _multiband() -> Blender:
    from intracoder.ops.blend import MultibandBlender

    return MultibandBlender()


def _open_nsfw() -> GuardScorer:
    from intracoder.provenance.guard import OpenNsfw

    return OpenNsfw()


def _tilemark() -> Watermarker:
    from intracoder.provenance.watermark import TileMark

    return TileMark()


def _c2pa(target: Path) -> Signer:
    from intracoder.provenance.credentials import C2paSigner

    return C2paSigner(target=target)


def intracoder_swapper(model: Path, person: str | None, config: RunConfig) -> IntracoderSwapper:
    """A trained model as the options say; WeightsError where it holds no such person or is damaged.

    Args:
        model: Folder of the model.
        person: Whose face is drawn, by the name in the model's card; None takes the training's source.
        config: The ``render`` part's seat, and where the networks run.
    """
    from intracoder.swap.swapper import IntracoderSwapper

    train = config.train
    return IntracoderSwapper(
        model,
        source=person,
        seat=seat_of(config.render),
        device=train.device,
        precision=train.precision,
        threads=train.threads,
    )


def seat_of(config: RenderConfig) -> Seat:
    """Where the face sits, as the options say."""
    from intracoder.ops.seating import Seat

    return Seat(tilt_deg=config.seat_tilt, size=config.seat_size, height=config.seat_height)


def _bicubic(model: Path, config: TrainConfig, *, recolor: bool) -> Enhancer:
    from intracoder.swap.enhancer import BicubicEnhancer

    del model, config, recolor
    return BicubicEnhancer()


def _learned(model: Path, config: TrainConfig, *, recolor: bool) -> Enhancer:
    from intracoder.swap.enhancer import LearnedEnhancer

    return LearnedEnhancer(
        model / ENHANCER_FILE,
        recolor=recolor,
        device=config.device,
        precision=config.precision,
        threads=config.threads,
    )


DETECTORS: Mapping[str, Callable[[DetectConfig], Detector]] = {"mtcnn": _mtcnn}
LANDMARKERS: Mapping[str, Callable[[], Landmarker]] = {"face_mesh": _face_mesh}
EMBEDDERS: Mapping[str, Callable[[], Embedder]] = {"mobilefacenet": _mobilefacenet}
SEGMENTERS: Mapping[str, Callable[[], Segmenter]] = {"person": _person, "hand": _hand}
FACE_SEGMENTERS: Mapping[str, Callable[[], FaceSegmenter]] = {"learned": _learned_visibility}
COLOR_MATCHERS: Mapping[str, Callable[[], ColorMatcher]] = {
    "none": _no_matcher,
    "reinhard": _reinhard,
    "skin": _skin,
    # the learned correction starts from the closed form
    "learned": _skin,
}
BLENDERS: Mapping[str, Callable[[], Blender]] = {"feather": _feather, "poisson": _poisson, "multiband": _multiband}
SWAPPERS: Mapping[str, Callable[[Path, str | None, RunConfig], Swapper]] = {"intracoder": intracoder_swapper}
ENHANCERS: Mapping[str, Callable[..., Enhancer]] = {"bicubic": _bicubic, "learned": _learned}
GUARD_SCORERS: Mapping[str, Callable[[], GuardScorer]] = {"open_nsfw": _open_nsfw}
WATERMARKERS: Mapping[str, Callable[[], Watermarker]] = {"tilemark": _tilemark}
SIGNERS: Mapping[str, Callable[[Path], Signer]] = {"c2pa": _c2pa}


def pick(table: Mapping[str, PartT], name: str, *, what: str) -> PartT:
    """The factory of that name; ConfigError, which lists what exists, where there is none."""
    if name not in table:
        raise ConfigError(f"{what}: expected one of {', '.join(table)}, got {name!r}")
    return table[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceNetworks:
    """What finding and knowing faces needs."""

    detector: Detector
    landmarker: Landmarker
    embedder: Embedder


def face_networks(config: DetectConfig) -> FaceNetworks:
    """The networks of the first pass."""
    return FaceNetworks(
        detector=DETECTORS["mtcnn"](config),
        landmarker=LANDMARKERS["face_mesh"](),
        embedder=EMBEDDERS["mobilefacenet"](),
    )


def compositor(swapper: Swapper, model: Path, render: RenderConfig, train: TrainConfig) -> Compositor:
    """The second pass over a target, as configured; without a trained second network crops grow bicubically."""
    from intracoder.swap.compositor import Compositor, Parts

    name = "learned" if (model / ENHANCER_FILE).is_file() else "bicubic"
    parts = Parts(
        swapper=swapper,
        matcher=pick(COLOR_MATCHERS, render.color, what="color")(),
        enhancer=ENHANCERS[name](model, train, recolor=render.color == "learned"),
        blender=pick(BLENDERS, render.blend, what="blend")(),
        person=SEGMENTERS["person"](),
        hand=SEGMENTERS["hand"](),
        visible=FACE_SEGMENTERS["learned"](),
    )
    return Compositor(parts, render)
