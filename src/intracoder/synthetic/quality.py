"""How fine the picture is, and so how long it takes."""

from __future__ import annotations

from dataclasses import dataclass

from intracoder.config import require


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Settings of the renderer; the defaults are those of the benchmark clips."""

    size_px: int = 320
    """Side of the square picture, pixels; even."""
    samples: int = 6
    """Light paths a pixel, before denoising."""
    bounces: int = 3
    """Of a path, at most."""
    diffuse_bounces: int = 2
    glossy_bounces: int = 2
    texture_px: int = 0
    """Side that larger textures are scaled down to; 0 leaves them."""
    light_map_px: int = 0
    """Width of the map that the environment's light is sampled by; small ones start sooner, 0 leaves it open."""
    threads: int = 0
    """CPU threads; 0 takes all. The picture does not depend on it."""

    def __post_init__(self) -> None:
        """Checks ranges."""
        even = 32 <= self.size_px <= 4096 and self.size_px % 2 == 0
        require(even, "quality.size_px", "an even number in 32..4096", self.size_px)
        require(1 <= self.samples <= 4096, "quality.samples", "1..4096", self.samples)
        for name in ("bounces", "diffuse_bounces", "glossy_bounces"):
            require(0 <= getattr(self, name) <= 32, f"quality.{name}", "0..32", getattr(self, name))
        require(self.texture_px >= 0, "quality.texture_px", "at least 0", self.texture_px)
        require(self.light_map_px >= 0, "quality.light_map_px", "at least 0", self.light_map_px)
        require(self.threads >= 0, "quality.threads", "at least 0", self.threads)
