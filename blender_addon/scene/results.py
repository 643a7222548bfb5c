# SPDX-License-Identifier: GPL-3.0-or-later
"""The object that a result is: made over its source, filled, found again, finished, or removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix

from ..engine.request import RunSettings
from ..translations import tr
from . import finishing, mesh_bridge, variants
from .hard_edges import HardEdges
from .mesh_bridge import Surface
from .patches import Patch, Welded
from .quad_plan import QuadPlan

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


@dataclass(frozen=True)
class Earlier:
    """A result of the same source that was there before, and how."""

    key: Key
    selected: bool
    active: bool


class Placement:
    """Where the result of one source goes, and the object once there is one."""

    def __init__(
        self, source: Key, surface: Surface, hard: HardEdges | None = None, patch: Patch | None = None
    ) -> None:
        self.source, self.surface, self.hard, self.patch = source, surface, hard, patch
        self.welded: Welded | None = None  # once a patch is
        self.plan: QuadPlan | None = None  # of quads, from `finish` to `complete`
        self.triangles = 0  # of the finished mesh, before pairs are joined and some taken away for that
        self._key: Key | None = None
        self._earlier: list[Earlier] = []  # hidden while the new one grows
        self.matrix, self._inverse = np.eye(4), np.eye(4)  # of the object, once there is one

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

    def finish(self, context: bpy.types.Context, settings: RunSettings) -> str:
        """Gives the result what its source has, and its place among the results; what the artist should know, or ''.

        Where quads are wanted `plan` is begun; `complete` carries it out.
        """
        obj = self.result()
        if obj is not None:
            obj.show_wire = False
            self._take_place(obj, settings)
        if obj is None or obj.mode != "OBJECT":
            return ""  # in edit mode its mesh is not ours to change
        said, self.plan = finishing.finish_mesh(context, obj, self.matrix, self.surface, settings, self.hard)
        self.triangles = len(obj.data.polygons)
        return said

    def complete(self, context: bpy.types.Context, obj: bpy.types.Object, settings: RunSettings) -> str:
        """Of the result `obj`, in object mode: planned quads, the weld to the rest, what is hidden; what to know."""
        said = [self._join(obj)]
        source = find(self.source)
        if self.patch is not None:
            said.append(self._weld(obj, source))
        self._hide_source(context, obj, source, settings)
        return "; ".join(text for text in said if text)

    def _hide_source(
        self,
        context: bpy.types.Context,
        obj: bpy.types.Object,
        source: bpy.types.Object | None,
        settings: RunSettings,
    ) -> None:
        obj.show_in_front = source is not None and len(self.surface.faces) > 0 and source.visible_get()
        if source is None or context.mode != "OBJECT" or context.view_layer.objects.get(source.name) != source:
            return
        if settings.hide_source or self.welded is not None:  # which has the rest of it
            source.hide_set(True)
            source.hide_render = True
            obj.show_in_front = False

    def _join(self, obj: bpy.types.Object) -> str:
        """Carries out the plan of quads, if there is one."""
        plan, self.plan = self.plan, None
        if plan is None:
            return ""
        try:
            plan.carry_out(obj.data)
        except RuntimeError as error:  # Blender's own, or an edge of the plan that Blender does not have
            return tr("Left in triangles: {error}", error=error)
        obj.data.update()
        return ""

    def _weld(self, obj: bpy.types.Object, source: bpy.types.Object | None) -> str:
        assert self.patch is not None
        try:
            self.welded = self.patch.weld(obj, source)
        except ValueError as error:
            return str(error)
        for modifier in source.modifiers if source is not None else ():
            _copy_modifier(obj, modifier)
        if not self.welded.left:
            return tr("Welded to the rest along {count} edges", count=self.welded.border)
        values = {"left": self.welded.left, "count": self.welded.border}
        return tr("{left} of the {count} edges to the rest could not be welded", **values)

    def remove(self) -> None:
        """Takes the object away, with its mesh, and shows what was there before."""
        obj = self.result()
        if obj is not None and obj.mode == "OBJECT":
            remove_object(obj)
        self.bring_back()

    def bring_back(self) -> None:
        """Shows and selects the earlier results as they were when the new one began to grow."""
        for was in self._earlier:
            obj = find(was.key)
            for scene in obj.users_scene if obj is not None else ():
                for layer in scene.view_layers:
                    if layer.objects.get(obj.name) == obj:
                        obj.hide_set(False, view_layer=layer)
                        obj.select_set(was.selected, view_layer=layer)
                        if was.active:
                            layer.objects.active = obj
        self._earlier.clear()

    def _take_place(self, obj: bpy.types.Object, settings: RunSettings) -> None:
        """Notes where the result comes from. It replaces the newest earlier one, unless these are kept as variants."""
        source = find(self.source)
        known = [] if source is None else variants.results_of(source)
        note = obj.flashmesh
        note.source, note.number = source, 1 + max((item.flashmesh.number for item in known), default=0)
        note.seed, note.wanted = settings.seed, settings.faces
        if known and not settings.keep_earlier and known[-1].mode == "OBJECT":
            note.number = known[-1].flashmesh.number
            name = known[-1].name
            remove_object(known[-1])
            obj.name = name
        self._earlier.clear()

    def _make(self, context: bpy.types.Context) -> bpy.types.Object:
        stem = self.source.name.encode("utf-8")[:_NAME_BYTES].decode("utf-8", "ignore")
        mesh = bpy.data.meshes.new(stem + SUFFIX)
        obj = bpy.data.objects.new(stem + SUFFIX, mesh)
        obj.show_in_front = obj.show_wire = True  # the source, which it lies in, would cover it, or flicker through it
        source = find(self.source)
        _collection(context, source).objects.link(obj)
        self.matrix, self._inverse = place_over(context, obj, source, self.surface.matrix)
        space = context.space_data
        if space is not None and space.type == "VIEW_3D" and space.local_view is not None:
            obj.local_view_set(space, True)
        self._key = key_of(obj)
        self._hide_earlier(context, source)
        return obj

    def _hide_earlier(self, context: bpy.types.Context, source: bpy.types.Object | None) -> None:
        layer = context.view_layer.objects
        for item in variants.results_of(source) if source is not None else ():
            if layer.get(item.name) == item and not item.hide_get():
                self._earlier.append(Earlier(key_of(item), item.select_get(), layer.active == item))
                item.hide_set(True)


def _copy_modifier(obj: bpy.types.Object, modifier: bpy.types.Modifier) -> None:
    """Gives an object a modifier with the same settings."""
    made = obj.modifiers.new(modifier.name, modifier.type)
    for item in modifier.bl_rna.properties if made is not None else ():
        if not item.is_readonly and item.identifier not in ("name", "type"):
            setattr(made, item.identifier, getattr(modifier, item.identifier))


def remove_object(obj: bpy.types.Object) -> None:
    """Takes a result away, with its mesh if nothing else uses that, and its collection if nothing else is in it."""
    mesh, collections = obj.data, obj.users_collection
    bpy.data.objects.remove(obj)
    if not mesh.users:
        bpy.data.meshes.remove(mesh)
    for collection in collections:
        if collection.name.startswith(COLLECTION) and not collection.all_objects and not collection.children:
            bpy.data.collections.remove(collection)


def place_over(
    context: bpy.types.Context, obj: bpy.types.Object, source: bpy.types.Object | None, matrix: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gives `obj` the parent and the transform of its source; its world matrix (4, 4) then, and the inverse of that.

    `matrix` (4, 4) is the source's world matrix as it was read. A transform that comes from constraints is copied as
    far as an object can have it; one that flattens space is replaced by none.
    """

    def as_source() -> None:
        if source is not None:
            for name in _PARENTING + _TRANSFORM:
                setattr(obj, name, getattr(source, name))

    def as_read() -> None:
        obj.matrix_world = Matrix.LocRotScale(*Matrix(matrix).decompose())

    def as_nothing() -> None:
        obj.matrix_world = Matrix.Identity(4)

    def alone() -> None:
        obj.parent = None
        obj.matrix_world = Matrix.Identity(4)

    for attempt in (as_source, as_read, as_nothing, alone):
        attempt()
        context.view_layer.update()
        world = np.array(obj.matrix_world, dtype=np.float64)
        inverse = mesh_bridge.usable_inverse(world)
        close = np.allclose(world, matrix, rtol=1e-4, atol=1e-5 * max(1e-6, float(np.abs(matrix).max())))
        if inverse is not None and (close or attempt is not as_source):
            return world, inverse
    return np.eye(4), np.eye(4)


