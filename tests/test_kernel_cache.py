"""The cache of compiled functions: damaged files, folders that cannot be written, full disks; in real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flashmesh_core import kernel_cache

ROOT = Path(__file__).resolve().parents[1]
MODULE = """
from flashmesh_core.jit import njit

@njit(cache=True)
def double(x):
    return 2 * x

@njit(cache=True)
def half(x):
    return 0.5 * x
"""
USE = """
import resource, signal, sys
if len(sys.argv) > 1:  # as on a full disk: larger files cannot be written
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
import kernels
print(kernels.double(21), kernels.half(3.0), sum(kernels.double.stats.cache_hits.values()))
"""


def use(folder: Path, *arguments: str, **environment: str) -> tuple[str, str]:
    """What a new process computes, with how many functions it found compiled; and what it said."""
    (folder / "kernels.py").write_text(MODULE) if not (folder / "kernels.py").exists() else None
    path = os.pathsep.join((str(folder), str(ROOT)))
    env = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    env.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", USE, *arguments], env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr


def files(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.rglob(f"*double*{suffix}"))


@pytest.mark.parametrize("damage", ["index", "empty", "half", "bit", "other"])
def test_what_is_damaged_is_made_anew_and_said_once(tmp_path: Path, damage: str) -> None:
    assert use(tmp_path) == ("42 1.5 0", "")
    assert use(tmp_path) == ("42 1.5 1", "")
    (victim,) = files(tmp_path, ".nbi" if damage == "index" else ".nbc")
    whole = victim.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    victim.write_bytes({"index": whole[:-9], "empty": b"", "half": whole[: len(whole) // 2], "bit": bytes(flipped)}.get(
        damage, b"\x80\x05K\x2a."))  # fmt: skip
    figures, said = use(tmp_path)
    assert figures == "42 1.5 0" and said.count("\n") == 1
    assert "made anew" in said
    assert use(tmp_path) == ("42 1.5 1", "")


def test_where_nothing_can_be_written_a_private_folder_is_used(tmp_path: Path) -> None:
    """Neither beside the module, where a file stands in the way, nor at home."""
    (tmp_path / "__pycache__").write_text("in the way")
    homeless = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null/cache"}
    before = set(Path(os.environ.get("TMPDIR", "/tmp")).glob("flashmesh-kernels-*"))
    figures, said = use(tmp_path, **homeless)
    assert figures == "42 1.5 0"
    assert said.count("\n") == 1 and "cannot be kept beside the package nor at home" in said
    assert set(Path(os.environ.get("TMPDIR", "/tmp")).glob("flashmesh-kernels-*")) <= before  # removed at the end


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of a process")
@pytest.mark.parametrize("limit", [0, 500, 3_000])
def test_a_full_disk_costs_a_compilation(tmp_path: Path, limit: int) -> None:
    figures, said = use(tmp_path, str(limit))
    assert figures == "42 1.5 0" and "cannot be kept in" in said and said.count("\n") == 1
    assert use(tmp_path)[0].startswith("42 1.5") and use(tmp_path) == ("42 1.5 1", "")


def test_a_seal_holds_what_was_sealed() -> None:
    data = bytes(range(256))
    assert kernel_cache.unsealed(kernel_cache.sealed(data)) == data == kernel_cache.unsealed(data)
    for at in (0, 100, 255, -1):
        broken = bytearray(kernel_cache.sealed(data))
        broken[at] ^= 1
        with pytest.raises(ValueError, match="its checksum is wrong"):
            kernel_cache.unsealed(bytes(broken))


def test_every_module_compiles_through_the_forgiving_cache() -> None:
    for path in (ROOT / "flashmesh_core").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "from numba import njit" not in text or path.name == "jit.py", path
