"""The add-on's zip: built twice from this repository, and spoilt in each way that the check has to notice."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import build_addon
from build_addon import ADDON, MANIFEST, ROOT, check

addon_check = sys.modules["addon_check"]
BASE = {
    "schema_version": "1.0.0", "id": "flashmesh", "version": "0.1.0", "name": "FlashMesh", "tagline": "Meshes",
    "maintainer": "M", "type": "add-on", "license": ["SPDX:GPL-3.0-or-later"], "blender_version_min": "4.2.0",
}  # fmt: skip
WHEEL = "numba-0.61-cp311-cp311-manylinux_2_28_x86_64.whl"

WHEELS = sorted(
    [WHEEL, *(f"{name}-1.0-py3-none-any.whl" for name in ("llvmlite", "safetensors", "scipy", "sympy", "torch"))]
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_addon.build(tmp_path_factory.mktemp("dist"))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def zip_with(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_the_zip_is_complete_and_nothing_is_wrong(built: Path) -> None:
    assert built.name == f"flashmesh-{build_addon.parse_toml((ADDON / MANIFEST).read_text())['version']}.zip"
    assert check(built) == []
    with zipfile.ZipFile(built) as archive:
        names = set(archive.namelist())
        assert archive.read("LICENSE") == (ADDON / "LICENSE").read_bytes()
        assert archive.read("licenses/Apache-2.0.txt") == (ROOT / "LICENSE").read_bytes()
        weights = "flashmesh_core/checkpoints/nano/model.safetensors"
        assert archive.read(f"lib/{weights}") == (ROOT / weights).read_bytes()
    core = {f"lib/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "flashmesh_core").rglob("*.py")}
    own = {path.relative_to(ADDON).as_posix() for path in ADDON.rglob("*.py")}
    assert core <= names and {name.split("/")[0] for name in own - names} == {"batch", "build_tools"}
    assert not [name for name in names if name.endswith((".whl", ".pyc")) or "test" in name]


def test_the_same_bytes_twice(built: Path, tmp_path: Path) -> None:
    """From another folder, with other times of the files' reading, by another process with another hash seed."""
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    command = [sys.executable, ROOT / "build_addon.py", "--output", tmp_path / "new" / "dist"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    (again,) = (tmp_path / "new" / "dist").iterdir()
    assert sha256(again) == sha256(built) and "nothing wrong found" in done.stdout


def test_what_is_unknown_is_not_packed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    core = tmp_path / "flashmesh_core"
    core.mkdir()
    (core / "notes.docx").write_text("x")
    monkeypatch.setattr(build_addon, "CORE", core)
    monkeypatch.setattr(build_addon, "ROOT", tmp_path)
    with pytest.raises(build_addon.BuildError, match=r"notes\.docx must be Python"):
        build_addon.addon_files()
    (core / "notes.docx").unlink()
    with pytest.raises(build_addon.BuildError, match=r"the zip must have .*lib/flashmesh_core/__init__\.py"):
        build_addon.addon_files()


def test_wheels_stand_in_the_manifest(tmp_path: Path) -> None:
    wheels = []
    for name in WHEELS:
        wheels.append(tmp_path / name)
        wheels[-1].write_bytes(b"wheel")
    target = build_addon.build(tmp_path / "dist", wheels, "linux-x64", "3.11", "cpu")
    assert target.name.endswith("-cpu-linux-x64-py311.zip") and check(target) == []
    with zipfile.ZipFile(target) as archive:
        manifest = build_addon.parse_toml(archive.read(MANIFEST).decode())
    assert manifest["wheels"] == [f"./wheels/{name}" for name in WHEELS]
    assert manifest["platforms"] == ["linux-x64"] and set(manifest["permissions"]) == {"network", "files"}
    assert (manifest["blender_version_min"], manifest["blender_version_max"]) == ("4.2.0", "5.1.0")
    text = build_addon.manifest_with_wheels((ADDON / MANIFEST).read_text(), ["wheels/a"], "macos-arm64", "3.13")
    later = build_addon.parse_toml(text)
    assert later["blender_version_min"] == "5.1.0" and "blender_version_max" not in later


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"license": ["GPL-3.0-or-later"]}, "license must begin with SPDX:, got 'GPL-3.0-or-later'"),
        ({"license": ["SPDX:MIT"]}, "license must have SPDX:GPL-3.0-or-later"),
        ({"platforms": ["linux-x86_64"]}, "platforms must be among linux-arm64, linux-x64"),
        ({"plattforms": ["linux-x64"]}, "plattforms is no key of a manifest"),
        ({"tagline": "Meshes."}, "tagline must not end with punctuation, got 'Meshes.'"),
        ({"tagline": "x" * 65}, "tagline must be one line of 1 to 64 characters"),
        ({"permissions": {"network": "To download!"}}, "permissions.network must not end with punctuation"),
        ({"permissions": {"disk": "Files"}}, "permissions must be among camera, clipboard"),
        ({"permissions": ["files"]}, "permissions must be a filled dict, got ['files']"),
        ({"tags": ["AI"]}, "tags must be among Blender's own, got 'AI'"),
        ({"version": "1.0"}, "version must be like 1.2.3, got '1.0'"),
        ({"id": "Flash-Mesh"}, "id must be like flashmesh"),
        ({"blender_version_min": "4.2"}, "blender_version_min must be like 4.2.0, got '4.2'"),
        ({"name": None}, "name must be given"),
        ({"copyright": ["Me 2026"]}, "copyright must be a year and a name"),
    ],
)
def test_manifests(change: dict, problem: str) -> None:
    assert addon_check.check_manifest(BASE) == []
    manifest = {key: value for key, value in {**BASE, **change}.items() if value is not None}
    assert any(found.startswith(problem) for found in addon_check.check_manifest(manifest))


