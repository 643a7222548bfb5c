"""Where results go and what they replace, in the real Blender, with a real engine of random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flashmesh_core.surface.isolated import SMALL

from .conftest import HERE, Runner

pytestmark = pytest.mark.blender
Told = dict[str, Any]


@pytest.fixture(scope="module")
def told(blender: Runner) -> Told:
    """What each scenario of addon_results.py told, by its name."""
    return blender.told(HERE / "addon_results.py")


def test_a_second_click_replaces_the_result(told: Told) -> None:
    clicks = told["second_click"]
    assert clicks["first"]["made"] == clicks["again"]["made"] == ["Cube_flashmesh"]
    assert clicks["again"]["results"][0]["source"] == "Cube" and clicks["again"]["selected"] == ["Cube_flashmesh"]
    assert clicks["note"] == ["Cube", 1, 5, 8] and len(clicks["meshes"]) == 2
    assert clicks["both"]["made"] == ["Cube_flashmesh"] and len(clicks["both"]["results"]) == 1, (
        "source and result: one"
    )


def test_earlier_results_are_kept_as_variants(told: Told) -> None:
    kept = told["variants_kept"]
    assert kept["notes"] == [["Cube", number, number, 8] for number in (1, 2, 3)]
    assert kept["shown"] == ["Cube", "Cube_flashmesh.002"] and kept["selected"] == ["Cube_flashmesh.002"]


def test_the_source_is_found_whatever_its_name_and_hidden(told: Told) -> None:
    found = told["renamed_and_hidden"]
    assert found["results"][0]["source"] == "Box" and found["made"] == [] and found["hidden"] == [True, True]
    assert found["results"][0]["name"] == "Mine"
    (low, high), (result_low, result_high) = np.array(found["boxes"])
    assert high[0] - low[0] == pytest.approx(6.0) and (result_high - result_low)[0] > 2.5, "with its modifier"


def test_of_a_source_that_is_gone_the_result_is_the_source(told: Told) -> None:
    assert told["source_gone"]["results"][0]["source"] == "Cube_flashmesh"


def test_the_result_keeps_the_parent(told: Told) -> None:
    assert told["parent_moves"]["parent"] == "Parent" and told["parent_moves"]["difference"] < 1e-5


def test_a_constrained_source_is_where_it_is_seen(told: Told) -> None:
    (low, high), (result_low, result_high) = np.array(told["constrained"]["boxes"])
    assert (result_low >= low - 0.3).all() and (result_high <= high + 0.3).all()


def test_the_result_is_seen_although_its_collection_is_not(told: Told) -> None:
    assert "Second_flashmesh" in told["collection_excluded"]["second"]
    assert "Third_flashmesh" in told["collection_excluded"]["third"]


def test_instances_are_a_part_of_the_source(told: Told) -> None:
    collection = told["collection_instanced"]
    assert collection["answer"] == ["FINISHED"] and collection["materials"] == ["Paint0", "Paint3"]
    for box, low, high in (
        (collection["box"], [-1, -1, 9], [4, 1, 11]),
        (told["geometry_nodes"]["box"], [-0.5, -0.5, -0.5], [8.5, 0.5, 0.5]),
    ):
        assert (np.array(box[0]) > np.array(low) - 0.5).all() and (np.array(box[1]) < np.array(high) + 0.5).all()
        assert box[1][0] - box[0][0] > 0.5 * (high[0] - low[0]) - 1.0


def test_two_surfaces_that_are_one_are_nothing_apart(told: Told) -> None:
    """A cube of side 2, 0.2 off along one axis: its top and bottom, a third of it, are a tenth of its side away."""
    gaps = told["gaps"]
    assert gaps["same"]["most"] < 1e-6
    assert gaps["moved"]["most"] == pytest.approx(0.1, abs=1e-4) and 0.02 < gaps["moved"]["mean"] < 0.06
    assert gaps["cloud"]["mean"] == pytest.approx(0.5, abs=1e-6), "its eight points, half way inside"
    assert gaps["strays"] == pytest.approx(gaps["cloud"]), "neither its strays nor its size with them count"
    assert gaps["small"] == SMALL, "what the engine leaves out"
    with_crumb, without = gaps["crumbs"]
    assert with_crumb["most"] == pytest.approx(8 / 10, rel=0.01) and without["most"] < 1e-6
    assert [near["most"] for near in gaps["near"]] == pytest.approx([0.07 / 2.07] * 2, rel=0.01), "what is near counts"
    assert [one["most"] for one in gaps["hollow"]] == pytest.approx([0.25, 0.0], abs=1e-6), "what is hidden inside"


def test_what_is_said_of_a_result(told: Told) -> None:
    (result,) = told["said"]["results"]
    assert result["faces"] == 12 == result["wanted"] and result["distance"] < 1 / 256, "half a bin"
    assert told["said"]["line"].startswith("Cube_flashmesh: 12 faces of 12 wanted in ")
    assert told["said"]["line"].endswith(" s, watertight")
    assert told["said"]["faulty"].endswith(
        " s, joined to 5 quads and 2 triangles, 1 open edge, 7 faces repaired, 60 strays left out, "
        "2 gashes closed, 2 % are missing somewhere"
    )


def test_a_source_that_is_too_large_says_so_before_the_click(told: Told) -> None:
    assert told["too_large"]["poll"] is False
    assert told["too_large"]["reason"].startswith("Huge has 25,165,824 faces, and at most 8,000,000 can be read")


def test_finishing_touches_need_no_engine(told: Told) -> None:
    anew = told["finished_anew"]
    assert anew["outcome"] == "finished" and anew["made"] == ["Cube_flashmesh"]
    assert anew["triangles"][0] == anew["triangles"][1] and anew["quads"] > 0


def test_a_symmetric_result_is_the_same_on_both_sides(told: Told) -> None:
    made = told["symmetric"]
    assert made["off"] < 1e-5 and made["sides"][0] == pytest.approx(-made["sides"][1], abs=1e-5)
    assert made["results"][0]["wanted"] == 40 and made["sides"][1] > 0.5
    assert "must reach to both sides of its origin for symmetry along X, got " in made["refused"]
