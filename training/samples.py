"""Pictures of what a run's weights write, while it goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.model.hourglass import Hourglass


def draw_samples(model: Hourglass, folder: Path, stem: str, store: MeshStore | None) -> None:
    """A picture in `folder`: greedy results of a model for sculpts of four meshes of `store`, or of shapes."""
    from flashmesh_core.decode.engine import Engine
    from flashmesh_core.evaluation.methods import generate
    from flashmesh_core.evaluation.objects import ArtistObject, given
    from flashmesh_core.evaluation.pictures import Pictures
    from flashmesh_core.mesh.canonical import Mesh, Normalization
    from flashmesh_core.mesh.figures import measure
    from flashmesh_core.mesh.topology import is_manifold_and_closed
    from training.shapes import random_shape

    engine = Engine(model, model.config.name)
    if store is not None:
        small = [n for n in range(len(store)) if len(store.faces[n]) <= 160] or list(range(len(store)))
        chosen = [small[k * len(small) // 4] for k in range(4)]
        sources = [(store.names[n], Mesh(store.vertices[n], store.faces[n])) for n in chosen]
    else:
        sources = [(f"shape {n}", random_shape(np.random.default_rng(10_000 + n), max_faces=160)) for n in range(4)]
    header = ["artist", "source", "result"]
    pictures = Pictures(folder, header, stem=stem)
    for name, mesh in sources:
        mesh = Mesh(Normalization.of_points(mesh.vertices).apply(mesh.vertices), mesh.faces)
        closed = is_manifold_and_closed(mesh.vertices, mesh.faces)[1]
        source, count = given(ArtistObject(name, mesh, closed), "sculpt"), len(mesh.faces)
        made = generate(engine, source, count, temperature=0.0, max_faces=2 * count + 8)
        pictures.add_source(source, {"result": (made, measure(mesh, made.mesh).as_dict())})
    pictures.flush()
