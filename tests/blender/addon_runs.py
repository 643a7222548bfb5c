"""Run by Blender, with an endless checkpoint last on the command line: runs, and what may come between."""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import addon_stage as stage
import bpy

stage.plain.checkpoint = sys.argv[-1]


def grown(**options):
    source = stage.cube(location=(3, 0, 0), scale=(1, 2, 3))
    run = stage.begin(source, **options)
    stage.tick_to_faces(run)
    return source, run


def mesh_grows():
    source, run = grown(keep_unfinished=True)
    counts = []
    for faces in (10, 20, 40):
        stage.tick_until(run, lambda faces=faces: run.progress.faces >= faces)
        counts.append([len(bpy.data.objects["Source_flashmesh"].data.polygons), run.progress.faces])
    mesh = bpy.data.objects["Source_flashmesh"].data
    facts = {"counts": counts, "stage": run.progress.stage, "factor": run.progress.factor}
    facts |= {"corners": len(mesh.loops), "vertices": len(mesh.vertices), "edges": len(mesh.edges)}
    facts["places"] = len({tuple(vertex.co) for vertex in mesh.vertices})
    facts["pairs"] = len({pair for face in mesh.polygons for pair in face.edge_keys})
    facts["boxes"] = stage.boxes(source, bpy.data.objects["Source_flashmesh"])
    run.cancel()
    stage.tick_until(run, lambda: run.ended)
    return {**facts, **stage.outcome(run)}


def cancel_keeps():
    _, run = grown(keep_unfinished=True)
    run.cancel()
    cancelling = run.cancelling
    stage.tick_until(run, lambda: run.ended)
    kept = bpy.data.objects["Source_flashmesh"].data
    return {"cancelling": cancelling, "polygons": len(kept.polygons), **stage.outcome(run)}


def cancel_removes():
    _, run = grown(keep_unfinished=False)
    run.cancel()
    stage.tick_until(run, lambda: run.ended)
    return {"meshes": [mesh.name for mesh in bpy.data.meshes], **stage.outcome(run)}


def cancel_brings_back():
    """The result of a run before is shown and selected again."""
    source = stage.cube("Source")
    run = stage.begin(source, keep_unfinished=True)
    stage.tick_to_faces(run)
    run.cancel()
    stage.tick_until(run, lambda: run.ended)
    earlier = bpy.data.objects["Source_flashmesh"]
    stage.select(earlier)
    run = stage.begin(source)
    stage.tick_to_faces(run)
    hidden = earlier.hide_get()
    run.cancel()
    stage.tick_until(run, lambda: run.ended)
    active = bpy.context.view_layer.objects.active.name
    return {"hidden": [hidden, earlier.hide_get()], "now_active": active, **stage.outcome(run)}


def cancel_while_reading():
    run = stage.begin(stage.cube())
    run.tick(bpy.context)
    run.cancel()
    stage.tick_until(run, lambda: run.ended)
    return stage.outcome(run)


def cancel_leaves_the_rest():
    first, second = stage.cube("First"), stage.cube("Second", location=(5, 0, 0))
    run = stage.begin(first, second, keep_unfinished=True)
    stage.tick_to_faces(run)
    run.cancel()
    stage.tick_until(run, lambda: run.ended)
    return stage.outcome(run)


def result_deleted():
    _, run = grown(keep_unfinished=True)
    bpy.data.objects.remove(bpy.data.objects["Source_flashmesh"])
    run.tick(bpy.context)
    return stage.outcome(run)


def result_unlinked():
    _, run = grown(keep_unfinished=True)
    result = bpy.data.objects["Source_flashmesh"]
    result.use_fake_user = True
    bpy.data.collections["FlashMesh"].objects.unlink(result)
    run.tick(bpy.context)
    return stage.outcome(run)


def another_takes_its_name():
    """What an undo may leave: the name is there, the object is not ours."""
    _, run = grown(keep_unfinished=True)
    bpy.data.objects.remove(bpy.data.objects["Source_flashmesh"])
    impostor = stage.cube("Source_flashmesh")
    before = len(impostor.data.polygons)
    run.tick(bpy.context)
    return {"untouched": len(impostor.data.polygons) == before, **stage.outcome(run)}


