"""A push towards faces that lie on the part of the surface not covered yet.

Masks forbid what no mesh of this surface can contain; guidance only lowers logits, so nothing is forbidden. It is a
function of the surface and the prefix alone, like the masks, and keeps decoding exact. Of every vertex begun it asks:
is v0 the lowest open vertex that can go on (a mistake may leave one open with no face left to make, where a model that
never saw this stays for ever); does the edge v0-v1 lie on the surface; does the triangle lie on
bare surface that faces its way? The end is encouraged when all is covered and discouraged before. Lengths are in bins.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import vertex_keys
from flashmesh_core.mesh.support import DirectionGrid, edge_support, triangle_support
from flashmesh_core.mesh.surface import SurfaceGrid
from flashmesh_core.prefix import Prefix
from flashmesh_core.slices import SurfaceContext

COVER_DISTANCE = 2.0  # bins between a sample and the plane of the face that covers it
COVER_MARGIN = 1.2  # bins that a face covers beyond its edges
COVER_COSINE = 0.5  # of their normals
ENOUGH_COVERED = 0.99  # of the samples: the mesh may end
NEARLY_COVERED = 0.93  # the same where no open vertex can go on, or the last faces covered nothing
IDLE_FACES = 2
MAX_ASKED = 24  # open vertices looked at for one that can go on
MAX_NEAR = 48  # nearest known vertices of which each may make faces
BARE_TOLERANCE = 1  # bins
APART = 2  # bins; a new vertex nearer than this to a known one would be a slip of the pen
LOOSE_SHARE = 0.5  # of the strength: against a new place where a corner or an earlier vertex would do as well


class Guidance:
    """What is bare of the surface, face by face, and the logit bias that follows from it."""

    def __init__(self, context: SurfaceContext, points: np.ndarray, normals: np.ndarray, prefix: Prefix) -> None:
        """`points` (N, 3) in the unit box and their unit `normals` (N, 3) are the samples to be covered."""
        self.context, self.prefix, self.size = context, prefix, context.num_bins
        self.unit, self.normals = points, normals
        self.places = (points + 0.5) * self.size - 0.5  # bin centres are whole numbers
        self.covered = np.zeros(len(points), dtype=bool)
        self.noted = 0
        cells = np.unique(np.clip(np.rint(self.places), 0, self.size - 1).astype(np.int64), axis=0)
        self.loose_M3 = cells[np.argsort(vertex_keys(cells, self.size))]
        self.taken = np.zeros((self.size,) * 3, dtype=bool)  # places too near a known vertex for a new one, z, y, x
        self._take(self._bins(context.corner_keys))
        self._look_at_bare()
        self.valid: list[np.ndarray] = []
        self.is_dead = False  # no open vertex can go on
        self.idle_faces = 0  # at the end of the prefix, that covered no sample

    def bias(self, strength: float) -> np.ndarray:
        """What to add to the logits of the next token, (num_bins + 1,) float32 in [-`strength`, 0]."""
        self._note_faces()
        prefix = self.prefix
        if not prefix.partial:
            self.valid = self._valid_vertices()
        good = np.zeros((len(self.valid), self.size + 1), dtype=bool)
        for row, bins in zip(good, self.valid, strict=True):
            keep = np.ones(len(bins), dtype=bool)
            for coordinate, axis in zip(prefix.partial, (2, 1), strict=False):
                keep &= bins[:, axis] == coordinate
            row[bins[keep, 2 - len(prefix.partial)]] = True
        share = np.ones(self.size + 1, dtype=np.float32)
        if len(good):
            share[good[1]] = LOOSE_SHARE if good[0].any() else 0.0
            share[good[0]] = 0.0
        if not prefix.begun:
            stuck = self.is_dead or self.idle_faces >= IDLE_FACES
            finished = self.covered.mean() >= (NEARLY_COVERED if stuck else ENOUGH_COVERED)
            share = np.where(finished, np.float32(1.0), share)
            share[-1] = 0.0 if finished else 1.0
        return np.float32(-strength) * share.astype(np.float32)

    def _bins(self, keys: np.ndarray) -> np.ndarray:
        size = self.size
        return np.stack([keys % size, keys // size % size, keys // size**2], axis=1).astype(np.int64)

    def _look_at_bare(self) -> None:
        bare = ~self.covered
        self.any_bare = bool(bare.any())
        if self.any_bare:
            self.bare_grid = SurfaceGrid(self.unit[bare], self.size, BARE_TOLERANCE)
            self.bare_directions = DirectionGrid(self.unit[bare], self.normals[bare], self.size)

    def _note_faces(self) -> None:
        faces = self.prefix.table.faces
        if self.noted == len(faces):
            return
        for face in faces[self.noted :]:
            corners = self._bins(np.array(face))
            before = int(self.covered.sum())
            self._take(corners)
            self._cover(corners.astype(np.float64))
            self.idle_faces = self.idle_faces + 1 if int(self.covered.sum()) == before else 0
        self.noted = len(faces)
        self._look_at_bare()

    def _take(self, bins_M3: np.ndarray) -> None:
        """Leave the places around known vertices to those vertices."""
        for x, y, z in bins_M3.tolist():
            low = [max(c - APART, 0) for c in (z, y, x)]
            self.taken[low[0] : z + APART + 1, low[1] : y + APART + 1, low[2] : x + APART + 1] = True

    def _cover(self, corners: np.ndarray) -> None:
        """Mark the samples that lie on a face (3, 3) and face its way."""
        low, high = corners.min(axis=0) - COVER_DISTANCE, corners.max(axis=0) + COVER_DISTANCE
        near = np.flatnonzero(((self.places >= low) & (self.places <= high)).all(axis=1) & ~self.covered)
        a, e1, e2 = corners[0], corners[1] - corners[0], corners[2] - corners[0]
        normal = np.cross(e1, e2)
        area = float(np.linalg.norm(normal))
        if area < 1e-9 or not len(near):
            return
        normal /= area
        offset = self.places[near] - a
        u = np.cross(offset, e2) @ normal / area
        v = np.cross(e1, offset) @ normal / area
        margin = COVER_MARGIN * max(float(np.linalg.norm(e1)), float(np.linalg.norm(e2))) / area
        inside = (u >= -margin) & (v >= -margin) & (u + v <= 1.0 + margin)
        close = np.abs(offset @ normal) <= COVER_DISTANCE
        alike = self.normals[near] @ normal >= COVER_COSINE
        self.covered[near[inside & close & alike]] = True

    def _valid_vertices(self) -> list[np.ndarray]:
        """Vertices that the face begun may well take: first known ones, then the samples' own places."""
        prefix, size = self.prefix, self.size
        if not self.any_bare:
            return []
        lowest = prefix.lowest()
        known = np.union1d(np.fromiter(prefix.table.degree, dtype=np.int64), self.context.corner_keys)
        known_M3 = self._bins(known[known >= lowest])
        first = int(np.searchsorted(self.loose_M3[:, 2], lowest // (size * size)))
        loose_M3 = self.loose_M3[first:]
        loose_M3 = loose_M3[~self.taken[loose_M3[:, 2], loose_M3[:, 1], loose_M3[:, 0]]]
        if prefix.slot == 0:
            live = self._first_live(known)
            self.is_dead = live is None and bool(prefix.table.open_vertices)
            fresh = np.setdiff1d(self.context.corner_keys, np.fromiter(prefix.table.degree, dtype=np.int64))
            fresh = fresh[(fresh >= lowest) & (fresh < (size**3 if live is None else live))]
            if live is not None:
                loose_M3 = loose_M3[loose_M3[:, 2] < live // (size * size)]
            exact = fresh if live is None else np.append(fresh, live)
            return [self._bins(exact), loose_M3]
        if prefix.slot == 1:
            along = np.concatenate([known_M3[self._edges(known_M3)], loose_M3[self._edges(loose_M3)]])
            return [self._bins(self._live_v1(prefix.key(0), known)), along]
        return [known_M3[self._triangles(known_M3)], loose_M3[self._triangles(loose_M3)]]

    def _first_live(self, known: np.ndarray) -> int | None:
        """The lowest open vertex from which a face over known vertices may still grow onto bare surface, or None."""
        p0 = self.prefix.last_face[0]
        asked = [vertex for vertex in self.prefix.table.open_vertices if vertex >= p0][:MAX_ASKED]
        return next((vertex for vertex in asked if len(self._live_v1(vertex, known))), None)

    def _live_v1(self, v0: int, known: np.ndarray) -> np.ndarray:
        """Known v1 that with some known v2 make a face on bare surface, in order and of unused edges; keys, sorted."""
        table = self.prefix.table
        p0, p1, p2 = self.prefix.last_face
        near = known[known > v0]
        if len(near) > MAX_NEAR:
            distance = np.abs(self._bins(near) - self._bins(np.array([v0]))).max(axis=1)
            near = np.sort(near[np.argpartition(distance, MAX_NEAR)[:MAX_NEAR]])
        bins = self._bins(near)
        origin = np.repeat(self._bins(np.array([v0])), len(near), axis=0)
        along = edge_support(self.context.support_grid, origin, bins) >= 1.0
        near, bins, origin = near[along], bins[along], origin[along]
        first, second = np.nonzero(~np.eye(len(near), dtype=bool))
        banned1 = np.isin(near, list(table.v1_banned(v0)))
        banned2 = np.isin(near, list(table.before.get(v0, ())))
        legal = ~banned1[first] & ~banned2[second]
        if v0 == p0:
            legal &= (near[first] > p1) | ((near[first] == p1) & (near[second] > p2))
        first, second = first[legal], second[legal]
        triangles = np.stack([origin[first], bins[first], bins[second]], axis=1)
        return near[np.unique(first[self._triangles_are_bare(triangles)])]

    def _edges(self, bins_M3: np.ndarray) -> np.ndarray:
        v0 = np.repeat(self._bins(np.array([self.prefix.key(0)])), len(bins_M3), axis=0)
        return edge_support(self.context.support_grid, v0, bins_M3) >= 1.0

    def _triangles(self, bins_M3: np.ndarray) -> np.ndarray:
        begun = self._bins(np.array([self.prefix.key(0), self.prefix.key(1)]))
        triangles = np.concatenate([np.repeat(begun[None], len(bins_M3), axis=0), bins_M3[:, None]], axis=1)
        return self._triangles_are_bare(triangles)

    def _triangles_are_bare(self, triangles: np.ndarray) -> np.ndarray:
        """Whether triangles (M, 3, 3) lie on surface that is bare and faces their way, (M,) bool."""
        share, alike = triangle_support(self.context.support_grid, self.bare_directions, triangles)
        bare, _ = triangle_support(self.bare_grid, None, triangles)
        return (share >= 1.0) & alike & (bare >= 0.5)
