"""The unfinished mesh during decoding: what the slices and the grammar masks are functions of."""

from __future__ import annotations

from flashmesh_core.mesh.open_half_edges import OpenHalfEdges
from flashmesh_core.tokenizer import TOKENS_PER_FACE

NO_FACE = (-1, -1, -1)


class Prefix:
    """The faces so far, their open half-edges, and the coordinates of the face begun.

    Vertices are (z, y, x) keys: z * num_bins^2 + y * num_bins + x.
    """

    def __init__(self, num_bins: int) -> None:
        self.num_bins = num_bins
        self.table = OpenHalfEdges()
        self.begun: list[int] = []  # coordinates of the unfinished face

    def push(self, token: int) -> bool:
        """Append a coordinate; True where it completes a face."""
        self.begun.append(token)
        if len(self.begun) < TOKENS_PER_FACE:
            return False
        self.table.push((self.key(0), self.key(1), self.key(2)))
        self.begun = []
        return True

    def pop(self) -> None:
        """Take the last coordinate back."""
        if not self.begun:
            self.begun = [c for key in self.table.pop() for c in self.coordinates(key)]
        self.begun.pop()

    @property
    def n_faces(self) -> int:
        """Complete faces."""
        return len(self.table.faces)

    @property
    def slot(self) -> int:
        """The vertex slot 0..2 that the next coordinate belongs to."""
        return len(self.begun) // 3

    @property
    def partial(self) -> list[int]:
        """The coordinates (z, then y) already written of the vertex begun."""
        return self.begun[3 * self.slot :]

    def key(self, slot: int) -> int:
        """The key of a vertex of the face begun that is complete."""
        z, y, x = self.begun[3 * slot : 3 * slot + 3]
        return (z * self.num_bins + y) * self.num_bins + x

    def coordinates(self, key: int) -> tuple[int, int, int]:
        """(z, y, x) of a key."""
        bins = self.num_bins
        return key // (bins * bins), key // bins % bins, key % bins

    @property
    def last_face(self) -> tuple[int, int, int]:
        """The keys of the last complete face, or (-1, -1, -1)."""
        return self.table.faces[-1] if self.table.faces else NO_FACE

    def lowest(self) -> int:
        """The lowest key that the order allows for the vertex begun: faces increase, v1 and v2 lie above v0."""
        p0, p1, p2 = self.last_face
        if self.slot == 0:
            return max(p0, 0)
        v0 = self.key(0)
        if self.slot == 1:
            return max(v0 + 1, p1) if v0 == p0 else v0 + 1
        return max(v0 + 1, p2 + 1) if (v0, self.key(1)) == (p0, p1) else v0 + 1
