"""Whose turn it is: which waiting generation starts, and which running one gets the next pass. Pure functions.

Those that run get equal shares of the engine's time. Short work starts first; one place is kept for it, so that long
work never holds it up, and whoever was passed over a few times goes first in any case.
"""

from __future__ import annotations

from collections.abc import Sequence

from flashmesh_core.service.generation import Generation

SHORT_FACES = 3_000  # in all candidates: work of so few faces is short
PATIENCE = 8  # later ones that may go first


def next_to_start(waiting: Sequence[Generation], running: Sequence[Generation], places: int) -> Generation | None:
    """The waiting generation to start now, if any; `waiting` is in order of arrival."""
    free = places - len(running)
    if not waiting or free <= 0:
        return None
    patient = [one for one in waiting if one.passed_over >= PATIENCE]
    chosen = patient[0] if patient else min(waiting, key=lambda one: one.cost)  # the earliest of equals
    kept_for_short = places > 1 and free == 1 and any(one.cost > SHORT_FACES for one in running)
    if kept_for_short and chosen.cost > SHORT_FACES:
        chosen = min(waiting, key=lambda one: one.cost)
        if chosen.cost > SHORT_FACES:
            return None
    return chosen


def next_to_step(running: Sequence[Generation]) -> Generation | None:
    """The running generation whose next step is due: of those that have one, the one that used the least time."""
    ready = [one for one in running if one.work is not None or one.last is not None]
    return min(ready, key=lambda one: (one.last is None, one.used), default=None)


def join(generation: Generation, running: Sequence[Generation]) -> None:
    """Lets a generation that starts begin level with the one that used the least, not with a claim on the past."""
    generation.used = min((one.used for one in running), default=0.0)
