"""What the add-on costs Blender's main thread: a tick, reading a large object, and pressing the button.

    blender --background --factory-startup --python benchmarks/addon_cost.py     # or bpy's own Python
    xvfb-run -a blender --factory-startup --python benchmarks/addon_cost.py      # with a window: the press too

The engine of the ticks replays a known mesh, so that nothing but the add-on is measured. The press is the real
operator with a real engine that does not run yet, in the Python that $FLASHMESH_ENGINE_PYTHON names, else in .venv;
without a window, where the operator would wait for its end, the press is taken apart into its steps up to the first
tick. Medians (and the slowest); the last line is one JSON object.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import bpy  # noqa: E402
import numpy as np  # noqa: E402

import blender_addon  # noqa: E402

blender_addon.register()
from blender_addon.engine import host, settings  # noqa: E402
from blender_addon.engine.request import RunSettings, make_request  # noqa: E402
from blender_addon.scene import finishing, mesh_bridge, results, session  # noqa: E402
from flashmesh_core.service import protocol  # noqa: E402

FACES = 5_000  # that the mesh has when ticks are timed
TICKS = 60
PER_TICK = 64  # faces; a laptop's engine writes fewer in the 67 ms between two ticks
ROUNDS = 5
found = {}


class Replay:
    """An engine that says a mesh at once, PER_TICK faces an event."""

    trouble = ""

    def __init__(self, corners):
        self.corners = corners

    def generate(self, request, cancel):
        corners = (self.corners - request.center).astype(np.float32)
        for begin in range(0, len(corners), PER_TICK):
            faces = corners[begin : begin + PER_TICK]
            yield {"kind": "faces", "candidate": 0, "faces": faces, "n_faces": begin + len(faces)}
        cancel.wait()


def tell(name, seconds):
    """Prints and keeps the median of some times."""
    milliseconds = [1e3 * value for value in seconds]
    found[name] = round(statistics.median(milliseconds), 3)
    print(f"{name:42} {found[name]:9.2f} ms, slowest {max(milliseconds):9.2f} ms", flush=True)


def timed(action):
    """The seconds that a call takes, and its answer."""
    began = time.perf_counter()
    answer = action()
    return time.perf_counter() - began, answer


def grid(name, size, quads):
    """A bumpy grid of 2 size^2 triangles (or size^2 quads), turned, stretched and moved."""
    axis = np.linspace(-1.0, 1.0, size + 1)
    x, y = np.meshgrid(axis, axis)
    vertices = np.stack([x, y, 0.2 * np.sin(4.0 * x) * np.cos(3.0 * y)], axis=-1).reshape(-1, 3)
    a = (np.arange(size)[:, None] * (size + 1) + np.arange(size)).reshape(-1)
    corners = np.stack([a, a + 1, a + size + 2, a + size + 1], axis=1)
    mesh = bpy.data.meshes.new(name)
    if quads:
        mesh.from_pydata(vertices, [], corners.tolist())
    else:
        mesh_bridge.set_triangles(mesh, vertices, corners[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3))
    item = bpy.data.objects.new(name, mesh)
    item.location, item.rotation_euler, item.scale = (1, 2, 3), (0.3, 0.2, 0.1), (1, 2, 0.5)
    bpy.context.scene.collection.objects.link(item)
    bpy.context.view_layer.update()
    return item


def measure_ticks():
    """Ticks around FACES faces: PER_TICK new ones each, and the evaluation of the scene that follows."""
    source = grid("Ticked", 64, quads=False)
    surface = mesh_bridge.read_surface(source, bpy.context.evaluated_depsgraph_get())
    run = session.begin(
        [results.key_of(source)], RunSettings(faces=10_000), Replay(surface.vertices[surface.faces]), bpy.context.scene
    )
    run.tick(bpy.context)
    job = run._job
    events = []
    while sum(event["kind"] == "faces" for event in events) < len(surface.faces) // PER_TICK:
        events += job.drain(1.0)
    ready = [event for event in events if event["kind"] == "faces"]
    job.drain = lambda wait=0.0: [ready.pop(0)]
    ticks, updates = [], []
    while run.progress.faces < FACES + TICKS // 2 * PER_TICK:
        seconds = timed(lambda: run.tick(bpy.context))[0], timed(bpy.context.view_layer.update)[0]
        if run.progress.faces > FACES - TICKS // 2 * PER_TICK:
            ticks.append(seconds[0])
            updates.append(seconds[1])
    tell(f"tick at {FACES:,} faces", ticks)
    tell("evaluation of the scene after a tick", updates)
    run.abandon()
    run.join(10.0)


def pack(surface):
    """What the worker thread does with an object before the engine has it."""
    request = make_request(surface.vertices, surface.faces, RunSettings())
    return protocol.encode_request(request.points, None, request.options, request.triangles)


def measure_reading():
    """An object of 500,000 triangles: what the main thread reads, what a worker packs, the search at the end."""
    for kind, quads in (("triangles", False), ("quads", True)):
        source = grid(f"Large {kind}", 500, quads)
        parts = {"reading": [], "packing": [], "both": []}
        for number in range(ROUNDS):
            source.location.x = number
            bpy.context.view_layer.update()
            depsgraph = bpy.context.evaluated_depsgraph_get()
            read, surface = timed(lambda source=source, graph=depsgraph: mesh_bridge.read_surface(source, graph))
            packed, _ = timed(lambda part=surface: pack(part))
            for name, seconds in (("reading", read), ("packing", packed), ("both", read + packed)):
                parts[name].append(seconds)
        assert len(surface.faces) == 500_000
        for name, times in parts.items():
            tell(f"500,000 triangles in {kind}: {name}", times)
    tell(
        "500,000 triangles: search tree", [timed(lambda: finishing.SourceSearch(surface).nearest(np.zeros((1, 3))))[0]]
    )


def select(source):
    for item in bpy.context.scene.objects:
        item.select_set(item == source)
    bpy.context.view_layer.objects.active = source


def end_run():
    run = session.active
    if run is not None:
        run.abandon()
        run.join(30.0)
    host.shutdown(10.0)


def press(source):
    """From a stopped engine to the moment the artist has Blender back, in seconds: the press, and the first tick."""
    select(source)
    assert host.status()["state"] == "stopped"
    if bpy.app.background:

        def begin():
            engine = host.engine(bpy.context)
            return session.begin([results.key_of(source)], RunSettings(), engine, bpy.context.scene)

        pressed, run = timed(begin)
    else:
        window = bpy.context.window_manager.windows[0]
        area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
        region = next(region for region in area.regions if region.type == "WINDOW")
        with bpy.context.temp_override(window=window, area=area, region=region):
            pressed, answer = timed(lambda: bpy.ops.flashmesh.generate("INVOKE_DEFAULT"))
        assert answer == {"RUNNING_MODAL"}, answer
        run = session.active
    first, _ = timed(lambda: run.tick(bpy.context))
    end_run()
    return pressed, first


def measure_press():
    plain = settings.get_preferences()
    named = os.environ.get(settings.ENGINE_PYTHON_VARIABLE, "")
    plain.engine_python = named or str(ROOT / ".venv" / "bin" / "python")
    for name, size in (("200 triangles", 10), ("500,000 triangles", 500)):
        source = grid(f"Pressed {size}", size, quads=False)
        times = [press(source) for _ in range(ROUNDS)]
        tell(f"press with a cold engine, {name}", [pressed for pressed, _ in times])
        tell(f"first tick after it, {name}", [first for _, first in times])


def main():
    bpy.data.batch_remove(list(bpy.data.objects))  # to load another file would crash from a timer
    print(f"Blender {bpy.app.version_string}, Python {sys.version.split()[0]}, numpy {np.__version__}")
    for measure in (measure_ticks, measure_reading, measure_press):
        measure()
    blender_addon.unregister()
    facts = {"blender": bpy.app.version_string, "window": not bpy.app.background}
    print(json.dumps({"benchmark": "addon_cost", **facts, "milliseconds": found}), flush=True)


def in_window():
    """Once Blender stands; quits it in any case."""
    try:
        main()
    finally:
        bpy.ops.wm.quit_blender()


if bpy.app.background:
    main()
else:
    bpy.app.timers.register(in_window, first_interval=1.0, persistent=True)
