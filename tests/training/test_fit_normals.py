"""The normal predictor is fitted to what noise hides: true planes, a net that learns them, a file for the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import save_mesh
from flashmesh_core.surface import normal_predictor
from flashmesh_core.surface.normal_predictor import CHANNELS, NEIGHBOURS, load_normal_predictor
from tests.surface.shapes import cube
from training import fit_normals
from training.fit_normals import FAMILIES, Samples, fit, losses, mirrored, samples_of
from training.fitting import joined

BLOCK = Mesh(cube().vertices * [0.9, 0.6, 0.4], cube().faces)


@pytest.fixture(scope="module")
def samples() -> Samples:
    found = [samples_of(BLOCK, family, seed=seed, count=600) for family in FAMILIES for seed in (1, 2)]
    return joined([some for some in found if some is not None])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answers_are_the_planes_that_samples_were_taken_from(family):
    found = next(some for seed in range(3, 20) if (some := samples_of(BLOCK, family, seed)) is not None)
    assert found.near.shape[1:] == (NEIGHBOURS + 1, CHANNELS) and np.isfinite(found.near).all()
    np.testing.assert_allclose(np.linalg.norm(found.normals, axis=1), 1.0, atol=1e-5)
    assert np.median(np.abs(found.normals[:, 2])) > 0.95, "where a block is flat the filter is right"
    assert (np.abs(found.normals[:, 2]) < 0.8).mean() > 0.02, "and is not along its edges"
    assert 0.0 < np.median(np.abs(found.distances)) < 1.0


def test_a_few_steps_learn_something(samples):
    near, whole, *answers = (torch.from_numpy(array) for array in samples)
    before, after = (
        float(losses(fit(samples, steps, 128, seed=0), near.float(), whole, *answers)[0].detach()) for steps in (1, 150)
    )
    assert after < 0.7 * before


def test_what_is_mirrored_is_seen_as_mirrored():
    """A neighbour's normal looks to the sample's side before and after; twice is as before."""
    generator = torch.Generator().manual_seed(0)
    near, normals = torch.randn(6, 5, CHANNELS, generator=generator), torch.randn(6, 3, generator=generator)
    near[..., 8].abs_()
    signs = torch.tensor([[1, 1, -1], [1, -1, 1], [-1, 1, 1], [-1, -1, -1], [1, 1, 1], [-1, 1, -1]]).float()
    seen, answers = mirrored(near, normals, signs)
    assert (seen[..., 8] >= 0.0).all()
    assert torch.equal(seen[..., :3], near[..., :3] * signs[:, None]) and torch.equal(answers, normals * signs)
    assert torch.equal(seen[..., 9], near[..., 9])
    # How far a neighbour's plane is from the sample is the same, up to its side.
    before, after = ((some[..., 3:6] * some[..., 6:9]).sum(dim=2).abs() for some in (near, seen))
    torch.testing.assert_close(before, after)
    again, _ = mirrored(seen, answers, signs)
    assert torch.equal(again, near)


def test_fitting_again_gives_the_same(samples):
    first, second = (fit(samples, 5, 64, seed=2).arrays() for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_the_engine_computes_what_was_fitted(samples, tmp_path, monkeypatch):
    """In half precision, as the file holds it."""
    net = fit(samples, 150, 128, seed=0)
    np.savez(tmp_path / "net.npz", **net.arrays())
    monkeypatch.setattr(normal_predictor, "NORMAL_FILE", tmp_path / "net.npz")
    load_normal_predictor.cache_clear()
    try:
        predictor = load_normal_predictor()
    finally:
        load_normal_predictor.cache_clear()
    near, whole = samples.near[::7].astype(np.float32), samples.whole[::7]
    with torch.no_grad():
        wanted = net(torch.from_numpy(near), torch.from_numpy(whole))[0].numpy()
    np.testing.assert_allclose(predictor.local_normals(near, whole), wanted, atol=0.02)
    assert np.abs(wanted[:, :2]).max() > 0.3


def test_the_command_writes_what_the_engine_reads(tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "data").mkdir()
    save_mesh(tmp_path / "data" / "block.obj", BLOCK)
    out = tmp_path / "normals.npz"
    options = [
        *("--data", str(tmp_path / "data"), "--out", str(out)),
        *("--sources", "2", "--steps", "3", "--batch", "16", "--workers", "1"),
    ]
    assert fit_normals.main(options) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    monkeypatch.setattr(normal_predictor, "NORMAL_FILE", out)
    load_normal_predictor.cache_clear()
    try:
        assert load_normal_predictor().sample.weight.shape == (CHANNELS, fit_normals.HIDDEN)
    finally:
        load_normal_predictor.cache_clear()
    with pytest.raises(SystemExit):
        fit_normals.main([*options, "--steps", "0"])
    assert "--steps must be above 0, got 0" in capsys.readouterr().err
