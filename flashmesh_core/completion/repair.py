"""The gate at the end: what the model wrote is held against the proxy mesh and repaired from it, region by region.

Both are sets of triangles over mostly the same vertices. Where they differ, the differing faces fall into regions. The
model's faces of a region stay if they have the same border as the proxy's faces there, and if they lie on the surface
without folds and no more bent than those. Else the proxy's faces take their place, and single faces of the model are
put back by turning edges (insertion.py). As the borders of all regions then agree, the result is closed wherever the
proxy is.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from flashmesh_core.completion.insertion import Face, insert_faces, lie_near
from flashmesh_core.mesh.canonical import key_bins, vertex_keys
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.following import unit_normals
from flashmesh_core.mesh.plain_vectors import Edge, edges_of

TOLERANCE = 0.3  # bins from the proxy at which the model's faces of a region may lie, where there is no noise
MAX_NOISE = 0.3  # bins that noise may add to it
MIN_AREA, MAX_AREA = 0.8, 1.05  # times the area of the proxy's faces of a region; more means folds
MORE_BENT, BENT = 1.1, 0.3  # times as bent as those, and bins more, that the model's faces of a region may be
MORE_FACES, FACES = 0.05, 2  # share of the proxy's faces, or how many, that the result may have more


@dataclass(frozen=True, eq=False)
class Repaired:
    """A repaired mesh: `bins` (F, 3, 3) of its faces, columns x, y, z, and which of them the model wrote, (F,) bool."""

    bins: np.ndarray
    decoded: np.ndarray
    dropped: int  # faces of the model that the proxy's took the place of


@dataclass(eq=False)
class _Region:
    ours: list[Face]
    theirs: list[Face]


def repair(
    written: np.ndarray,
    proxy: np.ndarray,
    positions: dict[int, np.ndarray],
    size: int,
    closing: np.ndarray | None = None,
    noise: float = 0.0,
) -> Repaired:
    """The faces that stand in the end, the model's first.

    `written` (F, 3, 3) and `proxy` (P, 3, 3) are bins of `size` an axis, columns x, y, z; `positions` tells where the
    vertex of a key is, in bins; without one it is at the center of its bin. `closing` (C, 3, 3) are faces that close
    gaps in what was written: with them more regions have the proxy's border. `noise` is the surface's, in bins.
    """
    bins_of: dict[int, np.ndarray] = {}
    model = _faces_of(written, size, bins_of)
    ours = model | (_faces_of(closing, size, bins_of) if closing is not None else {})
    theirs = _faces_of(proxy, size, bins_of)
    positions = {key: bins.astype(np.float64) for key, bins in bins_of.items()} | positions
    common = [face for face in ours if face in theirs]
    regions = _regions([f for f in ours if f not in theirs], [f for f in theirs if f not in ours])
    tree = TriangleTree.of_mesh(*_mesh(list(theirs), positions)) if theirs else None
    tolerance = TOLERANCE + min(noise, MAX_NOISE)
    kept = [region for region in regions if _is_good(region, positions, tree, tolerance)]
    swapped = [region for region in regions if region not in kept]
    _give_up_nonmanifold(kept, swapped, common)
    _give_up_crowded(kept, swapped, max(int(MORE_FACES * len(theirs)), FACES))
    stand = [*common, *(f for region in kept for f in region.ours), *(f for region in swapped for f in region.theirs)]
    if tree is not None and swapped:
        wanted = [face for region in swapped for face in region.ours if face in model]
        stand = insert_faces(stand, wanted, (face for face in stand if face in model), positions, tree, tolerance)
    stand.sort(key=lambda face: face not in model)  # stable: the model's first, in their order
    decoded = np.array([face in model for face in stand], dtype=bool)
    bins = key_bins(np.array(stand, dtype=np.int64).reshape(-1, 3), size).astype(written.dtype)
    return Repaired(bins, decoded, len(written) - int(decoded.sum()))


def _faces_of(bins: np.ndarray, size: int, bins_of: dict[int, np.ndarray]) -> dict[Face, None]:
    """Faces as keys, each from its lowest on, in order and once; those that name a vertex twice left out."""
    faces: dict[Face, None] = {}
    for keys, corners in zip(vertex_keys(bins, size).tolist(), bins, strict=True):
        low = keys.index(min(keys))
        face = (keys[low], keys[(low + 1) % 3], keys[(low + 2) % 3])
        if len(set(face)) == 3:
            faces[face] = None
            bins_of.update(zip(keys, corners, strict=True))
    return faces


def _regions(ours: list[Face], theirs: list[Face]) -> list[_Region]:
    """The differing faces in regions: joined by the edges of a region's inside, parted where two regions meet."""
    faces = [*ours, *theirs]
    parent = list(range(len(faces)))

    def find(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    users: dict[Edge, list[int]] = defaultdict(list)
    for number, face in enumerate(faces):
        for edge in edges_of(face):
            users[edge].append(number)
    for edge, numbers in users.items():
        back = users.get((edge[1], edge[0]), [])
        pairs = [_is_pair(numbers, len(ours)), not back or _is_pair(back, len(ours))]
        for other in numbers[1:] if all(pairs) else [*numbers[1:], *back]:
            parent[find(other)] = find(numbers[0])
    regions: dict[int, _Region] = {}
    for number, face in enumerate(faces):
        region = regions.setdefault(find(number), _Region([], []))
        (region.ours if number < len(ours) else region.theirs).append(face)
    return list(regions.values())


def _is_pair(numbers: list[int], count: int) -> bool:
    """Whether one face of ours (below `count`) and one of theirs use an edge."""
    return len(numbers) == 2 and min(numbers) < count <= max(numbers)


def _border(faces: list[Face]) -> dict[Edge, int]:
    """The directed edges that nothing in `faces` runs against, with how often."""
    border: dict[Edge, int] = defaultdict(int)
    for face in faces:
        for a, b in edges_of(face):
            if a < b:
                border[a, b] += 1
            else:
                border[b, a] -= 1
    return {edge: count for edge, count in border.items() if count}


def _mesh(faces: list[Face], positions: dict[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    vertices = np.array([positions[key] for face in faces for key in face]).reshape(-1, 3)
    return vertices, np.arange(len(vertices)).reshape(-1, 3)


def _is_good(region: _Region, positions: dict[int, np.ndarray], tree: TriangleTree | None, tolerance: float) -> bool:
    """Whether the model's faces may stand for the proxy's."""
    if not region.ours or not region.theirs or tree is None or _border(region.ours) != _border(region.theirs):
        return False
    ours, theirs = (_mesh(faces, positions)[0].reshape(-1, 3, 3) for faces in (region.ours, region.theirs))
    ratio = _area(ours) / max(_area(theirs), 1e-12)
    if not MIN_AREA <= ratio <= MAX_AREA:
        return False
    if _bend(region.ours, ours) > MORE_BENT * _bend(region.theirs, theirs) + BENT:
        return False
    return lie_near(ours, tree, tolerance)


def _bend(faces: list[Face], triangles: np.ndarray) -> float:
    """How bent `faces` with corners `triangles` (F, 3, 3) are, in bins.

    That is the sum of the lengths of the edges between them, each by 1 less the cosine of both normals.
    """
    normals = unit_normals(triangles)
    lengths = np.linalg.norm(np.roll(triangles, -1, axis=1) - triangles, axis=2)
    beside = {edge: (f, k) for f, face in enumerate(faces) for k, edge in enumerate(edges_of(face))}
    return sum(
        float(lengths[f, k] * (1.0 - normals[f] @ normals[beside[b, a][0]]))
        for (a, b), (f, k) in beside.items()
        if a < b and (b, a) in beside
    )


def _area(triangles: np.ndarray) -> float:
    a, b, c = np.moveaxis(triangles, 1, 0)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2.0)


def _give_up_nonmanifold(kept: list[_Region], swapped: list[_Region], common: list[Face]) -> None:
    """Move regions of the model to `swapped` until no directed edge has two faces, if only because of these."""
    while kept:
        uses: dict[Edge, int] = defaultdict(int)
        for face in [*common, *(f for r in kept for f in r.ours), *(f for r in swapped for f in r.theirs)]:
            for edge in edges_of(face):
                uses[edge] += 1
        nonmanifold = [r for r in kept if any(uses[edge] > 1 for face in r.ours for edge in edges_of(face))]
        if not nonmanifold:
            return
        for region in nonmanifold:
            kept.remove(region)
            swapped.append(region)


def _give_up_crowded(kept: list[_Region], swapped: list[_Region], most: int) -> None:
    """Move the model's regions that have the most faces more to `swapped` until all have at most so many more."""
    more = {id(region): len(region.ours) - len(region.theirs) for region in kept}
    while kept and sum(more[id(region)] for region in kept) > most:
        worst = max(kept, key=lambda region: more[id(region)])
        kept.remove(worst)
        swapped.append(worst)
