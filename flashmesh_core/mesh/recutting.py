"""Flat places cut anew, so that triangles that were left over when quads were paired meet.

A triangle beside a flat quad makes a pentagon with it, which can be cut into a triangle and a quad in five ways: the
triangle wanders through the quad. Where it comes to lie beside another one that is left over, the two become a quad.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from functools import reduce

from flashmesh_core.mesh.pairing import PairedMesh
from flashmesh_core.mesh.plain_vectors import Edge, Triangle, Vector, area, dot, in_order, plus, third, unit
from flashmesh_core.mesh.quad_shapes import MIN_CORNER, corner_cost

FLAT_ANGLE = math.radians(30)  # between the triangles of a pentagon that is cut anew and its plane
FLAT_DISTANCE = 2e-3  # of its corners from that plane, in longest sides of the mesh
_STEP = 0.1  # what a pentagon costs, beside its quad
STATES = 400  # places of one triangle that are looked at
_ALL_STATES = 20_000  # of all triangles together: some seconds


@dataclass(frozen=True, eq=False)
class _Step:
    """A triangle that wandered: where it lies now, and how it came there."""

    triangle: Triangle
    before: _Step | None = None
    pentagon: Triangle = ()  # its corners in turn; the triangle came in at the last one
    apex: int = -1  # the corner that all three triangles of the pentagon meet at now
    turns: tuple[tuple[Edge, Edge], ...] = ()  # edges that are turned, and what becomes of them
    taken: Edge = (-1, -1)  # the two faces of the quad that it went through

    def chain(self) -> list[_Step]:
        """The steps that went through a quad, the first one first."""
        steps, step = [], self
        while step.before is not None:
            steps.append(step)
            step = step.before
        return steps[::-1]


class Recutting:
    """Looks for ways of triangles that are left over to each other through the flat quads of `mesh`."""

    def __init__(self, mesh: PairedMesh, size: float) -> None:
        """`size` is the longest side of the mesh."""
        self._mesh, self._off_plane = mesh, FLAT_DISTANCE * size
        self._spent = 0

    def run(self) -> None:
        """Looks for a way for every triangle without a partner, again and again while some are found."""
        changed = True
        while changed:
            changed = False
            for face in list(self._mesh.left):
                changed = (face in self._mesh.left and self.join(face)) or changed

    def join(self, face: int, states: int = STATES) -> bool:
        """Pairs a face that is left over, if a way is found."""
        found = self._search(face, states)
        return found is not None and self._apply(face, *found)

    def _search(self, start: int, states: int) -> tuple[_Step, int] | None:
        """The cheapest way of a triangle to another one without a partner: its last step, and that other face."""
        mesh = self._mesh
        first = _Step(mesh.faces[start])
        heap, count, seen = [(0.0, 0, first)], 0, {frozenset(first.triangle)}
        for _ in range(states):
            if not heap or self._spent >= _ALL_STATES:
                return None
            self._spent += 1
            cost, _, step = heapq.heappop(heap)
            chain = step.chain()
            changed = {start, *(face for earlier in chain for face in earlier.taken)}
            beside = [(edge, other) for edge, other in mesh.beyond(step.triangle, start) if other not in changed]
            for edge, other in beside:
                if other in mesh.left and self._joint(step.triangle, edge, other) is not None:
                    return step, other
            made = {new for earlier in chain for _, new in earlier.turns}
            for more, following in self._moves(step, beside, made):
                key = frozenset(following.triangle)
                if key not in seen:
                    seen.add(key)
                    count += 1
                    heapq.heappush(heap, (cost + more, count, following))
        return None

    def _moves(self, step: _Step, beside: list[tuple[Edge, int]], made: set[Edge]) -> list[tuple[float, _Step]]:
        """The ways on through the quads beside a triangle, and what each costs."""
        found, mesh = [], self._mesh
        for (a, b), near in beside:
            far = mesh.partner.get(near, -1)
            if far < 0:
                continue
            tip, outer = third(step.triangle, a, b), third(mesh.faces[near], a, b)
            last = next(corner for corner in mesh.faces[far] if corner not in mesh.faces[near])
            # The quad's diagonal ends in one of the two corners that the triangle shares with it.
            apex, pentagon = (0, (a, last, outer, b, tip)) if a in mesh.faces[far] else (3, (a, outer, last, b, tip))
            if len(set(pentagon)) < 5:
                continue
            joined = self._joint(step.triangle, (a, b), near)
            if joined is not None:  # no edge is turned: the farther face is left over
                ear = 1 if apex == 0 else 2
                found.append((joined, _Step(_fan(pentagon, ear - 1)[0], step, pentagon, apex, (), (near, far))))
            normal = self._plane(pentagon, (step.triangle, mesh.faces[near], mesh.faces[far]))
            if normal is not None:
                found += self._cuts(step, pentagon, apex, normal, (near, far), made)
        return found

    def _cuts(
        self, step: _Step, pentagon: Triangle, apex: int, normal: Vector, taken: Edge, made: set[Edge]
    ) -> list[tuple[float, _Step]]:
        """The ways to cut a flat pentagon anew by turning one edge or two: those whose quad can be seen."""
        found, mesh = [], self._mesh
        for new_apex, turns in _turns(apex):
            named = tuple(
                (in_order(pentagon[a], pentagon[b]), in_order(pentagon[c], pentagon[d])) for (a, b), (c, d) in turns
            )
            if any(new in made or new in mesh.owner or new[::-1] in mesh.owner for _, new in named):
                continue
            for ear in ((new_apex + 1) % 5, (new_apex + 4) % 5):
                triangle = (pentagon[ear - 1], pentagon[ear], pentagon[(ear + 1) % 5])
                quad = [mesh.places[pentagon[(ear + k) % 5]] for k in range(1, 5)]
                crooked = corner_cost(quad, normal, MIN_CORNER)
                if crooked is not None and dot(self._area(triangle), normal) > 0.0:
                    found.append((_STEP + crooked, _Step(triangle, step, pentagon, new_apex, named, taken)))
        return found

    def _apply(self, start: int, last: _Step, goal: int) -> bool:
        """Turns the edges of a way, and pairs the triangle with the one at its end, unless the surface would move."""
        mesh = self._mesh
        mark = mesh.mark()
        for step in last.chain():
            slots = (start, *step.taken)
            quad = [face for face in _fan(step.pentagon, step.apex) if set(face) != set(step.triangle)]
            if not mesh.replace(slots, list(zip(slots, (step.triangle, *quad), strict=True))):
                mesh.undo(mark)
                return False
            mesh.pair(*step.taken)
            mesh.steps += [("turn", *old) for old, _ in step.turns]
        mesh.pair(start, goal)
        return True

    def _plane(self, pentagon: Triangle, old: tuple[Triangle, ...]) -> Vector | None:
        """The unit normal of a pentagon; None where it is not flat."""
        areas = [self._area(face) for face in old]
        normal = unit(reduce(plus, areas))
        heights = [dot(self._mesh.places[corner], normal) for corner in pentagon]
        if max(heights) - min(heights) > 2.0 * self._off_plane:
            return None
        flat = all(dot(unit(face), normal) >= math.cos(FLAT_ANGLE) for face in areas)
        return normal if flat else None

    def _joint(self, triangle: Triangle, edge: Edge, other: int) -> float | None:
        """What a quad of a triangle and the face beyond its edge costs; None where there can be none."""
        cost = self._mesh.cost(edge, third(triangle, *edge), third(self._mesh.faces[other], *edge))
        return None if cost is None else _STEP + cost

    def _area(self, face: Triangle) -> Vector:
        return area(*(self._mesh.places[corner] for corner in face))


def _turns(apex: int) -> list[tuple[int, list[tuple[Edge, Edge]]]]:
    """The other fans of a pentagon: their apex, and the diagonals that are turned, one or two, before and after.

    A fan of apex i has the diagonals (i, i + 2) and (i, i + 3), modulo 5; each can be turned.
    """
    found: dict[int, list[tuple[Edge, Edge]]] = {}
    ways: list[tuple[int, list[tuple[Edge, Edge]]]] = [(apex, [])]
    for way, turns in ways:
        for side in (2, 3):
            old, new = (way, (way - side) % 5), ((way + side) % 5, (way + 2 * side) % 5)
            reached = (way + side) % 5
            if len(turns) < 2 and reached != apex and reached not in found:
                found[reached] = [*turns, (old, new)]
                ways.append((reached, found[reached]))
    return list(found.items())


def _fan(pentagon: Triangle, apex: int) -> list[Triangle]:
    """The three triangles of a pentagon that meet at its corner `apex`."""
    corners = [pentagon[(apex + k) % 5] for k in range(5)]
    return [(corners[0], corners[k], corners[k + 1]) for k in (1, 2, 3)]
