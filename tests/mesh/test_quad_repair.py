"""Triangles left over beside quads: vertices go, edges are cut; the mesh stays whole, and in its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.quad_shapes import quad_cost
from flashmesh_core.mesh.quads import MORE_AT_LEAST, MORE_FACES, Quads, deviation, plan_quads
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.mesh.topology import topology_report

from .shapes import box, torus

Corners = frozenset[int]


def carried_out(faces: np.ndarray, count: int, plan: Quads) -> set[Corners]:
    """The triangles as sets of corners once a plan's steps are done, one by one and with no other code."""
    now = [frozenset(face) for face in faces.tolist()]
    for kind, a, b in plan.steps:
        beside = [face for face in now if {a, b} <= face]
        now = [face for face in now if not {a, b} <= face]
        assert len(beside) == 2
        tips = [next(iter(face - {a, b})) for face in beside]
        if kind == "turn":
            now += [frozenset([*tips, end]) for end in (a, b)]
        elif kind == "cut":
            now += [frozenset([count, tip, end]) for tip in tips for end in (a, b)]
        else:
            reached = b if kind == "join" else count
            now = [frozenset(reached if corner in (a, b) else corner for corner in face) for face in now]
        count += kind in ("cut", "merge")
    assert all(len(face) == 3 for face in now) and len(set(now)) == len(now)
    return set(now)


def share(plan: Quads) -> float:
    """The share of quads among all faces."""
    return len(plan.joints) / (len(plan.faces) - len(plan.joints))


def corners_of_quads(plan: Quads) -> list[list[int]]:
    """The four corners of each quad, cut from the first to the third."""
    owner = {(face[k - 1], face[k]): face for face in plan.faces.tolist() for k in range(3)}
    quads = []
    for a, b in plan.joints.tolist():
        tips = [next(c for c in owner[edge] if c not in edge) for edge in ((a, b), (b, a))]
        quads.append([a, tips[1], b, tips[0]])
    return quads


