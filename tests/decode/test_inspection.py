"""What the inspection of a finished mesh finds: each fault put into a good one by hand."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from flashmesh_core.config import preset
from flashmesh_core.decode.engine import Engine
from flashmesh_core.decode.inspection import inspect
from flashmesh_core.decode.source import Source, prepare_source
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.sampling import sample_surface
from tests.mesh.shapes import box, sheet
from tests.surface.shapes import voxels


@cache
def source(closed: bool) -> Source:
    vertices, faces = box() if closed else sheet(3, 3)
    return prepare_source(Mesh(vertices, faces), None, preset("debug"), faces=100)


def changed(of: Source, fault: str) -> Mesh:
    faces = of.proxy.faces.copy()
    if fault == "flipped":
        faces[0] = faces[0, ::-1]
    if fault == "doubled":
        faces = np.concatenate([faces, faces[:1, ::-1]])
    if fault == "open":
        faces = faces[1:]
    return Mesh(of.proxy.vertices, faces)


@pytest.mark.parametrize("closed", [True, False])
def test_the_proxy_itself_has_no_faults(closed: bool) -> None:
    quality = inspect(source(closed), changed(source(closed), "none"))
    assert (quality.flipped, quality.doubled, quality.proxy_flipped, quality.proxy_doubled) == (0, 0, 0, 0)
    assert quality.faults == () and quality.gap == pytest.approx(quality.proxy_gap)


@pytest.mark.parametrize("closed", [True, False])
def test_a_flipped_face_is_told(closed: bool) -> None:
    quality = inspect(source(closed), changed(source(closed), "flipped"))
    assert (quality.flipped, quality.doubled) == (1, 0)
    assert quality.faults == ("faces that look the wrong way: 1",)


def test_a_doubled_face_is_told() -> None:
    quality = inspect(source(True), changed(source(True), "doubled"))
    assert quality.doubled == 1
    assert "faces over the vertices of others: 1" in quality.faults


def test_open_edges_and_what_is_missing_are_told() -> None:
    quality = inspect(source(True), changed(source(True), "open"))
    assert quality.open_edges == 3 and len(quality.faults) == 2
    assert quality.faults[0] == "3 edges are open although the source is closed"
    assert quality.faults[1].endswith("% of the longest side are missing somewhere")


def test_a_mesh_without_faces_is_infinitely_far() -> None:
    quality = inspect(source(True), Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)))
    assert quality.chamfer == quality.hausdorff == np.inf
    assert (quality.flipped, quality.doubled, quality.proxy_flipped) == (0, 0, 0)


def test_gashes_that_were_closed_are_told(debug_engine: Engine) -> None:
    ball = voxels(lambda points: np.linalg.norm(points, axis=-1) - 0.5, 64)
    holed = Mesh(ball.vertices, ball.faces[np.linalg.norm(ball.triangles.mean(axis=1) - (0, 0.1, 0.49), axis=1) > 0.06])
    closed, kept = (debug_engine.generate(holed, faces=40, clean_up=close) for close in (True, False))
    assert (closed.told()["gashes"], closed.quality.open_edges) == (1, 0)
    assert kept.told()["gashes"] == 0 and kept.quality.open_edges > 0


def test_points_on_no_surface_are_left_out_and_told(debug_engine: Engine) -> None:
    """The result is that of the others."""
    vertices, faces = box()
    samples = sample_surface(vertices, faces, 3_000, np.random.default_rng(1))
    points, normals = samples.points.astype(np.float64), samples.normals.astype(np.float64)
    strays = points.mean(axis=0) + np.array([[9.0, 0.0, 0.0], [0.0, -30.0, 0.0], [0.0, 0.0, 700.0]])
    clean = debug_engine.generate(points, normals, seed=3, max_faces=12)
    found = debug_engine.generate(
        np.concatenate([points, strays]), np.concatenate([normals, np.eye(3)]), seed=3, max_faces=12
    )
    assert (clean.told()["strays"], found.told()["strays"]) == (0, 3)
    np.testing.assert_array_equal(found.mesh.vertices, clean.mesh.vertices)
