"""Many meshes in memory: a packed .npz (with or without its index), or a folder of mesh files."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flashmesh_core.mesh.canonical import Normalization
from flashmesh_core.mesh.io import MESH_SUFFIXES, load_mesh
from flashmesh_core.mesh.metrics import has_area

MAX_FACES = 10_000  # paper Sec. 4.1: longer meshes are left out


@dataclass
class MeshStore:
    """Meshes in memory, each centered with its longest side 1; `skipped` counts the unreadable and those too large."""

    vertices: list[np.ndarray]
    faces: list[np.ndarray]
    names: list[str]
    skipped: int = 0
    most_faces: int = MAX_FACES
    without_area: list[str] = field(default_factory=list)  # names of meshes left out as no surface can be sampled

    def __len__(self) -> int:
        return len(self.faces)

    @staticmethod
    def open(path: Path, split: str | None = None, *, most_faces: int = MAX_FACES) -> MeshStore:
        """A packed `.npz`, a folder that holds `meshes.npz`, or a folder of mesh files; none of over `most_faces`."""
        path = Path(path)
        if path.is_dir() and (path / "meshes.npz").is_file():
            path = path / "meshes.npz"
        if path.is_file() and path.suffix == ".npz":
            return MeshStore.of_npz(path, split, most_faces=most_faces)
        if path.is_dir():
            return MeshStore.of_folder(path, most_faces=most_faces)
        raise ValueError(f"data must be an .npz file or a folder, got {str(path)!r}, which is neither")

    @staticmethod
    def of_npz(path: Path, split: str | None = None, *, most_faces: int = MAX_FACES) -> MeshStore:
        """`vertices`, `faces`, `vert_offsets`, `face_offsets`; with an index.csv beside it, only rows of `split`."""
        with np.load(path) as packed:
            missing = {"vertices", "faces", "vert_offsets", "face_offsets"} - set(packed.files)
            if missing:
                raise ValueError(
                    f"{path} must hold vertices, faces, vert_offsets, face_offsets; lacks {sorted(missing)}"
                )
            vertices, faces = packed["vertices"], packed["faces"].astype(np.int64)
            vertex_at, face_at = packed["vert_offsets"], packed["face_offsets"]
        names = [f"mesh_{number:05d}" for number in range(len(face_at) - 1)]
        wanted = list(range(len(names)))
        index = path.with_name("index.csv")
        if index.is_file():
            with index.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            names = [row["id"] for row in rows]
            wanted = [n for n, row in enumerate(rows) if split is None or row["split"] == split]
        store = MeshStore([], [], [], most_faces=most_faces)
        for number in wanted:
            store.add(
                vertices[vertex_at[number] : vertex_at[number + 1]],
                faces[face_at[number] : face_at[number + 1]],
                names[number],
            )
        return store

    @staticmethod
    def of_folder(path: Path, *, most_faces: int = MAX_FACES) -> MeshStore:
        """Every mesh file under a folder, in name order; files that can't be read are counted as skipped."""
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in MESH_SUFFIXES)
        if not files:
            raise ValueError(f"{path} must hold mesh files of {MESH_SUFFIXES}, got none")
        store = MeshStore([], [], [], most_faces=most_faces)
        for file in files:
            try:
                mesh = load_mesh(file)
            except ValueError:
                store.skipped += 1
                continue
            store.add(mesh.vertices, mesh.faces, file.stem)
        return store

    def add(self, vertices: np.ndarray, faces: np.ndarray, name: str) -> None:
        """Append a mesh, unless it is empty, over `most_faces`, or without area, which is noted by name."""
        if not 1 <= len(faces) <= self.most_faces:
            self.skipped += 1
            return
        unit = Normalization.of_points(vertices).apply(vertices)
        if not has_area(unit, np.asarray(faces)):
            self.without_area.append(name)
            return
        self.vertices.append(unit.astype(np.float32))
        self.faces.append(np.asarray(faces, dtype=np.int64))
        self.names.append(name)
