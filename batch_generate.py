# SPDX-License-Identifier: GPL-3.0-or-later
"""Every object of every file in a folder becomes an artist mesh, in Blender without a window.

    blender --background --python batch_generate.py -- --input DIR --output DIR [--faces 300 --format glb ...]
    python batch_generate.py --input DIR --output DIR ...                # where `import bpy` works

Reads .blend, OBJ, glTF, FBX, PLY and STL, point clouds where a file holds no faces; writes one file per input file,
objects named and placed as in the source (OBJ and PLY have no transforms: they are in world space; PLY joins all).
A report (JSON and CSV) is kept up to date; what it says is done is skipped by the next run.
Exit status: 0 all well, 1 some failed, 2 wrong usage, 128 + n ended by signal n.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

import bpy  # noqa: E402
import numpy as np  # noqa: E402

from blender_addon.batch import files  # noqa: E402
from blender_addon.batch.console import Console  # noqa: E402
from blender_addon.batch.engine import DEFAULT_CHECKPOINT, Engine, EngineUnavailableError, make_engine  # noqa: E402
from blender_addon.batch.files import SourceObject  # noqa: E402
from blender_addon.engine.request import centred  # noqa: E402
from blender_addon.scene import mesh_bridge  # noqa: E402
from blender_addon.scene.figures import STEPS  # noqa: E402
from flashmesh_core.batch.report import Job, Report, plan_jobs  # noqa: E402
from flashmesh_core.files import write_atomically  # noqa: E402
from flashmesh_core.mesh.sheets import open_edge_count, separate_sheets  # noqa: E402
from flashmesh_core.options import AUTO_CHOICES, OPTIONS  # noqa: E402
from flashmesh_core.service import protocol  # noqa: E402

ENGINE_OPTIONS = (
    "faces", "max_faces", "candidates", "seed", "temperature", "watertight", "keep_vertices", "clean_up", "fill_holes",
)  # fmt: skip
SWITCHES = {"watertight": False, "clean_up": True, "fill_holes": True}  # as they are where they were not asked for
EXIT_FAILED, EXIT_USAGE = 1, 2


class UsageError(Exception):
    """Nothing can be done with these options; the message says why."""


def integer(low: int, high: int) -> Callable[[str], int]:
    """An argparse type: an integer in [low, high], or a message that gives the range and the value."""

    def parse(text: str) -> int:
        if text.strip().lstrip("+-").isdecimal() and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(f"must be an integer in [{low:,}, {high:,}], got {text!r}")

    return parse


def engine_option(name: str) -> Callable[[str], Any]:
    """An argparse type with the range that the engine's own protocol gives for the option."""
    spec = OPTIONS[name]

    def parse(text: str) -> Any:
        try:
            return spec.check("value", spec.kind(text))
        except ValueError:
            allowed = spec.describe().removesuffix(" or null")
            raise argparse.ArgumentTypeError(f"must be {allowed}, got {text!r}") from None

    return parse


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """The command line, checked; ends the program with status 2 and a message where it is wrong."""
    usage = "blender --background --python batch_generate.py -- --input DIR --output DIR [options]"
    parser = argparse.ArgumentParser("batch_generate.py", usage, allow_abbrev=False)
    add = parser.add_argument
    # fmt: off
    add("--input", type=Path, required=True, metavar="DIR",
        help=f"folder (or one file); read are {' '.join(files.IMPORTED)}")
    add("--output", type=Path, required=True, metavar="DIR", help="where results go; subfolders are kept")
    add("--format", choices=files.EXPORTED, default="glb", help="of the results (default: glb)")
    add("--faces", type=engine_option("faces"), metavar="N", help="wanted faces per object")
    add("--max-faces", type=engine_option("max_faces"), metavar="N", help="where a result is cut off")
    add("--candidates", type=engine_option("candidates"), metavar="N", help="best of N, by Chamfer distance")
    add("--seed", type=engine_option("seed"), metavar="S", help="the same seed gives the same result")
    add("--temperature", type=engine_option("temperature"), metavar="T", help="0 is greedy")
    add("--watertight", action="store_true", help="close all that is open, openings of the source too")
    add("--keep-vertices", choices=tuple(AUTO_CHOICES), default="auto",
        help="take vertices of the sources alone (default: auto, of those with no more faces than are wanted)")
    flaws = "read sources as they are, with strays, pieces in the air, hidden parts, spikes, seams, ragged holes"
    add("--no-clean-up", dest="clean_up", action="store_false", help=flaws)
    add("--keep-holes", dest="fill_holes", action="store_false", help="leave bare and open what the model leaves so")
    add("--max-source-faces", type=integer(1, protocol.MAX_TRIANGLES), default=mesh_bridge.MAX_SOURCE_FACES,
        metavar="N", help="objects with more triangles are refused (default: %(default)s)")
    add("--visible-only", action="store_true", help="leave out what a .blend hides in viewport or render")
    add("--checkpoint", metavar="NAME", help="name, file or folder (default: nano, or the service's own)")
    add("--device", default="auto", metavar="D", help="auto, cpu, cuda or cuda:N (default: auto)")
    add("--engine", default="auto", metavar="E", help="process, inprocess, http://... of a service, or "
        "auto: inprocess if this Python has torch, else process (default: auto)")
    add("--engine-python", metavar="PATH", help="Python with torch for --engine process (default: "
        "$FLASHMESH_PYTHON, else the .venv beside this script)")
    add("--token", help=f"of the service at that address (default: ${protocol.TOKEN_VARIABLE})")
    add("--report", type=Path, metavar="R", help="R.json, with R.csv beside it (default: OUTPUT/report.json)")
    add("--overwrite", action="store_true", help="do again what the report says is done")
    # fmt: on
    options = parser.parse_args(arguments)
    options.keep_vertices = AUTO_CHOICES[options.keep_vertices]
    options.report = options.report or options.output / "report.json"
    engines, is_address = ("auto", "process", "inprocess"), "://" in options.engine
    for name, allowed, good in (
        ("input", "a folder or file that exists", options.input.exists()),
        ("output", "a folder", options.output.is_dir() or not options.output.exists()),
        ("output", "another folder than --input", options.output.resolve() != options.input.resolve()),
        ("report", "a file name that ends in .json", options.report.suffix.lower() == ".json"),
        ("engine", f"{', '.join(engines)} or http://...", options.engine in engines or is_address),
    ):
        if not good:
            parser.error(f"argument --{name}: must be {allowed}, got {str(getattr(options, name))!r}")
    return options


