"""The `evaluate` command: its options, what it prints and writes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flashmesh_core.sources import FAMILIES

if TYPE_CHECKING:
    from flashmesh_core.decode.engine import Engine
    from flashmesh_core.evaluation.objects import ArtistObject, Given
    from flashmesh_core.evaluation.report import Row


def add_object_arguments(parser: argparse.ArgumentParser) -> None:
    """Which artist meshes, and which sources of them."""
    add = parser.add_argument
    add("--data", type=Path, required=True, help="packed .npz (with or without index.csv) or folder of artist meshes")
    add("--split", default="test", help="split named in index.csv (default: test)")
    add("--sources", default=",".join(FAMILIES), help="families of sources made from them (default: %(default)s)")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--closed-only", action="store_true", help="only artist meshes without open edges")
    kinds.add_argument("--open-only", action="store_true", help="only artist meshes with open edges")
    add("--min-faces", type=int, default=1, help="only meshes of at least this many faces (default: %(default)s)")
    add("--max-faces", type=int, help="only meshes of at most this many faces")
    add("--limit", type=int, help="only this many, spread over the split")
    add("--source-seed", type=int, default=0, help="of the sources' noise (default: %(default)s)")
    add("--cache", type=Path, help="folder that keeps the sources for another run")
    add("--pictures", type=Path, help="folder for pages of artist, source, every row and figures")


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the `evaluate` command beside those of the engine."""
    add_object_arguments(parser)
    add_rows_argument(parser)
    parser.add_argument("--faces", type=int, help="wanted faces of every object (default: the artist's own number)")


def add_rows_argument(parser: argparse.ArgumentParser) -> None:
    """Which methods are compared."""
    rows = (
        "of result,proxy,decimate,model,unaided,artist (default: all, decimate only where meshoptimizer is installed)"
    )
    parser.add_argument("--rows", help=f"what is compared on each source, {rows}")


def chosen_rows(args: argparse.Namespace) -> list[str]:
    """The methods that the options name."""
    from flashmesh_core.evaluation.methods import available_methods

    return list(available_methods()) if args.rows is None else args.rows.split(",")


def chosen_objects(args: argparse.Namespace) -> list[ArtistObject]:
    """The objects that the options name."""
    from flashmesh_core.evaluation.objects import choose_objects
    from flashmesh_core.mesh.store import MeshStore

    closed = True if args.closed_only else False if args.open_only else None
    return choose_objects(
        MeshStore.open(args.data, args.split),
        min_faces=args.min_faces, max_faces=args.max_faces, closed=closed, limit=args.limit,
    )  # fmt: skip


def run_rows(args: argparse.Namespace, methods: dict[str, Any], faces: int | None = None) -> dict[str, object]:
    """Evaluate the methods on the chosen sources, with a progress bar and pictures; the report."""
    from tqdm import tqdm

    from flashmesh_core.evaluation.objects import check_families
    from flashmesh_core.evaluation.pictures import Pictures
    from flashmesh_core.evaluation.report import evaluate

    families = check_families(args.sources.split(","))
    objects = chosen_objects(args)
    if faces is not None and faces < 1:
        raise ValueError(f"faces must be at least 1, got {faces}")
    pictures = Pictures(args.pictures, ["artist", "source", *methods]) if args.pictures else None
    with tqdm(total=len(objects) * len(families), unit="source", disable=not sys.stderr.isatty()) as bar:

        def progress(given: Given, made: dict[str, tuple[Any, Row]]) -> None:
            bar.update()
            if pictures is not None:
                pictures.add_source(given, made)

        report = evaluate(
            objects, families, methods, seed=args.source_seed, cache=args.cache, on_source=progress,
            ask_faces=lambda artist: len(artist.mesh.faces) if faces is None else faces,
        )  # fmt: skip
    if pictures is not None:
        pictures.flush()
    for left in report["left_out"]:  # type: ignore[attr-defined]
        sys.stderr.write(f"{left['name']} is left out of {left['family']}: {left['reason']}\n")
    limits = {"min_faces": args.min_faces, "max_faces": args.max_faces, "faces": faces}
    return report | limits | {"data": args.data.name, "split": args.split}


def run_evaluate(args: argparse.Namespace, engine: Engine, options: dict[str, Any]) -> dict[str, object]:
    """Evaluate an engine with the options of `Engine.generate`; the report."""
    from flashmesh_core.evaluation.methods import methods_of

    methods = methods_of(engine, chosen_rows(args), **options)
    report = run_rows(args, methods, args.faces)
    return report | {"checkpoint": engine.name, "options": options}
