"""The `bench` command: its options, the interleaved runs, and what it prints and writes."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flashmesh_core.arguments import add_decoding_arguments, decoding_options
from flashmesh_core.config import PRECISIONS
from flashmesh_core.drafters import DRAFTERS
from flashmesh_core.options import DEFAULT_WIDTH, OPTIONS
from flashmesh_core.sources import FAMILIES

if TYPE_CHECKING:
    from flashmesh_core.bench.figures import Divergence, Measured
    from flashmesh_core.bench.settings import Plan, Setting
    from flashmesh_core.bench.sources import Subject
    from flashmesh_core.bench.trace import Run
    from flashmesh_core.decode.engine import Engine
    from flashmesh_core.decode.source import Source
    from flashmesh_core.options import Options

WARM_UP_FACES = 12


def add_bench_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the `bench` command."""
    add_decoding_arguments(parser)
    add = parser.add_argument
    add("--data", type=Path, help="folder with meshes.npz and index.csv, or of mesh files; default: the examples")
    add("--split", default="test", help="split named in index.csv (default: %(default)s)")
    add("--min-faces", type=int, default=1, help="only meshes of at least this many faces (default: %(default)s)")
    add("--max-faces", type=int, default=400, help="only meshes of at most this many faces (default: %(default)s)")
    add("--limit", type=int, help="only this many meshes, spread over what there is")
    add("--stop-at", type=int, metavar="FACES", help="end every mesh at this many faces at the latest")
    add("--drafters", default=",".join(DRAFTERS), help="of these, plain decoding (none) always runs "
        "(default: %(default)s)")  # fmt: skip
    widths = ",".join(str(width) for width in sorted({18, DEFAULT_WIDTH}))
    add("--widths", default=widths, help="tokens a pass verifies, the main one included (default: %(default)s)")
    add("--heads-table", action="store_true", help="add the rows of the paper's Table 3: 9-9, 18-12 and so on")
    add("--ablation", action="store_true", help="add the rows of the paper's Tables 2 and 6, and ours")
    add("--precision", choices=PRECISIONS, default="auto", help="of the weights on a CPU; torch: the float32 "
        "reference (default: %(default)s, the faster one)")  # fmt: skip
    add("--threads", type=int, help="of torch (default: torch's own choice)")
    add("--sources", help="families of sources made from the meshes of --data, or given: the meshes themselves "
        f"(default: {','.join(FAMILIES)}; the examples are sources themselves)")  # fmt: skip
    add("--json", type=Path, help="write the report here, with a line a source for each row")
    add("--plot", type=Path, help="write a picture of the rows here, a PNG")


def run_bench(args: argparse.Namespace) -> int:
    """Decode every mesh in every way, print the rows, and last one JSON object."""
    import flashmesh_core
    from flashmesh_core.bench.settings import make_plan, parse_drafters, parse_widths
    from flashmesh_core.bench.sources import choose_subjects, parse_sources
    from flashmesh_core.files import write_atomic

    _check(args)
    drafters, widths = parse_drafters(args.drafters), parse_widths(args.widths)
    sources = parse_sources(args.sources, args.data)
    subjects = choose_subjects(
        args.data, split=args.split, min_faces=args.min_faces, max_faces=args.max_faces, limit=args.limit,
        sources=sources,
    )  # fmt: skip
    if args.threads is not None:
        import torch

        torch.set_num_threads(args.threads)
    engine = flashmesh_core.load(args.checkpoint, device=args.device, precision=args.precision)
    plan = make_plan(engine.config, drafters, widths, heads_table=args.heads_table, ablation=args.ablation)
    measured, left_out = measure(engine, plan.settings, subjects, args)
    report = make_report(engine, plan, measured, args) | {"sources": list(sources), "left_out": left_out}
    if args.plot is not None:
        from flashmesh_core.bench.plot import draw

        title = f"{report['checkpoint']}, {report['meshes']} meshes, {report['precision']}, {report['machine']}"
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(args.plot, draw(report["rows"], title))
    if args.json is not None:
        from flashmesh_core.bench.figures import mesh_figures

        lines = {setting.name: mesh_figures(measured[setting]) for setting in plan.settings}
        whole = report | {"rows": [row | {"per_mesh": lines[row["name"]]} for row in report["rows"]]}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(args.json, json.dumps(finite(whole), indent=1).encode())
    write_text(describe(report))  # after the files: a closed pipe then costs no figures
    write_text(json.dumps(finite(report)))
    return 0


