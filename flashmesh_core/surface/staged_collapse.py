"""A collapse down to a count, by stages between which handles are cut and small parts given up.

Collapsing edges keeps the topology. What noise, marching cubes and thin walls made of it costs faces that the shape
should have, and where it costs too many, the last edges that may go take whole limbs with them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flashmesh_core.surface.adjacency import boxes_of, compact, face_areas, parts_of
from flashmesh_core.surface.bridges import cut_bridges, knots
from flashmesh_core.surface.collapse import FACES, POWER, SEED, Collapse, collapse, next_cost, start_collapse
from flashmesh_core.surface.denoising import Progress
from flashmesh_core.surface.handles import cut_handles
from flashmesh_core.surface.loose_parts import costs_of_parts, large_and_apart
from flashmesh_core.surface.quadrics import WIDTH
from flashmesh_core.surface.small_holes import close_crowding_holes, close_small_holes, holes_of

MAX_LOOP, LAST_LOOP = 0.4, 3.2  # perimeter of a loop that may be cut if it is cheap; where the count is missed else
CROWDED, PART_FACES, CARD_FACES = 1.1, 8, 2  # times the count above which parts go; faces for each, and for a sheet
SHARED = 0.75  # power of the area that a part's share of the faces goes by where not all parts fit
MOSTLY = 0.5  # share of the area that has to be left then: more faces than wanted are better than the smaller half
KNOT_FACES, KNOTTED = 4.0, 0.25  # faces that a bridge costs; share of the count for them above which they are cut
PERFORATED = 0.5  # share of holes among the knots from which a sheet is perforated
BRIDGE = 0.5  # length of a bridge that may be cut, of the loops that may
HANDLE_FACES = 4_000  # that handles are first looked for at
STEPS = 0.6, 0.3, 0.12, 0.0  # of the way left to half the faces, at which parts are looked at, and late on handles
LATE = 2.0  # times the count up to which handles go whose cut is cheaper than an edge
CEILING = 4.0  # times what the next edge cost then, at which handles are looked for again
LOOP = 50.0  # cube of the perimeter of a loop over what its cut costs
STEP = 40_000  # entries of the queue looked at between two reports


class Goal(NamedTuple):
    """What a collapse goes down to."""

    faces: int
    least: int  # faces of the last of several counts, which progress is told by
    total: int  # faces at first, by which it is told as well
    crumb: float  # size of limbs that go with the loops which are cut
    modelled: bool  # holes in sheets are closed instead of cut open to each other
    progress: Progress | None

    def report(self, left: int) -> None:
        """Tell how far it is with so many faces left; may raise to cancel."""
        if self.progress:
            self.progress("simplify", (self.total - left) / max(self.total - self.least, 1))


def _run(state: Collapse, count: int, goal: Goal, dearest: float = np.inf) -> None:
    """Collapse down to `count` faces while edges cost at most `dearest`, reporting how far it is to the goal's."""
    while collapse(state, count, STEP, dearest) == 1:
        goal.report(int(state.numbers[FACES]))


