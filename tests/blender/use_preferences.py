"""Run in Blender: what the add-on's preferences answer. `-- CASE ARGUMENTS`; prints JSON after PREFERENCES."""

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import bpy  # noqa: E402

import blender_addon  # noqa: E402
from blender_addon.engine import settings  # noqa: E402

case, *arguments = sys.argv[sys.argv.index("--") + 1 :]


def say(**answer: object) -> None:
    print("PREFERENCES", json.dumps(answer), flush=True)


def press(operator: str, **options: object) -> dict[str, object]:
    """What a button answers: its status, or the error that it reports."""
    try:
        return {"status": sorted(getattr(bpy.ops.flashmesh, operator)(**options)), "error": ""}
    except RuntimeError as error:
        return {"status": [], "error": str(error).strip()}


def engine_python(found: object) -> str:
    try:
        return settings.resolve_engine_python(found)
    except settings.EnginePythonError as error:
        return f"error: {error}"


def not_installed() -> None:
    """Imported from the repository: a plain object."""
    found = settings.get_preferences()
    say(kind=type(found).__name__, values=vars(found), python=engine_python(found))
    os.environ[settings.ENGINE_PYTHON_VARIABLE] = sys.argv[0] + "/nowhere"
    say(python=engine_python(found))
    os.environ[settings.ENGINE_PYTHON_VARIABLE] = arguments[0]
    say(python=engine_python(found))
    found.engine_python = "/nowhere/python"
    say(python=engine_python(found))
    found.engine_python = str(Path(arguments[0]).parents[1])  # the folder of an environment
    say(python=engine_python(found))


def as_addon() -> object:
    """The preferences of a registered add-on."""
    entry = bpy.context.preferences.addons.new()
    entry.module = "blender_addon"
    return settings.get_preferences()


def buttons(url: str, python: str) -> None:
    found = as_addon()
    names = vars(settings.DEFAULTS)
    say(kind=type(found).__name__, same={name: getattr(found, name) for name in names} == names)
    found.engine_python = python
    say(test=press("test_engine"))
    found.engine_python = "/nowhere/python"
    say(test=press("test_engine"))
    found.backend, found.address = "ADDRESS", "engine.example:8000"
    say(test=press("test_engine"))
    say(install=press("install_engine"), download=press("download_checkpoint", url=url))

    bpy.context.preferences.system.use_online_access = True
    say(online=bpy.app.online_access, download=press("download_checkpoint", url="ftp://a"))
    say(download=press("download_checkpoint", url=url, checkpoint_name="mine"), checkpoint=found.checkpoint)
    say(install=press("install_engine", base="/nowhere/python"))
    say(remove=press("remove_checkpoint", value="nano"))
    say(remove=press("remove_checkpoint", value=found.checkpoint), checkpoint=found.checkpoint)
    say(use=press("use_checkpoint", value="/a/checkpoint"), checkpoint=found.checkpoint)
    say(cancel=press("cancel_install"))
    python = Path(settings.user_folder(create=True)) / "env1" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.argv[-1] if Path(sys.argv[-1]).is_file() else sys.executable)
    (settings.user_folder() / "engine.json").write_text('{"environment": "env1"}')
    found.backend, found.engine_python = "LOCAL", ""
    missing = [settings.engine_is_missing(found)]
    removed = press("remove_engine")
    say(remove=removed, missing=[*missing, settings.engine_is_missing(found)], left=python.exists())


if case == "not_installed":
    not_installed()
blender_addon.register()
if case == "buttons":
    buttons(*arguments)
registered = hasattr(bpy.types, "FLASHMESH_OT_install_engine")
blender_addon.unregister()
say(registered=registered, left=[name for name in dir(bpy.types) if name.startswith("FLASHMESH")])
