"""Every text that an artist sees can be translated, and the dictionary has all of them and no others."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flashmesh_core.decode.inspection import Quality
from flashmesh_core.decode.results import GenerationResult
from flashmesh_core.drafters import DRAFTERS
from flashmesh_core.mesh.canonical import Mesh

ADDON = Path(__file__).resolve().parents[1] / "blender_addon"
CORE = ADDON.parent / "flashmesh_core"
FILES = sorted(path for part in ("ui", "scene") for path in (ADDON / part).glob("*.py"))
TABLES = {"STATES", "END_REASONS", "STAGES", "STEPS", "WORDS", "FAULTS"}  # of texts translated where they are shown
GERMAN = runpy.run_path(str(ADDON / "translations" / "german.py"))["GERMAN"]  # beside it is bpy, which is Blender's


def constants(node: ast.AST | None) -> list[str]:
    """The text that a node is, if it is one."""
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value else []


def of_items(node: ast.AST) -> Iterator[str]:
    """Names and descriptions of an enumeration's items."""
    for item in ast.walk(node):
        if isinstance(item, ast.Tuple) and len(item.elts) >= 3 and constants(item.elts[0]):
            yield from constants(item.elts[1])
            yield from constants(item.elts[2])


def of_call(call: ast.Call) -> Iterator[str]:
    """What a call of `tr`, of a property or of a layout shows."""
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    given = {word.arg: word.value for word in call.keywords}
    if name == "tr":
        yield from constants(call.args[0])
    elif name.endswith("Property"):
        hidden = "HIDDEN" in ast.dump(given["options"]) if "options" in given else False
        for word in ("name", "description") if not hidden else ():
            yield from constants(given.get(word))
        if "items" in given:
            yield from of_items(given["items"])
    elif "text" in given and "translate" not in given:
        yield from constants(given["text"])


def seen(path: Path) -> Iterator[str]:
    """All texts of a file that an artist sees."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield from of_call(node)
        elif isinstance(node, ast.ClassDef) and "_OT_" in node.name:
            yield from constants(ast.Constant(ast.get_docstring(node)))
        elif isinstance(node, ast.Assign):
            names = {getattr(target, "id", "") for target in node.targets}
            if "bl_label" in names or "OFFLINE" in names:
                yield from constants(node.value)
            elif any(name.endswith("_ITEMS") for name in names):
                yield from of_items(node.value)
            elif names & TABLES and isinstance(node.value, ast.Dict | ast.Tuple):
                for value in node.value.values if isinstance(node.value, ast.Dict) else node.value.elts:
                    yield from constants(value)


@pytest.fixture(scope="module")
def texts() -> set[str]:
    registered = {text for drafter in DRAFTERS.values() for text in (drafter.label, drafter.summary)}
    return registered | {text for path in FILES for text in seen(path) if re.search("[A-Za-z]{2}", text)}


def test_the_dictionary_has_every_text_and_no_other(texts: set[str]) -> None:
    assert len(texts) > 150
    assert sorted(texts - set(GERMAN)) == []
    assert sorted(set(GERMAN) - texts) == []


def test_translations_keep_the_places_of_values() -> None:
    braces = re.compile(r"{\w+}")
    assert [
        text for text, german in GERMAN.items() if sorted(braces.findall(text)) != sorted(braces.findall(german))
    ] == []
    assert all(german.strip() for german in GERMAN.values())


def of_figures(name: str) -> Any:
    """A table of the add-on's."""
    tree = ast.parse((ADDON / "scene" / "figures.py").read_text(encoding="utf-8"))
    return next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name
    )


def test_all_that_a_verdict_may_name_has_words() -> None:
    """As the engine says it, with numbers for values."""
    bad = Quality(0.5, 0.5, 0.1, 0.1, 0.0, 7, 1_234, 3, 0, 0, True)
    worse = replace(bad, proxy_flipped=2, proxy_doubled=1)
    some, none = Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]])), Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    said: set[str] = set()
    for mesh, end, quality in product((some, none), ("eos", "cancelled"), (bad, worse)):
        said.update(GenerationResult(mesh, end, 9, 9, 1.0, 0, 0, 0.1, 0.5, quality, wanted=2_000).faults)
    numbers = re.compile(r"\d+(?:[.,]\d+)*%?")
    assert {numbers.sub("#", text) for text in said} == {re.sub(r"{\w+}", "#", text) for text in of_figures("FAULTS")}


def test_every_step_of_reading_has_words() -> None:
    """Those that the engine tells, but for the start of its reader, of which there is nothing to say."""
    words = of_figures("STEPS")
    told: set[str] = set()
    for path in (*(CORE / "surface").glob("*.py"), CORE / "service" / "reading.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = [node.func, *node.args]
                if getattr(node.func, "id", "") == "partial":  # a call to come
                    called = node.args
                if getattr(called[0], "id", "") in ("progress", "report") and len(called) > 1:
                    told.update(constants(called[1]))
    assert told == set(words)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_text_made_of_parts_is_not_translated_a_second_time(path: Path) -> None:
    """A layout translates what it shows, unless told not to: only a whole text of the dictionary can be found there."""
    for call in (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)):
        given = {word.arg: word.value for word in call.keywords}
        made = isinstance(given.get("text"), (ast.JoinedStr, ast.BinOp))
        assert not made or "translate" in given, f"{path.name}:{call.lineno}"
