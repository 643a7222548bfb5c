"""Ordinary shapes made by Blender's own tools, and what the engine and Blender's Decimate make of them.

    PYTHON_WITH_BPY benchmarks/shapes_in_blender.py [--shapes torus,text] [--out DIR] [--sheet FILE.png]

That Python needs bpy and what the engine needs. A shape passes where no edge is open although the source has none,
the largest distance from the source to the result is at most 1.25 times Decimate's (collapse, the same number of wanted
faces) and 0.3 % of the longest side, and the faces are within 10 % of those wanted. Prints a line a shape and, last, a
line of JSON; DIR gets pages of pictures, FILE.png all in one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import flashmesh_core
from benchmarks.blender_shapes import SHAPES, Shape
from benchmarks.blender_simplify import decimate
from blender_addon.scene.mesh_bridge import evaluated_triangles
from flashmesh_core.decode.engine import Engine
from flashmesh_core.decode.inspection import SLACK, WORSE
from flashmesh_core.decode.results import COUNT_TOLERANCE
from flashmesh_core.evaluation.pictures import Pictures
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.figures import welded
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.mesh.sheets import open_edge_count
from flashmesh_core.picture import fit_frame, picture_grid, render_mesh

SAMPLES = 50_000  # points on a source, beside its vertices
CELL = (120, 120)  # pixels of a picture on the sheet
ACROSS = 3  # shapes in a row of the sheet


@dataclass(frozen=True, eq=False)
class Judged:
    """What came of a shape; gaps are shares of the source's longest side."""

    name: str
    shape: Shape
    source: Mesh
    result: Mesh
    decimated: Mesh
    decoded: float  # share of the faces that the model wrote
    seconds: float
    gap: float
    decimate_gap: float
    source_open: int  # edges with one face
    result_open: int

    @property
    def misses(self) -> list[str]:
        """The parts of the rule that it breaks, in words."""
        found, faces, wanted = [], len(self.result.faces), self.shape.wanted
        if self.result_open and not self.source_open:
            found.append(f"{self.result_open} open edges, the source has none")
        if self.gap > WORSE * self.decimate_gap + SLACK:
            found.append(f"gap {self.gap:.2%}, Decimate's {self.decimate_gap:.2%}")
        if abs(faces - wanted) > COUNT_TOLERANCE * wanted:
            found.append(f"{faces} faces, {wanted} wanted")
        return found

    @property
    def figures(self) -> dict[str, Any]:
        """The numbers, ready for JSON."""
        return {
            "shape": self.name, "source_faces": len(self.source.faces), "wanted": self.shape.wanted,
            "faces": len(self.result.faces), "decimate_faces": len(self.decimated.faces),
            "source_open_edges": self.source_open, "open_edges": self.result_open,
            "gap": self.gap, "decimate_gap": self.decimate_gap, "decoded": self.decoded, "seconds": self.seconds,
            "misses": self.misses,
        }  # fmt: skip

    @property
    def line(self) -> str:
        """The numbers, for a reader."""
        return (
            f"{self.name:26} {len(self.source.faces):7,} -> {len(self.result.faces):5,} of {self.shape.wanted:5,}, "
            f"open {self.result_open:3} ({self.source_open} in the source), gap {100 * self.gap:5.2f} % "
            f"(Decimate {100 * self.decimate_gap:5.2f} %, {len(self.decimated.faces):,}), decoded {self.decoded:4.0%}, "
            f"{self.seconds:5.1f} s: {'; '.join(self.misses) or 'pass'}"
        )


def shown(item: bpy.types.Object) -> Mesh:
    """What the scene shows of an object."""
    return Mesh(*evaluated_triangles(item, bpy.context.evaluated_depsgraph_get()))


def judge(name: str, engine: Engine) -> Judged:
    """Make the shape anew, give it to the engine and to Decimate, and measure."""
    shape = SHAPES[name]
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    item = shape.make()
    source = shown(item)
    decimate(item, shape.wanted, len(source.faces))
    decimated = shown(item)
    began = time.perf_counter()
    made = engine.generate(source, faces=shape.wanted, seed=0)
    seconds = time.perf_counter() - began
    sampled = sample_surface(source.vertices, source.faces, SAMPLES, np.random.default_rng(0)).points
    points = np.concatenate([source.vertices[np.unique(source.faces)], sampled.astype(np.float64)])
    side = float(np.ptp(source.vertices, axis=0).max())
    gaps = [
        float(TriangleTree.of_mesh(mesh.vertices, mesh.faces).distance(points).max()) / side
        for mesh in (made.mesh, decimated)
    ]
    opened = [open_edge_count(welded(mesh).faces) for mesh in (source, made.mesh)]
    decoded = max(0.0, 1.0 - made.filled / len(made.mesh.faces))
    return Judged(name, shape, source, made.mesh, decimated, decoded, seconds, *gaps, *opened)


def write_sheet(judged: list[Judged], path: Path) -> None:
    """All shapes in one small picture: source, result and Decimate of each, its name above them."""
    from PIL import Image

    rows: list[list[Any]] = []
    for first in range(0, len(judged), ACROSS):
        titles, pictures = [], []
        for one in judged[first : first + ACROSS]:
            titles += [one.name, f"{len(one.result.faces):,} faces", "Decimate"]
            frame = fit_frame(one.source.vertices, CELL)
            for mesh in (one.source, one.result, one.decimated):
                pictures.append(render_mesh(mesh.vertices, mesh.faces, size=CELL, frame=frame))
        rows += [titles, pictures]
    picture_grid(rows, path)
    with Image.open(path) as image:
        small = image.quantize(32)
    small.save(path, optimize=True)


def parsed() -> argparse.Namespace:
    """The command line; what Blender itself is given stands before "--"."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=",".join(SHAPES), help="names with commas between them (default: all)")
    parser.add_argument("--out", type=Path, help="a folder for pages of pictures")
    parser.add_argument("--sheet", type=Path, help="a PNG of all shapes")
    args = parser.parse_args(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else None)
    args.shapes = args.shapes.split(",")
    if unknown := [name for name in args.shapes if name not in SHAPES]:
        parser.error(f"--shapes must be some of {','.join(SHAPES)}, got {','.join(unknown)}")
    return args


def main() -> None:
    """Judge the shapes one after the other."""
    args = parsed()
    engine = flashmesh_core.load("nano")
    pages = Pictures(args.out, ["source", "result", "Decimate"]) if args.out else None
    judged = []
    for name in args.shapes:
        judged.append(judge(name, engine))
        print(judged[-1].line, flush=True)
        if pages:
            one = judged[-1]
            text = [name, f"{len(one.result.faces):,} of {one.shape.wanted:,} faces", f"decoded {one.decoded:.0%}",
                    f"gap {one.gap:.2%}, Decimate's {one.decimate_gap:.2%}", *(one.misses or ["pass"])]  # fmt: skip
            pages.add([one.source, one.result, one.decimated], text)
    if pages:
        pages.flush()
    if args.sheet:
        write_sheet(judged, args.sheet)
    print(json.dumps([one.figures for one in judged]))


if __name__ == "__main__":
    main()