@pytest.mark.parametrize(
    ("manifest", "names", "problem"),
    [
        ({"wheels": [f"./wheels/{WHEEL}"], "platforms": ["linux-x64"]}, [], "listed in wheels but not in the zip"),
        ({}, [f"wheels/{WHEEL}"], "in the zip but not listed in wheels"),
        ({"wheels": [f"wheels/{WHEEL}"]}, [f"wheels/{WHEEL}"], "wheels must begin with ./wheels/"),
        ({"wheels": [f"./wheels/{WHEEL}"]}, [f"wheels/{WHEEL}"], "platforms must be given"),
        (
            {"wheels": [f"./wheels/{WHEEL}"], "platforms": ["windows-x64"]},
            [f"wheels/{WHEEL}"],
            "runs on linux-x64, not on those listed",
        ),
        (
            {"wheels": ["./wheels/numpy-2.0-py3-none-any.whl"]},
            ["wheels/numpy-2.0-py3-none-any.whl"],
            "Blender has numpy",
        ),
        ({"wheels": [f"./wheels/{WHEEL}"], "platforms": ["linux-x64"]}, [], "wheels must have llvmlite"),
        ({"wheels": ["./wheels/numba.whl"]}, ["wheels/numba.whl"], "must be named as wheels are"),
    ],
)
def test_wheels(manifest: dict, names: list[str], problem: str) -> None:
    assert any(problem in found for found in addon_check.check_wheels(manifest, names))


@pytest.mark.parametrize(
    ("tags", "platforms"),
    [
        ("manylinux2014_x86_64.manylinux_2_17_x86_64", {"linux-x64"}),
        ("linux_aarch64", {"linux-arm64"}),
        ("win_amd64", {"windows-x64"}),
        ("win32", set()),
        ("macosx_10_9_universal2", {"macos-x64", "macos-arm64"}),
        ("any", None),
    ],
)
def test_where_wheels_run(tags: str, platforms: set[str] | None) -> None:
    assert addon_check.wheel_platforms(tags) == platforms


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("__pycache__/a.cpython-311.pyc", "__pycache__/a.cpython-311.pyc should not be in the zip"),
        ("lib/flashmesh_core/tests/test_a.py", "should not be in the zip"),
        (".git/config", "should not be in the zip"),
        ("lib/flashmesh_core/walk-1.py311.1.nbc", "should not be in the zip"),
        ("lib/flashmesh_core/walk-1.py311.nbi", "should not be in the zip"),
        ("model.part", "should not be in the zip"),
        ("lib/../up.py", "must be a path inside the zip"),
        ("license", "license is there twice"),
    ],
)
def test_files_that_do_not_belong_there(name: str, problem: str) -> None:
    problems = addon_check.check_files([*build_addon.REQUIRED, name])
    assert any(problem in found for found in problems) and len(problems) == 1


@pytest.mark.parametrize(
    ("place", "code", "relative"),
    [
        ("a.py", "from flashmesh_core import protocol, x", "from .lib.flashmesh_core import protocol, x"),
        ("ui/a.py", "from flashmesh_core.protocol import x", "from ..lib.flashmesh_core.protocol import x"),
        (
            "a.py",
            "if 1:\n    from flashmesh_core.mesh.io import y\n",
            "if 1:\n    from .lib.flashmesh_core.mesh.io import y\n",
        ),
        (
            "lib/flashmesh_core/__init__.py",
            "from flashmesh_core.config import (\n    y,\n)",
            "from .config import (\n    y,\n)",
        ),
        ("lib/flashmesh_core/a.py", "from flashmesh_core import b  # é", "from . import b  # é"),
        ("lib/flashmesh_core/mesh/a.py", "from flashmesh_core.config import b", "from ..config import b"),
        ("lib/flashmesh_core/mesh/a.py", "from .io import b\nfrom flashmesh_core_x import c", None),
        ("a.py", 'TEXT = """\nfrom flashmesh_core.server import load_engine\n"""\n', None),
    ],
)
def test_imports_are_made_relative(place: str, code: str, relative: str | None) -> None:
    assert build_addon.relative_imports(place, code) == (code if relative is None else relative)