def _check(args: argparse.Namespace) -> None:
    """The numbers and the files' names, before anything is loaded."""
    for name in ("temperature", "seed", "coverage_guidance", "candidates"):
        OPTIONS[name].check(name, getattr(args, name))
    OPTIONS["max_faces"].check("stop-at", args.stop_at)
    if args.threads is not None and not 1 <= args.threads <= 1024:
        raise ValueError(f"threads must be an integer in [1, 1024], got {args.threads}")
    for name, suffix in (("json", ".json"), ("plot", ".png")):
        path: Path | None = getattr(args, name)
        if path is not None and (path.suffix.lower() != suffix or path.is_dir()):
            raise ValueError(f"{name} must name a {suffix} file, got {str(path)!r}")


def measure(
    engine: Engine, settings: Sequence[Setting], subjects: Sequence[Subject], args: argparse.Namespace
) -> tuple[dict[Setting, list[Measured]], list[dict[str, str]]]:
    """All settings on every source, one source after the other; which setting goes first changes from one to the next.

    Also what was left out, by name and reason: sources in which no surface shows.
    """
    from tqdm import tqdm

    from flashmesh_core.bench.floor import Floor
    from flashmesh_core.bench.trace import decode

    floor = Floor(engine)
    made: dict[Setting, list[Measured]] = {setting: [] for setting in settings}
    left_out: list[dict[str, str]] = []
    warm = False

    def run(subject: Subject, prepared: Source, setting: Setting, stop_at: int | None, **watched: Any) -> Run:
        asked = options_of(subject, setting, stop_at, args)
        return decode(engine, prepared, asked, setting, candidates=args.candidates, **watched)

    with tqdm(total=len(subjects), unit="source", disable=not sys.stderr.isatty()) as bar:
        for number, subject in enumerate(subjects):
            bar.update()
            try:
                prepared, seconds = prepare(engine, subject, settings[0], args)
            except ValueError as error:
                left_out.append({"name": subject.name, "reason": str(error)})
                continue
            if not warm:
                for setting in settings:
                    floor.total(run(subject, prepared, setting, WARM_UP_FACES).loop_rows())
                prepared, seconds = prepare(engine, subject, settings[0], args)
                warm = True
            first = number % len(settings)
            order = (*settings[first:], *settings[:first])
            runs = {setting: run(subject, prepared, setting, args.stop_at) for setting in order}
            floors = {setting: floor.total(runs[setting].loop_rows()) for setting in settings}

            def look(setting: Setting, watch: tuple[int, int], of: tuple[Subject, Source] = (subject, prepared)) -> Any:
                return run(*of, setting, args.stop_at, watch=watch).seen

            for setting, one in compare(subject, settings, runs, floors, seconds, look).items():
                made[setting].append(one)
    if not warm:
        raise ValueError(f"data must hold a source in which a surface shows, got none: {left_out[0]['reason']}")
    return made, left_out


def options_of(subject: Subject, setting: Setting, stop_at: int | None, args: argparse.Namespace) -> Options:
    """The options of one decoding."""
    from flashmesh_core.options import Options

    return Options(
        **decoding_options(args), faces=subject.wanted, drafter=setting.drafter, width=setting.width, max_faces=stop_at
    )


def prepare(engine: Engine, subject: Subject, setting: Setting, args: argparse.Namespace) -> tuple[Source, float]:
    """A source as it is read, and the seconds of reading; making it is not counted."""
    from flashmesh_core.mesh.canonical import Mesh

    made = subject.make()
    source, normals = (made, None) if isinstance(made, Mesh) else (made.points, made.normals)
    options = options_of(subject, setting, None, args)
    began = time.perf_counter()
    prepared = engine.prepare(source, normals, options, candidates=args.candidates)
    return prepared, time.perf_counter() - began


