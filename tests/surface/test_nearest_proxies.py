"""Of several readings of one surface that one is taken whose proxy lies nearest to it."""

from __future__ import annotations

from pathlib import Path
from threading import Event, get_ident

import numpy as np
import pytest
import trimesh

from flashmesh_core.mesh.canonical import Mesh, Normalization
from flashmesh_core.mesh.figures import measure, surface_distances
from flashmesh_core.mesh.io import load_source
from flashmesh_core.sources import DEFAULTS, make_source
from flashmesh_core.surface import reading
from flashmesh_core.surface.denoising import Denoised, as_it_came, denoise
from flashmesh_core.surface.nearest_proxies import nearest_proxies, trimmed_proxies
from flashmesh_core.surface.reading import dense_surface, read_surface
from flashmesh_core.surface.simplification import simplifier_of, trimmed, varied_proxies
from tests.surface.shapes import box_distance, stone, voxels

EXAMPLES = Path(__file__).parents[2] / "examples"
HALF, STEP = np.array([0.4, 0.3, 0.06]), 0.025
SURFACE = voxels(box_distance(HALF), 64)
PLAIN = {"handle_edges": 6.0, "rough": False}


def stepped_plate(points):
    """A plate with a step of about a cell around its top."""
    low = box_distance(HALF - [0.0, 0.0, STEP])(points)
    high = box_distance(HALF - [0.05, 0.05, 0.0])(points)
    return np.minimum(low, high)


def squashed(mesh):
    """A reading that is plainly wrong: the planes of the surface at half its height."""
    way = as_it_came(mesh, 0.0)
    flat = Mesh(mesh.vertices * [1.0, 1.0, 0.5], mesh.faces)
    return Denoised(flat, way.normals, flat.vertices, 0.0)


@pytest.mark.parametrize("right", [0, 1])
def test_the_reading_is_taken_that_lies_nearer(right) -> None:
    ways = [squashed(SURFACE), denoise(SURFACE)][:: 1 if right else -1]
    made = nearest_proxies(SURFACE, ways, [12, 24], [0, 1], **PLAIN)
    wanted = varied_proxies(ways[right], [12, 24], [0, 1], **PLAIN)
    for got, expected in zip(made, wanted, strict=True):
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a.vertices, b.vertices)
            np.testing.assert_array_equal(a.faces, b.faces)


def test_cancelling_ends_every_thread() -> None:
    class CancelledError(Exception):
        pass

    def cancel(stage: str, share: float) -> None:
        raise CancelledError

    fine = voxels(box_distance(HALF), 96)
    with pytest.raises(CancelledError):
        nearest_proxies(fine, [denoise(fine), as_it_came(fine, 0.0)], [12], [0], progress=cancel, **PLAIN)


def test_cancelling_while_another_reading_is_at_work(monkeypatch) -> None:
    """The first reading is done: the other one is told to stop all the same."""
    first, second = denoise(SURFACE), as_it_came(SURFACE, 0.0)
    told, stopped = Event(), []

    def slow(way, *, progress=None, **settings):
        if way is first:
            return simplifier_of(way, **settings)
        told.wait()
        try:
            progress("simplify", 0.5)
            while True:
                progress("simplify", 0.5)
        except Exception as error:
            stopped.append(type(error).__name__)
            raise

    def cancel(stage: str, share: float) -> None:
        told.set()
        raise KeyboardInterrupt

    monkeypatch.setattr("flashmesh_core.surface.nearest_proxies.simplifier_of", slow)
    with pytest.raises(KeyboardInterrupt):
        nearest_proxies(SURFACE, [first, second], [12], [0], progress=cancel, **PLAIN)
    assert stopped == ["_StoppedError"]


def test_what_goes_wrong_in_a_thread_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = [denoise(SURFACE), as_it_came(SURFACE, 0.0)]
    threads = []

    def failing(way, **settings):
        threads.append(get_ident())
        if way is ways[1]:
            raise ValueError("the second reading went wrong")
        return simplifier_of(way, **settings)

    monkeypatch.setattr("flashmesh_core.surface.nearest_proxies.simplifier_of", failing)
    with pytest.raises(ValueError, match="the second reading went wrong"):
        nearest_proxies(SURFACE, ways, [12], [0], **PLAIN)
    assert len(set(threads)) == 2 and get_ident() in threads


