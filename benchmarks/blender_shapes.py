"""Ordinary objects, made by Blender's own tools: what people try first. Needs bpy; see shapes_in_blender.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import bpy
import numpy as np

CELLS = 160  # voxels along the longest side of what is remeshed


@dataclass(frozen=True)
class Shape:
    """A source and how many faces are asked for."""

    make: Callable[[], bpy.types.Object]  # in an empty scene; modifiers are not applied
    wanted: int


def select(*objects):
    """Selects exactly these; the last one is active."""
    for item in bpy.context.scene.objects:
        item.select_set(item in objects)
    bpy.context.view_layer.objects.active = objects[-1]


def joined(name, parts):
    """One object of several."""
    select(*parts)
    bpy.ops.object.join()
    obj = bpy.context.view_layer.objects.active
    obj.name = name
    bpy.ops.object.transform_apply(location=True, rotation=True, scale=True)
    return obj


def box(size, place):
    """A cuboid of the sides `size` around `place`."""
    bpy.ops.mesh.primitive_cube_add(size=1, location=place, scale=size)
    return bpy.context.object


def table():
    """A top and four legs that reach into it."""
    legs = [box((0.1, 0.1, 0.9), (x, y, 0.45)) for x in (-0.9, 0.9) for y in (-0.5, 0.5)]
    return joined("Table", [box((2.0, 1.2, 0.1), (0, 0, 0.95)), *legs])


def house():
    """Walls, a roof of three sides and a chimney through it."""
    bpy.ops.mesh.primitive_cylinder_add(vertices=3, radius=1.0, depth=2.2, rotation=(0, np.pi / 2, 0))
    roof = bpy.context.object
    roof.location, roof.scale = (0, 0, 1.25), (0.6, 1.0, 1.0)
    return joined("House", [box((2.0, 1.4, 1.2), (0, 0, 0.6)), roof, box((0.25, 0.25, 0.8), (0.5, 0.3, 1.6))])


def linked(name, vertices, faces):
    """An object of corners and polygons."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices, [], faces)
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(obj)
    return obj


def cog(teeth=8):
    """A cog wheel with a hole, of four sides."""
    ring = []
    for k in range(4 * teeth):
        radius = 1.0 if k % 4 in (1, 2) else 0.75
        angle = 2 * np.pi * (k + 0.15 * (1 if k % 4 in (0, 2) else -1)) / (4 * teeth)
        ring.append((radius * np.cos(angle), radius * np.sin(angle)))
    count = len(ring)
    hole = [(0.3 * np.cos(2 * np.pi * k / count), 0.3 * np.sin(2 * np.pi * k / count)) for k in range(count)]
    vertices = [(*place, z) for z in (-0.15, 0.15) for loop in (ring, hole) for place in loop]
    faces = []
    for k in range(count):
        n = (k + 1) % count
        out, out_n, inn, inn_n = k, n, count + k, count + n
        up = 2 * count
        faces += [(out, out_n, up + out_n, up + out), (inn_n, inn, up + inn, up + inn_n)]
        faces += [(out_n, out, inn, inn_n), (up + out, up + out_n, up + inn_n, up + inn)]
    return linked("Cog", vertices, faces)


def bevelled_cube():
    """A cube with rounded edges of three segments."""
    bpy.ops.mesh.primitive_cube_add()
    bevel = bpy.context.object.modifiers.new("Bevel", "BEVEL")
    bevel.width, bevel.segments = 0.25, 3
    return bpy.context.object


