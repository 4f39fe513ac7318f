"""The head-and-shoulders mesh that all avatars share: welded vertices, triangles, texture coordinates.

VALID avatars have one UV layout, so that the texture coordinate of a vertex is its name in every file. Duplicates along
UV seams differ from avatar to avatar: they are welded here, once, on a reference avatar, before any posing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64, Int64

from intracoder.errors import MediaError
from intracoder.synthetic.avatar import BODY, PARTS, Avatar, Mesh

_UV_STEPS: Final = 65535
"""Texture coordinates are 16-bit in the files."""
_WELD_M: Final = 2e-5
_LOWEST_M: Final = -0.42
"""What lies further below the neck is never in the picture."""
_WIDEST_M: Final = 0.42


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartTopology:
    """One welded part."""

    keys: Int64[np.ndarray, "v"]
    """Name of each vertex: its texture coordinate as one number."""
    triangles: Int64[np.ndarray, "t 3"]
    uv: Float64[np.ndarray, "t 3 2"]
    """Per corner, 0..1, v down."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Topology:
    """All parts."""

    parts: Mapping[str, PartTopology]

    @classmethod
    def of(cls, reference: Avatar) -> Topology:
        """Welds and crops a reference avatar."""
        neck = reference.joint_positions["Neck"]
        return cls(parts={name: _part(reference.meshes[name], neck, crop=name == BODY) for name in PARTS})


def uv_keys(uv: Float64[np.ndarray, "v 2"]) -> Int64[np.ndarray, "v"]:
    """One number a texture coordinate."""
    steps = np.round(uv * _UV_STEPS).astype(np.int64)
    return steps[:, 0] * 100003 + steps[:, 1]


def find_vertices(mesh: Mesh, part: PartTopology, *, where: str) -> Int64[np.ndarray, "v"]:
    """For each vertex of the topology, the index in an avatar's own mesh.

    Raises:
        MediaError: The avatar has another UV layout.
    """
    keys = uv_keys(mesh.uv)
    order = np.argsort(keys, kind="stable")
    found = order[np.minimum(np.searchsorted(keys[order], part.keys), len(order) - 1)]
    if not np.array_equal(keys[found], part.keys):
        raise MediaError(
            f"{where}: its UV layout is not that of the other avatars (long hair has another); leave it out"
        )
    return found


def corner_vertices(part: PartTopology, keys: Int64[np.ndarray, "k"]) -> Int64[np.ndarray, "k"]:
    """The vertices that have these names on any of their corners, on whichever avatar the topology was welded.

    Raises:
        MediaError: A name is not there.
    """
    names = uv_keys(part.uv.reshape(-1, 2))
    order = np.argsort(names, kind="stable")
    found = order[np.minimum(np.searchsorted(names[order], keys), len(order) - 1)]
    if not np.array_equal(names[found], keys):
        raise MediaError("the avatars' mesh lacks some of the 68 points; expected VALID avatars with short hair")
    return np.asarray(part.triangles.reshape(-1)[found])


def weld(positions: Float64[np.ndarray, "v 3"], distance: float = _WELD_M) -> Int64[np.ndarray, "v"]:
    """Group number of each vertex; vertices closer than ``distance`` (metres) to a group's first share it."""
    from scipy.spatial import cKDTree

    near = cKDTree(positions).query_ball_point(positions, distance)
    groups = np.full(len(positions), -1, np.int64)
    count = 0
    for first, neighbours in enumerate(near):
        if groups[first] < 0:
            for other in neighbours:
                if groups[other] < 0:
                    groups[other] = count
            count += 1
    return groups


def _part(mesh: Mesh, neck: Float64[np.ndarray, "3"], *, crop: bool) -> PartTopology:
    """One part, welded; ``crop`` drops what is far below the neck."""
    keys, first, own = np.unique(uv_keys(mesh.uv), return_index=True, return_inverse=True)
    positions = mesh.positions[first]
    groups = weld(positions)
    corners = own.reshape(-1)[mesh.triangles]
    triangles = groups[corners]
    kept = _whole(triangles)
    if crop:
        welded = np.zeros((int(groups.max()) + 1, 3))
        welded[groups] = positions
        kept &= (welded[triangles] - neck)[:, :, 1].min(1) > _LOWEST_M
        kept &= np.abs(welded[triangles])[:, :, 0].max(1) < _WIDEST_M
    triangles, corners = triangles[kept], corners[kept]
    used, renumbered = np.unique(triangles, return_inverse=True)
    representative = np.zeros(int(groups.max()) + 1, np.int64)
    representative[groups] = np.arange(len(keys))
    return PartTopology(
        keys=keys[representative[used]],
        triangles=renumbered.reshape(-1, 3).astype(np.int64),
        uv=mesh.uv[first][corners],
    )


def _whole(triangles: Int64[np.ndarray, "t 3"]) -> Bool[np.ndarray, "t"]:
    """Which triangles still have three different corners."""
    a, b, c = triangles.T
    return np.asarray((a != b) & (b != c) & (a != c))
