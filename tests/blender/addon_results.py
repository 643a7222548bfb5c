"""Run by Blender: where results go, what they replace, and what they are made of. Real engine, random weights."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import addon_stage as stage
import bpy
import numpy as np

stage.plain.checkpoint = "debug"


def generate(*sources, **options):
    stage.select(*sources)
    answer = sorted(bpy.ops.flashmesh.generate(**{"faces": 8, "preset": "DRAFT", "seed": 3, **options}))
    run = stage.session.last
    shown = sorted(item.name for item in bpy.context.scene.objects if item.visible_get())
    return {"answer": answer, "shown": shown, **stage.outcome(run)}


def note(name):
    found = bpy.data.objects[name].flashmesh
    return [found.source.name, found.number, found.seed, found.wanted]


def second_click():
    source = stage.cube("Cube")
    first = generate(source, seed=1)
    again = generate(bpy.data.objects["Cube_flashmesh"], seed=5)
    told = {"first": first, "again": again, "note": note("Cube_flashmesh"), "meshes": sorted(bpy.data.meshes.keys())}
    told["both"] = generate(source, bpy.data.objects["Cube_flashmesh"])
    return told


def variants_kept():
    source = stage.cube("Cube")
    for seed in (1, 2, 3):
        told = generate(source, seed=seed, keep_earlier=True)
        source = bpy.data.objects[told["results"][0]["name"]]
    return {"notes": [note(name) for name in told["made"]], **told}


def renamed_and_hidden():
    """The source is found by what it is, not by its name, and is read with its modifiers although it is hidden."""
    source = stage.cube("Cube")
    source.modifiers.new("Array", "ARRAY").count = 3
    generate(source, hide_source=True)
    source.name, bpy.data.objects["Cube_flashmesh"].name = "Box", "Mine"
    told = generate(bpy.data.objects["Mine"], faces=40)
    hidden = [source.hide_get(), source.hide_render]
    source.hide_set(False)
    bpy.context.view_layer.update()
    return {"boxes": stage.boxes(source, bpy.data.objects["Mine"]), "hidden": hidden, **told}


def source_gone():
    """Then the result itself is what is selected."""
    source = stage.cube("Cube")
    generate(source)
    bpy.data.objects.remove(source)
    return generate(bpy.data.objects["Cube_flashmesh"])


def parent_moves():
    parent = stage.cube("Parent", location=(3, 0, 0), rotation=(0.3, 0.2, 0.1), scale=(1, 2, 3))
    child = stage.cube("Child", location=(0, 0, 2), rotation=(0.5, 0.6, 0.7), scale=(1, 0.5, 0.7))
    child.parent = parent
    told = generate(child)
    result = bpy.data.objects["Child_flashmesh"]
    parent.location.x += 10.0
    bpy.context.view_layer.update()
    same = np.abs(np.array(child.matrix_world) - np.array(result.matrix_world)).max()
    return {"parent": result.parent.name, "difference": float(same), "boxes": stage.boxes(child, result), **told}


def constrained():
    """A transform that no object has by itself is copied as far as that goes."""
    target = stage.cube("Target", location=(5, 6, 7), rotation=(0.3, 0.2, 0.1))
    source = stage.cube("Held")
    source.constraints.new("COPY_TRANSFORMS").target = target
    generate(source)
    return {"boxes": stage.boxes(source, bpy.data.objects["Held_flashmesh"])}


def collection_excluded():
    generate(stage.cube("First"))
    layer = bpy.context.view_layer.layer_collection.children["FlashMesh"]
    layer.exclude = True
    second = generate(stage.cube("Second"))
    layer.exclude, layer.hide_viewport = False, True
    third = generate(stage.cube("Third"))
    return {"second": second["shown"], "third": third["shown"]}


def collection_instanced():
    parts = bpy.data.collections.new("Parts")
    for x in (0, 3):
        part = stage.cube(f"Part{x}", location=(x, 0, 0))
        parts.objects.link(part)
        part.data.materials.append(bpy.data.materials.new(f"Paint{x}"))
    bpy.ops.object.collection_instance_add(collection="Parts", location=(0, 0, 10))
    empty = bpy.context.object
    told = generate(empty, faces=40)
    result = bpy.data.objects[told["results"][0]["name"]]
    (box,) = stage.boxes(result)
    return {"box": box, "materials": [item.name for item in result.data.materials], **told}


def geometry_nodes():
    """Cubes instanced on the points of a line."""
    source = stage.cube("Line")
    group = bpy.data.node_groups.new("Fence", "GeometryNodeTree")
    group.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    line, cube, instance, out = (
        group.nodes.new(name)
        for name in ("GeometryNodeMeshLine", "GeometryNodeMeshCube", "GeometryNodeInstanceOnPoints", "NodeGroupOutput")
    )
    line.inputs["Count"].default_value = 3
    line.inputs["Offset"].default_value = (4, 0, 0)
    group.links.new(line.outputs[0], instance.inputs["Points"])
    group.links.new(cube.outputs[0], instance.inputs["Instance"])
    group.links.new(instance.outputs[0], out.inputs[0])
    source.modifiers.new("Fence", "NODES").node_group = group
    told = generate(source, faces=40)
    (box,) = stage.boxes(bpy.data.objects["Line_flashmesh"])
    return {"box": box, **told}


def gaps():
    """How far surfaces lie apart, without the noise of samples: the same in other triangles, moved, a cloud."""
    measure, bridge = stage.measure, stage.mesh_bridge
    bpy.ops.mesh.primitive_cube_add(size=2, location=(100, 0, 0))
    cube = bpy.context.object
    surface = bridge.read_surface(cube, bpy.context.evaluated_depsgraph_get())
    fine = bpy.data.meshes.new("Fine")
    corners = np.array([vertex.co for vertex in cube.data.vertices])
    faces = np.array([list(face.vertices) for face in cube.data.polygons])
    centers = corners[faces].mean(axis=1)
    fine.from_pydata(
        [*corners.tolist(), *centers.tolist()], [],
        [(face[k], face[(k + 1) % 4], 8 + n) for n, face in enumerate(faces.tolist()) for k in range(4)],
    )  # fmt: skip
    here, moved = np.array(cube.matrix_world), np.array(cube.matrix_world)
    moved[2, 3] += 0.2
    told = {"same": vars(measure.measure_gap(fine, here, surface))}
    told["moved"] = vars(measure.measure_gap(fine, moved, surface))
    inside = (surface.vertices - [100, 0, 0]) * 0.5 + [100, 0, 0]
    cloud = bridge.Surface("", here, inside, np.zeros((0, 3), dtype=np.int64), (), None, None)
    told["cloud"] = vars(measure.measure_gap(fine, here, cloud))
    strewn = bridge.Surface("", here, np.append(inside, [[0, 0, 9], [300, 0, 0]], 0), cloud.faces, (), None, None)
    told["strays"] = vars(measure.measure_gap(fine, here, strewn, 2))
    told["small"] = measure.SMALL
    crumb = np.array([[0, 0, 0], [0.05, 0, 0], [0, 0.05, 0]])
    for name, place in (("crumbs", [109, 0, 0]), ("near", [101.02, 0, 0])):
        pieces = np.concatenate([surface.vertices, crumb + place])
        joined = np.append(surface.faces, [np.arange(3) + len(surface.vertices)], 0)
        crumbs = bridge.Surface("", here, pieces, joined, (), None, None)
        told[name] = [vars(measure.measure_gap(fine, here, crumbs, strays)) for strays in (0, 1)]
    hollow = np.concatenate([surface.vertices, inside]), np.append(surface.faces, surface.faces + len(inside), 0)
    told["hollow"] = [
        vars(measure.measure_gap(fine, here, bridge.Surface("", here, *hollow, (), None, None), strays))
        for strays in (0, 1)
    ]
    return told


def said():
    """What the line of a result tells, and the exact cube that the shipped model writes."""
    stage.plain.checkpoint = "nano"
    told = generate(stage.cube("Cube"), faces=12, preset="STANDARD")
    stage.plain.checkpoint = "debug"
    (result,) = stage.session.last.results
    faulty = stage.replace(
        result, watertight=False, open_edges=1, repaired=7, strays=60, gashes=2, faults=("2 % are missing somewhere",),
        triangles=12, faces=7, quads=5,
    )  # fmt: skip
    return {"line": stage.drawing.summary(result), "faulty": stage.drawing.summary(faulty), **told}


def too_large():
    source = stage.cube("Huge")
    source.modifiers.new("Subdivision", "SUBSURF").levels = 11
    source.modifiers[0].show_viewport = True
    stage.select(source)
    return {"reason": stage.operators.why_not(bpy.context), "poll": bpy.ops.flashmesh.generate.poll()}


def symmetric():
    """A turned and stretched cone of vertices, cut along its own X; and one that lies on one side."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=16, ring_count=8, location=(3, 2, 1), rotation=(0.4, 0.5, 0.6))
    source = bpy.context.object
    source.scale = (1, 2, -1.5)
    told = generate(source, faces=40, symmetry="X")
    result = bpy.data.objects[told["results"][0]["name"]]
    local = np.array([vertex.co for vertex in result.data.vertices])
    mirrored = local * [-1, 1, 1]
    off = [float(np.linalg.norm(local - place, axis=1).min()) for place in mirrored]
    source.name = "Half"
    for vertex in source.data.vertices:
        vertex.co.x += 1.0
    source.data.update()
    stage.select(source)
    try:
        bpy.ops.flashmesh.generate(faces=8, symmetry="X")
        refused = ""
    except RuntimeError as error:
        refused = str(error)
    spread = np.ptp(local, axis=0).tolist()
    return {"off": max(off), "spread": spread, "sides": [float(local[:, 0].min()), float(local[:, 0].max())],
            "refused": refused, **told}  # fmt: skip


def finished_anew():
    """The same mesh with other finishing touches, without a question to the engine."""
    source = stage.cube("Cube")
    generate(source, faces=12)
    triangles = len(bpy.data.objects["Cube_flashmesh"].data.polygons)
    engine, stage.host._engine = stage.host._engine, None
    keys, settings = [stage.results.key_of(source)], stage.session.last.settings
    run = stage.session.begin(keys, stage.replace(settings, quads=True), None, bpy.context.scene, again=True)
    stage.tick_until(run, lambda: run.ended)
    stage.host._engine = engine
    (result,) = run.results
    return {"triangles": [triangles, result.triangles], "quads": result.quads, **stage.outcome(run)}


SCENARIOS = (  # the one that wants another checkpoint, so another engine, last
    second_click, variants_kept, renamed_and_hidden, source_gone, parent_moves, constrained, collection_excluded,
    collection_instanced, geometry_nodes, gaps, too_large, symmetric, finished_anew, said,
)  # fmt: skip

if __name__ == "__main__":
    stage.play(SCENARIOS)
    stage.blender_addon.unregister()
