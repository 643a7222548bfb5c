# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist asks for, and what the engine is sent for it. Touches no bpy: runs in a worker thread."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flashmesh_core.options import DEFAULT_WIDTH, MAX_FACES
from flashmesh_core.service import protocol

NEAR = 16.0  # sizes of a cloud from its middle, up to which an origin leaves float32 fine enough
LEAST_FACES = 4  # of a share of a source's triangles: a closed mesh has no fewer


@dataclass(frozen=True)
class Preset:
    """How much effort goes into a mesh."""

    candidates: int  # meshes of which the nearest stays
    cut_off: bool  # end at the wanted number of faces, whether the mesh is complete or not


PRESETS = {
    "DRAFT": Preset(candidates=1, cut_off=True),
    "STANDARD": Preset(candidates=1, cut_off=False),
    "BEST_OF_4": Preset(candidates=4, cut_off=False),
}


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The options of one run: those of the operator, and what the preferences add."""

    target: str = "COUNT"  # or SHARE: of the source's triangles
    faces: int = 300
    share: float = 10.0  # %
    preset: str = "STANDARD"
    seed: int = 0
    temperature: float = 0.5
    watertight: bool = False
    keep_to_surface: bool = True
    keep_vertices: str = "AUTO"  # or ON, OFF: those of the source alone; AUTO: where it has no more faces than wanted
    symmetry: str = "NONE"  # or X, Y, Z: the engine is given one half, and asked for half of the faces
    selected_only: bool = False  # faces of the source; the others stay as they are
    density: str = ""  # the vertex group of the source that draws more faces to where it is painted
    snap: bool = False
    quads: bool = False
    hard_edges: bool = False
    clean_up: bool = True
    fill_holes: bool = True
    transfer_uvs: bool = False
    hide_source: bool = False
    keep_earlier: bool = False
    drafter: str = "auto"
    width: int = DEFAULT_WIDTH
    keep_unfinished: bool = False

    def for_source(self, name: str, triangles: int) -> RunSettings:
        """With the number of faces that the share comes to for the source `name` of so many `triangles`.

        Raises ValueError where it has none, or the share asks for more faces than a mesh may have.
        """
        if self.target == "COUNT":
            return self
        if not triangles:
            raise ValueError(f"object {name!r} must have faces for a share of them, got points alone; give a number")
        faces = max(LEAST_FACES, round(triangles * self.share / 100.0))
        if faces > MAX_FACES:
            raise ValueError(
                f"share of the triangles of {name!r} must come to at most {MAX_FACES:,} faces, "
                f"got {self.share:g} % of {triangles:,}, which is {faces:,}"
            )
        return replace(self, target="COUNT", faces=faces)

    @property
    def engine_faces(self) -> int:
        """How many faces the engine is asked for."""
        return self.faces if self.symmetry == "NONE" else max(1, (self.faces + 1) // 2)

    def engine_options(self) -> dict[str, Any]:
        """Options of flashmesh_core.options.OPTIONS.

        Raises RequestError, a ValueError that names option, range and value.
        """
        preset = PRESETS[self.preset]
        options: dict[str, Any] = {
            "faces": self.engine_faces,
            "seed": self.seed,
            "temperature": round(self.temperature, 6),  # a float32 in Blender
            "watertight": self.watertight,
            "surface": self.keep_to_surface,
            "candidates": preset.candidates,
        }
        if preset.cut_off:
            options["max_faces"] = self.engine_faces
        if self.density or self.keep_vertices != "AUTO":  # those that were chosen by the density are meant
            options["keep_vertices"] = bool(self.density) or self.keep_vertices == "ON"
        if not self.clean_up or self.selected_only:  # what was selected is meant as it is
            options["clean_up"] = False
        if not self.fill_holes:
            options["fill_holes"] = False
        if self.drafter != "auto":
            options["drafter"] = self.drafter
        if self.width != DEFAULT_WIDTH:
            options["width"] = self.width
        return protocol.check_options(options)


@dataclass(frozen=True, eq=False)
class Request:
    """A surface around the origin, or a cloud around its object's, and what is wanted of it."""

    points: np.ndarray  # (N, 3) float32: the vertices of a mesh, or a cloud
    triangles: np.ndarray | None  # (T, 3) int32, rows of `points`; None for a cloud
    options: dict[str, Any]
    center: np.ndarray  # (3,) float64: add it to what the engine answers


def make_request(
    vertices: np.ndarray, faces: np.ndarray, settings: RunSettings, origin: np.ndarray | None = None
) -> Request:
    """The request for world-space `vertices` (V, 3) and `faces` (F, 3); without faces they are a point cloud.

    `origin` (3,) is the object's. Raises ValueError where there are too few points.
    """
    if len(vertices) < 3:
        raise ValueError(f"the object must have at least 3 vertices, got {len(vertices)}")
    if not len(faces) and len(vertices) < protocol.MIN_POINTS:
        raise ValueError(f"a point cloud must have at least {protocol.MIN_POINTS} vertices, got {len(vertices)}")
    points, triangles, center = centred(vertices, faces, origin, settings.seed)
    return Request(points, triangles, settings.engine_options(), center)


def centred(
    vertices: np.ndarray, faces: np.ndarray, origin: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """A surface as the engine is sent it: points (N, 3) float32, triangles (F, 3) int32, and its centre (3,) float64.

    Without `faces` it is a cloud, which has no triangles. Add the centre to be back in its place. `origin` (3,) is the
    object's.
    """
    if len(faces):
        return _centred_mesh(vertices, faces)
    points, center = _centred_cloud(vertices, origin, seed)
    return points, None, center


def _centred_cloud(vertices: np.ndarray, origin: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A cloud of `vertices` (V, 3) as the engine is sent it: points (N, 3) float32, and their centre (3,) float64.

    That is the object's `origin` (3,) where it is near: there stood the camera that took the cloud, if it was one
    (surface/viewpoint.py). Of more points than the engine takes a part is sent, chosen by `seed`.
    """
    center = _middle(vertices)
    if origin is not None and np.abs(origin - center).max() <= NEAR * np.ptp(vertices, axis=0).max():
        center = origin
    points = vertices - center
    if len(points) > protocol.MAX_POINTS:
        rng = np.random.default_rng(seed)
        points = points[np.sort(rng.choice(len(points), protocol.MAX_POINTS, replace=False))]
    return points.astype(np.float32), center


def _centred_mesh(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A mesh as the engine is sent it: points (N, 3) float32, triangles (F, 3) int32, and its centre (3,) float64.

    Those `vertices` (V, 3) float64 that one of the `faces` (F, 3) uses, around the origin: float32 would be coarse
    where an object stands far away. Add the centre to be back in its place.
    """
    used = np.zeros(len(vertices), dtype=bool)
    used[faces] = True
    if not used.all():
        vertices, faces = vertices[used], (np.cumsum(used) - 1)[faces]
    center = _middle(vertices)
    return (vertices - center).astype(np.float32), faces.astype(np.int32), center


def _middle(points: np.ndarray) -> np.ndarray:
    """The centre of a bounding box, (3,) float64."""
    return (points.min(axis=0) + points.max(axis=0)) / 2.0
