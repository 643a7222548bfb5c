"""The normal predictor tells the normals of noisy samples better than the filter, and its answer turns with them."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.surface import normal_predictor
from flashmesh_core.surface.normal_predictor import (
    CHANNELS,
    NEIGHBOURS,
    Layer,
    load_normal_predictor,
    neighbourhoods_of,
    with_shared_planes,
)
from flashmesh_core.surface.samples import filtered_cloud, read_samples
from tests.surface.shapes import cube

NOISE = 0.004
TURN = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
SAMPLES = sample_surface(cube().vertices * [0.9, 0.6, 0.25], cube().faces, 12_000, np.random.default_rng(0))
NOISY = SAMPLES.points + np.random.default_rng(1).normal(0.0, NOISE, SAMPLES.points.shape)


def silent(stage: str, share: float) -> None:
    """Nobody listens."""


def off(normals: np.ndarray) -> np.ndarray:
    """Degrees (N,) between unit `normals` (N, 3) of either sign and those of the block."""
    return np.degrees(np.arccos(np.clip(np.abs((normals * SAMPLES.normals).sum(axis=1)), 0.0, 1.0)))


def test_planes_along_edges_are_told_better_than_by_the_filter():
    cloud = filtered_cloud(NOISY, silent)
    assert cloud is not None
    normals = load_normal_predictor().predict(cloud, lambda share: None)
    edges = off(cloud.normals) > 10.0
    assert 0.03 < edges.mean() < 0.3
    assert off(normals)[edges].mean() < 0.75 * off(cloud.normals)[edges].mean()
    assert np.median(off(normals)) < np.median(off(cloud.normals)) + 0.5, "what is flat stays"
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0)


def test_clouds_are_read_with_it():
    samples = read_samples(NOISY, None, silent)
    cloud = filtered_cloud(NOISY, silent)
    assert cloud is not None
    high = np.abs(((samples.points - SAMPLES.points) * SAMPLES.normals).sum(axis=1))
    assert np.median(high) < 0.4 * NOISE
    edges = off(cloud.normals) > 10.0
    assert off(samples.normals)[edges].mean() < 0.75 * off(cloud.normals)[edges].mean()
    assert ((samples.normals * SAMPLES.normals).sum(axis=1) > 0.0).mean() > 0.97, "outwards"


def test_the_answer_turns_with_the_cloud():
    cloud = filtered_cloud(NOISY, silent)
    assert cloud is not None
    turned = cloud._replace(given=cloud.given @ TURN.T, points=cloud.points @ TURN.T, normals=-cloud.normals @ TURN.T)
    normals, same = (load_normal_predictor().predict(some, lambda share: None) for some in (cloud, turned))
    # The frame's first axis may point either way, and the network is only nearly the same both ways.
    along = np.abs((normals @ TURN.T * same).sum(axis=1))
    assert np.quantile(along, 0.1) > 0.98


def test_a_sample_sees_itself_and_its_neighbours_in_its_frame():
    cloud = filtered_cloud(NOISY, silent)
    assert cloud is not None
    rows = np.arange(0, 12_000, 37)
    seen = neighbourhoods_of(cloud, rows)
    assert seen.near.shape == (len(rows), NEIGHBOURS + 1, CHANNELS)
    assert (seen.near[:, 0, :3] == 0.0).all() and (seen.near[..., 8] >= 0.0).all()
    np.testing.assert_allclose(
        seen.frames @ seen.frames.transpose(0, 2, 1), np.eye(3)[None].repeat(len(rows), 0), atol=1e-9
    )
    np.testing.assert_allclose(seen.frames[:, 2], cloud.normals[rows])
    way = cloud.given[cloud.nearest[rows, 4]] - cloud.given[rows]
    wanted = np.einsum("nij,nj->ni", seen.frames, way) / cloud.reach[rows, None]
    np.testing.assert_allclose(seen.near[:, 5, :3], wanted, atol=1e-4)


def test_a_plane_is_believed_that_enough_neighbours_share():
    """Of a flat place one sample alone looks aside, and a row of nine does."""
    cloud = filtered_cloud(NOISY, silent)
    assert cloud is not None
    top = cloud._replace(normals=np.tile([0.0, 0.0, 1.0], (len(NOISY), 1)))
    told = top.normals.copy()
    alone = int(np.argmin(np.linalg.norm(NOISY - [-0.3, 0.0, 0.125], axis=1)))
    beside = np.argsort(np.linalg.norm(NOISY - [0.3, 0.0, 0.125], axis=1))[:40]
    row = beside[np.argsort(np.abs(NOISY[beside, 0] - 0.3))[:9]]
    told[alone] = told[row] = [1.0, 0.0, 0.0]
    kept = with_shared_planes(top, told)
    np.testing.assert_array_equal(kept[alone], [0.0, 0.0, 1.0])
    assert (kept[row] == [1.0, 0.0, 0.0]).all(axis=1).sum() >= 5
    np.testing.assert_array_equal(np.delete(kept, [alone, *row], axis=0), np.delete(told, [alone, *row], axis=0))


@pytest.mark.parametrize("count", [20, 33, 34])
def test_clouds_of_few_points_are_read(count):
    """Of fewer than it wants to see the filter tells alone."""
    found = read_samples(NOISY[:count], None, silent)
    assert len(found.points) == count and np.isfinite(found.normals).all()


def test_weights_of_other_neighbourhoods_are_refused(tmp_path, monkeypatch):
    other = tmp_path / "other.npz"
    kept = {
        f"{name}_{part}": np.zeros(1) for name in normal_predictor.NormalPredictor._fields for part in Layer._fields
    }
    kept |= {"sample_weight": np.zeros((7, 4)), "normal_weight": np.zeros((4, 2))}
    np.savez(other, **kept)
    monkeypatch.setattr(normal_predictor, "NORMAL_FILE", other)
    load_normal_predictor.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"other\.npz must take 10 inputs and give 3 outputs, got 7 and 2"):
            load_normal_predictor()
    finally:
        load_normal_predictor.cache_clear()
