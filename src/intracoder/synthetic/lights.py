"""What a head is lit by."""

from __future__ import annotations

from dataclasses import dataclass

from intracoder.config import require
from intracoder.synthetic.camera import Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaLight:
    """A square lamp that looks at the head; scene axes as for ``Camera``."""

    position: Vector
    power_w: float
    size_m: float = 0.5
    color: Vector = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        """Checks ranges."""
        require(self.power_w >= 0, "light.areas.power_w", "at least 0", self.power_w)
        require(self.size_m > 0, "light.areas.size_m", "more than 0", self.size_m)
        require(all(0 <= c <= 1 for c in self.color), "light.areas.color", "three numbers in 0..1", self.color)


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """An environment and lamps."""

    hdri: str = "studio"
    """One of the HDRIs in the bpy wheel, without suffix."""
    rotation_deg: float = 0.0
    strength: float = 0.8
    exposure: float = 0.9
    """Factor before the tone curve; 0 measures it on the first frame, as a camera does."""
    areas: tuple[AreaLight, ...] = ()

    def __post_init__(self) -> None:
        """Checks ranges."""
        require(self.hdri.isidentifier(), "light.hdri", "a name such as studio", self.hdri)
        require(self.strength >= 0, "light.strength", "at least 0", self.strength)
        require(self.exposure >= 0, "light.exposure", "at least 0", self.exposure)
