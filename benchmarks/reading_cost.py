"""Where the time of a whole path goes: reading a dense source stage by stage, and writing its mesh.

    python benchmarks/reading_cost.py [--triangles 100000,1000000] [--families remesh,sculpt] [--faces 300]

Sources are made of the bundled chair on as many cells as so many triangles take. Each is made once unmeasured, then
--rounds times; medians are printed (seconds, and the longest that nothing was reported). A reading's time is told by
its own reports. The last line is one JSON object. Compare two checkouts in turns: one time alone says little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import flashmesh_core  # noqa: E402
from flashmesh_core.mesh.canonical import Mesh, Normalization  # noqa: E402
from flashmesh_core.mesh.io import load_mesh  # noqa: E402
from flashmesh_core.sources import DEFAULTS, MAX_CELLS, MESH_FAMILIES, make_source  # noqa: E402
from flashmesh_core.surface.reading import read_surface  # noqa: E402

CELLS = 64  # of the source whose triangles tell how many cells others need


def source_of(family: str, triangles: int) -> Mesh:
    """A source of the chair with about so many triangles: they grow as the square of the cells."""
    chair = load_mesh(str(ROOT / "examples" / "chair.obj"))
    chair = Mesh(Normalization.of_points(chair.vertices).apply(chair.vertices), chair.faces)
    few = make_source(chair, replace(DEFAULTS[family], cells=CELLS), seed=0)
    cells = min(round(CELLS * (triangles / len(few.faces)) ** 0.5), MAX_CELLS)
    return make_source(chair, replace(DEFAULTS[family], cells=cells), seed=0)


def read(source: Mesh, faces: int) -> dict[str, float]:
    """Seconds of each stage of one reading, of them all, and of the longest silence."""
    reports = [("", time.perf_counter())]
    read_surface(source, faces=faces, progress=lambda stage, share: reports.append((stage, time.perf_counter())))
    reports.append(("", time.perf_counter()))
    found: dict[str, float] = {}
    for (stage, begin), (_, end) in pairwise(reports):
        found[stage or "clean"] = found.get(stage or "clean", 0.0) + end - begin
    silent = max(end - begin for (_, begin), (_, end) in pairwise(reports))
    return found | {"reading": reports[-1][1] - reports[0][1], "silent": silent}


def _several(kind: Callable[[str], Any]) -> Callable[[str], list]:
    def comma_separated(text: str) -> list:
        return [kind(part) for part in text.split(",")]

    return comma_separated


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--triangles", type=_several(int), default=[100_000, 1_000_000], help="comma-separated; about")
    parser.add_argument("--families", type=_several(str), default=list(MESH_FAMILIES), help="comma-separated")
    parser.add_argument("--faces", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    for name, values in (("triangles", args.triangles), ("faces", [args.faces]), ("rounds", [args.rounds])):
        if min(values) < 1:
            parser.error(f"--{name} must be at least 1, got {min(values)}")
    for family in args.families:
        if family not in MESH_FAMILIES:
            parser.error(f"--families must be of {','.join(MESH_FAMILIES)}, got {family!r}")
    engine, rows = flashmesh_core.load("nano"), []
    for family in args.families:
        for triangles in args.triangles:
            source, rounds = source_of(family, triangles), []
            for number in range(args.rounds + 1):
                times = read(source, args.faces)
                begin = time.perf_counter()
                made = engine.generate(source, faces=args.faces)
                times["whole path"] = time.perf_counter() - begin
                if number:
                    rounds.append(times)
            medians = {name: round(statistics.median(times[name] for times in rounds), 2) for name in rounds[0]}
            rows.append({"family": family, "triangles": len(source.faces), "faces": len(made.mesh.faces), **medians})
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