def run_cutting(state: Collapse, goal: Goal, longest: float) -> Collapse:
    """Collapse down to the goal by halves; of what is left after each, loops below `longest` are cut.

    Where the topology still keeps more faces than wanted, longer and longer loops are, up to LAST_LOOP.
    """
    count = goal.faces
    while longest > 0.0 and state.numbers[FACES] > count:
        before = int(state.numbers[FACES])
        stage = max(count, min(before // 2, HANDLE_FACES))
        for share in STEPS:
            state = _run_giving_up(state, int(stage + share * (before - stage)), goal, longest)
            if share > 0.0 and state.numbers[FACES] <= LATE * count:
                state = _without_cheap_handles(state, longest, goal)
        state = _without_handles(state, longest, goal)
        if not goal.modelled and _is_knotted(state, count):
            state = _without_bridges(state, BRIDGE * longest)
        if state.numbers[FACES] >= before:
            if longest >= LAST_LOOP:
                break
            longest = min(2.0 * longest, LAST_LOOP)
    _run(state, count, goal)
    if state.numbers[FACES] > CROWDED * count:
        faces = state.faces[state.alive]
        label, size = parts_of(state.positions, faces)
        fewer = _with_large_parts(state, faces, label, size, np.bincount(label), count)
        if _area(fewer) >= MOSTLY * _area(state):
            state = fewer
            _run(state, count, goal)
    return state


def _is_knotted(state: Collapse, count: int) -> bool:
    """Whether bridges cost too many of `count` faces and are no webs between the holes of a perforated sheet."""
    faces = state.faces[state.alive]
    number = knots(faces)
    return KNOT_FACES * number > KNOTTED * count and len(holes_of(state.positions, faces)[0]) < PERFORATED * number


def _area(state: Collapse) -> float:
    return float(face_areas(state.positions, state.faces[state.alive]).sum())


def _without_cheap_handles(state: Collapse, longest: float, goal: Goal) -> Collapse:
    """The same without handles below `longest`, or whose cut costs no more than the next edge if one can go."""
    price = next_cost(state)
    if price < np.inf:
        longest = max(longest, min((LOOP * price) ** (1 / 3), MAX_LOOP))
    return _without_handles(state, longest, goal)


def _run_giving_up(state: Collapse, target: int, goal: Goal, longest: float) -> Collapse:
    """Collapse down to `target` faces; what costs less than the next edge goes instead.

    That are parts, while the goal's count is left, and late the handles, looked for again whenever edges have become
    CEILING times as dear: the edges that are left may be those of a limb.
    """
    if state.numbers[FACES] > HANDLE_FACES:
        _run(state, target, goal)
        return state
    ceiling = next_cost(state)
    while state.numbers[FACES] > target:
        before, late = int(state.numbers[FACES]), state.numbers[FACES] <= LATE * goal.faces
        dearest = float(_costs_of_parts(state, goal.faces)[2].min())
        _run(state, target, goal, min(dearest, ceiling) if late else dearest)
        if state.numbers[FACES] <= target:
            break
        price = next_cost(state)
        faces, label, cost = _costs_of_parts(state, goal.faces)
        if cost.min() < price:
            state = _restarted(state, state.positions, state.quadrics, faces[label != cost.argmin()])
        elif late and ceiling < price < np.inf:
            state = _without_cheap_handles(state, longest, goal)
            ceiling = CEILING * price
        elif state.numbers[FACES] == before:
            break
    return state


def _costs_of_parts(state: Collapse, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The faces (F, 3) that are left, their parts (F,), and what each costs that may go with `count` faces left."""
    faces = state.faces[state.alive]
    label, size = parts_of(state.positions, faces)
    if len(size) < 2:
        return faces, label, np.full(1, np.inf)
    cost = costs_of_parts(
        state.positions, faces, state.quadrics[:, WIDTH - 1], label, size, power=POWER, reach=state.options[5]
    )
    cost[len(faces) - np.bincount(label) < count] = np.inf
    return faces, label, cost


def with_parts_that_fit(state: Collapse, count: int) -> Collapse:
    """The largest parts where all of them do not fit with two faces each, as cards that are a tree's leaves have.

    There is room for as many faces of each as its share says, of the areas to the power SHARED (a trunk shows itself
    with fewer faces than as many small leaves do), but for eight or all that it has at least.
    """
    faces = state.faces[state.alive]
    label, size = parts_of(state.positions, faces)
    own = np.bincount(label)
    if np.minimum(own, CARD_FACES).sum() <= count:
        return state
    wide = np.bincount(label, face_areas(state.positions, faces)) ** SHARED
    share = wide / max(wide.sum(), 1e-300)
    return _with_large_parts(state, faces, label, size, np.minimum(own, np.maximum(share * count, PART_FACES)), count)


def with_holes_that_fit(state: Collapse, count: int) -> Collapse:
    """The same with only the largest holes, where all would cost more faces than are wanted."""
    used, faces = state.left()
    positions, quadrics, closed = close_crowding_holes(state.positions[used], state.quadrics[used], faces, count)
    return state if closed is faces else _restarted(state, positions, quadrics, closed)


def _with_large_parts(
    state: Collapse, faces: np.ndarray, label: np.ndarray, size: np.ndarray, room: np.ndarray, count: int
) -> Collapse:
    """The collapse of `faces` started anew on the largest parts, of sizes (P,), whose `room` (P,) is in `count`."""
    low, high = boxes_of(state.positions, faces, label, len(size))
    stays = large_and_apart(size, (low + high) / 2.0, room, count)
    return state if stays.all() else _restarted(state, state.positions, state.quadrics, faces[stays[label]])


def _without_handles(state: Collapse, longest: float, goal: Goal) -> Collapse:
    """The collapse started anew on the mesh as it is now, its small handles cut and its crumbs left out.

    Of a modelled one small holes are closed as well.
    """
    used, faces = state.left()
    positions, quadrics, cut = cut_handles(state.positions[used], state.quadrics[used], faces, longest, goal.crumb)
    if goal.modelled:
        quadrics, cut = close_small_holes(positions, quadrics, cut, longest)
    return state if cut is faces else _restarted(state, positions, quadrics, cut)


def _without_bridges(state: Collapse, longest: float) -> Collapse:
    """The collapse started anew on the mesh as it is now, cut along short edges between two rims."""
    used, faces = state.left()
    positions, quadrics, cut = cut_bridges(state.positions[used], state.quadrics[used], faces, longest)
    return state if len(positions) == used.sum() else _restarted(state, positions, quadrics, cut)


def _restarted(state: Collapse, positions: np.ndarray, quadrics: np.ndarray, faces: np.ndarray) -> Collapse:
    """A new collapse of `faces` (F, 3), the other vertices left out, by the same chance."""
    used, faces = compact(faces, len(positions))
    rows, staying, far = np.ascontiguousarray(quadrics[used]), float(state.options[4]), float(state.options[5])
    return start_collapse(positions[used], faces, rows, int(state.numbers[SEED]), staying=staying, far=far)
