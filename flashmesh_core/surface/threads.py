"""Compiled loops over rows shared among threads, and work begun beside the caller.

numba's own parallel loops may not be entered from several threads at once, as readings of one surface do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import pairwise
from queue import Empty, SimpleQueue
from threading import Event
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
    return partial(awaited, _started(make, *arguments))


def _started(make: Callable[..., Made], *arguments: Any) -> Future[Made]:
    pool = ThreadPoolExecutor(1)
    started = pool.submit(make, *arguments)
    pool.shutdown(wait=False)
    return started


def awaited(started: Future[Made], tell: Callable[[], None] | None = None) -> Made:
    """What another thread makes, or raises; `tell()` is called now and then, and may raise."""
    while tell and wait([started], timeout=AWAIT).not_done:
        tell()
    return started.result()


class _GivenUpError(Exception):
    """Raised in work that nobody wants any more."""


def reported(work: Callable[[Callable[..., None]], Made], report: Callable[..., None]) -> Made:
    """What `work(tell)` makes in a thread of its own, while `report` is called here with all that it tells.

    Where the work is silent the last word is said again, several times a second. `report` may raise: the caller waits
    for nothing then, and the work ends where it tells next.
    """
    said: SimpleQueue[tuple[Any, ...] | None] = SimpleQueue()
    given_up = Event()

    def tell(*words: Any) -> None:
        if given_up.is_set():
            raise _GivenUpError
        said.put(words)

    started = _started(work, tell)
    started.add_done_callback(lambda _: said.put(None))
    words: tuple[Any, ...] | None = None
    try:
        while True:
            try:
                words = said.get(timeout=AWAIT)
            except Empty:
                if words is None:
                    continue
            if words is None:
                return started.result()
            report(*words)
    except BaseException:
        given_up.set()
        raise
