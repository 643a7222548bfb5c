# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on as a zip that Blender installs by drag and drop. Standard library only.

    python build_addon.py                                                    # dist/flashmesh-VERSION.zip
    python build_addon.py --wheels cpu --platform linux-x64 --python 3.11    # with what in-process mode needs
    python build_addon.py --check dist/flashmesh-0.1.0.zip                   # what Blender's validator overlooks

In the zip the core is a part of the add-on, not a module beside all others: Blender warns of those. So its imports, and
the add-on's of it, are made relative there.

The same files give the same bytes: sorted names, one date, nothing compressed (the weights hardly shrink, and
what a compressor writes differs from one version of it to the next).
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ADDON, CORE = ROOT / "blender_addon", ROOT / "flashmesh_core"
sys.path.append(str(ADDON / "build_tools"))

from addon_check import CHECKPOINT_FILES, MANIFEST, REQUIRED, check, parse_toml  # noqa: E402
from addon_wheels import PYTHONS, TARGETS, WheelError, download_wheels  # noqa: E402

PARTS = ("ui", "scene", "engine", "translations")  # batch/ is of batch_generate.py, which is not in the zip
DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold


class BuildError(Exception):
    """Why there is no zip, to be shown as it stands."""


def addon_files() -> dict[str, Path]:
    """Every file of the zip but its manifest and wheels, by its name there; BuildError if it lacks one."""
    modules = [ADDON / "__init__.py", *(path for part in PARTS for path in (ADDON / part).rglob("*.py"))]
    files = {path.relative_to(ADDON).as_posix(): path for path in modules}
    files |= {"LICENSE": ADDON / "LICENSE", "NOTICE": ROOT / "NOTICE", "licenses/Apache-2.0.txt": ROOT / "LICENSE"}
    for path in CORE.rglob("*"):
        place = path.relative_to(ROOT)
        if not path.is_file() or any(part.startswith((".", "__pycache__")) for part in place.parts):
            continue
        if path.suffix in (".py", ".npz") or path.name == "py.typed" or _is_checkpoint_file(place):
            files[f"lib/{place.as_posix()}"] = path
        else:
            raise BuildError(f"{place} must be Python, .npz or a file of a checkpoint to be in the zip: remove it")
    missing = [name for name in REQUIRED if name not in files or not files[name].is_file()]
    if missing:
        raise BuildError(f"the zip must have {', '.join(missing)}: not found in {ROOT}")
    return files


