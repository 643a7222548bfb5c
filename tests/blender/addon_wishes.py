"""Run by Blender: a share of the faces, density, kept vertices, hard edges, quads, a frame. The shipped weights."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import addon_stage as stage
import bpy
import numpy as np

from benchmarks.blender_shapes import cog, house, table


def generate(source, **options):
    stage.select(source)
    bpy.ops.flashmesh.generate(**{"preset": "STANDARD", "seed": 0, **options})
    return bpy.data.objects[stage.session.last.results[-1].name]


def triangles(obj):
    shown = obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    return len(shown.loops) - 2 * len(shown.polygons)


def quads():
    """Of the objects as they are, with as many faces as they have; and voxel-remeshed, with twice as many."""
    told = {}
    for make in (table, house, cog):
        for remeshed in (False, True):
            stage.empty_scene()
            source = make()
            wanted = triangles(source)
            if remeshed:
                modifier = source.modifiers.new("Remesh", "REMESH")
                modifier.mode, modifier.voxel_size = "VOXEL", 0.03
                bpy.context.view_layer.update()
            made = generate(source, faces=wanted, quads=True)
            corners = [len(face.vertices) for face in made.data.polygons]
            told[f"{make.__name__}{' remeshed' if remeshed else ''}"] = {
                "share": corners.count(4) / len(corners), "corners": sorted(set(corners)), "wanted": wanted,
                "triangles": sum(corners) - 2 * len(corners), "valid": not made.data.validate(),
            }  # fmt: skip
            if len(sys.argv) > 1 and sys.argv[-1].endswith("/"):
                bpy.ops.wm.save_as_mainfile(filepath=f"{sys.argv[-1]}{make.__name__}{int(remeshed)}.blend", copy=True)
    return told


def share():
    """A tenth of the triangles that the scene shows; numbers given to the operator go before the panel's share."""
    source = stage.cube("Cube")
    source.modifiers.new("Subdivision", "SUBSURF").levels = 4
    bpy.context.view_layer.update()
    chosen = bpy.context.scene.flashmesh
    chosen.target, chosen.share = "SHARE", 2.0
    stage.select(source)
    told = {"triangles": triangles(source), "before": stage.panels.expectation(bpy.context)}
    generate(source)
    told["share"] = stage.session.last.results[0].wanted
    told["after"] = stage.panels.expectation(bpy.context)
    generate(source, faces=20)
    told["number"] = stage.session.last.results[0].wanted
    told["refused"] = []
    cloud = bpy.data.meshes.new("Cloud")
    cloud.from_pydata(np.random.default_rng(0).normal(size=(50, 3)).tolist(), [], [])
    points = bpy.data.objects.new("Cloud", cloud)
    bpy.context.scene.collection.objects.link(points)
    source.modifiers[0].levels = 6
    bpy.context.view_layer.update()
    for item in (source, points):
        stage.select(item)
        try:
            bpy.ops.flashmesh.generate(target="SHARE", share=80.0)
        except RuntimeError as error:
            told["refused"].append(str(error))
    return told


def density():
    """A ball of which the half at positive X is painted."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32)
    source = bpy.context.object
    group = source.vertex_groups.new(name="Dense")
    plain = generate(source, faces=200)
    told = {"refused": []}
    for name in ("Dense", "None"):
        try:
            generate(source, faces=200, density=name)
        except RuntimeError as error:
            told["refused"].append(str(error))
    halves = lambda obj: [sum((face.center.x > 0) == side for face in obj.data.polygons) for side in (True, False)]  # noqa: E731
    told["plain"] = halves(plain)
    group.add([vertex.index for vertex in source.data.vertices if vertex.co.x > 0], 1.0, "REPLACE")
    made = generate(source, faces=200, density="Dense")
    told["dense"], told["objects"] = halves(made), sorted(bpy.data.objects.keys())
    told["meshes"] = len(bpy.data.meshes)
    told["result"] = vars(stage.session.last.results[0])
    return told


def kept_vertices():
    """Of a turned ball, with its vertices on, off and as the panel has it: how far each vertex of the result is off."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=48, ring_count=24, location=(3, 0, 0), rotation=(0.3, 0.2, 0.1))
    source = bpy.context.object
    told = {}
    for chosen in ("ON", "OFF", "AUTO"):
        made = generate(source, faces=100, keep_vertices=chosen)
        own, ours = (np.array([obj.matrix_world @ vertex.co for vertex in obj.data.vertices]) for obj in (source, made))
        off = np.linalg.norm(own[None] - ours[:, None], axis=2).min(axis=1)
        told[chosen] = {"off": float(off.max()), "faces": len(made.data.polygons)}
    return told


