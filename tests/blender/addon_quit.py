"""Run by Blender with a way and an endless checkpoint: ends in the middle of a run once stdin is closed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import addon_stage as stage
import bpy

way, stage.plain.checkpoint = sys.argv[-2:]
stage.empty_scene()
run = stage.begin(stage.cube())
stage.tick_to_faces(run)
print("ENGINE", stage.host.engine(bpy.context).pid, flush=True)
sys.stdin.read()
if way == "quit" and bpy.app.binary_path:
    bpy.ops.wm.quit_blender()
