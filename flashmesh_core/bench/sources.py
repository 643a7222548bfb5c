"""The meshes that the benchmark decodes: unseen ones of a data folder, or the examples beside the package."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import CLOUD_SUFFIXES, MESH_SUFFIXES, load_source
from flashmesh_core.mesh.sampling import sample_cloud
from flashmesh_core.mesh.store import MeshStore

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
WANTED_OF_CLOUDS = 200  # faces asked for where the source has none


@dataclass(frozen=True, eq=False)
class Subject:
    """A source and the number of faces asked for: `points` and their `normals` where there are any, else the `mesh`."""

    name: str
    mesh: Mesh | None
    points: np.ndarray | None
    normals: np.ndarray | None
    wanted: int

    @property
    def source(self) -> Mesh | np.ndarray:
        """What `Engine.prepare` takes."""
        if self.points is not None:
            return self.points
        assert self.mesh is not None
        return self.mesh

    @property
    def source_faces(self) -> int | None:
        """Faces of the source, None where there is no mesh."""
        return None if self.mesh is None else len(self.mesh.faces)


def choose_subjects(
    data: Path | None, *, split: str, min_faces: int, max_faces: int, limit: int | None, clouds: bool = False
) -> list[Subject]:
    """The sources, at most `limit` of them, spread evenly over what there is.

    From `data` (as `MeshStore.open`) the split's whole objects of `min_faces` to `max_faces` faces; without it every
    example, where denser ones are asked for `max_faces` faces. With `clouds` meshes are given as samples. Raises
    ValueError for bad ranges and where none is left.
    """
    if not 1 <= min_faces <= max_faces:
        raise ValueError(f"min-faces must be in [1, {max_faces}], the given max-faces, got {min_faces}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    subjects = _examples(max_faces) if data is None else _of_data(data, split, min_faces, max_faces)
    if not subjects:
        raise ValueError(f"{data or EXAMPLES} must hold meshes of {min_faces} to {max_faces} faces, got none")
    if limit is not None and limit < len(subjects):
        subjects = [subjects[int(k)] for k in np.linspace(0, len(subjects) - 1, limit)]
    return [_as_cloud(subject) for subject in subjects] if clouds else subjects


def _as_cloud(subject: Subject) -> Subject:
    if subject.mesh is None:
        return subject
    samples = sample_cloud(subject.mesh)
    return replace(subject, points=samples.points, normals=samples.normals)


def _of_data(data: Path, split: str, min_faces: int, max_faces: int) -> list[Subject]:
    store = MeshStore.open(data, split)
    parts = _parts(data)
    return [
        Subject(name, Mesh(vertices, faces), None, None, len(faces))
        for name, vertices, faces in zip(store.names, store.vertices, store.faces, strict=True)
        if min_faces <= len(faces) <= max_faces and name not in parts
    ]


def _parts(data: Path) -> set[str]:
    """Names of what the index calls parts of objects."""
    index = (data if data.is_dir() else data.parent) / "index.csv"
    if not index.is_file():
        return set()
    with index.open(newline="", encoding="utf-8") as file:
        return {row["id"] for row in csv.DictReader(file) if row.get("kind", "object") != "object"}


def _examples(max_faces: int) -> list[Subject]:
    suffixes = {*MESH_SUFFIXES, *CLOUD_SUFFIXES}
    files = sorted(file for file in EXAMPLES.glob("*") if file.suffix.lower() in suffixes) if EXAMPLES.is_dir() else []
    if not files:
        raise ValueError(f"data must be given where the examples are not beside the package, in {EXAMPLES}")
    subjects = []
    for file in files:
        loaded = load_source(file)
        if isinstance(loaded, Mesh):
            subjects.append(Subject(file.stem, loaded, None, None, min(len(loaded.faces), max_faces)))
        else:
            wanted = min(WANTED_OF_CLOUDS, max_faces)
            subjects.append(Subject(file.stem, None, loaded.points, loaded.normals, wanted))
    return subjects
