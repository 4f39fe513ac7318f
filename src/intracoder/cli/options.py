"""Options that commands share, and how flags go over a config file."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from intracoder.config import RunConfig, from_mapping, load_config
from intracoder.errors import ConfigError

PRESET_SIZES = {"fast": "S", "quality": "M", "studio": "L"}

ConfigFile = Annotated[Path | None, Parameter(name="--config", help="TOML file of options; flags go over it.")]
Set = Annotated[
    list[str] | None,
    Parameter(name="--set", help="Any option by its name in the config, such as train.lr=0.002; repeatable."),
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Machine-readable output on stdout.")]
Quiet = Annotated[bool, Parameter(name="--quiet", negative="", help="No progress.")]
Minutes = Annotated[float | None, Parameter(help="Training budget, minutes.")]
Steps = Annotated[int | None, Parameter(help="Training budget in steps, exactly repeatable; instead of minutes.")]
Preset = Annotated[
    Literal["fast", "quality", "studio"] | None,
    Parameter(help="Network: fast (S), quality (M) or studio (L); left out, what suits the hardware."),
]
Person = Annotated[str | None, Parameter(help="Whose face, by name; the training's source by default.")]
Plain = Annotated[bool, Parameter(negative="", help="The plain autoencoder, for teaching and as baseline.")]
Color = Annotated[Literal["none", "reinhard", "skin", "learned"] | None, Parameter(help="Colour matching.")]
Blend = Annotated[Literal["feather", "poisson", "multiband"] | None, Parameter(help="Blending.")]
Label = Annotated[Literal["badge", "none"] | None, Parameter(help="Visible label; none needs --disclosure.")]
Disclosure = Annotated[str | None, Parameter(help="Where viewers are told, when there is no badge.")]
Use = Annotated[
    Literal["research", "private", "publish", "commercial"],
    Parameter(help="What the output is for; consent has to cover it."),
]
FaceNumber = Annotated[int | None, Parameter(name="--face", help="Number on the sheet of: intracoder faces.")]
FaceImage = Annotated[Path | None, Parameter(name="--face-image", help="A picture of the person meant.")]
Consent = Annotated[Path | None, Parameter(help="Consent record, where it does not lie with the source.")]


def resolved(
    file: Path | None, settings: Sequence[str] | None = None, flags: Mapping[str, object] | None = None
) -> RunConfig:
    """Defaults < file < ``--set`` < named flags (those that are not None).

    Raises:
        ConfigError: An unknown key, a wrong type or a value out of range, with its place.
    """
    config = RunConfig() if file is None else load_config(file)
    for setting in settings or ():
        key, _, text = setting.partition("=")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text  # a bare word is a string, as on any command line
        config = _with(config, key.strip(), value, where="--set")
    for key, value in (flags or {}).items():
        if value is not None:
            config = _with(config, key, value, where=f"--{key.rpartition('.')[2]}")
    return config


def _with(config: RunConfig, key: str, value: object, *, where: str) -> RunConfig:
    """``config`` with one option changed, through the same checks as a file."""
    table, _, name = key.partition(".")
    if not name or table not in {field.name for field in dataclasses.fields(config)}:
        raise ConfigError(f"{where}: expected TABLE.OPTION=VALUE such as train.lr=0.002, got {key!r}")
    part = getattr(config, table)
    values = {k: v for k, v in dataclasses.asdict(part).items() if v is not None and k != name}
    changed = from_mapping(type(part), {**values, name: value}, where=where)
    return dataclasses.replace(config, **{table: changed})


def training_flags(
    *, minutes: float | None, steps: int | None, plain: bool, preset: str | None = None
) -> dict[str, object]:
    """Named flags of training."""
    return {
        "train.minutes": minutes,
        "train.steps": steps,
        "train.plain": plain or None,
        "train.size": PRESET_SIZES[preset] if preset else None,
    }


def render_flags(
    *, color: str | None = None, blend: str | None = None, label: str | None = None, disclosure: str | None = None
) -> dict[str, object]:
    """Named flags of rendering; the disclosure first, since a missing label asks for it."""
    return {
        "render.disclosure": disclosure,
        "render.label": label,
        "render.color": color,
        "render.blend": blend,
    }
