"""Finding the watermark in a residual: whitening, geometry search, and the bound on false alarms.

The bound. Let the picture be independent of the key. Each frequency then contributes ``|F| cos(phase)`` with a
uniform phase, whatever the picture is, and z, their sum over ``sqrt(sum |F|**2 / 2)``, has
``P(z >= t) <= exp(-t**2 / 2)`` for one hypothesis (since I0(x) <= exp(x**2 / 4)); no distribution of pictures is
assumed. Over N hypotheses (shifts, scales, angles, aspects, mirrored or not) it is at most N times that. The search
goes from coarse to fine; N counts every point at which it could have ended, visited or not, so that the choice of
where to look closer is paid for. Where the payload's checksum fits as well, the bound shrinks by 2**-16: the data
phases are independent of the sync phases. The best of four such tests is taken (known geometry or search, with the
checksum or without), which costs a factor 4.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Complex64, Float, Float32, Float64, Int64
from scipy import fft

from intracoder.provenance.watermark_carrier import (
    RADIUS_LOW,
    RADIUS_MAX,
    RADIUS_MIN,
    TILE,
    Carrier,
    units_per_pixel,
    waves,
)
from intracoder.provenance.watermark_code import CHECKSUM_BITS, CODED_BITS, decode_payload
from intracoder.records import Image, WatermarkReading

_STEP = 0.011
"""Coarse step of angle (radians) and of either axis' scale: 2.5 units at the far edge of a wide frame."""
_TURNS = 5
"""Coarse steps of angle to either side: 3.15 degrees."""
_REACH, _REACH_MEAN, _REACH_ASPECT = 11, 6.5, 10.5
"""Coarse steps around each base scale, to either side: of an axis' scale, of both axes' mean, of their difference."""
_BASES = np.exp(np.linspace(math.log(0.47), math.log(1.55), 10))
"""Scales looked around, in steps of 14 %: from a crop to 44 % of the side to borders that add 65 % to it."""
_PATCH = 16
"""Units; over a patch, turning by 3 degrees moves nothing by more than half a unit."""
_KEPT = 10
"""Coarse maxima that are looked at closer."""
_LOW_GRID, _FINE_GRID = 48, 128
"""Shifts tried along each axis of a tile."""
_RINGS = 6
"""Classes of radius that are levelled and weighted each for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """How the pattern lies in the picture, relative to an unchanged frame."""

    is_mirrored: bool
    scale_x: float
    """Tile units per canonical unit, along x."""
    scale_y: float
    angle_rad: float


IDENTITY = Geometry(is_mirrored=False, scale_x=1.0, scale_y=1.0, angle_rad=0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Match:
    """The best shift of one geometry."""

    geometry: Geometry
    z_score: float
    spectrum: Complex64[np.ndarray, "n"]
    """All frequencies of the carrier, whitened, shifted back."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Offsets:
    """A grid of small changes of a geometry: angles x stretches along x x stretches along y."""

    angles: Float64[np.ndarray, "a"]
    stretches: Float64[np.ndarray, "e"]
    allowed: Bool[np.ndarray, "e e"]
    """Pairs of stretches (x, y) that are tried."""

    @property
    def count(self) -> int:
        """Number of geometries that are tried."""
        return len(self.angles) * int(self.allowed.sum())

    def geometry(self, around: Geometry, flat_index: int) -> Geometry:
        """The geometry at a flat index of the grid."""
        shape = (len(self.angles), len(self.stretches), len(self.stretches))
        angle, along_x, along_y = np.unravel_index(flat_index, shape)
        return replace(
            around,
            scale_x=around.scale_x * (1 + float(self.stretches[along_x])),
            scale_y=around.scale_y * (1 + float(self.stretches[along_y])),
            angle_rad=around.angle_rad + float(self.angles[angle]),
        )