def test_the_core_in_the_zip_is_a_part_of_the_addon() -> None:
    modules = {
        "a.py": b"from flashmesh_core.b import c\nfrom .lib.flashmesh_core.d import e\n",
        "lib/flashmesh_core/f.py": b"from flashmesh_core import g\nfrom .h import i\n",
    }
    assert addon_check.check_imports(modules) == [
        "a.py must import flashmesh_core.b relatively, as a part of an extension",
        "a.py imports lib.flashmesh_core.d, which is not in the zip",
        "lib/flashmesh_core/f.py must import flashmesh_core relatively, as a part of an extension",
    ]


def test_imports_within_the_zip() -> None:
    modules = {"a.py": b"from . import b, c\nfrom .d import e\nimport b, json\n", "b.py": b"", "f.py": b"def"}
    modules["ui/g.py"] = b"from ..b import x\nfrom .. import ui\nfrom ..scene.h import y\nfrom . import g\n"
    found = addon_check.check_imports(modules)
    (syntax,) = [problem for problem in found if "is no Python" in problem]
    assert [problem for problem in found if problem != syntax] == [
        "a.py imports c, which is not in the zip",
        "a.py imports d, which is not in the zip",
        "a.py must import b relatively, as a part of an extension",
        "ui/g.py imports scene.h, which is not in the zip",
    ]
    assert syntax.startswith("f.py is no Python: ")


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"a.py": ""}, f"{MANIFEST} must be at the top of the zip, got none"),
        ({MANIFEST: "id = "}, f"{MANIFEST} is no TOML"),
        ({MANIFEST: 'id = "x"'}, "LICENSE must be in the zip"),
        (
            {MANIFEST: 'version = "0.1.0"', "lib/flashmesh_core/__init__.py": '__version__ = "0.2.0"'},
            "version must be flashmesh_core's 0.2.0, got '0.1.0'",
        ),
    ],
)
def test_zips(tmp_path: Path, files: dict[str, str], problem: str) -> None:
    assert any(found.startswith(problem) for found in check(zip_with(tmp_path / "a.zip", files)))


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_addon.main(["--check", str(zip_with(tmp_path / "a.zip", {}))]) == 1
    assert "must be at the top of the zip" in capsys.readouterr().err
    (tmp_path / "b.zip").write_text("no zip")
    assert build_addon.main(["--check", str(tmp_path / "b.zip")]) == 1
    with pytest.raises(SystemExit):
        build_addon.main(["--wheels", "cpu"])
    assert "--wheels, --platform and --python go together" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert build_addon.main(["--output", str(tmp_path / "file")]) == 2
    named = ["--wheels", "cuda", "--platform", "macos-arm64", "--python", "3.11", "--output", str(tmp_path)]
    assert build_addon.main(named) == 2
    assert "--wheels must be cpu for macOS, which has no CUDA, got cuda" in capsys.readouterr().err


def test_an_index_that_is_not_there_is_named_as_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import addon_wheels

    monkeypatch.setenv("PIP_RETRIES", "1")
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(addon_wheels.WheelError, match="no connection to the package index"):
        addon_wheels._pip_download(
            tmp_path, "linux-x64", "3.11", ["torch"], "--no-deps", "--index-url", "http://127.0.0.1:9/simple"
        )


def test_what_a_wheel_requires_on_its_target(tmp_path: Path) -> None:
    """Markers are asked about the target, not about this machine."""
    pytest.importorskip("pip._vendor.packaging")
    from addon_wheels import requirements

    lines = [
        "Metadata-Version: 2.1", "Requires-Dist: sympy>=1.13", 'Requires-Dist: pywin32; platform_system == "Windows"',
        'Requires-Dist: setuptools; python_version >= "3.12"', 'Requires-Dist: rich; extra == "nice"',
        'Requires-Dist: nvidia-cublas>=12; platform_machine == "x86_64" and sys_platform == "linux"',
    ]  # fmt: skip
    wheel = zip_with(tmp_path / "torch-2.9-py3-none-any.whl", {"torch-2.9.dist-info/METADATA": "\n".join(lines)})
    assert requirements(wheel, "windows-x64", "3.13") == ["sympy>=1.13", "pywin32", "setuptools"]
    assert requirements(wheel, "linux-x64", "3.11") == ["sympy>=1.13", "nvidia-cublas>=12"]
