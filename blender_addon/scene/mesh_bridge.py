# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender objects to arrays and back, by the fast attribute path (numpy and bpy only).

World space is what the scene shows; local space is the object's own, before its transform. A transform that
mirrors turns every triangle inside out: both directions reverse the winding then, and outward stays outward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from flashmesh_core.mesh.sheets import separate_sheets
from flashmesh_core.service import protocol

MESH_LIKE = ("MESH", "CURVE", "SURFACE", "FONT", "META")  # object types that Blender can show as a mesh
MAX_SOURCE_FACES = protocol.MAX_TRIANGLES  # what the engine takes
_FOURFOLD = {"SUBSURF": "levels", "MULTIRES": "levels"}  # modifiers that quarter each face once a level


class TooManyFacesError(ValueError):
    """An object whose evaluated mesh has, or would have, more faces than allowed."""


def check_face_count(name: str, count: int, max_faces: int = MAX_SOURCE_FACES) -> None:
    """Raises TooManyFacesError if `count` faces are more than `max_faces`."""
    if count > max_faces:
        raise TooManyFacesError(
            f"object {name!r} must have at most {max_faces:,} faces with its modifiers, got {count:,}; "
            "lower its subdivision levels or decimate it"
        )


def expected_faces(obj: bpy.types.Object) -> int:
    """A cheap estimate of the evaluated face count of a mesh object, made without evaluating it.

    It counts the modifiers whose factor is known (subdivision, multiresolution, array of fixed count,
    mirror), since evaluating a subdivision of a dense mesh can take all memory. 0 for what is no mesh.
    """
    if obj.type != "MESH":
        return 0
    count = len(obj.data.polygons)
    for modifier in obj.modifiers:
        if not modifier.show_viewport:
            continue
        if modifier.type in _FOURFOLD:
            count *= 4 ** getattr(modifier, _FOURFOLD[modifier.type])
        elif modifier.type == "ARRAY" and getattr(modifier, "fit_type", "") == "FIXED_COUNT":
            count *= max(1, modifier.count)
        elif modifier.type == "MIRROR":
            count *= 2 ** sum(modifier.use_axis)
    return count


def evaluated_triangles(
    obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph, max_faces: int = MAX_SOURCE_FACES
) -> tuple[np.ndarray, np.ndarray]:
    """What the scene shows of `obj`, in world space: vertices (V, 3) float64, faces (F, 3) int64.

    Modifiers are applied; curves, texts and metaballs are converted. Where there is no surface F is 0. Raises
    TooManyFacesError above `max_faces` triangles, ValueError for a type without mesh or non-finite positions.
    """
    with evaluated_mesh(obj, depsgraph, max_faces) as (mesh, matrix):
        if mesh is None:
            return np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)
        local, faces = mesh_arrays(mesh)
        _check_finite(obj.name, local, matrix)
        return transform_triangles(local, faces, matrix)


@contextmanager
def evaluated_mesh(
    obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph, max_faces: int = MAX_SOURCE_FACES
) -> Iterator[tuple[bpy.types.Mesh | None, np.ndarray]]:
    """What the scene shows of `obj` as a mesh that lasts as long as the context, and its world matrix (4, 4).

    None where Blender makes no mesh of it. Raises as `evaluated_triangles`.
    """
    if obj.type not in MESH_LIKE:
        raise ValueError(f"object {obj.name!r} must be of type {', '.join(MESH_LIKE)}, got {obj.type}")
    check_face_count(obj.name, expected_faces(obj), max_faces)
    evaluated = obj.evaluated_get(depsgraph)
    matrix = np.array(evaluated.matrix_world, dtype=np.float64)
    try:
        mesh = evaluated.to_mesh()
    except RuntimeError:  # a metaball that melts into another one, or an object that the depsgraph leaves out
        mesh = None
    try:
        if mesh is not None:
            check_face_count(obj.name, len(mesh.loops) - 2 * len(mesh.polygons), max_faces)
        yield mesh, matrix
    finally:
        if mesh is not None:
            evaluated.to_mesh_clear()