def _coarse_offsets() -> _Offsets:
    """Turns, and stretches whose mean fills the gaps between base scales and whose difference is a squeeze to 0.9."""
    steps = np.arange(-_REACH, _REACH + 1)
    along_x, along_y = np.meshgrid(steps, steps, indexing="ij")
    is_near = (np.abs(along_x + along_y) / 2 <= _REACH_MEAN) & (np.abs(along_x - along_y) <= _REACH_ASPECT)
    return _Offsets(angles=_STEP * np.arange(-_TURNS, _TURNS + 1), stretches=_STEP * steps, allowed=is_near)


def _finer_offsets(part: int) -> _Offsets:
    """One step of ``1 / part`` of the coarse one in every direction."""
    step = _STEP / part * np.arange(-1, 2)
    return _Offsets(angles=step, stretches=step, allowed=np.ones((3, 3), np.bool_))


_COARSE = _coarse_offsets()
_NEARBY = (_finer_offsets(2), _finer_offsets(4))
_HYPOTHESES = 2.0 * len(_BASES) * _COARSE.count * math.prod(o.count for o in _NEARBY) * _FINE_GRID**2
"""Every geometry and shift that the search could end at: mirrored or not, all coarse points, all finer ones of each."""


class Residual:
    """What is left of a clip's frames when their content is suppressed; frames are added one by one."""

    def __init__(self) -> None:
        self._sum: Float32[np.ndarray, "h w"] | None = None
        self._size = (0, 0)
        self.count = 0

    def add(self, image: Image) -> None:
        """Adds a frame; all have one size.

        Raises:
            ValueError: another size than the frames before.
        """
        if self._sum is not None and image.shape[:2] != self._size:
            raise ValueError(f"watermark: expected frames of {self._size}, got {image.shape[:2]}")
        height, width = self._size = image.shape[:2]
        unit = units_per_pixel(height, width)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        size = (max(1, round(width * unit)), max(1, round(height * unit)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if unit < 1 else cv2.INTER_CUBIC)
        levels = grey.astype(np.float32)
        detail = levels - cv2.GaussianBlur(levels, (0, 0), 2.0)
        # local contrast is divided out, so that an edge weighs no more than its surroundings
        flat = np.clip(detail / (cv2.GaussianBlur(np.abs(detail), (0, 0), 1.5) + 0.3), -2, 2)
        self._sum = flat if self._sum is None else self._sum + flat
        self.count += 1

    @property
    def short_side(self) -> int:
        """Shorter side of the frames, pixels; 0 before the first."""
        return min(self._size)

    @property
    def units(self) -> tuple[Float64[np.ndarray, "h"], Float64[np.ndarray, "w"]]:
        """Canonical positions of the rows and of the columns of ``whitened``."""
        if self._sum is None:
            raise ValueError("watermark: expected at least one frame, got none")
        unit = units_per_pixel(*self._size)
        (rows, columns), (height, width) = self._sum.shape, self._size
        return (np.arange(rows) + 0.5) * (height * unit / rows), (np.arange(columns) + 0.5) * (width * unit / columns)

    def whitened(self) -> Float32[np.ndarray, "h w"]:
        """The sum with its spectrum flattened and spectral peaks (stripes, grids) cut to twice their surroundings."""
        if self._sum is None:
            raise ValueError("watermark: expected at least one frame, got none")
        spectrum = np.fft.fftshift(fft.fft2(self._sum))
        size = np.abs(spectrum).astype(np.float32)
        around = cv2.blur(size, (17, 17), borderType=cv2.BORDER_REFLECT_101)
        gain = np.minimum(1 / np.maximum(around, 1e-6), 2 / np.maximum(size, 1e-6))
        return np.ascontiguousarray(fft.ifft2(np.fft.ifftshift(spectrum * gain)).real, dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Patches:
    """Spectra of the small squares of a picture, at some frequencies."""

    spectra: Complex64[np.ndarray, "m ny nx"]
    x: Float32[np.ndarray, "nx"]
    """Centres, canonical units from the middle of the picture."""
    y: Float32[np.ndarray, "ny"]


class _Picture:
    """A whitened residual cut into patches of 16 x 16."""

    def __init__(self, residual: Residual) -> None:
        """Whitens and cuts; an incomplete last row or column of patches is filled with zeros."""
        flat = residual.whitened()
        height, width = flat.shape
        self._flat = np.pad(flat, ((0, -height % _PATCH), (0, -width % _PATCH)))
        self._y, self._x = (
            _extended(units, size) for units, size in zip(residual.units, self._flat.shape, strict=True)
        )

    def patches(self, geometry: Geometry, fx: Float32[np.ndarray, "m"], fy: Float32[np.ndarray, "m"]) -> _Patches:
        """Spectra at (fx, fy) cycles a tile, with the geometry's mirroring and scales but not its angle."""
        flat = self._flat[:, ::-1] if geometry.is_mirrored else self._flat
        units_x = self._x[-1] + self._x[0] - self._x[::-1] if geometry.is_mirrored else self._x
        top = int(max(np.abs(fx).max(), fy.max()))
        rows, columns = flat.shape[0] // _PATCH, flat.shape[1] // _PATCH
        # separable: first along x in every column of patches, then along y in every row of them
        wave_x = np.conj(waves(np.arange(-top, top + 1) * geometry.scale_x, units_x)).reshape(-1, columns, _PATCH)
        wave_y = np.conj(waves(np.arange(top + 1) * geometry.scale_y, self._y)).reshape(-1, rows, _PATCH)
        # many small products instead of a few large ones, over which BLAS threads would fight
        blocks = flat.reshape(rows, _PATCH, columns, _PATCH).transpose(0, 2, 1, 3).astype(np.complex64)
        along_x = blocks @ wave_x.transpose(1, 2, 0)
        both = wave_y.transpose(1, 0, 2)[:, None] @ along_x
        spectra = both[:, :, fy.astype(np.int64), fx.astype(np.int64) + top].transpose(2, 0, 1)
        return _Patches(spectra=np.ascontiguousarray(spectra), x=_centres(units_x), y=_centres(self._y))


def _phasors(cycles: Float[np.ndarray, "..."]) -> Complex64[np.ndarray, "..."]:
    """exp(-2 pi i cycles / TILE), single precision."""
    return np.asarray(np.exp(-2j * np.pi / TILE * cycles), np.complex64)


def _extended(units: Float64[np.ndarray, "n"], size: int) -> Float64[np.ndarray, "size"]:
    """Evenly spaced positions continued to ``size`` of them."""
    return np.asarray(units[0] + 2 * units[0] * np.arange(size))


def _centres(units: Float64[np.ndarray, "n"]) -> Float32[np.ndarray, "p"]:
    """Middle of every patch's positions, from the middle of all."""
    middles = units.reshape(-1, _PATCH).mean(axis=1)
    return np.asarray(middles - middles.mean(), np.float32)


def log10_bound(z_score: float, hypotheses: float) -> float:
    """log10 of the bound on P(some z of that many hypotheses >= z_score) in unmarked material."""
    return (math.log(hypotheses) - z_score * abs(z_score) / 2) / math.log(10)


class Searcher:
    """Looks for one key's pattern. Holds only tables made from the key."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        ring = (carrier.radius - RADIUS_MIN) / (RADIUS_MAX - RADIUS_MIN) * _RINGS
        self._ring = np.minimum(ring.astype(np.int64), _RINGS - 1)
        self._low = carrier.sync[carrier.radius[carrier.sync] < RADIUS_LOW]
        self._all = np.arange(len(carrier.fx))

    def read(self, residual: Residual, *, search: bool = True) -> WatermarkReading:
        """The mark in ``residual``: at the known geometry first, then by search unless that is not wanted."""
        picture = _Picture(residual)
        known = self._reading(self._best_shift(picture, IDENTITY, grid=1), hypotheses=1.0)
        if not search or (known.is_found and known.payload is not None):
            return known
        searched = self._reading(self._search(picture), hypotheses=_HYPOTHESES)
        return min(known, searched, key=lambda r: (not r.is_found, r.payload is None, r.log10_fpr))

    def _reading(self, match: _Match, *, hypotheses: float) -> WatermarkReading:
        """Decodes the payload at a match, and bounds the chance of both."""
        payload = decode_payload(self._soft_bits(match.spectrum))
        bound = log10_bound(match.z_score, 4 * hypotheses)
        if payload is not None:
            bound -= CHECKSUM_BITS * math.log10(2)
        found = WatermarkReading(payload=payload, z_score=match.z_score, log10_fpr=min(0.0, bound))
        # a checksum that fits by chance is no payload
        return found if found.is_found else replace(found, payload=None)

    def _soft_bits(self, spectrum: Complex64[np.ndarray, "n"]) -> Float64[np.ndarray, "216"]:
        """Sum of each coded bit's frequencies, weighted by what the sync shows to have arrived at their radius."""
        carrier = self._carrier
        arrived = (spectrum * np.conj(carrier.phasor)).real.astype(np.float64)
        sync_ring = self._ring[carrier.sync]
        gain = np.bincount(sync_ring, arrived[carrier.sync], _RINGS) / np.bincount(sync_ring, minlength=_RINGS)
        weight = np.maximum(gain, 0.25 * max(float(gain.mean()), 1e-9))[self._ring]
        carries = carrier.owner >= 0
        return np.bincount(carrier.owner[carries], (arrived * weight)[carries], CODED_BITS)

    def _search(self, picture: _Picture) -> _Match:
        """The best match over the whole lattice of geometries and shifts."""
        coarse: list[tuple[float, Geometry]] = []
        for is_mirrored, base in itertools.product((False, True), _BASES.tolist()):
            around = Geometry(is_mirrored=is_mirrored, scale_x=base, scale_y=base, angle_rad=0.0)
            scores = self._scores(picture, around, self._low, _COARSE, grid=_LOW_GRID)
            best = np.argpartition(scores.ravel(), -_KEPT)[-_KEPT:]
            coarse += [(float(scores.ravel()[i]), _COARSE.geometry(around, int(i))) for i in best]
        coarse.sort(key=lambda pair: -pair[0])
        refined = [self._refine(picture, geometry) for _, geometry in coarse[:_KEPT]]
        _, geometry = max(refined, key=lambda pair: pair[0])
        return self._best_shift(picture, geometry, grid=_FINE_GRID)

    def _refine(self, picture: _Picture, geometry: Geometry) -> tuple[float, Geometry]:
        """Halves the steps around a coarse maximum, with all sync frequencies."""
        score = 0.0
        for nearby in _NEARBY:
            scores = self._scores(picture, geometry, self._carrier.sync, nearby, grid=_FINE_GRID // 2)
            best = int(scores.argmax())
            score, geometry = float(scores.ravel()[best]), nearby.geometry(geometry, best)
        return score, geometry

    def _scores(
        self, picture: _Picture, around: Geometry, index: Int64[np.ndarray, "m"], offsets: _Offsets, *, grid: int
    ) -> Float32[np.ndarray, "angles xs ys"]:
        """Z of the best shift for every geometry of ``offsets`` around one."""
        carrier = self._carrier
        fx, fy = carrier.fx[index].astype(np.float32), carrier.fy[index].astype(np.float32)
        patches = picture.patches(around, fx, fy)
        x, y = around.scale_x * patches.x, around.scale_y * patches.y
        # phases of x and of y factor: k.(D p) = x (kx ex + ky angle) + y (ky ey - kx angle)
        stretch_x = _phasors((fx[:, None] * x)[..., None] * offsets.stretches)
        stretch_y = _phasors((fy[:, None] * y)[..., None] * offsets.stretches)
        shape = (len(offsets.angles), len(offsets.stretches), len(offsets.stretches))
        scores = np.full(shape, -np.inf, np.float32)
        for row, angle in enumerate(offsets.angles + around.angle_rad):
            turned = patches.spectra * _phasors(angle * fy[:, None] * x)[:, None, :]
            turned *= _phasors(-angle * fx[:, None] * y)[:, :, None]
            summed = np.swapaxes(turned @ stretch_x, 1, 2) @ stretch_y
            spectra = np.ascontiguousarray(summed[:, offsets.allowed].T)
            scores[row, offsets.allowed] = self._surfaces(spectra, index, grid)[0]
        return scores

    def _surfaces(
        self, spectra: Complex64[np.ndarray, "g m"], index: Int64[np.ndarray, "m"], grid: int
    ) -> tuple[Float32[np.ndarray, "g"], Int64[np.ndarray, "g"]]:
        """Highest z over ``grid`` x ``grid`` shifts of a tile, and where (x * grid + y), for each spectrum."""
        spectra = self._flatten(spectra, index)
        matched = spectra * np.conj(self._carrier.phasor[index]).astype(np.complex64)
        fx, fy = self._carrier.fx[index], self._carrier.fy[index]
        plane = np.zeros((len(spectra), grid, grid // 2 + 1), np.complex64)
        plane[:, fx % grid, fy] = matched * np.where(fy == 0, 2, 1).astype(np.float32)  # no mirror half for fy = 0
        surface = fft.irfft2(plane, s=(grid, grid)).reshape(len(spectra), -1) * np.float32(grid * grid / 2)
        deviation = np.sqrt((np.abs(spectra) ** 2).sum(axis=1) / 2)
        where = surface.argmax(axis=1)
        return (surface[np.arange(len(where)), where] / np.maximum(deviation, 1e-12)).astype(np.float32), where

    def _flatten(self, spectra: Complex64[np.ndarray, "g m"], index: Int64[np.ndarray, "m"]) -> np.ndarray:
        """Brings every ring to one level and cuts outliers; uses sizes only, never phases, as the bound demands."""
        size = np.abs(spectra) + np.float32(1e-9)
        flat = np.empty_like(spectra)
        for ring in range(_RINGS):
            part = self._ring[index] == ring
            if part.any():
                level = np.median(size[:, part], axis=1, keepdims=True)
                flat[:, part] = spectra[:, part] * np.minimum(1 / level, 2 / size[:, part])
        return flat

    def _best_shift(self, picture: _Picture, geometry: Geometry, *, grid: int) -> _Match:
        """The best of ``grid`` x ``grid`` shifts at one geometry, with the whole carrier's spectrum there."""
        carrier = self._carrier
        fx, fy = carrier.fx.astype(np.float32), carrier.fy.astype(np.float32)
        patches = picture.patches(geometry, fx, fy)
        steer_x = _phasors(geometry.angle_rad * geometry.scale_x * fy[:, None] * patches.x)
        steer_y = _phasors(-geometry.angle_rad * geometry.scale_y * fx[:, None] * patches.y)
        spectrum = np.einsum("kyx,kx,ky->k", patches.spectra, steer_x, steer_y).astype(np.complex64)
        flat = self._flatten(spectrum[None], self._all)[0]
        sync = carrier.sync
        if grid == 1:
            matched = (flat[sync] * np.conj(carrier.phasor[sync])).real.sum()
            power = float((np.abs(flat[sync]) ** 2).sum())
            # a picture without any texture has no spectrum to match
            z_score = float(matched) / math.sqrt(power / 2) if power > 0 else 0.0
            return _Match(geometry=geometry, z_score=z_score, spectrum=flat)
        (best,), (where,) = self._surfaces(spectrum[None, sync], sync, grid)
        shift = carrier.fx * (where // grid) + carrier.fy * (where % grid)
        shifted = (flat * np.exp(2j * np.pi / grid * shift)).astype(np.complex64)
        return _Match(geometry=geometry, z_score=float(best), spectrum=shifted)
