"""Guidance is a function of surface and prefix, forbids nothing, and follows a true mesh to its end."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.decode.engine import Engine
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.state.coverage import COVER_COSINE, COVER_DISTANCE
from training.shapes import make_shape

from .builders import CONFIG, empty, prepared, tokens_of


@pytest.mark.parametrize("kind", ["box", "prism", "pyramid", "wedge"])
def test_a_true_mesh_is_seldom_pushed_against_and_its_end_never(kind: str) -> None:
    _, mesh, surface = prepared(kind)
    state = empty(surface)
    against, early = 0, 0
    tokens = tokens_of(mesh)
    for number, token in enumerate(tokens):
        bias = state.bias()
        assert bias.shape == (CONFIG.num_bins + 1,) and np.isfinite(bias).all()
        assert bias.min() >= -6.0 and bias.max() <= 0.0
        against += bias[token] < 0
        early += number % 9 == 0 and bias[-1] == 0
        state.push(token)
    assert against <= 0.1 * len(tokens)
    assert early <= 2
    assert state.bias()[-1] == 0.0
    assert state.covered > 0.93


def test_the_bias_depends_on_the_prefix_alone() -> None:
    """What was found out on the way, stuck vertices and the fan of v0, changes no answer."""
    _, mesh, surface = prepared("wedge", 3)
    tokens = tokens_of(mesh)
    state = empty(surface)
    for number, token in enumerate(tokens):
        bias = state.bias()
        fresh = empty(surface)
        for earlier in tokens[:number]:
            fresh.push(earlier)
        np.testing.assert_array_equal(bias, fresh.bias())
        state.push(token)


def test_covering_marks_samples_of_the_face_that_face_its_way() -> None:
    _, mesh, surface = prepared("box")
    state = empty(surface)
    corners = mesh.vertices[mesh.faces[0]].astype(float)
    for token in tokens_of(mesh)[:9]:
        state.push(token)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal /= np.linalg.norm(normal)
    covered = state.table.covered
    assert 0 < covered.mean() < 0.5
    assert covered.sum() == state.table.n[0].covered
    assert (surface.normals[covered] @ normal >= COVER_COSINE).all()
    assert np.abs((surface.places[covered] - corners[0]) @ normal).max() <= COVER_DISTANCE
    inside = np.abs((surface.places - corners[0]) @ normal) < 0.5
    inside &= surface.normals @ normal > 0.9
    inside &= np.linalg.norm(surface.places - corners.mean(axis=0), axis=1) < 2.0
    assert inside.any() and covered[inside].all()


def test_strength_zero_is_no_guidance() -> None:
    engine = Engine.random("debug")
    mesh = make_shape("box", np.random.default_rng(1))
    source = Mesh(mesh.vertices, mesh.faces)
    with_it, without = (engine.generate(source, max_faces=12, coverage_guidance=g, seed=5) for g in (20.0, 0.0))
    assert not np.array_equal(with_it.mesh.vertices, without.mesh.vertices)
    with pytest.raises(ValueError, match=r"coverage_guidance must be a number in \[0, 20\], got 21"):
        engine.generate(source, coverage_guidance=21)


def test_the_options_old_name_means_the_same() -> None:
    engine = Engine.random("debug")
    mesh = make_shape("box", np.random.default_rng(1))
    source = Mesh(mesh.vertices, mesh.faces)
    old = engine.generate(source, max_faces=12, guidance=0.0, seed=5)
    new = engine.generate(source, max_faces=12, coverage_guidance=0.0, seed=5)
    np.testing.assert_array_equal(old.mesh.vertices, new.mesh.vertices)
    with pytest.raises(ValueError, match="coverage_guidance must be a number"):
        engine.generate(source, guidance=21)
