"""One side for all normals of a cloud: patches by the neighbour graph, patches by their fields, then outwards."""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.topology import component_labels
from flashmesh_core.surface.point_normals import COMPILED
from flashmesh_core.surface.visibility import openness

GRAPH_NEIGHBOURS = 10
SURE = 0.95  # agreement of a pair that joins its points in a patch
ALIKE, OFF_PLANE = 0.95, 0.25  # cosine, and share of the distance to the last neighbor, up to which one is on a plane
SMALL = 1e-3  # share of the points below which a patch joins others by less
DIPOLE_CELL = 0.03  # points of a patch within such a cell are one dipole
MAX_PATCHES = 600
SWEEPS = 4000  # of annealing
COUPLED = 0.1  # coupling of two pieces, per area of the smaller, above which they are sides of one body
SEEN = 300.0  # what an area seen from outside alone weighs, against the fields
UNSEEN = 0.1  # share of a piece below which its volume tells its sides
CONFLICT = 8.0  # samples seen from outside on both of two patches whose sides contradict each other: not joined
_EDGE_WEIGHT = 1.8  # of a pair of neighbours against the fields, in units of the spacing


def orient(
    points: np.ndarray,
    normals: np.ndarray,
    nearest: np.ndarray,
    areas: np.ndarray,
    gap: float,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """Signs (N,) of +1 and -1 that make unit `normals` (N, 3) agree over the neighbours `nearest` (N, k), outwards.

    Signs spread along the minimum spanning tree, surest pairs first, by the reflection rule of Koenig and Gumhold
    (2009), until only unsure pairs are left, and never join what is seen from outside with what is seen from
    behind. The patches so found are then flipped, one by one and together, while that lowers the energy of the field
    of their double layers, which is least where neighbours agree and closed surfaces close (the rule of Metzer et al.
    2021), and while more of them is seen from outside. Pieces that neither tells face so that they enclose a positive
    volume. Samples that are `known` (N,) to face out keep their side.
    """
    near = np.ascontiguousarray(nearest[:, :GRAPH_NEIGHBOURS])
    agreement, flat = _agreements(points, normals, near)
    agreement = agreement.ravel()
    order = np.argsort(-np.abs(agreement), kind="stable")
    seen = openness(points, normals, gap)
    if known is not None:
        seen = np.where(known, 1.0, seen)
    patch, sign, count = _spread(near, agreement, flat, order, int(SMALL * len(points)), seen)
    merges, merge_signs = _merges(near, agreement, order, patch, sign, count)
    piece = component_labels(count, merges)
    if count <= MAX_PATCHES:
        coupling = _edge_votes(near, agreement, patch, sign, count) * (_EDGE_WEIGHT * gap)
        coupling = coupling + coupling.T + _field_coupling(points, normals * sign[:, None], areas, patch, count)
        np.fill_diagonal(coupling, 0.0)
        # One more patch, the outside, that holds each by how much it is seen from there.
        votes = 0.5 * SEEN * np.bincount(patch, areas * seen * sign, minlength=count)
        held = np.block([[coupling, votes[:, None]], [votes[None], np.zeros((1, 1))]])
        starts = (np.append(_follow(count, merges, merge_signs), 1.0), _annealed(held))
        branches = np.pad(_branches(count, merges), ((0, 0), (0, 1)))
        signs = max((_settle(held, branches, start) for start in starts), key=lambda s: float(s @ held @ s))
        signs = signs[:-1] * signs[-1]
        sign *= signs[patch]
        piece = _nested(piece, coupling * np.outer(signs, signs), np.bincount(patch, areas, minlength=count))
    elif count > 1:
        sign *= _follow(count, merges, merge_signs)[patch]
    sign = sign * _outwards(points, normals * sign[:, None], piece[patch], areas, seen * sign)
    return sign if known is None else np.where(known, 1.0, sign)


def _outwards(
    points: np.ndarray, normals: np.ndarray, piece: np.ndarray, areas: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """+1 or -1 a sample (N,), the same all over a `piece` (N,): by where it is seen from, else by its volume."""
    total = np.maximum(np.bincount(piece, areas), 1e-300)
    share = np.bincount(piece, areas * seen) / total
    return np.where(np.abs(share) > UNSEEN, np.sign(share), outward_signs(points, normals, piece))[piece]


def outward_signs(points: np.ndarray, normals: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """+1 or -1 a piece: by the divergence theorem, the sign of the volume that it encloses."""
    count = int(piece.max()) + 1
    size = np.maximum(np.bincount(piece, minlength=count), 1)
    flux = np.zeros(count)
    for axis in range(3):
        center = np.bincount(piece, points[:, axis], minlength=count) / size
        flux += np.bincount(piece, (points[:, axis] - center[piece]) * normals[:, axis], minlength=count)
    return np.where(flux < 0.0, -1.0, 1.0)


def _nested(piece: np.ndarray, coupling: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Pieces (P,) of patches, those as one whose fields hold each other: the inner and the outer side of a vessel."""
    count = int(piece.max()) + 1
    member = np.zeros((count, len(piece)))
    member[piece, np.arange(len(piece))] = 1.0
    area = member @ areas
    held = member @ coupling @ member.T > COUPLED * np.minimum(area[:, None], area)
    np.fill_diagonal(held, False)
    return component_labels(count, np.argwhere(held))[piece]


def _follow(count: int, merges: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Signs (P,) of the patches by the spanning tree's own `merges` (M, 2) of patches."""
    result = np.ones(count)
    group = [[patch] for patch in range(count)]
    where = np.arange(count)
    for (a, b), sign in zip(merges, signs, strict=True):
        keep, gone = where[a], where[b]
        if len(group[keep]) < len(group[gone]):
            keep, gone = gone, keep
        flip = sign * result[a] * result[b]
        result[group[gone]] *= flip
        where[group[gone]] = keep
        group[keep] += group[gone]
        group[gone] = []
    return result


def _field_coupling(
    points: np.ndarray, normals: np.ndarray, areas: np.ndarray, patch: np.ndarray, count: int
) -> np.ndarray:
    """How much each pair of patches wants to keep its signs, (P, P): the interaction of their dipoles."""
    cells = np.floor((points + 0.5) / DIPOLE_CELL).astype(np.int64) + 1
    key = ((patch * 64 + cells[:, 0]) * 64 + cells[:, 1]) * 64 + cells[:, 2]
    _, owner = np.unique(key, return_inverse=True)
    owner = owner.reshape(-1)
    total = np.bincount(owner, areas)
    places = np.stack([np.bincount(owner, areas * points[:, axis]) / total for axis in range(3)], axis=1)
    moments = np.stack([np.bincount(owner, areas * normals[:, axis]) for axis in range(3)], axis=1)
    patches = np.zeros(len(total), dtype=np.int64)
    patches[owner] = patch
    result = np.zeros((count, count))
    _add_dipoles(places, moments, patches, (0.7 * DIPOLE_CELL) ** 2, result)
    return result + result.T


def _branches(count: int, merges: np.ndarray) -> np.ndarray:
    """Groups of patches that may be flipped together (G, P), 0 or 1: each patch, and each branch of the tree."""
    branches, where = [np.eye(count, dtype=np.float64)], list(range(count))
    members: list[np.ndarray] = list(branches[0])
    for a, b in merges:
        while where[a] != a:
            a = where[a]
        while where[b] != b:
            b = where[b]
        members[a] = members[a] + members[b]
        where[b] = a
        branches.append(members[a][None])
    return np.concatenate(branches)


def _settle(coupling: np.ndarray, groups: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Signs (P,) after flipping single patches and `groups` (G, P) of them while `coupling` gains by it."""
    for _ in range(len(coupling)):
        _flip_single(coupling, signs)
        signed = groups * signs
        # Minus the coupling across a group's border is what flipping it gains.
        gain = np.einsum("gp,gp->g", signed @ coupling, signed) - signed @ (coupling @ signs)
        best = int(np.argmax(gain))
        if gain[best] <= 1e-12:
            break
        signs = np.where(groups[best] > 0.0, -signs, signs)
    return signs


def _annealed(coupling: np.ndarray) -> np.ndarray:
    """Signs (P,) of nearly the largest sum of `coupling`, by simulated annealing; always the same."""
    rng = np.random.default_rng(0)
    chances = rng.random((SWEEPS, len(coupling)))
    signs = rng.choice([-1.0, 1.0], len(coupling))
    hottest = max(float(np.abs(coupling).sum(axis=1).max()), 1e-12)
    _anneal(coupling, signs, chances, hottest * np.geomspace(1.0, 1e-4, SWEEPS))
    return signs


@njit(**COMPILED)
def _anneal(coupling, signs, chances, temperatures):
    field = coupling @ signs
    for sweep in range(len(chances)):
        for i in range(len(signs)):
            loss = 2.0 * field[i] * signs[i]
            if loss <= 0.0 or chances[sweep, i] < np.exp(-loss / temperatures[sweep]):
                signs[i] = -signs[i]
                field += 2.0 * signs[i] * coupling[i]


@njit(**COMPILED)
def _flip_single(coupling, signs):
    """Flips single patches, the one that gains most first, while any does."""
    field = coupling @ signs
    for _ in range(10 * len(signs)):
        worst = np.argmin(field * signs)
        if field[worst] * signs[worst] >= -1e-12:
            break
        signs[worst] = -signs[worst]
        field += 2.0 * signs[worst] * coupling[worst]


@njit(**COMPILED)
def _agreements(points, normals, nearest):
    """How well n_i agrees with n_j reflected in the mid-plane of the pair, (N, k), -1 to 1, and who is on a flat part.

    A point is, (N,), if all its neighbors have its normal, up to sign, and lie on its plane.
    """
    result, flat = np.empty(nearest.shape, dtype=np.float32), np.empty(len(points), dtype=np.bool_)
    for i in range(len(points)):
        last = nearest[i, nearest.shape[1] - 1]
        reach = np.sqrt(((points[last] - points[i]) ** 2).sum())
        flat[i] = True
        for j in range(nearest.shape[1]):
            q = nearest[i, j]
            length = lean_i = lean_j = dot = 0.0
            for axis in range(3):
                along = points[q, axis] - points[i, axis]
                length += along * along
                lean_i += along * normals[i, axis]
                lean_j += along * normals[q, axis]
                dot += normals[i, axis] * normals[q, axis]
            result[i, j] = dot - 2.0 * lean_i * lean_j / max(length, 1e-300)
            flat[i] &= abs(dot) >= ALIKE and abs(lean_i) <= OFF_PLANE * reach
    return result, flat


@njit(**COMPILED)
def _find(parent, parity, i):
    """The root of i and i's sign relative to it; the path is halved."""
    sign = 1
    while parent[i] != i:
        up = parent[i]
        parity[i] *= parity[up]
        parent[i] = parent[up]
        sign *= parity[i]
        i = parent[i]
    return i, sign


@njit(**COMPILED)
def _spread(nearest, agreement, flat, order, small, seen):
    """Kruskal's tree with signs; `order` of pairs, surest first.

    Returns the patch (N,) and the sign (N,) of every point, joined by pairs of agreement SURE on `flat` parts and, as
    long as one side has at most `small` points, by others: sheets that meet at a thin rim stay apart, as do patches
    that are `seen` (N,) from contradicting sides. Then the number of patches.
    """
    n, k = nearest.shape
    parent, parity, size = np.arange(n), np.ones(n, dtype=np.int8), np.ones(n, dtype=np.int64)
    votes = seen.copy()  # of a root's patch, on the root's side
    for strict in (True, False):
        for edge in order:
            i, j = edge // k, nearest[edge // k, edge % k]
            if strict and (abs(agreement[edge]) < SURE or not flat[i] or not flat[j]):
                continue
            a, sign_a = _find(parent, parity, i)
            b, sign_b = _find(parent, parity, j)
            if size[a] < size[b]:
                a, b = b, a
            if a == b or not (strict or size[b] <= small):
                continue
            turn = sign_a * sign_b * (1 if agreement[edge] >= 0.0 else -1)
            if min(abs(votes[a]), abs(votes[b])) > CONFLICT and votes[a] * votes[b] * turn < 0.0:
                continue
            parent[b], parity[b] = a, turn
            size[a] += size[b]
            votes[a] += turn * votes[b]
    patch, sign = np.empty(n, dtype=np.int64), np.empty(n)
    number = np.full(n, -1)
    count = 0
    for i in range(n):
        root, own = _find(parent, parity, i)
        if number[root] < 0:
            number[root] = count
            count += 1
        patch[i], sign[i] = number[root], own
    return patch, sign, count


@njit(**COMPILED)
def _merges(nearest, agreement, order, patch, sign, count):
    """The tree over `count` patches: its merges (M, 2) of two of them, and the relative sign (M,) of each."""
    k = nearest.shape[1]
    parent, parity = np.arange(count), np.ones(count, dtype=np.int8)
    merges, signs = np.empty((max(count - 1, 0), 2), dtype=np.int64), np.empty(max(count - 1, 0))
    n_left = 0
    for edge in order:
        i, j = edge // k, nearest[edge // k, edge % k]
        a, _ = _find(parent, parity, patch[i])
        b, _ = _find(parent, parity, patch[j])
        if a != b:
            parent[b] = a
            merges[n_left, 0], merges[n_left, 1] = patch[i], patch[j]
            signs[n_left] = sign[i] * sign[j] * (1.0 if agreement[edge] >= 0.0 else -1.0)
            n_left += 1
    return merges[:n_left], signs[:n_left]


@njit(**COMPILED)
def _edge_votes(nearest, agreement, patch, sign, count):
    """The sum of the agreements of the pairs between every two patches, (P, P), by the patches' signs."""
    votes = np.zeros((count, count))
    k = nearest.shape[1]
    for i in range(len(nearest)):
        for j in range(k):
            q = nearest[i, j]
            if patch[i] != patch[q]:
                votes[patch[i], patch[q]] += 0.5 * agreement[i * k + j] * sign[i] * sign[q]
    return votes


@njit(**COMPILED)
def _add_dipoles(places, moments, patches, softening, result):
    for i in range(len(places)):
        for j in range(i):
            if patches[i] == patches[j]:
                continue
            x, y, z = places[i, 0] - places[j, 0], places[i, 1] - places[j, 1], places[i, 2] - places[j, 2]
            square = x * x + y * y + z * z + softening
            dot = moments[i, 0] * moments[j, 0] + moments[i, 1] * moments[j, 1] + moments[i, 2] * moments[j, 2]
            along_i = moments[i, 0] * x + moments[i, 1] * y + moments[i, 2] * z
            along_j = moments[j, 0] * x + moments[j, 1] * y + moments[j, 2] * z
            inner = 3.0 * (along_i * along_j + softening * dot) / square  # the field within a smeared dipole as well
            result[patches[i], patches[j]] += (dot - inner) / (square * np.sqrt(square))
