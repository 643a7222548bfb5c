"""Meshes as Blender's own tools make them: primitives, texts, curves and metaballs under one to three modifiers.

    PYTHON_WITH_BPY benchmarks/blender_modifiers.py --out FOLDER [--count 90] [--seed 5]
    python benchmarks/modelled_meshes.py --data FOLDER --max-faces 150000 --faces 200,1000 --blender

By chance, but always the same for a seed. Writes OBJ files of 1,500 to 150,000 triangles. There is no artist's answer:
the second command compares what is made of each with the mesh itself.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import save_mesh

LEAST, MOST = 1_500, 150_000  # triangles
TRIES = 6  # for each mesh that is wanted


def text(rng: random.Random) -> None:
    """Letters with a thickness, some bevelled."""
    bpy.ops.object.text_add()
    letters = bpy.context.object.data
    letters.body, letters.extrude = rng.choice(["Ag", "Flash", "R&B", "8@"]), 0.1
    letters.bevel_depth, letters.resolution_u = rng.choice([0.0, 0.02]), rng.choice([4, 12])
    bpy.ops.object.convert(target="MESH")


def curve(rng: random.Random) -> None:
    """A closed tube."""
    bpy.ops.curve.primitive_bezier_circle_add()
    tube = bpy.context.object.data
    tube.bevel_depth, tube.resolution_u, tube.bevel_resolution = rng.choice([0.05, 0.2]), 24, 4
    for point in tube.splines[0].bezier_points:
        point.co.z += rng.uniform(-0.6, 0.6)
    bpy.ops.object.convert(target="MESH")


def metaballs(rng: random.Random) -> None:
    """Two to six balls that run into each other."""
    bpy.ops.object.metaball_add(type="BALL")
    balls = bpy.context.object.data
    balls.resolution = rng.choice([0.08, 0.15])
    for _ in range(rng.randint(2, 6)):
        ball = balls.elements.new()
        ball.co, ball.radius = [rng.uniform(-1.5, 1.5) for _ in range(3)], rng.uniform(0.5, 1.3)
    bpy.context.view_layer.update()
    bpy.ops.object.convert(target="MESH")


def skin(rng: random.Random) -> None:
    """Four bars in a ring, of few faces."""
    bpy.ops.mesh.primitive_plane_add()
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.delete(type="ONLY_FACE")
    bpy.ops.object.mode_set(mode="OBJECT")
    for vertex in bpy.context.object.data.vertices:
        vertex.co.z += rng.uniform(-1.0, 1.0)
    bpy.context.object.modifiers.new("skin", "SKIN")


def primitive(name: str, **choices: list[Any]) -> Callable[[random.Random], None]:
    """A primitive of the Add menu with settings by chance."""

    def made(rng: random.Random) -> None:
        getattr(bpy.ops.mesh, f"primitive_{name}_add")(**{key: rng.choice(some) for key, some in choices.items()})

    return made


SHAPES = {
    "cube": primitive("cube"),
    "cylinder": primitive("cylinder", vertices=[6, 12, 32, 64], end_fill_type=["NGON", "TRIFAN"]),
    "ball": primitive("uv_sphere", segments=[16, 32, 48], ring_count=[8, 16, 24]),
    "icosphere": primitive("ico_sphere", subdivisions=[2, 3, 4]),
    "cone": primitive("cone", vertices=[8, 24, 48], radius2=[0.0, 0.4]),
    "torus": primitive("torus", major_segments=[24, 48], minor_segments=[8, 16]),
    "monkey": primitive("monkey"),
    "grid": primitive("grid", x_subdivisions=[20, 60], y_subdivisions=[20, 60]),
    "text": text,
    "curve": curve,
    "metaballs": metaballs,
    "skin": skin,
}
MODIFIERS = [
    *("BEVEL", "SUBSURF", "SUBSURF", "ARRAY", "SOLIDIFY", "SIMPLE_DEFORM", "DISPLACE", "CAST"),
    *("REMESH", "REMESH", "MIRROR", "BOOLEAN", "EDGE_SPLIT", "DECIMATE"),
]


def add_modifier(shape: Any, kind: str, rng: random.Random) -> None:
    """One modifier more on an object, with settings by chance."""
    modifier = shape.modifiers.new(kind, kind)
    if kind == "BEVEL":
        modifier.width, modifier.segments = rng.choice([0.03, 0.1]), rng.choice([1, 3, 6])
        modifier.limit_method = "ANGLE"
    elif kind == "SUBSURF":
        modifier.levels = rng.choice([1, 2, 3])
    elif kind == "ARRAY":
        modifier.count, modifier.use_merge_vertices = rng.choice([3, 5]), rng.random() < 0.5
        modifier.relative_offset_displace = (rng.choice([1.0, 1.2, 0.7]), rng.choice([0.0, 0.3]), 0.0)
    elif kind == "SOLIDIFY":
        modifier.thickness = rng.choice([0.03, 0.15])
    elif kind == "SIMPLE_DEFORM":
        modifier.deform_method, modifier.deform_axis = rng.choice(["TWIST", "BEND", "TAPER"]), "Z"
        modifier.angle = rng.uniform(0.5, 2.5)
    elif kind == "DISPLACE":
        modifier.texture = bpy.data.textures.new("bumps", rng.choice(["CLOUDS", "VORONOI", "WOOD"]))
        modifier.strength, modifier.texture.noise_scale = rng.choice([0.1, 0.4]), rng.choice([0.25, 0.8])
    elif kind == "CAST":
        modifier.factor = rng.uniform(0.2, 0.9)
    elif kind == "REMESH":
        modifier.mode = rng.choice(["VOXEL", "VOXEL", "SMOOTH", "BLOCKS", "SHARP"])
        modifier.voxel_size, modifier.octree_depth = max(shape.dimensions) / rng.choice([60, 110, 160]), 6
    elif kind == "MIRROR":
        shape.data.transform(Matrix.Translation((rng.choice([0.3, 1.2]), 0.0, 0.0)))
    elif kind == "BOOLEAN":
        place = (rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4), 0.0)
        bpy.ops.mesh.primitive_cylinder_add(vertices=32, radius=rng.choice([0.3, 0.6]), depth=5.0, location=place)
        modifier.object, modifier.operation = bpy.context.object, rng.choice(["DIFFERENCE", "UNION"])
    elif kind == "EDGE_SPLIT":
        modifier.split_angle = 0.5
    elif kind == "DECIMATE":
        modifier.decimate_type, modifier.angle_limit = "DISSOLVE", 0.1


def evaluated(shape: Any) -> Mesh:
    """The triangles that an object has under its modifiers."""
    bpy.context.view_layer.objects.active = shape
    found = shape.evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
    found.calc_loop_triangles()
    vertices = np.empty(3 * len(found.vertices), dtype=np.float32)
    faces = np.empty(3 * len(found.loop_triangles), dtype=np.int32)
    found.vertices.foreach_get("co", vertices)
    found.loop_triangles.foreach_get("vertices", faces)
    return Mesh(vertices.reshape(-1, 3).astype(np.float64), faces.reshape(-1, 3).astype(np.int64))


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=90)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng, made = random.Random(args.seed), 0
    for _ in range(TRIES * args.count):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        name, kinds = rng.choice(sorted(SHAPES)), rng.sample(MODIFIERS, rng.choice([1, 2, 3]))
        SHAPES[name](rng)
        shape = bpy.context.object
        for kind in kinds:
            add_modifier(shape, kind, rng)
        mesh = evaluated(shape)
        if LEAST <= len(mesh.faces) <= MOST and np.isfinite(mesh.vertices).all():
            save_mesh(args.out / f"{made:03d}_{'_'.join([name, *kinds]).lower()}.obj", mesh)
            made += 1
        if made == args.count:
            break
    print(f"{made} meshes in {args.out}")


if __name__ == "__main__":
    main()
