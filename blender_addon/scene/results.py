# SPDX-License-Identifier: GPL-3.0-or-later
"""The object that a result is: made over its source, filled, found again, finished, or removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix

from ..engine.request import RunSettings
from . import finishing, mesh_bridge
from .mesh_bridge import Surface

COLLECTION = "FlashMesh"
SUFFIX = "_flashmesh"
_NAME_BYTES = (255 if bpy.app.version >= (5, 0) else 63) - len(SUFFIX) - 4  # of a source's name, with room for ".001"


@dataclass(frozen=True)
class Key:
    """By what an object is found again: a reference to it would not outlive an undo."""

    name: str
    uid: int  # session id, which stays when it is renamed


def key_of(obj: bpy.types.Object) -> Key:
    """The key of an object."""
    return Key(obj.name, obj.session_uid)


def find(key: Key) -> bpy.types.Object | None:
    """The object, or None where it is gone or in no scene any more."""
    obj = bpy.data.objects.get(key.name)
    if obj is None or obj.session_uid != key.uid:
        obj = next((item for item in bpy.data.objects if item.session_uid == key.uid), None)
    return obj if obj is not None and obj.users_scene else None


def selected_ids(context: bpy.types.Context) -> frozenset[int]:
    """The session ids of the selected objects."""
    return frozenset(item.session_uid for item in context.view_layer.objects if item.select_get())


def select_results(context: bpy.types.Context, made: Sequence[Key], before: frozenset[int]) -> None:
    """Makes the results the selection, the first one active, unless the artist has selected something else meanwhile.

    `before` are the session ids of what was selected when the run began.
    """
    shown = context.view_layer.objects
    results = [item for key in made if (item := find(key)) is not None and shown.get(item.name) == item]
    if not results or context.mode != "OBJECT" or not selected_ids(context) <= before | {key.uid for key in made}:
        return
    for item in shown:
        if item.select_get() != (item in results):
            item.select_set(item in results)
    shown.active = results[0]


class Placement:
    """Where the result of one source goes, and the object once there is one."""

    def __init__(self, source: Key, surface: Surface) -> None:
        self.source, self.surface = source, surface
        self._key: Key | None = None
        # The source's own transform, so that both have one origin; what no object can have as its transform (shear
        # from its parents) goes into the mesh, as does a scale of 0.
        matrix = Matrix.LocRotScale(*Matrix(surface.matrix).decompose())
        inverse = mesh_bridge.usable_inverse(np.array(matrix))
        self.matrix = np.eye(4) if inverse is None else np.array(matrix, dtype=np.float64)
        self._inverse = np.eye(4) if inverse is None else inverse

    @property
    def made(self) -> bool:
        """Whether the object was made, whatever happened to it since."""
        return self._key is not None

    def result(self) -> bpy.types.Object | None:
        """The object, if it is there."""
        return None if self._key is None else find(self._key)

    def put(self, context: bpy.types.Context, vertices: np.ndarray, faces: np.ndarray) -> None:
        """Fills the object with world-space `vertices` (V, 3) and `faces` (F, 3); makes it the first time."""
        obj = self.result()
        if obj is None:
            if self.made:
                return  # deleted: the next tick sees that
            obj = self._make(context)
        local, faces = mesh_bridge.transform_triangles(vertices, faces, self._inverse)
        mesh_bridge.set_triangles(obj.data, local, faces)

    def empty(self) -> None:
        """Takes the faces out, for a new start."""
        obj = self.result()
        if obj is not None:
            obj.data.clear_geometry()

    def complete(self, context: bpy.types.Context, settings: RunSettings) -> str:
        """Gives the result what its source has; what could not be done, or ''."""
        obj, problem = self.result(), ""
        if obj is not None:
            obj.show_wire = False
        if obj is None or obj.mode != "OBJECT":
            return problem  # in edit mode its mesh is not ours to change
        finishing.finish_mesh(obj, self.matrix, self.surface, settings)
        source = find(self.source)
        obj.show_in_front = source is not None and len(self.surface.faces) > 0
        if source is None or context.mode != "OBJECT" or context.view_layer.objects.get(source.name) != source:
            return problem
        if settings.transfer_uvs:
            problem = finishing.transfer_uvs(context, source, obj)
        if settings.hide_source:
            source.hide_set(True)
            obj.show_in_front = False
        return problem

    def remove(self) -> None:
        """Takes the object away, with its mesh, and its collection if nothing else is in it."""
        obj = self.result()
        if obj is None or obj.mode != "OBJECT":
            return
        mesh, collections = obj.data, obj.users_collection
        bpy.data.objects.remove(obj)
        if not mesh.users:
            bpy.data.meshes.remove(mesh)
        for collection in collections:
            if collection.name.startswith(COLLECTION) and not collection.all_objects and not collection.children:
                bpy.data.collections.remove(collection)

    def _make(self, context: bpy.types.Context) -> bpy.types.Object:
        stem = self.source.name.encode("utf-8")[:_NAME_BYTES].decode("utf-8", "ignore")
        mesh = bpy.data.meshes.new(stem + SUFFIX)
        obj = bpy.data.objects.new(stem + SUFFIX, mesh)
        obj.matrix_world = Matrix(self.matrix)
        obj.show_in_front = obj.show_wire = True  # the source, which it lies in, would cover it, or flicker through it
        _collection(context.scene).objects.link(obj)
        space = context.space_data
        if space is not None and space.type == "VIEW_3D" and space.local_view is not None:
            obj.local_view_set(space, True)
        self._key = key_of(obj)
        return obj


def _collection(scene: bpy.types.Scene) -> bpy.types.Collection:
    """The scene's collection for results, made if there is none."""
    for child in scene.collection.children_recursive:
        if child.name == COLLECTION or child.name.startswith(f"{COLLECTION}."):
            return child
    made = bpy.data.collections.new(COLLECTION)
    scene.collection.children.link(made)
    return made
