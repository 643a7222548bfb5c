"""Guidance is a function of surface and prefix, forbids nothing, and follows a true mesh to its end."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.config import ModelConfig
from flashmesh_core.decode.engine import Engine
from flashmesh_core.decode.guidance import Guidance
from flashmesh_core.decode.source import Source, prepare_source
from flashmesh_core.mesh.canonical import CanonicalMesh, Mesh, canonicalize
from flashmesh_core.prefix import Prefix
from flashmesh_core.tokenizer import face_tokens
from training.shapes import make_shape

CONFIG = ModelConfig(name="guided", num_bins=128, slice_rows=("surface",))


def prepared(kind: str, seed: int = 0) -> tuple[Source, CanonicalMesh]:
    mesh = make_shape(kind, np.random.default_rng(seed))
    source = prepare_source(Mesh(mesh.vertices, mesh.faces), None, CONFIG)
    return source, canonicalize(mesh.vertices, mesh.faces, CONFIG.num_bins, source.normalization)


def guide(source: Source, prefix: Prefix) -> Guidance:
    assert source.context is not None
    return Guidance(source.context, source.points, source.normals, prefix)


@pytest.mark.parametrize("kind", ["box", "prism", "pyramid", "wedge"])
def test_a_true_mesh_is_seldom_pushed_against_and_its_end_never(kind: str) -> None:
    source, mesh = prepared(kind)
    prefix = Prefix(CONFIG.num_bins)
    guidance = guide(source, prefix)
    against, early = 0, 0
    tokens = face_tokens(mesh).reshape(-1)
    for number, token in enumerate(tokens.tolist()):
        bias = guidance.bias(6.0)
        assert bias.shape == (CONFIG.num_bins + 1,) and np.isfinite(bias).all()
        assert bias.min() >= -6.0 and bias.max() <= 0.0
        against += bias[token] < 0
        early += number % 9 == 0 and bias[-1] == 0
        prefix.push(token)
    assert against <= 0.1 * len(tokens)
    assert early <= 2
    assert guidance.bias(6.0)[-1] == 0.0
    assert guidance.covered.mean() > 0.93


def test_the_bias_depends_on_the_prefix_alone() -> None:
    source, mesh = prepared("wedge", 3)
    tokens = face_tokens(mesh).reshape(-1).tolist()
    prefix = Prefix(CONFIG.num_bins)
    stepwise = guide(source, prefix)
    for number, token in enumerate(tokens):
        bias = stepwise.bias(4.0)
        if number % 7 == 0 and number % 3 == 0:
            whole = Prefix(CONFIG.num_bins)
            for earlier in tokens[:number]:
                whole.push(earlier)
            np.testing.assert_array_equal(bias, guide(source, whole).bias(4.0))
        prefix.push(token)


def test_covering_marks_samples_of_the_face_that_face_its_way() -> None:
    source, mesh = prepared("box")
    prefix = Prefix(CONFIG.num_bins)
    guidance = guide(source, prefix)
    corners = mesh.vertices[mesh.faces[0]]
    for token in corners[:, ::-1].reshape(-1).tolist():
        prefix.push(token)
    guidance.bias(1.0)
    side = corners.astype(float)
    normal = np.cross(side[1] - side[0], side[2] - side[0])
    normal /= np.linalg.norm(normal)
    assert 0 < guidance.covered.mean() < 0.5
    assert (guidance.normals[guidance.covered] @ normal > 0.5).all()
    offset = (guidance.places[guidance.covered] - side[0]) @ normal
    assert np.abs(offset).max() <= 2.0


def test_strength_zero_is_no_guidance() -> None:
    engine = Engine.random("debug")
    mesh = make_shape("box", np.random.default_rng(1))
    source = Mesh(mesh.vertices, mesh.faces)
    with_it, without = (engine.generate(source, max_faces=12, guidance=g, seed=5) for g in (20.0, 0.0))
    assert not np.array_equal(with_it.mesh.vertices, without.mesh.vertices)
    with pytest.raises(ValueError, match=r"guidance must be a number in \[0, 20\], got 21"):
        engine.generate(source, guidance=21)
