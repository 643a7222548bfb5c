"""The choice of artist meshes, and their sources with and without a cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flashmesh_core.evaluation.objects import ArtistObject, Given, check_families, choose_objects, given
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import PointCloud
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.mesh.topology import is_manifold_and_closed
from tests.mesh.shapes import box, sheet, torus

BOX = ArtistObject("box", Mesh(*box((1.0, 0.61, 0.43))), True)


@pytest.fixture
def store() -> MeshStore:
    """A box (12 faces), a sheet (8), a torus (192) and a larger sheet (72)."""
    store = MeshStore([], [], [])
    for name, mesh in (
        ("box", box()),
        ("sheet", sheet(2, 2)),
        ("torus", torus(rings=12, sides=8)),
        ("field", sheet(6, 6)),
    ):
        store.add(*mesh, name)
    return store


def test_objects_are_chosen_by_faces_and_by_what_is_open(store: MeshStore) -> None:
    def names(**limits: object) -> list[str]:
        return [chosen.name for chosen in choose_objects(store, **limits)]  # type: ignore[arg-type]

    assert names() == ["box", "sheet", "torus", "field"]
    assert [chosen.closed for chosen in choose_objects(store)] == [True, False, True, False]
    assert names(closed=True) == ["box", "torus"]
    assert names(closed=False) == ["sheet", "field"]
    assert names(min_faces=12, max_faces=100) == ["box", "field"]
    assert names(limit=2) == ["box", "field"]
    assert names(limit=9) == ["box", "sheet", "torus", "field"]
    with pytest.raises(ValueError, match="data must hold open meshes of 100 to 200 faces, got none"):
        names(min_faces=100, max_faces=200, closed=False)
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        names(limit=0)


def test_families_by_name() -> None:
    assert check_families(["cloud", "remesh"]) == ("remesh", "cloud")
    with pytest.raises(ValueError, match=r"sources must be some of .*, got 'photo'"):
        check_families(["photo"])


@pytest.mark.parametrize("family", ["remesh", "scan", "cloud"])
def test_a_cached_source_is_the_source(family: str, tmp_path: Path) -> None:
    def arrays(source: Mesh | PointCloud) -> list[np.ndarray]:
        if isinstance(source, Mesh):
            return [source.vertices, source.faces]
        return [source.points, np.zeros(0) if source.normals is None else source.normals]

    fresh, first, second = (given(BOX, family, cache=folder).source for folder in (None, tmp_path, tmp_path))
    assert len(list(tmp_path.iterdir())) == 1
    for other in (first, second):
        for a, b in zip(arrays(fresh), arrays(other), strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


def test_another_seed_family_or_mesh_is_another_file(tmp_path: Path) -> None:
    longer = ArtistObject("box", Mesh(*box((1.0, 0.61, 0.431))), True)
    given(BOX, "cloud", cache=tmp_path)
    given(BOX, "scan", cache=tmp_path)
    given(BOX, "cloud", seed=1, cache=tmp_path)
    given(longer, "cloud", cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_what_simplifiers_get_is_welded() -> None:
    loose = Mesh(BOX.mesh.triangles.reshape(-1, 3), np.arange(36).reshape(-1, 3))
    dense = Given(BOX, "remesh", loose).dense
    assert (len(dense.vertices), len(dense.faces)) == (8, 12)
    assert is_manifold_and_closed(dense.vertices, dense.faces) == (True, True)


def test_a_cloud_is_reconstructed_for_simplifiers() -> None:
    dense = given(BOX, "cloud").dense
    assert len(dense.faces) > 1000
    assert np.ptp(dense.vertices, axis=0) == pytest.approx([1.0, 0.61, 0.43], abs=0.05)
