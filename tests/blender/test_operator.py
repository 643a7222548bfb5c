"""flashmesh.generate without a window, in the real Blender, with a real engine of random weights."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from flashmesh_core.service import protocol

from .conftest import HERE, Runner

pytestmark = pytest.mark.blender
Told = dict[str, Any]
OTHERS = {"symmetry", "keep_vertices", "clean_up", "fill_holes", "transfer_uvs", "hide_source", "keep_earlier",
          "drafter", "width", "target", "share", "density", "hard_edges", "selected_only"}  # fmt: skip


@pytest.fixture(scope="module")
def told(blender: Runner) -> Told:
    """What each scenario of addon_generates.py told, by its name."""
    return blender.told(HERE / "addon_generates.py")


def assert_within(boxes: list[Any], margin: float = 0.1) -> None:
    """A result's box lies in its source's, with `margin` (of the longest side) to spare."""
    (low, high), (result_low, result_high) = np.array(boxes)
    room = margin * (high - low).max()
    assert (result_low >= low - room).all() and (result_high <= high + room).all(), boxes


def test_every_kind_of_object(told: Told) -> None:
    kinds = told["every_kind"]
    assert kinds["answer"] == ["FINISHED"] and len(kinds["results"]) == 6 and kinds["messages"] == []
    assert set(kinds["boxes"]) == {"MESH", "CURVE", "FONT", "META", "SURFACE", "CLOUD"}
    for boxes in kinds["boxes"].values():
        assert_within(boxes, margin=0.2)  # the corners of eight faces lie outside of the ball that they stand for
    assert all(result["faces"] >= 1 and result["distance"] > 0 for result in kinds["results"])


def faces_as_rows(faces: np.ndarray) -> np.ndarray:
    """Triangles (F, 3, 3) as rows that do not depend on the corner that comes first: sum, sorted corners, normal."""
    normal = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
    return np.concatenate([faces.sum(axis=1), np.sort(faces, axis=1).reshape(-1, 9), normal], axis=1)


def test_the_result_lies_where_the_engine_says(told: Told) -> None:
    """Under a parent, sheared and mirrored: corner by corner what the engine gives for the world-space samples."""
    placed = told["placed"]
    expected, found = np.array(placed["expected"]), np.array(placed["found"])
    assert expected.shape == found.shape and len(found) >= 1
    # Corners, and with them the side that each face shows; faces may stand in another order and begin at another
    # corner, and a mirroring transform has the mesh itself turned the other way.
    expected, found = faces_as_rows(expected), faces_as_rows(found[:, ::-1])
    pairs = linear_sum_assignment(cdist(expected, found))
    np.testing.assert_allclose(found[pairs[1]], expected[pairs[0]], atol=1e-4)
    np.testing.assert_allclose(*placed["origins"], atol=1e-5)
    assert_within(placed["boxes"])
    assert (
        placed["parent"] == "Parent" and placed["collection"] == ["FlashMesh"] and placed["made"] == ["Child_flashmesh"]
    )


def test_the_steps_of_reading_are_told_in_words(told: Told) -> None:
    """One after the other and each from its beginning on; nothing of them is left once faces come."""
    reading = told["reading"]
    assert reading["outcome"] == "finished"
    steps = [row for row in reading["told"] if row[1] not in ("", "start")]
    assert len({step for _, step, _, _ in steps}) >= 2
    for stage, step, factor, text in steps:
        assert stage == "encoding" and 0 <= factor <= 1
        assert text.endswith(f", {100 * factor:.0f} %") and not text.startswith(f"{step},"), "in words"
    assert all(step == "" for stage, step, _, _ in reading["told"] if stage != "encoding")
    for before, after in pairwise(steps):
        assert before[1] != after[1] or before[2] <= after[2]


def test_far_from_the_origin(told: Told) -> None:
    assert_within(told["far_away"]["boxes"], margin=0.1)


def test_a_scale_of_nothing(told: Told) -> None:
    assert_within(told["flattened"]["boxes"])


def test_snapping_puts_vertices_onto_the_source(told: Told) -> None:
    loose, snapped = told["snapped"]["distances"]
    assert snapped < 0.01 < loose  # a sphere of 64 by 48 faces is within 0.005 of the round one


def test_looks_come_from_the_nearest_face(told: Told) -> None:
    looks = told["looks"]
    assert looks["materials"] == ["Red", "Blue"]
    assert {index for _, index, _ in looks["faces"]} == {0, 1}
    for x, index, smooth in looks["faces"]:
        assert abs(x) < 0.05 or (index == int(x > 0) and smooth == (x > 0))


def test_looks_that_are_the_same_all_over(told: Told) -> None:
    assert told["plain_looks"]["told"] == [[True, [None]], [True, [None]]]


def test_uv_maps(told: Told) -> None:
    assert told["uvs"]["layers"] == ["Painted"] and min(told["uvs"]["spread"]) > 0.1
    assert told["uvs"]["bare"]["answer"] == ["FINISHED"]
    (text,) = told["uvs"]["bare"]["messages"]
    assert text.startswith("UVs unwrapped anew, since the source has no UV map")


def test_quads(told: Told) -> None:
    assert told["quads"]["two"] == [4]
    assert told["quads"]["areas"][1] == pytest.approx(told["quads"]["areas"][0], rel=0.05)
    assert told["quads"]["triangles"][0] == told["quads"]["triangles"][1]
    for (faces, triangles), corners in zip(told["quads"]["counts"], told["quads"]["triangles"], strict=True):
        assert triangles == corners >= faces
    assert told["quads"]["counts"][0][0] == told["quads"]["triangles"][0], "without quads every face is a triangle"


def test_what_happens_while_quads_are_planned(told: Told) -> None:
    """The result is there, in triangles; a mesh that was changed or is edited is left alone."""
    made = told["quads_being_planned"]
    for case in made.values():
        assert case["text"] == "Joining triangles to quads" and case["corners"] == [3]
    assert [len(made[name]["results"]) for name in made] == [1, 1, 0]
    assert [made[name]["outcome"] for name in made] == ["cancelled", "finished", "cancelled"]
    assert "Left in triangles: stopped before quads were found" in made["cancelled"]["messages"]
    assert made["changed"]["messages"] == ["Left in triangles: the mesh was changed meanwhile"]
    assert made["edited"]["messages"] == ["stopped: the mode was changed"]


def test_a_mesh_that_could_not_be_closed_says_so(told: Told) -> None:
    assert told["closing"]["texts"] == ["3 open edges that could not be closed", "3 open edges"]
    assert told["closing"]["whole"] == "watertight"


def test_what_is_closed_to_the_engine_is_closed_in_the_scene(told: Told) -> None:
    assert told["sheets"]["leaf"] == [True, 0, False], "and Blender finds nothing to mend"
    for watertight, open_edges, gave_up in told["sheets"]["rings"]:
        assert not gave_up and watertight and open_edges == 0


def test_the_results_are_selected_and_the_first_is_active(told: Told) -> None:
    kinds = told["every_kind"]
    assert kinds["selected"] == kinds["made"] and len(kinds["made"]) == 6
    assert kinds["active_object"] == kinds["results"][0]["name"]


def test_a_result_is_drawn_in_front_of_a_source_that_can_be_seen(told: Told) -> None:
    assert told["hiding"]["no"]["in_front"] == ["Stays_flashmesh"]
    assert told["hiding"]["yes"]["in_front"] == ["Stays_flashmesh"], "Hides_flashmesh has nothing to flicker with"


def test_the_source_is_hidden_only_if_asked(told: Told) -> None:
    assert told["hiding"]["no"]["hidden"] == []
    assert told["hiding"]["yes"]["hidden"] == told["hiding"]["yes"]["not_rendered"] == ["Hides"]


def test_the_seed_decides(told: Told) -> None:
    assert told["same_seed"] == {"same": True, "other": True}


def test_odd_names(told: Told) -> None:
    for name, result in told["names"]["told"].items():
        assert result.endswith("_flashmesh") and name.startswith(result.removesuffix("_flashmesh"))
    assert told["names"]["told"]["Würfel ✓"] == "Würfel ✓_flashmesh"
    assert [name for name in told["names"]["made"] if "Again" in name] == ["Again_flashmesh"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Wire", "must have faces, got 1 edges alone"),
        ("Empty", "must have a surface, got nothing"),
        ("Heavy", "must have at most 20,000 faces with its modifiers, got 24,576"),
        ("Few", "at least 16 vertices, got 3"),
        ("Line", "a face with area"),
    ],
)
def test_what_cannot_be_a_source_is_told(told: Told, name: str, words: str) -> None:
    assert words in told["refused"]["told"][name]


def test_one_bad_object_leaves_the_others(told: Told) -> None:
    mixed = told["refused"]["mixed"]
    assert mixed["answer"] == ["FINISHED"] and "Good_flashmesh" in mixed["made"]
    assert [text for text in mixed["messages"] if "'Wire'" in text]
    assert "Wire_flashmesh" not in mixed["made"]


def test_the_engine_takes_every_mesh_that_blender_may_send(told: Told) -> None:
    assert 0 < told["refused"]["limit"] <= protocol.MAX_TRIANGLES


def test_what_the_engine_refuses_leaves_the_others(told: Told) -> None:
    """The line is the active object, and so the first; what the engine says of its faces is not of the option."""
    first = told["refused"]["first"]
    assert first["outcome"] == "finished" and [result["source"] for result in first["results"]] == ["Good"]
    assert [text for text in first["messages"] if "a face with area" in text]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("nothing", "Select a mesh"),
        ("light", "Select a mesh"),
        ("good", ""),
        ("edit", ""),  # selected faces alone are made anew
        ("python", "/nowhere/python"),
        ("address", "address must be given"),
    ],
)
def test_a_disabled_button_says_why(told: Told, case: str, words: str) -> None:
    reason, enabled = told["polls"][case]
    assert words in reason and enabled == (words == "") == (reason == "")


def test_settings(told: Told) -> None:
    settings = told["settings"]
    assert settings["default"] == [300, "STANDARD", False]
    assert settings["preferred"] == [77, "BEST_OF_4", True], "until the artist sets them"
    assert settings["set"] == [5, "DRAFT", False]
    assert settings["used"] == [6, 4, True, "DRAFT", 0.25], "options given, else the panel's"
    options = {"faces", "preset", "seed", "temperature", "watertight", "keep_to_surface", "snap", "quads"}
    assert set(settings["properties"]) == options | OTHERS
    assert settings["menu"] is True, "F3 finds only what stands in a menu"


def test_registered_again(told: Told) -> None:
    again = told["registered_again"]
    assert again["gone"] == [True, True] and again["left"] == [] and again["ended"] is True
    assert again["answer"] == ["FINISHED"]
