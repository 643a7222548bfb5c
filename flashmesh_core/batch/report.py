"""The files of a batch, and the report that lets the next run skip what is done. Standard library only."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flashmesh_core.files import write_atomic

ENTRY = ("file", "output", "input", "settings", "error", "objects")  # of the JSON, one a file
FIGURES = (
    "faces", "wanted", "repaired", "open_edges", "gap", "strays", "gashes", "verdict",
    "seconds", "tokens_per_second", "chamfer", "end_reason",
)  # fmt: skip
COLUMNS = ("file", "object", *FIGURES, "error", "output")  # of the CSV, a row an object
UNFINISHED = "not finished: the program ended while it did this file"


@dataclass(frozen=True)
class Job:
    """One input file and where its result goes; `key` is its path below the input folder."""

    key: str
    source: Path
    output: Path

    def fingerprint(self) -> dict[str, Any] | None:
        """What says that the input file is still the same; None where it is gone."""
        try:
            facts = self.source.stat()
        except OSError:
            return None
        return {"size": facts.st_size, "mtime_ns": facts.st_mtime_ns}


def plan_jobs(source: Path, output: Path, suffixes: Sequence[str], suffix: str) -> list[Job]:
    """The files to do, sorted by path. Where two would get one output name, both keep their suffix in it."""
    folder = source if source.is_dir() else source.parent
    found = [source] if source.is_file() else sorted(_files_below(source, output.resolve()))
    relative = [path.relative_to(folder) for path in found if path.suffix.lower() in suffixes]
    if not relative:
        raise ValueError(f"--input must hold files that end in {' '.join(suffixes)}, got none in {str(source)!r}")
    stems = Counter(str(path.with_suffix("")).lower() for path in relative)
    inputs = {(folder / path).resolve() for path in relative}
    jobs, taken = [], set()
    for path in relative:
        alone = stems[str(path.with_suffix("")).lower()] == 1
        name = (path.stem if alone else path.name) + suffix
        while str(path.with_name(name)).lower() in taken:  # "a.obj", "a.stl" and "a.obj.ply" in one folder
            name = f"{path.name}_{name}"
        taken.add(str(path.with_name(name)).lower())
        job = Job(path.as_posix(), folder / path, output / path.with_name(name))
        if job.output.resolve() in inputs:
            raise ValueError(f"--output must be a folder where no input is overwritten, got {str(output)!r}")
        jobs.append(job)
    return jobs


def _files_below(folder: Path, leave_out: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if (Path(place) / name).resolve() != leave_out and name[0] != "."]
        yield from (Path(place) / name for name in names if not name.startswith("."))


class Report:
    """What was done, one entry a file, on disk after every change: JSON, and CSV with a row an object."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        """Reads `path` if it exists. `settings` are the options that a result depends on."""
        self.path, self.settings = path, settings
        self.entries: dict[str, dict[str, Any]] = {}
        if not path.exists():
            return
        try:
            entries = json.loads(path.read_text("utf-8"))["files"]
            self.entries = {entry["file"]: {name: entry[name] for name in ENTRY} for entry in entries}
        except (ValueError, TypeError, KeyError, OSError):
            allowed = "a new file or a report of this script"
            raise ValueError(f"--report must be {allowed}, got {str(path)!r}") from None

    def is_done(self, job: Job) -> bool:
        """Whether this output was made from the same input with the same settings, without an error."""
        entry = self.entries.get(job.key)
        if entry is None or entry["error"] or any(row["error"] for row in entry["objects"]):
            return False
        now = {"settings": self.settings, "input": job.fingerprint(), "output": self._output(job)}
        same = all(entry[name] == value for name, value in now.items())
        return same and entry["input"] is not None and job.output.is_file()

    def begin(self, job: Job) -> None:
        """Notes that a file is being done: what stays, should the program end in the middle of it."""
        self.entries[job.key] = {
            "file": job.key,
            "output": self._output(job),
            "input": job.fingerprint(),  # now, so that a change from here on is noticed by the next run
            "settings": self.settings,
            "error": UNFINISHED,
            "objects": [],
        }
        self._write()

    def finish(self, job: Job, rows: list[dict[str, Any]], error: str | None) -> None:
        """Notes the outcome of a file that was begun: a row an object, or what is wrong with the file."""
        self.entries[job.key] |= {"objects": rows, "error": error}
        self._write()

    def _write(self) -> None:
        entries = [self.entries[key] for key in sorted(self.entries)]
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, COLUMNS, restval="", extrasaction="ignore")
        writer.writeheader()
        for entry in entries:
            about = {"file": entry["file"], "output": entry["output"]}
            writer.writerows({**about, **row} for row in entry["objects"])
            if entry["error"]:
                writer.writerow({**about, "error": entry["error"]})
        for path, text in (
            (self.path, json.dumps({"files": entries}, indent=1)),
            (self.path.with_suffix(".csv"), table.getvalue()),
        ):
            write_atomic(path, text.encode("utf-8"))

    def _output(self, job: Job) -> str:
        output, folder = job.output.resolve(), self.path.parent.resolve()
        same_drive = output.drive == folder.drive
        return (Path(os.path.relpath(output, folder)) if same_drive else output).as_posix()
