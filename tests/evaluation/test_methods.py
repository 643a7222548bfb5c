"""What is compared on a source: the engine, its proxy, plain decimation, the model alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flashmesh_core.decode.engine import Engine
from flashmesh_core.decode.source import Source
from flashmesh_core.evaluation.methods import check_methods, decimate, generate, methods_of, proxy_of
from flashmesh_core.evaluation.objects import ArtistObject, Given, given
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.figures import measure
from flashmesh_core.mesh.io import PointCloud
from flashmesh_core.mesh.topology import topology_report
from tests.mesh.shapes import box

BOX = ArtistObject("box", Mesh(*box((1.0, 0.61, 0.43))), True)
HAS_MESHOPTIMIZER = importlib.util.find_spec("meshoptimizer") is not None
needs_meshoptimizer = pytest.mark.skipif(not HAS_MESHOPTIMIZER, reason="meshoptimizer is not installed")


def test_the_proxy_of_a_remesh_and_of_a_cloud_is_the_box() -> None:
    for family in ("remesh", "cloud"):
        source = given(BOX, family)
        proxy = proxy_of(source, 12)
        figures = measure(BOX.mesh, proxy)
        assert figures.faces <= 12
        assert figures.excess_max < 0.05
        assert figures.gap_max < 0.05


def test_the_proxy_lies_where_the_source_does() -> None:
    source = given(BOX, "remesh")
    assert isinstance(source.source, Mesh)
    far = Mesh(source.source.vertices * 20 + [500.0, 0.0, -7.0], source.source.faces)
    here, there = proxy_of(source, 40), proxy_of(Given(BOX, "remesh", far), 40)
    assert there.vertices.min(axis=0) == pytest.approx(here.vertices.min(axis=0) * 20 + [500.0, 0.0, -7.0], abs=0.05)


def test_a_source_without_a_surface_makes_nothing(debug_engine: Engine) -> None:
    few = Given(BOX, "scan", PointCloud(np.random.default_rng(0).random((4, 3))))
    assert not len(proxy_of(few, 40).faces)
    made = generate(debug_engine, few, 40)
    assert (len(made.mesh.faces), made.end_reason, made.decoded) == (0, "refused", 0.0)


@needs_meshoptimizer
def test_decimation_meets_the_count_and_keeps_a_mesh_closed() -> None:
    dense = given(BOX, "sculpt").dense
    made = decimate(dense, 100)
    assert 90 <= len(made.faces) <= 100
    assert topology_report(made.vertices, made.faces).is_watertight
    assert measure(BOX.mesh, made).excess_max < 0.04
    assert set(map(tuple, made.vertices)) <= set(map(tuple, dense.vertices))  # it keeps old vertices
    assert decimate(made, 1000) is made


@needs_meshoptimizer
def test_decimation_far_from_the_origin() -> None:
    dense = given(BOX, "remesh").dense
    far = Mesh(dense.vertices + 1e6, dense.faces)
    assert len(decimate(far, 60).faces) == pytest.approx(60, abs=2)


def test_the_model_alone_has_no_guidance_and_nothing_filled(debug_engine: Engine) -> None:
    source = given(BOX, "cloud")
    methods = methods_of(debug_engine, ["model", "result"], max_faces=12, coverage_guidance=13.0)
    assert list(methods) == ["result", "model"]
    alone = methods["model"](source, 12)
    again = generate(debug_engine, source, 12, max_faces=12, coverage_guidance=0.0, fill_holes=False)
    np.testing.assert_array_equal(alone.mesh.triangles, again.mesh.triangles)
    assert alone.decoded == 1.0
    assert alone.end_reason in ("eos", "face_limit")
    assert alone.seconds > 0
    result = methods["result"](source, 12)
    direct = debug_engine.generate(source.surface, source.normals, faces=12, max_faces=12, coverage_guidance=13.0)
    np.testing.assert_array_equal(result.mesh.triangles, direct.mesh.triangles)
    assert result.decoded == pytest.approx(1.0 - direct.filled / max(len(direct.mesh.faces), 1))


def test_the_artists_own_mesh_is_the_best_that_figures_can_be(debug_engine: Engine) -> None:
    source = given(BOX, "cloud")
    made = methods_of(debug_engine, ["artist"])["artist"](source, 12)
    figures = measure(BOX.mesh, made.mesh)
    assert (figures.edge_f1, figures.vertex_f1, made.decoded) == (1.0, 1.0, None)
    assert figures.gap_max < 1e-6
    assert 0.0 < figures.chamfer < measure(BOX.mesh, Mesh(BOX.mesh.vertices + 0.05, BOX.mesh.faces)).chamfer


def test_an_unaided_model_is_shown_nothing_of_the_proxy(debug_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    source = given(BOX, "cloud")
    states = []
    monkeypatch.setattr(Engine, "run", spied(Engine.run, states))
    methods = methods_of(debug_engine, ["unaided", "model"], max_faces=12, candidates=2)
    made = methods["unaided"](source, 12)
    methods["model"](source, 12)
    unaided, model = states
    assert not len(unaided.context.corner_keys) and not len(unaided.context.proxy_faces)
    assert len(model.context.corner_keys) and len(model.context.proxy_faces)
    np.testing.assert_array_equal(unaided.points, model.points)
    assert made.decoded == 1.0


def spied(run: Callable[..., Any], sources: list[Source]) -> Callable[..., Any]:
    """`Engine.run`, which keeps the first source that it is given."""

    def keeping(engine: Engine, given: list[Source], *rest: Any, **options: Any) -> Any:
        sources.append(given[0])
        return run(engine, given, *rest, **options)

    return keeping


def test_unknown_rows_are_refused(debug_engine: Engine) -> None:
    with pytest.raises(ValueError, match=r"rows must be some of .*, got 'results'"):
        check_methods(["results"])
    with pytest.raises(ValueError, match=r"rows must be some of .*, got 'oracle'"):
        methods_of(debug_engine, ["oracle"])
