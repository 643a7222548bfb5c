"""Run by Blender: what is done to meshes beside the engine, which is not started here."""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import addon_stage as stage
import bpy
import numpy as np
from mathutils.geometry import delaunay_2d_cdt

from flashmesh_core.mesh.quads import plan_quads

EXAMPLES = stage.ROOT / "examples"


def imported(name):
    path = str(EXAMPLES / name)
    if name.endswith(".glb"):
        bpy.ops.import_scene.gltf(filepath=path)
    else:
        bpy.ops.wm.ply_import(filepath=path)
    items = [item for item in bpy.context.scene.objects if item.type == "MESH"]
    stage.select(*items)
    if len(items) > 1:
        bpy.ops.object.join()
    item = bpy.context.view_layer.objects.active
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.mesh.remove_doubles(threshold=1e-5)
    bpy.ops.mesh.quads_convert_to_tris()
    bpy.ops.object.mode_set(mode="OBJECT")
    return item


def area(mesh):
    return sum(face.area for face in mesh.polygons)


def quads():
    told = {}
    for name in ("house.glb", "table.ply"):
        mesh = imported(name).data
        before, triangles = area(mesh), len(mesh.polygons)
        materials = {face.material_index for face in mesh.polygons}
        stage.make_quads(mesh)
        corners = [len(face.vertices) for face in mesh.polygons]
        told[name] = {
            "share": corners.count(4) / len(corners), "corners": sorted(set(corners)), "triangles": triangles,
            "as_triangles": sum(corners) - 2 * len(corners), "area": area(mesh) / before,
            "materials": materials == {face.material_index for face in mesh.polygons}, "valid": not mesh.validate(),
        }  # fmt: skip
        stage.empty_scene()
    return told


def planned_wrong():
    """A result whose plan names an edge that is not there: what stands of it, and what is said."""
    source = stage.cube("Cube")
    surface = stage.mesh_bridge.read_surface(source, bpy.context.evaluated_depsgraph_get())
    placement = stage.results.Placement(stage.results.key_of(source), surface)
    placement.put(bpy.context, surface.vertices, surface.faces)
    plan = stage.quad_plan.plan_quads

    def wrong(vertices, *given, **named):
        made = plan(vertices, *given, **named)
        far = int(np.linalg.norm(vertices - vertices[0], axis=1).argmax())
        return replace(made, steps=[*made.steps, ("turn", 0, far)])

    stage.quad_plan.plan_quads = wrong
    wanted = stage.RunSettings(quads=True, snap=False, transfer_uvs=False)
    try:
        placement.finish(bpy.context, wanted)
        placement.plan.wait(None)
    finally:
        stage.quad_plan.plan_quads = plan
    said = placement.complete(bpy.context, placement.result(), wanted)
    return {"said": said, "corners": [len(face.vertices) for face in placement.result().data.polygons]}


def marked_length(mesh, edges):
    """How long edges (pairs of vertices) are together."""
    return sum((mesh.vertices[a].co - mesh.vertices[b].co).length for a, b in edges)


def cut_anew():
    """A flat square of random triangles, with a UV map, two materials and sharp edges: what is left of it."""
    places = np.random.default_rng(2).random((60, 2))
    vertices, _, faces, *_ = delaunay_2d_cdt([tuple(place) for place in places.tolist()], [], [], 0, 1e-9)
    mesh = bpy.data.meshes.new("Square")
    mesh.from_pydata([(*place, 0.0) for place in vertices], [], faces)
    layer = mesh.uv_layers.new()
    for loop in mesh.loops:
        layer.data[loop.index].uv = vertices[loop.vertex_index]
    for name in ("Left", "Right"):
        mesh.materials.append(bpy.data.materials.new(name))
    for face in mesh.polygons:
        face.material_index = int(face.center.x > 0.5)
    sides = [sum(face.area for face in mesh.polygons if face.material_index == side) for side in (0, 1)]
    sharp = [tuple(sorted(edge.vertices)) for edge in mesh.edges if edge.index % 9 == 0]
    before = marked_length(mesh, sharp)
    for edge in mesh.edges:
        edge.use_edge_sharp = edge.index % 9 == 0
    local, triangles = stage.mesh_bridge.mesh_arrays(mesh)
    groups = np.array([face.material_index for face in mesh.polygons])
    plan = plan_quads(local, triangles, groups, np.array(sharp))
    stage.make_quads(mesh)
    layer = mesh.uv_layers.active.data
    return {
        "steps": len(plan.steps), "planned": len(plan.joints),
        "quads": sum(len(face.vertices) == 4 for face in mesh.polygons), "valid": not mesh.validate(),
        "off": max((layer[loop.index].uv - mesh.vertices[loop.vertex_index].co.xy).length for loop in mesh.loops),
        "sides": [sides, [sum(face.area for face in mesh.polygons if face.material_index == side) for side in (0, 1)]],
        "sharp": [before, marked_length(mesh, [edge.vertices for edge in mesh.edges if edge.use_edge_sharp])],
    }  # fmt: skip


