"""Run by Blender: after `--`, mesh files; prints a line of JSON about the objects in each.

Stands on bpy's own slow access, not on the code under test.
"""

import json
import sys
from pathlib import Path

import bpy


def load(path):
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    if path.suffix == ".blend":
        bpy.ops.wm.open_mainfile(filepath=str(path), load_ui=False)
    elif path.suffix == ".glb":
        bpy.ops.import_scene.gltf(filepath=str(path))
    else:
        {".obj": bpy.ops.wm.obj_import, ".ply": bpy.ops.wm.ply_import}[path.suffix](filepath=str(path))
    bpy.context.view_layer.update()


def describe(item):
    evaluated = item.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh, matrix = evaluated.to_mesh(), evaluated.matrix_world
    mesh.calc_loop_triangles()
    corners = [matrix @ vertex.co for vertex in mesh.vertices]
    volume = 0.0
    for triangle in mesh.loop_triangles:
        a, b, c = (corners[index] - corners[0] for index in triangle.vertices)
        volume += a.cross(b).dot(c) / 6
    if matrix.determinant() < 0:  # a mirroring transform turns the winding, and Blender shows it turned back
        volume = -volume
    return {
        "name": item.name,
        "matrix": [list(row) for row in matrix],
        "vertices": [list(corner) for corner in corners],
        "triangles": len(mesh.loop_triangles),
        "volume": volume,
    }


for name in sys.argv[sys.argv.index("--") + 1 :]:
    load(Path(name))
    meshes = [item for item in bpy.context.scene.objects if item.type == "MESH"]
    print("DESCRIBED " + json.dumps({"path": name, "objects": [describe(item) for item in meshes]}))
sys.stdout.flush()
