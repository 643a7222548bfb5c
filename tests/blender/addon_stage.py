"""Imported by scripts that Blender runs: the add-on from the repository, a scene, and JSON for the test to read."""

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from dataclasses import replace  # noqa: F401
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import bpy  # noqa: E402
import numpy as np  # noqa: E402

import blender_addon  # noqa: E402
from benchmarks.blender_shapes import select  # noqa: E402, F401

blender_addon.register()
from blender_addon.engine import host, settings  # noqa: E402
from blender_addon.engine.generation import Cancellation  # noqa: E402, F401
from blender_addon.engine.request import RunSettings, make_request  # noqa: E402, F401
from blender_addon.scene import finishing, measure, mesh_bridge, quad_plan, results, session, uv_maps  # noqa: E402, F401
from blender_addon.ui import drawing, operators, panels  # noqa: E402, F401
from blender_addon.ui import results as ui_results  # noqa: E402, F401

DEADLINE = 60  # seconds after which a scenario that waits for something fails
plain = settings.get_preferences()
plain.engine_python = os.environ["FLASHMESH_PYTHON"]


def reload():
    """Takes the modules of an add-on that was registered again, and gives it the preferences of the one before."""
    wanted = vars(plain)
    parts = (
        "engine.host",
        "engine.settings",
        "scene.finishing",
        "scene.mesh_bridge",
        "scene.quad_plan",
        "scene.results",
        "scene.session",
    )
    for name in (*parts, "ui.operators", "ui.panels"):
        globals()[name.partition(".")[2]] = import_module(f"blender_addon.{name}")
    globals()["plain"] = settings.get_preferences()
    vars(plain).update(wanted)


def empty_scene():
    """An empty file."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)


def cube(name="Source", **placed):
    """A selected cube."""
    bpy.ops.mesh.primitive_cube_add(**placed)
    bpy.context.object.name = name
    return bpy.context.object


def begin(*sources, **options):
    """A run over the objects that nothing has ticked yet."""
    wanted = {"faces": 10_000, "preset": "STANDARD", **options}
    keys = [results.key_of(item) for item in sources]
    return session.begin(keys, RunSettings(**wanted), host.engine(bpy.context), bpy.context.scene)


def tick_until(run, condition):
    """Ticks until `condition()`."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain, at {run.progress} {run.messages}"
        run.tick(bpy.context, 0.05)


def tick_to_faces(run, faces=6):
    """Ticks until the mesh has grown."""
    tick_until(run, lambda: run.ended or run.progress.faces >= faces)
    assert not run.ended, run.messages


def make_quads(mesh):
    """Quads of a mesh of triangles, at once."""
    plan = quad_plan.QuadPlan(mesh, np.eye(4))
    plan.wait(None)
    plan.carry_out(mesh)


def made():
    """The names of all results."""
    return sorted(item.name for item in bpy.data.objects if results.SUFFIX in item.name)


def collections():
    """The names of all collections of results."""
    return [item.name for item in bpy.data.collections]


def our_threads():
    """The threads of the add-on that run on, after a time to end."""
    mine = [thread for thread in threading.enumerate() if thread.name.startswith("flashmesh-")]
    for thread in mine:
        thread.join(10.0)
    return [thread.name for thread in mine if thread.is_alive()]


def children():
    """The process ids of this process's children, and of theirs; none where there is no /proc."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(path.parent.name)] = int(parent)
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return sorted(found[1:])


def outcome(run):
    """What a run came to, for a test."""
    return {
        "outcome": run.outcome,
        "messages": [text for _, text in run.messages],
        "results": [vars(result) for result in run.results],
        "made": made(),
        "collections": collections(),
        "threads": our_threads(),
        "children": children(),
        "engine": getattr(host.engine(bpy.context), "pid", None),
        "active": session.active is not None,
        "selected": sorted(item.name for item in bpy.context.selected_objects),
        "in_front": [item.name for item in bpy.context.scene.objects if item.show_in_front],
    }


def boxes(*objects):
    """World-space bounding boxes, by Blender's own slow access: ((low), (high)) each."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    answer = []
    for item in objects:
        evaluated = item.evaluated_get(depsgraph)
        corners = np.array([evaluated.matrix_world @ vertex.co for vertex in evaluated.to_mesh().vertices])
        answer.append((corners.min(axis=0).tolist(), corners.max(axis=0).tolist()))
    return answer


def tell(**answers):
    """One line for the test."""
    print("TOLD " + json.dumps(answers, default=str), flush=True)


def play(scenarios):
    """Runs the functions, each in an empty file, and tells what they return, or how they failed, by their names."""
    answers = {}
    for scenario in scenarios:
        empty_scene()
        try:
            answers[scenario.__name__] = scenario()
        except BaseException:
            answers[scenario.__name__] = {"failed": traceback.format_exc()}
            session.abandon(5.0)
    tell(**answers)
