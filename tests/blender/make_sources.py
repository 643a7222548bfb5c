"""Run by Blender: fills the folder named last on the command line with small inputs of every format."""

import sys
from pathlib import Path

import bpy

folder = Path(sys.argv[-1])
(folder / "sub").mkdir(parents=True)
bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)


def named(name):
    item = bpy.context.object
    item.name = name
    return item


def export(operator, name, **keywords):
    operator(filepath=str(folder / name), **keywords)


bpy.ops.mesh.primitive_cube_add(size=2, location=(3, 0, 0), rotation=(0.3, 0.2, 0.1))
seat = named("Seat")
seat.scale = (1, 2, 3)
bpy.ops.mesh.primitive_cone_add(vertices=8, location=(0, 0, 2), rotation=(0.5, 0.6, 0.7))
leg = named("Leg")  # the parent's scale shears it, its own mirrors it
leg.parent, leg.scale = seat, (-1, 0.5, 0.5)
leg.modifiers.new("Subdivision", "SUBSURF").levels = 1
export(bpy.ops.wm.save_as_mainfile, "chair.blend")

export(bpy.ops.wm.obj_export, "chair.obj", export_materials=False)
export(bpy.ops.export_scene.gltf, "sub/chair.glb", export_format="GLB")
export(bpy.ops.export_scene.fbx, "sub/chair.fbx")
bpy.data.objects.remove(leg)
export(bpy.ops.wm.ply_export, "sub/seat.ply")
export(bpy.ops.wm.stl_export, "sub/block.stl")
(folder / "broken.ply").write_text("ply of nothing\n")
(folder / "notes.txt").write_text("not for Blender\n")

# What the depsgraph of a scene leaves out or makes up, for read_objects.
bpy.ops.mesh.primitive_cube_add(location=(100_000, 0, 0))
hidden = named("Hidden")
hidden.modifiers.new("Subdivision", "SUBSURF").levels = 2
hidden.hide_viewport = True
bpy.ops.object.text_add()
named("Text").data.extrude = 0.1
bpy.ops.object.metaball_add(type="BALL")
bpy.ops.object.metaball_add(type="BALL", location=(1, 0, 0))  # Mball.001 melts into Mball
bpy.ops.curve.primitive_bezier_circle_add()
named("Ring").data.bevel_depth = 0.1
bpy.ops.mesh.primitive_plane_add()
named("Flat").scale = (1, 1, 0)
bpy.ops.mesh.primitive_circle_add()
named("Wire")  # edges only
bpy.ops.mesh.primitive_uv_sphere_add()
named("Heavy").modifiers.new("Subdivision", "SUBSURF").levels = 3
dust = bpy.data.meshes.new("Dust")
dust.from_pydata([vertex.co for vertex in bpy.context.object.data.vertices], [], [])
bpy.context.collection.objects.link(bpy.data.objects.new("Dust", dust))  # a cloud beside surfaces
excluded = bpy.data.collections.new("Excluded")
bpy.context.scene.collection.children.link(excluded)
excluded.objects.link(bpy.data.objects.new("Apart", seat.data))
bpy.context.view_layer.layer_collection.children["Excluded"].exclude = True
(folder / "more").mkdir()
export(bpy.ops.wm.save_as_mainfile, "more/zoo.blend")
