"""What is packed is what a piece trains on, and the next piece goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import save_mesh
from flashmesh_core.mesh.store import MeshStore
from training.gpu_hour import main, pack
from training.readings import ReadingKey, load_reading
from training.shapes import make_shape


def given(folder: Path) -> tuple[Path, Path]:
    """Two boxes, and a reading of each."""
    data, readings = folder / "meshes", folder / "cache"
    data.mkdir(parents=True)
    for seed in range(2):
        save_mesh(data / f"box_{seed}.ply", make_shape("box", np.random.default_rng(seed)))
    store = MeshStore.open(data)
    for number, name in enumerate(store.names):
        mesh = Mesh(store.vertices[number], store.faces[number])
        load_reading(mesh, ReadingKey(name, "cloud", 0), readings)
    return data, readings


def test_a_piece_begins_and_the_next_one_goes_on(tmp_path: Path) -> None:
    data, readings = given(tmp_path)
    packed, state = tmp_path / "pack.zip", tmp_path / "state"
    assert main(["pack", "--data", str(data), "--readings", str(readings), "--out", str(packed)]) == 0
    piece = ["run", "--pack", str(packed), "--state", str(state), "--minutes", "0", "--device", "cpu"]
    piece += ["--preset", "debug", "--batch-tokens", "576", "--workers", "0"]
    assert main(piece) == 0
    listed = (state / "run" / "readings.txt").read_text().split()
    assert sorted(listed[1::2]) == ["format_1/cloud/box_0_0.npz", "format_1/cloud/box_1_0.npz"]
    assert main(piece) == 0
    assert len((state / "run" / "log.csv").read_text().splitlines()) == 3  # the heading and a step of each piece


def test_what_does_not_fit_is_left_out(tmp_path: Path) -> None:
    data, readings = given(tmp_path)
    assert pack(data, readings, tmp_path / "all.zip") == 2
    size = (tmp_path / "all.zip").stat().st_size
    large = np.random.default_rng(0).bytes(1_100_000)
    (readings / "format_1" / "cloud" / "large_0.npz").write_bytes(large)
    assert pack(data, readings, tmp_path / "some.zip", megabytes=1) < 3
    assert (tmp_path / "some.zip").stat().st_size < 1_000_000 + size