def hard_edges():
    """A box of many faces whose twelve edges are creases, with a seam along one of them; and a smooth ball."""
    bpy.ops.mesh.primitive_cube_add(size=2)
    source = bpy.context.object
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.subdivide(number_cuts=9)
    bpy.ops.object.mode_set(mode="OBJECT")
    mesh = source.data
    for edge in mesh.edges:
        ends = [mesh.vertices[number].co for number in edge.vertices]
        edge.use_seam = all(end.x > 0.999 and end.y > 0.999 for end in ends)
    made = generate(source, faces=300, hard_edges=True).data

    def marked(name):
        """The lengths of the marked edges that lie on two sides of the box, or on the seam, and of the others."""
        right = wrong = 0.0
        for edge in made.edges:
            ends = [made.vertices[number].co for number in edge.vertices]
            if getattr(edge, name):
                on_edge = sum(all(abs(abs(end[axis]) - 1) < 0.05 for end in ends) for axis in range(3)) >= 2
                on_seam = all(end.x > 0.95 and end.y > 0.95 for end in ends)
                if on_seam if name == "use_seam" else on_edge:
                    right += (ends[0] - ends[1]).length
                else:
                    wrong += (ends[0] - ends[1]).length
        return [right, wrong]

    told = {"sharp": marked("use_edge_sharp"), "seams": marked("use_seam")}
    told["messages"] = [text for _, text in stage.session.last.messages]
    bpy.ops.mesh.primitive_uv_sphere_add(segments=32, ring_count=16, location=(5, 0, 0))
    ball = generate(bpy.context.object, faces=300, hard_edges=True).data
    told["ball"] = sum(edge.use_edge_sharp or edge.use_seam for edge in ball.edges)
    return told


def patch():
    """The upper part of a ball of quads, in Edit Mode: the lower part stays as it is, quads, materials and all."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=48, ring_count=24, location=(3, 2, 1), rotation=(0.3, 0.2, 0.1))
    source = bpy.context.object
    source.scale = (1.0, 2.0, 1.0)
    source.modifiers.new("Bevel", "BEVEL").width = 0.01
    mesh = source.data
    for name in ("Paint", "Other"):
        mesh.materials.append(bpy.data.materials.new(name))
    for vertex in mesh.vertices:
        vertex.select = False
    for edge in mesh.edges:
        edge.select = False
    for face in mesh.polygons:
        face.select, face.material_index = face.center.z > 0.3, int(face.center.z > 0.3)
    stage.select(source)
    bpy.ops.object.mode_set(mode="EDIT")
    told = {"poll": bpy.ops.flashmesh.generate.poll()}
    chosen = [face.select for face in mesh.polygons]
    told["described"] = [stage.panels.describe(source, bpy.context), chosen.count(True)]
    bpy.ops.flashmesh.generate(faces=120, preset="STANDARD", seed=0)
    result = bpy.data.objects[stage.session.last.results[-1].name]
    told["result"] = vars(stage.session.last.results[0])
    told["messages"] = [text for _, text in stage.session.last.messages]
    made = result.data
    told["faces"], told["valid"] = len(made.polygons), not made.validate()
    told["rest"] = chosen.count(False)
    told["quads"] = sum(len(face.vertices) == 4 for face in made.polygons)
    low = [face for face in made.polygons if face.material_index == 0]
    told["materials"] = [len(low), len(made.polygons) - len(low)]
    for item in (mesh, made):
        item.calc_loop_triangles()
    told["volume"] = volume(made) / volume(mesh)
    told["modifiers"] = [(item.type, item.width) for item in result.modifiers]
    told["source"] = [source.hide_get(), len(mesh.polygons) == len(chosen), bpy.context.mode]
    told["off"] = float(np.abs(np.array(result.matrix_world) - np.array(source.matrix_world)).max())
    if len(sys.argv) > 1 and sys.argv[-1].endswith("/"):
        bpy.ops.wm.save_as_mainfile(filepath=f"{sys.argv[-1]}patch.blend", copy=True)
    source.hide_set(False)
    told["refused"] = []
    for kept, options in ((0, {}), (10, {"symmetry": "X"})):
        stage.select(source)
        for number, face in enumerate(mesh.polygons):
            face.select = number < kept
        try:
            bpy.ops.flashmesh.generate(selected_only=True, **options)
        except RuntimeError as error:
            told["refused"].append(str(error))
    return told


def volume(mesh):
    corners = np.array([[mesh.vertices[number].co for number in face.vertices] for face in mesh.loop_triangles])
    return abs(float(np.einsum("ni,ni->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6))


def frame_of_camera():
    """What a camera in an object's origin saw, slats before a wall, turned and moved: what of it faces that place."""
    stage.empty_scene()
    points = np.random.default_rng(0).uniform(-0.3, 0.3, (20_000, 3))
    points[:, 2] = np.where(points[:, 0] % 0.2 < 0.1, 1.0, 2.0)
    points[:, :2] *= points[:, 2:]
    cloud = bpy.data.meshes.new("Frame")
    cloud.from_pydata(points.tolist(), [], [])
    source = bpy.data.objects.new("Frame", cloud)
    bpy.context.collection.objects.link(source)
    source.location, source.rotation_euler = (1, 2, 3), (0.3, 0.2, 0.1)
    made = generate(source, faces=40)
    corners = np.array([made.matrix_world @ vertex.co for vertex in made.data.vertices])[
        [list(face.vertices) for face in made.data.polygons]
    ]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = (normals * (np.array(source.location) - corners.mean(axis=1))).sum(axis=1) > 0.0
    areas = np.linalg.norm(normals, axis=1)
    return {"facing": float(areas[facing].sum() / areas.sum()), "faces": len(corners)}


SCENARIOS = (share, density, kept_vertices, hard_edges, quads, patch, frame_of_camera)

if __name__ == "__main__":
    stage.play(SCENARIOS)
    stage.blender_addon.unregister()
