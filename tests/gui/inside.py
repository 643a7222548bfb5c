"""Run by Blender with a window: answers a test over a socket, one JSON line each way. `-- SOCKET PYTHON`.

A test calls the functions of this file and of scenes.py by name. They run on Blender's main thread, between its events.
"""

import json
import socket
import sys
import threading
import time
import traceback
from importlib import import_module
from pathlib import Path

import bpy
from bpy.app.handlers import persistent
from mathutils.bvhtree import BVHTree

sys.path.insert(0, str(Path(__file__).resolve().parent))
import scenes
from scenes import SUFFIX, area_and_region, in_viewport

MODULE = "bl_ext.user_default.flashmesh"
_SECONDS = 0.02  # between two looks at the socket
_drawn = {"WINDOW": 0, "UI": 0}  # how often viewport and sidebar were drawn
_shown = ""  # the engine's state when the sidebar was drawn last
_seconds = []  # from click to first face, of each run
_freeze_at = None  # faces from which on what comes from the engine is held back
_frozen = False  # whether that is so now

address, python = sys.argv[sys.argv.index("--") + 1 :]
parts = ("engine.host", "engine.settings", "scene.session")
host, settings, session = (import_module(f"{MODULE}.{name}") for name in parts)
server = socket.socket(socket.AF_UNIX)
server.bind(address)
server.listen()
server.setblocking(False)
_plain_option = tuple(bpy.context.preferences.themes[0].user_interface.wcol_option.inner)
_plain_button = tuple(bpy.context.preferences.themes[0].user_interface.wcol_tool.inner)


def new_file():
    """The start-up file. What it shows can be changed from the next call on, not before."""
    thaw()
    bpy.ops.wm.read_homefile()


def prepare(checkpoint="nano", **options):
    """No cube, light and camera; the sidebar open; the preferences and the panel as wanted."""
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    space = area_and_region()[0].spaces.active
    space.show_region_ui = True
    space.show_gizmo = False
    set_preferences(engine_python=python, checkpoint=checkpoint, on_cancel="KEEP", keep_ready=False)
    for name, value in options.items():
        setattr(bpy.context.scene.flashmesh, name, value)


def open_tab():
    """Brings the add-on's tab of the sidebar to the front, if Blender has drawn the sidebar by now."""
    _, sidebar = area_and_region("UI")
    if sidebar.width <= 1 or sidebar.active_panel_category == "UNSUPPORTED":
        return False
    sidebar.active_panel_category = "FlashMesh"
    return sidebar.active_panel_category == "FlashMesh"


def layout():
    """Where viewport and sidebar are: x, y, width, height, from the window's lower left corner."""
    area, sidebar = area_and_region("UI")
    return {
        "viewport": [area.x, area.y, area.width, area.height],
        "sidebar": [sidebar.x, sidebar.y, sidebar.width, sidebar.height],
    }


def mark_buttons(color=None):
    """Gives all buttons of operators a colour, or their own."""
    bpy.context.preferences.themes[0].user_interface.wcol_tool.inner = color or _plain_button
    redraw()


def mark_options(color=None):
    """The same for the boxes that are ticked."""
    bpy.context.preferences.themes[0].user_interface.wcol_option.inner = color or _plain_option
    redraw()


def change(**options):
    """Settings of the panel."""
    for name, value in options.items():
        setattr(bpy.context.scene.flashmesh, name, value)


def bake(name):
    """Presses Bake from Source, which may be below the window's edge."""
    with in_viewport():
        bpy.ops.flashmesh.bake("INVOKE_DEFAULT", result=name, size=512)


def export(name, path):
    """Writes an object as glTF; how many bytes that are."""
    select(name)
    with in_viewport():
        bpy.ops.export_scene.gltf(filepath=path, use_selection=True)
    return Path(path).stat().st_size


def speak(language):
    """The language of the interface."""
    bpy.context.preferences.view.language = language


def setting(name):
    """One of the panel's settings."""
    return getattr(bpy.context.scene.flashmesh, name)


def redraw():
    """All of the window is drawn anew, soon; how often viewport and sidebar were drawn until now."""
    for area in bpy.context.window_manager.windows[0].screen.areas:
        area.tag_redraw()
    return _drawn


def drawn():
    """How often viewport and sidebar were drawn until now."""
    return _drawn


def _count_draws(kind):
    global _shown
    _drawn[kind] += 1
    if kind == "UI":
        _shown = host.status()["state"]


def wire(name):
    """Shows an object by its edges alone, and everything else in plain red on black, without any decoration."""
    bpy.data.objects[name].display_type = "WIRE"
    space = area_and_region()[0].spaces.active
    space.overlay.show_overlays = False
    shading = space.shading
    shading.light, shading.color_type, shading.single_color = "FLAT", "SINGLE", (1.0, 0.0, 0.0)
    shading.background_type, shading.background_color = "VIEWPORT", (0.0, 0.0, 0.0)
    shading.show_object_outline = False
    with in_viewport():
        bpy.ops.ed.undo_push(message="Look")


def freeze(faces):
    """Holds back what comes from the engine as soon as the results have so many faces."""
    global _freeze_at, _frozen
    _freeze_at, _frozen = faces, False


def thaw():
    """Hands over what was held back, and all that comes."""
    global _freeze_at, _frozen
    _freeze_at, _frozen = None, False