@dataclass(frozen=True, eq=False)
class Surface:
    """What a run needs of a source object, in arrays: it may be changed or deleted from here on."""

    name: str
    matrix: np.ndarray  # (4, 4) float64, local to world
    vertices: np.ndarray  # (V, 3) float64, world space
    faces: np.ndarray  # (F, 3) int64; none for a point cloud
    materials: tuple[str, ...]  # by slot; "" for an empty one
    material_index: np.ndarray  # (F,) int32
    smooth: np.ndarray  # (F,) bool
    uvs: np.ndarray | None = None  # (F, 3, 2) float32: the active UV map at the corners of `faces`
    uv_name: str = ""

    @property
    def size(self) -> float:
        """The longest side of its box."""
        return float(np.ptp(self.vertices, axis=0).max())


def read_surface(
    obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph, max_faces: int = MAX_SOURCE_FACES, *, uvs: bool = False
) -> Surface:
    """The evaluated surface of `obj`, with all that it instances; a mesh of vertices alone is a point cloud.

    Its active UV map is read only if `uvs` says so, and where it instances nothing.

    Raises TooManyFacesError above `max_faces` triangles, ValueError where there is neither surface nor cloud.
    """
    parts: list[_Part] = []
    edges, found = 0, ()
    matrix = np.array(obj.evaluated_get(depsgraph).matrix_world, dtype=np.float64)
    if obj.type in MESH_LIKE:
        with evaluated_mesh(obj, depsgraph, max_faces) as (mesh, matrix):
            if mesh is not None and len(mesh.vertices):
                edges = 0 if len(mesh.polygons) else len(mesh.edges)
                slots = [slot.material for slot in obj.evaluated_get(depsgraph).material_slots]
                parts.append(_read_part(obj.name, mesh, matrix, slots))
                found = _read_uvs(mesh, matrix) if uvs else ()
    parts += _instances(obj, depsgraph, sum(len(part.faces) for part in parts), max_faces)
    if len(parts) > 1:
        parts = [part for part in parts if len(part.faces)] or parts[:1]
    if not parts:
        raise ValueError(f"object {obj.name!r} must have a surface, got nothing that Blender can make a mesh of")
    if edges and not any(len(part.faces) for part in parts):
        advice = "fill it" if obj.type == "MESH" else "give it a bevel, an extrusion or a fill"
        raise ValueError(f"object {obj.name!r} must have faces, got {edges} edges alone; {advice}")
    return Surface(obj.name, matrix, *_joined(parts), *(found if len(parts) == 1 else ()))


def read_own(obj: bpy.types.Object) -> Surface:
    """The mesh of `obj` without its modifiers, in world space. Raises ValueError as `read_surface`."""
    check_face_count(obj.name, len(obj.data.polygons))
    matrix = np.array(obj.matrix_world, dtype=np.float64)
    part = _read_part(obj.name, obj.data, matrix, [slot.material for slot in obj.material_slots])
    return Surface(obj.name, matrix, *_joined([part]))


@dataclass(frozen=True, eq=False)
class _Part:
    """One mesh in world space, as the fields of Surface are."""

    vertices: np.ndarray
    faces: np.ndarray
    materials: tuple[str, ...]
    material_index: np.ndarray
    smooth: np.ndarray


def _read_part(name: str, mesh: bpy.types.Mesh, matrix: np.ndarray, slots: Sequence[Any]) -> _Part:
    local, faces = mesh_arrays(mesh)
    _check_finite(name, local, matrix)
    vertices, faces = transform_triangles(local, faces, matrix)
    count = len(mesh.polygons)
    material_index, smooth = np.zeros(count, dtype=np.int32), np.ones(count, dtype=bool)
    if count and len(slots) > 1:
        mesh.polygons.foreach_get("material_index", material_index)
    if count:
        mesh.polygons.foreach_get("use_smooth", smooth)
    if len(faces) != count:
        polygon = np.empty(len(faces), dtype=np.int32)
        mesh.loop_triangles.foreach_get("polygon_index", polygon)
        material_index, smooth = material_index[polygon], smooth[polygon]
    names = tuple("" if material is None else material.name for material in slots)
    return _Part(vertices, faces, names, material_index, smooth)


