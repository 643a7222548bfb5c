"""Run in Blender with the zip installed: where things are and what works. `-- PYTHON`; prints JSON after EXTENSION."""

import json
import sys
from importlib import import_module

import addon_utils
import bpy

MODULE = "bl_ext.user_default.flashmesh"
(python,) = sys.argv[sys.argv.index("--") + 1 :]
preferences = import_module(f"{MODULE}.preferences")
found = preferences.get_preferences()
found.engine_python = python
tested = sorted(bpy.ops.flashmesh.test_engine())
report = import_module(f"{MODULE}.setup").note("TEST")
core = import_module(f"{MODULE}.core_path").core_folder()
entries = import_module(f"{MODULE}.downloads").list_checkpoints(core / "flashmesh_core" / "checkpoints", core)
answer = {
    "enabled": MODULE in bpy.context.preferences.addons,
    "kind": type(found).__name__,
    "user_folder": str(preferences.user_folder(create=True)),
    "core": str(core),
    "checkpoints": [entry.name for entry in entries],
    "tested": tested,
    "report": report,
    "operator": hasattr(bpy.types, "FLASHMESH_OT_generate"),
}
addon_utils.disable(MODULE, default_set=False)
answer["left"] = [name for name in dir(bpy.types) if name.startswith("FLASHMESH")]
answer["paths"] = [path for path in sys.path if "flashmesh" in path]
answer["modules"] = [name for name in sys.modules if name.split(".")[0] == "flashmesh_core"]
addon_utils.enable(MODULE, default_set=False)
answer["again"] = hasattr(bpy.types, "FLASHMESH_OT_test_engine")
print("EXTENSION", json.dumps(answer), flush=True)