def result_renamed():
    _, run = grown(keep_unfinished=True)
    bpy.data.objects["Source_flashmesh"].name = "Mine"
    before = run.progress.faces
    stage.tick_until(run, lambda: run.progress.faces > before + 5)
    grew = len(bpy.data.objects["Mine"].data.polygons) > before
    run.cancel()
    stage.tick_until(run, lambda: run.ended)
    return {"grew": grew, **stage.outcome(run)}


def source_deleted():
    source, run = grown(snap=True, keep_unfinished=True)
    bpy.data.objects.remove(source)
    before = run.progress.faces
    stage.tick_until(run, lambda: run.progress.faces > before + 5)
    run.cancel()
    stage.tick_until(run, lambda: run.ended)
    return stage.outcome(run)


def scene_switched():
    _, run = grown(keep_unfinished=True)
    other = bpy.data.scenes.new("Other")
    home, bpy.context.window.scene = bpy.context.window.scene, other
    run.tick(bpy.context)
    bpy.context.window.scene = home
    return {"linked": [item.name for item in other.collection.all_objects], **stage.outcome(run)}


def edit_mode_of_the_source():
    source, run = grown(keep_unfinished=False)
    stage.select(source)
    bpy.ops.object.mode_set(mode="EDIT")
    run.tick(bpy.context)
    bpy.ops.object.mode_set(mode="OBJECT")
    return stage.outcome(run)


def edit_mode_of_the_result():
    _, run = grown(keep_unfinished=False)
    stage.select(bpy.data.objects["Source_flashmesh"])
    bpy.ops.object.mode_set(mode="EDIT")
    run.tick(bpy.context)
    bpy.ops.object.mode_set(mode="OBJECT")
    return stage.outcome(run)


def edit_mode_of_a_result_that_is_kept():
    _, run = grown(keep_unfinished=True)
    result = bpy.data.objects["Source_flashmesh"]
    stage.select(result)
    bpy.ops.object.mode_set(mode="EDIT")
    run.tick(bpy.context)
    bpy.ops.object.mode_set(mode="OBJECT")
    return {"polygons": len(result.data.polygons), **stage.outcome(run)}


def file_loaded():
    _, run = grown(keep_unfinished=True)
    ended = []
    run.at_end.append(lambda: ended.append(True))
    stage.empty_scene()
    return {"ended": ended, **stage.outcome(run)}


def one_at_a_time():
    source, run = grown(keep_unfinished=True)
    stage.select(source)
    try:
        stage.begin(source)
        refused = ""
    except RuntimeError as error:
        refused = str(error)
    could = bpy.ops.flashmesh.generate.poll()
    bpy.ops.flashmesh.cancel()
    stage.tick_until(run, lambda: run.ended)
    return {"refused": refused, "could": could, "can": bpy.ops.flashmesh.generate.poll(), **stage.outcome(run)}


def engine_killed():
    _, run = grown(keep_unfinished=True)
    was = stage.host.engine(bpy.context).pid
    os.kill(was, signal.SIGKILL)
    stage.tick_until(run, lambda: run.progress.reason)
    emptied = len(bpy.data.objects["Source_flashmesh"].data.polygons), run.progress.faces
    stage.tick_until(run, lambda: run.progress.faces >= 6)
    now = stage.host.engine(bpy.context).pid
    run.cancel()
    stage.tick_until(run, lambda: run.ended)
    return {"emptied": emptied, "another": was != now, "trouble": stage.host.trouble(), **stage.outcome(run)}


def engine_stopped():
    _, run = grown(keep_unfinished=True)
    bpy.ops.flashmesh.engine(action="STOP")
    stage.tick_until(run, lambda: run.ended)
    return {"pid": stage.host.engine(bpy.context).pid, "trouble": stage.host.trouble(), **stage.outcome(run)}


INTERRUPTIONS = (
    mesh_grows, cancel_keeps, cancel_removes, cancel_brings_back, cancel_while_reading, cancel_leaves_the_rest,
    result_deleted,
    result_unlinked, another_takes_its_name, result_renamed, source_deleted, scene_switched, edit_mode_of_the_source,
    edit_mode_of_the_result, edit_mode_of_a_result_that_is_kept, file_loaded, one_at_a_time, engine_killed,
    engine_stopped,
)  # fmt: skip

if __name__ == "__main__":
    stage.play(INTERRUPTIONS)
    stage.blender_addon.unregister()
    stage.tell(threads=stage.our_threads(), children=stage.children())