class Interrupted(BaseException):
    """Ctrl+C or SIGTERM."""


_signals: list[int] = []  # that came: an importer may have swallowed the exception


def interrupt(number: int, frame: Any) -> None:
    """The signal handler. A second signal ends the program at once, and with it the engine's process."""
    _signals.append(number)
    signal.signal(number, signal.SIG_DFL)
    raise Interrupted


def result_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The options that a result depends on, as the report stores them."""
    names = (*ENGINE_OPTIONS, "format", "max_source_faces", "visible_only", "checkpoint")
    settings = {name: getattr(options, name) for name in names}
    if "://" not in options.engine:  # weights may be replaced under the same name
        name = options.checkpoint or DEFAULT_CHECKPOINT
        folders = (ROOT / "flashmesh_core" / "checkpoints" / name, Path(name))
        found = [path for folder in folders for path in ([folder] if folder.is_file() else folder.glob("*"))]
        settings["checkpoint_mtime_ns"] = max((path.stat().st_mtime_ns for path in found), default=0)
    return settings


def wanted_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options that were given; the engine chooses the others."""
    given = {name: getattr(options, name) for name in ENGINE_OPTIONS}
    return {name: value for name, value in given.items() if value is not None and value is not SWITCHES.get(name)}


def generate_object(
    engine: Engine, source: SourceObject, options: argparse.Namespace, tell: Callable[[str], None]
) -> dict[str, Any]:
    """The figures of one object, its `vertices` (V, 3) in world space and its `face_indices` (F, 3).

    `tell` is called with how far the reading of its surface is.
    """

    def reading(step: str, share: float) -> None:
        tell(f"reading the surface: {STEPS.get(step, step).lower()}, {share:.0%}")

    if source.error is not None:
        raise ValueError(source.error)
    points, triangles, center = centred(source.vertices, source.faces, source.matrix[:3, 3], options.seed or 0)
    result = engine.generate(points, triangles, reading, **wanted_options(options))
    vertices, faces = np.asarray(result["vertices"], dtype=np.float64), np.asarray(result["face_indices"])
    vertices, faces = separate_sheets(vertices, faces)
    if result["end_reason"] == "cancelled":
        raise ValueError("the generation was cancelled at the engine")
    if not len(faces):
        raise ValueError("the engine gave no faces; try another seed or more candidates")
    row: dict[str, Any] = {"faces": len(faces), "open_edges": open_edge_count(faces)}
    row |= {"vertices": vertices + center, "face_indices": faces}
    for name in ("seconds", "tokens_per_second", "chamfer", "gap"):
        row[name] = None if result[name] is None or not np.isfinite(result[name]) else float(result[name])
    row |= {name: result.get(name, 0) for name in ("strays", "gashes")}  # a service of before does not say
    return row | {name: result[name] for name in ("end_reason", "verdict", "repaired", "wanted")}


