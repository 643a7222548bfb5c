"""Runs inside Blender's Python: simplifies meshes with Blender's own tools, one JSON request a line on stdin.

A request names an .npz with `vertices` (V, 3) and `faces` (F, 3), the tool, the wanted faces and the .npz to write; the
answer is a line that begins with MARK. See against_blender.py, which starts it.
"""

import json
import sys
import time
import traceback

import bpy
import numpy as np

MARK = "flashmesh-blender "


def decimate(item, wanted, count):
    """Collapse by the Decimate modifier."""
    modifier = item.modifiers.new("decimate", "DECIMATE")
    modifier.ratio = min(1.0, wanted / count)
    modifier.use_collapse_triangulate = True


def quadriflow(item, wanted, count):
    """A quad remesh; its triangles are twice its faces."""
    for other in bpy.context.selected_objects:
        other.select_set(False)
    bpy.context.view_layer.objects.active = item
    item.select_set(True)
    bpy.ops.object.quadriflow_remesh(mode="FACES", target_faces=max(wanted // 2, 1), seed=0, use_mesh_symmetry=False)


TOOLS = {"decimate": decimate, "quadriflow": quadriflow}


def simplify(request):
    """Read, simplify, write; the seconds that the tool took."""
    with np.load(request["input"]) as arrays:
        vertices, faces = arrays["vertices"], arrays["faces"]
    mesh = bpy.data.meshes.new("source")
    mesh.vertices.add(len(vertices))  # from_pydata takes seconds for 200,000 faces
    mesh.vertices.foreach_set("co", np.ascontiguousarray(vertices, dtype=np.float32).ravel())
    mesh.loops.add(faces.size)
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(faces, dtype=np.int32).ravel())
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    mesh.update(calc_edges=True)
    item = bpy.data.objects.new("source", mesh)
    bpy.context.scene.collection.objects.link(item)
    try:
        began = time.perf_counter()
        TOOLS[request["tool"]](item, request["faces"], len(faces))
        graph = bpy.context.evaluated_depsgraph_get()
        made = item.evaluated_get(graph).to_mesh()
        made.calc_loop_triangles()
        seconds = time.perf_counter() - began
        points = np.empty(3 * len(made.vertices), dtype=np.float32)
        made.vertices.foreach_get("co", points)
        corners = np.empty(3 * len(made.loop_triangles), dtype=np.int32)
        made.loop_triangles.foreach_get("vertices", corners)
        if len(corners) == 3 * len(faces) and request["faces"] < len(faces):
            raise RuntimeError(f"{request['tool']} left all {len(faces)} faces")
        np.savez(request["output"], vertices=points.reshape(-1, 3), faces=corners.reshape(-1, 3))
        return seconds
    finally:
        kept = item.data
        bpy.data.objects.remove(item)
        bpy.data.meshes.remove(kept)


def main():
    """Answer requests until stdin ends."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"seconds": simplify(request)}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(MARK + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
