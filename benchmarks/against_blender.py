"""The engine beside Blender's own tools on the same real sources, at the same number of faces.

    FLASHMESH_BPY_PYTHON=PYTHON_WITH_BPY python benchmarks/against_blender.py --data DATA --min-faces 20 \\
        --max-faces 400 --closed-only --limit 60 [--rows result,proxy|none] [--blender decimate] [--report out.json]

Adds to the rows of `evaluate` Blender's Decimate (collapse), on the source as it is (`blender`) and with vertices at
one place merged first (`blender merged`; without that it stalls on flat voxel surfaces), and QuadriFlow (`quadriflow`).
Blender is the Python in $FLASHMESH_BPY_PYTHON that has bpy, else the program `blender`. The engine reconstructs clouds
for it first. Prints a table and, last, a line of JSON. A tool that fails, hangs or crashes scores as an empty mesh.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flashmesh_core.__main__ import finite, load_engine, write_report
from flashmesh_core.arguments import add_engine_arguments, engine_options
from flashmesh_core.evaluation.command import add_object_arguments, add_rows_argument, chosen_rows, run_rows
from flashmesh_core.evaluation.methods import EMPTY, Made, Method, methods_of
from flashmesh_core.evaluation.objects import Given
from flashmesh_core.evaluation.report import format_table
from flashmesh_core.mesh.canonical import Mesh

INSIDE = Path(__file__).with_name("blender_simplify.py")
MARK = "flashmesh-blender "


class Blender:
    """A Blender process that simplifies meshes on request; started anew when it crashes or hangs."""

    def __init__(self, patience: float = 120.0) -> None:
        self.patience = patience  # seconds for one mesh; QuadriFlow hangs on some
        self.folder = tempfile.TemporaryDirectory(prefix="flashmesh-blender-")
        self.process: subprocess.Popen[str] | None = None
        self.lines: queue.Queue[str | None] = queue.Queue()

    def simplify(self, mesh: Mesh, tool: str, faces: int) -> Made:
        """What a tool makes of a mesh; empty where it fails."""
        if not len(mesh.faces):
            return Made(EMPTY, 0.0)
        read, written = (Path(self.folder.name, f"{name}.npz") for name in ("in", "out"))
        np.savez(read, vertices=mesh.vertices.astype(np.float32), faces=mesh.faces.astype(np.int32))
        answer = self._ask({"input": str(read), "output": str(written), "tool": tool, "faces": faces})
        if "error" in answer:
            print(f"{tool}: {answer['error']}", file=sys.stderr)
            return Made(EMPTY, self.patience)
        with np.load(written) as arrays:
            made = Mesh(arrays["vertices"].astype(np.float64), arrays["faces"].astype(np.int64))
        return Made(made, float(answer["seconds"]))

    def close(self) -> None:
        """End the process and drop its files."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        self.folder.cleanup()

    def _ask(self, request: dict[str, object]) -> dict[str, object]:
        if self.process is None:
            self._start()
        assert self.process is not None and self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.lines.get(timeout=self.patience)
        except (queue.Empty, OSError):
            line = None
        if line is None:
            self.process.kill()
            self.process.wait()
            self.process = None
            return {"error": f"no answer within {self.patience:.0f} s, or a crash"}
        return json.loads(line)

    def _start(self) -> None:
        python = os.environ.get("FLASHMESH_BPY_PYTHON")
        program = python or shutil.which("blender")
        if not program:
            raise ValueError(
                "FLASHMESH_BPY_PYTHON must name a Python with bpy, or `blender` be on the path; got neither"
            )
        command = [program, str(INSIDE)] if python else [program, "-b", "--factory-startup", "--python", str(INSIDE)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.lines = queue.Queue()
        threading.Thread(target=_read, args=(self.process.stdout, self.lines), daemon=True).start()


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    """Pass the answers on, and None at the end of the process."""
    for line in stream:
        if line.startswith(MARK):
            lines.put(line.removeprefix(MARK))
    lines.put(None)


def blender_methods(blender: Blender, tools: list[str]) -> dict[str, Method]:
    """The rows of Blender's tools."""
    methods: dict[str, Method] = {}
    if "decimate" in tools:
        methods["blender"] = lambda given, faces: blender.simplify(_as_given(given), "decimate", faces)
        methods["blender merged"] = lambda given, faces: blender.simplify(given.dense, "decimate", faces)
    if "quadriflow" in tools:
        methods["quadriflow"] = lambda given, faces: blender.simplify(given.dense, "quadriflow", faces)
    return methods


def _as_given(given: Given) -> Mesh:
    return given.source if isinstance(given.source, Mesh) else given.dense


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_object_arguments(parser)
    add_rows_argument(parser)  # "none" is none
    parser.add_argument("--blender", default="decimate,quadriflow", help="Blender's tools (default: %(default)s)")
    patience = "seconds in which a tool must be done with one mesh; more on a busy machine (default: %(default)g)"
    parser.add_argument("--patience", type=float, default=120.0, help=patience)
    add_engine_arguments(parser)
    args = parser.parse_args()
    tools = args.blender.split(",")
    if unknown := set(tools) - {"decimate", "quadriflow"}:
        parser.error(f"--blender must be some of decimate,quadriflow, got {','.join(sorted(unknown))}")
    rows = [] if args.rows == "none" else chosen_rows(args)
    methods: dict[str, Method] = {}
    options = engine_options(args)
    if rows:
        engine = load_engine(args) if {"result", "model"} & set(rows) else None
        methods |= methods_of(engine, rows, **options)
    blender = Blender(args.patience)
    try:
        methods |= blender_methods(blender, tools)
        report = run_rows(args, methods) | {"options": options}
    finally:
        blender.close()
    write_report(args.report, report)
    print(format_table(report["rows"]))
    print(json.dumps(finite({"objects": report["objects"], "families": report["families"]})))


if __name__ == "__main__":
    main()
