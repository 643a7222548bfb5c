"""Mesh and point-cloud files: OBJ, PLY, STL, GLB, glTF, OFF; clouds as PLY, XYZ, NPY.

Space: Z is up here. GLB and glTF are Y-up by specification and are turned on loading, (x, y, z) -> (x, -z,
y), and back on saving, as Blender does. The other formats fix no axis and are kept as they are.

Loading gives one mesh in float64: scenes are flattened with their transforms, polygons become triangle fans
(exact for convex ones), vertices at exactly equal positions are welded (STL never shares them, GLB and
textured files split them at seams), then faces that name a vertex twice and vertices without a face are
dropped. Colours, materials, textures and lines are ignored.

Saving keeps the precision: OBJ and OFF hold the shortest digits that read back exactly, PLY holds float32
where that is exact and else float64. STL and glTF are float32 by specification.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from flashmesh_core.files import write_atomic

from .canonical import Mesh, check_faces, check_points
from .half_edge import degenerate_faces

log = logging.getLogger(__name__)

MESH_SUFFIXES = (".glb", ".gltf", ".obj", ".off", ".ply", ".stl")
CLOUD_SUFFIXES = (".npy", ".ply", ".xyz")
_Y_UP_SUFFIXES = (".glb", ".gltf")
_FLOAT32_SUFFIXES = (".glb", ".gltf", ".stl")


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Surface `points` (N, 3) float64 and, where the file has them, unit `normals` (N, 3) float64."""

    points: np.ndarray
    normals: np.ndarray | None = None


def load_source(path: str | os.PathLike[str]) -> Mesh | PointCloud:
    """What `path` holds: a Mesh, or a PointCloud for NPY, XYZ and PLY files without faces.

    NPY is an array (N, 3) of points or (N, 6) of points and normals, without pickled objects; XYZ is text
    with 3 or 6 numbers a line, separated by spaces or commas. Points of three NaN, where a depth camera saw
    nothing, are left out. Raises ValueError naming the file for one that is missing, empty, of an unsupported
    kind, unreadable, without faces (or points), or with other NaN or infinity.
    """
    path = _readable_file(path, sorted({*MESH_SUFFIXES, *CLOUD_SUFFIXES}))
    suffix = path.suffix.lower()
    if suffix in (".npy", ".xyz"):
        return _cloud_from_rows(path, _read_rows(path, suffix))
    if suffix == ".off":
        return _mesh_from_parts(path, suffix, [_read_off(path)])
    loaded = _load_geometry(path, suffix)
    try:
        parts = _triangle_parts(path, loaded)
    except Exception as error:  # a scene whose nodes lead back to themselves, say
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        raise _unreadable(path, suffix, error) from error
    if parts:
        return _mesh_from_parts(path, suffix, parts)
    if suffix == ".ply" and len(getattr(loaded, "vertices", ())):
        return _cloud_from_ply(path, loaded)
    raise ValueError(f"{path}: holds no faces")


def load_mesh(path: str | os.PathLike[str]) -> Mesh:
    """The triangle mesh in `path`, one of GLB, glTF, OBJ, OFF, PLY, STL; the module says how.

    Raises ValueError naming the file for one that is missing, empty, of an unsupported kind, unreadable,
    without faces, or with NaN or infinity.
    """
    path = _readable_file(path, MESH_SUFFIXES)
    loaded = load_source(path)
    if isinstance(loaded, PointCloud):
        raise ValueError(f"{path}: holds {len(loaded.points)} points but no faces, and a mesh is needed")
    return loaded


