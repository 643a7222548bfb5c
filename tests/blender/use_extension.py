"""Run in Blender with the zip installed: where things are, what works, and where two results lie.

`-- PYTHON`; prints JSON after EXTENSION.
"""

import json
import sys
from importlib import import_module

import addon_utils
import bpy
import numpy as np

MODULE = "bl_ext.user_default.flashmesh"


def two_sources():
    """A monkey, and a child of a stretched and turned parent, with a modifier and a non-uniform scale of its own."""
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.mesh.primitive_monkey_add(location=(0, 0, 3))
    monkey = bpy.context.object
    bpy.ops.object.empty_add(location=(4, 1, 2), rotation=(0.4, 0.3, 0.2))
    parent = bpy.context.object
    parent.scale = (1, 2, 0.5)
    bpy.ops.mesh.primitive_uv_sphere_add(segments=16, ring_count=8, location=(1, 0, 0))
    child = bpy.context.object
    child.parent, child.scale = parent, (1, 0.6, 1.5)
    child.modifiers.new("Array", "ARRAY").count = 2
    bpy.context.view_layer.update()
    return monkey, child


def box(item):
    """The world-space bounding box of what the scene shows of an object: low, high."""
    evaluated = item.evaluated_get(bpy.context.evaluated_depsgraph_get())
    corners = np.array([evaluated.matrix_world @ vertex.co for vertex in evaluated.to_mesh().vertices])
    return [corners.min(axis=0).tolist(), corners.max(axis=0).tolist()]


def generate(source, faces):
    """Generates with the shipped checkpoint; the boxes of source and result. The faces are enough for all of it."""
    for item in bpy.context.scene.objects:
        item.select_set(item == source)
    bpy.context.view_layer.objects.active = source
    status = sorted(bpy.ops.flashmesh.generate(faces=faces, preset="BEST_OF_4"))
    (result,) = import_module(f"{MODULE}.scene.session").last.results
    return {"status": status, "faces": result.faces, "boxes": [box(source), box(bpy.data.objects[result.name])]}


def kernels():
    """The files of compiled functions in the extension's user folder."""
    return sorted(path.name for path in settings.user_folder().rglob("*.nbc"))


class Listener:
    """Who listens to an install."""

    def tell(self, line, progress=None):
        """Nothing."""

    def check(self):
        """Nobody gives up."""


(python,) = sys.argv[sys.argv.index("--") + 1 :]
settings = import_module(f"{MODULE}.engine.settings")
found = settings.get_preferences()
found.engine_python = python
tested = sorted(bpy.ops.flashmesh.test_engine())
report = import_module(f"{MODULE}.ui.setup").note("TEST")
core = import_module(f"{MODULE}.engine.core_path").core_folder()
# The end of an install, with a Python that has all it needs.
import_module(f"{MODULE}.engine.engine_python").warm_up(python, core, settings.kernel_cache(), Listener())
compiled = kernels()
entries = import_module(f"{MODULE}.engine.downloads").list_checkpoints(core / "flashmesh_core" / "checkpoints", core)
answer = {
    "enabled": MODULE in bpy.context.preferences.addons,
    "kind": type(found).__name__,
    "user_folder": str(settings.user_folder(create=True)),
    "core": str(core),
    "checkpoints": [entry.name for entry in entries],
    "tested": tested,
    "report": report,
    "operator": hasattr(bpy.types, "FLASHMESH_OT_generate"),
    "generated": [generate(source, faces) for source, faces in zip(two_sources(), (1_000, 300), strict=True)],
}
answer["compiled"], answer["kernels"] = compiled, kernels()
answer["warnings"] = addon_utils._extensions_warnings_get().get(MODULE, [])  # what the list of add-ons shows
addon_utils.disable(MODULE, default_set=False)
answer["left"] = [name for name in dir(bpy.types) if name.startswith("FLASHMESH")]
answer["paths"] = [path for path in sys.path if "flashmesh" in path]
answer["modules"] = [name for name in sys.modules if name.split(".")[0] == "flashmesh_core"]
addon_utils.enable(MODULE, default_set=False)
answer["again"] = hasattr(bpy.types, "FLASHMESH_OT_test_engine")
print("EXTENSION", json.dumps(answer), flush=True)
