"""A large surface thinned in blocks, by several threads, before its edges are collapsed in one queue.

Edges go in the order of what they cost, and those at different places do not ask for each other. So each block goes up
to one price, then to a higher one, while many faces are left: what is left is, but for the rims of the blocks, which
wait, what one queue would have left. A block fits the caches of a core.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from flashmesh_core.jit import njit
from flashmesh_core.surface.adjacency import COMPILED, compact, face_geometry
from flashmesh_core.surface.collapse import FACES, QUEUED, Collapse, collapse, start_collapse
from flashmesh_core.surface.threads import awaited

LARGE = 400_000  # faces from which a surface is thinned
BLOCK = 32_768  # faces of a block at most
LEFT = 100_000  # faces at which it ends, and so do those at the rims of the blocks
DEARER = 4.0  # times what the edges of one round cost at most, those of the next may
LEAST = 1e-30  # price of the first round at the least

Report = Callable[[int], None]  # told how many faces are left; it may raise to cancel


class Thinned(NamedTuple):
    """A mesh whose edges go on collapsing: what `start_collapse` takes."""

    vertices: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3) int32
    quadrics: np.ndarray  # (V, 14)
    sides: np.ndarray  # (F, 3) normals of the faces at first


class Block(NamedTuple):
    """A part of a mesh being simplified."""

    own: np.ndarray  # the vertices of the mesh that are its, in their order
    state: Collapse


def start_thinned(
    vertices: np.ndarray,
    faces: np.ndarray,
    quadrics: np.ndarray,
    seed: int,
    *,
    count: int,
    sides: np.ndarray | None = None,
    staying: float = 0.0,
    far: float,
    report: Report,
) -> Collapse:
    """What `start_collapse` makes of a mesh, which is thinned before if it is large; `count` faces are wanted at most.

    `quadrics` are changed then. A count near LEFT could be missed: the mesh stays as it is.
    """
    begin = partial(start_collapse, seed=seed, staying=staying, far=far)
    if len(faces) <= LARGE or count > LEFT // 4:
        return begin(vertices, faces, quadrics, sides=sides)
    report(len(faces))
    normals, _, centers = face_geometry(vertices, faces)
    blocks = blocks_of(centers)
    report(len(faces))
    mesh = thinned(Thinned(vertices, faces, quadrics, normals if sides is None else sides), blocks, begin, report)
    return begin(mesh.vertices, mesh.faces, mesh.quadrics, sides=mesh.sides)


def blocks_of(centers: np.ndarray) -> list[np.ndarray]:
    """The faces of each block, by their centers (F, 3): the leaves of a tree, in the order of their faces."""
    nodes, leaves = [cKDTree(centers, leafsize=BLOCK).tree], []
    while nodes:
        node = nodes.pop()
        if node.split_dim < 0:
            leaves.append(np.sort(node.indices))
        else:
            nodes += [node.lesser, node.greater]
    return leaves


def thinned(mesh: Thinned, blocks: list[np.ndarray], begin: Callable[..., Collapse], report: Report) -> Thinned:
    """The mesh with about LEFT faces and those at the rims of its blocks, which stay."""
    label = np.empty(len(mesh.faces), dtype=np.int32)
    for number, rows in enumerate(blocks):
        label[rows] = number
    held, at_rims = _held(mesh.faces, label, len(mesh.vertices))

    def started(rows: np.ndarray) -> Block:
        used, faces = compact(mesh.faces[rows], len(mesh.vertices))
        state = begin(mesh.vertices[used], faces, mesh.quadrics[used], sides=mesh.sides[rows], held=held[used])
        return Block(np.flatnonzero(used), state)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            made = _each(pool, started, blocks, lambda: report(len(mesh.faces)))
            _run_to(LEFT + at_rims, [block.state for block in made], pool, report)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return _joined(mesh, made)


def _run_to(target: int, states: list[Collapse], pool: ThreadPoolExecutor, report: Report) -> None:
    """Collapse all blocks up to one price after the other until `target` faces are left in all, or nothing can go."""

    def left() -> int:
        return int(sum(state.numbers[FACES] for state in states))

    prices = [np.median(state.cost[: state.numbers[QUEUED]]) for state in states if state.numbers[QUEUED]]
    price = max(float(np.median(prices)), LEAST) if prices else LEAST
    while left() > target and any(state.numbers[QUEUED] for state in states):
        _each(pool, partial(_up_to, price), states, lambda: report(left()))
        price *= DEARER


def _up_to(price: float, state: Collapse) -> None:
    collapse(state, 0, len(state.cost), price)


def _each(pool: ThreadPoolExecutor, make: Callable, of: Iterable, tell: Callable[[], None]) -> list:
    """What `make` returns for each, made in threads; `tell()` is called now and then."""
    started = [pool.submit(make, one) for one in of]
    return [awaited(one, tell) for one in started]


def _joined(mesh: Thinned, blocks: list[Block]) -> Thinned:
    """What the blocks have left, in one."""
    vertices = mesh.vertices.copy()
    for own, state in blocks:
        vertices[own], mesh.quadrics[own] = state.positions, state.quadrics
    faces = np.concatenate([own[state.faces[state.alive]] for own, state in blocks])
    sides = np.concatenate([state.sides[state.alive] for _, state in blocks])
    used, faces = compact(faces.astype(np.int32), len(vertices))
    return Thinned(vertices[used], faces, mesh.quadrics[used], sides)


@njit(**COMPILED)
def _held(faces, label, n_vertices):
    """The vertices (V,) of several blocks, `label` (F,) naming that of a face; and how many faces have two or more."""
    first, held = np.full(n_vertices, -1, dtype=np.int32), np.zeros(n_vertices, dtype=np.bool_)
    for f in range(len(faces)):
        for k in range(3):
            v = faces[f, k]
            if first[v] < 0:
                first[v] = label[f]
            elif first[v] != label[f]:
                held[v] = True
    count = 0
    for f in range(len(faces)):
        if held[faces[f, 0]] + held[faces[f, 1]] + held[faces[f, 2]] > 1:
            count += 1
    return held, count
