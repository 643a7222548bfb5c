"""Blender's own tools, driven by the benchmark that compares with them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.against_blender import Blender, blender_methods
from flashmesh_core.evaluation.methods import EMPTY
from flashmesh_core.evaluation.objects import ArtistObject, Given
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.figures import measure
from tests.mesh.shapes import torus

RING = Mesh(*torus(0.35, 0.15, rings=48, sides=24))

pytestmark = [
    pytest.mark.blender,
    pytest.mark.skipif(
        not (os.environ.get("FLASHMESH_BPY_PYTHON") or shutil.which("blender")), reason="Blender is not installed"
    ),
]


@pytest.fixture(scope="module")
def blender() -> Iterator[Blender]:
    """A running Blender."""
    running = Blender()
    yield running
    running.close()


def test_decimate_meets_the_count_near_the_surface(blender: Blender) -> None:
    for faces in (300, 100):  # one process answers both
        made = blender.simplify(RING, "decimate", faces)
        assert len(made.mesh.faces) == pytest.approx(faces, abs=4)
        assert measure(RING, made.mesh).excess_max < 0.08
        assert made.seconds > 0


def test_a_tool_that_fails_makes_nothing_and_the_next_request_is_answered(
    blender: Blender, capsys: pytest.CaptureFixture[str]
) -> None:
    assert blender.simplify(RING, "unheard of", 100).mesh is EMPTY
    assert "KeyError" in capsys.readouterr().err
    assert len(blender.simplify(RING, "decimate", 200).mesh.faces) > 0


def test_a_crash_is_survived(blender: Blender) -> None:
    blender.simplify(RING, "decimate", 200)
    assert blender.process is not None
    blender.process.kill()
    assert blender.simplify(RING, "decimate", 200).mesh is EMPTY
    assert len(blender.simplify(RING, "decimate", 200).mesh.faces) > 0


def test_rows_are_of_the_source_as_it_is_and_merged(blender: Blender) -> None:
    loose = Mesh(RING.triangles.reshape(-1, 3), np.arange(3 * len(RING.faces)).reshape(-1, 3))
    given = Given(ArtistObject("ring", RING, True), "remesh", loose)
    methods = blender_methods(blender, ["decimate", "quadriflow"])
    assert list(methods) == ["blender", "blender merged", "quadriflow"]
    assert measure(RING, methods["blender merged"](given, 300).mesh).watertight
    assert len(methods["blender"](given, 300).mesh.vertices) > 300  # triangles that share no vertex do not collapse
