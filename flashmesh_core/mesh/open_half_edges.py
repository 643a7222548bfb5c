"""The open half-edges of an unfinished mesh, kept face by face with roll-back.

A directed edge is open when a face uses it and no face uses its twin yet. Vertices are any hashable integers whose
order is the canonical one; the table knows neither coordinates nor a model.
"""

from __future__ import annotations

from bisect import bisect_left, insort


class OpenHalfEdges:
    """Directed edges in use, and for every vertex the open edges that leave and enter it."""

    def __init__(self) -> None:
        self.faces: list[tuple[int, int, int]] = []
        self.uses: dict[tuple[int, int], int] = {}
        self.after: dict[int, set[int]] = {}  # a -> the b of every used edge a -> b
        self.before: dict[int, set[int]] = {}  # b -> the a of every used edge a -> b
        self.leaving: dict[int, set[int]] = {}  # a -> the b of open edges a -> b
        self.entering: dict[int, set[int]] = {}  # b -> the a of open edges a -> b
        self.open_vertices: list[int] = []  # sorted
        self.degree: dict[int, int] = {}  # faces at a vertex: the vertices seen so far

    def push(self, face: tuple[int, int, int]) -> None:
        """Append a face (three different vertices, any rotation)."""
        a, b, c = face
        self.faces.append(face)
        for vertex in face:
            self.degree[vertex] = self.degree.get(vertex, 0) + 1
        for edge in ((a, b), (b, c), (c, a)):
            self._use(edge)

    def pop(self) -> tuple[int, int, int]:
        """Take the last face back, leaving exactly the state before its push."""
        a, b, c = face = self.faces.pop()
        for edge in ((c, a), (b, c), (a, b)):
            self._release(edge)
        for vertex in face:
            self.degree[vertex] -= 1
            if not self.degree[vertex]:
                del self.degree[vertex]
        return face

    def is_used(self, a: int, b: int) -> bool:
        """Whether a face uses the directed edge a -> b."""
        return (a, b) in self.uses

    def v1_banned(self, v0: int) -> set[int]:
        """Vertices that v1 may not be if every directed edge is used once."""
        return self.after.get(v0, set())

    def v2_banned(self, v0: int, v1: int) -> set[int]:
        """Vertices that v2 may not be if every directed edge is used once."""
        return self.before.get(v0, set()) | self.after.get(v1, set())

    def v1_suggestions(self, v0: int) -> tuple[list[int], list[int]]:
        """Vertices that v1 may close an edge with: x of the open x -> v0, and open vertices one edge further on."""
        strong = sorted(x for x in self.entering.get(v0, ()) if x > v0)
        weak: set[int] = set()
        for x in strong:
            weak |= self.entering.get(x, set())
            weak |= self.leaving.get(x, set())
        for w in self.leaving.get(v0, ()):
            weak |= self.entering.get(w, set())
            weak |= self.leaving.get(w, set())
        return strong, sorted(x for x in weak if x > v0 and not self.is_used(v0, x))

    def v2_suggestions(self, v0: int, v1: int) -> tuple[list[int], list[int]]:
        """Vertices w of the open v0 -> w and w' of the open w' -> v1: those in both, and those in either."""
        after, before = self.leaving.get(v0, set()), self.entering.get(v1, set())
        either = sorted(w for w in after | before if w > v0 and w != v1)
        return [w for w in either if w in after and w in before], either

    def _use(self, edge: tuple[int, int]) -> None:
        a, b = edge
        count = self.uses.get(edge, 0)
        self.uses[edge] = count + 1
        if count:
            return
        self.after.setdefault(a, set()).add(b)
        self.before.setdefault(b, set()).add(a)
        if (b, a) in self.uses:
            self._close(b, a)
        else:
            self._open(a, b)

    def _release(self, edge: tuple[int, int]) -> None:
        a, b = edge
        self.uses[edge] -= 1
        if self.uses[edge]:
            return
        del self.uses[edge]
        self.after[a].discard(b)
        self.before[b].discard(a)
        if (b, a) in self.uses:
            self._open(b, a)
        else:
            self._close(a, b)

    def _open(self, a: int, b: int) -> None:
        for vertex, table, other in ((a, self.leaving, b), (b, self.entering, a)):
            if not self._is_open(vertex):
                insort(self.open_vertices, vertex)
            table.setdefault(vertex, set()).add(other)

    def _close(self, a: int, b: int) -> None:
        for vertex, table, other in ((a, self.leaving, b), (b, self.entering, a)):
            table[vertex].discard(other)
            if not table[vertex]:
                del table[vertex]
            if not self._is_open(vertex):
                del self.open_vertices[bisect_left(self.open_vertices, vertex)]

    def _is_open(self, vertex: int) -> bool:
        return vertex in self.leaving or vertex in self.entering
