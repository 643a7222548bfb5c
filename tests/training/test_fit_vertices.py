"""The vertex predictor is fitted to what sources hide: true vertices, a net that learns them, a file for the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import save_mesh
from flashmesh_core.sources import FAMILIES
from flashmesh_core.surface import vertex_predictor
from flashmesh_core.surface.surroundings import CHANNELS, MOST, WHOLE, Surroundings
from flashmesh_core.surface.vertex_predictor import load_vertex_predictor
from tests.surface.shapes import cube
from training import fit_vertices
from training.fit_vertices import FLAT, Samples, fit, loss, nearest_places, samples_of, true_places, turned
from training.fitting import joined

BLOCK = Mesh(cube().vertices * [0.9, 0.6, 0.4], cube().faces)


@pytest.fixture(scope="module")
def samples() -> Samples:
    found = [samples_of(BLOCK, family, seed=seed) for family in FAMILIES for seed in (1, 2, 3)]
    return joined([some for some in found if some is not None])


def saved(net: fit_vertices.Net, path: Path, monkeypatch) -> vertex_predictor.VertexPredictor:
    """The network as the engine reads it from a file."""
    np.savez(path, **net.arrays())
    monkeypatch.setattr(vertex_predictor, "VERTEX_FILE", path)
    load_vertex_predictor.cache_clear()
    try:
        return load_vertex_predictor()
    finally:
        load_vertex_predictor.cache_clear()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answers_are_the_corners_of_the_artist(family):
    found = next(some for seed in range(3, 20) if (some := samples_of(BLOCK, family, seed)) is not None)
    assert found.faces.shape[1:] == (MOST, CHANNELS) and np.isfinite(found.faces).all()
    exact = found.weights == 1.0
    assert 4 <= exact.sum() <= 16, "eight corners of each of two proxies at most"
    assert set(found.weights.tolist()) <= {1.0, np.float32(FLAT)}
    assert (np.linalg.norm(found.answers[exact], axis=1) * found.scales[exact] < fit_vertices.REACH * 128.0).all()


def test_true_places_are_corners_where_both_are_nearest_and_the_surface_elsewhere():
    vertices = np.array([[0.44, 0.31, 0.2], [0.43, 0.31, 0.2], [0.1, 0.33, 0.05], [0.6, 0.0, 0.0]])
    targets, exact = true_places(BLOCK, vertices)
    assert exact.tolist() == [True, False, False, False]
    np.testing.assert_allclose(targets, [[0.45, 0.3, 0.2], [0.43, 0.3, 0.2], [0.1, 0.3, 0.05], [0.45, 0.0, 0.0]])
    np.testing.assert_allclose(nearest_places(BLOCK, np.array([[0.7, 0.5, 0.3]])), [[0.45, 0.3, 0.2]])


def test_a_few_steps_learn_something(samples):
    faces, counts, whole, answers, weights, scales = (torch.from_numpy(array) for array in samples)
    valid = torch.arange(MOST) < counts[:, None]
    before, after = (
        float(loss(fit(samples, steps, 64, seed=0), faces.float(), valid, whole, answers, weights, scales).detach())
        for steps in (1, 150)
    )
    assert after < 0.7 * before


def test_turns_are_the_eight_of_a_square_and_turn_every_vector():
    turns = fit_vertices.TURNS
    assert len({turn.round(6).tobytes() for turn in turns}) == 8
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.eye(3)[None].repeat(8, 0), atol=1e-12)
    np.testing.assert_allclose(turns[:, 2], np.array([[0.0, 0.0, 1.0]]).repeat(8, 0))
    faces = torch.rand(8, 5, CHANNELS, dtype=torch.float64)
    after = turned(faces, torch.from_numpy(turns))
    for first in (0, 3, 8):  # place, predicted normal, filtered normal
        wanted = np.einsum("nij,nej->nei", turns, faces[..., first : first + 3].numpy())
        np.testing.assert_allclose(after[..., first : first + 3], wanted)
    same = [6, 7, 11, 12, 13, 14]
    np.testing.assert_array_equal(after[..., same], faces[..., same])


def test_fitting_again_gives_the_same(samples):
    first, second = (fit(samples, 5, 64, seed=2).arrays() for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_the_engine_computes_what_was_fitted(samples, tmp_path, monkeypatch):
    """In half precision, as the file holds it."""
    net = fit(samples, 60, 64, seed=0)
    predictor = saved(net, tmp_path / "net.npz", monkeypatch)
    rows = slice(0, 100)
    valid = np.arange(MOST) < samples.counts[rows, None]
    valid[::3, 20:] = False  # fewer faces than there are places
    faces, whole = samples.faces[rows].astype(np.float32), samples.whole[rows]
    found = predictor.predict(Surroundings(faces, valid, whole, np.empty((len(faces), 3, 3))))
    with torch.no_grad():
        wanted = net(torch.from_numpy(faces), torch.from_numpy(valid), torch.from_numpy(whole)).numpy()
    np.testing.assert_allclose(found, wanted, atol=0.02)
    assert np.abs(wanted).max() > 0.3


def test_the_command_writes_what_the_engine_reads(tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "data").mkdir()
    save_mesh(tmp_path / "data" / "block.obj", BLOCK)
    out = tmp_path / "vertices.npz"
    options = [
        *("--data", str(tmp_path / "data"), "--out", str(out)),
        *("--sources", "2", "--steps", "3", "--batch", "16", "--workers", "1"),
    ]
    assert fit_vertices.main(options) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    monkeypatch.setattr(vertex_predictor, "VERTEX_FILE", out)
    load_vertex_predictor.cache_clear()
    try:
        assert load_vertex_predictor().sample_weight.shape == (CHANNELS + WHOLE, fit_vertices.HIDDEN)
    finally:
        load_vertex_predictor.cache_clear()
    with pytest.raises(SystemExit):
        fit_vertices.main([*options, "--steps", "0"])
    assert "--steps must be above 0, got 0" in capsys.readouterr().err
