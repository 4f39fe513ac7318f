"""One VALID avatar as arrays: meshes in the bind pose, joints, expression morphs, textures.

Source: Do et al., "VALID: a perceptually validated virtual avatar library for inclusion and diversity", 2023 (MIT).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int64

from intracoder.errors import MediaError
from intracoder.records import Image
from intracoder.synthetic.glb import Glb

BODY: Final = "H_DDS_HighRes"
"""The part with head, hair, neck and clothes."""
PARTS: Final = (BODY, "h_L_eye", "h_R_eye", "h_L_gland", "h_R_gland", "h_TeethDown", "h_TeethUp")
"""What is rendered, by the names in the files; left and right are the avatar's own."""
WIG: Final = "h_wig"
"""Hair as a mesh and a texture of its own, which some have; each has another one."""
_TEXTURE_SIDES: Final = (64, 4096)
_NODES_DEEP: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mesh:
    """One part, metres, y up, facing +z."""

    positions: Float64[np.ndarray, "v 3"]
    uv: Float64[np.ndarray, "v 2"]
    """0..1, v down."""
    joints: Int64[np.ndarray, "v 4"]
    """Indices into ``Avatar.joint_names``."""
    weights: Float64[np.ndarray, "v 4"]
    triangles: Int64[np.ndarray, "t 3"]
    morphs: Mapping[str, Float32[np.ndarray, "v 3"]]
    """Name → displacement at weight 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Avatar:
    """Everything that is used of one file."""

    meshes: Mapping[str, Mesh]
    joint_names: tuple[str, ...]
    joint_positions: Mapping[str, Float64[np.ndarray, "3"]]
    parents: Mapping[str, str]
    """Node name → its parent's."""
    color: Image
    normal: Image
    wig: Mesh | None = None
    wig_color: Image | None = None


def load_avatar(path: Path) -> Avatar:
    """Reads a VALID avatar.

    Raises:
        MediaError: The file is missing, no GLB, damaged, or not laid out as a VALID avatar is.
    """
    return _Reader(Glb(path)).avatar()


