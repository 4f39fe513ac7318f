"""One person on the shared topology, and how joints and morphs move it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64, Int64

from intracoder.records import Image
from intracoder.synthetic.avatar import WIG, Avatar, Mesh
from intracoder.synthetic.topology import Topology, find_vertices

JOINTS: Final = (
    "Hips",
    "Spine",
    "Spine1",
    "Spine2",
    "Neck",
    "Head",
    "HeadEnd",
    "LeftEye",
    "RightEye",
    "LeftShoulder",
    "RightShoulder",
    "LeftArm",
    "RightArm",
    "LeftForeArm",
    "RightForeArm",
)
"""Joints that move; a vertex bound to another follows its nearest ancestor among these."""
_NEGLIGIBLE: Final = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadPart:
    """One part of one person, metres, y up, facing +z, the neck joint at the origin."""

    positions: Float64[np.ndarray, "v 3"]
    weights: Mapping[str, Float64[np.ndarray, "v"]]
    """Joint → share of each vertex."""
    morphs: Mapping[str, Float32[np.ndarray, "v 3"]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wig:
    """Hair with a mesh of its own."""

    part: HeadPart
    triangles: Int64[np.ndarray, "t 3"]
    uv: Float64[np.ndarray, "t 3 2"]
    """Per corner, 0..1, v down."""
    color: Image


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """One person."""

    name: str
    parts: Mapping[str, HeadPart]
    joints: Mapping[str, Float64[np.ndarray, "3"]]
    parents: Mapping[str, str | None]
    color: Image
    normal: Image
    wig: Wig | None = None

    def eyes(self) -> Float64[np.ndarray, "2 3"]:
        """Centres of the avatar's right and left eye: image-left first."""
        return np.stack([self.joints["RightEye"], self.joints["LeftEye"]])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PosedHead:
    """A person in one frame."""

    positions: Mapping[str, Float64[np.ndarray, "v 3"]]
    transforms: Mapping[str, Float64[np.ndarray, "4 4"]]
    """Joint → how it moved, from the bind pose."""


def head_of(avatar: Avatar, topology: Topology, name: str) -> Head:
    """Puts an avatar on the topology.

    Raises:
        MediaError: The avatar has another UV layout.
    """
    shift = -avatar.joint_positions["Neck"]

    def bound(mesh: Mesh, chosen: Int64[np.ndarray, "v"]) -> HeadPart:
        return HeadPart(
            positions=mesh.positions[chosen] + shift,
            weights=_joint_weights(avatar, mesh, chosen),
            morphs={key: np.ascontiguousarray(moved[chosen]) for key, moved in mesh.morphs.items()},
        )

    parts = {}
    for part_name, part in topology.parts.items():
        mesh = avatar.meshes[part_name]
        parts[part_name] = bound(mesh, find_vertices(mesh, part, where=name))
    wig = None
    if avatar.wig is not None and avatar.wig_color is not None:
        wig = Wig(
            part=bound(avatar.wig, np.arange(len(avatar.wig.positions))),
            triangles=avatar.wig.triangles,
            uv=avatar.wig.uv[avatar.wig.triangles],
            color=avatar.wig_color,
        )
    return Head(
        name=name,
        parts=parts,
        joints={joint: avatar.joint_positions[joint] + shift for joint in JOINTS},
        parents={joint: avatar.parents.get(joint) for joint in JOINTS},
        color=avatar.color,
        normal=avatar.normal,
        wig=wig,
    )


def _joint_weights(avatar: Avatar, mesh: Mesh, found: np.ndarray) -> dict[str, np.ndarray]:
    """Skinning weights by the joints that are kept."""
    weights: dict[str, np.ndarray] = {}
    for slot in range(4):
        joints = mesh.joints[found, slot]
        for joint in np.unique(joints):
            share = np.where(joints == joint, mesh.weights[found, slot], 0.0)
            if share.max(initial=0.0) > 0:
                kept = _kept_joint(avatar, avatar.joint_names[joint])
                weights[kept] = weights.get(kept, 0.0) + share
    return weights


def _kept_joint(avatar: Avatar, joint: str) -> str:
    """``joint`` or its nearest ancestor that is kept; the hips where there is none."""
    for _ in range(len(avatar.parents) + 1):
        if joint in JOINTS:
            return joint
        joint = avatar.parents.get(joint, JOINTS[0])
    return JOINTS[0]


def pose_head(
    head: Head, rotations: Mapping[str, Float64[np.ndarray, "3 3"]], morphs: Mapping[str, float]
) -> PosedHead:
    """Linear blend skinning after the morphs.

    Args:
        head: The person.
        rotations: Joint → rotation about itself.
        morphs: Name → weight; names that a part lacks leave it as it is.
    """
    transforms = _transforms(head, rotations)
    positions = {name: _skinned(part, transforms, morphs) for name, part in head.parts.items()}
    if head.wig is not None:
        positions[WIG] = _skinned(head.wig.part, transforms, morphs)
    return PosedHead(positions=positions, transforms=transforms)


def _skinned(part: HeadPart, transforms: Mapping[str, np.ndarray], morphs: Mapping[str, float]) -> np.ndarray:
    """One part's vertices in this frame."""
    moved = part.positions
    if part.morphs:
        moved = moved.copy()
        for key, weight in morphs.items():
            if abs(weight) > _NEGLIGIBLE and key in part.morphs:
                moved += weight * part.morphs[key]
    skinned = np.zeros_like(moved)
    for joint, share in part.weights.items():
        matrix = transforms[joint]
        skinned += share[:, None] * (moved @ matrix[:3, :3].T + matrix[:3, 3])
    return skinned


def _transforms(head: Head, rotations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Bind pose to this frame, joint by joint from the root on."""
    found: dict[str, np.ndarray] = {}

    def moved(joint: str | None) -> np.ndarray:
        if joint is None or joint not in head.joints:
            return np.eye(4)
        if joint not in found:
            local = np.eye(4)
            if (rotation := rotations.get(joint)) is not None:
                pivot = head.joints[joint]
                local[:3, :3] = rotation
                local[:3, 3] = pivot - rotation @ pivot
            found[joint] = moved(head.parents[joint]) @ local
        return found[joint]

    return {joint: moved(joint) for joint in head.joints}
