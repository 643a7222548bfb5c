"""Write the example objects beside this file: `python examples/make_examples.py [FOLDER]`.

They come from the same procedural shapes as the default training data, but from seeds of their own, so no
example is a training mesh. Sizes and places differ on purpose: results must keep them. The same files come
out on every run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from flashmesh_core.mesh.canonical import Mesh, Normalization  # noqa: E402
from flashmesh_core.mesh.io import PointCloud, save_mesh, save_points  # noqa: E402
from flashmesh_core.mesh.sampling import sample_surface  # noqa: E402
from flashmesh_core.sources import voxel_remesh  # noqa: E402
from training.shapes import make_shape  # noqa: E402

SCAN_FACES = 20_000  # roughly
CLOUD_POINTS = 4_000
REMESH_CELLS = 72


def shape(kind: str, seed: int, *, size: float = 1.0, at: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    """A shape of `kind` whose longest side is `size` and whose lowest corner lies at `at`."""
    mesh = make_shape(kind, np.random.default_rng(seed))
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    return Mesh((mesh.vertices - low) * (size / float((high - low).max())) + np.asarray(at), mesh.faces)


def split_long_edges(mesh: Mesh, longest: float) -> Mesh:
    """`mesh` with every edge over `longest` halved until none is left; neighbours stay welded."""
    vertices, faces = mesh.vertices, mesh.faces
    while True:
        edges = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
        unique, inverse = np.unique(edges, axis=0, return_inverse=True)
        length = np.linalg.norm(vertices[unique[:, 0]] - vertices[unique[:, 1]], axis=1)
        per_face = inverse.reshape(-1, 3)
        rank = np.lexsort((np.arange(len(length)), length)).argsort()
        worst = rank[per_face].argmax(axis=1)
        rows = np.arange(len(faces))
        own_longest = per_face[rows, worst]
        # Only edges that are the longest of every face beside them are cut, so no crack opens.
        agreed = np.bincount(own_longest, minlength=len(unique)) == np.bincount(per_face.ravel())
        halved = agreed & (length > longest)
        if not halved.any():
            return Mesh(vertices, faces)
        middle = np.full(len(unique), -1)
        middle[halved] = len(vertices) + np.arange(int(halved.sum()))
        vertices = np.concatenate([vertices, vertices[unique[halved]].mean(axis=1)])
        cut = halved[own_longest]
        a, b, c = (faces[rows, (worst + k) % 3] for k in range(3))
        m = middle[own_longest]
        first, second = np.stack([a, m, c], axis=1)[cut], np.stack([m, b, c], axis=1)[cut]
        faces = np.concatenate([faces[~cut], first, second])


def scan(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """A dense, slightly noisy copy of `mesh`, as a scanner would return it: about SCAN_FACES triangles."""
    triangles = mesh.triangles
    area = 0.5 * np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)
    dense = split_long_edges(mesh, 2.25 * float(np.sqrt(area.sum() / SCAN_FACES)))
    size = float(np.ptp(mesh.vertices, axis=0).max())
    noisy = dense.vertices + rng.normal(0.0, 0.0012 * size, dense.vertices.shape)
    return Mesh(noisy.astype(np.float32).astype(np.float64), dense.faces)


def voxel_remeshed(mesh: Mesh, cells: int) -> Mesh:
    """What Blender's voxel remesh makes of `mesh`: marching cubes with `cells` along the longest side."""
    box = Normalization.of_points(mesh.vertices)
    dense = voxel_remesh(Mesh(box.apply(mesh.vertices), mesh.faces), cells, closed=True)
    return Mesh(box.invert(dense.vertices).astype(np.float32).astype(np.float64), dense.faces)


def main(folder: Path) -> None:
    """Write every example into `folder`."""
    rng = np.random.default_rng(2026)
    chair = shape("chair", 9000, size=0.95)
    save_mesh(folder / "chair.obj", chair)
    save_mesh(folder / "chair_remesh.ply", voxel_remeshed(chair, REMESH_CELLS))
    save_mesh(folder / "house.glb", shape("house", 9006, size=8.5, at=(12.0, -4.0, 0.0)))
    save_mesh(folder / "table.ply", shape("table", 9002, size=1.4))
    save_mesh(folder / "vase.obj", shape("vase", 9006, size=30.0))
    save_mesh(folder / "car_scan.ply", scan(shape("car", 9004, size=4.2, at=(-2.1, -0.9, 0.0)), rng))
    lamp = shape("lamp", 9005, size=1.6)
    samples = sample_surface(lamp.vertices, lamp.faces, CLOUD_POINTS, rng)
    save_points(folder / "lamp.xyz", PointCloud(samples.points.astype(np.float64).round(5), None))
    for path in sorted(folder.iterdir()):
        if path.suffix != ".py" and path.is_file():
            sys.stdout.write(f"{path.name:16s} {path.stat().st_size / 1024:8.1f} KiB\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent)