def compare(
    subject: Subject,
    settings: Sequence[Setting],
    runs: dict[Setting, Run],
    floors: dict[Setting, float],
    prepare_seconds: float,
    look: Any,
) -> dict[Setting, Measured]:
    """The runs on one mesh beside plain decoding's and beside the products of their passes."""
    from flashmesh_core.bench.figures import Divergence, Measured, first_difference
    from flashmesh_core.mesh.metrics import compare_meshes

    plain_setting = settings[0]
    plain = runs[plain_setting]

    def quality(run: Run) -> tuple[float, float, float] | None:
        if subject.answer is None:
            return None
        compared = compare_meshes(subject.answer, run.result.mesh)
        return compared.chamfer, compared.hausdorff, compared.bbox_iou

    of_plain = quality(plain)
    measured = {}
    for setting in settings:
        found: list[Divergence] = []
        for candidate, token in first_difference(plain, runs[setting]):
            watch = (candidate, token)
            tops = look(plain_setting, watch), look(setting, watch)
            found.append(Divergence(subject.name, candidate, token, *tops))
        measured[setting] = Measured(
            subject=subject, run=runs[setting], plain=plain, prepare_seconds=prepare_seconds,
            floor_seconds=floors[setting],
            quality=quality(runs[setting]) if found else of_plain, divergences=tuple(found),
        )  # fmt: skip
    return measured


def make_report(
    engine: Engine, plan: Plan, measured: dict[Setting, list[Measured]], args: argparse.Namespace
) -> dict[str, Any]:
    """The report; its top figures are those of the default setting, or of the first speculative one."""
    import torch

    from flashmesh_core.bench.figures import row_of
    from flashmesh_core.drafters import AUTO_DRAFTER

    dtype, by_torch = engine.arithmetic, engine.fast is None and engine.static is None
    rows = [row_of(setting, measured[setting], dtype) for setting in plan.settings]
    named = {row["name"]: row for row in rows}
    default = named.get(f"{AUTO_DRAFTER} {DEFAULT_WIDTH}", rows[min(1, len(rows) - 1)])
    return {
        "checkpoint": engine.name, "device": engine.device, "machine": machine(engine.device),
        "cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__,
        "precision": f"{dtype} by torch" if by_torch else dtype,
        "data": "examples" if args.data is None else args.split, "meshes": len(measured[plan.settings[0]]),
        "min_faces": args.min_faces, "max_faces": args.max_faces, "stop_at": args.stop_at,
        "temperature": args.temperature, "seed": args.seed, "coverage_guidance": args.coverage_guidance,
        "surface": not args.no_surface, "manifold": args.manifold, "watertight": args.watertight,
        "candidates": args.candidates, "default": default["name"],
        "identical": all(row["identical"] for row in rows), "speedup": default["speedup"]["median"],
        "tokens_per_pass": default["tokens_per_pass"], "pass_over_matmul": default["pass_over_matmul"],
        "tables": {table: [{"label": label, "row": name} for label, name in lines]
                   for table, lines in plan.tables.items()},
        "missing": plan.missing, "rows": rows,
    }  # fmt: skip


def describe(report: dict[str, Any]) -> str:
    """The report in words: conditions, the rows, what differs and what is missing."""
    from flashmesh_core.bench.figures import divergence_text, table_text

    lines = [
        f"{report['checkpoint']} on {report['device']} ({report['machine']}, {report['cores']} cores, "
        f"{report['threads']} torch threads), {report['precision']}; {report['meshes']} sources of {report['data']}, "
        f"temperature {report['temperature']:g}, seed {report['seed']}, {report['candidates']} candidate(s)",
        "",
        table_text(report["rows"]),
        "",
        "speed-up: seconds a token, median over the meshes (quartiles); ratio: a pass over its matrix products alone",
    ]
    lines += family_lines(report)
    for row in report["rows"]:
        lines += divergence_text(row)
    lines += [f"{left['name']} is left out: {left['reason']}" for left in report["left_out"]]
    lines += [f"{lack['table']}: no row {lack['label']}: {lack['reason']}" for lack in report["missing"]]
    return "\n".join(lines)


def family_lines(report: dict[str, Any]) -> list[str]:
    """The default row's figures by family, where there is more than one."""
    from flashmesh_core.bench.figures import speedup_text

    row = next(row for row in report["rows"] if row["name"] == report["default"])
    if len(row["families"]) < 2:
        return []
    return [
        f"{row['name']}, {family}: {of['tokens_per_pass']:.2f} tokens a pass, {speedup_text(of)} times as fast"
        for family, of in row["families"].items()
    ]


def machine(device: str) -> str:
    """The name of the processor or of the GPU."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def finite(value: Any) -> Any:
    """The same with infinities and NaN as None, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_text(text: str) -> None:
    """To stdout, at once, as the next step may take long."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