def cut_at_random(vertices: np.ndarray, faces: np.ndarray, cuts: int, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    """The same surface with `cuts` vertices more, in the middle of its edges."""
    for _ in range(cuts):
        face = faces[rng.integers(len(faces))]
        a, b = face[0], face[1]
        rows = [k for k, one in enumerate(faces.tolist()) if a in one and b in one]
        new = len(vertices)
        vertices = np.concatenate([vertices, [vertices[[a, b]].mean(axis=0)]])
        halves = [np.where(faces[row] == end, new, faces[row]) for row in rows for end in (a, b)]
        faces = np.concatenate([np.delete(faces, rows, axis=0), halves])
    return vertices, faces


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float((np.cross(a, b) * c).sum() / 6.0)


@pytest.mark.parametrize("seed", range(5))
def test_vertices_that_a_box_does_not_need_go(seed: int) -> None:
    vertices, faces = cut_at_random(*box((2.0, 1.0, 0.7)), cuts=5, rng=np.random.default_rng(seed))
    plan = plan_quads(vertices, faces)
    assert share(plan) == 1.0 and len(plan.faces) <= len(faces)
    assert volume(plan.vertices, plan.faces) == pytest.approx(1.4)


def prism(sides: int) -> tuple[np.ndarray, np.ndarray]:
    """A regular prism, its caps cut in fans."""
    angle = 2.0 * np.pi * np.arange(sides) / sides
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    vertices = np.concatenate([np.c_[ring, np.full(sides, z)] for z in (-0.6, 0.6)])
    around = [(k, (k + 1) % sides) for k in range(sides)]
    walls = [face for a, b in around for face in ((a, b, sides + b), (a, sides + b, sides + a))]
    caps = [face for k in range(1, sides - 1) for face in ((0, k + 1, k), (sides, sides + k, sides + k + 1))]
    return vertices, np.array(walls + caps)


def test_a_prism_of_five_sides_is_cut_through() -> None:
    """Its caps have three triangles each: a wall is cut in two, and so are the caps."""
    vertices, faces = prism(5)
    plan = plan_quads(vertices, faces)
    assert share(plan) == 1.0 and len(plan.faces) == len(faces) + 4
    assert [step[0] for step in plan.steps].count("cut") == 2
    assert volume(plan.vertices, plan.faces) == pytest.approx(volume(vertices, faces))


def test_a_triangle_stays_where_nothing_else_would_do() -> None:
    """The caps of a prism of three sides are triangles."""
    vertices, faces = prism(3)
    plan = plan_quads(vertices, faces)
    assert len(plan.joints) == 3 and len(plan.faces) == 8 and not plan.steps


def test_the_surface_that_a_mesh_follows_tells_what_may_go() -> None:
    """A box whose upper corners are cut off, a little: without the box's own surface they stay."""
    vertices, faces = box((2.0, 1.0, 0.7))
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    corner = int(np.flatnonzero((vertices == high).all(axis=1))[0])
    beside = [int(np.flatnonzero((vertices == high * sign).all(axis=1))[0]) for sign in ([-1, 1, 1], [1, -1, 1])]
    kept = faces[[corner not in face for face in faces.tolist()]]
    assert len(beside) == 2 and len(kept) < len(faces)
    size, new = 0.02, len(vertices)
    cut = high - size * np.eye(3)  # one vertex along each of the corner's three edges
    ring = {}
    for face in faces.tolist():
        if corner in face:
            k = face.index(corner)
            ring[face[(k + 1) % 3]] = face[(k + 2) % 3]
    edges = {int(v): int(np.abs(vertices[v] - high).argmax()) for v in ring if (vertices[v] != high).sum() == 1}
    rows = {v: new + axis for v, axis in edges.items()}
    made, at = [], next(iter(edges))
    for _ in range(len(ring)):
        after = ring[at]
        here = rows.get(at)
        if here is not None:
            beyond, between = after, []
            while beyond not in rows:
                between.append(beyond)
                beyond = ring[beyond]
            path = [at, *between, beyond]
            made += [(here, path[k], path[k + 1]) for k in range(len(path) - 1)] + [(here, beyond, rows[beyond])]
        at = after
    start = next(iter(edges))
    order, at = [rows[start]], ring[start]
    while at != start:
        order += [rows[at]] if at in rows else []
        at = ring[at]
    bevelled = np.concatenate([kept, made, [order]])
    whole = np.concatenate([vertices, cut])

    def nearest(points: np.ndarray) -> np.ndarray:
        """On the box, for points in it or on it."""
        inside, rows = np.clip(points, low, high), np.arange(len(points))
        wall = np.concatenate([inside - low, high - inside], axis=1).argmin(axis=1)
        inside[rows, wall % 3] = np.where(wall < 3, low[wall % 3], high[wall % 3])
        return inside

    assert topology_report(whole, bevelled).is_watertight
    alone, plan = plan_quads(whole, bevelled), plan_quads(whole, bevelled, nearest=nearest)
    assert share(alone) < 1.0 and share(plan) == 1.0


@st.composite
def bumpy(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A closed mesh with vertices off their places and some in the middle of edges."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    make = draw(
        st.sampled_from([box, lambda: torus(rings=8, sides=6), lambda: prism(7), lambda: torus(rings=5, sides=4)])
    )
    vertices, faces = make()
    vertices, faces = cut_at_random(vertices, faces, draw(st.integers(0, 8)), rng)
    return vertices + rng.normal(scale=draw(st.sampled_from([0.0, 1e-3, 1e-2])), size=vertices.shape), faces


@settings(max_examples=10, deadline=None)
@given(bumpy())
def test_any_mesh_stays_closed_and_in_its_place(mesh: tuple[np.ndarray, np.ndarray]) -> None:
    vertices, faces = mesh
    plan = plan_quads(vertices, faces)
    report = topology_report(plan.vertices, plan.faces)
    assert report.is_watertight and report.n_flipped_faces == 0 and report.nonmanifold_edge_ratio == 0.0
    assert report.n_components == topology_report(vertices, faces).n_components
    used = np.unique(plan.faces)
    assert len(used) - report.n_edges + len(plan.faces) == len(vertices) - 3 * len(faces) // 2 + len(faces)
    assert carried_out(faces, len(vertices), plan) == {frozenset(face) for face in plan.faces.tolist()}
    assert len(plan.faces) <= len(faces) + max(MORE_FACES * len(faces), MORE_AT_LEAST)

    for (v, f), (w, g) in (
        ((vertices, faces), (plan.vertices, plan.faces)),
        ((plan.vertices, plan.faces), (vertices, faces)),
    ):
        points = sample_surface(v, f, 2_000, np.random.default_rng(0)).points
        far = TriangleTree.of_mesh(w, g).distance(points).max()
        assert far <= deviation(vertices, faces)
    for quad in corners_of_quads(plan):
        assert quad_cost([tuple(plan.vertices[corner].tolist()) for corner in quad]) is not None
    assert share(plan) >= share_of_pairs(vertices, faces)


def share_of_pairs(vertices: np.ndarray, faces: np.ndarray) -> float:
    """The share of quads where all edges are kept but those that pairs share."""
    from .test_quads import joints_of, paired

    count = len(joints_of(paired(vertices, faces)))
    return count / (len(faces) - count)


def test_materials_and_hard_edges_keep_their_places() -> None:
    """A flat square in two materials, with a hard line through it: areas and the line are what they were."""
    n = 6
    x, y = (part.ravel() for part in np.meshgrid(np.arange(n) / (n - 1), np.arange(n) / (n - 1)))
    rng = np.random.default_rng(3)
    inner = (x > 0) & (x < 1) & (y > 0) & (y < 1) & (x != 0.4)
    vertices = np.stack([x + inner * rng.uniform(-0.05, 0.05, n * n), y, 0.0 * x], axis=1)
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([[(c, c + 1, c + n), (c + 1, c + n + 1, c + n)] for c in corner])[3:]
    groups = (vertices[faces].mean(axis=1)[:, 0] > 0.4).astype(np.int64)
    kept = np.array([(n * k + 4, n * k + n + 4) for k in range(n - 1)])
    plan = plan_quads(vertices, faces, groups, kept)
    left = plan.vertices[plan.faces].mean(axis=1)[:, 0] < 0.4
    areas = [
        np.cross(*(v[f[:, k]] - v[f[:, 0]] for k in (1, 2)))[:, 2] / 2.0
        for v, f in ((vertices, faces), (plan.vertices, plan.faces))
    ]
    assert areas[1][left].sum() == pytest.approx(areas[0][groups == 0].sum(), abs=1e-9)
    lines = plan.vertices[plan.joints]
    assert not (np.ptp(lines[..., 0], axis=1) < 1e-9).any() or not np.isclose(lines[..., 0], 0.4).all(axis=1).any()