def save_mesh(path: str | os.PathLike[str], mesh: Mesh) -> None:
    """Write `mesh` to `path` in the format its suffix names, replacing an old file whole or not at all.

    Missing parent folders are created. glTF embeds its buffers, so it is one file too. Raises ValueError
    for an unsupported suffix, for a mesh without faces or with wrong arrays, for coordinates that the
    format cannot hold, and for a parent folder that cannot be made; OSError where the disk refuses the
    write.
    """
    path = Path(path)
    suffix = check_suffix(path, MESH_SUFFIXES)
    vertices = check_points("mesh.vertices", mesh.vertices)
    faces = check_faces("mesh.faces", mesh.faces, len(vertices))
    if len(faces) == 0:
        raise ValueError("mesh.faces must hold at least 1 triangle to be saved, got 0")
    reach, limit = float(np.abs(vertices).max()), float(np.finfo(np.float32).max)
    if suffix in _FLOAT32_SUFFIXES and reach > limit:
        raise ValueError(f"mesh.vertices must be within {limit:.3g} for {suffix}, got {reach:.3g}")
    if suffix in _Y_UP_SUFFIXES:
        vertices = np.stack([vertices[:, 0], vertices[:, 2], 0.0 - vertices[:, 1]], axis=1)
    _write(path, _encode_mesh(suffix, path.stem, vertices, faces))


def save_points(path: str | os.PathLike[str], cloud: PointCloud) -> None:
    """Write a point cloud as NPY, XYZ or PLY, with normals where it has them, as save_mesh does.

    Raises ValueError for an unsupported suffix or wrong arrays, OSError where the disk refuses the write.
    """
    path = Path(path)
    suffix = check_suffix(path, CLOUD_SUFFIXES)
    rows = check_points("cloud.points", cloud.points)
    if cloud.normals is not None:
        normals = check_points("cloud.normals", cloud.normals)
        if normals.shape != rows.shape:
            raise ValueError(f"cloud.normals must have shape {rows.shape}, got {normals.shape}")
        rows = np.concatenate([rows, normals], axis=1)
    if suffix == ".npy":
        from io import BytesIO

        buffer = BytesIO()
        np.save(buffer, rows, allow_pickle=False)
        data = buffer.getvalue()
    elif suffix == ".xyz":
        data = _text_rows(rows).encode()
    else:
        data = _encode_ply(rows, None)
    _write(path, data)


def weld(vertices: np.ndarray, faces: np.ndarray, step: float = 0.0) -> Mesh:
    """Vertices (V, 3) at equal positions become one, in order of first use; faces (F, 3) follow.

    Positions are equal exactly, or once rounded to multiples of `step` where it is above 0. Faces that then name a
    vertex twice go, and so do vertices without a face.
    """
    vertices = np.asarray(vertices, dtype=np.float64)
    places = np.round((vertices - vertices.min(axis=0)) / step) if step > 0.0 else vertices
    faces = first_at_place(places)[faces]
    faces = faces[~degenerate_faces(faces)]
    used, compact = np.unique(faces, return_inverse=True)
    return Mesh(vertices[used], compact.reshape(-1, 3).astype(np.int64))


