"""Objects through Blender to arrays and back: names, transforms, places, winding, modifiers, limits."""

from pathlib import Path

import numpy as np
import pytest

from .conftest import HERE, Runner

pytestmark = pytest.mark.blender
FORMATS = ("glb", "obj", "ply", "blend")


@pytest.fixture(scope="module")
def answers(blender: Runner, sources: Path, tmp_path_factory: pytest.TempPathFactory):
    """The folder with chair.blend in every format; what more/zoo.blend holds, all and visible only."""
    folder = tmp_path_factory.mktemp("same")
    every, visible = blender.ask("ZOO", HERE / "rewrite.py", sources / "chair.blend", folder)
    return folder, every, visible


def farthest(a: list[list[float]], b: list[list[float]]) -> float:
    """The Hausdorff distance of two vertex sets."""
    distance = np.linalg.norm(np.array(a)[:, None] - np.array(b)[None], axis=2)
    return float(max(distance.min(axis=0).max(), distance.min(axis=1).max()))


def test_objects_come_back_as_they_were(blender: Runner, sources: Path, answers) -> None:
    folder = answers[0]
    source, *results = blender.describe(sources / "chair.blend", *(folder / f"same.{suffix}" for suffix in FORMATS))
    assert set(source) == {"Seat", "Leg"}
    assert source["Seat"]["volume"] == pytest.approx(48, rel=1e-5)
    assert source["Leg"]["triangles"] > 48, "the modifier makes more than the cone's 14 triangles"
    for suffix, result in zip(FORMATS, results, strict=True):
        if suffix == "ply":  # one object of all
            assert len(result) == 1
            (joined,) = result.values()
            assert joined["triangles"] == sum(item["triangles"] for item in source.values())
            everything = [corner for item in source.values() for corner in item["vertices"]]
            assert farthest(joined["vertices"], everything) < 1e-4
            continue
        assert set(result) == set(source), suffix
        for name, was in source.items():
            now = result[name]
            assert now["triangles"] == was["triangles"], (suffix, name)
            assert farthest(now["vertices"], was["vertices"]) < 1e-4, (suffix, name)
            assert now["volume"] == pytest.approx(was["volume"], rel=1e-4), "the winding stays outward"
    glb, _, _, blend = results
    for result in (glb, blend):
        np.testing.assert_allclose(result["Seat"]["matrix"], source["Seat"]["matrix"], atol=1e-5)
        # Shear is nobody's own transform: the place stays, and the mesh makes up for the rest.
        now, was = np.array(result["Leg"]["matrix"]), np.array(source["Leg"]["matrix"])
        np.testing.assert_allclose(now[:3, 3], was[:3, 3], atol=1e-5)
        assert np.linalg.det(now) < 0


def test_ply_keeps_mirrored_objects_outward(blender: Runner, sources: Path, answers) -> None:
    """The exporter itself turns them inside out."""
    source, ply, glb = blender.describe(sources / "chair.blend", answers[0] / "same.ply", answers[0] / "same.glb")
    (joined,) = ply.values()
    vertices = np.array(joined["vertices"])
    # Closed surfaces: the volume does not depend on the origin, so the parts add up.
    assert joined["volume"] == pytest.approx(sum(item["volume"] for item in source.values()), rel=1e-4)
    assert len(vertices) == sum(len(item["vertices"]) for item in glb.values())


def test_every_kind_of_object_is_read(answers) -> None:
    every = answers[1]
    assert {name for name, found in every.items() if not isinstance(found, str)} == {
        "Apart", "Mball", "Flat", "Hidden", "Ring", "Seat", "Text",
    }  # fmt: skip
    assert every["Hidden"][0] == 192, "modifiers of hidden objects are applied"
    assert every["Hidden"][1] == pytest.approx(100_000, abs=1e-3), "float64 in world space"
    assert every["Seat"][0] == 12
    assert every["Mball"][0] > 100, "two balls that melt are one surface"


def test_too_many_faces_are_refused_before_blender_makes_them(answers) -> None:
    message = answers[1]["Heavy"]
    assert "'Heavy'" in message and "at most 10,000 faces" in message and "32,768" in message


def test_visible_only(answers) -> None:
    every, visible = answers[1:]
    assert set(every) - set(visible) == {"Hidden", "Apart"}