class HeldJob(session.Job):
    """A Job whose events `freeze` holds back, however far ahead of Blender's screen the engine is."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._held = []
        self._began, self.first_face = time.monotonic(), None  # seconds from the click to the first face

    def drain(self, wait=0.0):
        """The events up to the number of faces that is wanted."""
        global _frozen
        news = super().drain(0.0 if self._held else wait)
        if self.first_face is None and any(event["kind"] == "faces" for event in news):
            self.first_face = time.monotonic() - self._began
            _seconds.append(self.first_face)
        self._held += news
        if _freeze_at is None:
            given, self._held = self._held, []
            return given
        given, missing = [], _freeze_at - session.active.progress.faces
        _frozen = missing <= 0
        while self._held and missing > 0:
            given.append(self._held.pop(0))
            if given[-1]["kind"] == "faces" and given[-1]["candidate"] == 0:
                missing -= len(given[-1]["faces"])
        return given


session.Job = HeldJob


def go_online():
    """Lets Blender use the network, which nothing here does."""
    bpy.context.preferences.system.use_online_access = True


def panel_state():
    """Whether the panel says that there is no engine, and why the button cannot be pressed."""
    found = settings.get_preferences()
    return {"missing": settings.engine_is_missing(found), "reason": host.problem(bpy.context)}


def installing():
    """Whether an engine is being installed."""
    return import_module(f"{MODULE}.ui.setup").running("INSTALL") is not None


def set_preferences(**wanted):
    """Preferences of the add-on."""
    for name, value in wanted.items():
        setattr(settings.get_preferences(), name, value)


def state():
    """What there is: objects, the run, the engine."""
    run, depsgraph = session.last, bpy.context.evaluated_depsgraph_get()
    objects = {}
    for item in bpy.context.scene.objects:
        objects[item.name] = {"faces": 0, "hidden": item.hide_get(), "selected": item.select_get()}
        objects[item.name]["location"] = list(item.location)
        if item.type == "MESH":
            shown = item.evaluated_get(depsgraph)
            corners = [shown.matrix_world @ vertex.co for vertex in shown.data.vertices]
            box = [
                [pick([corner[axis] for corner in corners], default=0.0) for axis in range(3)] for pick in (min, max)
            ]
            objects[item.name] |= {"faces": len(shown.data.polygons), "box": box}
            objects[item.name]["in_front"] = item.show_in_front
            objects[item.name]["quads"] = sum(len(face.vertices) == 4 for face in shown.data.polygons)
    return {
        "objects": objects,
        "faces": sum(item["faces"] for name, item in objects.items() if SUFFIX in name),
        "collections": [item.name for item in bpy.data.collections],
        "active": getattr(bpy.context.view_layer.objects.active, "name", ""),
        "mode": bpy.context.mode,
        "view": list(area_and_region()[0].spaces.active.region_3d.view_rotation),
        "running": session.active is not None,
        "modal": [item.bl_idname for item in bpy.context.window_manager.windows[0].modal_operators],
        "threads": [thread.name for thread in threading.enumerate() if thread.name.startswith("flashmesh-")],
        "run": id(run),
        "outcome": "" if run is None else run.outcome,
        "stage": "" if run is None else run.progress.stage,
        "step": "" if run is None else run.progress.step,
        "seconds_left": None if run is None else run.progress.seconds_left,
        "messages": [] if run is None else [text for _, text in run.messages],
        "results": 0 if run is None else len(run.results),
        "pid": host.engine(bpy.context).pid,
        "trouble": host.trouble(),
        "images": sorted(item.name for item in bpy.data.images if item.packed_file is not None),
        "seconds": _seconds,
        "loaded": host.status().get("checkpoint"),
        "shown": _shown,
        "frozen": _frozen,
    }


def distance(name, source):
    """How far a vertex of an object lies from the surface of another one at most, in world space."""
    item, other = bpy.data.objects[name], bpy.data.objects[source]
    shown = other.evaluated_get(bpy.context.evaluated_depsgraph_get())
    vertices = [shown.matrix_world @ vertex.co for vertex in shown.data.vertices]
    tree = BVHTree.FromPolygons(vertices, [face.vertices for face in shown.data.polygons])
    return max(tree.find_nearest(item.matrix_world @ vertex.co)[3] for vertex in item.data.vertices)


def select(name):
    """One object alone is selected."""
    for item in bpy.context.scene.objects:
        item.select_set(item.name == name)
    bpy.context.view_layer.objects.active = bpy.data.objects[name]


def show_another_scene():
    """Makes a scene and shows it in the window."""
    bpy.context.window_manager.windows[0].scene = bpy.data.scenes.new("Other")


def select_only(name):
    """One object alone is selected, and the others are hidden."""
    for item in bpy.context.scene.objects:
        item.hide_set(item.name != name)
    select(name)


@persistent
def _look():
    """One look: answers one call if there is one."""
    try:
        connection, _ = server.accept()
    except BlockingIOError:
        return _SECONDS
    with connection, connection.makefile("rw", encoding="utf-8") as stream:
        connection.setblocking(True)
        try:
            call = json.loads(stream.readline())
            function = globals().get(call["name"]) or getattr(scenes, call["name"])
            answer = {"answer": function(**call["arguments"])}
        except Exception:
            answer = {"error": traceback.format_exc()}
        stream.write(json.dumps(answer) + "\n")
    return _SECONDS


view = bpy.context.preferences.view
view.show_splash = False
bpy.context.preferences.use_preferences_save = False
bpy.context.preferences.view.use_save_prompt = False
for kind in _drawn:
    bpy.types.SpaceView3D.draw_handler_add(_count_draws, (kind,), kind, "POST_PIXEL")
bpy.app.timers.register(_look, persistent=True)
print("INSIDE", Path(address).name, flush=True)
