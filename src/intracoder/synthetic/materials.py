"""Shaders of the rendered head: skin, eyes, wet parts, and things before the face.

Every one writes the output channel ``face``: how much of the picture there is inner face. Needs Blender's ``bpy``.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import bpy
import numpy as np

from intracoder.records import Image

FACE: Final = "face"
"""Name of the vertex attribute and of the output channel."""
Kind = Literal["skin", "eye", "wet", "hair"]


def texture(name: str, pixels: Image, color_space: str) -> Any:
    """A Blender image of ``pixels``."""
    height, width = pixels.shape[:2]
    image = bpy.data.images.new(name, width, height, alpha=False)
    image.colorspace_settings.name = color_space
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = pixels[::-1] / np.float32(255)
    image.pixels.foreach_set(rgba.ravel())
    image.update()
    return image


def head_material(kind: Kind, color: Any, normal: Any = None) -> Any:
    """One of the head's materials; only skin has a normal texture."""
    material, tree, surface = _principled(kind)
    picture = tree.nodes.new("ShaderNodeTexImage")
    picture.image = color
    tree.links.new(picture.outputs[0], surface.inputs["Base Color"])
    if kind == "skin":
        _skin(tree, surface, normal)
    elif kind == "eye":
        surface.inputs["Roughness"].default_value = 0.25
        surface.inputs["Coat Weight"].default_value = 0.45
        surface.inputs["Coat Roughness"].default_value = 0.05
    elif kind == "hair":
        surface.inputs["Roughness"].default_value = 0.55
        surface.inputs["Specular IOR Level"].default_value = 0.2
    else:
        surface.inputs["Roughness"].default_value = 0.2
        surface.inputs["Subsurface Weight"].default_value = 0.05
        surface.inputs["Subsurface Scale"].default_value = 0.003
    _face_output(tree, {"skin": None, "hair": 0.0}.get(kind, 1.0))
    return material


def plain_material(name: str, color: tuple[float, float, float], roughness: float) -> Any:
    """A matt or shiny thing that is not face; ``color`` is linear."""
    material, tree, surface = _principled(name)
    surface.inputs["Base Color"].default_value = (*color, 1.0)
    surface.inputs["Roughness"].default_value = roughness
    _face_output(tree, 0.0)
    return material


def _principled(name: str) -> tuple[Any, Any, Any]:
    """A new material, its nodes and its surface shader."""
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    return material, tree, next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")


def _face_attribute(tree: Any) -> Any:
    """Socket with the vertex weight of the inner face."""
    attribute = tree.nodes.new("ShaderNodeAttribute")
    attribute.attribute_name = FACE
    return attribute.outputs["Fac"]


def _face_output(tree: Any, value: float | None) -> None:
    """Writes the channel ``face``: a constant, or the vertex weight for None."""
    output = tree.nodes.new("ShaderNodeOutputAOV")
    output.aov_name = FACE
    if value is None:
        tree.links.new(_face_attribute(tree), output.inputs["Value"])
    else:
        output.inputs["Value"].default_value = value


def _skin(tree: Any, surface: Any, normal: Any) -> None:
    """Light goes into skin, and skin shines a little more than hair and cloth, which share the material."""
    nodes, link = tree.nodes, tree.links.new
    surface.inputs["Roughness"].default_value = 0.47
    shine = nodes.new("ShaderNodeMapRange")
    shine.inputs["To Min"].default_value, shine.inputs["To Max"].default_value = 0.14, 0.42
    link(_face_attribute(tree), shine.inputs["Value"])
    link(shine.outputs[0], surface.inputs["Specular IOR Level"])
    surface.inputs["Subsurface Weight"].default_value = 0.18
    surface.inputs["Subsurface Radius"].default_value = (1.0, 0.36, 0.18)
    surface.inputs["Subsurface Scale"].default_value = 0.0045
    picture = nodes.new("ShaderNodeTexImage")
    picture.image = normal
    relief = nodes.new("ShaderNodeNormalMap")
    relief.inputs["Strength"].default_value = 0.9
    link(picture.outputs[0], relief.inputs["Color"])
    pores = nodes.new("ShaderNodeTexNoise")
    pores.inputs["Scale"].default_value = 420
    coordinates = nodes.new("ShaderNodeUVMap")
    link(coordinates.outputs[0], pores.inputs["Vector"])
    bump = nodes.new("ShaderNodeBump")
    bump.inputs["Strength"].default_value = 0.12
    bump.inputs["Distance"].default_value = 0.001
    link(pores.outputs[0], bump.inputs["Height"])
    link(relief.outputs[0], bump.inputs["Normal"])
    link(bump.outputs[0], surface.inputs["Normal"])
