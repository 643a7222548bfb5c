# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artist asks for, and what the engine is sent for it. Touches no bpy: runs in a worker thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from flashmesh_core import protocol
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.mesh.topology import is_manifold

SAMPLES = 131_072  # on a surface: what the engine lets vertices near is then 8 % larger than the mesh itself asks


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

    faces: int = 300
    preset: str = "STANDARD"
    seed: int = 0
    temperature: float = 0.5
    watertight: bool = False
    keep_to_surface: bool = True
    snap: bool = False
    quads: bool = False
    transfer_uvs: bool = False
    hide_source: bool = False
    drafter: str = "auto"
    width: int = protocol.DEFAULT_WIDTH
    keep_unfinished: bool = True

    def engine_options(self, manifold: bool | None) -> dict[str, Any]:
        """Options of protocol.OPTIONS; `manifold` says of the source what its samples cannot, None if unknown.

        Raises RequestError, a ValueError that names option, range and value.
        """
        preset = PRESETS[self.preset]
        options: dict[str, Any] = {
            "faces": self.faces,
            "seed": self.seed,
            "temperature": round(self.temperature, 6),  # a float32 in Blender
            "watertight": self.watertight,
            "surface": self.keep_to_surface,
            "candidates": preset.candidates,
        }
        if manifold is not None:
            options["manifold"] = manifold
        if preset.cut_off:
            options["max_faces"] = self.faces
        if self.drafter != "auto":
            options["drafter"] = self.drafter
        if self.width != protocol.DEFAULT_WIDTH:
            options["width"] = self.width
        return protocol.check_options(options)


@dataclass(frozen=True, eq=False)
class Request:
    """Samples around the origin, since they are float32 and an object may stand far away."""

    points: np.ndarray  # (N, 3) float32
    normals: np.ndarray | None  # alike; None for a cloud, whose normals the engine estimates
    options: dict[str, Any]
    center: np.ndarray  # (3,) float64: add it to what the engine answers


def make_request(vertices: np.ndarray, faces: np.ndarray, settings: RunSettings) -> Request:
    """The request for world-space `vertices` (V, 3) and `faces` (F, 3); without faces they are a point cloud.

    Raises ValueError where there is no surface to sample or too few points.
    """
    if len(vertices) < 3:
        raise ValueError(f"the object must have at least 3 vertices, got {len(vertices)}")
    center = (vertices.min(axis=0) + vertices.max(axis=0)) / 2.0
    rng = np.random.default_rng(settings.seed)
    if len(faces):
        samples = sample_surface(vertices - center, faces, SAMPLES, rng)
        options = settings.engine_options(is_manifold(vertices, faces))
        return Request(samples.points, samples.normals, options, center)
    if len(vertices) < protocol.MIN_POINTS:
        raise ValueError(f"a point cloud must have at least {protocol.MIN_POINTS} vertices, got {len(vertices)}")
    points = vertices - center
    if len(points) > SAMPLES:
        points = points[np.sort(rng.choice(len(points), SAMPLES, replace=False))]
    return Request(points.astype(np.float32), None, settings.engine_options(None), center)
