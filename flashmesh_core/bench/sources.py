"""The sources that the benchmark decodes: real ones made from unseen meshes of a data folder, or the examples."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from flashmesh_core.evaluation.objects import ArtistObject, check_families, given
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import CLOUD_SUFFIXES, MESH_SUFFIXES, PointCloud, load_source
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.sources import FAMILIES

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
WANTED_OF_CLOUDS = 200  # faces asked for where the source has none
AS_GIVEN = "given"  # instead of families: the meshes themselves


@dataclass(frozen=True, eq=False)
class Subject:
    """A source and the number of faces asked for."""

    name: str
    family: str  # one of `sources.FAMILIES`, or AS_GIVEN
    answer: Mesh | None  # what the results are measured against: the artist's mesh, or the source where it is a mesh
    wanted: int
    make: Callable[[], Mesh | PointCloud]  # the source; a dense one is not held while others are decoded

    @property
    def answer_faces(self) -> int | None:
        """Faces of the answer, None where there is none."""
        return None if self.answer is None else len(self.answer.faces)


def parse_sources(text: str | None, data: Path | None) -> tuple[str, ...]:
    """Families, in their own order, or AS_GIVEN alone; without a text all families of `data`, the examples as given.

    Raises ValueError for unknown names, and for families of the examples, which are sources themselves.
    """
    if text == AS_GIVEN or (text is None and data is None):
        return (AS_GIVEN,)
    families = check_families(FAMILIES if text is None else text.split(","))
    if data is None:
        raise ValueError(f"sources must be {AS_GIVEN} without data: the examples are sources themselves, got {text!r}")
    return families


def choose_subjects(
    data: Path | None,
    *,
    split: str,
    min_faces: int,
    max_faces: int,
    limit: int | None,
    sources: Sequence[str] = (AS_GIVEN,),
) -> list[Subject]:
    """The sources, of at most `limit` meshes, spread evenly over what there is.

    From `data` (as `MeshStore.open`) those families of the split's whole objects of `min_faces` to `max_faces` faces;
    with AS_GIVEN the meshes themselves. Without `data` every example, where denser ones are asked for `max_faces`
    faces. Raises ValueError for bad ranges and where none is left.
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
    return [one for subject in subjects for one in _sources_of(subject, sources)]


def _sources_of(subject: Subject, families: Sequence[str]) -> list[Subject]:
    """The subject as it is, or the families' sources of its mesh."""
    if AS_GIVEN in families or subject.answer is None:
        return [subject]
    mesh = subject.answer
    artist = ArtistObject(subject.name, mesh, is_manifold_and_closed(mesh.vertices, mesh.faces)[1])
    return [
        Subject(f"{subject.name}, {family}", family, mesh, subject.wanted, partial(_made, artist, family))
        for family in families
    ]


def _made(artist: ArtistObject, family: str) -> Mesh | PointCloud:
    return given(artist, family).source


def _of_data(data: Path, split: str, min_faces: int, max_faces: int) -> list[Subject]:
    store = MeshStore.open(data, split)
    parts = _parts(data)
    return [
        _of_mesh(name, Mesh(vertices.astype(np.float64), faces), len(faces))
        for name, vertices, faces in zip(store.names, store.vertices, store.faces, strict=True)
        if min_faces <= len(faces) <= max_faces and name not in parts
    ]


def _of_mesh(name: str, mesh: Mesh, wanted: int) -> Subject:
    return Subject(name, AS_GIVEN, mesh, wanted, lambda: mesh)


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
            subjects.append(_of_mesh(file.stem, loaded, min(len(loaded.faces), max_faces)))
        else:
            wanted = min(WANTED_OF_CLOUDS, max_faces)
            subjects.append(Subject(file.stem, AS_GIVEN, None, wanted, partial(load_source, file)))
    return subjects
