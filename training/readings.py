"""Readings of real sources for training: what the engine reads of a remesh, a sculpt, a scan and a cloud of each mesh.

A reading is a function of the mesh, the family and the variant alone and is kept in a file of its own, so that making
them can be stopped and gone on with at any time, and a run that needs one that is not there makes it. To make them all
before a run: `python -m training.readings --data DIR --out CACHE`.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import zipfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from flashmesh_core.evaluation.objects import check_families
from flashmesh_core.files import write_atomic
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.sources import FAMILIES, MESH_FAMILIES, make_source, vary
from flashmesh_core.surface.reading import WITH_DENSE as RICHER
from flashmesh_core.surface.reading import read_surface

FORMAT = 1  # of the files; what reads a source may change without it, since a run learns from older readings as well
UNREADABLE = "no surface"


@dataclass(frozen=True, eq=False)
class TrainingReading:
    """What a source shows, in the space of the artist's mesh: proxies of RICHER times about the artist's faces.

    What is known of a vertex, how sharp a corner it is and of what kind, is a function of these meshes.
    """

    proxies: tuple[Mesh, ...]
    noise: float


@dataclass(frozen=True)
class ReadingKey:
    """Which reading: a mesh of the store by name, a family, a variant."""

    name: str
    family: str
    variant: int

    @property
    def seed(self) -> list[int]:
        """Of all that is random in what the key names."""
        return [self.variant, *self.name.encode(), *self.family.encode()]

    def file(self, cache: Path) -> Path:
        """Where it is kept."""
        return cache / f"format_{FORMAT}" / self.family / f"{self.name}_{self.variant}.npz"


def keys_of(store: MeshStore, families: tuple[str, ...], variants: int, max_faces: int) -> list[tuple[int, ReadingKey]]:
    """The readings that a run draws from, the number of the mesh before each; small meshes first.

    Open meshes have no remesh or sculpt: a shell around a sheet has two sides where the artist's mesh has one.
    """
    found = []
    for number in sorted(range(len(store)), key=lambda n: (len(store.faces[n]), n)):
        if len(store.faces[number]) > max_faces:
            continue
        closed = is_manifold_and_closed(store.vertices[number], store.faces[number])[1]
        for family in families:
            if closed or family not in MESH_FAMILIES:
                found += [(number, ReadingKey(store.names[number], family, v)) for v in range(variants)]
    return found


def make_reading(mesh: Mesh, key: ReadingKey) -> TrainingReading | None:
    """The reading of `mesh`, or None where its source shows no surface."""
    mesh = Mesh(mesh.vertices.astype(np.float64), mesh.faces)
    rng = np.random.default_rng(key.seed)
    settings = vary(key.family, rng)
    try:
        source = make_source(mesh, settings, seed=int(rng.integers(1 << 31)))
        wanted = max(4, round(len(mesh.faces) * float(np.exp(rng.normal(0.0, 0.1)))))
        if isinstance(source, Mesh):
            reading = read_surface(source, faces=wanted, keep_vertices=False, richer=RICHER)
        else:
            reading = read_surface(source.points, source.normals, faces=wanted, richer=RICHER)
    except ValueError:
        return None
    placed = tuple(Mesh(reading.box.invert(proxy.vertices), proxy.faces) for proxy in reading.proxies)
    return TrainingReading(placed, reading.noise * reading.box.scale)


def load_reading(mesh: Mesh, key: ReadingKey, cache: Path | None) -> TrainingReading | None:
    """The reading from the cache, made and kept where it is not there or damaged; None where there is no surface.

    Positions are rounded to float32, kept or not, so that a run does not depend on what was in the cache.
    """
    if cache is None:
        return _rounded(make_reading(mesh, key))
    file = key.file(cache)
    try:
        with np.load(file) as packed:
            if UNREADABLE in packed.files:
                return None
            proxies = tuple(
                Mesh(packed[f"v{n}"].astype(np.float64), packed[f"f{n}"].astype(np.int64)) for n in range(len(RICHER))
            )
            return TrainingReading(proxies, float(packed["noise"]))
    except (FileNotFoundError, OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    reading = make_reading(mesh, key)
    _keep(reading, file)
    return _rounded(reading)


def _rounded(reading: TrainingReading | None) -> TrainingReading | None:
    if reading is None:
        return None
    proxies = tuple(Mesh(p.vertices.astype(np.float32).astype(np.float64), p.faces) for p in reading.proxies)
    return TrainingReading(proxies, reading.noise)


def _keep(reading: TrainingReading | None, file: Path) -> None:
    """Write a reading as one file, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    arrays = {UNREADABLE: np.zeros(1)}
    if reading is not None:
        arrays = {"noise": np.array(reading.noise)}
        for number, proxy in enumerate(reading.proxies):
            arrays[f"v{number}"] = proxy.vertices.astype(np.float32)
            arrays[f"f{number}"] = proxy.faces.astype(np.uint16 if len(proxy.vertices) < 1 << 16 else np.int32)
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    write_atomic(file, packed.getvalue())


def _make_one(task: tuple[Mesh, ReadingKey, Path]) -> bool:
    mesh, key, cache = task
    return load_reading(mesh, key, cache) is not None


def main(arguments: list[str] | None = None) -> int:
    """Make what is missing; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", required=True, help="packed .npz, folder with meshes.npz, or folder of mesh files")
    parser.add_argument("--out", required=True, help="the cache")
    parser.add_argument("--split", default="train")
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--variants", type=int, default=1, help="readings of each family and mesh")
    parser.add_argument("--max-faces", type=int, default=400, help="leave larger meshes out")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(arguments)
    store = MeshStore.open(Path(args.data), args.split)
    try:
        families = check_families(args.families.split(","))
    except ValueError as error:
        parser.error(f"--families: {error}")
    wanted = keys_of(store, families, args.variants, args.max_faces)
    missing = [(number, key) for number, key in wanted if not key.file(Path(args.out)).is_file()]
    random.Random(0).shuffle(missing)  # stopped at any time, the cache is a fair sample of all
    print(f"{len(wanted)} readings, {len(missing)} to make", flush=True)
    tasks = ((Mesh(store.vertices[n], store.faces[n]), key, Path(args.out)) for n, key in missing)
    done = found = 0
    with ProcessPoolExecutor(args.workers) as pool:
        for ok in pool.map(_make_one, tasks, chunksize=4):
            done, found = done + 1, found + ok
            if done % 100 == 0:
                print(f"{done} of {len(missing)}, {done - found} without a surface", flush=True)
    print(f"{done} made, {done - found} without a surface")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
