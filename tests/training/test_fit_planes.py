"""The plane predictor is fitted to what sources hide: true planes, a net that learns them, a file for the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import save_mesh
from flashmesh_core.sources import FAMILIES
from flashmesh_core.surface import plane_predictor
from flashmesh_core.surface.patches import WIDTH
from flashmesh_core.surface.plane_predictor import load_predictor
from tests.surface.shapes import cube
from training import fit_planes
from training.fit_planes import fit, samples_of

BLOCK = Mesh(cube().vertices * [0.9, 0.6, 0.4], cube().faces)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_answers_are_the_planes_of_the_artist(family):
    """Only the sides' planes: every answer, put back, lies on one of six."""
    samples = samples_of(BLOCK, family, seed=3, faces=200)
    assert samples is not None and 100 < len(samples.patches) <= 200
    assert samples.patches.shape[1] == WIDTH and np.isfinite(samples.patches).all()
    np.testing.assert_allclose(np.linalg.norm(samples.normals, axis=1), 1.0, atol=1e-5)
    assert np.abs(samples.distances).max() < fit_planes.REACH
    # Most faces lie in the middle of a side, where the answer is the plane that they lie in themselves.
    assert (samples.normals[:, 2] > 0.9).mean() > 0.6 and np.median(np.abs(samples.distances)) < 0.5


def test_a_few_steps_learn_something():
    samples = samples_of(BLOCK, "sculpt", seed=1, faces=1000)
    assert samples is not None
    inputs = torch.from_numpy(np.concatenate([samples.patches.astype(np.float32), samples.scalars], axis=1))
    answers = torch.from_numpy(samples.normals), torch.from_numpy(samples.distances)
    before, after = (
        float(fit_planes.losses(fit(samples, steps, 256, seed=0), inputs, *answers)[0].detach()) for steps in (1, 150)
    )
    assert after < 0.7 * before


def test_fitting_again_gives_the_same():
    samples = samples_of(BLOCK, "cloud", seed=1, faces=100)
    assert samples is not None
    first, second = (fit(samples, 5, 64, seed=2).arrays() for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_the_command_writes_what_the_engine_reads(tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "data").mkdir()
    save_mesh(tmp_path / "data" / "block.obj", BLOCK)
    out = tmp_path / "planes.npz"
    monkeypatch.setattr(fit_planes, "FACES", 100)
    options = [
        "--data",
        str(tmp_path / "data"),
        "--out",
        str(out),
        "--sources",
        "2",
        "--steps",
        "3",
        "--workers",
        "1",
    ]
    assert fit_planes.main(options) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    monkeypatch.setattr(plane_predictor, "PREDICTOR_FILE", out)
    load_predictor.cache_clear()
    try:
        sizes = [weight.shape for weight in load_predictor().weights]
    finally:
        load_predictor.cache_clear()
    assert sizes[0] == (WIDTH + 3, fit_planes.HIDDEN[0]) and sizes[-1][1] == plane_predictor.OUTPUTS
    with pytest.raises(SystemExit):
        fit_planes.main([*options, "--steps", "0"])
    assert "--steps must be above 0, got 0" in capsys.readouterr().err