def ball(noise=0.0):
    """A UV sphere of 199,600 triangles; `noise` in radii."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=400, ring_count=251)
    mesh = bpy.context.object.data
    points = np.empty(3 * len(mesh.vertices), dtype=np.float32)
    mesh.vertices.foreach_get("co", points)
    random = np.random.default_rng(0).normal(0.0, noise, (len(mesh.vertices), 1)).astype(np.float32)
    mesh.vertices.foreach_set("co", (points.reshape(-1, 3) * (1.0 + random)).ravel())
    return bpy.context.object


def cylinder(sides):
    """A cylinder with caps of one polygon each."""
    bpy.ops.mesh.primitive_cylinder_add(vertices=sides)
    return bpy.context.object


def grid():
    """A flat grid of 20 x 20 squares."""
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=20, y_subdivisions=20)
    return bpy.context.object


def monkey():
    """Suzanne, subdivided twice: her eyes lie in open sockets."""
    bpy.ops.mesh.primitive_monkey_add()
    modifier = bpy.context.object.modifiers.new("Subdivision", "SUBSURF")
    modifier.levels = 2
    return bpy.context.object


def text():
    """A word with depth, as a mesh."""
    bpy.ops.object.text_add()
    item = bpy.context.object
    item.data.body, item.data.extrude = "Mesh", 0.1
    bpy.ops.object.convert(target="MESH")
    return bpy.context.object


def torus():
    """A torus of 9,216 triangles."""
    bpy.ops.mesh.primitive_torus_add(major_segments=96, minor_segments=48)
    return bpy.context.object


def holed_sheet(cells=60):
    """A wavy sheet of squares with a round hole."""
    line = np.linspace(-1.0, 1.0, cells + 1)
    x, y = (part.ravel() for part in np.meshgrid(line, line))
    vertices = np.stack([x, y, 0.15 * np.sin(3.0 * x) * np.cos(2.0 * y)], axis=1)
    corner = np.arange((cells + 1) ** 2).reshape(cells + 1, -1)
    faces = np.stack([corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]], axis=-1).reshape(-1, 4)
    outside = np.hypot(x, y)[faces].min(axis=1) > 0.4
    return linked("Sheet", vertices.tolist(), faces[outside].tolist())


def loose_parts():
    """A ball, a cube of many faces and a cone, apart from each other, in one object."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32, radius=0.6, location=(-1.6, 0, 0))
    parts = [bpy.context.object, box((1.0, 1.0, 1.0), (0, 0, 0))]
    select(parts[1])
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.subdivide(number_cuts=9)
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.mesh.primitive_cone_add(vertices=48, radius1=0.6, depth=1.2, location=(1.6, 0, 0))
    return joined("Parts", [*parts, bpy.context.object])


def remeshed(make, voxel=None):
    """The maker of what another one makes, voxel-remeshed; without `voxel`, in cells of 1 / CELLS of its size."""

    def made():
        item = make()
        shown = item.evaluated_get(bpy.context.evaluated_depsgraph_get())
        modifier = item.modifiers.new("Remesh", "REMESH")
        modifier.mode, modifier.voxel_size = "VOXEL", voxel or max(shown.dimensions) / CELLS
        return item

    return made


SHAPES = {
    "ball": Shape(ball, 500),
    "noisy ball": Shape(lambda: ball(0.005), 500),
    **{f"cylinder of {sides}": Shape(lambda sides=sides: cylinder(sides), 2 * sides) for sides in (32, 128, 512)},
    "flat grid": Shape(grid, 200),
    **{f"monkey at {faces}": Shape(monkey, faces) for faces in (300, 1_000, 3_000)},
    **{f"monkey in voxels of {size}": Shape(remeshed(monkey, size), 1_000) for size in (0.03, 0.015, 0.008)},
    "house in voxels": Shape(remeshed(house), 100),
    "table in voxels": Shape(remeshed(table), 100),
    "cog in voxels": Shape(remeshed(cog), 256),
    "bevelled cube in voxels": Shape(remeshed(bevelled_cube), 300),
    "text": Shape(text, 300),
    "text in voxels": Shape(remeshed(text), 500),
    "torus": Shape(torus, 400),
    "sheet with a hole": Shape(holed_sheet, 400),
    "three parts": Shape(loose_parts, 300),
}
