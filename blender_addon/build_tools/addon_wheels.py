# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheels that in-process mode needs, fetched by pip for any platform, without those of what Blender has."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

from addon_check import IN_BLENDER, normal_name

TORCH = "torch>=2.6"
BESIDE_TORCH = ("scipy>=1.10", "numba>=0.61", "safetensors>=0.4")
TORCH_INDEX = {"cpu": "https://download.pytorch.org/whl/cpu", "cuda": "https://download.pytorch.org/whl/cu128"}
_LINUX = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_24", "manylinux_2_17", "manylinux2014")


class Target(NamedTuple):
    """One of Blender's platforms: the tags of wheels that run there, best first, and what markers say there."""

    tags: tuple[str, ...]
    sys_platform: str
    system: str
    machine: str
    os_name: str


TARGETS = {
    "linux-x64": Target(tuple(f"{tag}_x86_64" for tag in (*_LINUX, "linux")), "linux", "Linux", "x86_64", "posix"),
    "linux-arm64": Target(tuple(f"{tag}_aarch64" for tag in (*_LINUX, "linux")), "linux", "Linux", "aarch64", "posix"),
    "macos-arm64": Target(("macosx_14_0_arm64",), "darwin", "Darwin", "arm64", "posix"),
    "macos-x64": Target(("macosx_14_0_x86_64",), "darwin", "Darwin", "x86_64", "posix"),
    "windows-x64": Target(("win_amd64",), "win32", "Windows", "AMD64", "nt"),
    "windows-arm64": Target(("win_arm64",), "win32", "Windows", "ARM64", "nt"),
}


class PythonOfBlender(NamedTuple):
    """The Blenders of one Python: their oldest numpy, the first of them, and the first that has another Python."""

    numpy: str
    blender_min: str
    blender_max: str | None


PYTHONS = {"3.11": PythonOfBlender("1.26.4", "4.2.0", "5.1.0"), "3.13": PythonOfBlender("2.3.0", "5.1.0", None)}


class WheelError(Exception):
    """Why the wheels can't be had, to be shown as it stands."""


def download_wheels(build: str, platform: str, python: str, folder: Path, index: str = "") -> list[Path]:
    """The wheels for a build of torch ("cpu", "cuda"), a platform of Blender's and a Python, in `folder`.

    `index` takes the place of torch's own package index. Raises WheelError.
    """
    if build == "cuda" and platform.startswith("macos"):
        raise WheelError("--wheels must be cpu for macOS, which has no CUDA, got cuda")
    # scipy and numba must be ones that the oldest numpy satisfies; that takes pip's own resolver. Their few
    # requirements have no markers, which pip would ask about this machine instead of the target.
    constraint = folder / "constraints.txt"
    constraint.write_text(f"numpy=={PYTHONS[python].numpy}\n", encoding="utf-8")
    _pip_download(folder, platform, python, BESIDE_TORCH, "--constraint", str(constraint))
    index = index or ("" if platform.startswith("macos") else TORCH_INDEX[build])
    waiting, seen = [TORCH], set(IN_BLENDER)
    while waiting:
        wanted = waiting.pop(0)
        name = normal_name(re.split(r"[^\w.-]", wanted)[0])
        if name in seen:
            continue
        seen.add(name)
        if _wheel_of(folder, name) is None:
            where = ("--index-url", index) if index and name == "torch" else ()
            _pip_download(folder, platform, python, [wanted], "--no-deps", *where)
        wheel = _wheel_of(folder, name)
        if wheel is None:
            raise WheelError(f"pip must have fetched a wheel for {wanted}, got none")
        waiting += requirements(wheel, platform, python)
    return [path for path in folder.glob("*.whl") if _name_of(path) not in IN_BLENDER]


def requirements(wheel: Path, platform: str, python: str) -> list[str]:
    """What a wheel requires on that platform and Python, as "name>=1"; the extras it asks for are followed too."""
    from pip._vendor.packaging.requirements import Requirement

    target = TARGETS[platform]
    environment = {
        "python_version": python, "python_full_version": f"{python}.0", "implementation_version": f"{python}.0",
        "sys_platform": target.sys_platform, "platform_system": target.system, "platform_machine": target.machine,
        "os_name": target.os_name, "implementation_name": "cpython", "platform_python_implementation": "CPython",
        "platform_release": "", "platform_version": "", "extra": "",
    }  # fmt: skip
    with zipfile.ZipFile(wheel) as archive:
        (place,) = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
        head = archive.read(place).decode("utf-8").partition("\n\n")[0]
    wanted = [Requirement(line) for line in re.findall(r"(?m)^Requires-Dist: (.+?)\r?$", head)]
    return [f"{item.name}{item.specifier}" for item in wanted if not item.marker or item.marker.evaluate(environment)]


def _pip_download(folder: Path, platform: str, python: str, wanted: list[str] | tuple[str, ...], *more: str) -> None:
    abi = "cp" + python.replace(".", "")
    target = ["--python-version", python, "--implementation", "cp", "--abi", abi, "--abi", "abi3", "--abi", "none"]
    tags = [part for tag in TARGETS[platform].tags for part in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--dest", str(folder), *target, *tags]
    done = subprocess.run([*command, *more, *wanted], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-3:]
        if "NewConnectionError" in done.stderr or "NameResolutionError" in done.stderr:
            said = ["no connection to the package index"]
        raise WheelError(f"no wheels of {' '.join(wanted)} for {platform} and Python {python}: {' '.join(said)}")


def _wheel_of(folder: Path, name: str) -> Path | None:
    return next((path for path in folder.glob("*.whl") if _name_of(path) == name), None)


def _name_of(wheel: Path) -> str:
    return normal_name(wheel.name.split("-")[0])