class _Reader:
    """Walks one file."""

    def __init__(self, glb: Glb) -> None:
        self._glb = glb
        self._nodes = glb.table("nodes")
        self._up: dict[int, int] = {}
        for index, node in enumerate(self._nodes):
            children = node.get("children", [])
            if not isinstance(children, list):
                raise glb.fail(f"children of node {index} are {children!r}")
            self._up.update({child: index for child in children if isinstance(child, int)})
        self._world: dict[int, np.ndarray] = {}

    def avatar(self) -> Avatar:
        """The whole."""
        glb = self._glb
        joints = self._skin_joints(glb.entry("skins", 0))
        names = tuple(self._name(j) for j in joints)
        meshes: dict[str, Mesh] = {}
        materials: dict[str, object] = {}
        for node in self._nodes:
            if "mesh" in node:
                mesh = glb.entry("meshes", node["mesh"])
                if (name := glb.text(mesh, "name")) in (*PARTS, WIG):
                    skin = glb.entry("skins", node.get("skin"))
                    if self._skin_joints(skin) != joints:
                        raise glb.fail(f"mesh {name} has a skeleton of its own")
                    primitive = self._primitive(mesh)
                    meshes[name] = self._mesh(mesh, primitive, skin, joints)
                    materials[name] = primitive.get("material")
        if missing := [name for name in PARTS if name not in meshes]:
            raise MediaError(f"{glb.path}: expected a VALID avatar with the mesh {missing[0]}, found none of that name")
        color, normal = self._textures(materials[BODY])
        wig = meshes.pop(WIG, None)
        return Avatar(
            meshes=meshes,
            joint_names=names,
            joint_positions={name: self._node_world(j)[:3, 3].copy() for name, j in zip(names, joints, strict=True)},
            parents={self._name(child): self._name(parent) for child, parent in self._up.items()},
            color=color,
            normal=normal,
            wig=wig,
            wig_color=None if wig is None else self._texture(self._base_color(materials[WIG])),
        )

    def _name(self, node: int) -> str:
        return self._glb.text(self._glb.entry("nodes", node), "name", "")

    def _skin_joints(self, skin: Mapping[str, Any]) -> list[int]:
        joints = self._glb.entries(skin, "joints")
        for joint in joints:
            self._glb.entry("nodes", joint)
        return joints

    def _node_world(self, node: int, depth: int = 0) -> np.ndarray:
        """Node to world, 4x4."""
        if depth > _NODES_DEEP:
            raise self._glb.fail("its nodes are nested without end")
        if node not in self._world:
            local = self._local(self._glb.entry("nodes", node))
            parent = self._up.get(node)
            self._world[node] = local if parent is None else self._node_world(parent, depth + 1) @ local
        return self._world[node]

    def _local(self, node: Mapping[str, Any]) -> np.ndarray:
        """Node to parent, 4x4."""
        glb = self._glb
        if "matrix" in node:
            return np.array(glb.numbers(node, "matrix", [0.0] * 16)).reshape(4, 4).T
        x, y, z, w = glb.numbers(node, "rotation", (0.0, 0.0, 0.0, 1.0))
        rotation = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        local = np.eye(4)
        local[:3, :3] = rotation * np.array(glb.numbers(node, "scale", (1.0, 1.0, 1.0)))
        local[:3, 3] = glb.numbers(node, "translation", (0.0, 0.0, 0.0))
        return local

    def _primitive(self, mesh: Mapping[str, Any]) -> dict[str, Any]:
        """A mesh's only primitive."""
        primitives = self._glb.entries(mesh, "primitives")
        if len(primitives) != 1 or not isinstance(primitives[0], dict):
            raise self._glb.fail(f"mesh {mesh.get('name')} has {len(primitives)} primitives, expected one")
        return primitives[0]

    def _mesh(
        self, mesh: Mapping[str, Any], primitive: Mapping[str, Any], skin: Mapping[str, Any], joints: list[int]
    ) -> Mesh:
        """One part in the bind pose; the bind matrices also undo the quantisation of the positions."""
        glb = self._glb
        attributes = glb.group(primitive, "attributes")
        position = self._rows(attributes.get("POSITION"), 3)
        count = len(position)
        joint = self._rows(attributes.get("JOINTS_0"), 4, count).astype(np.int64)
        weight = self._rows(attributes.get("WEIGHTS_0"), 4, count)
        triangles = glb.accessor(primitive.get("indices")).reshape(-1)
        if len(triangles) % 3 or triangles.max(initial=0) >= count or joint.max() >= len(joints) or joint.min() < 0:
            raise glb.fail(f"mesh {mesh.get('name')} points to vertices or joints that it doesn't have")
        weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-9)
        inverse = self._rows(skin.get("inverseBindMatrices"), 16, len(joints)).reshape(-1, 4, 4).transpose(0, 2, 1)
        bind = np.stack([self._node_world(j) @ matrix for j, matrix in zip(joints, inverse, strict=True)])
        # every vertex of a part mostly has the same one, up to rounding
        matrix = np.einsum("nk,nkij->nij", weight, bind[joint])
        linear, offset = matrix[:, :3, :3], matrix[:, :3, 3]
        return Mesh(
            positions=np.einsum("nij,nj->ni", linear, position) + offset,
            uv=self._rows(attributes.get("TEXCOORD_0"), 2, count),
            joints=joint,
            weights=weight,
            triangles=triangles.reshape(-1, 3).astype(np.int64),
            morphs=self._morphs(mesh, primitive, linear),
        )

    def _morphs(
        self, mesh: Mapping[str, Any], primitive: Mapping[str, Any], linear: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Expression displacements by their short names."""
        extras = mesh.get("extras")
        names = extras.get("targetNames", []) if isinstance(extras, dict) else []
        targets = primitive.get("targets", [])
        if not isinstance(names, list) or not isinstance(targets, list) or len(names) != len(targets):
            raise self._glb.fail(f"mesh {mesh.get('name')} has morphs without names")
        morphs = {}
        for name, target in zip(names, targets, strict=True):
            if not isinstance(target, dict):
                raise self._glb.fail(f"morph {name!r} is {target!r}")
            moved = self._rows(target.get("POSITION"), 3, len(linear))
            short = str(name).rpartition(".")[2].removesuffix("_h").removeprefix("t_")
            morphs[short] = np.einsum("nij,nj->ni", linear, moved).astype(np.float32)
        return morphs

    def _rows(self, index: object, width: int, count: int | None = None) -> np.ndarray:
        """An accessor as float64 rows of a known width and number."""
        values = self._glb.accessor(index)
        if values.ndim != 2 or values.shape[1] != width or (count is not None and len(values) != count):
            raise self._glb.fail(f"accessor {index} has shape {values.shape}, expected {count or 'any'} x {width}")
        return values.astype(np.float64)

    def _textures(self, material: object) -> tuple[Image, Image]:
        """Colour and normal map of a material."""
        entry = self._glb.entry("materials", material)
        normal = self._texture(self._glb.group(entry, "normalTexture").get("index"))
        color = self._texture(self._base_color(material))
        if color.shape != normal.shape or color.shape[0] != color.shape[1]:
            raise self._glb.fail("expected a colour and a normal texture, square and of one size")
        return color, normal

    def _base_color(self, material: object) -> object:
        """Number of a material's colour texture."""
        entry = self._glb.entry("materials", material)
        surface = self._glb.group(entry, "pbrMetallicRoughness")
        return self._glb.group(surface, "baseColorTexture").get("index")

    def _texture(self, index: object) -> Image:
        """A texture as RGB; in WebP files the extension names the image."""
        entry = self._glb.entry("textures", index)
        extensions = entry.get("extensions", {})
        webp = extensions.get("EXT_texture_webp", {}) if isinstance(extensions, dict) else {}
        source = webp.get("source", entry.get("source")) if isinstance(webp, dict) else None
        data, _ = self._glb.view(self._glb.entry("images", source).get("bufferView"))
        return self._picture(data)

    def _picture(self, data: bytes) -> Image:
        """A texture as RGB."""
        try:
            decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error as error:
            raise self._glb.fail("a texture can't be decoded") from error
        low, high = _TEXTURE_SIDES
        if decoded is None or not all(low <= side <= high for side in decoded.shape[:2]):
            raise self._glb.fail(f"a texture can't be decoded, or has a side outside {low}..{high} pixels")
        return np.ascontiguousarray(decoded[:, :, ::-1], dtype=np.uint8)
