# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender's validator overlooks in the add-on's zip. Standard library only."""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

MANIFEST = "blender_manifest.toml"
CHECKPOINT_FILES = ("README.md", "config.json", "model.safetensors")
CORE = "flashmesh_core"
CORE_INIT = f"lib/{CORE}/__init__.py"
REQUIRED = (
    "__init__.py", "LICENSE", "NOTICE", "licenses/Apache-2.0.txt", CORE_INIT,
    *(f"lib/flashmesh_core/checkpoints/nano/{name}" for name in CHECKPOINT_FILES),
)  # fmt: skip
IN_PROCESS = {"torch", "numba", "llvmlite", "scipy", "safetensors"}  # that in-process mode needs beside IN_BLENDER
IN_BLENDER = {"numpy", "requests", "urllib3", "idna", "certifi", "charset-normalizer"}  # never in the zip
PLATFORMS = ("linux-arm64", "linux-x64", "macos-arm64", "macos-x64", "windows-arm64", "windows-x64")
PERMISSIONS = ("camera", "clipboard", "files", "microphone", "network")
TAGS = {
    "3D View", "Add Curve", "Add Mesh", "Animation", "Bake", "Camera", "Compositing", "Development", "Game Engine",
    "Geometry Nodes", "Grease Pencil", "Import-Export", "Lighting", "Material", "Mesh", "Modeling", "Node", "Object",
    "Paint", "Physics", "Pipeline", "Render", "Rigging", "Scene", "Sculpt", "Sequencer", "System", "Text Editor",
    "Tracking", "UV", "User Interface",
}  # fmt: skip
KEYS: dict[str, type] = {
    "schema_version": str, "id": str, "version": str, "name": str, "tagline": str, "maintainer": str, "type": str,
    "license": list, "blender_version_min": str, "blender_version_max": str, "website": str, "copyright": list,
    "tags": list, "platforms": list, "wheels": list, "permissions": dict,
}  # fmt: skip
OPTIONAL = {"blender_version_max", "website", "copyright", "tags", "platforms", "wheels", "permissions"}
_SHAPES = {  # by key: what its value must look like, and an example
    "schema_version": (r"1\.0\.0", "1.0.0"),
    "id": (r"[a-z][a-z0-9]*(_[a-z0-9]+)*", "flashmesh"),
    "version": (r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?", "1.2.3"),
    "type": (r"add-on", "add-on"),
    "blender_version_min": (r"\d+\.\d+\.\d+", "4.2.0"),
    "blender_version_max": (r"\d+\.\d+\.\d+", "5.1.0"),
}
_UNWANTED_PARTS = {"__pycache__", "__MACOSX", "test", "tests", "build_tools", "Thumbs.db", "desktop.ini"}
_UNWANTED_END = re.compile(r"(\.(pyc|pyo|nbi|nbc|part|log|blend\d*|orig|rej|tmp)|~)$")


def check(path: Path) -> list[str]:
    """What is wrong with a zip, a sentence each; empty where all is well."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [item.filename for item in archive.infolist() if not item.is_dir()]
            broken = archive.testzip()
            if broken:
                return [f"{broken} is damaged"]
            if MANIFEST not in names:
                return [f"{MANIFEST} must be at the top of the zip, got none"]
            manifest = parse_toml(archive.read(MANIFEST).decode("utf-8"))
            modules = {name: archive.read(name) for name in names if name.endswith(".py")}
            core = archive.read(CORE_INIT).decode("utf-8") if CORE_INIT in names else ""
    except (OSError, zipfile.BadZipFile) as error:
        return [f"the zip can't be read: {error}"]
    except ValueError as error:
        return [f"{MANIFEST} is no TOML: {error}"]
    problems = check_manifest(manifest) + check_files(names) + check_wheels(manifest, names) + check_imports(modules)
    version = re.search(r'(?m)^__version__ = "(.+)"', core)
    if version and version[1] != manifest.get("version"):
        problems.append(f"version must be flashmesh_core's {version[1]}, got {manifest.get('version')!r}")
    return problems


def parse_toml(text: str) -> dict[str, Any]:
    """A TOML document; ValueError where it is none."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        from pip._vendor import tomli as tomllib
    return tomllib.loads(text)


def check_manifest(manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong in the manifest itself."""
    problems = [f"{key} is no key of a manifest" for key in manifest if key not in KEYS]
    problems += [f"{key} must be given" for key in KEYS if key not in manifest and key not in OPTIONAL]
    for key, value in manifest.items():
        kind = KEYS.get(key, object)
        words = value if isinstance(value, list) and kind is list else []
        if not isinstance(value, kind) or not value or not all(isinstance(word, str) and word for word in words):
            problems.append(f"{key} must be a filled {kind.__name__}, got {value!r}")
            continue
        if key in _SHAPES and not re.fullmatch(_SHAPES[key][0], value):
            problems.append(f"{key} must be like {_SHAPES[key][1]}, got {value!r}")
        problems += _check_words(key, words)
    texts = {"tagline": manifest.get("tagline", "none")}
    permissions = manifest.get("permissions", {})
    for name, reason in permissions.items() if isinstance(permissions, dict) else ():
        texts[f"permissions.{name}"] = reason
        if name not in PERMISSIONS:
            problems.append(f"permissions must be among {', '.join(PERMISSIONS)}, got {name!r}")
    return problems + [problem for key, text in texts.items() for problem in _check_terse(key, text)]


def check_files(names: Iterable[str]) -> list[str]:
    """What is missing, and what should not be there."""
    names = list(names)
    problems = [f"{name} must be in the zip" for name in REQUIRED if name not in names]
    for name in names:
        parts = name.split("/")
        hidden = any(part.startswith(".") and part != ".." for part in parts)
        if hidden or _UNWANTED_PARTS & set(parts) or _UNWANTED_END.search(name):
            problems.append(f"{name} should not be in the zip")
        if name.startswith("/") or "\\" in name or ":" in name or ".." in parts:
            problems.append(f"{name} must be a path inside the zip, with forward slashes")
    lower = [name.lower() for name in names]
    return problems + [f"{name} is there twice" for name in sorted({name for name in lower if lower.count(name) > 1})]


def check_wheels(manifest: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Whether the wheels listed are the wheels there, none is of what Blender has, and each fits the platforms."""
    there = {name for name in names if name.endswith(".whl")}
    wheels = [name for name in manifest.get("wheels", []) if isinstance(name, str)]
    listed = {name.removeprefix("./") for name in wheels}
    problems = [
        f"wheels must begin with ./wheels/, got {name!r}" for name in wheels if not name.startswith("./wheels/")
    ]
    problems += [f"{name} is listed in wheels but not in the zip" for name in sorted(listed - there)]
    problems += [f"{name} is in the zip but not listed in wheels" for name in sorted(there - listed)]
    platforms = set(manifest.get("platforms", []))
    names_of = {normal_name(name.rpartition("/")[2].split("-")[0]) for name in there | listed}
    lacking = sorted(IN_PROCESS - names_of) if names_of else []
    problems += [f"wheels must have {name}, which the engine needs inside Blender, got none" for name in lacking]
    for name in sorted(there | listed):
        words = name.rpartition("/")[2].removesuffix(".whl").split("-")
        if not 5 <= len(words) <= 6:
            problems.append(f"{name} must be named as wheels are: name-version-python-abi-platform.whl")
            continue
        if normal_name(words[0]) in IN_BLENDER:
            problems.append(f"{name} must not be in the zip: Blender has {normal_name(words[0])}")
        fits = wheel_platforms(words[-1])
        if fits is not None and not fits & (platforms or set(PLATFORMS)):
            problems.append(
                f"{name} runs on {', '.join(sorted(fits)) or 'no platform of Blender'}, not on those listed"
            )
        if fits is not None and not platforms:
            problems.append(f"platforms must be given, since {name} does not run everywhere")
    return problems


def check_imports(modules: Mapping[str, bytes]) -> list[str]:
    """Whether what the add-on's modules import from one another is in the zip, and all of them relatively.

    `modules`: every .py file by its name in the zip. Blender shows a warning for a module outside the extension.
    """
    problems = []
    own = {name.split("/")[0].removesuffix(".py") for name in modules} - {"__init__"}
    for name, code in modules.items():
        try:
            tree = ast.parse(code)
        except (SyntaxError, ValueError) as error:
            problems.append(f"{name} is no Python: {error}")
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and not node.level and str(node.module).split(".")[0] == CORE:
                problems.append(f"{name} must import {node.module} relatively, as a part of an extension")
            elif name.startswith("lib/"):
                continue
            elif isinstance(node, ast.ImportFrom) and node.level:
                gone = [wanted for wanted in _imported_files(name, node) if not _is_module(wanted, modules)]
                problems += [f"{name} imports {wanted.replace('/', '.')}, which is not in the zip" for wanted in gone]
            elif isinstance(node, ast.Import):
                parts = [alias.name for alias in node.names if alias.name.split(".")[0] in own]
                problems += [f"{name} must import {part} relatively, as a part of an extension" for part in parts]
    return problems


def _imported_files(name: str, node: ast.ImportFrom) -> list[str]:
    """What a relative import of the module `name` names, as paths in the zip without a suffix."""
    parents = name.split("/")[: -node.level]
    if node.module:
        return ["/".join([*parents, *node.module.split(".")])]
    return ["/".join([*parents, alias.name]) for alias in node.names]


def _is_module(place: str, modules: Mapping[str, bytes]) -> bool:
    return any(f"{place}{end}" in modules for end in (".py", "/__init__.py")) or any(
        name.startswith(f"{place}/") for name in modules
    )


def wheel_platforms(tags: str) -> set[str] | None:
    """Blender's names for where a wheel with this platform tag runs; None: everywhere."""
    found: set[str] = set()
    for tag in tags.split("."):
        if tag == "any":
            return None
        system = next((name for start, name in _SYSTEMS if tag.startswith(start)), "")
        for end, machines in _MACHINES:
            if system and tag.endswith(end):
                found |= {f"{system}-{machine}" for machine in machines}
    return found & set(PLATFORMS)


def normal_name(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


_SYSTEMS = (("manylinux", "linux"), ("linux", "linux"), ("macosx", "macos"), ("win", "windows"))
_MACHINES = (
    ("x86_64", ("x64",)), ("amd64", ("x64",)), ("aarch64", ("arm64",)), ("arm64", ("arm64",)),
    ("universal2", ("x64", "arm64")),
)  # fmt: skip


def _check_words(key: str, words: Iterable[str]) -> list[str]:
    rules: dict[str, tuple[Callable[[str], bool], str]] = {
        "license": (lambda word: bool(re.fullmatch(r"SPDX:[A-Za-z0-9.+-]+", word)), "begin with SPDX:"),
        "platforms": (lambda word: word in PLATFORMS, f"be among {', '.join(PLATFORMS)}"),
        "tags": (lambda word: word in TAGS, "be among Blender's own"),
        "copyright": (lambda word: bool(re.fullmatch(r"\d{4}(-\d{4})? \S.*", word)), "be a year and a name"),
    }
    if key not in rules:
        return []
    fits, what = rules[key]
    problems = [f"{key} must {what}, got {word!r}" for word in words if not fits(word)]
    if key == "license" and "SPDX:GPL-3.0-or-later" not in words:
        problems.append(f"license must have SPDX:GPL-3.0-or-later, as every add-on, got {words!r}")
    return problems


def _check_terse(key: str, text: object) -> list[str]:
    if not isinstance(text, str) or not 1 <= len(text) <= 64 or not text.isprintable() or text != text.strip():
        return [f"{key} must be one line of 1 to 64 characters, got {text!r}"]
    if not (text[-1].isalnum() or text[-1] in ")]}"):
        return [f"{key} must not end with punctuation, got {text!r}"]
    return []
