"""The command line: `python -m flashmesh_core generate | batch | evaluate | bench | serve | inspect`."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flashmesh_core.arguments import add_engine_arguments, allowed, engine_options

if TYPE_CHECKING:
    from flashmesh_core.decode.engine import Engine
    from flashmesh_core.decode.results import GenerationEvent, GenerationResult
    from flashmesh_core.mesh.canonical import Mesh
    from flashmesh_core.mesh.io import PointCloud

# Spinning OpenMP threads lose far more beside a busy neighbour than they gain; must be set before torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")


def load_engine(args: argparse.Namespace) -> Engine:
    """The engine of `--checkpoint` on `--device`."""
    import flashmesh_core

    return flashmesh_core.load(args.checkpoint, device=args.device)


def write_report(path: Path | None, report: dict[str, object]) -> None:
    """Write a report as JSON, whole or not at all; infinities become null."""
    if path is None:
        return
    from flashmesh_core.files import write_atomic

    write_atomic(path, json.dumps(finite(report), indent=2).encode())


def finite(value: object) -> object:
    """The value for strict JSON: infinities and NaN, in dicts and lists too, become None."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run_generate(args: argparse.Namespace) -> int:
    """IN to OUT, with a progress bar and a line of figures."""
    from flashmesh_core.files import check_writable
    from flashmesh_core.mesh.io import MESH_SUFFIXES, check_suffix, load_source, save_mesh
    from flashmesh_core.mesh.topology import topology_report

    check_suffix(args.output, MESH_SUFFIXES)
    if not args.overwrite and args.output.resolve() == args.input.resolve():
        raise ValueError(f"--output must be another file than the input, or --overwrite be given, got {args.output}")
    for path in filter(None, (args.output, args.report)):
        check_writable(path)
    options = engine_options(args, faces=args.faces, max_faces=args.max_faces)
    source = load_source(args.input)
    engine = load_engine(args)
    result = generate_with_bar(engine, source, options)
    if not len(result.mesh.faces):
        raise ValueError(f"no face was generated for {args.input}; try another seed or --temperature")
    save_mesh(args.output, result.mesh)
    topology = topology_report(result.mesh.vertices, result.mesh.faces)
    names: dict[str, object] = {"input": str(args.input), "output": str(args.output)}
    names |= {"checkpoint": engine.name, "device": engine.device}
    write_report(args.report, {**names, **generation_figures(result), "topology": topology.as_dict()})
    print(
        f"{args.output}: {len(result.mesh.faces)} faces, {len(result.mesh.vertices)} vertices, "
        f"{result.seconds:.1f} s, {result.tokens_per_second:.0f} tokens/s, Chamfer {result.chamfer:.4f}, "
        f"Hausdorff {result.hausdorff:.4f}, {'watertight' if topology.is_watertight else 'open'}, ended by "
        f"{result.end_reason}; {result.filled} faces repaired; {result.verdict}"
    )
    if result.strays:
        print(f"left out, {_strays_of(source)}: {result.strays:,}")
    if result.gashes:
        print(f"closed, small ragged holes of the source: {result.gashes:,}")
    if args.watertight and result.tally.gave_up_closure:
        print(f"watertight had to give up at {result.tally.gave_up_closure} vertices: open edges are left there")
    return 0


def _strays_of(source: Mesh | PointCloud) -> str:
    """What the strays of a source are, in words."""
    from flashmesh_core.mesh.canonical import Mesh

    of_mesh = "pieces far from the rest or inside of others, and spikes"
    return of_mesh if isinstance(source, Mesh) else "points on no surface"


def generate_with_bar(engine: Engine, source: Mesh | PointCloud, options: dict[str, Any]) -> GenerationResult:
    """The result of a generation, while a bar on stderr tells how far it is."""
    from tqdm import tqdm

    from flashmesh_core.mesh.canonical import Mesh

    given: tuple = (source, None) if isinstance(source, Mesh) else (source.points, source.normals)
    faces_of: dict[int, int] = {}
    with tqdm(total=options["faces"], unit="face", disable=not sys.stderr.isatty()) as bar:

        def progress(event: GenerationEvent) -> None:
            faces_of[event.candidate] = event.n_faces
            bar.set_description_str("", refresh=False)
            bar.n = max(faces_of.values())
            bar.refresh() if event.kind == "end" else bar.update(0)

        def reading(step: str, share: float) -> None:
            bar.set_description_str(f"reading the surface: {step} {share:.0%}")

        return engine.generate(*given, on_event=progress, progress=reading, **options)


def generation_figures(result: GenerationResult) -> dict[str, object]:
    """What the report of `generate` says of a result, its topology aside."""
    return {
        "faces": len(result.mesh.faces), "vertices": len(result.mesh.vertices), "end_reason": result.end_reason,
        "tokens": result.n_tokens, "seconds": result.seconds, "tokens_per_second": result.tokens_per_second,
        "passes": result.n_passes, "tokens_per_pass": result.tokens_per_pass,
        "vertices_without_closure": result.tally.gave_up_closure, **result.told(),
        "chamfer": result.chamfer, "hausdorff": result.hausdorff, "seed": result.seed,
    }  # fmt: skip


