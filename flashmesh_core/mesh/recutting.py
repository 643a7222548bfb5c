"""Flat places cut anew, so that triangles that were left over when quads were paired meet.

A triangle beside a flat quad makes a pentagon with it, which can be cut into a triangle and a quad in five ways: the
triangle wanders through the quad. Where it comes to lie beside another one that is left over, the two become a quad.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from functools import reduce

import numpy as np

FLAT_ANGLE = math.radians(15.0)  # between the triangles of a pentagon that is cut anew and its plane
FLAT_DISTANCE = 2e-3  # of its corners from that plane, in longest sides of the mesh
MIN_CORNER = math.radians(12.0)  # of a quad that is made here: below it it is a sliver
_BEND, _CROOKED, _STEP = 1.0, 0.5, 0.1  # what a bend of the largest angle, a corner 90 degrees off, a pentagon cost
_STATES = 400  # places of one triangle that are looked at
_ALL_STATES = 12_000  # of all triangles together: some seconds

Vector = tuple[float, float, float]
Triangle = tuple[int, ...]  # rows of vertices, in turn
Edge = tuple[int, int]


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
    """A triangle mesh in pairs; `run` turns edges until no two triangles left over can be brought together.

    Then `faces` (lists of rows of vertices) and `partner` hold the new triangles and pairs, and `flips` the edges that
    were turned, one after the other, as rows of vertices before each turn.
    """

    def __init__(
        self, vertices: np.ndarray, faces: np.ndarray, partner: np.ndarray, groups: np.ndarray, kept: set[Edge],
        *, max_angle: float, max_corner: float,
    ) -> None:  # fmt: skip
        """`vertices` (V, 3), `faces` (F, 3), `partner` (F,) or -1, `groups` (F,), `kept` edges with sorted rows."""
        self.faces: list[Triangle] = [tuple(face) for face in faces.tolist()]
        self.partner: list[int] = partner.tolist()
        self.flips: list[Edge] = []
        self._places: list[Vector] = [tuple(place) for place in vertices.tolist()]
        self._groups, self._kept = groups.tolist(), kept
        self._max_angle, self._corners = max_angle, (MIN_CORNER, max_corner)
        self._off_plane = FLAT_DISTANCE * float(np.ptp(vertices, axis=0).max(initial=0.0)) if len(vertices) else 0.0
        self._left = _ALL_STATES
        self._owner: dict[Edge, int] = {}  # the face that an edge in its own direction belongs to
        self._crowded: set[Edge] = set()  # sorted edges that have more than one face on a side
        for number, face in enumerate(self.faces):
            for edge in _edges(face):
                if edge in self._owner:
                    self._crowded.add(_sorted(*edge))
                self._owner[edge] = number

    def run(self) -> None:
        """Looks for a way for every triangle without a partner, again and again while some are found."""
        changed = True
        while changed:
            changed = False
            for face in [number for number, other in enumerate(self.partner) if other < 0]:
                found = self._search(face) if self.partner[face] < 0 else None
                if found is not None:
                    self._apply(face, *found)
                    changed = True

    def _search(self, start: int) -> tuple[_Step, int] | None:
        """The cheapest way of a triangle to another one without a partner: its last step, and that other face."""
        first = _Step(self.faces[start])
        heap, count, seen = [(0.0, 0, first)], 0, {frozenset(first.triangle)}
        for _ in range(_STATES):
            if not heap or self._left <= 0:
                return None
            self._left -= 1
            cost, _, step = heapq.heappop(heap)
            chain = step.chain()
            beside = self._beside(step, start, {start, *(face for earlier in chain for face in earlier.taken)})
            for (a, b), other in beside:
                if self.partner[other] < 0 and self._joint(step.triangle, self.faces[other], a, b) is not None:
                    return step, other
            made = {new for earlier in chain for _, new in earlier.turns}
            for more, following in self._moves(step, beside, made):
                key = frozenset(following.triangle)
                if key not in seen:
                    seen.add(key)
                    count += 1
                    heapq.heappush(heap, (cost + more, count, following))
        return None

    def _beside(self, step: _Step, start: int, changed: set[int]) -> list[tuple[Edge, int]]:
        """The edges of a triangle that may go, and the faces beyond them, but for those that its way has changed."""
        found = []
        for a, b in _edges(step.triangle):
            other, edge = self._owner.get((b, a), -1), _sorted(a, b)
            if other >= 0 and other not in changed and edge not in self._kept and edge not in self._crowded:
                found.append(((a, b), other))
        return [(edge, other) for edge, other in found if self._groups[other] == self._groups[start]]

    def _moves(self, step: _Step, beside: list[tuple[Edge, int]], made: set[Edge]) -> list[tuple[float, _Step]]:
        """The ways on through the quads beside a triangle, and what each costs."""
        found = []
        for (a, b), near in beside:
            far = self.partner[near]
            if far < 0:
                continue
            tip, outer = _third(step.triangle, a, b), _third(self.faces[near], a, b)
            last = next(corner for corner in self.faces[far] if corner not in self.faces[near])
            # The quad's diagonal ends in one of the two corners that the triangle shares with it.
            apex, pentagon = (0, (a, last, outer, b, tip)) if a in self.faces[far] else (3, (a, outer, last, b, tip))
            if len(set(pentagon)) < 5:
                continue
            joined = self._joint(step.triangle, self.faces[near], a, b)
            if joined is not None:  # no edge is turned: the farther face is left over
                ear = 1 if apex == 0 else 2
                found.append((joined, _Step(_fan(pentagon, ear - 1)[0], step, pentagon, apex, (), (near, far))))
            normal = self._plane(pentagon, (step.triangle, self.faces[near], self.faces[far]))
            if normal is not None:
                found += self._cuts(step, pentagon, apex, normal, (near, far), made)
        return found

    def _cuts(
        self, step: _Step, pentagon: Triangle, apex: int, normal: Vector, taken: Edge, made: set[Edge]
    ) -> list[tuple[float, _Step]]:
        """The ways to cut a flat pentagon anew by turning one edge or two: those whose quad can be seen."""
        found = []
        for new_apex, turns in _turns(apex):
            named = tuple(
                (_sorted(pentagon[a], pentagon[b]), _sorted(pentagon[c], pentagon[d])) for (a, b), (c, d) in turns
            )
            if any(new in made or new in self._owner or new[::-1] in self._owner for _, new in named):
                continue
            for ear in ((new_apex + 1) % 5, (new_apex + 4) % 5):
                triangle = (pentagon[ear - 1], pentagon[ear], pentagon[(ear + 1) % 5])
                crooked = self._crooked(tuple(pentagon[(ear + k) % 5] for k in range(1, 5)), normal)
                if crooked is not None and _dot(self._area(triangle), normal) > 0.0:
                    found.append((crooked, _Step(triangle, step, pentagon, new_apex, named, taken)))
        return found

    def _apply(self, start: int, last: _Step, goal: int) -> None:
        """Turns the edges of a way, and pairs the triangle with the one at its end."""
        for step in last.chain():
            self.flips += [old for old, _ in step.turns]
            slots = (start, *step.taken)
            for face in slots:
                for edge in _edges(self.faces[face]):
                    if self._owner.get(edge) in slots and _sorted(*edge) not in self._crowded:
                        del self._owner[edge]
            quad = [face for face in _fan(step.pentagon, step.apex) if set(face) != set(step.triangle)]
            for face, corners in zip(slots, (step.triangle, *quad), strict=True):
                self.faces[face] = corners
                for edge in _edges(corners):
                    self._owner.setdefault(edge, face)
        self.partner[start], self.partner[goal] = goal, start

    def _plane(self, pentagon: Triangle, old: tuple[Triangle, ...]) -> Vector | None:
        """The unit normal of a pentagon; None where it is not flat."""
        areas = [self._area(face) for face in old]
        normal = _unit(reduce(_plus, areas))
        heights = [_dot(self._places[corner], normal) for corner in pentagon]
        if max(heights) - min(heights) > 2.0 * self._off_plane:
            return None
        flat = all(_dot(_unit(area), normal) >= math.cos(FLAT_ANGLE) for area in areas)
        return normal if flat else None

    def _joint(self, here: Triangle, there: Triangle, a: int, b: int) -> float | None:
        """What a quad of two triangles costs, over the edge from a to b of the first; None where there can be none."""
        tips = _third(here, a, b), _third(there, a, b)
        normals = _unit(self._area(here)), _unit(self._area(there))
        bend = math.acos(min(1.0, max(-1.0, _dot(*normals))))
        if tips[0] == tips[1] or bend > self._max_angle or not any(normals[0]) or not any(normals[1]):
            return None
        normal = _unit(_plus(*normals))
        crooked = self._crooked((b, tips[0], a, tips[1]), normal)
        return None if crooked is None else crooked + _BEND * bend / self._max_angle

    def _crooked(self, quad: Triangle, normal: Vector) -> float | None:
        """What the corners of a quad cost, seen along a unit `normal`; None where it is a sliver or not convex."""
        places, worst = [self._places[corner] for corner in quad], 0.0
        for k in range(4):
            out, back = _minus(places[(k + 1) % 4], places[k]), _minus(places[k - 1], places[k])
            angle = math.atan2(_dot(_cross(out, back), normal), _dot(out, back)) % (2.0 * math.pi)
            if not self._corners[0] <= angle <= self._corners[1]:
                return None
            worst = max(worst, abs(angle - math.pi / 2.0))
        return _STEP + _CROOKED * worst / (math.pi / 2.0)

    def _area(self, face: Triangle) -> Vector:
        """Twice a triangle's area, along its normal."""
        a, b, c = (self._places[corner] for corner in face)
        return _cross(_minus(b, a), _minus(c, a))


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


def _edges(face: Triangle) -> tuple[Edge, Edge, Edge]:
    a, b, c = face
    return (a, b), (b, c), (c, a)


def _third(face: Triangle, a: int, b: int) -> int:
    return next(corner for corner in face if corner not in (a, b))


def _sorted(a: int, b: int) -> Edge:
    return (a, b) if a < b else (b, a)


def _plus(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _minus(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _unit(a: Vector) -> Vector:
    length = math.sqrt(_dot(a, a))
    return (a[0] / length, a[1] / length, a[2] / length) if length > 0.0 else (0.0, 0.0, 0.0)
