"""Run by Blender: flashmesh.generate without a window, over all kinds of objects."""

import sys
import threading
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import addon_stage as stage
import bpy
import numpy as np

stage.plain.checkpoint = "debug"
SMALL = {"faces": 8, "preset": "DRAFT", "seed": 3}


def generate(*sources, **options):
    """Selects the sources and generates; the operator's answer, or the error that a script gets."""
    stage.select(*sources)
    try:
        answer = sorted(bpy.ops.flashmesh.generate(**{**SMALL, **options}))
    except RuntimeError as error:
        answer = str(error)
    run = stage.session.last
    return {
        "answer": answer,
        "active_object": bpy.context.active_object.name,
        "hidden": [item.name for item in bpy.context.scene.objects if item.hide_get()],
        "not_rendered": [item.name for item in bpy.context.scene.objects if item.hide_render],
        **(stage.outcome(run) if run is not None else {}),
    }


def result_of(source):
    return bpy.data.objects[source.name + "_flashmesh"]


def world(item):
    return np.array([item.matrix_world @ vertex.co for vertex in item.data.vertices])


def every_kind():
    bpy.ops.mesh.primitive_monkey_add(location=(0, 0, 5))
    kinds = [bpy.context.object]
    bpy.ops.curve.primitive_bezier_circle_add(location=(5, 0, 0))
    kinds.append(bpy.context.object)
    kinds[-1].data.bevel_depth = 0.2
    bpy.ops.object.text_add(location=(0, 5, 0))
    kinds.append(bpy.context.object)
    kinds[-1].data.extrude = 0.1
    bpy.ops.object.metaball_add(type="BALL", location=(-5, 0, 0))
    kinds.append(bpy.context.object)
    bpy.ops.surface.primitive_nurbs_surface_sphere_add(location=(0, -5, 0))
    kinds.append(bpy.context.object)
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=4, location=(0, 0, -5))
    kinds.append(bpy.context.object)
    cloud = bpy.data.meshes.new("Cloud")
    cloud.from_pydata([vertex.co for vertex in kinds[-1].data.vertices], [], [])
    kinds[-1].data = cloud
    told = generate(*kinds)
    facts = {}
    for source in kinds:
        source_box, result_box = stage.boxes(source, result_of(source))
        facts["CLOUD" if source.data == cloud else source.type] = [source_box, result_box]
    return {"boxes": facts, **told}


def placed():
    """A parent with a non-uniform scale, a mirroring transform, a modifier: what the engine says is where it lies."""
    parent = stage.cube("Parent", location=(3, 0, 0), rotation=(0.3, 0.2, 0.1), scale=(1, 2, 3))
    bpy.ops.mesh.primitive_monkey_add(location=(0, 0, 2), rotation=(0.5, 0.6, 0.7))
    source = bpy.context.object
    source.name, source.parent, source.scale = "Child", parent, (-1, 0.5, 0.7)
    source.modifiers.new("Array", "ARRAY").count = 2
    seed = {"seed": 2}  # by which no face lies over another
    told = generate(source, **seed)
    surface = stage.mesh_bridge.read_surface(source, bpy.context.evaluated_depsgraph_get())
    settings = stage.RunSettings(**{**SMALL, **seed})
    request = stage.make_request(surface.vertices, surface.faces, settings)
    *_, end = stage.host.engine(bpy.context).generate(request, stage.Cancellation())
    expected = end["vertices"] + request.center
    result = result_of(source)
    corners = [expected[end["face_indices"]], world(result)[[list(face.vertices) for face in result.data.polygons]]]
    source_box, result_box = stage.boxes(source, result)
    return {
        "expected": corners[0].tolist(), "found": corners[1].tolist(),
        "origins": [list(source.matrix_world.translation), list(result.matrix_world.translation)],
        "boxes": [source_box, result_box], "parent": result.parent.name,
        "collection": [item.name for item in result.users_collection], **told,
    }  # fmt: skip