def first_at_place(vertices: np.ndarray) -> np.ndarray:
    """For each vertex (V, 3) the lowest index (V,) of those at exactly its position."""
    order = np.lexsort(vertices.T)
    ordered = vertices[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = np.empty(len(order), dtype=np.int64)
    # lexsort is stable, so the first of a run is the lowest index.
    first[order] = order[np.flatnonzero(starts)][np.cumsum(starts) - 1]
    return first


def check_suffix(path: Path, allowed: list[str] | tuple[str, ...]) -> str:
    """The lower-case suffix of `path`, or a ValueError that lists the allowed ones."""
    suffix = path.suffix.lower()
    if suffix not in allowed:
        raise ValueError(f"{path}: the suffix must be one of {' '.join(allowed)}, got '{path.suffix}'")
    return suffix


def _readable_file(path: str | os.PathLike[str], allowed: list[str] | tuple[str, ...]) -> Path:
    path = Path(path)
    check_suffix(path, allowed)
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    if not path.is_file():
        raise ValueError(f"{path}: is not a file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    return path


def _load_geometry(path: Path, suffix: str) -> Any:
    import trimesh

    options: dict[str, Any] = {} if suffix == ".stl" else {"skip_materials": True}
    try:
        return trimesh.load(str(path), file_type=suffix[1:], process=False, **options)
    except Exception as error:  # the parsers raise anything from IndexError to struct.error on a broken file
        raise _unreadable(path, suffix, error) from error


def _unreadable(path: Path, suffix: str, error: Exception) -> ValueError:
    reason = f"{type(error).__name__}: {error}".split("\n")[0][:300]
    return ValueError(f"{path}: not readable as {suffix[1:].upper()} ({reason})")


def _triangle_parts(path: Path, loaded: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Vertices (V, 3) in world space and faces (F, 3) of every triangle mesh in what trimesh loaded."""
    if not hasattr(loaded, "geometry"):
        instances = [(np.eye(4), loaded)]
    else:
        placed = [loaded.graph[node] for node in loaded.graph.nodes_geometry]
        instances = [(matrix, loaded.geometry[name]) for matrix, name in placed]
    parts = []
    for matrix, geometry in instances:
        faces = np.asarray(getattr(geometry, "faces", ()))
        if len(faces) == 0:
            continue
        vertices = check_points(f"{path}: vertices", geometry.vertices)
        # Not a matrix product: equal rows must stay exactly equal, wherever they stand, to be welded.
        vertices = (vertices[:, None, :] * matrix[:3, :3]).sum(axis=2) + matrix[:3, 3]
        # A mirroring transform turns the winding over, which glTF asks to be undone.
        parts.append((vertices, faces[:, ::-1] if np.linalg.det(matrix[:3, :3]) < 0.0 else faces))
    return parts


def _read_off(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and triangles (F, 3) of a text OFF file; trimesh cannot read its larger polygons."""
    try:
        lines = [line.split("#", 1)[0].split() for line in path.read_text().splitlines()]
        lines = [line for line in lines if line]
        if not lines or not re.fullmatch("(ST)?C?N?OFF", lines[0][0]):
            raise ValueError("it must begin with OFF")
        counts, body = (lines[0][1:], lines[1:]) if len(lines[0]) > 1 else (lines[1], lines[2:])
        n_vertices, n_faces = int(counts[0]), int(counts[1])
        if min(n_vertices, n_faces) < 0:
            raise ValueError(f"its counts must not be negative, got {n_vertices} vertices and {n_faces} faces")
        if len(body) < n_vertices + n_faces:
            raise ValueError(f"it promises {n_vertices} vertices and {n_faces} faces in {len(body)} lines")
        vertices = np.array([line[:3] for line in body[:n_vertices]], dtype=np.float64).reshape(-1, 3)
        polygons = [[int(entry) for entry in line] for line in _face_columns(body[n_vertices:][:n_faces])]
        triangles = [(p[0], b, c) for p in polygons for b, c in pairwise(p[1:])]
        return vertices, np.array(triangles, dtype=np.int64).reshape(-1, 3)
    except (ValueError, IndexError, OverflowError) as error:
        raise ValueError(f"{path}: not readable as OFF ({error})") from error


def _face_columns(lines: list[list[str]]) -> list[list[str]]:
    """The vertex columns of OFF face lines, which open with their number and may end with colours."""
    for line in lines:
        if not 1 <= int(line[0]) < len(line):
            raise ValueError(f"a face line promises {line[0]} corners and has {len(line) - 1} entries")
    return [line[1 : 1 + int(line[0])] for line in lines]


def _mesh_from_parts(path: Path, suffix: str, parts: list[tuple[np.ndarray, np.ndarray]]) -> Mesh:
    offsets = np.cumsum([0] + [len(vertices) for vertices, _ in parts])
    faces = np.concatenate(
        [check_faces(f"{path}: faces", f, len(v)) + start for (v, f), start in zip(parts, offsets, strict=False)]
    )
    vertices = check_points(f"{path}: vertices", np.concatenate([vertices for vertices, _ in parts]))
    if suffix in _Y_UP_SUFFIXES:
        vertices = np.stack([vertices[:, 0], 0.0 - vertices[:, 2], vertices[:, 1]], axis=1)
    mesh = weld(vertices, faces)
    if len(mesh.faces) == 0:
        raise ValueError(f"{path}: holds no faces with three different corners")
    return mesh


def _read_rows(path: Path, suffix: str) -> np.ndarray:
    try:
        if suffix == ".npy":
            rows = np.load(path, allow_pickle=False, mmap_mode="r")  # no room is made for more than the file holds
        else:
            rows = np.loadtxt(path.read_text().replace(",", " ").splitlines(), ndmin=2)
        return np.asarray(rows, dtype=np.float64)
    except Exception as error:  # of a header that is not what it should be: anything from SyntaxError to MemoryError
        raise _unreadable(path, suffix, error) from error


def _cloud_from_rows(path: Path, rows: np.ndarray) -> PointCloud:
    if rows.ndim != 2 or rows.shape[1] not in (3, 6) or len(rows) == 0:
        raise ValueError(f"{path}: must hold points (N, 3) or points and normals (N, 6), got shape {rows.shape}")
    seen = ~np.isnan(rows[:, :3]).all(axis=1)
    if seen.any() and not seen.all():
        log.warning("%s: %d points have no position (NaN) and are left out", path, int((~seen).sum()))
        rows = rows[seen]
    points = check_points(f"{path}: points", rows[:, :3])
    if rows.shape[1] == 3:
        return PointCloud(points)
    normals = check_points(f"{path}: normals", rows[:, 3:])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    zero = int((length == 0.0).sum())
    if zero:
        raise ValueError(f"{path}: normals must not be zero, got {zero} that are; without them they are estimated")
    return PointCloud(points, normals / length)


def _cloud_from_ply(path: Path, loaded: Any) -> PointCloud:
    points = np.asarray(loaded.vertices, dtype=np.float64)
    fields = loaded.metadata["_ply_raw"]["vertex"]["data"]
    try:
        normals = np.column_stack([fields[name] for name in ("nx", "ny", "nz")])
    except (KeyError, ValueError):  # a dict where the file is text, a structured array where it is binary
        return _cloud_from_rows(path, points)
    return _cloud_from_rows(path, np.concatenate([points, normals], axis=1))


def _encode_mesh(suffix: str, name: str, vertices: np.ndarray, faces: np.ndarray) -> bytes:
    if suffix == ".obj":
        return (_text_rows(vertices, "v ") + _text_rows(faces + 1, "f ")).encode()
    if suffix == ".off":
        return (f"OFF\n{len(vertices)} {len(faces)} 0\n" + _text_rows(vertices) + _text_rows(faces, "3 ")).encode()
    if suffix == ".ply":
        return _encode_ply(vertices, faces)
    import trimesh

    geometry = trimesh.Trimesh(vertices, faces, process=False)
    if suffix == ".stl":
        return _as_bytes(geometry.export(file_type="stl"))
    scene = trimesh.Scene()
    scene.add_geometry(geometry, node_name=name, geom_name=name)
    if suffix == ".glb":
        return _as_bytes(scene.export(file_type="glb"))
    assert suffix == ".gltf", suffix
    from trimesh.exchange.gltf import export_gltf

    return _as_bytes(export_gltf(scene, embed_buffers=True)["model.gltf"])


def _as_bytes(exported: Any) -> bytes:
    return exported.encode() if isinstance(exported, str) else bytes(exported)


def _text_rows(rows: np.ndarray, prefix: str = "") -> str:
    """One line a row, floats with the fewest digits that read back exactly."""
    return "".join(prefix + " ".join(map(repr, row)) + "\n" for row in rows.tolist())


def _encode_ply(rows: np.ndarray, faces: np.ndarray | None) -> bytes:
    """Binary PLY of `rows` (N, 3) positions or (N, 6) with normals, and triangles where given."""
    with np.errstate(over="ignore"):
        exact = bool((rows.astype(np.float32) == rows).all())
    kind, dtype = ("float", "<f4") if exact else ("double", "<f8")
    names = ("x", "y", "z", "nx", "ny", "nz")[: rows.shape[1]]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property {kind} {name}" for name in names]
    body = rows.astype(dtype).tobytes()
    if faces is not None:
        header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        records = np.zeros(len(faces), dtype=[("count", "u1"), ("index", "<i4", (3,))])
        records["count"], records["index"] = 3, faces
        body += records.tobytes()
    return ("\n".join([*header, "end_header"]) + "\n").encode() + body


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; a ValueError says where no file can be."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, not a file that can be replaced")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{path}: cannot create the folder {path.parent} ({error.strerror})") from error
    write_atomic(path, data)
