"""Files and commands that are made to break things: each ends in a sentence that names the file or the option."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flashmesh_core.__main__ import main
from flashmesh_core.checkpoint import load_config
from flashmesh_core.config import ModelConfig, preset
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import MESH_SUFFIXES, load_source, save_mesh
from flashmesh_core.surface.reading import read_surface

ROOT = Path(__file__).resolve().parents[1]
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
TETRAHEDRON = Mesh(CORNERS, np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]))


def npy(header: str, body: bytes = b"\0" * 48) -> bytes:
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize(
    "data",
    [
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10**12, 3), }"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 3), }"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 3), }"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }"),
        npy("{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (6,), }"),
        npy("{'descr': 7, 'fortran_order': 'no', 'shape': 'three', }"),
        npy("(" * 5_000),
        npy("[" * 60_000),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 5_000 + ", 3), }"),
        npy("{'descr': '<U8', 'fortran_order': False, 'shape': (0, 3), }", b""),
        npy(""),
        b"\x93NUMPY\x01\x00\xff\xff",
        b"\x93NUMPY\x09\x09" + b"\0" * 20,
    ],
)  # fmt: skip
def test_headers_of_npy_that_lie(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "cloud.npy"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"cloud\.npy: ") as caught:
        load_source(path)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("suffix", MESH_SUFFIXES)
def test_a_file_cut_anywhere_names_itself_or_holds_less(tmp_path: Path, suffix: str) -> None:
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    save_mesh(whole, TETRAHEDRON)
    data = whole.read_bytes()
    for length in range(0, len(data), max(1, len(data) // 40)):
        path.write_bytes(data[:length])
        try:
            assert isinstance(load_source(path), Mesh)  # text that ends between two faces
        except ValueError as error:
            assert f"cut{suffix}: " in str(error)


@pytest.mark.parametrize("children", [[[0]], [[1], [0]], [[1], [2], [0]], [[0, 0], []]])
def test_a_scene_that_leads_back_to_itself_names_its_file(tmp_path: Path, children: list[list[int]]) -> None:
    whole, path = tmp_path / "whole.gltf", tmp_path / "cyclic.gltf"
    save_mesh(whole, TETRAHEDRON)
    tree = json.loads(whole.read_text())
    tree["nodes"] = [{"mesh": 0, "name": f"node {n}", "children": below} for n, below in enumerate(children)]
    tree["scenes"] = [{"nodes": [0]}]
    path.write_text(json.dumps(tree))
    try:
        assert isinstance(load_source(path), Mesh)
    except ValueError as error:
        assert "cyclic.gltf: " in str(error)


def test_many_faces_on_one_line_show_no_surface() -> None:
    x = np.random.default_rng(0)
    line = np.stack([x.normal(size=16), np.zeros(16), np.zeros(16)], axis=1)
    with pytest.raises(ValueError, match="source must have a face with area, got 2000 faces without"):
        read_surface(Mesh(line, x.integers(0, 16, (2000, 3))), faces=100)


HOSTILE: list[Any] = [
    None, "", "x" * 10_000, -1, 0, 2**70, -(2**70), 1e308, float("nan"), float("inf"), True, [], {}, [[]], [None] * 3,
    [1e9, 1e9], [10**9, 10**9], ["a", "b"], {"a": [1]}, [10**9] * 3, ["surface"] * 9,
]  # fmt: skip


@pytest.mark.parametrize("field", sorted(preset("debug").to_dict()))
def test_every_field_of_a_config_is_bounded(field: str) -> None:
    """What is taken is in the field's type and small; what is not is a ValueError that names it."""
    for value in HOSTILE:
        try:
            config = ModelConfig.from_dict({**preset("debug").to_dict(), field: value})
        except ValueError as error:
            words = {field, "dim" if field == "heads" else field, "level_windows" if field == "window" else field}
            assert any(word in str(error) for word in words) and len(str(error)) < 600, (value, error)
        else:
            assert len(json.dumps(config.to_dict())) < 2_000


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"model": ' * 50_000, "[1]", '{"model": [1]}', '{"model": {"name": 1}}', "\0"]
)
def test_a_hostile_config_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"checkpoint config .* can't be read: ."):
        load_config(tmp_path)


def test_the_input_is_not_written_over_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mesh.obj"
    save_mesh(path, TETRAHEDRON)
    before = path.read_bytes()
    other = tmp_path / "sub" / ".." / "mesh.obj"
    (tmp_path / "sub").mkdir()
    for output in (path, other):
        assert main(["generate", str(path), "-o", str(output)]) == 2
        assert "--output must be another file than the input, or --overwrite be given" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_an_output_that_cannot_be_written_is_noticed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("flashmesh_core.load", lambda *arguments, **options: pytest.fail("the engine was loaded"))
    source = tmp_path / "mesh.obj"
    save_mesh(source, TETRAHEDRON)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.glb").mkdir()
    for output, report in (
        (tmp_path / "file" / "out.glb", None),
        (tmp_path / "folder.glb", None),
        (tmp_path / "out.glb", tmp_path / "file" / "report.json"),
    ):
        more = [] if report is None else ["--report", str(report)]
        assert main(["generate", str(source), "-o", str(output), *more]) == 2
        assert capsys.readouterr().err.startswith("error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.glb", "mesh.obj"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "flashmesh_core", "inspect"),
        ("-m", "flashmesh_core", "serve", "--help"),
        ("training/train.py", "--help"),
        ("-m", "training.readings", "--help"),
        ("build_addon.py", "--help"),
        ("examples/demo.py", "--help"),
    ],
)
def test_without_docstrings_and_asserts(arguments: tuple[str, ...]) -> None:
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-OO", *arguments], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
