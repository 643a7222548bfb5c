"""Which readings a run draws from, and since which micro-batch: new ones join while it goes on.

A line of the file is the number of the micro-batch from which on a reading is drawn, and the reading. Lines are written
before any process draws that micro-batch, so a resumed run draws what the first one did.
"""

from __future__ import annotations

from pathlib import Path

from flashmesh_core.files import write_atomic
from training.readings import ReadingKey

AHEAD = 64  # micro-batches that may be drawn already


class Ledger:
    """The readings in a cache as they come; made anew in each process that draws."""

    def __init__(self, file: Path, cache: Path, keys: list[tuple[int, ReadingKey]]) -> None:
        """`keys` are all that may come, the number of the mesh in the store before each."""
        self.file, self.cache = file, cache
        self.known = {key.file(cache).relative_to(cache).as_posix(): (number, key) for number, key in keys}
        self.size = -1
        self.lines: list[tuple[int, str]] = []

    def read(self) -> list[tuple[int, str]]:
        """The lines, read again where the file has grown."""
        size = self.file.stat().st_size if self.file.is_file() else 0
        if size != self.size:
            rows = self.file.read_text(encoding="utf-8").split("\n") if size else []
            self.lines = [(int(row.split(" ", 1)[0]), row.split(" ", 1)[1]) for row in rows if row]
            self.size = size
        return self.lines

    def extend(self, number: int) -> int:
        """Add what has come to the cache, drawn from micro-batch `number` on; how many there are now."""
        lines = list(self.read())
        have = {name for _, name in lines}
        there = {path.relative_to(self.cache).as_posix() for path in self.cache.glob("format_*/*/*.npz")}
        new = sorted((there & self.known.keys()) - have)
        if new or not self.file.is_file():
            lines += [(number, name) for name in new]
            write_atomic(self.file, "".join(f"{since} {name}\n" for since, name in lines).encode())
        return len(lines)

    def keys_at(self, number: int) -> list[tuple[int, ReadingKey]]:
        """The readings that micro-batch `number` draws from."""
        return [self.known[name] for since, name in self.read() if since <= number and name in self.known]