def stretched(mesh):
    """The share of faces of which an edge is more than half of the UV square long, and the ratio of areas."""
    layer = mesh.uv_layers.active.data
    long, total = 0, 0.0
    for face in mesh.polygons:
        places = np.array([layer[loop].uv for loop in face.loop_indices])
        long += np.linalg.norm(places - np.roll(places, 1, axis=0), axis=1).max() > 0.5
        x, y = places.T
        total += 0.5 * abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())
    return [long / len(mesh.polygons), total]


def uv_maps():
    """A ball and a cube over other triangles: the same maps, in one piece each, whatever was transferred before."""
    told = {}
    for name in ("ball", "cube"):
        if name == "ball":
            bpy.ops.mesh.primitive_uv_sphere_add(segments=32, ring_count=16)
        else:
            bpy.ops.mesh.primitive_cube_add()
        source = bpy.context.object
        source.scale = (-1, 1, 1)
        bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=4)
        result = bpy.context.object
        result.scale = (-1, 1, 1)
        for layer in list(result.data.uv_layers):
            result.data.uv_layers.remove(layer)
        if name == "cube":
            for vertex in result.data.vertices:
                vertex.co /= max(abs(part) for part in vertex.co)
        bpy.context.view_layer.update()
        surface = stage.mesh_bridge.read_surface(source, bpy.context.evaluated_depsgraph_get(), uvs=True)
        stage.select(source)
        made = stage.uv_maps.give_uvs(bpy.context, result, np.array(result.matrix_world), surface)
        told[name] = {
            "text": made.text, "seams": made.seams, "marked": sum(edge.use_seam for edge in result.data.edges),
            "source": stretched(source.data), "result": stretched(result.data), "layers": result.data.uv_layers.keys(),
        }  # fmt: skip
    return told


def unwrapped():
    """A source without a map: Smart UV, and the selection stays as it was."""
    bpy.ops.mesh.primitive_cube_add()
    source = bpy.context.object
    source.data.uv_layers.remove(source.data.uv_layers[0])
    source.data.update_tag()
    bpy.ops.mesh.primitive_cube_add()
    result = bpy.context.object
    result.data.uv_layers.remove(result.data.uv_layers[0])
    stage.select(source)
    surface = stage.mesh_bridge.read_surface(source, bpy.context.evaluated_depsgraph_get(), uvs=True)
    made = stage.uv_maps.give_uvs(bpy.context, result, np.array(result.matrix_world), surface)
    return {
        "text": made.text, "seams": made.seams, "result": stretched(result.data), "mode": bpy.context.mode,
        "selected": [bpy.context.selected_objects == [source], bpy.context.view_layer.objects.active == source],
    }  # fmt: skip


def a_result(source, number, faces):
    """As a run leaves it: a mesh with what results remember."""
    mesh = bpy.data.meshes.new(f"{source.name}_flashmesh")
    mesh.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
    item = bpy.data.objects.new(mesh.name, mesh)
    bpy.context.scene.collection.objects.link(item)
    note = item.flashmesh
    note.source, note.number, note.seed, note.distance = source, number, 10 + number, 0.004
    return item


def variants():
    source = stage.cube("Cube")
    items = [a_result(source, number, 1) for number in (1, 2, 3)]
    stage.select(items[0])
    panel = bpy.types.FLASHMESH_PT_variants
    told = {"poll": panel.poll(bpy.context), "line": stage.ui_results.line_of(items[1])}
    bpy.ops.flashmesh.show_result(result=items[1].name)
    told["shown"] = [item.name for item in items if item.visible_get()]
    told["selected"] = [item.name for item in bpy.context.selected_objects]
    bpy.ops.flashmesh.keep_result(result=items[1].name)
    told["kept"] = stage.made()
    try:
        bpy.ops.flashmesh.show_result(result="Cube")
        told["refused"] = ""
    except RuntimeError as error:
        told["refused"] = str(error)
    stage.select(stage.cube("Other"))
    return {"other": panel.poll(bpy.context), "meshes": len(bpy.data.meshes), **told}


def decimated():
    """A ball of 960 triangles under a moved parent, and a result of 96 triangles."""
    parent = stage.cube("Parent", location=(5, 0, 0))
    bpy.ops.mesh.primitive_uv_sphere_add(segments=32, ring_count=16, radius=1.0)
    source = bpy.context.object
    source.name, source.parent = "Ball", parent
    bpy.ops.mesh.primitive_uv_sphere_add(segments=12, ring_count=5)
    result = bpy.context.object
    note = result.flashmesh
    note.source, note.number = source, 1
    wanted = len(result.data.loops) - 2 * len(result.data.polygons)
    made = []
    for _ in range(2):
        bpy.ops.flashmesh.decimate(result=result.name)
        made.append(sorted(item.name for item in bpy.data.objects if "_decimate" in item.name))
    other, hidden = bpy.data.objects["Ball_decimate"], source.hide_get()
    source.hide_set(False)
    bpy.context.view_layer.update()
    return {
        "hidden": hidden,
        "made": made, "wanted": wanted, "got": len(other.data.polygons), "modifiers": len(other.modifiers),
        "boxes": stage.boxes(source, other), "meshes": len(bpy.data.meshes),
        "smooth": sum(face.use_smooth for face in other.data.polygons),
    }  # fmt: skip


