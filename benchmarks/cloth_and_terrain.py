"""Meshes of the kinds that artists simplify: cloth, garments, terrain, sculpts, ropes, lattices, generated models.

    PYTHON_WITH_BPY benchmarks/cloth_and_terrain.py --out FOLDER [--each 4] [--seed 2]
    python benchmarks/modelled_meshes.py --data FOLDER --max-faces 300000 --min-faces 1500 --faces 200,1500 --blender

By chance, but always the same for a seed. Writes OBJ files. There is no artist's answer: the second command compares
what is made of each with the mesh itself.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from blender_modifiers import evaluated
from mathutils import Vector, noise

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flashmesh_core.mesh.canonical import Mesh, Normalization
from flashmesh_core.mesh.io import save_mesh

FRAMES = 45  # that cloth falls for


def roughness(points: np.ndarray, rng: random.Random, octaves: int, scale: float) -> np.ndarray:
    """Fractal noise (N,) at points (N, 3)."""
    start, total = Vector([rng.uniform(0.0, 99.0) for _ in range(3)]), np.zeros(len(points))
    for number, point in enumerate(points):
        place, weight = Vector(point) * scale + start, 1.0
        for _ in range(octaves):
            total[number] += weight * noise.noise(place)
            place, weight = place * 2.03, 0.5 * weight
    return total


def grid(rows: int, columns: int, around: bool = False) -> np.ndarray:
    """The triangles (F, 3) between rows of vertices, which end where they began if they go `around`."""
    index = np.arange(rows * columns).reshape(rows, columns)
    after = np.roll(index, -1, axis=1) if around else index[:, 1:]
    index = index if around else index[:, :-1]
    quads = np.stack([index[:-1], after[:-1], after[1:], index[1:]], axis=-1).reshape(-1, 4)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def square(cells: int) -> Mesh:
    """A flat square, two wide, of so many cells a side."""
    axis = np.linspace(-1.0, 1.0, cells + 1)
    x, y = np.meshgrid(axis, axis)
    return Mesh(np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1), grid(cells + 1, cells + 1))


def placed(mesh: Mesh) -> Any:
    """The mesh as an object of the scene."""
    data = bpy.data.meshes.new("shape")
    data.from_pydata(mesh.vertices.tolist(), [], mesh.faces.tolist())
    shape = bpy.data.objects.new("shape", data)
    bpy.context.collection.objects.link(shape)
    return shape


def surface_of(values: np.ndarray, size: float) -> Mesh:
    """The surface where a field on a grid is 0, inside below."""
    from skimage.measure import marching_cubes

    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="ascent", allow_degenerate=False)
    return Mesh(vertices * size / (len(values) - 1.0), faces[:, ::-1].astype(np.int64))


def cloth(rng: random.Random) -> Mesh:
    """A cloth that fell over something, or a flag that hangs by two corners."""
    sheet = placed(square(rng.choice([79, 109])))
    sheet.location.z = 1.2
    fabric = sheet.modifiers.new("cloth", "CLOTH")
    fabric.settings.bending_stiffness = rng.choice([0.05, 0.5, 3.0])
    below = rng.choice(["uv_sphere", "cube", "monkey", None])
    if below is None:
        corners = sheet.vertex_groups.new(name="pins")
        corners.add([v.index for v in sheet.data.vertices if v.co.x < -0.98 and abs(v.co.y) > 0.8], 1.0, "ADD")
        fabric.settings.vertex_group_mass = "pins"
    else:
        getattr(bpy.ops.mesh, f"primitive_{below}_add")(location=(0.0, 0.0, 0.5), scale=(0.5, 0.5, 0.5))
        bpy.context.object.modifiers.new("collision", "COLLISION")
    for frame in range(1, FRAMES + 1):
        bpy.context.scene.frame_set(frame)
    return evaluated(sheet)


def garment(rng: random.Random) -> Mesh:
    """A skirt in folds, some with a thickness."""
    around, rows = np.linspace(0.0, 2.0 * np.pi, 140, endpoint=False), np.linspace(0.0, 2.0, 80)[:, None]
    folds = 0.12 * (1.0 - 0.5 * rows) * np.sin(rng.choice([5, 9, 14]) * around + 0.6 * np.sin(3.0 * rows))
    radius = 0.4 + 0.25 * (1.0 - 0.5 * rows) ** 1.5 + folds + 0.01 * np.sin(23.0 * around + 9.0 * rows)
    x, y, z = radius * np.cos(around), 0.6 * radius * np.sin(around), np.broadcast_to(rows, radius.shape)
    shape = placed(Mesh(np.stack([x, y, z], axis=-1).reshape(-1, 3), grid(80, 140, around=True)))
    thickness = rng.choice([0.0, 0.01, 0.03])
    if thickness:
        shape.modifiers.new("thickness", "SOLIDIFY").thickness = thickness
    return evaluated(shape)


def terrain(rng: random.Random) -> Mesh:
    """Hills."""
    mesh = square(rng.choice([119, 219]))
    height = rng.choice([0.08, 0.25]) * roughness(mesh.vertices, rng, 6, rng.choice([1.0, 2.0]))
    return Mesh(mesh.vertices + height[:, None] * [0.0, 0.0, 1.0], mesh.faces)


def ocean(rng: random.Random) -> Mesh:
    """Waves."""
    bpy.ops.mesh.primitive_plane_add()
    waves = bpy.context.object.modifiers.new("ocean", "OCEAN")
    waves.resolution, waves.wave_scale, waves.choppiness = 8, rng.choice([1.0, 4.0]), rng.choice([0.0, 1.2])
    waves.random_seed = rng.randint(0, 99)
    return evaluated(bpy.context.object)


def uneven(rng: random.Random) -> Mesh:
    """A lump with finer triangles on one side, as sculpting with dynamic topology leaves."""
    import bmesh

    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=5)
    data, mesh = bpy.context.object.data, bmesh.new()
    mesh.from_mesh(data)
    way = Vector([rng.gauss(0.0, 1.0) for _ in range(3)]).normalized()
    fine = [edge for edge in mesh.edges if (edge.verts[0].co + edge.verts[1].co).normalized().dot(way) > 0.85]
    bmesh.ops.subdivide_edges(mesh, edges=fine, cuts=2, use_grid_fill=True)
    bmesh.ops.triangulate(mesh, faces=mesh.faces[:])
    mesh.to_mesh(data)
    ball = evaluated(bpy.context.object)
    sides = ball.vertices / np.linalg.norm(ball.vertices, axis=1, keepdims=True)
    height = 0.5 * roughness(sides, rng, 2, 1.3) + rng.choice([0.02, 0.08]) * roughness(sides, rng, 5, 4.0)
    return Mesh(sides * (1.0 + height[:, None]), ball.faces)


def pores(rng: random.Random) -> Mesh:
    """A head with a skin."""
    bpy.ops.mesh.primitive_monkey_add()
    head = bpy.context.object
    head.modifiers.new("smooth", "SUBSURF").levels = 3
    skin = head.modifiers.new("skin", "DISPLACE")
    skin.texture, skin.strength = bpy.data.textures.new("skin", "CLOUDS"), rng.choice([0.01, 0.03, 0.08])
    skin.texture.noise_scale = rng.choice([0.05, 0.12, 0.3])
    return evaluated(head)


def braid(rng: random.Random) -> Mesh:
    """Three to five tubes around each other."""
    way, strands, sides = np.linspace(0.0, 8.0 * np.pi, 300), rng.choice([3, 4, 5]), 12
    vertices, faces = [], []
    angle = np.linspace(0.0, 2.0 * np.pi, sides, endpoint=False)[None, :, None]
    for turn in np.arange(strands) * 2.0 * np.pi / strands:
        middle = np.stack([0.25 * np.sin(0.5 * way + turn), 0.12 * np.sin(way + 2.0 * turn), way / 12.0], axis=1)
        along = np.gradient(middle, axis=0)
        aside = np.cross(along, [1.0, 0.0, 0.0])
        across = np.cross(along, aside)
        aside, across = (of / np.linalg.norm(of, axis=1, keepdims=True) for of in (aside, across))
        ring = middle[:, None] + 0.1 * (np.cos(angle) * aside[:, None] + np.sin(angle) * across[:, None])
        fan = np.stack([np.zeros(sides - 2, dtype=int), np.arange(1, sides - 1), np.arange(2, sides)], axis=1)
        caps = np.concatenate([fan[:, ::-1], fan + (len(way) - 1) * sides])
        faces.append(np.concatenate([grid(len(way), sides, around=True), caps]) + sum(len(of) for of in vertices))
        vertices.append(ring.reshape(-1, 3))
    return Mesh(np.concatenate(vertices), np.concatenate(faces))


def lattice(rng: random.Random) -> Mesh:
    """A gyroid in a ball or a cube."""
    x, y, z = places = np.stack(np.meshgrid(*[np.linspace(-1.0, 1.0, 64)] * 3, indexing="ij")) * np.pi
    waves = np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)
    far = np.abs(places).max(axis=0) if rng.random() < 0.5 else np.linalg.norm(places, axis=0)
    return surface_of(np.maximum(np.abs(waves) - rng.choice([0.3, 0.5]), 4.0 * (far / np.pi - 0.9)), 2.0)


def splash(rng: random.Random) -> Mesh:
    """Drops, many of which run into each other."""
    bpy.ops.object.metaball_add(type="BALL")
    balls = bpy.context.object.data
    balls.resolution = 0.08
    for _ in range(60):
        ball, way = balls.elements.new(), Vector([rng.gauss(0.0, 1.0) for _ in range(3)]).normalized()
        ball.co, ball.radius = way * (0.4 + abs(rng.gauss(0.0, 1.0))), rng.uniform(0.15, 0.5)
    bpy.context.view_layer.update()
    bpy.ops.object.convert(target="MESH")
    return evaluated(bpy.context.object)


def generated(rng: random.Random) -> Mesh:
    """Blocks and poles with soft edges and a soft noise on a grid of 160 cells, as models make; some are hollow."""
    from scipy.ndimage import gaussian_filter

    places = np.stack(np.meshgrid(*[np.linspace(-1.2, 1.2, 161)] * 3, indexing="ij"))
    field = np.full(places.shape[1:], 9.0)
    for _ in range(rng.choice([6, 12])):
        center, half = (np.array([rng.uniform(*of) for _ in range(3)]) for of in ((-0.7, 0.7), (0.1, 0.5)))
        off = np.abs(places - center[:, None, None, None]) - half[:, None, None, None]
        block = np.linalg.norm(np.maximum(off, 0.0), axis=0) + np.minimum(off.max(axis=0), 0.0)
        pole = np.maximum(np.hypot(*(places[:2] - center[:2, None, None, None])) - half[0], off[2])
        field = np.minimum(field, block if rng.random() < 0.6 else pole)
    soft = gaussian_filter(np.random.default_rng(rng.randint(0, 9999)).normal(size=field.shape), 3.0)
    field = gaussian_filter(field, 1.0) + rng.choice([0.02, 0.08]) * soft
    return surface_of(np.abs(field) - 0.02 if rng.random() < 0.4 else field, 2.4)


KINDS = [cloth, garment, terrain, ocean, uneven, pores, braid, lattice, splash, generated]


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--each", type=int, default=4, help="meshes of each kind (default: 4)")
    parser.add_argument("--seed", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for make in KINDS:
        for number in range(args.each):
            bpy.ops.wm.read_factory_settings(use_empty=True)
            mesh = make(random.Random(f"{args.seed} {make.__name__} {number}"))
            box = Normalization.of_points(mesh.vertices)
            save_mesh(args.out / f"{make.__name__}{number}.obj", Mesh(box.apply(mesh.vertices), mesh.faces))
    print(f"{len(KINDS) * args.each} meshes in {args.out}")


if __name__ == "__main__":
    main()
