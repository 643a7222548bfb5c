"""Functions of at most 50 lines, files of at most 400: what grows past that is two things."""

from __future__ import annotations

import ast
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAX_FUNCTION, MAX_FILE = 50, 400
LEFT_OUT = {".git", ".hypothesis", "build", "demo_out", "runs", "node_modules"}


def python_files(root: Path) -> list[Path]:
    """All Python files of the repository, without environments and what is built."""
    found: list[Path] = []
    for place, folders, names in os.walk(root):
        folder = Path(place)
        folders[:] = [name for name in folders if name not in LEFT_OUT and not (folder / name / "pyvenv.cfg").exists()]
        found += [folder / name for name in names if name.endswith(".py")]
    return found


def long_functions(source: str) -> set[str]:
    """The functions of a file that are too long, decorators aside."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    return {node.name for node in functions if (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION}


def test_what_is_too_long_is_found() -> None:
    body = "    pass\n" * (MAX_FUNCTION - 1)
    assert long_functions(f"def f():\n{body}") == set()
    inside = f"class A:\n    @property\n    async def f(self):\n{body.replace('    ', '        ')}        pass\n"
    assert long_functions(inside) == {"f"}


def test_no_function_and_no_file_is_too_long() -> None:
    files = python_files(ROOT)
    assert ROOT / "flashmesh_core" / "__main__.py" in files and Path(__file__) in files
    too_long = set()
    for path in files:
        name, source = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        lines = len(source.splitlines())
        assert lines <= MAX_FILE, f"{name} must have at most {MAX_FILE} lines, has {lines}"
        too_long |= {(name, function) for function in long_functions(source)}
    assert not too_long, too_long
