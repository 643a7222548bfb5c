"""Imports point one way: config <- mesh <- tokenizer <- model <- runtime <- state <- drafting <- decode <- service."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = "flashmesh_core"
# Each noun of the core may import those of the lines above it, and its own line's.
LAYERS = (
    ("config", "errors", "files", "jit", "kernel_cache", "splitmix", "batch.report"),
    ("drafters",),
    ("options",),
    ("arguments",),
    ("service.protocol",),
    ("mesh",),
    ("surface", "sources"),
    ("tokenizer", "picture", "token_choice", "candidates", "candidate_rows"),
    ("slices",),
    ("model",),
    ("checkpoint",),
    ("runtime",),
    ("state",),
    ("drafting", "completion"),
    ("decode",),
    ("evaluation", "bench"),
    ("service",),
    ("batch",),
    ("client",),
    ("__main__",),
)
RANK = {noun: rank for rank, nouns in enumerate(LAYERS) for noun in nouns}
WITHOUT_TORCH = {
    "arguments", "config", "drafters", "errors", "files", "jit", "kernel_cache", "options", "mesh",
    "splitmix", "surface", "sources", "tokenizer", "token_choice", "candidates", "candidate_rows", "picture", "slices",
    "state", "completion", "batch.report", "service.protocol", "service.process", "service.client", "client",
}  # fmt: skip
ADDON_MAY_IMPORT = {*sys.stdlib_module_names, "bpy", "bmesh", "mathutils", "numpy", "requests", CORE}


def imports_of(code: str, package: str, *, top_level: bool = False) -> set[str]:
    """Dotted names that `code`, a module of `package`, imports; with `top_level` only those outside functions."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(code)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif not (top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            waiting.extend(ast.iter_child_nodes(node))
    return found


def noun_of(name: str) -> str | None:
    """The part of the core that a dotted name belongs to; None for another library, or the core's public door."""
    parts = name.split(".")
    known = parts[0] == CORE and len(parts) > 1 and parts[1] not in ("load", "__version__")
    return noun_below(parts[1:]) if known else None


def noun_below(parts: list[str]) -> str:
    """The noun of a dotted name below the core: its package, or the module where the lists above name one."""
    module = ".".join(parts[:2])
    return module if module in RANK or module in WITHOUT_TORCH else parts[0]


def rank_noun(noun: str) -> str:
    """The entry of LAYERS that a noun belongs to: its own, or its package's."""
    return noun if noun in RANK else noun.partition(".")[0]


def modules_among(names: set[str]) -> set[str]:
    """The core's modules among dotted names, which may end in what is taken from a module."""
    below = {name.removeprefix(f"{CORE}.") for name in names if name.startswith(f"{CORE}.")}
    return {found for name in below for found in (name, name.rpartition(".")[0]) if found in MODULES}


def core_modules() -> dict[str, set[str]]:
    """What each module of the core imports, by its dotted name below the core."""
    modules = {}
    for path in sorted((ROOT / CORE).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / CORE).with_suffix("").parts)
        package = ".".join(path.relative_to(ROOT).parent.parts)
        modules[name] = imports_of(path.read_text(encoding="utf-8"), package)
    modules = {name.removesuffix(".__init__"): names for name, names in modules.items()}
    del modules["__init__"]  # the public door, which may import what it opens on
    return modules


MODULES = core_modules()


def test_imports_are_read_as_python_reads_them() -> None:
    code = "import a.b\nfrom . import c\nfrom ..d import e\ndef f():\n    from g import h\n"
    assert imports_of(code, "p.q") == {"a.b", "p.q.c", "p.d.e", "g.h"}
    assert imports_of(code, "p.q", top_level=True) == {"a.b", "p.q.c", "p.d.e"}
    assert [noun_of(name) for name in ("torch.nn", f"{CORE}.load", f"{CORE}.mesh.io")] == [None, None, "mesh"]


@pytest.mark.parametrize("module", MODULES)
def test_the_core_imports_only_what_lies_below(module: str) -> None:
    noun = rank_noun(noun_below(module.split(".")))
    assert noun in RANK, f"give {noun} a place in LAYERS"
    names = MODULES[module]
    assert not [name for name in names if name.split(".")[0] in ("training", "blender_addon", "tests", "bpy")]
    assert not [name for name in names if RANK.get(rank_noun(noun_of(name) or "config"), len(LAYERS)) > RANK[noun]]


def test_no_modules_import_each_other() -> None:
    """Imports inside functions count too: a cycle that Python survives still can't be read from one end."""
    waiting = {module: modules_among(names) for module, names in MODULES.items()}
    while free := [module for module, names in waiting.items() if not names]:
        for module in free:
            del waiting[module]
        for names in waiting.values():
            names.difference_update(free)
    assert not waiting


@pytest.mark.parametrize("module", [name for name in MODULES if noun_below(name.split(".")) in WITHOUT_TORCH])
def test_what_needs_no_torch_imports_none(module: str) -> None:
    names = MODULES[module]
    assert not [name for name in names if name.split(".")[0] in ("torch", "safetensors")]
    assert {noun_of(name) for name in names} - {None} <= WITHOUT_TORCH


ADDON = ROOT / "blender_addon"
ADDON_MODULES = {
    ".".join(path.relative_to(ADDON).with_suffix("").parts): path
    for path in sorted(ADDON.rglob("*.py"))
    if "build_tools" not in path.parts
}
ADDON_LAYERS = ("translations", "engine", "scene", "ui")  # each imports those before it; batch uses scene and engine


def addon_imports(module: str, *, top_level: bool = False) -> set[str]:
    """What a module of the add-on imports."""
    package = ".".join(["blender_addon", *module.split(".")[:-1]])
    return imports_of(ADDON_MODULES[module].read_text(encoding="utf-8"), package, top_level=top_level)


@pytest.mark.parametrize("module", ADDON_MODULES)
def test_the_addon_imports_no_torch_by_itself(module: str) -> None:
    names = addon_imports(module, top_level=True)
    assert {name.split(".")[0] for name in names} <= ADDON_MAY_IMPORT | {"blender_addon"}
    assert {noun_of(name) for name in names} - {None} <= WITHOUT_TORCH


@pytest.mark.parametrize("module", [name for name in ADDON_MODULES if "." in name])
def test_the_parts_of_the_addon_import_one_way(module: str) -> None:
    part = module.split(".", maxsplit=1)[0]
    below = {"batch": {"translations", "engine", "scene", "batch"}}
    below |= {name: set(ADDON_LAYERS[: number + 1]) for number, name in enumerate(ADDON_LAYERS)}
    used = {name.split(".")[1] for name in addon_imports(module) if name.startswith("blender_addon.")}
    assert used <= below[part]


def test_no_two_modules_of_the_addon_need_each_other() -> None:
    """A depth-first search for a cycle, imports inside functions included."""
    graph = {name: {_addon_module(used) for used in addon_imports(name)} - {"", name} for name in ADDON_MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a cycle: {' -> '.join([*path, name])}"
        if name not in done:
            for used in sorted(graph[name]):
                visit(used, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def _addon_module(name: str) -> str:
    """The module of the add-on that a dotted name lies in; '' for none."""
    parts = name.split(".")[1:] if name.startswith("blender_addon.") else []
    while parts and ".".join(parts) not in ADDON_MODULES:
        parts.pop()
    return ".".join(parts)
