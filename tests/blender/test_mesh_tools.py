"""Quads, UV maps and Decimate beside a result, in the real Blender. No engine is started."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .conftest import HERE, Runner

pytestmark = pytest.mark.blender


@pytest.fixture(scope="module")
def told(blender: Runner) -> dict[str, Any]:
    """What each scenario of mesh_tools.py told, by its name."""
    return blender.told(HERE / "mesh_tools.py")


@pytest.mark.parametrize("name", ["house.glb", "table.ply"])
def test_most_faces_become_quads_and_the_surface_stays(told: dict[str, Any], name: str) -> None:
    quads = told["quads"][name]
    assert quads["share"] >= 0.8 and set(quads["corners"]) <= {3, 4}
    assert quads["as_triangles"] <= quads["triangles"] + max(4, 0.1 * quads["triangles"])
    assert quads["area"] == pytest.approx(1.0, abs=0.02)
    assert quads["materials"] and quads["valid"]


def test_edges_are_turned_for_more_quads_and_nothing_else_changes(told: dict[str, Any]) -> None:
    """UV map, materials and sharp edges stay where they are; in Blender there are the quads that were planned."""
    made = told["cut_anew"]
    assert made["steps"] > 3 and made["quads"] == made["planned"] > 10 and made["valid"]
    assert made["off"] < 1e-6 and made["sharp"][1] == pytest.approx(made["sharp"][0])
    np.testing.assert_allclose(*made["sides"], rtol=1e-5)


def test_a_plan_that_does_not_fit_leaves_the_triangles_and_says_so(told: dict[str, Any]) -> None:
    made = told["planned_wrong"]
    assert made["corners"] == [3] * 12
    assert made["said"].startswith("Left in triangles: ") and "turn" in made["said"]


@pytest.mark.parametrize("name", ["ball", "cube"])
def test_a_uv_map_comes_over_in_whole_pieces(told: dict[str, Any], name: str) -> None:
    """No face is stretched over the map, and all of them cover as much of it as the source's do."""
    made = told["uv_maps"][name]
    assert made["result"][0] == made["source"][0] == 0.0
    assert made["result"][1] == pytest.approx(made["source"][1], rel=0.05)
    assert made["layers"] == ["UVMap"]
    assert 8 < made["seams"] == made["marked"] < 200, "cut where the source is, and nowhere else"
    assert made["text"] == f"UVs taken from the source; {made['seams']} seams cut"


def test_without_a_map_the_result_is_unwrapped_anew(told: dict[str, Any]) -> None:
    made = told["unwrapped"]
    assert made["text"] == f"UVs unwrapped anew, since the source has no UV map; {made['seams']} seams cut"
    assert made["seams"] == 12 and made["result"][0] == 0.0 and made["result"][1] > 0.2
    assert made["mode"] == "OBJECT" and made["selected"] == [True, True]


def test_the_results_of_a_source_are_compared_and_one_is_kept(told: dict[str, Any]) -> None:
    variants = told["variants"]
    assert variants["poll"] and not variants["other"] and variants["line"] == "Seed 12: 1 faces, 0.40 % off"
    assert variants["shown"] == variants["selected"] == variants["kept"] == ["Cube_flashmesh.001"]
    assert "must be the name of a result in this scene, got 'Cube'" in variants["refused"]
    assert variants["meshes"] == 3, "the others' meshes went with them"


def test_decimate_stands_beside_the_result(told: dict[str, Any]) -> None:
    made = told["decimated"]
    assert made["hidden"], "the result lies in it"
    assert made["made"] == [["Ball_decimate"], ["Ball_decimate"]] and made["modifiers"] == 0 and made["meshes"] == 4
    assert 0.8 * made["wanted"] <= made["got"] <= made["wanted"]
    assert made["smooth"] == 0, "as the source is"
    box, other = np.array(made["boxes"])
    np.testing.assert_allclose(other - box, [[2.4, 0, 0]] * 2, atol=0.25)


def test_what_is_asked_for_is_told_as_a_share_of_the_source(told: dict[str, Any]) -> None:
    assert told["expected"]["text"] == "12.5 % of the source's triangles", "of 768, modifiers applied"
    assert told["expected"]["quads"] == "12.5 % of the source's triangles, about 48 quads"


def test_normals_and_colors_of_the_source_are_baked(told: dict[str, Any]) -> None:
    """The bumps are in the normals, red and blue half each; all of Blender's settings are as before."""
    made = told["baked"]
    assert made["answer"] == ["FINISHED"] and made["linked"] == made["packed"] == [True, True]
    assert made["red"] + made["blue"] > 0.6, "where the map is"
    assert made["red"] == pytest.approx(made["blue"], rel=0.1)
    assert made["normals"][2] > 0.8 and made["normals"][0] == pytest.approx(0.5, abs=0.05) and made["bumps"] > 0.05
    assert made["material"] == ["Sphere_baked"] and made["kept"] == [True] * 4 and made["selected"] == ["Sphere"]
    red, green, blue = made["attribute"]
    assert green > 0.6 and red == blue == 0.0, "a color attribute counts where there is no material"
    assert made["clean"][0] == 0 and "flashmesh colors" not in made["clean"][1]
    assert made["clean"][2].count("Sphere_colors") == 1 and "Sphere_colors" not in made["without"]
    assert "must have a source in the scene to bake from, got none" in made["refused"]


def test_the_panel_speaks_the_language_of_blender(told: dict[str, Any]) -> None:
    if not told["german"]:
        pytest.skip("this Blender has no languages")
    german, english = told["german"]["de_DE"], told["german"]["en_US"]
    assert german[0].startswith("50 % der Dreiecke der Vorlage") and english[0].startswith("50 % of the source's tri")
    assert german[1:4] == ["Cube: 6 Flächen", "Harte Kanten behalten", "Noch ein Versuch"]
    assert english[1:4] == ["Cube: 6 faces", "Keep Hard Edges", "Another Try"]
    assert german[4] == "es hat 1,080 Flächen, die um mehr als 10% von den 2,000 gewünschten abweichen"
    assert english[4:] == ["it has 1,080 faces, not within 10% of the 2,000 wanted", "it is blue"]
    assert german[5] == "it is blue", "what is not known is said as it comes"