def run_batch(args: argparse.Namespace) -> int:
    """A folder of files to another, by workers of this machine or of a cluster."""
    from flashmesh_core.batch import command

    options = engine_options(args, faces=args.faces, max_faces=args.max_faces)
    return command.run_batch(args, options, lambda line: print(line, flush=True))


def run_evaluate(args: argparse.Namespace) -> int:
    """Remake unseen artist meshes from real sources of them; print a table of figures and write the report."""
    from flashmesh_core.evaluation import command
    from flashmesh_core.evaluation.report import format_table

    options = engine_options(args)
    report = command.run_evaluate(args, load_engine(args), options)
    write_report(args.report, report)
    print(format_table(cast("list[dict[str, object]]", report["rows"])))
    print(
        f"\n{report['objects']} objects: median Chamfer {report['median_chamfer']:.4f}, median Hausdorff "
        f"{report['median_hausdorff']:.4f}, mean BBox-IoU {report['mean_bbox_iou']:.3f} over all families"
    )
    return 0


def run_inspect(args: argparse.Namespace) -> int:
    """Parameter counts of the presets beside the paper's, or what a checkpoint holds."""
    from flashmesh_core.checkpoint import find_checkpoint, load_config
    from flashmesh_core.config import PAPER_PARAMETERS, PRESETS
    from flashmesh_core.model.hourglass import count_parameters

    configs = list(PRESETS.values())
    if args.checkpoint:
        configs = [load_config(find_checkpoint(args.checkpoint))]
    print(f"{'preset':<14} {'layers':<8} {'dim':>5} {'heads':>5} {'window':>7}  backbone  with heads   the paper's")
    for config in configs:
        backbone, total = (number / 1e9 for number in count_parameters(config))
        paper = PAPER_PARAMETERS.get(config.name)
        beside = f"{paper[0]:.1f} B / {paper[1]:.1f} B" if paper else "ours"
        note = "  (d768 with 24 layers cannot reach 0.5 B)" if config.name == "meshtron-0.5b" else ""
        print(
            f"{config.name:<14} {config.layer_string:<8} {config.dim:>5} {config.heads:>5} {config.window:>7}  "
            f"{backbone:7.4f} B {total:9.4f} B   {beside}{note}"
        )
    return 0


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    from flashmesh_core import __version__
    from flashmesh_core.batch.command import add_batch_arguments
    from flashmesh_core.bench.command import add_bench_arguments, run_bench
    from flashmesh_core.evaluation.command import add_evaluate_arguments
    from flashmesh_core.service.server import add_serve_arguments, run_serve

    parser = argparse.ArgumentParser(prog="python -m flashmesh_core", description="FlashMesh, the engine")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)

    generate = commands.add_parser("generate", help="one object to an artist-like mesh")
    generate.add_argument("input", type=Path, help="mesh (OBJ PLY STL GLB glTF OFF) or cloud (PLY XYZ NPY)")
    generate.add_argument("-o", "--output", type=Path, required=True, help="mesh file to write")
    generate.add_argument("--faces", type=int, help=f"wanted number of faces, {allowed('faces')}")
    generate.add_argument("--max-faces", type=int, help=f"end at this many faces at the latest, {allowed('max_faces')}")
    generate.add_argument("--overwrite", action="store_true", help="let the output take the input's place")
    add_engine_arguments(generate)
    generate.set_defaults(run=run_generate)

    batch = commands.add_parser("batch", help="every mesh file of a folder, on many processes or machines")
    add_batch_arguments(batch)
    batch.add_argument("--faces", type=int, help=f"wanted number of faces, {allowed('faces')}")
    batch.add_argument("--max-faces", type=int, help=f"end at this many faces at the latest, {allowed('max_faces')}")
    add_engine_arguments(batch)
    batch.set_defaults(run=run_batch)

    evaluate = commands.add_parser("evaluate", help="figures on real sources of unseen artist meshes")
    add_evaluate_arguments(evaluate)
    add_engine_arguments(evaluate)
    evaluate.set_defaults(run=run_evaluate)

    bench = commands.add_parser("bench", help="plain against speculative decoding, side by side")
    add_bench_arguments(bench)
    bench.set_defaults(run=run_bench)

    serve = commands.add_parser("serve", help="the engine as a local service")
    add_serve_arguments(serve)
    serve.set_defaults(run=run_serve)

    inspect = commands.add_parser("inspect", help="parameter counts beside the paper's")
    inspect.add_argument("--checkpoint", help="only this checkpoint's")
    inspect.set_defaults(run=run_inspect)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command; bad input is one line on stderr and exit status 2."""
    args = build_parser().parse_args(arguments)
    try:
        return int(args.run(args))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed: pip install {error.name}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
