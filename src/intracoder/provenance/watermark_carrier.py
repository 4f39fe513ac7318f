"""The keyed pattern of the watermark: which spatial frequencies carry what, and the pattern of a frame size.

Coordinates are canonical: the frame's shorter side is 256 units long, so that a resized frame carries the same
pattern. One square tile of 128 units repeats over the frame.
"""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Complex128, Float32, Float64, Int64

from intracoder.provenance.watermark_code import CODED_BITS, encode_payload

PUBLIC_KEY = b"intracoder tilemark v1"
"""Known to everybody: anyone must be able to look for the mark, so anyone could also forge it."""
SHORT_SIDE = 256
LONG_SIDE_MAX = 2048
"""Keeps a picture of one row and a million columns from filling the memory."""
TILE = 128
RADIUS_MIN, RADIUS_MAX = 7, 28
"""Cycles a tile: wavelengths of 37 to 9 pixels in a frame of 512 lines."""
RADIUS_LOW = 20
"""Below it frequencies survive strong compression best; the search looks there first."""
_SYNC_SHARE_LOW, _SYNC_SHARE_HIGH = 0.33, 0.20
_TILT = -0.25
"""A little more amplitude at low frequencies: radius to this power."""


class Carrier:
    """Frequencies, phases and roles that a key gives.

    Attributes:
        fx, fy: Cycles a tile, shape (n,): an annulus of the half plane, since the other half mirrors it.
        phasor: Unit complex phases, uniform and independent, shape (n,).
        sync: Indices of the frequencies whose sign is fixed; the rest carry coded bits.
        owner: Coded bit that each frequency carries, -1 for sync, shape (n,).
        radius: Distance from zero frequency, shape (n,).
    """

    def __init__(self, key: bytes = PUBLIC_KEY) -> None:
        """Derives everything from ``key``."""
        fy, fx = np.mgrid[0 : RADIUS_MAX + 1, -RADIUS_MAX : RADIUS_MAX + 1]
        radius = np.hypot(fx, fy)
        half = (fy > 0) | (fx > 0)
        chosen = (radius >= RADIUS_MIN) & (radius <= RADIUS_MAX) & half
        self.fx: Int64[np.ndarray, "n"] = fx[chosen].astype(np.int64)
        self.fy: Int64[np.ndarray, "n"] = fy[chosen].astype(np.int64)
        self.radius: Float64[np.ndarray, "n"] = radius[chosen]
        count = len(self.fx)
        # not numpy's generators: their streams may change between versions, and a mark has to outlive them
        stream = np.frombuffer(hashlib.shake_256(key).digest(8 * count), ">u4").reshape(2, count)
        self.phasor: Complex128[np.ndarray, "n"] = np.exp(2j * np.pi * stream[0] / 2.0**32)
        order = np.argsort(stream[1], kind="stable")
        is_low = self.radius[order] < RADIUS_LOW
        low, high = order[is_low], order[~is_low]
        low_count, high_count = round(_SYNC_SHARE_LOW * len(low)), round(_SYNC_SHARE_HIGH * len(high))
        self.sync: Int64[np.ndarray, "m"] = np.sort(np.concatenate([low[:low_count], high[:high_count]]))
        # dealt out by turns from low to high frequencies, so that every bit has its share of each
        self.owner: Int64[np.ndarray, "n"] = np.full(count, -1, np.int64)
        data = np.concatenate([low[low_count:], high[high_count:]])
        self.owner[data] = np.arange(len(data)) % CODED_BITS

    def pattern(
        self, height: int, width: int, payload: bytes, *, over: bytes | None = None
    ) -> Float32[np.ndarray, "height width"]:
        """The pattern of a frame, mean about 0, standard deviation 1 where nothing is written over.

        Args:
            height: Of the frame, pixels.
            width: Of the frame, pixels.
            payload: 6 bytes to be carried.
            over: 6 bytes that the frame carries already and that are taken away.
        """
        carries = self.owner >= 0
        signs = np.ones(len(self.fx))
        signs[carries] = 2.0 * encode_payload(payload)[self.owner[carries]] - 1.0
        deviation = np.sqrt((self.radius ** (2 * _TILT)).sum() / 2)
        if over is not None:
            signs[carries] -= 2.0 * encode_payload(over)[self.owner[carries]] - 1.0
        spectrum = np.zeros((RADIUS_MAX + 1, 2 * RADIUS_MAX + 1), np.complex64)
        spectrum[self.fy, self.fx + RADIUS_MAX] = self.phasor * signs * self.radius**_TILT
        unit = units_per_pixel(height, width)
        rows = waves(np.arange(RADIUS_MAX + 1), (np.arange(height) + 0.5) * unit)
        columns = waves(np.arange(-RADIUS_MAX, RADIUS_MAX + 1), (np.arange(width) + 0.5) * unit)
        pattern = (rows.T @ spectrum @ columns).real
        return np.asarray(pattern / deviation, np.float32)


def units_per_pixel(height: int, width: int) -> float:
    """Canonical units a pixel: the shorter side has SHORT_SIDE, unless the longer one would exceed LONG_SIDE_MAX."""
    return min(SHORT_SIDE / min(height, width), LONG_SIDE_MAX / max(height, width))


def waves(cycles: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """exp(2 pi i cycles positions / TILE) as complex64, shape (cycles, positions).

    Args:
        cycles: Cycles a tile, shape (k,), any real numbers.
        positions: Canonical units, shape (n,).
    """
    return np.exp(2j * np.pi / TILE * np.outer(cycles, positions)).astype(np.complex64)
