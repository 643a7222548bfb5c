"""The learned choice of a proxy's vertices: what stays true whatever the network says."""

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface.adjacency import face_geometry, manifold_twins
from flashmesh_core.surface.choice.candidates import INPUTS, RELATION, candidates_of
from flashmesh_core.surface.choice.collapse import Weights, collapsed
from flashmesh_core.surface.choice.features import LOCAL_FEATURES, local_features, shape_of
from flashmesh_core.surface.choice.network import load_choice_network
from flashmesh_core.surface.choice.simplify import chosen_proxy, left_over
from flashmesh_core.surface.reading import read_surface
from flashmesh_core.surface.simplification import rows_of

TETRAHEDRON = Mesh(
    np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]),
)


def ball(rings: int, around: int) -> Mesh:
    """A sphere with poles, 2 * around * rings faces."""
    turn, up = np.arange(around) * 2 * np.pi / around, np.arange(1, rings + 1) * np.pi / (rings + 1)
    ring = np.stack(
        [np.outer(np.sin(up), np.cos(turn)), np.outer(np.sin(up), np.sin(turn)), np.outer(np.cos(up), np.ones(around))],
        axis=-1,
    ).reshape(-1, 3)
    faces = [[0, 2 + k, 2 + (k + 1) % around] for k in range(around)]
    last = 2 + (rings - 1) * around
    faces += [[1, last + (k + 1) % around, last + k] for k in range(around)]
    for r in range(rings - 1):
        for k in range(around):
            a, b = 2 + r * around + k, 2 + r * around + (k + 1) % around
            faces += [[a, a + around, b], [b, a + around, b + around]]
    return Mesh(np.concatenate([[[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]], ring]) / 2.0, np.array(faces))


def sheet(n: int) -> Mesh:
    """A square of (n - 1) * (n - 1) * 2 faces that bends."""
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n), indexing="ij"))
    a = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    faces = np.concatenate([np.stack([a, a + n, a + 1], axis=1), np.stack([a + 1, a + n, a + n + 1], axis=1)])
    return Mesh(np.stack([x, y, 0.2 * np.sin(3 * x)], axis=1), faces)


def stones() -> list[Mesh]:
    """Three balls of 80, 168 and 352 faces, uneven: nothing is as near to one vertex as to another."""
    rng = np.random.default_rng(0)
    balls = (ball(5, 8), ball(7, 12), ball(11, 16))
    return [Mesh(mesh.vertices + rng.normal(0.0, 0.004, mesh.vertices.shape), mesh.faces) for mesh in balls]


BALLS = stones()


def without(mesh: Mesh, odds: np.ndarray, count: int) -> np.ndarray:
    """The faces of `mesh` after vertices went by odds."""
    normals, areas, centers = face_geometry(mesh.vertices, mesh.faces)
    faces = mesh.faces.astype(np.int32)
    rows = rows_of(mesh.vertices, faces, centers, normals, areas)[:, :11].copy()
    return collapsed(mesh.vertices, faces, rows, odds, count, 0.2, Weights(chance=1.0))


def test_a_chosen_ball_is_closed_and_has_the_faces_that_are_wanted():
    wanted = len(BALLS[0].faces)
    chosen = chosen_proxy(BALLS, wanted)
    assert len(chosen.faces) <= wanted
    assert is_manifold_and_closed(chosen.vertices, chosen.faces) == (True, True)
    normals, _, centers = face_geometry(chosen.vertices, chosen.faces)
    assert ((normals * centers).sum(axis=1) > 0.0).all()


def test_the_same_proxies_give_the_same_choice():
    one, other = (chosen_proxy(BALLS, len(BALLS[0].faces)) for _ in range(2))
    assert np.array_equal(one.vertices, other.vertices)
    assert np.array_equal(one.faces, other.faces)


