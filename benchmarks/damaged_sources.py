"""Sources with what goes wrong outside of laboratories, made from artists' meshes, and what is read out of them.

    python benchmarks/damaged_sources.py --data DATA [--kinds pieces,gashes] [--limit 24] [--blender] [--report FILE]

whole            a voxel remesh, as the family `remesh`, for comparison
pieces           the same, and 60 small balls strewn about it
spikes           the same, one vertex of a thousand pulled out or pushed in
gashes           a sculpt without 1 % of its triangles and without those in 15 balls of 1 to 4 %
photogrammetry   a rounded, bumpy, noisy surface without its bottom, and 40 small pieces
segmentation     marching cubes of 0 and 1 on 96 cells
blocks           the outer squares of the occupied cells of 64
clusters         the family `cloud`, and 40 dense small balls of points strewn about it
haze             60,000 points with 0.1 % of noise, one in ten of them with 2 %, no normals
scans            two noisy scans of 112 cells over each other by a fifth, the one moved by 0.3 %
depth            depth maps from six sides, 160 pixels across and noisy, with faces hung between near and far
seams            every triangle of the artist's cut into ones of about 2 % by itself, of other sizes each time
insides          a remesh with a second, rougher one inside, and 30 small balls in its solid
hollow           a remesh with walls of 2 of 64 cells

Of each closed mesh of the test split: the proxy of as many faces, plain simplification (meshoptimizer; of clouds, of
our surface) and, if asked, Blender's Decimate with vertices at one place merged (against_blender.py says how it is
found). Means of F1 and of open edges, medians of HD. Prints a table; the report has the figures of each object.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from against_blender import Blender

from flashmesh_core.__main__ import write_report
from flashmesh_core.evaluation.methods import Method, decimate, proxy_of, timed
from flashmesh_core.evaluation.objects import ArtistObject, Given, choose_objects
from flashmesh_core.evaluation.report import measure
from flashmesh_core.mesh.canonical import Mesh, vertex_normals
from flashmesh_core.mesh.io import PointCloud
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.mesh.voxels import winding_numbers
from flashmesh_core.sources import bumps, laplacian_smooth, make_source, voxel_remesh
from flashmesh_core.surface.adjacency import compact
from flashmesh_core.surface.reading import dense_surface

FREE = 4  # cells around the mesh
Kind = Callable[[Mesh, np.random.Generator], Mesh | PointCloud]


def whole(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """The remesh as it is."""
    return voxel_remesh(mesh, 128, closed=True)


def joined(parts: list[Mesh]) -> Mesh:
    """All of them in one mesh."""
    first = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    faces = [part.faces + at for part, at in zip(parts, first, strict=True)]
    return Mesh(np.concatenate([part.vertices for part in parts]), np.concatenate(faces).astype(np.int64))


def with_pieces(mesh: Mesh, rng: np.random.Generator, count: int = 60) -> Mesh:
    """A surface and flattened balls of radius 0.002 to 0.01 in its box."""
    low, high = mesh.vertices.min(axis=0) - 0.05, mesh.vertices.max(axis=0) + 0.05
    made = [mesh]
    for _ in range(count):
        ball = trimesh.creation.icosphere(subdivisions=int(rng.integers(0, 3)), radius=rng.uniform(0.002, 0.01))
        made.append(Mesh(ball.vertices * rng.uniform(0.4, 1.0, 3) + rng.uniform(low, high), np.asarray(ball.faces)))
    return joined(made)


def with_spikes(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """A remesh, some vertices of which stand 0.02 to 0.08 out of it or in it."""
    dense = whole(mesh, rng)
    some = rng.choice(len(dense.vertices), len(dense.vertices) // 1_000, replace=False)
    by = rng.uniform(0.02, 0.08, len(some)) * rng.choice([-1.0, 1.0], len(some))
    vertices = dense.vertices.copy()
    vertices[some] += vertex_normals(dense)[some] * by[:, None]
    return Mesh(vertices, dense.faces)


def part_of(mesh: Mesh, kept: np.ndarray) -> Mesh:
    """The faces (F,) that are kept."""
    used, faces = compact(mesh.faces[kept], len(mesh.vertices))
    return Mesh(mesh.vertices[used], faces.astype(np.int64))


def with_gashes(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """A sculpt with holes."""
    dense = make_source(mesh, "sculpt", seed=0, closed=True)
    assert isinstance(dense, Mesh)
    middles = dense.triangles.mean(axis=1)
    kept = rng.random(len(middles)) > 0.01
    for place in middles[rng.integers(len(middles), size=15)]:
        kept &= np.linalg.norm(middles - place, axis=1) > rng.uniform(0.01, 0.04)
    return part_of(dense, kept)


def photogrammetry(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """Nothing is seen of the lowest 2 %."""
    dense = voxel_remesh(mesh, 112, closed=True)
    dense = Mesh(laplacian_smooth(dense, 2), dense.faces)
    height = bumps(dense.vertices, 0.006, rng) + rng.normal(0.0, 0.001, len(dense.vertices))
    vertices = dense.vertices + vertex_normals(dense) * height[:, None]
    up = vertices[:, 1]
    edge = up.min() + 0.02 * np.ptp(up) + 0.006 * np.sin(60.0 * vertices[:, 0]) + rng.normal(0.0, 0.002, len(up))
    return with_pieces(part_of(Mesh(vertices, dense.faces), (up > edge)[dense.faces].all(axis=1)), rng, 40)


def occupied(mesh: Mesh, cells: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Which nodes of a lattice are inside, where the first one is, and how far they are apart."""
    step = 1.0 / cells
    corner = np.full(3, -0.5 - FREE * step)
    size = cells + 2 * FREE
    return winding_numbers((mesh.vertices - corner) / step, mesh.faces, (size, size, size)) > 0, corner, step


