"""Modelled meshes - artists' own, CAD programs' - with fewer faces, without an answer to compare with.

    python benchmarks/modelled_meshes.py --data DATA [--shares 2,4,10 | --faces 500,2000] [--limit 60] [--blender]

Of each mesh: the proxy, plain simplification (meshoptimizer) and, if asked, Blender's Decimate, both with vertices at
one place merged. Distances in % of the longest side: from the points of the mesh that are seen from outside to what was
made of it, on the mean and the farthest, and back, the point that sticks out farthest. A point is seen if in one of 26
directions nothing lies a hundredth of the longest side or more before it. Prints a table of means over the meshes.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from against_blender import Blender

from flashmesh_core.__main__ import write_report
from flashmesh_core.evaluation.methods import Made, Method, decimate, proxy_of, timed
from flashmesh_core.evaluation.objects import Given, choose_objects
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.figures import welded
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.mesh.store import MeshStore

SAMPLES, OCCLUDERS = 6_000, 400_000  # points of a surface that are measured from; that may hide others
CELLS, BEFORE = 150, 0.01  # of the pictures that tell, a longest side; longest sides that hidden points lie behind
WAYS = np.array([way for way in np.ndindex(3, 3, 3) if way != (1, 1, 1)]) - 1.0


def seen(mesh: Mesh, points: np.ndarray) -> np.ndarray:
    """Which `points` (N, 3) of a mesh of the unit box are seen from outside."""
    cover = sample_surface(mesh.vertices, mesh.faces, OCCLUDERS, np.random.default_rng(1)).points
    found = np.zeros(len(points), dtype=bool)
    for way in WAYS / np.linalg.norm(WAYS, axis=1, keepdims=True):
        across = np.linalg.svd(way[None])[2][1:]
        top = np.full((4 * CELLS, 4 * CELLS), -np.inf)
        cells, ours = (np.floor(places @ across.T * CELLS).astype(int) + 2 * CELLS for places in (cover, points))
        np.maximum.at(top, tuple(cells.T), cover @ way)
        found |= points @ way >= top[tuple(ours.T)] - BEFORE
    return found


def figures_of(tree: TriangleTree, points: np.ndarray, made: Made, faces: int) -> dict[str, float]:
    """How far what is made lies from the seen `points` (N, 3) of a mesh, and from its `tree`; % of the longest side."""
    result = welded(made.mesh)
    if not len(result.faces):
        return {"mean": np.nan, "farthest": np.nan, "sticks out": np.nan, "close": 0.0, "seconds": made.seconds}
    there = TriangleTree.of_mesh(result.vertices, result.faces).distance(points)
    samples = sample_surface(result.vertices, result.faces, SAMPLES, np.random.default_rng(0)).points
    back = tree.distance(samples)
    far = {"mean": 100.0 * there.mean(), "farthest": 100.0 * there.max(), "sticks out": 100.0 * back.max()}
    return {**far, "close": float(abs(len(result.faces) / faces - 1.0) <= 0.1), "seconds": made.seconds}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--min-faces", type=int, default=500)
    parser.add_argument("--max-faces", type=int, default=60_000)
    parser.add_argument("--shares", default="2,4,10", help="one in how many faces; not with --faces")
    parser.add_argument("--faces", default="", help="counts, of meshes that have at least three times as many")
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--blender", action="store_true")
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    store = MeshStore.open(args.data, args.split, most_faces=args.max_faces)
    objects = choose_objects(store, min_faces=args.min_faces, max_faces=args.max_faces, limit=args.limit)
    rows: dict[str, Method] = {
        "proxy": lambda given, faces: timed(lambda: proxy_of(given, faces)),
        "decimate": lambda given, faces: timed(lambda: decimate(given.dense, faces)),
    }
    blender = Blender() if args.blender else None
    if blender:
        rows["Blender"] = lambda given, faces: blender.simplify(given.dense, "decimate", faces)
    report: dict[str, dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for artist in objects:
        mesh = welded(artist.mesh)
        given = Given(artist, "modelled", mesh)
        points = sample_surface(mesh.vertices, mesh.faces, SAMPLES, np.random.default_rng(0)).points
        points, tree = points[seen(mesh, points)], TriangleTree.of_mesh(mesh.vertices, mesh.faces)
        wanted = {f"1/{share}": len(mesh.faces) // int(share) for share in args.shares.split(",")}
        if args.faces:
            wanted = {count: int(count) for count in args.faces.split(",") if 3 * int(count) <= len(mesh.faces)}
        for name, faces in wanted.items():
            for row, make in rows.items():
                report[name][row][artist.name] = figures_of(tree, points, make(given, faces), faces)
    if blender:
        blender.close()
    print("| faces | meshes |  | mean | farthest | sticks out | within 10 % | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for name, of in report.items():
        for row, found in of.items():
            mean = {key: np.nanmean([one[key] for one in found.values()]) for key in next(iter(found.values()))}
            print(
                f"| {name} | {len(found)} | {row} | {mean['mean']:.3f} | {mean['farthest']:.2f} | "
                f"{mean['sticks out']:.2f} | {mean['close']:.0%} | {mean['seconds']:.2f} |"
            )
    write_report(args.report, report)


if __name__ == "__main__":
    main()
