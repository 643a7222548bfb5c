"""Compiled loops over rows shared among threads, and how long to wait for others.

numba's own parallel loops may not be entered from several threads at once, as readings of one surface do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

Made = TypeVar("Made")
ROWS = 32_768  # of a part at the least: fewer are done before a thread has started
AWAIT = 0.1  # seconds between two reports while other threads are at work


def in_threads(loop: Callable[..., None], rows: int, *arguments: Any) -> None:
    """Call `loop(first, last, *arguments)` for parts of all rows, each in a thread if there are enough of them.

    The loop lets go of the interpreter, and writes nothing that another row of it reads.
    """
    parts = min(os.cpu_count() or 1, rows // ROWS)
    if parts < 2:
        loop(0, rows, *arguments)
        return
    bounds = np.linspace(0, rows, parts + 1).astype(np.int64).tolist()
    with ThreadPoolExecutor(parts - 1) as pool:
        others = [pool.submit(loop, *part, *arguments) for part in list(pairwise(bounds))[1:]]
        loop(bounds[0], bounds[1], *arguments)
        for one in others:
            one.result()


def begun(make: Callable[..., Made], *arguments: Any) -> Callable[[], Made]:
    """`make(*arguments)` in a thread of its own from now on; the function returned waits for what it makes.

    What it raises is raised there. Nobody waits for what nobody asks for: it must end by itself.
    """
    pool = ThreadPoolExecutor(1)
    started = pool.submit(make, *arguments)
    pool.shutdown(wait=False)
    return started.result