def _read_uvs(mesh: bpy.types.Mesh, matrix: np.ndarray) -> tuple[np.ndarray, str] | tuple[()]:
    """The active UV map at the corners of the triangles (F, 3, 2) as `transform_triangles` turns them, and its name."""
    layer = mesh.uv_layers.active
    if layer is None or not len(mesh.polygons):
        return ()
    flat = np.empty(2 * len(mesh.loops), dtype=np.float32)
    layer.uv.foreach_get("vector", flat)
    corners = np.arange(len(mesh.loops), dtype=np.int32)
    if len(mesh.loops) != 3 * len(mesh.polygons):
        mesh.calc_loop_triangles()
        corners = np.empty(3 * len(mesh.loop_triangles), dtype=np.int32)
        mesh.loop_triangles.foreach_get("loops", corners)
    values = flat.reshape(-1, 2)[corners].reshape(-1, 3, 2)
    mirrors = np.linalg.det(matrix[:3, :3]) < 0.0
    return (values[:, ::-1] if mirrors else values), layer.name


def _instances(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph, count: int, max_faces: int) -> list[_Part]:
    """What `obj` shows besides its own mesh: collections, instances of geometry nodes, of vertices and of faces."""
    if not can_instance(obj):
        return []
    parts: list[_Part] = []
    for instance in depsgraph.object_instances:
        if not instance.is_instance or instance.parent is None or instance.parent.original != obj:
            continue
        shown = instance.object
        if shown.type not in MESH_LIKE:
            continue
        mesh = shown.data if shown.type == "MESH" else shown.to_mesh()
        if mesh is None or not len(mesh.polygons):
            continue
        count += len(mesh.loops) - 2 * len(mesh.polygons)
        check_face_count(obj.name, count, max_faces)
        slots = [slot.material for slot in shown.material_slots] or list(mesh.materials)
        parts.append(_read_part(obj.name, mesh, np.array(instance.matrix_world, dtype=np.float64), slots))
        if shown.type != "MESH":
            shown.to_mesh_clear()
    return parts


def can_instance(obj: bpy.types.Object) -> bool:
    """Whether an object may show others in its place or on it."""
    return obj.instance_type != "NONE" or any(item.type in ("NODES", "PARTICLE_SYSTEM") for item in obj.modifiers)


def can_be_source(obj: bpy.types.Object) -> bool:
    """Whether a mesh may be made of an object."""
    return obj.type in MESH_LIKE or (obj.type == "EMPTY" and obj.instance_collection is not None and can_instance(obj))


@contextmanager
def shown(obj: bpy.types.Object, context: bpy.types.Context) -> Iterator[None]:
    """Shows an object for as long as the context lasts: Blender evaluates nothing of one that is hidden."""
    in_layer = context.view_layer.objects.get(obj.name) == obj
    hidden, off = in_layer and obj.hide_get(), obj.hide_viewport
    if hidden or off:
        obj.hide_viewport = False
        if in_layer:
            obj.hide_set(False)
        context.view_layer.update()
    try:
        yield
    finally:
        if hidden or off:
            obj.hide_viewport = off
            if hidden:
                obj.hide_set(True)


def _joined(parts: Sequence[_Part]) -> tuple[Any, ...]:
    """Several parts as one, in the order of the fields of Surface; a material stands once."""
    names = tuple(dict.fromkeys(name for part in parts for name in part.materials))
    if len(parts) == 1:
        part = parts[0]
        return part.vertices, part.faces, part.materials, part.material_index, part.smooth
    if any(not part.materials for part in parts):
        names = ("", *(name for name in names if name))
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    slots = [
        np.array([names.index(name) for name in part.materials or ("",)], dtype=np.int32)[
            np.minimum(part.material_index, max(len(part.materials), 1) - 1)
        ]
        for part in parts
    ]
    return (
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)]),
        names,
        np.concatenate(slots),
        np.concatenate([part.smooth for part in parts]),
    )


def _check_finite(name: str, vertices: np.ndarray, matrix: np.ndarray) -> None:
    if not (np.isfinite(vertices).all() and np.isfinite(matrix).all()):
        raise ValueError(f"object {name!r} must have finite positions and transform, got NaN or infinity")


