"""What to render: people, cameras, lights, tracks and clips, from TOML. Unknown keys are errors."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

from intracoder.config import from_mapping, read_toml, require
from intracoder.errors import ConfigError
from intracoder.synthetic.camera import Camera
from intracoder.synthetic.lights import Light
from intracoder.synthetic.occluder import Occluder
from intracoder.synthetic.quality import Quality

PACKAGED: Final = ("benchmark", "occluded", "pretrain", "seating", "tiny", "visible")
"""Suites that ship with the package."""
Kind = Literal["own", "face", "full"]
MaskKind = Literal["face", "head"]
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A performance, who gives it, and in which camera and light."""

    person: str
    camera: str
    light: str
    seed: int = 0
    frame_count: int = 200
    """Length of the performance; another length is another performance."""
    yaw_deg: float = 28.0
    """About the largest turn."""
    pitch_deg: float = 9.0
    roll_deg: float = 6.0
    occluder: Occluder | None = None

    def __post_init__(self) -> None:
        """Checks ranges."""
        require(self.seed >= 0, "track.seed", "at least 0", self.seed)
        require(1 <= self.frame_count <= 100_000, "track.frame_count", "1..100000", self.frame_count)
        for name, most in (("yaw_deg", 90), ("pitch_deg", 45), ("roll_deg", 45)):
            require(0 <= getattr(self, name) <= most, f"track.{name}", f"0..{most}", getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Clips to render: every track with every person that fits the kind."""

    kind: Kind
    """own: the track's owner. face: another's inner face on the owner (the truth of a swap). full: another person
    gives the owner's performance."""
    tracks: tuple[str, ...]
    people: tuple[str, ...] = ()
    """For face and full; whoever owns the track is left out."""
    start: int = 0
    stop: int = 0
    """Frame to stop before; 0 goes to the end."""
    step: int = 1

    def __post_init__(self) -> None:
        """Checks ranges."""
        require(self.start >= 0 and self.step >= 1, "render.step", "start at least 0 and step at least 1", self.step)
        require(self.stop == 0 or self.stop > self.start, "render.stop", "0 or more than start", self.stop)
        has_people = bool(self.people) == (self.kind != "own")
        require(has_people, "render.people", "a list for face and full, none for own", self.people)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Many random tracks: in each round, everybody once as owner and once in everybody's list of partners."""

    seed: int = 0
    rounds: int = 1
    frames: int = 12
    """Rendered of each track, spread over its performance."""
    step: int = 16
    """Frames of the performance between two that are rendered."""
    partners: int = 1
    """Other people who give each performance too."""
    partner_kind: Literal["full", "face"] = "full"
    """What they give: their whole head, or their inner face on the owner's (the truth of a swap)."""
    partner_every: int = 1
    """Of the owner's rendered frames, each how-manieth they give too."""
    hdris: tuple[str, ...] = ("studio",)
    yaw_deg: tuple[float, float] = (12.0, 40.0)
    """From, to; so for what follows."""
    pitch_deg: tuple[float, float] = (6.0, 14.0)
    roll_deg: tuple[float, float] = (4.0, 10.0)
    lens_mm: tuple[float, float] = (60.0, 110.0)
    face_share: tuple[float, float] = (0.4, 0.6)
    """Height from chin to hairline, as a share of the picture's."""
    lamp_share: float = 0.4
    """Of the tracks, how many have a coloured lamp as well."""
    occluder_share: float = 0.0
    """Of the tracks, how many have something passing before the face."""

    def __post_init__(self) -> None:
        """Checks ranges."""
        for name in ("rounds", "frames", "step", "partner_every"):
            require(getattr(self, name) >= 1, f"sweep.{name}", "at least 1", getattr(self, name))
        require(self.partners >= 0, "sweep.partners", "at least 0", self.partners)
        require(bool(self.hdris), "sweep.hdris", "at least one", self.hdris)
        for name in ("yaw_deg", "pitch_deg", "roll_deg", "lens_mm", "face_share"):
            low, high = getattr(self, name)
            require(0 <= low <= high, f"sweep.{name}", "two numbers, the smaller first", (low, high))
        require(self.face_share[0] >= 0.1, "sweep.face_share", "at least 0.1", self.face_share)
        for name in ("lamp_share", "occluder_share"):
            require(0 <= getattr(self, name) <= 1, f"sweep.{name}", "0..1", getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A set of clips."""

    name: str
    people: dict[str, str]
    """Short name → GLB file without suffix."""
    mesh_of: str
    """The person whose mesh names the vertices for all; it matters to nobody's looks."""
    quality: Quality = field(default_factory=Quality)
    tone: float = 0.85
    """How far a face put on another head takes that head's skin tone, 0..1."""
    mask: MaskKind = "face"
    """face: the masks show the inner face. head: all of the head's skin that can be seen."""
    cameras: dict[str, Camera] = field(default_factory=dict)
    lights: dict[str, Light] = field(default_factory=dict)
    tracks: dict[str, Track] = field(default_factory=dict)
    render: tuple[Rule, ...] = ()
    sweep: Sweep | None = None

    def __post_init__(self) -> None:
        """Checks ranges, names and references."""
        require(0 <= self.tone <= 1, "tone", "0..1", self.tone)
        for key in (*self.people, *self.tracks):
            require(bool(_NAME.fullmatch(key)) and "_as_" not in key, "name", "letters, digits, _ and -", key)
        for key, stem in self.people.items():
            require(bool(_NAME.fullmatch(stem)), f"people.{key}", "a GLB file's name without suffix", stem)
        require(self.mesh_of in self.people, "mesh_of", f"one of {', '.join(self.people)}", self.mesh_of)
        for key, track in self.tracks.items():
            require(track.person in self.people, f"tracks.{key}.person", "one of [people]", track.person)
            require(track.camera in self.cameras, f"tracks.{key}.camera", "one of [cameras]", track.camera)
            require(track.light in self.lights, f"tracks.{key}.light", "one of [lights]", track.light)
        for rule in self.render:
            for key in rule.tracks:
                require(key in self.tracks, "render.tracks", "names of [tracks]", key)
            for key in rule.people:
                require(key in self.people, "render.people", "names of [people]", key)
        require(bool(self.render) or self.sweep is not None, "render", "[[render]] tables or a [sweep]", None)
        if self.sweep is not None:
            enough = self.sweep.partners < len(self.people)
            require(enough, "sweep.partners", "fewer than there are people", self.sweep.partners)


def find_suite(name: str) -> Suite:
    """A packaged suite by its name, or a TOML file.

    Raises:
        ConfigError: for an unknown name or a bad file, with the place.
    """
    if name in PACKAGED:
        return load_suite(Path(str(files("intracoder.synthetic"))) / "suites" / f"{name}.toml")
    path = Path(name)
    if path.suffix != ".toml":
        raise ConfigError(f"suite: expected one of {', '.join(PACKAGED)} or a .toml file, got {name!r}")
    return load_suite(path)


def load_suite(path: Path) -> Suite:
    """Reads a suite file.

    Raises:
        ConfigError: for a missing file, bad TOML, an unknown key, a wrong type or a value out of range.
    """
    return from_mapping(Suite, read_toml(path, what="a suite"), where=str(path))
