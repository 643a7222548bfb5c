"""Which artist meshes are evaluated, and the sources that stand for them, cached on disk on request."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from flashmesh_core.mesh.canonical import Mesh, Normalization
from flashmesh_core.mesh.figures import welded
from flashmesh_core.mesh.io import PointCloud
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.sources import DEFAULTS, FAMILIES, VERSION, make_source


@dataclass(frozen=True, eq=False)
class ArtistObject:
    """An artist's mesh in the unit box, the answer that its sources hide."""

    name: str
    mesh: Mesh
    closed: bool  # as many faces run along each edge one way as the other


@dataclass(frozen=True, eq=False)
class Given:
    """What an object's family gives to the engine and to every simplifier it is compared with."""

    artist: ArtistObject
    family: str
    source: Mesh | PointCloud  # coordinates are float32 numbers, as from a program or a file

    @property
    def surface(self) -> Mesh | np.ndarray:
        """The mesh, or the points (N, 3)."""
        return self.source if isinstance(self.source, Mesh) else self.source.points

    @property
    def normals(self) -> np.ndarray | None:
        """Unit normals (N, 3) of points that have them."""
        return None if isinstance(self.source, Mesh) else self.source.normals

    @cached_property
    def dense(self) -> Mesh:
        """The mesh that plain simplifiers work on: the source, or what the engine reconstructs from a cloud.

        Vertices at exactly one place are joined ("merge by distance") and faces that name one twice dropped:
        simplifiers stall on them, which would flatter what they are compared with. No faces where no surface shows.
        """
        if isinstance(self.source, Mesh):
            return welded(self.source)
        from flashmesh_core.surface.reconstruction import reconstruct

        box = Normalization.of_points(self.source.points)
        made = reconstruct(box.apply(self.source.points), self.source.normals)
        if made is None:
            return Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
        return Mesh(box.invert(made.mesh.vertices), made.mesh.faces)


def choose_objects(
    store: MeshStore,
    *,
    min_faces: int = 1,
    max_faces: int | None = None,
    closed: bool | None = None,
    limit: int | None = None,
) -> list[ArtistObject]:
    """The objects of `min_faces` to `max_faces` faces, closed or open ones if asked; `limit` spread over the store.

    Raises ValueError for numbers below 1 and where no object is left.
    """
    for name, value in (("min_faces", min_faces), ("max_faces", max_faces), ("limit", limit)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    chosen = []
    for name, vertices, faces in zip(store.names, store.vertices, store.faces, strict=True):
        if len(faces) < min_faces or (max_faces is not None and len(faces) > max_faces):
            continue
        is_closed = is_manifold_and_closed(vertices, faces)[1]
        if closed is None or is_closed == closed:
            chosen.append(ArtistObject(name, Mesh(vertices.astype(np.float64), faces), is_closed))
    if not chosen:
        kind = {None: "", True: "closed ", False: "open "}[closed]
        span = f"{min_faces} faces or more" if max_faces is None else f"{min_faces} to {max_faces} faces"
        raise ValueError(f"data must hold {kind}meshes of {span}, got none")
    if limit is not None and limit < len(chosen):
        chosen = [chosen[int(k)] for k in np.linspace(0, len(chosen) - 1, limit)]
    return chosen


def check_families(names: Sequence[str]) -> tuple[str, ...]:
    """The families by name, each once, in their own order. Raises ValueError for unknown or no names."""
    unknown = [name for name in names if name not in FAMILIES]
    if unknown or not names:
        raise ValueError(f"sources must be some of {','.join(FAMILIES)}, got {','.join(names)!r}")
    return tuple(name for name in FAMILIES if name in names)


def given(artist: ArtistObject, family: str, *, seed: int = 0, cache: Path | None = None) -> Given:
    """The source of an object in a family; read from the folder `cache` if it was made before, else made and kept.

    The file's name holds a digest of the mesh, the version, the family's settings and the seed: nothing stale is read.
    """
    if cache is None:
        return Given(artist, family, _rounded(make_source(artist.mesh, family, seed=seed, closed=artist.closed)))
    digest = hashlib.sha256(repr((VERSION, DEFAULTS[family], seed, artist.closed)).encode())
    digest.update(np.ascontiguousarray(artist.mesh.vertices).tobytes())
    digest.update(np.ascontiguousarray(artist.mesh.faces).tobytes())
    path = cache / f"{family}_{digest.hexdigest()[:20]}.npz"
    if path.is_file():
        return Given(artist, family, _load(path))
    source = _rounded(make_source(artist.mesh, family, seed=seed, closed=artist.closed))
    _save(path, source)
    return Given(artist, family, source)


def _rounded(source: Mesh | PointCloud) -> Mesh | PointCloud:
    """The source in float32 numbers, held as float64: the same whether it was cached or not."""

    def rounded(array: np.ndarray) -> np.ndarray:
        return array.astype(np.float32).astype(np.float64)

    if isinstance(source, Mesh):
        return Mesh(rounded(source.vertices), source.faces)
    return PointCloud(rounded(source.points), None if source.normals is None else rounded(source.normals))


def _save(path: Path, source: Mesh | PointCloud) -> None:
    from flashmesh_core.files import write_atomic

    arrays = {"points": source.vertices if isinstance(source, Mesh) else source.points}
    if isinstance(source, Mesh):
        arrays["faces"] = source.faces.astype(np.int32)
    elif source.normals is not None:
        arrays["normals"] = source.normals
    arrays = {name: array.astype(np.float32) if name != "faces" else array for name, array in arrays.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    held = io.BytesIO()
    np.savez(held, **arrays)  # type: ignore[arg-type]
    write_atomic(path, held.getvalue())


def _load(path: Path) -> Mesh | PointCloud:
    with np.load(path) as arrays:
        points = arrays["points"].astype(np.float64)
        if "faces" in arrays.files:
            return Mesh(points, arrays["faces"].astype(np.int64))
        return PointCloud(points, arrays["normals"].astype(np.float64) if "normals" in arrays.files else None)
