"""How well dense and smooth sources, such as sculpts and scans, are followed: figures of README.md.

    python benchmarks/smooth_sources.py --data DATA [--clouds] [--picture out.png]

A sphere, a torus and ten objects of the test split made dense by Loop subdivision; each is generated once with the
wanted number of faces beside its name, as a mesh or, with --clouds, from 65,536 samples of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import trimesh

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flashmesh_core.decode.engine import Engine
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.metrics import compare_meshes
from flashmesh_core.mesh.sampling import sample_cloud
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.mesh.topology import topology_report
from flashmesh_core.picture import fit_frame, picture_grid, render_mesh

# The end of an object's name in the test split, the faces wanted, and how often it is subdivided.
OBJECTS = (
    ("bottle_a_brown", 144, 2), ("cactus_small_a", 252, 2), ("rock_tallb", 172, 2), ("taco", 312, 2), ("bear", 250, 2),
    ("apple_2", 252, 2), ("enemy_2legs_gun_cylinder", 322, 2), ("betta", 400, 1), ("blobfish", 400, 1),
    ("bed_king", 400, 1),
)  # fmt: skip
SAMPLES = 65_536


def sources(store: MeshStore) -> Iterator[tuple[str, Mesh, int]]:
    """Name, mesh and wanted faces."""
    for name, shape, faces in (
        ("sphere", trimesh.creation.icosphere(4), 200),
        ("torus", trimesh.creation.torus(1.0, 0.35, major_sections=96, minor_sections=48), 300),
    ):
        yield name, Mesh(np.asarray(shape.vertices), np.asarray(shape.faces)), faces
    for name, faces, times in OBJECTS:
        numbers = [number for number, full in enumerate(store.names) if full.endswith(name)]
        if not numbers:
            raise ValueError(f"data must hold an object whose name ends with {name!r}, got none")
        mesh = store.vertices[numbers[0]].astype(np.float64), store.faces[numbers[0]].astype(np.int64)
        yield name, Mesh(*trimesh.remesh.subdivide_loop(*mesh, iterations=times)), faces


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="packed .npz, or folder with meshes.npz")
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--clouds", action="store_true", help="samples instead of the meshes themselves")
    parser.add_argument("--picture", type=Path, help="write source and result of each here, as a PNG")
    args = parser.parse_args()
    engine = Engine.load(args.checkpoint)
    rows, cells = [], []
    for name, source, wanted in sources(MeshStore.open(Path(args.data), "test")):
        if args.clouds:
            samples = sample_cloud(source, SAMPLES)
            result = engine.generate(samples.points.astype(np.float64), samples.normals, faces=wanted)
        else:
            result = engine.generate(source, faces=wanted)
        compared = compare_meshes(source, result.mesh)
        low, high = source.vertices.min(axis=0), source.vertices.max(axis=0)
        made = result.mesh.vertices
        off = np.abs([made.min(axis=0) - low, made.max(axis=0) - high]).max() / (high - low).max()
        opened = topology_report(made, result.mesh.faces).boundary_edge_ratio
        rows.append((
            compared.chamfer, compared.hausdorff, off * engine.config.num_bins, opened, result.end_reason == "eos",
            len(result.mesh.faces) / wanted,
        ))  # fmt: skip
        print(
            f"{name}: {len(source.faces):,} triangles, {len(result.mesh.faces)} faces ({wanted} wanted), Chamfer "
            f"{compared.chamfer:.4f}, Hausdorff {compared.hausdorff:.3f}, box {rows[-1][2]:.1f} bins off, "
            f"{opened:.0%} of edges open, {result.end_reason}"
        )
        frame = fit_frame(source.vertices)
        cells.append([render_mesh(mesh.vertices, mesh.faces, frame=frame) for mesh in (source, result.mesh)])
    table = np.array(rows, dtype=np.float64)
    chamfer, hausdorff, box, _, _, ratio = np.median(table, axis=0)
    opened, ended = table[:, 3].mean(), table[:, 4].mean()
    print(
        f"{len(rows)} sources: median Chamfer {chamfer:.4f}, Hausdorff {hausdorff:.3f}, box {box:.1f} bins off, faces "
        f"over wanted {ratio:.2f}; mean of open edges {opened:.0%}; ended by themselves {ended:.0%}"
    )
    if args.picture is not None:
        picture_grid(cells, args.picture, header=["source", "result"])


if __name__ == "__main__":
    main()