def reading():
    """A source so large that the engine tells how far its reading is, several times."""
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=6)
    run, told = stage.begin(bpy.context.object, **SMALL), []
    take_in = run._take_in

    def one_by_one(context, events):  # a busy machine brings several in one tick, which would show the last alone
        for event in events:
            take_in(context, [event])
            progress = run.progress
            now = [progress.stage, progress.step, progress.factor, stage.drawing.progress_text(run)]
            if now not in told:
                told.append(now)

    run._take_in = one_by_one
    stage.tick_until(run, lambda: run.ended)
    return {"told": told, **stage.outcome(run)}


def far_away():
    source = stage.cube(location=(100_000, -200_000, 0), scale=(0.1, 0.1, 0.1))
    told = generate(source, snap=True)
    return {"boxes": stage.boxes(source, result_of(source)), **told}


def flattened():
    source = stage.cube(scale=(1, 1, 0))
    told = generate(source)
    return {"boxes": stage.boxes(source, result_of(source)), **told}


def snapped():
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=48, radius=2, location=(1, 2, 3))
    source = bpy.context.object
    source.scale = (1, 1, 4)
    distances = []
    for snap in (False, True):
        generate(source, snap=snap)
        result = result_of(source)
        here = (world(result) - np.array([1, 2, 3])) / [1, 1, 4]
        distances.append(np.abs(np.linalg.norm(here, axis=1) - 2.0).max())
        bpy.data.objects.remove(result)
        bpy.context.view_layer.update()
    return {"distances": distances}


def looks():
    """Left of the middle red and flat, right of it blue and smooth."""
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=20, y_subdivisions=20, size=2)
    source = bpy.context.object
    for name in ("Red", "Blue"):
        source.data.materials.append(bpy.data.materials.new(name))
    for face in source.data.polygons:
        face.material_index, face.use_smooth = int(face.center.x > 0), face.center.x > 0
    told = generate(source, faces=40, keep_to_surface=True)
    result = result_of(source)
    faces = [(face.center.x, face.material_index, face.use_smooth) for face in result.data.polygons]
    return {"materials": [item.name for item in result.data.materials], "faces": faces, **told}


def plain_looks():
    told = []
    for smooth in (False, True):
        source = stage.cube(f"Cube{smooth}")
        source.data.materials.append(None)
        for face in source.data.polygons:
            face.use_smooth = smooth
        generate(source)
        mesh = result_of(source).data
        told.append([{face.use_smooth for face in mesh.polygons} == {smooth}, list(mesh.materials)])
    return {"told": told}


def uvs():
    source = stage.cube()
    source.data.uv_layers[0].name = "Painted"
    told = generate(source, transfer_uvs=True)
    layers = result_of(source).data.uv_layers
    spread = np.ptp([list(corner.uv) for corner in layers[0].data], axis=0).tolist() if layers else []
    bare = stage.cube("Bare")
    bare.data.uv_layers.remove(bare.data.uv_layers[0])
    bare.data.update_tag()
    return {
        "layers": [layer.name for layer in layers],
        "spread": spread,
        "bare": generate(bare, transfer_uvs=True),
        **told,
    }


def quads():
    bpy.ops.mesh.primitive_plane_add()
    mesh = bpy.data.meshes.new("Two")
    mesh.from_pydata([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], [], [(0, 1, 2), (0, 2, 3)])
    stage.make_quads(mesh)
    source = stage.cube()
    areas, corners, counts = [], [], []
    for wanted in (False, True):
        (told,) = generate(source, quads=wanted)["results"]
        counts.append([told["faces"], told["triangles"]])
        result = result_of(source)
        areas.append(sum(face.area for face in result.data.polygons))
        corners.append(sum(len(face.vertices) - 2 for face in result.data.polygons))
        bpy.data.objects.remove(result)
        bpy.context.view_layer.update()
    faces = [len(face.vertices) for face in mesh.polygons]
    return {"two": faces, "areas": areas, "triangles": corners, "counts": counts}


