"""Triangles joined in pairs to quads: flat and right-angled pairs first, as many as there can be (numpy only).

What is left over is mended: flat places are cut anew, vertices go that the surface does not need, edges are cut in two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flashmesh_core.mesh.following import Nearest
from flashmesh_core.mesh.pairing import PairedMesh, Step
from flashmesh_core.mesh.plain_vectors import edges_of, in_order
from flashmesh_core.mesh.quad_repair import Repair
from flashmesh_core.mesh.quad_shapes import MAX_ANGLE
from flashmesh_core.mesh.recutting import Recutting

DEVIATION = 5e-3  # how far the surface may move, in longest sides of the mesh
EDGE_DEVIATION = 0.125  # the same in typical edges: where faces are small so is what they show
_LOOKED_AT = 0.8  # of that distance, at the places that are looked at: between them it may be more
MORE_FACES, MORE_AT_LEAST = 0.1, 4  # triangles that may be there more at the end: a share of them, and a number
ATTEMPTS = 4  # the best of these is taken: fewer where there are more than so many triangles
_ATTEMPT_FACES = 800
_TURNS = 300  # edges that are turned at random, in all attempts but the first


@dataclass(frozen=True, eq=False)
class Quads:
    """How triangles become quads: first edges change, one after the other, then the edges `joints` go.

    The `steps` are `("turn", a, b)`, the quad around an edge is cut along its other diagonal; `("join", a, b)`, vertex
    a goes to b, and the two faces between them vanish; `("merge", a, b)`, both go to a new vertex; `("cut", a, b)`, a
    new vertex lies in an edge and is joined to the third corners of its two faces. New vertices are numbered one after
    the other behind the old ones; `vertices` has them all, also those that went.
    """

    steps: list[Step]
    vertices: np.ndarray  # (W, 3) float64
    joints: np.ndarray  # (Q, 2) int64, rows of `vertices`
    faces: np.ndarray  # (F, 3) int64, the triangles before joints go


def plan_quads(
    vertices: np.ndarray, faces: np.ndarray, groups: np.ndarray | None = None, kept: np.ndarray | None = None,
    *, max_angle: float = MAX_ANGLE, nearest: Nearest | None = None,
) -> Quads:  # fmt: skip
    """Quads of the triangles `faces` (F, 3) over `vertices` (V, 3), bent by `max_angle` (radians) at most.

    No quad goes over two `groups` (F,), such as materials, or over `kept` edges (K, 2), and no border changes. The
    surface moves by `deviation` at most; where it comes as near to the one on which `nearest` finds places (N, 3) for
    points (N, 3) it may move there. A mesh that is closed and manifold stays so.
    """
    faces = np.asarray(faces, dtype=np.int64).reshape(-1, 3)
    vertices = np.asarray(vertices, dtype=np.float64).reshape(-1, 3)
    groups = np.zeros(len(faces), dtype=np.int64) if groups is None else np.asarray(groups)
    kept = np.zeros((0, 2), dtype=np.int64) if kept is None else np.asarray(kept).reshape(-1, 2)
    size = float(np.ptp(vertices, axis=0).max(initial=0.0)) if len(vertices) else 0.0
    edges, limit = [(a, b) for a, b in kept.tolist()], _LOOKED_AT * deviation(vertices, faces)
    mesh = PairedMesh(vertices, faces, groups, edges, max_angle=max_angle, limit=limit, nearest=nearest)
    mesh.pair_all()
    recutting = Recutting(mesh, size)
    recutting.run()
    best = _plan(mesh)
    start = mesh.mark()
    for attempt in range(min(ATTEMPTS, 1 + ATTEMPTS * _ATTEMPT_FACES // max(len(faces), 1)) if mesh.left else 0):
        mesh.undo(start)
        _mend(mesh, recutting, Repair(mesh, recutting), len(faces), attempt)
        plan = _plan(mesh)
        if _share(plan) > _share(best):
            best = plan
        if not mesh.left:
            break
    return best


def deviation(vertices: np.ndarray, faces: np.ndarray) -> float:
    """How far the surface of triangles (F, 3) over `vertices` (V, 3) may move, in their unit."""
    if not len(faces):
        return 0.0
    edges = np.linalg.norm(vertices[faces] - vertices[np.roll(faces, -1, axis=1)], axis=2)
    return float(min(DEVIATION * np.ptp(vertices, axis=0).max(), EDGE_DEVIATION * np.median(edges)))


def _mend(mesh: PairedMesh, recutting: Recutting, repair: Repair, count: int, attempt: int) -> None:
    """Changes edges where triangles are left over, of `count` at first."""
    if attempt:
        repair.shuffle(_TURNS, attempt)
    repair.clean()
    if attempt:
        repair.shuffle(_TURNS, attempt)
    recutting.run()
    most = count + max(int(MORE_FACES * count), MORE_AT_LEAST)
    repair.cut((most - len(mesh.faces)) // 2)


def _plan(mesh: PairedMesh) -> Quads:
    joints = [
        in_order(*next(edge for edge in edges_of(mesh.faces[face]) if mesh.owner.get(edge[::-1]) == other))
        for face, other in mesh.partner.items()
        if face < other
    ]
    rows = np.array(list(mesh.places.values()), dtype=np.float64).reshape(-1, 3)
    return Quads(
        list(mesh.steps), rows, np.unique(np.array(joints, dtype=np.int64).reshape(-1, 2), axis=0),
        np.array(list(mesh.faces.values()), dtype=np.int64).reshape(-1, 3),
    )  # fmt: skip


def _share(plan: Quads) -> float:
    """The share of quads among the faces of a plan."""
    return len(plan.joints) / max(len(plan.faces) - len(plan.joints), 1)
