# SPDX-License-Identifier: GPL-3.0-or-later
"""What a batch tells whoever watches it: a line for each object, and on a terminal how far reading is. No bpy here."""

from __future__ import annotations

from typing import TextIO


class Console:
    """Lines that begin with `start`; where `out` is a terminal, the last one may be one that passes."""

    def __init__(self, out: TextIO, start: str) -> None:
        self._out, self._start = out, start
        self._passing = 0  # characters of the line that the next one takes the place of

    def say(self, *words: str) -> None:
        """A line that stays."""
        self._write(words, "\n")
        self._passing = 0

    def tell(self, *words: str) -> None:
        """A line that the next one takes the place of. Nothing in files and pipes, where all of them would stay."""
        if self._out.isatty():
            self._passing = self._write(words, "")

    def _write(self, words: tuple[str, ...], end: str) -> int:
        text = " ".join((self._start, *words))
        print(("\r" if self._passing else "") + text.ljust(self._passing), end=end, file=self._out, flush=True)
        return len(text)