def expected():
    """A share of the triangles that the scene shows; the time once a mesh was made."""
    bpy.context.scene.flashmesh.faces = 96
    source = stage.cube("Cube")
    source.modifiers.new("Subdivision", "SUBSURF").levels = 3
    bpy.context.view_layer.update()
    stage.select(source)
    told = {"text": stage.panels.expectation(bpy.context)}
    bpy.context.scene.flashmesh.quads = True
    return {**told, "quads": stage.panels.expectation(bpy.context)}


def painted_ball():
    """A bumpy ball, red and blue, hidden, and one of few faces made of it."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=64, ring_count=32)
    source = bpy.context.object
    source.name = "Ball"
    for number, color in enumerate(((1, 0, 0, 1), (0, 0, 1, 1))):
        material = bpy.data.materials.new(f"Paint{number}")
        material.use_nodes = True
        material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = color
        source.data.materials.append(material)
    for vertex in source.data.vertices:
        vertex.co *= 1.0 + 0.02 * np.sin(20.0 * vertex.co.z)
    for face in source.data.polygons:
        face.material_index = int(face.center.x > 0)
    bpy.ops.mesh.primitive_uv_sphere_add(segments=12, ring_count=6)
    result = bpy.context.object
    result.data.uv_layers.remove(result.data.uv_layers[0])
    result.flashmesh.source, result.flashmesh.number = source, 1
    source.hide_set(True)
    source.hide_render = True
    return source, result


def pixels(name):
    """The colors (N, 3) of an image where something was baked."""
    image = bpy.data.images[name]
    values = np.array(image.pixels[:]).reshape(-1, 4)
    return values[values[:, 3] > 0.5, :3]


def baked():
    """Colors and the fine shape of a bumpy ball, red and blue, onto one of few faces; a color attribute; nothing."""
    source, result = painted_ball()
    scene = bpy.context.scene
    samples, engine = scene.cycles.samples, scene.render.engine
    told = {"answer": sorted(bpy.ops.flashmesh.bake(result=result.name, size=128))}
    colors, normals = pixels("Sphere_colors"), pixels("Sphere_normals")
    told["red"], told["blue"] = (float((colors[:, k] > 0.6).mean()) for k in (0, 2))
    told["normals"], told["bumps"] = normals.mean(axis=0).tolist(), float(normals[:, :2].std())
    told["material"] = [slot.material.name for slot in result.material_slots]
    shader = result.active_material.node_tree.nodes["Principled BSDF"].inputs
    told["linked"] = [shader[name].is_linked for name in ("Base Color", "Normal")]
    told["packed"] = [bpy.data.images[f"Sphere_{name}"].packed_file is not None for name in ("colors", "normals")]
    told["kept"] = [
        source.hide_get(),
        source.hide_render,
        samples == scene.cycles.samples,
        engine == scene.render.engine,
    ]
    told["selected"] = [item.name for item in bpy.context.selected_objects]

    source.data.materials.clear()
    attribute = source.data.color_attributes.new("Paint", "FLOAT_COLOR", "POINT")
    attribute.data.foreach_set("color", np.tile([0.0, 1.0, 0.0, 1.0], len(source.data.vertices)))
    source.data.color_attributes.active_color = attribute
    bpy.ops.flashmesh.bake(result=result.name, size=64)
    told["attribute"] = pixels("Sphere_colors").mean(axis=0).tolist()
    told["clean"] = [len(source.data.materials), sorted(bpy.data.materials.keys()), sorted(bpy.data.images.keys())]
    source.data.color_attributes.remove(attribute)
    bpy.data.images.remove(bpy.data.images["Sphere_colors"])
    bpy.ops.flashmesh.bake(result=result.name, size=64)
    told["without"] = sorted(bpy.data.images.keys())
    bpy.data.objects.remove(source)
    try:
        bpy.ops.flashmesh.bake(result=result.name)
    except RuntimeError as error:
        told["refused"] = str(error)
    return told


def german():
    """What the panel says in another language of Blender's, and in English again."""
    from blender_addon.translations import tr
    from blender_addon.ui.drawing import fault_text

    said = "it has 1,080 faces, not within 10% of the 2,000 wanted", "it is blue"
    view, source = bpy.context.preferences.view, stage.cube("Cube")
    bpy.context.scene.flashmesh.faces = 6
    stage.select(source)
    told = {}
    if not bpy.app.translations.locales:
        return told  # bpy as a module of Python is built without them
    for language in ("de_DE", "en_US"):
        view.language, view.use_translate_interface = language, True
        told[language] = [
            stage.panels.expectation(bpy.context), stage.panels.describe(source, bpy.context),
            tr("Keep Hard Edges"), bpy.app.translations.pgettext_iface("Another Try", "Operator"),
            *map(fault_text, said),
        ]  # fmt: skip
    return told


SCENARIOS = (german, baked, expected, quads, planned_wrong, cut_anew, uv_maps, unwrapped, variants, decimated)

if __name__ == "__main__":
    stage.play(SCENARIOS)
    stage.blender_addon.unregister()
