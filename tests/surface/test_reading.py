"""What reading a mesh tells while it lasts, and the corners of a cloud's thin walls."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.surface import reading as reading_module
from flashmesh_core.surface.reading import read_surface
from tests.surface.shapes import cloud_of, grid, sphere


def test_cleaning_up_tells_how_far_it_is_and_may_be_cancelled() -> None:
    told: list[tuple[str, float]] = []
    read_surface(sphere(120, 60), faces=100, progress=lambda *step: told.append(step))
    told = list(dict.fromkeys(told))  # the last is told again in silence
    shares = [share for stage, share in told if stage == "clean"]
    assert shares[0] == 0.0 and len(shares) >= 6 and shares == sorted(set(shares)) and shares[-1] < 1.0
    assert [stage for stage, _ in told[len(shares) - 1 : len(shares) + 1]] == ["clean", "denoise"]

    def cancel(stage: str, share: float) -> None:
        if share > 0.0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_surface(sphere(120, 60), faces=100, progress=cancel)


def test_the_board_that_a_cloud_shows_has_its_corners() -> None:
    """As a shell around a sheet, which no cloud is of, it would keep corners 0.004 off."""
    board = trimesh.creation.box((0.9, 0.7, 0.024))
    reading = read_surface(*cloud_of(board, 16_384, 0.0005), faces=12)
    found = reading.box.invert(reading.proxies[0].vertices)
    assert len(found) == 8 and cKDTree(found).query(np.asarray(board.vertices))[0].max() < 0.002


def test_of_more_points_than_can_be_read_a_random_part_is(monkeypatch: pytest.MonkeyPatch) -> None:
    box = trimesh.creation.box((0.9, 0.7, 0.5))
    points, normals = cloud_of(box, 20_000)
    points, normals = (of[np.argsort(points[:, 0])] for of in (points, normals))  # a first part would be half a box
    seen = []
    whole = reading_module.on_surfaces
    monkeypatch.setattr(reading_module, "MAX_POINTS", 5_000)
    monkeypatch.setattr(reading_module, "on_surfaces", lambda given, report: seen.append(given) or whole(given, report))
    reading = read_surface(points, normals, faces=12)
    found = reading.box.invert(reading.proxies[0].vertices)
    assert [len(given) for given in seen] == [5_000] and reading.is_closed
    assert len(found) == 8 and cKDTree(found).query(np.asarray(box.vertices))[0].max() < 0.005


def test_a_closed_sheet_without_thickness_keeps_its_border() -> None:
    """As Blender's voxel remesh makes of a plane: two sides at one place, joined along the border, cut differently."""
    top = grid(100, hole=True)
    ends = np.sort(top.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, count = np.unique(ends, axis=0, return_counts=True)
    below = np.arange(len(top.vertices)) + len(top.vertices)
    border = np.unique(edges[count == 1])
    below[border] = border
    (a, b, c), d = top.faces[: len(top.faces) // 2].T, top.faces[len(top.faces) // 2 :, 2]
    bottom = below[np.concatenate([np.stack([a, d, b], axis=1), np.stack([b, d, c], axis=1)])]
    sheet = Mesh(np.concatenate([top.vertices, top.vertices]), np.concatenate([top.faces, bottom]))
    reading = read_surface(sheet, faces=60)
    proxy = reading.proxies[0]
    assert reading.is_closed and len(proxy.faces) <= 60
    off = TriangleTree.of_mesh(proxy.vertices, proxy.faces).distance(reading.box.apply(top.vertices[border]))
    assert off.max() < 1e-6  # 0.06 where the vertices of its rim are free
