# SPDX-License-Identifier: GPL-3.0-or-later
"""Quads of a mesh: planned in a thread of its own, which takes seconds for thousands of triangles, then carried out."""

from __future__ import annotations

import threading

import bmesh
import bpy
import numpy as np

from flashmesh_core.mesh.following import Nearest
from flashmesh_core.mesh.quads import Quads, plan_quads

from ..translations import tr
from .edge_steps import apply_quads, holds
from .mesh_bridge import mesh_arrays, transform_triangles


class QuadPlan:
    """Which triangles of a mesh become quads, flat and right-angled ones first, as they are seen through `world`.

    Not over a border between materials, nor over an edge that is marked sharp or as a seam or parts a UV map. Where
    triangles are left over edges are turned, taken away or cut; `nearest` finds the surface that is followed there.
    """

    def __init__(self, mesh: bpy.types.Mesh, world: np.ndarray, nearest: Nearest | None = None) -> None:
        self._world, self._nearest = world, nearest
        self._local, faces = mesh_arrays(mesh)
        self._triangles = faces
        self._vertices, self._turned = transform_triangles(self._local, faces, world)
        self._materials = np.empty(len(mesh.polygons), dtype=np.int32)
        mesh.polygons.foreach_get("material_index", self._materials)
        self._kept = _kept_edges(mesh)
        self._quads: Quads | None = None
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name="flashmesh-quads", daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None = 0.0) -> bool:
        """Waits so long, or to the end; whether the plan is there, or can't be made."""
        if seconds != 0.0:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def carry_out(self, mesh: bpy.types.Mesh) -> None:
        """Makes the quads once the plan is there. Raises RuntimeError, and leaves the mesh as it is, where that fails.

        It does where the mesh has changed since the plan was begun.
        """
        if self._quads is None:
            raise RuntimeError(self._trouble or tr("stopped before quads were found"))
        local, faces = mesh_arrays(mesh)
        if not (np.array_equal(local, self._local) and np.array_equal(faces, self._triangles)):
            raise RuntimeError(tr("the mesh was changed meanwhile"))
        places = (self._quads.vertices - self._world[:3, 3]) @ np.linalg.pinv(self._world[:3, :3]).T
        work = bmesh.new()
        try:
            work.from_mesh(mesh)
            apply_quads(work, self._quads, places)
            work.to_mesh(mesh)
        finally:
            work.free()

    def _run(self) -> None:
        try:
            self._quads = plan_quads(self._vertices, self._turned, self._materials, self._kept, nearest=self._nearest)
        except Exception as error:  # a thread must not end in silence
            self._trouble = f"{type(error).__name__}: {error}"


def only_triangles(mesh: bpy.types.Mesh) -> bool:
    """Whether a mesh has triangles, and nothing else."""
    return len(mesh.polygons) > 0 and len(mesh.loops) == 3 * len(mesh.polygons)


def _kept_edges(mesh: bpy.types.Mesh) -> np.ndarray:
    """The edges (K, 2) of a mesh that no quad goes over."""
    work = bmesh.new()
    try:
        work.from_mesh(mesh)
        maps = work.loops.layers.uv.values()
        kept = [[end.index for end in edge.verts] for edge in work.edges if holds(edge, maps)]
    finally:
        work.free()
    return np.array(kept, dtype=np.int64).reshape(-1, 2)
