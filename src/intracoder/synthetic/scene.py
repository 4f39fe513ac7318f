"""One scene in Blender: light, camera, a head, perhaps something before it; frames out of it. Needs ``bpy``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import bpy
import numpy as np
from jaxtyping import Float32, Float64
from mathutils import Vector

from intracoder.errors import ConfigError
from intracoder.records import Mask
from intracoder.synthetic.avatar import BODY, WIG
from intracoder.synthetic.camera import SENSOR_MM, Camera, to_scene
from intracoder.synthetic.exr import read_channels
from intracoder.synthetic.head import Head, PosedHead
from intracoder.synthetic.lights import Light
from intracoder.synthetic.materials import FACE, head_material, plain_material, texture
from intracoder.synthetic.occluder import Solid
from intracoder.synthetic.quality import Quality
from intracoder.synthetic.silence import quiet
from intracoder.synthetic.topology import Topology

_AIM: Final = (0.0, 0.0, 0.15)
"""Where area lights look, scene axes: between chin and nose."""


class Scene:
    """Blender's scene for one light, one camera and one head after the other.

    Blender has one scene a process: making another ``Scene`` empties the last.
    """

    def __init__(self, light: Light, camera: Camera, quality: Quality) -> None:
        self._parts: dict[str, Any] = {}
        self._solid: Any = None
        with quiet():
            bpy.ops.wm.read_factory_settings(use_empty=True)
            bpy.ops.preferences.addon_enable(module="cycles")
            self._scene = bpy.context.scene
            _set_quality(self._scene, quality)
            _set_light(self._scene, light, quality.light_map_px)
            _set_camera(self._scene, camera)

    def put_head(self, topology: Topology, head: Head, weights: Float64[np.ndarray, "v"]) -> None:
        """Puts a person into the scene; ``weights`` say how much of each body vertex is inner face."""
        self._clear_head()
        color, normal = texture("color", head.color, "sRGB"), texture("normal", head.normal, "Non-Color")
        materials = {
            "skin": head_material("skin", color, normal),
            "eye": head_material("eye", color),
            "wet": head_material("wet", color),
        }
        for name, part in topology.parts.items():
            mesh = _mesh(name, head.parts[name].positions, part.triangles, part.uv)
            if name == BODY:
                attribute = mesh.attributes.new(FACE, "FLOAT", "POINT")
                attribute.data.foreach_set("value", weights.astype(np.float32))
            mesh.materials.append(materials["skin" if name == BODY else "eye" if "eye" in name else "wet"])
            self._parts[name] = _object(self._scene, name, mesh)
        if head.wig is not None:
            mesh = _mesh(WIG, head.wig.part.positions, head.wig.triangles, head.wig.uv)
            mesh.materials.append(head_material("hair", texture("color", head.wig.color, "sRGB")))
            self._parts[WIG] = _object(self._scene, WIG, mesh)

    def _clear_head(self) -> None:
        """Takes the last person out; pictures stay until the next scene.

        Cycles knows a picture by its address, and would take a new one at the place of a removed one for the old.
        """
        for part in self._parts.values():
            bpy.data.meshes.remove(part.data)  # takes the object along
        self._parts = {}

    def put_solid(self, solid: Solid) -> None:
        """Puts a thing into the scene that can pass before the face."""
        mesh = _mesh("solid", solid.positions, solid.triangles)
        mesh.materials.append(plain_material("solid", solid.color, solid.roughness))
        self._solid = _object(self._scene, "solid", mesh)

    def render(
        self, posed: PosedHead, solid_positions: Float64[np.ndarray, "v 3"] | None = None
    ) -> tuple[Float32[np.ndarray, "h w 3"], Mask]:
        """One frame: linear radiance, and how much of each pixel is inner face, 0..1."""
        for name, part in self._parts.items():
            _move(part, posed.positions[name])
        if self._solid is not None and solid_positions is not None:
            _move(self._solid, solid_positions)
        with tempfile.TemporaryDirectory(prefix="intracoder-") as folder:
            path = Path(folder) / "frame.exr"
            self._scene.render.filepath = str(path)
            with quiet():
                bpy.ops.render.render(write_still=True)
            planes = read_channels(path)
        rgb = np.stack([_plane(planes, f"Combined.{letter}") for letter in "RGB"], -1)
        mask = np.clip(next(plane for name, plane in planes.items() if FACE in name), 0, 1)
        return rgb, np.ascontiguousarray(mask, dtype=np.float32)


def _plane(planes: dict[str, Float32[np.ndarray, "h w"]], ending: str) -> Float32[np.ndarray, "h w"]:
    return next(plane for name, plane in planes.items() if name.endswith(ending))


def _set_quality(scene: Any, quality: Quality) -> None:
    """Cycles on the CPU, with everything off that doesn't show."""
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples, cycles.use_adaptive_sampling = quality.samples, False
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.denoising_prefilter = "FAST"
    cycles.max_bounces, cycles.diffuse_bounces = quality.bounces, quality.diffuse_bounces
    cycles.glossy_bounces, cycles.transmission_bounces = quality.glossy_bounces, 0
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect = 4
    cycles.seed = 7
    render = scene.render
    render.use_persistent_data = True
    render.resolution_x = render.resolution_y = quality.size_px
    render.threads_mode = "FIXED" if quality.threads else "AUTO"
    if quality.threads:
        render.threads = quality.threads
    output = render.image_settings
    output.media_type = "MULTI_LAYER_IMAGE"  # comes before the format
    output.file_format = "OPEN_EXR_MULTILAYER"
    output.color_depth, output.exr_codec = "16", "NONE"
    output.use_exr_interleave = True  # all channels in one part
    channel = scene.view_layers[0].aovs.add()
    channel.name, channel.type = FACE, "VALUE"


