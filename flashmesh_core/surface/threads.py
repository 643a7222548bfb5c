"""Compiled loops over rows shared among threads, and work begun beside the caller.

numba's own parallel loops may not be entered from several threads at once, as readings of one surface do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
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


def begun(make: Callable[..., Made], *arguments: Any) -> Callable[..., Made]:
    """`make(*arguments)` in a thread of its own from now on; the function returned is `awaited` of what it makes.

    Nobody waits for what nobody asks for, nor for what a caller gave up: it must end by itself.
    """
    pool = ThreadPoolExecutor(1)
    started = pool.submit(make, *arguments)
    pool.shutdown(wait=False)
    return partial(awaited, started)


def awaited(started: Future[Made], tell: Callable[[], None] | None = None) -> Made:
    """What another thread makes, or raises; `tell()` is called now and then, and may raise."""
    while tell and wait([started], timeout=AWAIT).not_done:
        tell()
    return started.result()