def test_the_choice_follows_a_move_and_a_scale():
    one = chosen_proxy(BALLS, len(BALLS[0].faces))
    other = chosen_proxy([Mesh(m.vertices * 4.0 + 2.0, m.faces) for m in BALLS], len(BALLS[0].faces))
    assert np.array_equal(one.faces, other.faces)
    assert np.allclose(one.vertices * 4.0 + 2.0, other.vertices, atol=1e-4)


def test_a_tetrahedron_stays_as_it_is():
    assert chosen_proxy([TETRAHEDRON] * 3, 4) is TETRAHEDRON
    assert len(without(TETRAHEDRON, np.zeros(4), 2)) == 4


def test_few_candidates_are_enough():
    few = [TETRAHEDRON, ball(1, 4), ball(2, 4)]
    assert chosen_proxy(few, 4) is TETRAHEDRON
    few = [ball(1, 3), ball(1, 4), ball(2, 4)]
    chosen = chosen_proxy(few, 6)
    assert len(chosen.faces) <= 6
    assert is_manifold_and_closed(chosen.vertices, chosen.faces) == (True, True)


def test_an_open_sheet_keeps_its_border_and_stays_manifold():
    sheets = [sheet(6), sheet(8), sheet(11)]
    chosen = chosen_proxy(sheets, len(sheets[0].faces))
    assert len(chosen.faces) <= len(sheets[0].faces)
    assert is_manifold_and_closed(chosen.vertices, chosen.faces) == (True, False)
    assert np.ptp(chosen.vertices, axis=0)[:2] == pytest.approx([1.0, 1.0], abs=0.1)


def test_the_least_likely_go_first():
    mesh, odds = ball(7, 12), np.full(86, 3.0)
    odds[10:14] = -6.0
    left = without(mesh, odds, len(mesh.faces) - 8)
    assert not np.isin(np.arange(10, 14), left).any()
    assert (manifold_twins(left, 86) >= 0).all()


def test_vertices_that_stay_go_to_their_targets():
    mesh = ball(7, 12)
    targets = mesh.vertices * 1.05
    placed, faces = left_over(mesh.vertices, mesh.faces, targets, np.zeros(86), 80, 0.2, Weights())
    assert len(faces) <= 80
    assert np.linalg.norm(placed, axis=1) == pytest.approx(0.525)


def test_proxies_must_be_three():
    with pytest.raises(ValueError, match="3 meshes"):
        chosen_proxy(BALLS[:2], 80)


def test_features_are_those_that_the_network_takes_and_do_not_change_with_a_turn():
    given = candidates_of(BALLS, 80)
    assert given.features.shape == (sum(len(m.vertices) for m in BALLS), INPUTS)
    assert given.relations.shape == (len(given.told), RELATION)
    assert (np.diff(given.told) >= 0).all()
    turned = [Mesh(m.vertices[:, [1, 2, 0]], m.faces) for m in BALLS]
    assert np.allclose(candidates_of(turned, 80).features, given.features, atol=1e-4)
    assert local_features(shape_of(BALLS[0].vertices, BALLS[0].faces), 0.1).shape[1] == LOCAL_FEATURES


def test_moves_turn_with_the_mesh():
    moves = load_choice_network().choose(candidates_of(BALLS, 80)).moves
    turned = [Mesh(m.vertices[:, [1, 2, 0]], m.faces) for m in BALLS]
    assert np.allclose(load_choice_network().choose(candidates_of(turned, 80)).moves, moves[:, [1, 2, 0]], atol=1e-3)


def test_a_reading_with_a_learned_choice_has_another_first_proxy_alone():
    source = ball(40, 60)
    plain = read_surface(source, faces=80, richer=(1, 2, 4))
    chosen = read_surface(source, faces=80, richer=(1, 2, 4), learned_choice=True)
    assert len(chosen.proxies[0].faces) <= len(plain.proxies[0].faces)
    assert np.array_equal(chosen.proxies[1].vertices, plain.proxies[1].vertices)
    assert is_manifold_and_closed(chosen.proxies[0].vertices, chosen.proxies[0].faces)[1]
    assert len(read_surface(source, faces=80, learned_choice=True).proxies) == 2
