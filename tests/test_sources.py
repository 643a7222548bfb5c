"""Sources made from an artist's mesh: closed where they should be, near the mesh, as noisy as asked."""

from __future__ import annotations

import numpy as np
import pytest

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.io import PointCloud
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.sources import DEFAULTS, FAMILIES, SourceSettings, make_source, vary, voxel_remesh
from tests.mesh.shapes import box, join, sheet, torus

BOX = Mesh(*box((1.0, 0.61, 0.43)))
RING = Mesh(*torus(0.35, 0.15, rings=24, sides=12))


def volume(mesh: Mesh) -> float:
    """The enclosed volume, positive where triangles wind outwards."""
    a, b, c = mesh.vertices[mesh.faces.T]
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def turned(degrees: float) -> np.ndarray:
    """The rotation about z, (3, 3)."""
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def farthest(mesh: Mesh, source: Mesh) -> float:
    """The largest distance from a vertex of the source to the mesh."""
    return float(TriangleTree.of_mesh(mesh.vertices, mesh.faces).distance(source.vertices).max())


@pytest.mark.parametrize("mesh", [BOX, RING])
def test_a_remesh_is_closed_outward_and_on_the_surface(mesh: Mesh) -> None:
    source = make_source(mesh, SourceSettings("remesh", cells=48), seed=0)
    assert isinstance(source, Mesh)
    assert is_manifold_and_closed(source.vertices, source.faces) == (True, True)
    assert volume(source) == pytest.approx(volume(mesh), rel=0.01)
    assert farthest(mesh, source) < 0.75 / 48  # corners and edges are cut within a cell
    assert len(source.faces) > 20 * len(mesh.faces)


def test_sides_on_the_lattice_keep_the_folds_that_rounding_makes() -> None:
    side = Mesh(BOX.vertices @ turned(30.0), BOX.faces)  # two sides lie on nodes, over which the triangles run aslant
    side = Mesh((side.vertices - side.vertices.min(axis=0)) / np.ptp(side.vertices, axis=0).max() - 0.5, side.faces)
    assert np.ptp(side.vertices[:, 0]) == 1.0
    thin = Mesh(side.vertices * [1, 1, 0.25 / np.ptp(side.vertices[:, 2])], side.faces)
    thin = Mesh(thin.vertices - [0, 0, thin.vertices[:, 2].min() + 0.25], thin.faces)
    source = voxel_remesh(thin, 32, closed=True)
    smooth = voxel_remesh(Mesh(thin.vertices + np.array([0, 0, 1e-4]), thin.faces), 32, closed=True)
    assert len(source.faces) > 1.02 * len(smooth.faces)  # folds of no thickness on the two sides
    assert farthest(thin, source) < 0.75 / 32
    assert volume(source) == pytest.approx(volume(thin), rel=0.02)


def test_parts_that_overlap_become_one() -> None:
    vertices, faces = join(box((0.6, 0.4, 0.4)), box((0.3, 0.8, 0.2)))
    source = voxel_remesh(Mesh(vertices, faces), 60, closed=True)
    assert volume(source) == pytest.approx(0.6 * 0.4 * 0.4 + 0.3 * 0.8 * 0.2 - 0.3 * 0.4 * 0.2, rel=0.02)


def test_an_open_sheet_gets_a_shell() -> None:
    sheet_mesh = Mesh(sheet(3, 2)[0] * [0.9, 0.7, 1.0] - [0.45, 0.35, 0.013], sheet(3, 2)[1])
    source = make_source(sheet_mesh, SourceSettings("remesh", cells=48), seed=0)
    assert isinstance(source, Mesh)
    assert is_manifold_and_closed(source.vertices, source.faces) == (True, True)
    distance = TriangleTree.of_mesh(sheet_mesh.vertices, sheet_mesh.faces).distance(source.vertices) * 48
    assert distance == pytest.approx(1.2, abs=0.1)
    assert volume(source) > 0


def test_a_sculpt_is_rounded_bumpy_and_closed() -> None:
    settings = SourceSettings("sculpt", cells=48, smoothing=6, bump_height=0.012, fine_noise=0.0006)
    source, plain = make_source(BOX, settings, seed=0), make_source(BOX, SourceSettings("remesh", cells=48), seed=0)
    assert isinstance(source, Mesh)
    assert isinstance(plain, Mesh)
    assert np.array_equal(source.faces, plain.faces)
    moved = np.linalg.norm(source.vertices - plain.vertices, axis=1)
    assert 0.0005 < np.median(moved) < 0.012
    assert farthest(BOX, source) < 0.035
    smooth = make_source(BOX, SourceSettings("sculpt", cells=48, smoothing=6), seed=0)
    assert isinstance(smooth, Mesh)
    assert volume(smooth) < volume(plain)  # rounding takes the edges away
    assert farthest(BOX, smooth) < farthest(BOX, source)