def build(output: Path, wheels: Iterable[Path] = (), platform: str = "", python: str = "", build: str = "") -> Path:
    """Writes the zip into the folder `output`, whole or not at all, and returns its path.

    `wheels` are for `platform` and `python`, with `build` ("cpu" or "cuda") of torch among them.
    """
    text = (ADDON / MANIFEST).read_text(encoding="utf-8")
    version = parse_toml(text)["version"]
    if {version} != _versions():
        raise BuildError(f"{MANIFEST}, pyproject.toml and flashmesh_core must have one version, got {version} and "
                         f"{', '.join(sorted(_versions()))}")  # fmt: skip
    files, name = addon_files(), f"flashmesh-{version}"
    packed = {f"wheels/{path.name}": path for path in wheels}
    if packed:
        text = manifest_with_wheels(text, sorted(packed), platform, python)
        name += f"-{build}-{platform}-py{python.replace('.', '')}"
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"{name}.zip"
    part = target.with_name(f"{target.name}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_entry(MANIFEST), text)
            for place, path in sorted({**files, **packed}.items()):
                if place.endswith(".py"):
                    archive.writestr(_entry(place), relative_imports(place, path.read_text(encoding="utf-8")))
                    continue
                with open(path, "rb") as source, archive.open(_entry(place), "w", force_zip64=False) as into:
                    shutil.copyfileobj(source, into, 1 << 20)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def relative_imports(place: str, code: str) -> str:
    """The code of a module at `place` in the zip, with every `from flashmesh_core...` made relative."""
    parts = place.split("/")
    inside = parts[:2] == ["lib", "flashmesh_core"]
    root = "." * (len(parts) - 2) if inside else "." * len(parts) + "lib.flashmesh_core"
    lines = code.splitlines(keepends=True)
    for node in ast.walk(ast.parse(code)):
        name, _, rest = (getattr(node, "module", None) or "").partition(".")
        if isinstance(node, ast.ImportFrom) and not node.level and name == "flashmesh_core":
            target = root + (rest if inside or not rest else f".{rest}")
            line = lines[node.lineno - 1]
            head, tail = line[: node.col_offset], line[node.col_offset :]
            lines[node.lineno - 1] = head + tail.replace(f"from {node.module} ", f"from {target} ", 1)
    return "".join(lines)


def manifest_with_wheels(text: str, wheels: Iterable[str], platform: str, python: str) -> str:
    """The manifest with wheels (paths in the zip), for one platform and the Blenders that have that Python."""
    blenders = PYTHONS[python]
    lines = [f'platforms = ["{platform}"]', "wheels = [", *(f'  "./{place}",' for place in wheels), "]"]
    lines += [f'blender_version_max = "{blenders.blender_max}"'] if blenders.blender_max else []
    text = re.sub(r'(?m)^blender_version_min = ".*"$', f'blender_version_min = "{blenders.blender_min}"', text)
    head, table, tail = text.partition("[permissions]")  # what follows a table's name belongs to that table
    return head.rstrip() + "\n" + "\n".join(lines) + "\n\n" + table + tail


def _is_checkpoint_file(place: Path) -> bool:
    return place.parts[1] == "checkpoints" and len(place.parts) == 4 and place.name in CHECKPOINT_FILES


def _versions() -> set[str]:
    """The version of the package, in both places that have it."""
    texts = (
        (CORE / "__init__.py", r'(?m)^__version__ = "(.+)"$'),
        (ROOT / "pyproject.toml", r'(?m)^version = "(.+)"$'),
    )
    found = [re.search(pattern, path.read_text(encoding="utf-8")) for path, pattern in texts]
    return {match[1] if match else "none" for match in found}


def _entry(place: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(place, DATE)
    entry.create_system, entry.external_attr = 3, 0o100644 << 16  # the same on every system
    return entry


def main(arguments: list[str] | None = None) -> int:
    """Builds or checks; 0 if all is well, 1 if --check finds something, 2 if there is no zip."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="DIR", help="default: dist")
    parser.add_argument("--wheels", choices=("cpu", "cuda"), help="bundle what in-process mode needs")
    parser.add_argument("--platform", choices=sorted(TARGETS), help="of the wheels")
    parser.add_argument("--python", choices=sorted(PYTHONS), help="of the wheels: 3.11 Blender 4.2 to 5.0, 3.13 later")
    parser.add_argument("--torch-index", default="", metavar="URL", help="package index for torch, if not its own")
    parser.add_argument("--check", type=Path, metavar="ZIP", help="check a zip and build none")
    options = parser.parse_args(arguments)
    if options.check:
        return _report(options.check)
    if bool(options.wheels) != bool(options.platform) or bool(options.wheels) != bool(options.python):
        parser.error("--wheels, --platform and --python go together")
    try:
        with tempfile.TemporaryDirectory() as folder:
            wheels: list[Path] = []
            if options.wheels:
                chosen = (options.wheels, options.platform, options.python)
                wheels = download_wheels(*chosen, Path(folder), options.torch_index)
            target = build(options.output, wheels, options.platform or "", options.python or "", options.wheels or "")
    except (BuildError, WheelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return _report(target)


def _report(path: Path) -> int:
    problems = check(path)
    for problem in problems:
        print(f"{path.name}: {problem}", file=sys.stderr)
    if not problems:
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, nothing wrong found")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
