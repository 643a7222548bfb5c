# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of a file as arrays, and result objects into a file: every format by Blender's own importers.

Both directions replace the open file by an empty one: this is for background use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from flashmesh_core.service import protocol

from ..scene import mesh_bridge

IMPORTED = (".blend", ".obj", ".glb", ".gltf", ".fbx", ".ply", ".stl")
EXPORTED = ("glb", "obj", "ply", "blend")


@dataclass(frozen=True, eq=False)
class SourceObject:
    """One object of a file: world-space `vertices` (V, 3) float64 and `faces` (F, 3), or an `error`.

    A point cloud has no faces.
    """

    name: str
    matrix: np.ndarray  # (4, 4) local to world
    vertices: np.ndarray
    faces: np.ndarray
    error: str | None = None


def read_objects(path: Path, *, max_faces: int, visible_only: bool = False) -> list[SourceObject]:
    """Every object of a file that has faces, or where none has, every point cloud; modifiers applied, sorted by name.

    Of a .blend all scenes are read, what they hide included unless `visible_only`; no script in it is run. An
    object with more than `max_faces` triangles comes with an error. Raises ValueError where there is neither surface
    nor cloud, and RuntimeError or OSError where Blender cannot read the file.
    """
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    scenes = _append_scenes(path) if path.suffix.lower() == ".blend" else _import(path)
    sources: dict[str, SourceObject] = {}
    for scene in scenes:
        objects = [item for item in scene.objects if item.type in mesh_bridge.MESH_LIKE]
        objects = [item for item in objects if item.name not in sources]
        for source in _evaluate(scene, objects, max_faces, visible_only):
            sources[source.name] = source
    clouds = {name for name, source in sources.items() if source.error is None and not len(source.faces)}
    names = sources.keys() - clouds or clouds  # vertices beside surfaces are a helper's, such as a particle system's
    if not names:
        least = f"at least {protocol.MIN_POINTS} vertices alone, a point cloud"
        raise ValueError(f"the file must hold an object that has faces, or one of {least}, got none")
    return [sources[name] for name in sorted(names)]


def _append_scenes(path: Path) -> list[bpy.types.Scene]:
    """The scenes of a .blend, appended: unlike opening it, that evaluates nothing and runs no script."""
    with bpy.data.libraries.load(str(path), link=False) as (stored, wanted):
        wanted.scenes = stored.scenes
        if not stored.scenes:  # an asset library
            wanted.objects = stored.objects
    if wanted.scenes:
        return list(wanted.scenes)
    for item in wanted.objects:
        bpy.context.scene.collection.objects.link(item)
    return [bpy.context.scene]


def _import(path: Path) -> list[bpy.types.Scene]:
    """The current scene, after any other file was imported into it."""
    suffix = path.suffix.lower()
    if suffix == ".obj":
        bpy.ops.wm.obj_import(filepath=str(path))
    elif suffix == ".ply":
        bpy.ops.wm.ply_import(filepath=str(path))
    elif suffix == ".stl":
        bpy.ops.wm.stl_import(filepath=str(path))
    elif suffix in (".glb", ".gltf"):
        # Without disable_bone_shape an armature brings a sphere along that is no part of the file.
        _call(bpy.ops.import_scene.gltf, filepath=str(path), disable_bone_shape=True)
    elif suffix == ".fbx":
        native = "fbx_import" in dir(bpy.ops.wm)  # Blender 4.5 and later
        (bpy.ops.wm.fbx_import if native else bpy.ops.import_scene.fbx)(filepath=str(path))
    else:
        raise ValueError(f"the suffix must be one of {', '.join(IMPORTED)}, got {path.suffix!r}")
    return [bpy.context.scene]


