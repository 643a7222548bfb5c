"""What a result says of itself: complete, or what is worse than it should be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from generated_meshes import shape

from flashmesh_core.decode.engine import Engine
from flashmesh_core.mesh.canonical import Mesh

CHAIR = shape(3, 80)


def test_a_source_of_fewer_faces_than_wanted_is_complete_with_its_own(debug_engine: Engine) -> None:
    own = len(CHAIR.faces)
    for keep in (None, False):
        result = debug_engine.generate(CHAIR, faces=2 * own, seed=3, keep_vertices=keep)
        assert result.available == own and abs(len(result.mesh.faces) - own) <= 0.1 * own
        assert (result.verdict, result.told()["wanted"]) == ("complete", 2 * own)
        assert "not within 10%" in replace(result, available=None).verdict
        assert "not within 10%" in replace(result, available=3 * own).verdict
        assert "not within 10%" in replace(result, wanted=round(0.8 * own)).verdict


def test_the_verdict_says_what_is_worse(debug_engine: Engine) -> None:
    whole = debug_engine.generate(CHAIR, faces=100, seed=3)
    count = len(whole.mesh.faces)
    assert replace(whole, wanted=count).verdict == "complete" == replace(whole, wanted=None).verdict
    assert "not within 10%" not in replace(whole, wanted=round(count / 1.08)).verdict
    short = replace(whole, wanted=2 * count, available=None)
    assert short.verdict == f"it has {count} faces, not within 10% of the {2 * count} wanted"
    assert replace(whole, wanted=None, end_reason="cancelled").verdict == "it was cut off before its end: cancelled"
    nothing = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    assert replace(whole, mesh=nothing).verdict == "it has no faces"