def quads_being_planned():
    """What is left when the artist cancels, changes the mesh or its mode while quads are planned."""
    planned, told = stage.quad_plan.plan_quads, {}

    def change(run):
        result_of(source).data.vertices[0].co.x += 0.1

    def edit(run):
        stage.select(result_of(source))
        bpy.ops.object.mode_set(mode="EDIT")
        run.tick(bpy.context)
        bpy.ops.object.mode_set(mode="OBJECT")

    for name, act in (("cancelled", lambda run: run.cancel()), ("changed", change), ("edited", edit)):
        asked, source = threading.Event(), stage.cube(name)

        def waits(*given, asked=asked, **named):
            asked.wait(stage.DEADLINE)
            return planned(*given, **named)

        stage.quad_plan.plan_quads = waits
        run = stage.begin(source, **SMALL, quads=True)
        try:
            stage.tick_until(run, lambda run=run: run.progress.stage == "pairing")
            run.tick(bpy.context)
            text = run.progress.text
            act(run)
            if name == "cancelled":
                stage.tick_until(run, lambda run=run: run.ended)
            asked.set()
            stage.tick_until(run, lambda run=run: run.ended)
        finally:
            asked.set()
            stage.quad_plan.plan_quads = planned
        corners = {len(face.vertices) for face in result_of(source).data.polygons}
        told[name] = {"text": text, "corners": sorted(corners), **stage.outcome(run)}
    return told


def closing():
    """What the line of a result says where its mesh is open, whether it was to be closed or not."""
    generate(stage.cube(), watertight=True, faces=9, preset="DRAFT")
    (result,) = stage.session.last.results
    opened = replace(result, watertight=False, open_edges=3)
    texts = [stage.drawing.open_text(replace(opened, gave_up_closure=gave_up)) for gave_up in (True, False)]
    return {"texts": texts, "whole": stage.drawing.open_text(replace(result, watertight=True, open_edges=0))}


