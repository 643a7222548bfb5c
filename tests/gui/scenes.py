"""What stands in Blender's window and how it is looked at; called by tests by way of inside.py, which imports this."""

import sys
from math import radians
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.blender_shapes import cog, select

SUFFIX = "_flashmesh"


def area_and_region(kind="WINDOW"):
    """The 3D viewport, and its region of that kind."""
    area = next(area for area in bpy.context.window_manager.windows[0].screen.areas if area.type == "VIEW_3D")
    return area, next(region for region in area.regions if region.type == kind)


def in_viewport():
    """A context as if the pointer were over the viewport."""
    area, region = area_and_region()
    return bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=area, region=region)


def monkey():
    """A selected monkey, with an undo step."""
    with in_viewport():
        bpy.ops.mesh.primitive_monkey_add()
        bpy.context.object.name = "Monkey"
        bpy.context.object.rotation_euler.z = radians(60.0)
        frame()


def table():
    """A selected table: a quarter of it, mirrored by a modifier, unevenly stretched, as its turned parent is too."""
    vertices, faces = [], []
    for (x0, y0, z0), (x1, y1, z1), skip in (
        ((0.0, 0.0, 0.9), (1.0, 0.6, 1.0), (0, 2)),  # the top, open where it is mirrored
        ((0.8, 0.4, 0.0), (0.9, 0.5, 0.9), ()),
    ):
        start = len(vertices)
        vertices += [(x, y, z) for x in (x0, x1) for y in (y0, y1) for z in (z0, z1)]
        sides = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
        faces += [[start + corner for corner in side] for number, side in enumerate(sides) if number not in skip]
    mesh = bpy.data.meshes.new("Table")
    mesh.from_pydata(vertices, [], faces)
    item = bpy.data.objects.new("Table", mesh)
    parent = bpy.data.objects.new("Room", None)
    for made in (item, parent):
        bpy.context.scene.collection.objects.link(made)
    parent.location, parent.rotation_euler = (3.0, -2.0, 1.0), (0.0, radians(10.0), radians(35.0))
    parent.scale, parent.empty_display_size = (1.0, 1.3, 1.0), 0.5
    item.parent = parent
    item.scale, item.rotation_euler.z = (1.0, 1.4, 0.8), radians(20.0)
    item.modifiers.new("Mirror", "MIRROR").use_axis[1] = True
    item.select_set(True)
    bpy.context.view_layer.objects.active = item
    with in_viewport():
        frame()


def frame():
    """Looks at the selected object, and makes an undo step."""
    bpy.ops.view3d.view_selected()
    bpy.ops.ed.undo_push(message="Scene")


def look_at_results():
    """Looks at the source, its results and what stands beside them."""
    for item in bpy.context.scene.objects:
        item.select_set(item.type == "MESH")
    with in_viewport():
        bpy.ops.view3d.view_axis(type="FRONT")
        bpy.ops.view3d.view_selected()
    for item in bpy.context.scene.objects:  # outlines of all would hide what they are
        item.select_set(item == bpy.context.view_layer.objects.active)


def show_wires():
    """Draws the edges of all results, and looks at them."""
    for item in bpy.context.scene.objects:
        item.show_wire = item.show_all_edges = SUFFIX in item.name
    with in_viewport():
        bpy.ops.view3d.view_selected()


def dense_monkey():
    """A monkey of some 250,000 triangles with noise, which takes long to read."""
    with in_viewport():
        bpy.ops.mesh.primitive_monkey_add()
        item = bpy.context.object
        item.name = "Monkey"
        item.modifiers.new("Subdivision", "SUBSURF").levels = 4
        frame()


def painted_ball():
    """A ball with a vertex group, Detail, painted full at one side and fading to the other; shown as weights."""
    with in_viewport():
        bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32)
        bpy.ops.view3d.view_axis(type="FRONT")
        item = bpy.context.object
        item.name = "Ball"
        group = item.vertex_groups.new(name="Detail")
        for vertex in item.data.vertices:
            group.add([vertex.index], min(1.0, max(0.0, 0.5 + vertex.co.x)), "REPLACE")
        frame()


def paint_weights(on):
    """Weight Paint mode, or Object mode again."""
    with in_viewport():
        bpy.ops.object.mode_set(mode="WEIGHT_PAINT" if on else "OBJECT")


def part_of_ball():
    """A ball of quads in Edit Mode, its upper part selected."""
    with in_viewport():
        bpy.ops.mesh.primitive_uv_sphere_add(segments=48, ring_count=24)
        item = bpy.context.object
        item.name = "Ball"
        for part in (item.data.vertices, item.data.edges):
            for element in part:
                element.select = False
        for face in item.data.polygons:
            face.select = face.center.z > 0.3
        bpy.ops.object.mode_set(mode="EDIT")
        bpy.ops.mesh.select_mode(type="FACE")
        frame()


def cog_of_voxels():
    """A cog wheel, remeshed to voxels."""
    with in_viewport():
        item = cog()
        select(item)
        item.modifiers.new("Remesh", "REMESH").voxel_size = 0.03
        frame()


def wheel():
    """A bumpy ring, painted in two colors: it has a fine shape and colors to bake."""
    with in_viewport():
        bpy.ops.mesh.primitive_torus_add(major_radius=1.0, minor_radius=0.4, major_segments=96, minor_segments=48)
        item = bpy.context.object
        item.name = "Wheel"
        texture = bpy.data.textures.new("Bumps", "VORONOI")
        texture.noise_scale = 0.3
        bumps = item.modifiers.new("Bumps", "DISPLACE")
        bumps.texture, bumps.strength = texture, 0.06
        colors = item.data.color_attributes.new("Paint", "FLOAT_COLOR", "POINT")
        for vertex, color in zip(item.data.vertices, colors.data, strict=True):
            side = (vertex.co.x > 0.0) != (vertex.co.y > 0.0)
            color.color = (0.9, 0.35, 0.1, 1.0) if side else (0.1, 0.35, 0.8, 1.0)
        bpy.ops.object.shade_smooth()
        frame()


def show_materials():
    """Draws what is there with its materials, without its edges."""
    area_and_region()[0].spaces.active.shading.type = "MATERIAL"
    for item in bpy.context.scene.objects:
        item.show_wire = False


def show_preferences():
    """Opens the page of Blender's preferences where the add-on is, in a window of its own."""
    bpy.context.window_manager.addon_search = "FlashMesh"
    bpy.ops.screen.userpref_show("INVOKE_DEFAULT", section="ADDONS")
