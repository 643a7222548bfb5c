"""A share as the target, density, kept vertices, hard edges, quads: in the real Blender, with the shipped weights."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import HERE, Runner

pytestmark = pytest.mark.blender


@pytest.fixture(scope="module")
def told(blender: Runner) -> dict[str, Any]:
    """What each scenario of addon_wishes.py told, by its name."""
    return blender.told(HERE / "addon_wishes.py")


def test_a_share_of_the_triangles_can_be_the_target(told: dict[str, Any]) -> None:
    """2 % of 3,072; the panel says the number, and the time once a mesh was made; a number given goes before it."""
    share = told["share"]
    assert share["triangles"] == 3072 and share["before"] == "61 faces" and share["share"] == 61
    assert share["after"].startswith("61 faces, about ") and share["number"] == 20
    assert "must come to at most 10,000 faces, got 80 % of 49,152, which is 39,322" in share["refused"][0]
    assert "'Cloud' must have faces for a share of them, got points alone" in share["refused"][1]


def test_painted_places_get_more_faces(told: dict[str, Any]) -> None:
    made = told["density"]
    assert sum(made["dense"]) == made["result"]["wanted"] == 200 and made["result"]["watertight"]
    assert made["dense"][0] > 2 * made["dense"][1] and made["plain"][0] < 1.2 * made["plain"][1]
    assert made["objects"] == ["Sphere", "Sphere_flashmesh"] and made["meshes"] == 2, "the copy is gone"
    assert "'Dense' of 'Sphere' must be painted somewhere, got no weight above 0" in made["refused"][0]
    assert "density must be a vertex group of 'Sphere', which has Dense, got 'None'" in made["refused"][1]


def test_vertices_of_the_source_can_be_kept(told: dict[str, Any]) -> None:
    made = told["kept_vertices"]
    assert {chosen: run["faces"] for chosen, run in made.items()} == {"ON": 100, "OFF": 100, "AUTO": 100}
    assert made["ON"]["off"] < 1e-6 < 0.01 < made["OFF"]["off"] == made["AUTO"]["off"]


def test_hard_edges_and_seams_come_from_the_source(told: dict[str, Any]) -> None:
    """All twelve edges of a box, of length 2 each, and nothing else; of a ball none."""
    made = told["hard_edges"]
    assert made["sharp"][0] == pytest.approx(24.0, abs=0.1) and made["sharp"][1] == 0.0
    assert made["seams"][0] == pytest.approx(2.0, abs=0.1) and made["seams"][1] == 0.0
    assert made["ball"] == 0 and "edges marked sharp" in made["messages"][0]


@pytest.mark.parametrize("name", ["table", "house", "cog"])
def test_objects_of_primitives_become_quads(told: dict[str, Any], name: str) -> None:
    made = told["quads"][name]
    assert made["share"] >= 0.8 and set(made["corners"]) <= {3, 4} and made["valid"]
    assert made["triangles"] <= made["wanted"] + max(4, 0.1 * made["wanted"])


def test_a_wheel_of_voxels_gets_more_quads_than_its_triangles_pair_up_to(told: dict[str, Any]) -> None:
    """72 % before triangles left over were mended."""
    assert told["quads"]["cog remeshed"]["share"] > 0.74 and told["quads"]["cog remeshed"]["valid"]


def test_selected_faces_alone_are_made_anew_and_welded(told: dict[str, Any]) -> None:
    """From Edit Mode: the other faces stay, quads, materials and modifiers too; the whole is closed as it was."""
    made = told["patch"]
    assert made["described"][0] == f"Sphere: {made['described'][1]} faces selected"
    assert made["poll"] and made["result"]["watertight"] and made["result"]["open_edges"] == 0 and made["valid"]
    assert made["result"]["wanted"] == 120 and 108 <= made["result"]["faces"] <= 132
    assert made["messages"] == ["Welded to the rest along 48 edges"]
    assert made["materials"][0] == made["rest"] and made["quads"] >= made["rest"] - 48, "a ball has 48 triangles a pole"
    assert 0.97 < made["volume"] < 1.02 and made["off"] < 1e-6
    assert made["modifiers"] == [["BEVEL", pytest.approx(0.01)]] and made["source"] == [True, True, "OBJECT"]
    assert "must have 4 to 1151 of its faces selected, got 0" in made["refused"][0]
    assert "symmetry and density must be off for selected faces alone" in made["refused"][1]


def test_a_cloud_faces_the_camera_in_its_objects_origin(told: dict[str, Any]) -> None:
    frame = told["frame_of_camera"]
    assert frame["faces"] >= 10
    assert frame["facing"] > 0.99, "each slat and the wall between them is told by itself otherwise"