def _evaluate(
    scene: bpy.types.Scene, objects: list[bpy.types.Object], max_faces: int, visible_only: bool
) -> Iterable[SourceObject]:
    layer = scene.view_layers[0]
    if visible_only:
        objects = [item for item in objects if item.visible_get(view_layer=layer) and not item.hide_render]
    else:
        _reveal(scene, objects)
    errors = {}
    for item in objects:
        try:
            mesh_bridge.check_face_count(item.name, mesh_bridge.expected_faces(item), max_faces)
        except mesh_bridge.TooManyFacesError as error:
            errors[item.name] = str(error)
            for modifier in item.modifiers:  # so that evaluating the scene does not run out of memory
                modifier.show_viewport = False
    layer.update()
    for item in objects:
        vertices, faces, error = np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64), errors.get(item.name)
        if error is None:
            try:
                vertices, faces = mesh_bridge.evaluated_triangles(item, layer.depsgraph, max_faces)
            except ValueError as wrong:
                error = str(wrong)
        if error is not None or len(faces) or _is_cloud(item, layer.depsgraph):
            matrix = np.array(item.matrix_world, dtype=np.float64)
            yield SourceObject(item.name, matrix, vertices, faces, error)


def _is_cloud(item: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> bool:
    """Whether an object without faces is a mesh of vertices alone, enough of them for a point cloud."""
    if item.type != "MESH":
        return False
    mesh = item.evaluated_get(depsgraph).data
    return not len(mesh.edges) and len(mesh.vertices) >= protocol.MIN_POINTS


def _reveal(scene: bpy.types.Scene, objects: Iterable[bpy.types.Object]) -> None:
    """Undoes all ways of hiding an object: Blender does not apply the modifiers of what it does not show."""
    layer = scene.view_layers[0]
    for item in objects:
        item.hide_viewport = False
        if item.name not in scene.collection.objects:  # its own collections may be hidden or excluded
            scene.collection.objects.link(item)
    for item in objects:
        item.hide_set(False, view_layer=layer)


def write_objects(
    path: Path, file_format: str, results: Iterable[tuple[SourceObject, np.ndarray, np.ndarray]]
) -> list[int]:
    """Writes `path` with one object for each (source, world vertices (V, 3), faces (F, 3)); its face counts.

    Objects have the name and the transform of their source. What no object can have as its own transform
    (shear that comes from parents) goes into the mesh, so the place in the world is right in any case.
    Of faces over the same three vertices, which Blender cannot hold, the second is cut about a vertex in its middle.
    """
    counts = []
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    for source, vertices, faces in results:
        matrix = Matrix.LocRotScale(*Matrix(source.matrix).decompose())
        inverse = mesh_bridge.usable_inverse(np.array(matrix))
        if inverse is None or file_format in ("obj", "ply"):  # a scale of 0, or a format without transforms
            matrix, inverse = Matrix.Identity(4), np.eye(4)
        mesh = mesh_bridge.mesh_from_arrays(source.name, vertices, faces, inverse)
        counts.append(len(mesh.polygons))
        item = bpy.data.objects.new(source.name, mesh)
        item.matrix_world = matrix
        bpy.context.scene.collection.objects.link(item)
    bpy.context.view_layer.update()
    # No normals in the file means flat faces, and vertices that are shared instead of split.
    plain = {"export_normals": False, "export_uv": False}
    if file_format == "glb":
        gltf = {"export_format": "GLB", "export_materials": "NONE", "export_animations": False}
        _call(bpy.ops.export_scene.gltf, filepath=str(path), **plain, **gltf)
    elif file_format == "obj":
        bpy.ops.wm.obj_export(filepath=str(path), **plain, export_materials=False, check_existing=False)
    elif file_format == "ply":
        bpy.ops.wm.ply_export(filepath=str(path), **plain, export_colors="NONE", check_existing=False)
    elif file_format == "blend":
        bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True, compress=True, check_existing=False)
    else:
        raise ValueError(f"file_format must be one of {', '.join(EXPORTED)}, got {file_format!r}")
    return counts


def _call(operator: Callable[..., Any], **keywords: Any) -> None:
    """Calls an operator without the keywords that this version of Blender does not know yet."""
    known = operator.get_rna_type().properties.keys()
    operator(**{name: value for name, value in keywords.items() if name in known})
