"""`flashmesh batch`: every mesh file of a folder made again, by workers that may be lost, with one report.

What the report says is done is skipped by the next run, so that a run that was ended goes on where it was.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flashmesh_core.batch.report import Job, Report, plan_jobs
from flashmesh_core.batch.workers import LocalWorkers, Outcome, Workers, WorkSettings
from flashmesh_core.files import check_writable
from flashmesh_core.mesh.io import CLOUD_SUFFIXES, MESH_SUFFIXES, load_source, save_mesh

ATTEMPTS = 3  # with one file, before it counts as failed; each lost worker is one
MAX_WORKERS = 256
EXIT_FAILED = 1


def add_batch_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `batch` beside those of the engine."""
    add = parser.add_argument
    suffixes = " ".join(sorted({*MESH_SUFFIXES, *CLOUD_SUFFIXES}))
    add("--input", type=Path, required=True, metavar="DIR", help=f"folder (or one file); read are {suffixes}")
    add("--output", type=Path, required=True, metavar="DIR", help="where results go; subfolders are kept")
    add("--format", choices=[suffix[1:] for suffix in MESH_SUFFIXES], default="glb", help="of results (default: glb)")
    add("--workers", type=int, metavar="N", help="processes, each with its engine (default: one a core; with --ray, "
        "one a CPU or GPU of the cluster)")  # fmt: skip
    add("--ray", metavar="ADDRESS", help="work on this Ray cluster: host:port, ray://host:port or auto")
    add("--overwrite", action="store_true", help="do again what the report says is done")


def run_batch(args: argparse.Namespace, options: dict[str, Any], say: Callable[[str], None]) -> int:
    """Does all files that are not done; 0, or 1 where some failed. `options` are those of `Engine.generate`.

    Raises ValueError for wrong arguments.
    """
    report_file = args.report or args.output / "report.json"
    check_arguments(args, report_file)
    jobs = plan_jobs(args.input, args.output, sorted({*MESH_SUFFIXES, *CLOUD_SUFFIXES}), f".{args.format}")
    weights = {} if args.ray else {"weights": weights_stamp(args.checkpoint)}
    settings = {**options, "format": args.format, "checkpoint": args.checkpoint, **weights}
    report = Report(report_file, settings)
    check_writable(report_file)
    waiting = [job for job in jobs if args.overwrite or not report.is_done(job)]
    failed = 0
    if waiting:
        workers = make_workers(args, WorkSettings(args.checkpoint, args.device, options), len(waiting))
        try:
            failed = work_off(waiting, workers, report, say)
        finally:
            workers.close()
    done, skipped = len(waiting) - failed, len(jobs) - len(waiting)
    say(f"{len(jobs)} files: {done} done, {skipped} skipped, {failed} failed; report in {report_file}")
    return EXIT_FAILED if failed else 0


def check_arguments(args: argparse.Namespace, report_file: Path) -> None:
    """Raises ValueError that names the first argument that is wrong."""
    if not args.input.exists():
        raise ValueError(f"--input must be a folder or file that exists, got {str(args.input)!r}")
    if args.output.exists() and not args.output.is_dir():
        raise ValueError(f"--output must be a folder, got {str(args.output)!r}")
    if args.output.resolve() == args.input.resolve():
        raise ValueError(f"--output must be another folder than --input, got {str(args.output)!r}")
    if report_file.suffix.lower() != ".json":
        raise ValueError(f"--report must be a file name that ends in .json, got {str(report_file)!r}")
    if args.workers is not None and not 1 <= args.workers <= MAX_WORKERS:
        raise ValueError(f"--workers must be in [1, {MAX_WORKERS}], got {args.workers}")


def weights_stamp(checkpoint: str) -> int:
    """When the weights of a checkpoint were last written, in ns: they may be replaced under the same name."""
    folders = (Path(__file__).parents[1] / "checkpoints" / checkpoint, Path(checkpoint))
    found = [path for folder in folders for path in ([folder] if folder.is_file() else folder.glob("*.safetensors"))]
    return max((path.stat().st_mtime_ns for path in found), default=0)


def make_workers(args: argparse.Namespace, settings: WorkSettings, count: int) -> Workers:
    """The workers that the arguments ask for, no more than there are files."""
    if args.ray is not None:
        from flashmesh_core.batch.ray_workers import RayWorkers

        return RayWorkers(args.ray, None if args.workers is None else min(args.workers, count), settings)
    return LocalWorkers(min(args.workers or os.cpu_count() or 1, count), settings)


def work_off(jobs: list[Job], workers: Workers, report: Report, say: Callable[[str], None]) -> int:
    """Gives all jobs to the workers and notes what becomes of them; how many failed."""
    waiting = deque(jobs)
    at_work: dict[str, Job] = {}
    tries: Counter[str] = Counter()
    failed = done = 0

    def finish(job: Job, row: dict[str, Any] | None, error: str | None) -> None:
        nonlocal failed, done
        done += 1
        failed += error is not None
        report.finish(job, [] if row is None else [{"object": job.source.stem, **row, "error": None}], error)
        told = f"failed: {error}" if row is None else describe(row)
        say(f"[{done}/{len(jobs)}] {job.key}: {told}")

    while waiting or at_work:
        while waiting and workers.free() > 0:
            job = waiting.popleft()
            report.begin(job)
            try:
                source = load_source(job.source)
            except (ValueError, OSError) as error:
                finish(job, None, str(error))
                continue
            workers.give(job.key, source)
            at_work[job.key] = job
        for outcome in workers.wait() if at_work else []:
            job = at_work.pop(outcome.key)
            tries[job.key] += 1
            if outcome.is_lost and tries[job.key] < ATTEMPTS:
                say(f"{job.key}: its worker was lost, it is tried again")
                waiting.appendleft(job)
                continue
            wrong = f"its worker was lost {ATTEMPTS} times" if outcome.is_lost else outcome.error
            finish(job, *((None, wrong) if wrong else save(job, outcome)))
    return failed


def save(job: Job, outcome: Outcome) -> tuple[dict[str, Any] | None, str | None]:
    """Writes the mesh of an outcome: its figures, or an error."""
    try:
        if outcome.mesh is not None:
            save_mesh(job.output, outcome.mesh)
    except (ValueError, OSError) as error:
        return None, str(error)
    return outcome.figures, None


def describe(row: dict[str, Any]) -> str:
    """The figures of one file in words."""
    chamfer = "unknown" if row["chamfer"] is None else f"{row['chamfer']:.4f}"
    return (
        f"{row['faces']} faces in {row['seconds']:.1f} s, {row['tokens_per_second']:.0f} tokens/s, Chamfer {chamfer}, "
        f"{row['repaired']} repaired, {row['open_edges']} open edges, {row['verdict']} ({row['end_reason']})"
    )
