"""Corners of every mesh of a store, detected once and kept in a cache file."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.mesh.surface import detect_corners

POINTS = 16_384


def _detect(job: tuple[np.ndarray, np.ndarray, int]) -> np.ndarray:
    vertices, faces, number = job
    surface = sample_surface(vertices, faces, POINTS, np.random.default_rng(number))
    return detect_corners(surface.points, surface.normals).positions.astype(np.float32)


def corners_of_store(store: MeshStore, out: Path, name: str = "train") -> list[np.ndarray]:
    """Corners (C, 3) of each mesh, found in its surface samples as the engine does; cached in `out`."""
    from tqdm import tqdm

    digest = hashlib.sha256(
        repr([(v.shape, f.shape, float(v.sum())) for v, f in zip(store.vertices, store.faces, strict=True)]).encode()
    )
    cache = out / f"corners_{name}_{digest.hexdigest()[:12]}.npz"
    if cache.is_file():
        with np.load(cache) as data:
            return np.split(data["positions"], data["offsets"])
    jobs = [(v, f, n) for n, (v, f) in enumerate(zip(store.vertices, store.faces, strict=True))]
    with ProcessPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        found = list(tqdm(pool.map(_detect, jobs, chunksize=16), total=len(jobs), desc="corners", mininterval=5.0))
    part = cache.with_suffix(".part.npz")
    offsets = np.cumsum([len(c) for c in found])[:-1]
    np.savez(part, positions=np.concatenate(found), offsets=offsets)
    os.replace(part, cache)
    return found
