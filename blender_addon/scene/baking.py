# SPDX-License-Identifier: GPL-3.0-or-later
"""Normals and colors of a source as images on its result: Blender's own bake (Cycles, selected to active)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import bpy
import numpy as np

from . import uv_maps

NORMALS, COLORS = "NORMAL", "DIFFUSE"  # as Blender names the bakes
SUFFIXES = {NORMALS: "_normals", COLORS: "_colors"}
WORDS = {NORMALS: "Baking normals", COLORS: "Baking colors"}
SAMPLES = {NORMALS: 4, COLORS: 1}
REACH = 0.04  # of the source's size: how far from the result its surface is looked for, at least
MARGIN = 8  # pixels that colors are spread beyond the borders of the map
_UNCOLORED = "flashmesh colors"  # the material that shows a color attribute, for as long as that is baked


@dataclass
class Bake:
    """One bake of a result: `begin`, then `bake_next` for each of `kinds`, then `finish`, whatever happened."""

    result: bpy.types.Object
    source: bpy.types.Object
    size: int  # pixels a side
    kinds: tuple[str, ...] = ()
    reach: float = REACH  # of the source's size
    done: int = 0
    images: dict[str, bpy.types.Image] = field(default_factory=dict)
    _before: list[tuple[Any, str, Any]] = field(default_factory=list)
    _selected: list[bpy.types.Object] = field(default_factory=list)

    def begin(self, context: bpy.types.Context) -> None:
        """Makes images, material and, where there is none, a UV map; sets Blender up. Raises ValueError."""
        if self.source.type != "MESH" or not self.source.data.polygons:
            raise ValueError(
                f"source {self.source.name!r} must be a mesh with faces to bake from, got {self.source.type}"
            )
        if not self.result.data.uv_layers:
            uv_maps.unwrap(context, self.result)
            uv_maps.mark_seams(self.result.data)
        self.kinds = (NORMALS, COLORS) if _has_colors(self.source) else (NORMALS,)
        for kind in self.kinds:
            self.images[kind] = _image(self.result.name + SUFFIXES[kind], self.size, kind)
        self._material = _material(self.result, self.images)
        self._set_up(context)

    def options(self) -> dict[str, Any]:
        """The arguments of bpy.ops.object.bake for the bake that is next, whose image is made the target."""
        kind = self.kinds[self.done]
        nodes = self._material.node_tree.nodes
        nodes.active = next(node for node in nodes if getattr(node, "image", None) == self.images[kind])
        self._scene.cycles.samples = SAMPLES[kind]
        size = max(max(self.source.dimensions), 1e-6)
        return {
            "type": kind, "pass_filter": {"COLOR"}, "margin": MARGIN, "use_selected_to_active": True,
            "cage_extrusion": self.reach * size, "max_ray_distance": 2.0 * self.reach * size,
            "width": self.size, "height": self.size, "use_clear": True,
        }  # fmt: skip

    def finish(self, context: bpy.types.Context) -> None:
        """Puts everything back as it was, and shows the images on the result as far as they are baked."""
        for owner, name, value in reversed(self._before):
            setattr(owner, name, value)
        self._before.clear()
        for item in context.selected_objects:
            item.select_set(False)
        for item in self._selected:
            item.select_set(True)
        spare = bpy.data.materials.get(_UNCOLORED)
        if spare is not None:
            self.source.data.materials.pop(index=len(self.source.data.materials) - 1)
            bpy.data.materials.remove(spare)
        _connect(self._material, {kind: self.images[kind] for kind in self.kinds[: self.done]})
        for kind in self.kinds[: self.done]:
            self.images[kind].pack()

    def _set_up(self, context: bpy.types.Context) -> None:
        self._scene, layer = context.scene, context.view_layer.objects
        self._selected = list(context.selected_objects)
        self._keep(layer, "active")
        self._keep(self._scene.render, "engine")
        self._scene.render.engine = "CYCLES"
        for name in ("samples", "use_denoising", "device"):
            self._keep(self._scene.cycles, name)
        self._scene.cycles.use_denoising, self._scene.cycles.device = False, "CPU"
        for item in (self.source, self.result):
            for name in ("hide_render", "hide_viewport"):
                self._keep(item, name)
                setattr(item, name, False)
            if item.hide_get():
                self._before.append((_Hidden(item), "hidden", True))
                item.hide_set(False)
        if not _materials(self.source) and COLORS in self.kinds:
            self.source.data.materials.append(_attribute_material(self.source.data.color_attributes.active_color.name))
        for item in context.selected_objects:
            item.select_set(False)
        for item in (self.source, self.result):
            item.select_set(True)
        layer.active = self.result

    def _keep(self, owner: Any, name: str) -> None:
        self._before.append((owner, name, getattr(owner, name)))


active: Bake | None = None  # that goes on


@contextmanager
def baking(context: bpy.types.Context, bake: Bake) -> Iterator[Bake]:
    """A bake that is finished whatever happens."""
    try:
        bake.begin(context)
        yield bake
    finally:
        bake.finish(context)


class _Hidden:
    """Lets `hide_set` be undone as an attribute."""

    def __init__(self, obj: bpy.types.Object) -> None:
        object.__setattr__(self, "_obj", obj)

    def __setattr__(self, name: str, value: bool) -> None:
        self._obj.hide_set(value)


def _materials(obj: bpy.types.Object) -> list[bpy.types.Material]:
    return [slot.material for slot in obj.material_slots if slot.material is not None]


def _has_colors(obj: bpy.types.Object) -> bool:
    """Whether an object has materials or a color attribute."""
    return bool(_materials(obj)) or obj.data.color_attributes.active_color is not None


def _image(name: str, size: int, kind: str) -> bpy.types.Image:
    """A new image; one of the same name that was made before is replaced."""
    old = bpy.data.images.get(name)
    if old is not None:
        bpy.data.images.remove(old)
    image = bpy.data.images.new(name, size, size)
    if kind == NORMALS:
        image.colorspace_settings.name = "Non-Color"
    return image


def _material(result: bpy.types.Object, images: dict[str, bpy.types.Image]) -> bpy.types.Material:
    """The result's only material: an image node for each image, not yet connected."""
    name = f"{result.name}_baked"
    material = bpy.data.materials.get(name) or bpy.data.materials.new(name)
    material.use_nodes = True
    nodes = material.node_tree.nodes
    for node in [node for node in nodes if node.type in ("TEX_IMAGE", "NORMAL_MAP")]:
        nodes.remove(node)
    for row, image in enumerate(images.values()):
        node = nodes.new("ShaderNodeTexImage")
        node.image, node.location = image, (-700, 300 - 350 * row)
    mesh = result.data
    mesh.materials.clear()
    mesh.materials.append(material)
    mesh.polygons.foreach_set("material_index", np.zeros(len(mesh.polygons), dtype=np.int32))
    return material


def _connect(material: bpy.types.Material, images: dict[str, bpy.types.Image]) -> None:
    """Shows baked images: colors as base color, normals through a normal map."""
    tree = material.node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    for kind, image in images.items():
        node = next(node for node in tree.nodes if getattr(node, "image", None) == image)
        if kind == COLORS:
            tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
            continue
        bump = tree.nodes.new("ShaderNodeNormalMap")
        bump.location = (-300, -100)
        tree.links.new(node.outputs["Color"], bump.inputs["Color"])
        tree.links.new(bump.outputs["Normal"], shader.inputs["Normal"])


def _attribute_material(name: str) -> bpy.types.Material:
    """A material that shows a color attribute."""
    material = bpy.data.materials.new(_UNCOLORED)
    material.use_nodes = True
    tree = material.node_tree
    node = tree.nodes.new("ShaderNodeVertexColor")
    node.layer_name = name
    shader = next(item for item in tree.nodes if item.type == "BSDF_PRINCIPLED")
    tree.links.new(node.outputs["Color"], shader.inputs["Base Color"])
    return material