def process_file(job: Job, engine: Engine, options: argparse.Namespace, console: Console) -> list[dict[str, Any]]:
    """Does one file: a row of the report per object. Raises what is wrong with the file as a whole."""
    limits = {"max_faces": options.max_source_faces, "visible_only": options.visible_only}
    sources = files.read_objects(job.source, **limits)
    rows: list[dict[str, Any]] = []
    results, counts = [], []
    for number, source in enumerate(sources, start=1):
        name = source.name + (f" ({number}/{len(sources)})" if len(sources) > 1 else "")
        try:
            row = generate_object(engine, source, options, partial(console.tell, f"{name}:"))
        except EngineUnavailableError:
            raise
        except Exception as error:
            rows.append({"object": source.name, "error": message(error)})
            console.say(f"{name}: failed: {message(error)}")
            continue
        results.append((source, row.pop("vertices"), row.pop("face_indices")))
        rows.append({"object": source.name, **row, "error": None})
        chamfer = "unknown" if row["chamfer"] is None else f"{row['chamfer']:.4f}"
        speed = f"{row['seconds'] or 0:.1f} s, {row['tokens_per_second'] or 0:.0f} tokens/s"
        console.say(
            f"{name}: {row['faces']} faces in {speed}, Chamfer {chamfer}, "
            f"{row['repaired']} repaired, {row['open_edges']} open edges, {row['verdict']} ({row['end_reason']})"
        )
    if results:
        write = partial(files.write_objects, file_format=options.format, results=results)
        write_atomically(job.output, lambda path: counts.extend(write(path)))
    for row, count in zip([row for row in rows if row["error"] is None], counts, strict=True):
        row["faces"] = count
    return rows


def message(error: Exception) -> str:
    """An exception in one line, without what Blender puts around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any(line.startswith("Traceback") or "Python: Traceback" in line for line in lines):
        lines = [line for line in lines if not line.startswith("Location:")][-1:]
    return " ".join(lines).removeprefix("Error: ") or type(error).__name__


def run(options: argparse.Namespace) -> int:
    """All files; the exit status."""
    try:
        jobs = plan_jobs(options.input, options.output, files.IMPORTED, f".{options.format}")
        report = Report(options.report, result_settings(options))
        options.output.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error
    counts: Counter[str] = Counter()
    engine: Engine | None = None
    try:
        for number, job in enumerate(jobs, start=1):
            console = Console(sys.stdout, f"[{number}/{len(jobs)}] {job.key}:")
            if not options.overwrite and report.is_done(job):
                console.say("done before, skipped")
                counts["skipped"] += 1
                continue
            engine = engine or make_engine(options)
            report.begin(job)
            rows: list[dict[str, Any]] = []
            error = None
            try:
                rows = process_file(job, engine, options, console)
            except Exception as wrong:
                if _signals:
                    raise Interrupted from wrong
                error = message(wrong)
                console.say(f"failed: {error}")
                if isinstance(wrong, EngineUnavailableError):
                    report.finish(job, rows, error)
                    raise
            report.finish(job, rows, error)
            counts["failed" if error or any(row["error"] for row in rows) else "done"] += 1
    finally:
        if engine is not None:
            engine.close()
    figures = ", ".join(f"{counts[name]} {name}" for name in ("done", "skipped", "failed"))
    print(f"{len(jobs)} files: {figures}; report in {options.report}", flush=True)
    return EXIT_FAILED if counts["failed"] else 0


def main() -> int:
    """Does what the command line says after `--` (all of it, where Python was started and not Blender)."""
    if "--" in sys.argv:
        arguments = sys.argv[sys.argv.index("--") + 1 :]
    else:
        arguments = [] if bpy.app.binary_path else sys.argv[1:]
    logging.disable(logging.INFO)  # of the importers, which tell every step
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        return run(parse_options(arguments))
    except (UsageError, EngineUnavailableError) as error:
        print(f"batch_generate.py: error: {error}", file=sys.stderr)
        return EXIT_USAGE
    except Interrupted:
        print("batch_generate.py: interrupted; the next run goes on from here", file=sys.stderr)
        return 128 + _signals[0]
    except Exception:
        traceback.print_exc()
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