def test_a_mesh_without_noise_is_read_both_ways() -> None:
    """Filtering rounds a step of a cell: the proxy by the mesh's own planes lies nearer, and is the reading's."""
    source = voxels(stepped_plate, 48)
    read = read_surface(source, faces=60)
    unit = Mesh(read.box.apply(source.vertices), source.faces)
    filtered = varied_proxies(denoise(unit, wanted=60), [60, 120], [0])[0][0]
    own, other = (surface_distances(unit, mesh) for mesh in (read.proxies[0], filtered))
    assert own.gap_mean + own.excess_mean < 0.8 * (other.gap_mean + other.excess_mean)


def test_bumps_of_a_coarse_mesh_are_no_roughness() -> None:
    """As if they were noise, the filtered planes alone would lie .002 off on the mean."""
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.5)
    waves = 0.04 * np.prod(np.sin(40.0 * ball.vertices), axis=1)
    source = Mesh(ball.vertices * (1.0 + waves)[:, None], ball.faces.astype(np.int64))
    reading = read_surface(source, faces=2_000, keep_vertices=False)
    proxy = Mesh(reading.box.invert(reading.proxies[0].vertices), reading.proxies[0].faces)
    assert surface_distances(source, proxy).gap_mean < 0.0014


def test_more_faces_are_trimmed_to_those_that_show_the_shape() -> None:
    """Of a box with more vertices on its edges and in its sides the corners are left."""
    box = trimesh.creation.box(extents=2 * HALF).subdivide().subdivide()
    made = trimmed(Mesh(np.array(box.vertices), np.array(box.faces)), 12)
    assert len(made.faces) == 12
    corners = HALF * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    np.testing.assert_allclose(np.unique(made.vertices.round(3), axis=0), np.unique(corners, axis=0), atol=1e-9)


def test_what_is_trimmed_is_taken_where_it_lies_nearer() -> None:
    """Stones of twenty corners: of two clouds the collapse leaves an edge that costs nothing, and loses a corner."""
    plain, made = [], []
    for seed in (1, 5):
        shape = stone(seed)
        source = make_source(shape, DEFAULTS["cloud"], seed=seed)
        box, surface = dense_surface(source.points, source.normals)
        way, count = denoise(surface, wanted=36), len(shape.faces)
        counts, more = [count, 2 * count], [54, 72]
        first = nearest_proxies(surface, [way], [*counts, 54], [0], shells=False, **PLAIN)[0][0]
        of = trimmed_proxies(surface, [way], counts, [0], more=more, handle_edges=6.0, shells=False)[0]
        assert len(of) == len(counts) and len(of[0].faces) == count
        for meshes, mesh in ((plain, first), (made, of[0])):
            meshes.append(measure(shape, Mesh(box.invert(mesh.vertices), mesh.faces)))
    assert all(figures.vertex_f1 == 1.0 for figures in made)
    assert max(figures.vertex_f1 for figures in plain) < 1.0


def test_a_remeshed_house_with_few_faces_gains_by_trimming(monkeypatch) -> None:
    """At 60 faces: a mesh of 90 that is trimmed to these lies half as far off, and is the reading's."""
    house = load_source(EXAMPLES / "house.glb")
    unit = Mesh(Normalization.of_points(house.vertices).apply(house.vertices), house.faces)
    source = make_source(unit, DEFAULTS["remesh"], seed=0)

    def off() -> float:
        read = read_surface(source, faces=60)
        distances = surface_distances(read.surface, read.proxies[0])
        assert len(read.proxies[0].faces) <= 60 and read.is_closed
        return distances.gap_mean + distances.excess_mean

    ends = off()
    monkeypatch.setattr(reading, "TRIMMED", ())
    assert ends < 0.7 * off()
