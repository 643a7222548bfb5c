# SPDX-License-Identifier: GPL-3.0-or-later
"""What pip prints, in one line that anybody can read: what is fetched, how much of it, how long it still takes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

_DOWNLOADING = re.compile(r"Downloading (?:\S*/)?([A-Za-z0-9_.]+?)-\d\S*")
_COLLECTING = re.compile(r"(?:Collecting|Processing) (?:\S*/)?([A-Za-z0-9_.]+)")
_RAW = re.compile(r"Progress (\d+) of (\d+)")


class PipProgress:
    """Reads the lines of one run of pip. `text` is for the user, `share` what is done of the file that is fetched."""

    def __init__(self, stage: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.stage, self.text, self.share = stage, stage, 0.0
        self._clock = clock
        self._name, self._since, self._had = "", 0.0, 0

    def feed(self, line: str) -> bool:
        """Takes one line in; whether it was one of pip's raw numbers, which say nothing in a log."""
        raw = _RAW.fullmatch(line.strip())
        if raw is not None:
            self._progress(int(raw[1]), int(raw[2]))
            return True
        for pattern, verb in ((_DOWNLOADING, "downloading"), (_COLLECTING, "looking for")):
            found = pattern.match(line.strip())
            if found is not None:
                self._name, self._since, self._had, self.share = found[1], 0.0, 0, 0.0
                self.text = f"{self.stage}, {verb} {self._name}"
                return False
        if line.startswith("Installing collected packages:"):
            names = line.partition(":")[2].split(",")
            self.share = 1.0
            many = f"{len(names)} packages, which takes some minutes" if len(names) > 20 else f"{len(names)} packages"
            self.text = f"{self.stage}, unpacking {many if len(names) > 1 else '1 package'}"
        return False

    def _progress(self, have: int, total: int) -> None:
        now = self._clock()
        if have <= self._had or not self._since:
            self._since, self._had = now, have
        self.share = min(1.0, have / max(1, total))
        self.text = f"{self.stage}, downloading {self._name}, {have / 1e6:.0f} of {total / 1e6:.0f} MB"
        passed = now - self._since
        if passed > 1.0 and have > self._had:
            left = (total - have) * passed / (have - self._had)
            self.text += f", about {left:.0f} s left" if left < 90 else f", about {left / 60:.0f} min left"