def sheets():
    """Faces over the same vertices, and a flat ring whose mesh may have some."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float64)
    leaf = np.array([[0, 1, 2], [0, 2, 3], [2, 1, 0], [3, 2, 0]])
    mesh = stage.mesh_bridge.mesh_from_arrays("Leaf", corners, leaf, np.eye(4))
    told = {"leaf": [stage.mesh_bridge.is_watertight(mesh), stage.mesh_bridge.open_edges(mesh), mesh.validate()]}
    stage.plain.checkpoint = "nano"
    bpy.ops.mesh.primitive_torus_add(major_segments=12, minor_segments=6, major_radius=0.5, minor_radius=0.2)
    bpy.context.object.scale.z = 0.0
    source, told["rings"] = bpy.context.object, []
    for seed in (1, 2):
        (result,) = generate(source, faces=60, watertight=True, seed=seed, preset="STANDARD")["results"]
        told["rings"].append([result["watertight"], result["open_edges"], result["gave_up_closure"]])
    return told


def hiding():
    first, second = stage.cube("Stays"), stage.cube("Hides")
    return {"no": generate(first), "yes": generate(second, hide_source=True)}


def same_seed():
    source = stage.cube()
    meshes = []
    for seed in (3, 3, 5):
        generate(source, seed=seed, temperature=2.0, fill_holes=False)  # repaired, a cube is the same whatever the seed
        result = result_of(source)
        places = world(result).round(5).tolist()
        meshes.append(sorted(sorted(places[k] for k in face.vertices) for face in result.data.polygons))
        bpy.data.objects.remove(result)
        bpy.context.view_layer.update()
    return {"same": meshes[0] == meshes[1], "other": meshes[0] != meshes[2]}


def names():
    told = {}
    for name in ("Plain", "Würfel ✓", "x" * 63, "ü" * 31, "a/b\\c"):
        source = stage.cube()
        source.name = name
        known = set(bpy.data.objects)
        generate(source)
        (result,) = set(bpy.data.objects) - known
        told[name] = result.name
    again = stage.cube("Again")
    generate(again)
    generate(again)
    return {"told": told, "made": stage.made()}


def refused():
    wire = stage.cube("Wire")
    edges = bpy.data.meshes.new("Edges")
    edges.from_pydata([(0, 0, 0), (1, 0, 0)], [(0, 1)], [])
    wire.data = edges
    empty = stage.cube("Empty")
    empty.data = bpy.data.meshes.new("Nothing")
    heavy = stage.cube("Heavy")
    heavy.modifiers.new("Subdivision", "SUBSURF").levels = 6
    heavy.modifiers[0].show_viewport = True
    few = stage.cube("Few")
    few.data = bpy.data.meshes.new("Points")
    few.data.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [])
    flat = stage.cube("Line")
    flat.scale = (1, 0, 0)
    good = stage.cube("Good")
    told = {item.name: generate(item)["answer"] for item in (wire, empty, few, flat)}
    stage.mesh_bridge.read_surface.__defaults__ = (20_000,)
    told["Heavy"] = generate(heavy)["answer"]
    stage.mesh_bridge.read_surface.__defaults__ = (stage.mesh_bridge.MAX_SOURCE_FACES,)
    limit = stage.mesh_bridge.MAX_SOURCE_FACES
    return {"told": told, "limit": limit, "mixed": generate(wire, good), "first": generate(good, flat)}


def polls():
    def reason():
        return stage.operators.why_not(bpy.context), bpy.ops.flashmesh.generate.poll()

    told = {"nothing": reason()}
    bpy.ops.object.light_add()
    told["light"] = reason()
    source = stage.cube()
    told["good"] = reason()
    bpy.ops.object.mode_set(mode="EDIT")
    told["edit"] = reason()
    bpy.ops.object.mode_set(mode="OBJECT")
    python, stage.plain.engine_python = stage.plain.engine_python, "/nowhere/python"
    told["python"] = reason()
    stage.plain.engine_python = python
    stage.plain.backend, stage.plain.address = "ADDRESS", ""
    told["address"] = reason()
    stage.plain.backend = "LOCAL"
    stage.select(source)
    return told


def settings():
    panel = bpy.context.scene.flashmesh
    told = {"default": [panel.faces, panel.preset, panel.hide_source]}
    stage.plain.faces, stage.plain.preset, stage.plain.hide_source = 77, "BEST_OF_4", True
    told["preferred"] = [panel.faces, panel.preset, panel.hide_source]
    panel.faces, panel.preset, panel.hide_source = 5, "DRAFT", False
    told["set"] = [panel.faces, panel.preset, panel.hide_source]
    stage.plain.faces, stage.plain.preset, stage.plain.hide_source = 300, "STANDARD", False
    panel.seed, panel.quads, panel.temperature = 9, True, 0.25
    stage.select(stage.cube())
    bpy.ops.flashmesh.generate(seed=4, faces=6)
    used = stage.session.last.settings
    told["used"] = [used.faces, used.seed, used.quads, used.preset, used.temperature]
    properties = bpy.ops.flashmesh.generate.get_rna_type().properties
    told["properties"] = sorted(set(properties.keys()) - {"rna_type"})
    told["menu"] = any("blender_addon" in f.__module__ for f in bpy.types.VIEW3D_MT_object._dyn_ui_initialize())
    return told


def registered_again():
    """The engine ends, and all works as before."""
    pid = stage.host.engine(bpy.context).pid
    stage.plain.checkpoint = "debug"
    stage.blender_addon.unregister()
    gone = not hasattr(bpy.types.Scene, "flashmesh"), not hasattr(bpy.types, "FLASHMESH_PT_main")
    threads = stage.our_threads()
    stage.blender_addon.register()
    stage.reload()
    told = generate(stage.cube())
    try:
        stage.os.kill(pid, 0)
        ended = False
    except ProcessLookupError:
        ended = True
    return {"gone": gone, "left": threads, "ended": ended, **told}


SCENARIOS = (  # the one that wants another checkpoint, so another engine, before the one that needs a new one anyway
    every_kind, placed, reading, far_away, flattened, snapped, looks, plain_looks, uvs, quads, quads_being_planned,
    closing, hiding,
    same_seed, names, refused, polls, settings, sheets, registered_again,
)  # fmt: skip

if __name__ == "__main__":
    stage.play(SCENARIOS)
    stage.blender_addon.unregister()
