"""No two blocks of six or more equal lines stand in the core: what is done twice is a function."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LENGTH = 6
# Nests of loops whose headers are alike and whose bodies are not; compiled code has no cheap way to be handed a body.
# The list may only shrink.
ALIKE = {
    # Over the faces that share a vertex with a face: each counts once in one, once a shared vertex in the other.
    ("surface/denoising.py", "surface/placement.py"),
    # Over the nodes near a sample: distances in float64 in one, sums in float32 in the other.
    ("surface/implicit.py", "surface/implicit.py"),
}


def code_lines(source: str) -> list[tuple[int, str]]:
    """Numbers and normalised texts of the lines that do something: no imports, signatures, docstrings, comments."""
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            left_out.update(range(node.lineno, (node.end_lineno or 0) + 1))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
            left_out.update(range(first, node.body[0].lineno))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            left_out.update(range(node.lineno, (node.end_lineno or 0) + 1))
    lines = [(number, " ".join(line.split("#")[0].split())) for number, line in enumerate(source.splitlines(), 1)]
    return [(number, line) for number, line in lines if number not in left_out and any(map(str.isalnum, line))]


def repeated(sources: dict[str, str]) -> set[tuple[str, str, str]]:
    """Pairs of files in which LENGTH lines are equal one after the other, with the first of these lines."""
    seen: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, source in sources.items():
        lines = [line for _, line in code_lines(source)]
        for at in range(len(lines) - LENGTH + 1):
            seen[tuple(lines[at : at + LENGTH])].append(name)
    return {(names[0], name, block[0]) for block, names in seen.items() for name in names[1:]}


def test_the_search_finds_a_block_that_is_moved_indented_and_commented() -> None:
    block = [f"x{k} = f({k})" for k in range(LENGTH)]
    once = "\n".join(block)
    again = "def g():\n    " + "\n    ".join(f"{line}  # so" for line in block)
    assert repeated({"a": once, "b": again}) == {("a", "b", "x0 = f(0)")}
    assert not repeated({"a": once, "b": "\n".join(block[:-1])})


def test_no_block_stands_twice() -> None:
    core = ROOT / "flashmesh_core"
    sources = {path.relative_to(core).as_posix(): path.read_text(encoding="utf-8") for path in core.rglob("*.py")}
    found = repeated(dict(sorted(sources.items())))
    assert {pair[:2] for pair in found} == ALIKE, found
