"""The drafters, registered once: what command lines, panels and benchmarks offer, and what `drafting` does for each.

A new drafter is a mode and an entry here, what `drafting/draft.py` does in that mode, a color in `bench/plot.py` and
the German of its label and summary in the add-on. Standard library only.
"""

from __future__ import annotations

from typing import NamedTuple

DRAFT_NOTHING = 0
DRAFT_GIVEN = 1  # corrected drafts of the heads
DRAFT_HALF_EDGE = 2
DRAFT_HEADS = 3
DRAFT_UNITED = 4


class Drafter(NamedTuple):
    """A way to guess tokens ahead. It changes the speed alone, never the mesh."""

    mode: int
    label: str
    summary: str
    uses_heads: bool = False  # the checkpoint must have draft heads


DRAFTERS = {
    "none": Drafter(DRAFT_NOTHING, "None", "Token by token: the slow reference"),
    "half_edge": Drafter(DRAFT_HALF_EDGE, "Half-edge", "Guess from the open edges of the unfinished mesh"),
    "heads": Drafter(DRAFT_HEADS, "Heads", "Guess with the checkpoint's draft heads", uses_heads=True),
    "united": Drafter(DRAFT_UNITED, "United", "Open edges and draft heads together", uses_heads=True),
}
AUTO_DRAFTER = "half_edge"  # what "auto" stands for: the fastest
DRAFTER_NAMES = ("auto", *DRAFTERS)


def resolve_drafter(name: str) -> Drafter:
    """The drafter of a name among DRAFTER_NAMES."""
    return DRAFTERS[AUTO_DRAFTER if name == "auto" else name]
