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
    between(loop, bounds_of_parts(0, rows, ROWS), *arguments)


def bounds_of_parts(first: int, last: int, least: int) -> list[int]:
    """Where parts of the rows from `first` to `last` begin, and the end: a part a processor, of at least `least`."""
    parts = max(min(os.cpu_count() or 1, (last - first) // least), 1)
    return np.linspace(first, last, parts + 1).astype(np.int64).tolist()


def between(loop: Callable[..., None], bounds: list[int], *arguments: Any) -> None:
    """Call `loop(first, last, *arguments)` between each two of `bounds` that follow each other, each in a thread."""
    one, *others = pairwise(bounds)
    if not others:
        loop(*one, *arguments)
        return
    with ThreadPoolExecutor(len(others)) as pool:
        started = [pool.submit(loop, *part, *arguments) for part in others]
        loop(*one, *arguments)
        for part in started:
            part.result()


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