def _set_light(scene: Any, light: Light, map_px: int) -> None:
    """The environment and the area lights."""
    world = bpy.data.worlds.new("world")
    scene.world = world
    world.use_nodes = True
    if map_px:
        world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", map_px
    nodes, link = world.node_tree.nodes, world.node_tree.links.new
    background = next(node for node in nodes if node.type == "BACKGROUND")
    environment, mapping = nodes.new("ShaderNodeTexEnvironment"), nodes.new("ShaderNodeMapping")
    coordinates = nodes.new("ShaderNodeTexCoord")
    environment.image = bpy.data.images.load(str(_environment(light.hdri)))
    link(coordinates.outputs["Generated"], mapping.inputs[0])
    link(mapping.outputs[0], environment.inputs[0])
    link(environment.outputs[0], background.inputs[0])
    mapping.inputs["Rotation"].default_value[2] = np.radians(light.rotation_deg)
    background.inputs["Strength"].default_value = light.strength
    for area in light.areas:
        lamp = bpy.data.lights.new("area", "AREA")
        lamp.energy, lamp.size, lamp.color = area.power_w, area.size_m, area.color
        holder = _object(scene, "area", lamp)
        _aim(holder, area.position, _AIM)


def _environment(name: str) -> Path:
    """An HDRI among Blender's own."""
    folder = Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world"
    path = folder / f"{name}.exr"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in folder.glob("*.exr")))
        raise ConfigError(f"light.hdri: expected one of {known or 'the HDRIs of the bpy wheel'}, got {name!r}")
    return path


def _set_camera(scene: Any, camera: Camera) -> None:
    lens = bpy.data.cameras.new("camera")
    lens.lens, lens.sensor_width = camera.lens_mm, SENSOR_MM
    holder = _object(scene, "camera", lens)
    _aim(holder, camera.position, camera.target)
    scene.camera = holder


def _aim(holder: Any, position: tuple[float, float, float], target: tuple[float, float, float]) -> None:
    """Places a light or a camera, its -z at the target."""
    holder.location = position
    holder.rotation_euler = (Vector(target) - Vector(position)).to_track_quat("-Z", "Y").to_euler()


def _object(scene: Any, name: str, data: Any) -> Any:
    made = bpy.data.objects.new(name, data)
    scene.collection.objects.link(made)
    return made


def _mesh(name: str, positions: np.ndarray, triangles: np.ndarray, uv: np.ndarray | None = None) -> Any:
    """A smooth mesh from head axes; ``uv`` per corner, v down."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(to_scene(positions).tolist(), [], triangles.tolist())
    mesh.polygons.foreach_set("use_smooth", np.ones(len(triangles), bool))
    if uv is not None:
        corners = uv.copy()
        corners[..., 1] = 1 - corners[..., 1]
        mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", corners.astype(np.float32).ravel())
    return mesh


def _move(part: Any, positions: Float64[np.ndarray, "v 3"]) -> None:
    part.data.vertices.foreach_set("co", to_scene(positions).astype(np.float32).ravel())
    part.data.update()
