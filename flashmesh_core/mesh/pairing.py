"""A triangle mesh in pairs that can be changed and changed back: edges turned, taken away or cut in two.

Every change is noted, so that one that did not help can be undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from flashmesh_core.mesh.following import Following, Held, Nearest
from flashmesh_core.mesh.plain_vectors import Edge, Triangle, Vector, edges_of, in_order, third
from flashmesh_core.mesh.quad_shapes import quad_cost

LONGEST = 31  # pairs that are joined anew to win one more

Step = tuple[str, int, int]  # what happened, and to which vertices; see `quads.Quads`


class PairedMesh:
    """Triangles over vertices, and which of them are pairs; `steps` is how they came about."""

    def __init__(
        self, vertices: np.ndarray, faces: np.ndarray, groups: np.ndarray, kept: Iterable[Edge],
        *, max_angle: float, limit: float, nearest: Nearest | None = None,
    ) -> None:  # fmt: skip
        """`vertices` (V, 3), `faces` (F, 3), `groups` (F,), `kept` edges; `limit` is how far the surface may move."""
        self.places: dict[int, Vector] = {row: tuple(place) for row, place in enumerate(vertices.tolist())}
        self.faces: dict[int, Triangle] = {}
        self.partner: dict[int, int] = {}
        self.groups: dict[int, int] = {}
        self.owner: dict[Edge, int] = {}  # the face that an edge in its own direction belongs to
        self.around: dict[int, frozenset[int]] = {row: frozenset() for row in self.places}  # the faces at a vertex
        self.kept: dict[Edge, bool] = {in_order(*edge): True for edge in kept}
        self.fixed: set[int] = set()  # faces with an edge that has more than one face on a side
        self.left: dict[int, bool] = {}  # faces without a partner
        self.steps: list[Step] = []
        self.max_angle, self.limit = max_angle, limit
        self._costs: dict[tuple[int, int, int, int], float | None] = {}
        self._journal: list[tuple[dict[Any, Any], Any, Any]] = []
        self._following = Following(vertices[faces], limit, nearest)
        self._held: dict[int, Held] = {}  # what each face is held against
        self._count = len(vertices)
        self._fresh = {"vertex": len(vertices), "face": len(faces)}
        for number, (face, group) in enumerate(zip(faces.tolist(), groups.tolist(), strict=True)):
            self._add(number, tuple(face), group, self._following.first(number))

    def mark(self) -> tuple[int, int]:
        """A point to which `undo` can go back."""
        return len(self._journal), len(self.steps)

    def undo(self, mark: tuple[int, int]) -> None:
        """Takes back all changes since `mark`."""
        while len(self._journal) > mark[0]:
            _write(*self._journal.pop())
        del self.steps[mark[1] :]

    def beside(self, face: int) -> list[tuple[Edge, int]]:
        """The edges of a face that may go, in its own direction, and the faces beyond them."""
        return self.beyond(self.faces[face], face)

    def beyond(self, triangle: Triangle, face: int) -> list[tuple[Edge, int]]:
        """The same of a triangle that `face` could become."""
        found = []
        for a, b in edges_of(triangle):
            other = self.owner.get((b, a), -1)
            if other < 0 or other == face or self.fixed & {face, other} or in_order(a, b) in self.kept:
                continue
            if self.groups[other] == self.groups[face]:
                found.append(((a, b), other))
        return found

    def cost(self, edge: Edge, tip: int, other: int) -> float | None:
        """What a quad costs over an edge from a to b of a face with the third corner `tip`; `other` lies beyond."""
        key = (*edge, tip, other)
        if key in self._costs:
            return self._costs[key]
        quad = [self.places[corner] for corner in (edge[0], other, edge[1], tip)]
        cost = None if tip == other else quad_cost(quad, max_angle=self.max_angle)
        if max(key) < self._count:  # a new vertex may be undone, and another one get its number
            self._costs[key] = cost
        return cost

    def joint(self, face: int, edge: Edge, other: int) -> float | None:
        """What a quad of two faces costs that meet at an edge of the first; None where there can be none."""
        return self.cost(edge, third(self.faces[face], *edge), third(self.faces[other], *edge))

    def mates(self, face: int) -> list[tuple[float, int]]:
        """The faces that may be a face's partner, the best one first, and what they cost."""
        found = []
        for edge, other in self.beside(face):
            cost = self.joint(face, edge, other)
            if cost is not None:
                found.append((cost, other))
        return sorted(found)

    def pair(self, face: int, other: int) -> None:
        """Makes two faces partners; earlier ones are left over."""
        for one in (face, other):
            self.part(one)
        for one, two in ((face, other), (other, face)):
            self._put(self.partner, one, two)
            self._put(self.left, one, None)

    def part(self, face: int) -> None:
        """Leaves a face and its partner over."""
        other = self.partner.get(face)
        if other is not None:
            for one in (face, other):
                self._put(self.partner, one, None)
                self._put(self.left, one, True)

    def pair_all(self) -> None:
        """First the best pairs, one by one; then as many more as can be won by joining others anew."""
        pairs = [(cost, face, other) for face in self.faces for cost, other in self.mates(face) if face < other]
        for _, face, other in sorted(pairs):
            if face in self.left and other in self.left:
                self.pair(face, other)
        self.settle(list(self.left))

    def settle(self, faces: Iterable[int], longest: int = LONGEST) -> None:
        """Pairs those of `faces` that are left over, where a way over pairs that are split leads to another one."""
        for face in faces:
            if face in self.left:
                self._augment(face, longest)

    def replace(
        self, old: Iterable[int], new: Sequence[tuple[int, Triangle]], like: Iterable[int] | None = None
    ) -> bool:
        """Puts faces in the place of others, if the surface stays where it is and no edge gets more faces.

        False, and nothing is done, else. The new ones are left over. Their numbers are old ones or from `fresh_face`;
        their groups are those that the faces `like` have now, else their own.
        """
        old = list(old)
        edges = [edge for _, face in new for edge in edges_of(face)]
        if len(set(edges)) < len(edges) or any(self.owner.get(edge, old[0]) not in old for edge in edges):
            return False
        triangles = np.array([[self.places[corner] for corner in face] for _, face in new])
        moved = self._following.moved([self._held[face] for face in old], triangles)
        if moved is None:
            return False
        groups = [self.groups[face] for face in (like or [number for number, _ in new])]
        for face in old:
            self._remove(face)
        for (number, corners), group, held in zip(new, groups, moved, strict=True):
            self._add(number, corners, group, held)
        return True

    def fresh_face(self) -> int:
        """A number that no face has had."""
        self._put(self._fresh, "face", self._fresh["face"] + 1)
        return self._fresh["face"] - 1

    def fresh_vertex(self, place: Vector) -> int:
        """A new vertex."""
        row = self._fresh["vertex"]
        self._put(self._fresh, "vertex", row + 1)
        self._put(self.places, row, place)
        self._put(self.around, row, frozenset())
        return row

    def keep(self, edge: Edge, kept: bool) -> None:
        """Notes that an edge stays, or that there is no such edge any more."""
        self._put(self.kept, in_order(*edge), kept or None)

    def _put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Writes into a table, or takes out where `value` is None, so that it can be undone."""
        self._journal.append((table, key, table.get(key)))
        _write(table, key, value)

    def _remove(self, face: int) -> None:
        self.part(face)
        for edge in edges_of(self.faces[face]):
            if self.owner.get(edge) == face:
                self._put(self.owner, edge, None)
        for corner in self.faces[face]:
            self._put(self.around, corner, self.around[corner] - {face})
        for table in (self.left, self.faces, self.groups, self._held):
            self._put(table, face, None)

    def _add(self, number: int, face: Triangle, group: int, held: Held) -> None:
        for table, value in ((self.faces, face), (self.groups, group), (self._held, held), (self.left, True)):
            self._put(table, number, value)
        if len(set(face)) < 3:
            self.fixed.add(number)
        for edge in edges_of(face):
            if edge in self.owner:
                self.fixed |= {number, self.owner[edge]}
            else:
                self._put(self.owner, edge, number)
        for corner in face:
            self._put(self.around, corner, self.around[corner] | {number})

    def _augment(self, start: int, longest: int) -> None:
        """Pairs `start`, if a way over pairs that are split leads to another face left over (breadth first)."""
        came: dict[int, int] = {}  # a face -> the face it would be paired with anew
        layer, seen = [start], {start}
        for _ in range(longest):
            following: list[int] = []
            for face in layer:
                for _, other in self.mates(face):
                    if other in seen or other in came or other == self.partner.get(face):
                        continue
                    came[other] = face
                    if other in self.left:
                        self._rejoin(other, start, came)
                        return
                    mate = self.partner[other]
                    if mate not in seen:
                        seen |= {other, mate}
                        following.append(mate)
            layer = following

    def _rejoin(self, end: int, start: int, came: dict[int, int]) -> None:
        """Joins the pairs of a way anew, from its last face back to its first."""
        face = end
        while True:
            other = came[face]
            mate = self.partner.get(other, -1)
            self.pair(face, other)
            if other == start:
                return
            face = mate


def _write(table: dict[Any, Any], key: Any, value: Any) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