_PARENTING = ("parent", "parent_type", "parent_bone", "matrix_parent_inverse")
_TRANSFORM = (
    "rotation_mode", "location", "rotation_euler", "rotation_quaternion", "rotation_axis_angle", "scale",
    "delta_location", "delta_rotation_euler", "delta_rotation_quaternion", "delta_scale",
)  # fmt: skip


def _collection(context: bpy.types.Context, source: bpy.types.Object | None) -> bpy.types.Collection:
    """Where a result is seen: the collection for results, made if there is none; the source's if that is hidden."""
    scene = context.scene
    names = [child for child in scene.collection.children_recursive if child.name.split(".")[0] == COLLECTION]
    if not names:
        names = [bpy.data.collections.new(COLLECTION)]
        scene.collection.children.link(names[0])
    own = [] if source is None else list(source.users_collection)
    wanted = [*names[:1], *own]
    return next((item for item in wanted if _is_shown(context.view_layer.layer_collection, item)), scene.collection)


def _is_shown(layer: bpy.types.LayerCollection, collection: bpy.types.Collection) -> bool:
    """Whether the objects of a collection can be seen in a view layer, given by the top of its tree."""
    if layer.exclude or layer.hide_viewport or layer.collection.hide_viewport:
        return False
    return layer.collection == collection or any(_is_shown(child, collection) for child in layer.children)
