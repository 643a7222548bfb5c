"""Edges taken away, turned or cut in two beside triangles that are left over, where that leaves fewer of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from flashmesh_core.mesh.edge_changes import best_place, cut_edge, join_vertices, turn_edge
from flashmesh_core.mesh.pairing import PairedMesh
from flashmesh_core.mesh.plain_vectors import Edge, Vector, dot, edges_of, in_order, minus, plus, third
from flashmesh_core.mesh.recutting import Recutting

_LONGEST, _STATES = 8, 100  # of ways that are looked for once an edge has changed
_DEPTH = 3  # edges that are cut, one behind the other, for one quad more
_SHARES = (0.1, 0.9)  # of an edge: between these it is cut
_TRIALS = 60  # changes that are tried for each triangle left over at first
_ALL_TRIALS = (500, 1_500)  # for all of them at most: as many as there are faces, between these


class Repair:
    """Changes edges of `mesh` beside triangles that are left over."""

    def __init__(self, mesh: PairedMesh, recutting: Recutting) -> None:
        self._mesh, self._recutting = mesh, recutting
        self._refused: set[tuple[int, int, bool, frozenset[int]]] = set()
        self._left = min(max(_ALL_TRIALS[0], len(mesh.faces)), _ALL_TRIALS[1], _TRIALS * len(mesh.left))

    def shuffle(self, tries: int, seed: int) -> None:
        """Turns edges of flat places at random while no more triangles are left over."""
        mesh, random = self._mesh, np.random.default_rng(seed)
        for _ in range(tries):
            if not mesh.left:
                return
            face = list(mesh.left)[random.integers(len(mesh.left))]
            near = sorted(mesh.around[mesh.faces[face][random.integers(3)]])
            a, b = edges_of(mesh.faces[near[random.integers(len(near))]])[random.integers(3)]
            mark, before = mesh.mark(), set(mesh.left)
            if turn_edge(mesh, a, b):
                mesh.settle([face for face in mesh.left if face not in before], _LONGEST)
                if len(mesh.left) <= len(before):
                    continue
            mesh.undo(mark)

    def clean(self) -> None:
        """Takes vertices away that the surface does not need, while no more triangles are left over."""
        changed = True
        while changed:
            changed = False
            for face in list(self._mesh.left):
                while face in self._mesh.left and self._clean_beside(face):
                    changed = True

    def cut(self, budget: int) -> None:
        """Cuts up to `budget` edges, where a way over them leads from a triangle left over to another one."""
        for depth in range(1, _DEPTH + 1):
            for face in list(self._mesh.left):
                before = len(self._mesh.steps)
                if face in self._mesh.left and depth <= budget and self._cut_from(face, depth):
                    budget -= sum(step[0] == "cut" for step in self._mesh.steps[before:])

    def _clean_beside(self, face: int) -> bool:
        """Takes one edge away near a face, short ones first; whether there was one."""
        mesh = self._mesh
        near = {other for corner in mesh.faces[face] for other in mesh.around[corner]}
        edges = {in_order(*edge) for other in near for edge in edges_of(mesh.faces[other])}
        for _, (a, b) in sorted((self._length(edge), edge) for edge in edges):
            for gone, stays, moves in ((a, b, False), (b, a, False), (a, b, True)):
                key = (gone, stays, moves, mesh.around[gone] | (mesh.around[stays] if moves else set()))
                if key in self._refused:
                    continue
                place, mark = best_place(mesh, a, b) if moves else None, mesh.mark()
                more = self._trial(partial(join_vertices, mesh, gone, stays, place))
                if more is not None and more <= 0:
                    return True
                mesh.undo(mark)
                if more is None:
                    self._refused.add(key)
        return False

    def _cut_from(self, face: int, depth: int) -> bool:
        """Cuts an edge beside a face, and more from the triangle that this leaves over; whether there is one less."""
        mesh = self._mesh
        for a, b, place in self._cuts(face):
            mark, before = mesh.mark(), set(mesh.left)
            more = self._trial(partial(cut_edge, mesh, a, b, place))
            if more is not None and more < 0:
                return True
            if more == 0 and depth > 1:
                for other in [one for one in mesh.left if one not in before]:
                    if self._cut_from(other, depth - 1):
                        return True
            mesh.undo(mark)
        return False

    def _cuts(self, face: int) -> Iterator[tuple[int, int, Vector]]:
        """Edges that no quad may lose beside a face, and where to cut them: half-way, opposite the third corners."""
        mesh = self._mesh
        for a, b in self._borders(face):
            start, along = mesh.places[a], minus(mesh.places[b], mesh.places[a])
            shares = [0.5]
            for other in (mesh.owner.get((a, b), -1), mesh.owner.get((b, a), -1)):
                if other >= 0:
                    tip = mesh.places[third(mesh.faces[other], a, b)]
                    share = dot(minus(tip, start), along) / (dot(along, along) or 1.0)
                    if _SHARES[0] < share < _SHARES[1] and all(abs(share - x) > _SHARES[0] for x in shares):
                        shares.append(share)
            for share in shares:
                yield a, b, plus(start, (share * along[0], share * along[1], share * along[2]))

    def _borders(self, face: int) -> list[Edge]:
        """Edges that no quad may lose around a face and the quads beside it, the longest one first."""
        mesh = self._mesh
        near = {face} | {other for _, other in mesh.beside(face)}
        near |= {mesh.partner[other] for other in near if other in mesh.partner}
        found: dict[Edge, float] = {}
        for one in near:
            inner = {edge for edge, other in mesh.beside(one) if mesh.joint(one, edge, other) is not None}
            found |= {in_order(*edge): self._length(edge) for edge in edges_of(mesh.faces[one]) if edge not in inner}
        return sorted(found, key=lambda edge: (-found[edge], edge))

    def _trial(self, change: Callable[[], bool]) -> int | None:
        """How many more triangles are left over once an edge has changed; None where it could not."""
        mesh, before = self._mesh, set(self._mesh.left)
        self._left -= 1
        if self._left < 0 or not change():
            return None
        new = [face for face in mesh.left if face not in before]
        mesh.settle(new, _LONGEST)
        corners = {corner for face in new if face in mesh.faces for corner in mesh.faces[face]}
        beside = [face for face in mesh.left if face in before and corners & {*mesh.faces[face]}]
        for face in (*new, *beside):
            if face in mesh.left and len(mesh.left) >= len(before):
                self._recutting.join(face, _STATES)
        return len(mesh.left) - len(before)

    def _length(self, edge: Edge) -> float:
        along = minus(self._mesh.places[edge[0]], self._mesh.places[edge[1]])
        return math.sqrt(dot(along, along))
