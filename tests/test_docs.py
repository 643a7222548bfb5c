"""What the documents name exists: files, commands and their options, and targets of make. The log tells of the past."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from flashmesh_core.__main__ import build_parser

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [path for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]) if path.name != "log.md"]
# Documents name files from the root, or from the package that they are about.
PLACES = [ROOT, ROOT / "docs", ROOT / "flashmesh_core", ROOT / "blender_addon", ROOT / "tests"]
FILE = re.compile(r"(?:[\w.-]+/)+[\w.-]+\.(?:py|md|toml|npz|png|json|glb)|\w+\.py|(?:[a-z_]+/){2,}")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
MADE = ("demo_out/", "dist/", "build/", "runs/", ".venv/", "~/")  # by the commands beside them


def code_of(text: str) -> list[str]:
    """The lines of code blocks, continued ones joined, indented ones too, and the spans between backticks."""
    blocks = [block for language, block in FENCE.findall(text) if language in ("", "sh", "bash", "powershell")]
    rest = FENCE.sub("", text)
    indented = "\n".join(line[4:] for line in rest.splitlines() if line.startswith("    "))
    lines = "\n".join([*blocks, indented]).replace("\\\n", " ").splitlines()
    spans = [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", rest)]
    return [line.strip() for line in [*lines, *spans] if line.strip()]


def missing_files(text: str, folder: Path) -> set[str]:
    """What a document links to or names as a file of the repository, and is not there."""
    links = {link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link}
    missing = {link for link in links if link and not (folder / link).exists()}
    for span in re.findall(r"`([^`\s]+)`", text):
        name = span.split("::")[0]
        if FILE.fullmatch(name) and not name.startswith(MADE):
            found = any((place / name).exists() for place in PLACES)
            if not found and "/" not in name:  # a module beside the one the sentence is about
                found = any(any(place.rglob(name)) for place in PLACES[1:]) or any((ROOT / "training").rglob(name))
            missing |= set() if found else {span}
    return missing


def missing_tests(text: str) -> set[str]:
    """Names of tests between backticks, alone or after a file and `::`, that no file of tests defines."""
    named = re.findall(r"`(?:[\w/.]+::)?(test_\w+)`", text)
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")]
    return set(named) - {name for source in sources for name in re.findall(r"def (test_\w+)", source)}


def options_of_flashmesh() -> dict[str, set[str]]:
    """The options of each subcommand."""
    parser = build_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {name: set(command._option_string_actions) for name, command in commands.choices.items()}


def wrong_commands(lines: list[str]) -> list[str]:
    """Lines that call a subcommand, option, script or target of make that does not exist."""
    flashmesh, wrong = options_of_flashmesh(), []
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in lines:
        try:
            words = shlex.split(line.split(" | ")[0].replace("\\", "/"), comments=True)
        except ValueError:
            continue
        options = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)}
        call = re.search(r"^(?:flashmesh|\S*python\S* -m flashmesh_core)\s+(\w+)", line)
        script = next((word for word in words if re.fullmatch(r"[\w/]+\.py", word)), None)
        if call:
            known = flashmesh.get(call[1], {"none"})
            wrong += [line] if known == {"none"} or options - known else []
        elif words and words[0] == "make" and len(words) > 1:
            wrong += [line] if words[1] not in targets else []
        elif script and re.search(r"python\S* |^blender ", line.replace("\\", "/").split(script)[0]):
            path = ROOT / script
            if not path.is_file():
                wrong.append(line)
            elif "blender" not in line.lower():
                wrong += [line] if options - literals(path) else []
    return wrong


def literals(script: Path) -> set[str]:
    """The options that stand in a script and in the modules beside it."""
    beside = script.parent.glob("*.py") if script.parent != ROOT else [script]
    return {found for path in beside for found in re.findall(r'"(--[a-z][\w-]*)"', path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_names_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert missing_files(text, path.parent) == set()
    assert missing_tests(text) == set()
    assert wrong_commands(code_of(text)) == []


def test_what_does_not_exist_is_found() -> None:
    text = "See [here](docs/none.md), `training/none.py`, `mesh/io.py`, `none.py` and `runs/x.py`."
    assert missing_files(text, ROOT) == {"docs/none.md", "training/none.py", "none.py"}
    block = (
        "```sh\nflashmesh generate a.obj \\\n  -o b.obj --faces 3 --none 1\nflashmesh serve --port 0  # --none\n```\n"
    )
    spans = "`flashmesh none`, `make none`, `make test`, `python training/train.py --steps 3`, `python none.py`"
    wrong = wrong_commands(code_of(block + spans + ", `python training/train.py --none`"))
    assert [line.split()[-1] for line in wrong] == ["1", "none", "none", "none.py", "--none"]


def _rows(path: Path) -> list[list[str]]:
    """The cells of every row of a table that begins with a family of sources."""
    text = path.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:remesh|sculpt|scan|cloud) \|.*) \|$", text, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows]


def test_the_readme_has_figures_of_the_page_on_quality() -> None:
    names = {"result": "result", "Decimate": "Blender", "artist": "artist"}
    measured: dict[tuple[str, str], list[str]] = {}
    for row in _rows(ROOT / "docs/quality.md"):
        measured.setdefault((row[0], row[1]), row)  # the first table is the one of closed meshes
    shown = _rows(ROOT / "README.md")
    assert [row[1] for row in shown] == list(names) * 4
    for family, name, *figures in shown:
        of = measured[family, names[name]]
        assert figures == [of[2], of[3], of[5], of[8]], (family, name)


def test_tables_of_families_stand_on_the_page_on_quality_alone() -> None:
    assert _rows(ROOT / "flashmesh_core/checkpoints/nano/README.md") == []