def mesh_arrays(mesh: bpy.types.Mesh) -> tuple[np.ndarray, np.ndarray]:
    """A mesh, triangulated: vertices (V, 3) float32 in local space, faces (F, 3) int64."""
    vertices = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    if len(vertices):
        mesh.attributes["position"].data.foreach_get("vector", vertices)
    corners = len(mesh.loops)
    if corners and corners == 3 * len(mesh.polygons):  # a face has at least three corners, so all are triangles
        faces = np.empty(corners, dtype=np.int32)
        mesh.attributes[".corner_vert"].data.foreach_get("value", faces)
    else:
        mesh.calc_loop_triangles()
        faces = np.empty(len(mesh.loop_triangles) * 3, dtype=np.int32)
        mesh.loop_triangles.foreach_get("vertices", faces)
    return vertices.reshape(-1, 3), faces.reshape(-1, 3).astype(np.int64)


def transform_triangles(vertices: np.ndarray, faces: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangles moved by `matrix` (4, 4): vertices (V, 3) float64, faces (F, 3) reversed where it mirrors."""
    matrix = np.asarray(matrix, dtype=np.float64)
    moved = np.asarray(vertices, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    mirrors = np.linalg.det(matrix[:3, :3]) < 0.0
    return moved, faces[:, ::-1] if mirrors else faces


def mesh_from_arrays(name: str, vertices: np.ndarray, faces: np.ndarray, matrix_inverse: np.ndarray) -> bpy.types.Mesh:
    """A new mesh datablock from world-space triangles; `matrix_inverse` (4, 4) leads to local space.

    `vertices` (V, 3) float, `faces` (F, 3) integer. Faces over the same vertices are told apart first, since Blender
    keeps only one of them; then the mesh is validated.
    """
    local, faces = transform_triangles(*separate_sheets(vertices, faces), np.array(matrix_inverse))
    mesh = bpy.data.meshes.new(name)
    set_triangles(mesh, local, faces)
    mesh.validate()
    return mesh


def set_triangles(mesh: bpy.types.Mesh, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Replaces the geometry of `mesh` by triangles: `vertices` (V, 3) in local space, `faces` (F, 3)."""
    corners = np.ascontiguousarray(faces, dtype=np.int32).reshape(-1)
    mesh.clear_geometry()
    mesh.vertices.add(len(vertices))
    mesh.loops.add(len(corners))
    mesh.polygons.add(len(faces))
    if len(vertices):
        positions = np.ascontiguousarray(vertices, dtype=np.float32).reshape(-1)
        mesh.attributes["position"].data.foreach_set("vector", positions)
    if len(corners):
        mesh.attributes[".corner_vert"].data.foreach_set("value", corners)
        mesh.polygons.foreach_set("loop_start", np.arange(0, len(corners), 3, dtype=np.int32))
    mesh.update(calc_edges=True)


def is_watertight(mesh: bpy.types.Mesh) -> bool:
    """Whether there is a face, and every edge has exactly two."""
    return len(mesh.polygons) > 0 and bool((_faces_at_edges(mesh) == 2).all())


def open_edges(mesh: bpy.types.Mesh) -> int:
    """How many edges have one face only."""
    return int((_faces_at_edges(mesh) == 1).sum())


def _faces_at_edges(mesh: bpy.types.Mesh) -> np.ndarray:
    """(E,) how many faces lie at each edge."""
    edges = np.empty(len(mesh.loops), dtype=np.int32)
    if len(edges):
        mesh.attributes[".corner_edge"].data.foreach_get("value", edges)
    return np.bincount(edges, minlength=len(mesh.edges))


def usable_inverse(matrix: np.ndarray) -> np.ndarray | None:
    """The inverse (4, 4) of a transform, or None where it flattens space too much to be undone in float32."""
    linear = np.asarray(matrix, dtype=np.float64)[:3, :3]
    lengths = np.linalg.norm(linear, axis=0)
    if not np.isfinite(linear).all() or (lengths == 0.0).any():
        return None
    if np.linalg.cond(linear / lengths) > 1e5:
        return None
    return np.linalg.inv(np.asarray(matrix, dtype=np.float64))