def test_a_scan_is_noisy_has_a_hole_and_no_normals() -> None:
    scan = make_source(BOX, "scan", seed=1)
    assert isinstance(scan, PointCloud)
    assert scan.normals is None
    settings = DEFAULTS["scan"]
    distance = TriangleTree.of_mesh(BOX.vertices, BOX.faces).distance(scan.points)
    # Away from edges the distance is the absolute value of a normal deviate of this deviation.
    assert np.median(distance) == pytest.approx(0.6745 * settings.noise, rel=0.05)
    whole = make_source(BOX, SourceSettings("scan", points=60_000, noise=0.003, normals=False), seed=1)
    assert isinstance(whole, PointCloud)
    lost = settings.points - len(scan.points)
    area = 2 * (0.61 + 0.43 + 0.61 * 0.43)
    assert lost == pytest.approx(settings.points * np.pi * 0.06**2 / area, rel=0.5)
    missing = whole.points[~np.isin(whole.points[:, 0], scan.points[:, 0])]
    assert np.linalg.norm(missing - missing.mean(axis=0), axis=1).max() < 2 * settings.hole_radius


def test_a_cloud_has_normals_off_by_about_a_degree() -> None:
    cloud = make_source(RING, "cloud", seed=2)
    assert isinstance(cloud, PointCloud)
    assert cloud.normals is not None
    assert len(cloud.points) == 16_384
    assert np.linalg.norm(cloud.normals, axis=1) == pytest.approx(1.0)
    tree = TriangleTree.of_mesh(RING.vertices, RING.faces)
    distance, face = tree.nearest(cloud.points)
    assert distance.max() < 0.005
    a, b, c = RING.vertices[RING.faces[face].T]
    true = np.cross(b - a, c - a)
    cosine = np.einsum("ij,ij->i", true, cloud.normals) / np.linalg.norm(true, axis=1)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    assert 0.5 < np.median(angle) < 2.5


@pytest.mark.parametrize("family", FAMILIES)
def test_the_seed_decides(family: str) -> None:
    def points(seed: int) -> np.ndarray:
        source = make_source(BOX, settings, seed=seed)
        return source.vertices if isinstance(source, Mesh) else source.points

    settings = SourceSettings(
        family, cells=24, points=500, noise=0.002, fine_noise=0.001, holes=1, hole_radius=0.05, normals=False
    )
    assert np.array_equal(points(4), points(4))
    assert points(4).shape != points(5).shape or not np.array_equal(points(4), points(5))


@pytest.mark.parametrize("family", FAMILIES)
def test_varied_settings_are_valid_and_differ(family: str) -> None:
    rng = np.random.default_rng(0)
    drawn = [vary(family, rng) for _ in range(40)]
    assert {settings.family for settings in drawn} == {family}
    assert len(set(drawn)) > 20


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"family must be one of .*, got 'photo'"):
        make_source(BOX, "photo", seed=0)
    with pytest.raises(ValueError, match=r"cells must be in \[8, 512\], got 4"):
        SourceSettings("remesh", cells=4)
    with pytest.raises(ValueError, match=r"noise must be at least 0, got -1"):
        SourceSettings("scan", noise=-1)
    with pytest.raises(ValueError, match=r"unit box .*, got a coordinate of size 5"):
        make_source(Mesh(BOX.vertices * 10, BOX.faces), "remesh", seed=0)
    with pytest.raises(ValueError, match="mesh must have at least 1 face, got 0"):
        make_source(Mesh(BOX.vertices, BOX.faces[:0]), "cloud", seed=0)
    with pytest.raises(ValueError, match="hole_radius must leave some of the 50 points, got 9"):
        make_source(BOX, SourceSettings("scan", points=50, holes=1, hole_radius=9.0), seed=0)
    thin = Mesh(*box((1.0, 1.0, 0.001)))
    thin = Mesh(thin.vertices + np.array([0, 0, 0.011]), thin.faces)
    with pytest.raises(ValueError, match="mesh must be thick enough"):
        voxel_remesh(thin, 16, closed=True)
    with pytest.raises(ValueError, match="mesh must be wound outwards"):
        voxel_remesh(Mesh(BOX.vertices, BOX.faces[:, ::-1].copy()), 16, closed=True)
