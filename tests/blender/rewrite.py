"""Run by Blender: after `--`, an input file and an output folder; writes the objects in every format.

Then prints what reading more/zoo.blend beside the input gives.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from blender_addon.batch import files  # noqa: E402

source, output = (Path(name) for name in sys.argv[sys.argv.index("--") + 1 :])
objects = files.read_objects(source, max_faces=1000)
same = [(item, item.vertices, item.faces) for item in objects]
for suffix in files.EXPORTED:
    files.write_objects(output / f"same.{suffix}", suffix, same)
for visible_only in (False, True):
    zoo = files.read_objects(source.parent / "more" / "zoo.blend", max_faces=10_000, visible_only=visible_only)
    found = {item.name: item.error or [len(item.faces), *item.vertices.mean(axis=0)] for item in zoo}
    print("ZOO " + json.dumps(found))
sys.stdout.flush()
