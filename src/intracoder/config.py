"""Every option once: frozen dataclasses, ranges, strict TOML in and out.

Precedence: these defaults < ``--config FILE`` < flags. The resolved config is saved as ``run.toml``.
No framework is imported here.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomli_w

from intracoder.errors import ConfigError


def require(condition: bool, name: str, expected: str, got: object) -> None:  # noqa: FBT001 - reads as a statement
    """Raises ConfigError in one line unless ``condition``."""
    if not condition:
        raise ConfigError(f"{name}: expected {expected}, got {got!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectConfig:
    """Finding faces (MTCNN cascade)."""

    min_face_px: int = 40
    """Smallest face side looked for, pixels."""
    score_min: float = 0.8
    """Lowest score of the last stage kept, 0..1."""
    presence_min: float = 0.5
    """Landmark presence under which a tracked face is detected anew, 0..1."""
    redetect_every: int = 25
    """Frames between looks for faces that came in, at most."""

    def __post_init__(self) -> None:
        """Checks ranges."""
        require(self.min_face_px >= 12, "detect.min_face_px", "at least 12", self.min_face_px)
        require(0 < self.score_min <= 1, "detect.score_min", "in (0, 1]", self.score_min)
        require(0 < self.presence_min < 1, "detect.presence_min", "in (0, 1)", self.presence_min)
        require(self.redetect_every >= 1, "detect.redetect_every", "at least 1", self.redetect_every)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractConfig:
    """Cutting crops out of clips and photos."""

    crop_px: int = 256
    """Side of the stored crops, pixels."""
    smooth_frames: int = 9
    """Window of the offline trajectory smoothing, odd; 1 turns it off."""
    max_faces: int = 1500
    """Most crops stored for one person; longer clips are sampled evenly."""

    def __post_init__(self) -> None:
        """Checks ranges."""
        require(64 <= self.crop_px <= 1024, "extract.crop_px", "64..1024", self.crop_px)
        odd = self.smooth_frames >= 1 and self.smooth_frames % 2 == 1
        require(odd, "extract.smooth_frames", "an odd number, at least 1", self.smooth_frames)
        require(self.max_faces >= 10, "extract.max_faces", "at least 10", self.max_faces)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurateConfig:
    """Which crops are kept."""

    similarity_min: float = 0.35
    """Cosine to the person's centroid under which a crop is somebody else."""
    sharpness_min: float = 0.25
    """Sharpness relative to the set's median under which a crop is dropped."""
    duplicate_max: float = 0.015
    """Mean landmark and picture difference under which a crop repeats another, 0..1."""
    min_face_px: int = 48
    """Smallest face that can be trained on, pixels."""

    def __post_init__(self) -> None:
        """Checks ranges."""
        require(-1 <= self.similarity_min <= 1, "curate.similarity_min", "in -1..1", self.similarity_min)
        require(0 <= self.sharpness_min <= 1, "curate.sharpness_min", "in 0..1", self.sharpness_min)
        require(0 <= self.duplicate_max <= 1, "curate.duplicate_max", "in 0..1", self.duplicate_max)
        require(self.min_face_px >= 16, "curate.min_face_px", "at least 16", self.min_face_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Training the intracoder and the colour and resolution network."""

    minutes: float | None = 3.0
    """Wall-clock budget of the intracoder; ignored where ``steps`` is given."""
    steps: int | None = None
    """Step budget, which is exactly repeatable."""
    patience_minutes: float = 4.0
    """A training in minutes ends early when its held-out loss has not improved for so long; 0 uses up every budget."""
    enhancer_minutes: float = 0.75
    """Wall-clock budget of the colour and resolution network; 0 leaves it out."""
    enhancer_steps: int | None = None
    """Step budget of the same."""
    size: Literal["auto", "S", "M", "L"] = "auto"
    """Net size (presets fast, quality, studio); auto takes S on a CPU, M on a GPU, and L on a GPU of 20 GiB or more
    that is given 45 minutes or more."""
    plain: bool = False
    """The seed's plain autoencoder, without geometry and reference planes."""
    warm_start: bool = True
    """Start from the packaged base weights where they fit the network, which then only has to learn two faces."""
    batch: int = 8
    """Faces of each person in a step; under torchrun of all processes, in equal slices."""
    lr: float = 1e-3
    """Peak learning rate."""
    seed: int = 0
    """Seed of initial weights and augmentation."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """Number format; auto takes bf16 where it is faster."""
    threads: int = 0
    """CPU threads; 0 uses all cores."""
    preview_s: float = 30.0
    """Seconds between preview pictures."""

    def __post_init__(self) -> None:
        """Checks ranges."""
        require(self.minutes is not None or self.steps is not None, "train.minutes", "minutes or steps", None)
        require(self.minutes is None or self.minutes > 0, "train.minutes", "more than 0", self.minutes)
        require(self.steps is None or self.steps >= 1, "train.steps", "at least 1", self.steps)
        require(self.patience_minutes >= 0, "train.patience_minutes", "at least 0", self.patience_minutes)
        require(self.enhancer_minutes >= 0, "train.enhancer_minutes", "at least 0", self.enhancer_minutes)
        require(self.batch >= 2, "train.batch", "at least 2", self.batch)
        require(0 < self.lr <= 0.1, "train.lr", "in (0, 0.1]", self.lr)
        require(self.threads >= 0, "train.threads", "at least 0", self.threads)
        require(self.preview_s > 0, "train.preview_s", "more than 0", self.preview_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderConfig:
    """Putting the swapped face into the frames."""

    color: Literal["none", "reinhard", "skin", "learned"] = "skin"
    """How the face takes the target's colours."""
    relight: float = 0.8
    """How much of the target's light is put on the face by its shape, 0 (none) .. 1."""
    complexion: float = 1.0
    """How far the target's beard, lips and cheeks are kept from being taken for light, 0 (not) .. 1."""
    eye_light: float = 1.0
    """How far eyes are kept from being lit as a darker or lighter skin would be, 0 (not) .. 1."""
    detail: float = 1.0
    """How much of the copied real pixels' finest detail is laid over the enlarged face, 0..1.5."""
    mouth: Literal["target", "source"] = "target"
    """Whose teeth and tongue show in an open mouth; the source's are guessed."""
    cover: Literal["target", "none"] = "target"
    """Whose hair, and what else there is before the face, stays before it; none lays the face over all but hands."""
    blend: Literal["feather", "poisson", "multiband"] = "multiband"
    """How the face is laid over the frame."""
    mask_scale: float = 1.0
    """Size of the landmark hull that may be replaced; 1 reaches the whole outline, less keeps the target's jaw."""
    hairline: float = 0.86
    """Further size of the hull's upper part; less keeps more of the target's hair and temples."""
    feather: float = 0.1
    """Width of the alpha edge, fraction of the crop side."""
    seat_tilt: float = 0.0
    """Degrees by which the face is tipped back in the head, -15..15: to be judged by eye, with the command explain."""
    seat_size: float = 1.0
    """How many times as large as found the face is made, 0.8..1.25."""
    seat_height: float = 0.0
    """How far up from where it was found the face is moved, -0.2..0.2 of the distance of the outer eye corners."""
    sharpness: bool = True
    """Bring the face to the target's measured sharpness and noise."""
    min_face_px: int = 24
    """Faces smaller than this are left alone and counted."""
    segment_frames: int = 250
    """Frames of a journaled segment; a killed render goes on from the last finished one."""
    crf: int = 16
    """H.264 quality, 0 (best) .. 51."""
    label: Literal["badge", "none"] = "badge"
    """Visible AI MODIFIED label; none needs ``disclosure``."""
    disclosure: str = ""
    """Where viewers are told instead, when ``label`` is none."""

    def __post_init__(self) -> None:
        """Checks ranges."""
        require(0.5 <= self.mask_scale <= 1.2, "render.mask_scale", "0.5..1.2", self.mask_scale)
        require(0.5 <= self.hairline <= 1.2, "render.hairline", "0.5..1.2", self.hairline)
        require(0 <= self.detail <= 1.5, "render.detail", "0..1.5", self.detail)
        require(0 <= self.complexion <= 1, "render.complexion", "0..1", self.complexion)
        require(0 <= self.eye_light <= 1, "render.eye_light", "0..1", self.eye_light)
        require(0 <= self.relight <= 1, "render.relight", "0..1", self.relight)
        require(0 <= self.feather <= 0.2, "render.feather", "0..0.2", self.feather)
        require(-15 <= self.seat_tilt <= 15, "render.seat_tilt", "-15..15", self.seat_tilt)
        require(0.8 <= self.seat_size <= 1.25, "render.seat_size", "0.8..1.25", self.seat_size)
        require(-0.2 <= self.seat_height <= 0.2, "render.seat_height", "-0.2..0.2", self.seat_height)
        require(self.min_face_px >= 8, "render.min_face_px", "at least 8", self.min_face_px)
        require(self.segment_frames >= 2, "render.segment_frames", "at least 2", self.segment_frames)
        require(0 <= self.crf <= 51, "render.crf", "0..51", self.crf)
        said = self.label == "badge" or bool(self.disclosure.strip())
        require(said, "render.label", "badge, or none with render.disclosure saying where viewers are told", self.label)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything a run depends on besides its files."""

    detect: DetectConfig = field(default_factory=DetectConfig)
    """Finding faces."""
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    """Cutting crops."""
    curate: CurateConfig = field(default_factory=CurateConfig)
    """Choosing crops."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Training."""
    render: RenderConfig = field(default_factory=RenderConfig)
    """Rendering."""


ConfigT = TypeVar("ConfigT")
TOML_MAX_BYTES = 1 << 20
"""Largest config, suite or model card that is read."""


def from_mapping(kind: type[ConfigT], data: typing.Mapping[str, object], *, where: str) -> ConfigT:
    """Builds ``kind`` from parsed TOML; an unknown key or a wrong type raises ConfigError naming ``where``."""
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in hints:
            raise ConfigError(f"{where}: unknown key {key!r}; known keys: {', '.join(hints)}")
        values[key] = _checked(hints[key], value, where=f"{where}: {key}")
    for one in dataclasses.fields(kind):  # type: ignore[arg-type]
        is_needed = one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        if is_needed and one.name not in values:
            raise ConfigError(f"{where}: expected the key {one.name!r}, found none")
    return kind(**values)


def _checked(hint: Any, value: object, *, where: str) -> object:
    """``value`` where it fits ``hint``, or a ConfigError."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a table, got {value!r}")
        return from_mapping(hint, value, where=where)
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in choices:
            raise ConfigError(f"{where}: expected one of {', '.join(map(str, choices))}, got {value!r}")
        return value
    if origin is tuple:
        return _checked_list(choices, value, where=where)
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a table, got {value!r}")
        return {key: _checked(choices[1], entry, where=f"{where}.{key}") for key, entry in value.items()}
    kinds = choices if origin in (types.UnionType, typing.Union) else (hint,)
    for choice in kinds:
        if isinstance(value, dict) and dataclasses.is_dataclass(choice) and isinstance(choice, type):
            return from_mapping(choice, value, where=where)
    if isinstance(value, int) and not isinstance(value, bool) and float in kinds and int not in kinds:
        return float(value)
    # bool is an int to Python, but a switch is not a number to a reader
    if isinstance(value, tuple(kinds)) and isinstance(value, bool) == (bool in kinds):
        return value
    names = " or ".join(k.__name__ for k in kinds if k is not type(None))
    raise ConfigError(f"{where}: expected {names}, got {value!r}")


def read_toml(path: Path, *, what: str) -> dict[str, Any]:
    """Parses a TOML file that anybody may have written.

    Args:
        path: A regular file of at most TOML_MAX_BYTES.
        what: What it should be, for the message.

    Raises:
        ConfigError: There is no such file, or it is not TOML.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: can't be read as {what}: there is no such file")
    try:
        with path.open("rb") as file:
            data = file.read(TOML_MAX_BYTES + 1)
        table = tomllib.loads(data.decode("utf-8"))
    # ValueError: no UTF-8, no TOML, or a number of thousands of digits; RecursionError: thousands of brackets
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: can't be read as {what}: {' '.join(str(error).split())}") from error
    if len(data) > TOML_MAX_BYTES:
        raise ConfigError(f"{path}: can't be read as {what}: it is larger than {TOML_MAX_BYTES} bytes")
    return table


def _checked_list(choices: tuple[Any, ...], value: object, *, where: str) -> tuple[object, ...]:
    """A TOML array as a tuple: of one kind and any length for ``(X, ...)``, else entry by entry."""
    if not isinstance(value, list):
        raise ConfigError(f"{where}: expected a list, got {value!r}")
    hints = choices[:1] * len(value) if choices[-1] is Ellipsis else choices
    if len(hints) != len(value):
        raise ConfigError(f"{where}: expected a list of {len(hints)}, got {value!r}")
    return tuple(
        _checked(hint, one, where=f"{where}[{k}]") for k, (hint, one) in enumerate(zip(hints, value, strict=True))
    )


def load_config(path: Path) -> RunConfig:
    """Reads a TOML file; ConfigError for a missing file, bad TOML, an unknown key or a wrong type."""
    return from_mapping(RunConfig, read_toml(path, what="a TOML config"), where=str(path))


def to_toml(config: RunConfig) -> str:
    """The resolved config as TOML; options that are None are left out (TOML has no null)."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if v is not None}
        return value

    return tomli_w.dumps(plain(dataclasses.asdict(config)))
