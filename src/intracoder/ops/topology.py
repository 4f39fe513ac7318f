"""The dense landmarks' topology: which index is where, the canonical head, its triangles and its mirror image.

Indices are those of the MediaPipe face mesh (468 surface points and 2 x 5 of the irises). "left" and "right" are
the viewer's. Canonical space is in centimetres: x right, y down, z away from the viewer, the nose nearest.

Source: Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019
(arXiv 1907.06724), and its canonical face model (Apache-2.0).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import numpy as np
from jaxtyping import Float64, Int32, Int64
from scipy.spatial import Delaunay

SURFACE_COUNT: Final = 468
"""Points of the skin; the irises' ten follow."""

OVAL: Final = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""Outline of the face, clockwise from the top of the forehead."""

EYE_LEFT: Final = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
EYE_RIGHT: Final = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
EYES: Final = (EYE_LEFT, EYE_RIGHT)
"""Lid lines, as closed outlines."""

EYE_CORNERS: Final = (33, 133, 362, 263)
"""Outer and inner corner of the left eye, inner and outer of the right."""

IRIS_LEFT: Final = (468, 469, 470, 471, 472)
IRIS_RIGHT: Final = (473, 474, 475, 476, 477)
IRISES: Final = (IRIS_LEFT, IRIS_RIGHT)
"""Centre first, then four points of the rim."""

LIPS: Final = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
"""Outer outline of the lips."""
INNER_LIPS: Final = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
"""Inner outline of the lips: the mouth's opening."""

BROW_LEFT: Final = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
BROW_RIGHT: Final = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
BROWS: Final = (BROW_LEFT, BROW_RIGHT)

FOREHEAD: Final = (54, 103, 67, 109, 10, 338, 297, 332, 284, 293, 334, 296, 336, 9, 107, 66, 105, 63)
"""Skin between hairline and the brows' upper edge."""
NOSE: Final = (168, 351, 412, 399, 420, 360, 278, 274, 19, 44, 48, 131, 198, 174, 188, 122)
"""From the bridge to the tip and the wings, without the nostrils."""
CHEEK_LEFT: Final = (117, 118, 119, 100, 142, 36, 205, 187, 123)
CHEEK_RIGHT: Final = (346, 347, 348, 329, 371, 266, 425, 411, 352)
CHEEKS: Final = (CHEEK_LEFT, CHEEK_RIGHT)
"""Above the beard line, below the eyes' hollows."""

STABLE: Final = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 127, 162, 21, 54, 103, 67, 109, 234, 93),
    *(168, 6, 197, 195, 33, 133, 362, 263, 2, 98, 327, 9, 8, 151),
)
"""Points that expression hardly moves: upper outline, bridge and base of the nose, eye corners; no lids, no jaw."""

_SWAPPED_IRIS: Final = (473, 476, 475, 474, 477)
"""Mirror images of IRIS_LEFT: the rim's points beside the centre change sides, those above and below don't."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceMesh:
    """The surface of the head as triangles; arrays are read-only."""

    triangles: Int32[np.ndarray, "t 3"]
    """Surface indices, all counter-clockwise in canonical x, y (a positive signed area faces the viewer)."""
    canonical: Float64[np.ndarray, "468 3"]
    """Canonical head, centimetres."""


def _frozen(array: np.ndarray) -> np.ndarray:
    """``array``, made read-only: it is shared by every caller."""
    array.flags.writeable = False
    return array


@functools.cache
def canonical_points() -> Float64[np.ndarray, "468 3"]:
    """The canonical head's surface points, centimetres, x right, y down, z away; read-only."""
    with files("intracoder").joinpath("weights", "canonical_face_468.npy").open("rb") as stream:
        stored = np.load(stream, allow_pickle=False)
    # the file has OpenGL's axes: y up, z towards the viewer
    return _frozen(stored.astype(np.float64) * np.array([1.0, -1.0, -1.0]))


@functools.cache
def face_mesh() -> FaceMesh:
    """Triangles over the canonical head: Delaunay's of its front view, eyes and mouth closed over."""
    canonical = canonical_points()
    triangles = Delaunay(canonical[:, :2]).simplices.astype(np.int32)
    a, b, c = (canonical[triangles[:, k], :2] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    triangles[area < 0] = triangles[area < 0][:, ::-1]
    return FaceMesh(triangles=_frozen(triangles), canonical=canonical)


@functools.cache
def mirror_indices() -> Int64[np.ndarray, "478"]:
    """For each point, the index of its mirror image: ``points[mirror_indices()]`` with x negated is a face again."""
    canonical = canonical_points()
    mirrored = canonical * np.array([-1.0, 1.0, 1.0])
    distance = np.linalg.norm(mirrored[:, None] - canonical[None], axis=2)
    irises = np.empty(10, dtype=np.int64)
    irises[:5] = _SWAPPED_IRIS
    irises[np.array(_SWAPPED_IRIS) - SURFACE_COUNT] = IRIS_LEFT
    return _frozen(np.concatenate([distance.argmin(axis=1), irises]))


@functools.cache
def oval_center() -> Float64[np.ndarray, "3"]:
    """Middle of the face outline's bounding box, canonical centimetres."""
    oval = canonical_points()[list(OVAL)]
    return _frozen((oval.max(axis=0) + oval.min(axis=0)) / 2)
