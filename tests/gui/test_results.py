"""What is done with a result by mouse and keys: another try, Decimate beside it, Adjust Last Operation, a bake."""

from __future__ import annotations

import pytest

from .window import Window

pytestmark = pytest.mark.blender
LINE, DECIMATE, BAKE = 1, 2, 3  # the buttons below Generate, Another Try being too narrow to count


@pytest.fixture(scope="module")
def made(window: Window) -> Window:
    """A window with one result."""
    window.fresh("monkey", faces=40, preset="DRAFT")
    window.generate()
    assert window.ended()["outcome"] == "finished"
    return window


def test_another_try_replaces_the_result_by_one_of_the_next_seed(made: Window) -> None:
    seed = made.call("setting", name="seed")
    made.another()
    done = made.ended()
    assert done["outcome"] == "finished" and made.call("setting", name="seed") == seed + 1
    assert sorted(done["objects"]) == ["Monkey", "Monkey_flashmesh"]


def test_the_options_of_the_last_operation_are_done_anew(made: Window) -> None:
    """Triangles to Quads in F9: the same mesh, joined, without a question to the engine.

    It may have up to four triangles more, or fewer: edges are cut or taken away where triangles are left over.
    """
    before = made.state()
    assert before["objects"]["Monkey_flashmesh"]["quads"] == 0
    made.adjust(1)
    after = made.until("quads", lambda now: now["objects"].get("Monkey_flashmesh", {}).get("quads"))
    made.key("Escape")
    result = after["objects"]["Monkey_flashmesh"]
    assert abs(result["faces"] + result["quads"] - before["faces"]) <= 4 and after["outcome"] == "finished"
    assert made.call("setting", name="quads") is False, "the panel's own setting stays"


def test_decimate_is_put_beside_it(made: Window) -> None:
    made.press(DECIMATE)
    done = made.until("the other mesh", lambda now: "Monkey_decimate" in now["objects"])
    assert done["objects"]["Monkey_decimate"]["location"][0] > 1.0
    made.key("ctrl+z")
    made.until("the undo", lambda now: "Monkey_decimate" not in now["objects"])


def test_normals_are_baked_while_the_window_stays_usable(made: Window) -> None:
    made.call("select", name="Monkey_flashmesh")
    made.press(BAKE)
    made.until("the image", lambda now: now["images"] == ["Monkey_flashmesh_normals"] and not now["modal"])