def around(inside: np.ndarray, corner: np.ndarray, step: float) -> Mesh:
    """The surface half way between nodes that are inside and those that are not."""
    from skimage.measure import marching_cubes

    vertices, faces, _, _ = marching_cubes(-inside.astype(np.float32), -0.5)
    return Mesh(vertices * step + corner, faces.astype(np.int64))


def segmentation(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """Of what is inside alone, not how far."""
    return around(*occupied(mesh, 96))


def blocks(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """Two triangles for each side of an occupied cell that faces a free one."""
    inside, corner, step = occupied(mesh, 64)
    quads = []
    for axis in range(3):
        u, v = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
        for way in (-1, 1):
            base = np.argwhere(inside & ~np.roll(inside, -way, axis=axis)) - 0.5
            base[:, axis] += max(way, 0)
            corners = [base, base + u, base + u + v, base + v]
            quads.append(np.stack(corners[::way], axis=1))
    nodes, number = np.unique(2.0 * np.concatenate(quads).reshape(-1, 3), axis=0, return_inverse=True)
    squares = number.reshape(-1, 4)
    return Mesh(nodes / 2.0 * step + corner, np.concatenate([squares[:, :3], squares[:, [0, 2, 3]]]).astype(np.int64))


def with_clusters(mesh: Mesh, rng: np.random.Generator) -> PointCloud:
    """A cloud, and balls of 20 to 200 points of a radius of 0.003 to 0.01 in a cube of 1.4."""
    cloud = make_source(mesh, "cloud", seed=0)
    assert isinstance(cloud, PointCloud) and cloud.normals is not None
    points, normals = [cloud.points], [cloud.normals]
    for _ in range(40):
        way = rng.normal(size=(int(rng.integers(20, 200)), 3))
        way /= np.linalg.norm(way, axis=1)[:, None]
        normals.append(way)
        points.append(rng.uniform(-0.7, 0.7, 3) + way * rng.uniform(0.003, 0.01))
    return PointCloud(np.concatenate(points), np.concatenate(normals))


def haze(mesh: Mesh, rng: np.random.Generator, count: int = 60_000) -> PointCloud:
    """What stereo mistakes, about a surface that it sees well otherwise."""
    noise = np.where(rng.random(count) < 0.1, 0.02, 0.001)[:, None]
    points = sample_surface(mesh.vertices, mesh.faces, count, rng).points
    return PointCloud(points + rng.normal(size=points.shape) * noise)


def scans(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """Both see what lies in a slab of 0.2 through the middle."""
    dense = voxel_remesh(mesh, 112, closed=True)
    way = rng.normal(size=3)
    along = dense.triangles.mean(axis=1) @ (way / np.linalg.norm(way))
    made = []
    for kept, by in ((along > -0.1, 0.0), (along < 0.1, 0.003)):
        move = by * rng.normal(size=3) + rng.normal(0.0, 0.0008, dense.vertices.shape)
        made.append(part_of(Mesh(dense.vertices + move, dense.faces), kept))
    return joined(made)


def depth_maps(mesh: Mesh, rng: np.random.Generator, size: int = 160) -> Mesh:
    """From along each axis and back, slightly turned; what hangs farther than 0.15 is cut off."""
    made = []
    for axis in range(3):
        for way in (-1.0, 1.0):
            ahead = way * np.eye(3)[axis] + rng.uniform(-0.3, 0.3, 3)
            ahead /= np.linalg.norm(ahead)
            across = np.cross(ahead, np.eye(3)[(axis + 1) % 3])
            across /= np.linalg.norm(across)
            made.append(_depth_map(mesh, np.stack([across, np.cross(ahead, across), ahead]), size, rng))
    return joined(made)


def _depth_map(mesh: Mesh, frame: np.ndarray, size: int, rng: np.random.Generator) -> Mesh:
    """The nearest of many samples in each pixel of a square of 1.8, seen against the last row of `frame` (3, 3)."""
    seen = sample_surface(mesh.vertices, mesh.faces, 1_000_000, rng).points @ frame.T
    step = 1.8 / size
    pixel = ((seen[:, :2] + 0.9) / step).astype(np.int64) @ [size, 1]
    height = np.full(size * size, -np.inf)
    np.maximum.at(height, pixel, seen[:, 2])
    height += rng.normal(0.0, 0.0005, len(height))
    row, column = np.divmod(np.arange(size * size), size)
    places = np.stack([(row + 0.5) * step - 0.9, (column + 0.5) * step - 0.9, height], axis=1)
    node = np.arange(size * size).reshape(size, size)
    a, b, c, d = node[:-1, :-1].ravel(), node[1:, :-1].ravel(), node[1:, 1:].ravel(), node[:-1, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    faces = faces[np.isfinite(height[faces]).all(axis=1)]
    faces = faces[np.ptp(height[faces], axis=1) < 0.15]
    used, numbered = compact(faces, len(places))
    return Mesh(places[used] @ frame, numbered.astype(np.int64))


def seams(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """No two triangles share a vertex by intention."""
    made = []
    for corners in mesh.triangles:
        longest = np.linalg.norm(corners - corners[[1, 2, 0]], axis=1).max()
        count = max(int(longest / 0.02 * rng.uniform(0.7, 1.3)), 1)
        nodes = [(i, j) for i in range(count + 1) for j in range(count + 1 - i)]
        number = {node: at for at, node in enumerate(nodes)}
        faces = [[number[i, j], number[i + 1, j], number[i, j + 1]] for i, j in nodes if i + j < count]
        faces += [[number[i + 1, j], number[i + 1, j + 1], number[i, j + 1]] for i, j in nodes if i + j < count - 1]
        share = np.array(nodes) / count
        made.append(Mesh(corners[0] + share @ (corners[1:] - corners[0]), np.array(faces)))
    return joined(made)


def inner_wall(mesh: Mesh, rng: np.random.Generator) -> list[Mesh]:
    """The surface two cells of 64 further inside, wound outwards; nothing where the mesh is thinner."""
    from scipy.ndimage import binary_erosion

    inside, corner, step = occupied(mesh, 64)
    core = binary_erosion(inside, iterations=2)
    if core.sum() < 20:
        return []
    wall = around(core, corner, step)
    return [Mesh(wall.vertices + rng.normal(0.0, 0.001, wall.vertices.shape), wall.faces)]


def with_insides(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """What generators leave inside of their surfaces."""
    inside, corner, step = occupied(mesh, 64)
    nodes = np.argwhere(inside)
    made = [whole(mesh, rng), *inner_wall(mesh, rng)]
    for node in nodes[rng.integers(len(nodes), size=30)]:
        ball = trimesh.creation.icosphere(subdivisions=1, radius=rng.uniform(0.002, 0.01))
        made.append(Mesh(ball.vertices + node * step + corner, np.asarray(ball.faces, dtype=np.int64)))
    return joined(made)


def hollow(mesh: Mesh, rng: np.random.Generator) -> Mesh:
    """As prints are hollowed."""
    return joined([whole(mesh, rng), *(Mesh(one.vertices, one.faces[:, ::-1]) for one in inner_wall(mesh, rng))])


KINDS: dict[str, Kind] = {
    "whole": whole,
    "pieces": lambda mesh, rng: with_pieces(whole(mesh, rng), rng),
    "spikes": with_spikes,
    "gashes": with_gashes,
    "photogrammetry": photogrammetry,
    "segmentation": segmentation,
    "blocks": blocks,
    "clusters": with_clusters,
    "haze": haze,
    "scans": scans,
    "depth": depth_maps,
    "seams": seams,
    "insides": with_insides,
    "hollow": hollow,
}


def surface_of(given: Given) -> Mesh:
    """What plain simplifiers get: the mesh, or the surface that is read out of a cloud."""
    if isinstance(given.source, Mesh):
        return given.dense
    box, mesh = dense_surface(given.source.points, given.source.normals)
    return Mesh(box.invert(mesh.vertices), mesh.faces)


def figures_of(artist: ArtistObject, kind: str, seed: int, rows: dict[str, Method]) -> dict[str, dict[str, Any]]:
    """The figures of each row for one object."""
    given, faces = Given(artist, kind, KINDS[kind](artist.mesh, np.random.default_rng(seed))), len(artist.mesh.faces)
    return {name: measure(artist.mesh, make(given, faces).mesh, wanted=faces).as_dict() for name, make in rows.items()}


def line_of(kind: str, row: str, figures: list[dict[str, Any]]) -> str:
    """A row of the table."""
    mean = {name: np.mean([of[name] for of in figures]) for name in ("edge_f1", "vertex_f1", "open_edges")}
    far = np.median([of["hausdorff"] for of in figures])
    return (
        f"| {kind} | {row} | {mean['edge_f1']:.2f} | {mean['vertex_f1']:.2f} | {far:.3f} | {mean['open_edges']:.1f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--limit", type=int, default=24)
    parser.add_argument("--blender", action="store_true")
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    kinds = args.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"kinds must be some of {','.join(KINDS)}, got {','.join(sorted(unknown))}")
    store = MeshStore.open(args.data, args.split)
    objects = choose_objects(store, min_faces=20, max_faces=400, closed=True, limit=args.limit)
    rows: dict[str, Method] = {
        "proxy": lambda given, faces: timed(lambda: proxy_of(given, faces)),
        "decimate": lambda given, faces: timed(lambda: decimate(surface_of(given), faces)),
    }
    blender = Blender() if args.blender else None
    if blender:
        rows["Blender"] = lambda given, faces: blender.simplify(surface_of(given), "decimate", faces)
    print("| source |  | edge F1 | vertex F1 | HD | open edges |\n|---|---|---|---|---|---|")
    report: dict[str, Any] = {}
    for kind in kinds:
        found = {artist.name: figures_of(artist, kind, seed, rows) for seed, artist in enumerate(objects)}
        report[kind] = found
        for row in rows:
            print(line_of(kind, row, [figures[row] for figures in found.values()]), flush=True)
    if blender:
        blender.close()
    write_report(args.report, report)


if __name__ == "__main__":
    main()
