"""Unfinished meshes over real surfaces for the tests of this package."""

from __future__ import annotations

from functools import cache

import numpy as np

from flashmesh_core.config import SLICE_ROWS, ModelConfig
from flashmesh_core.decode.source import Source, prepare_source
from flashmesh_core.mesh.canonical import CanonicalMesh, Mesh, canonicalize
from flashmesh_core.state.arrays import Surface, make_surface
from flashmesh_core.state.grammar import Grammar
from flashmesh_core.state.mesh_state import MeshState
from flashmesh_core.tokenizer import face_tokens
from training.shapes import make_shape

CONFIG = ModelConfig(name="with slices", num_bins=128, slice_rows=SLICE_ROWS)


@cache
def prepared(kind: str, seed: int = 0) -> tuple[Source, CanonicalMesh, Surface]:
    """A procedural shape as a source, its canonical mesh, and its surface with the surface mask."""
    return prepare(make_shape(kind, np.random.default_rng(seed)))


def prepare(mesh: Mesh) -> tuple[Source, CanonicalMesh, Surface]:
    """The same of any mesh."""
    source = prepare_source(Mesh(mesh.vertices, mesh.faces), None, CONFIG)
    grammar = Grammar(num_bins=CONFIG.num_bins, surface=source.mask_grid)
    surface = make_surface(
        CONFIG.num_bins, source.mask_grid, grammar.top_keys, source.context, source.points, source.normals,
        source.proxy_bins,
    )  # fmt: skip
    return source, canonicalize(mesh.vertices, mesh.faces, CONFIG.num_bins, source.normalization), surface


def empty(surface: Surface, max_faces: int = 100, **switches: bool) -> MeshState:
    """No faces yet; every mask is off but those in `switches`, guidance is on."""
    masks = {"on_surface": False, "manifold": False, "closure": False} | switches
    return MeshState(surface, max_faces, coverage_guidance=6.0, **masks)


def tokens_of(mesh: CanonicalMesh) -> list[int]:
    """The coordinates of all faces."""
    return face_tokens(mesh).reshape(-1).tolist()
