"""Files: round trips in every format, axes, transforms, welding, polygons, clouds, saving, errors."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import (
    CLOUD_SUFFIXES,
    MESH_SUFFIXES,
    PointCloud,
    load_mesh,
    load_source,
    save_mesh,
    save_points,
    weld,
)
from flashmesh_core.mesh.topology import topology_report

from .shapes import box, signed_volume, torus

EXACT = (".obj", ".off", ".ply")  # of any float64; the others of any float32
TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


def corners(mesh: Mesh) -> np.ndarray:
    """The faces by position, (F, 3, 3), each turned to start at its lowest corner, and sorted."""
    turned = []
    for face in mesh.triangles:
        first = min(range(3), key=lambda k: tuple(face[k]))
        turned.append(np.roll(face, -first, axis=0))
    return np.array(sorted(turned, key=lambda face: face.ravel().tolist()))


@pytest.mark.parametrize("suffix", MESH_SUFFIXES)
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    vertices, faces = torus(rings=9, sides=5)
    mesh = Mesh((vertices * 1.7 + [0.3, -5.0, 2.0]).astype(np.float32), faces)
    save_mesh(tmp_path / f"ring{suffix}", mesh)
    loaded = load_mesh(tmp_path / f"ring{suffix}")
    assert len(loaded.vertices) == len(vertices) and loaded.faces.dtype == np.int64
    assert loaded.vertices.dtype == np.float64
    report = topology_report(loaded.vertices, loaded.faces)
    assert report.is_watertight and report.flipped_edge_ratio == 0.0
    np.testing.assert_array_equal(corners(loaded), corners(mesh))
    assert os.listdir(tmp_path) == [f"ring{suffix}"]


@pytest.mark.parametrize("suffix", EXACT)
@settings(max_examples=30)
@given(
    vertices=arrays(
        np.float64,
        (6, 3),
        elements=st.floats(-1e30, 1e30, allow_nan=False) | st.floats(-1e-30, 1e-30, allow_nan=False),
        unique=True,
    ),
    single=st.booleans(),
)
def test_every_digit_survives(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, vertices: np.ndarray, single: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"digits{suffix}"
    if single:
        vertices = vertices.astype(np.float32)
    expected = weld(vertices, np.array([[0, 1, 2], [3, 4, 5]]))
    if len(expected.faces):
        save_mesh(path, expected)
        np.testing.assert_array_equal(load_mesh(path).triangles, expected.triangles)


def test_ply_is_float32_where_that_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "cube.ply"
    save_mesh(path, Mesh(*box()))
    assert b"property float x" in path.read_bytes()
    save_mesh(path, Mesh(box()[0] * 0.1, box()[1]))
    assert b"property double x" in path.read_bytes()


@pytest.mark.parametrize("suffix", MESH_SUFFIXES)
def test_other_programs_can_read_what_is_saved(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"BOX{suffix.upper()}"
    save_mesh(path, Mesh(*box((1.0, 2.0, 3.0))))
    read = trimesh.load(str(path), force="mesh")
    extents = [1.0, 3.0, 2.0] if suffix in (".glb", ".gltf") else [1.0, 2.0, 3.0]
    np.testing.assert_allclose(read.extents, extents)
    assert read.volume == pytest.approx(6.0)


def glb_json(path: Path) -> dict:
    data = path.read_bytes()
    magic, _, _, length, _ = struct.unpack("<4sIIII", data[:20])
    assert magic == b"glTF"
    return json.loads(data[20 : 20 + length])


def test_glb_is_y_up_with_the_name_of_the_file(tmp_path: Path) -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 5.0]])
    save_mesh(tmp_path / "post.glb", Mesh(vertices, np.array([[0, 1, 3], [0, 3, 2]])))
    document = glb_json(tmp_path / "post.glb")
    position = document["accessors"][document["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    # Our (x, y, z) is (x, z, -y) there: height 5 along y, depth 2 along -z.
    assert position["min"] == [0, 0, -2] and position["max"] == [1, 5, 0]
    assert "post" in [node.get("name") for node in document["nodes"]]


def test_gltf_is_one_file(tmp_path: Path) -> None:
    save_mesh(tmp_path / "cube.gltf", Mesh(*box()))
    document = json.loads((tmp_path / "cube.gltf").read_text())
    assert document["buffers"] and all(b["uri"].startswith("data:") for b in document["buffers"])
    assert len(load_mesh(tmp_path / "cube.gltf").faces) == 12


def test_scenes_are_flattened_with_their_transforms_and_mirrors_keep_facing_out(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    cube = trimesh.Trimesh(*box(), process=False)
    place = np.eye(4)
    place[:3, 3] = [10, 0, 0]
    mirror = np.diag([-2.0, 1, 1, 1])
    mirror[:3, 3] = [0, 20, 0]
    scene.add_geometry(cube, geom_name="cube", node_name="a")
    scene.graph.update(frame_to="b", geometry="cube", matrix=place)
    scene.graph.update(frame_to="c", frame_from="b", geometry="cube", matrix=mirror)
    scene.export(str(tmp_path / "three.glb"))
    mesh = load_mesh(tmp_path / "three.glb")
    assert topology_report(mesh.vertices, mesh.faces).n_components == 3 and len(mesh.vertices) == 24
    assert signed_volume(mesh.vertices, mesh.faces) == pytest.approx(1 + 1 + 2)
    # Y-up (10, 20, 0) of the nested one is our (10, 0, 20).
    np.testing.assert_allclose(mesh.vertices.min(axis=0), [-0.5, -0.5, -0.5], atol=1e-6)
    np.testing.assert_allclose(mesh.vertices.max(axis=0), [11.0, 0.5, 20.5], atol=1e-6)


def test_split_vertices_are_welded(tmp_path: Path) -> None:
    soup = trimesh.Trimesh(*box(), process=False)
    soup.unmerge_vertices()
    for suffix in (".stl", ".glb", ".ply", ".obj"):
        soup.export(str(tmp_path / f"soup{suffix}"))
        mesh = load_mesh(tmp_path / f"soup{suffix}")
        assert len(mesh.vertices) == 8 and topology_report(mesh.vertices, mesh.faces).is_watertight
    (tmp_path / "seams.obj").write_text(
        "mtllib absent.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
        "usemtl one\nf 1/1 2/2 3/3\nusemtl two\nf 1/4 3/1 4/2\n"
    )
    assert len(load_mesh(tmp_path / "seams.obj").vertices) == 4


def test_weld_keeps_order_and_drops_what_is_unused() -> None:
    vertices = np.array([[5, 5, 5], [1, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0], [-0.0, 0, 0]])
    mesh = weld(vertices, np.array([[1, 2, 4], [3, 4, 5], [1, 3, 2]]))
    np.testing.assert_array_equal(mesh.vertices, [[1, 0, 0], [0, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 1]])


def test_polygons_are_triangulated(tmp_path: Path) -> None:
    vertices = "0 0 0\n2 0 0\n2 1 0\n1 2 0\n0 1 0\n1 0 3\n"
    (tmp_path / "mixed.off").write_text(f"OFF\n6 3 0\n{vertices}5 0 1 2 3 4\n4 0 1 2 5 255 0 0\n3 0 1 5 # end\n")
    rows = vertices.splitlines()
    text = "".join(f"v {row}\n" for row in rows) + "f 1 2 3 4 5\nf 1 2 3 6\nf -6 -5 -1\n"
    (tmp_path / "mixed.obj").write_text(text)
    header = "ply\nformat ascii 1.0\nelement vertex 6\nproperty float x\nproperty float y\nproperty float z\n"
    header += "element face 3\nproperty list uchar int vertex_indices\nend_header\n"
    (tmp_path / "mixed.ply").write_text(header + vertices + "5 0 1 2 3 4\n4 0 1 2 5\n3 0 1 5\n")
    for suffix in (".off", ".obj", ".ply"):
        mesh = load_mesh(tmp_path / f"mixed{suffix}")
        a, b, c = mesh.vertices[mesh.faces.T]
        flat = (mesh.triangles[:, :, 2] == 0).all(axis=1)
        normals = np.cross(b - a, c - a)
        assert len(mesh.faces) == 6 and flat.sum() == 4
        # The pentagon's area is 3; the quad's first half adds the triangle (0, 0) (2, 0) (2, 1) of area 1.
        assert normals[flat, 2].sum() / 2 == pytest.approx(4.0) and (normals[flat, 2] > 0).all()


CLOUD = PointCloud(np.random.default_rng(0).normal(size=(50, 3)), np.tile([[0.0, 0.6, 0.8], [1.0, 0.0, 0.0]], (25, 1)))


@pytest.mark.parametrize("suffix", CLOUD_SUFFIXES)
@pytest.mark.parametrize("with_normals", [True, False])
def test_clouds_round_trip(tmp_path: Path, suffix: str, with_normals: bool) -> None:
    cloud = CLOUD if with_normals else PointCloud(CLOUD.points)
    save_points(tmp_path / f"cloud{suffix}", cloud)
    loaded = load_source(tmp_path / f"cloud{suffix}")
    assert isinstance(loaded, PointCloud)
    np.testing.assert_array_equal(loaded.points, CLOUD.points)
    if with_normals:
        np.testing.assert_allclose(loaded.normals, CLOUD.normals, rtol=0, atol=1e-15)
    else:
        assert loaded.normals is None
    if suffix == ".ply":
        with pytest.raises(ValueError, match=r"cloud\.ply: holds 50 points but no faces"):
            load_mesh(tmp_path / "cloud.ply")


def test_clouds_of_other_programs(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("# x y z\n0, 0, 0\n1, 2, 3\n\n4 5 6\n")
    np.testing.assert_array_equal(load_source(tmp_path / "a.xyz").points, [[0, 0, 0], [1, 2, 3], [4, 5, 6]])
    np.save(tmp_path / "a.npy", np.array([[0, 0, 0, 0, 0, 7], [1, 1, 1, 3, 0, 4]], dtype=np.float32))
    cloud = load_source(tmp_path / "a.npy")
    np.testing.assert_allclose(cloud.normals, [[0, 0, 1], [0.6, 0, 0.8]])
    header = "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
    header += "property float nx\nproperty float ny\nproperty float nz\nproperty uchar red\nend_header\n"
    (tmp_path / "a.ply").write_text(header + "1 2 3 0 0 2 255\n")
    cloud = load_source(tmp_path / "a.ply")
    assert cloud.points.tolist() == [[1, 2, 3]] and cloud.normals.tolist() == [[0, 0, 1]]


def test_saving_replaces_whole_files_and_makes_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "cube.obj"
    save_mesh(path, Mesh(*box()))
    save_mesh(path, Mesh(*torus()))
    assert len(load_mesh(path).faces) == len(torus()[1])
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"mesh\.faces must hold at least 1 triangle to be saved, got 0"):
        save_mesh(path, Mesh(np.eye(3), np.zeros((0, 3), dtype=np.int64)))
    assert path.read_bytes() == before and os.listdir(path.parent) == ["cube.obj"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_nothing_is_left_behind_where_the_target_cannot_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "cube.obj").mkdir()
    with pytest.raises(ValueError, match=r"cube\.obj: is a folder"):
        save_mesh(tmp_path / "cube.obj", Mesh(*box()))
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=r"cannot create the folder .*file"):
        save_mesh(tmp_path / "file" / "cube.obj", Mesh(*box()))
    assert sorted(os.listdir(tmp_path)) == ["cube.obj", "file"]


@pytest.mark.parametrize(
    ("path", "mesh", "message"),
    [
        ("a.fbx", Mesh(*box()), r"a\.fbx: the suffix must be one of \.glb .*\.stl, got '\.fbx'"),
        ("a", Mesh(*box()), "got ''"),
        ("a.obj", Mesh(box()[0] * np.nan, box()[1]), "mesh.vertices must be finite"),
        ("a.obj", Mesh(np.eye(3), np.array([[0, 1, 3]])), r"mesh.faces must hold indices in \[0, 2\]"),
        ("a.stl", Mesh(box()[0] * 1e39, box()[1]), r"within 3.4e\+38 for \.stl, got 5e\+38"),
    ],
)
def test_what_cannot_be_saved_is_named(tmp_path: Path, path: str, mesh: Mesh, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        save_mesh(tmp_path / path, mesh)
    assert os.listdir(tmp_path) == []


def test_clouds_that_cannot_be_saved_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"the suffix must be one of \.npy \.ply \.xyz, got '\.obj'"):
        save_points(tmp_path / "a.obj", CLOUD)
    with pytest.raises(ValueError, match=r"cloud\.normals must have shape \(50, 3\), got \(2, 3\)"):
        save_points(tmp_path / "a.ply", PointCloud(CLOUD.points, CLOUD.normals[:2]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.fbx",
            b"x",
            r"suffix must be one of \.glb \.gltf \.npy \.obj \.off \.ply \.stl \.xyz, got '\.fbx'",
        ),
        ("a.obj", b"", "the file is empty"),
        ("a.obj", b"# only a comment\n", "not readable as OBJ|holds no faces"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", "holds no faces"),
        ("a.obj", TRIANGLE.replace("1 2 3", "1 2 9").encode(), "not readable as OBJ"),
        ("a.obj", TRIANGLE.replace("1 2 3", "1 2 2").encode(), "holds no faces with three different corners"),
        ("a.obj", TRIANGLE.replace("v 1", "v nan").encode(), "vertices must be finite"),
        ("a.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 inf 0\n3 0 1 2\n", "vertices must be finite, got 1 rows"),
        ("a.off", b"not an off file", r"not readable as OFF \(it must begin with OFF"),
        (
            "a.off",
            b"OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n",
            "promises 3 vertices and 2 faces in 4 lines",
        ),
        ("a.off", b"OFF 3 1 0\n0 0 0\n1 0 0\n0 1 0\n4 0 1 2\n", "promises 4 corners and has 3 entries"),
        ("a.off", b"OFF 3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n", r"faces must hold indices in \[0, 2\]"),
        ("a.off", b"OFF -1 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "counts must not be negative, got -1 vertices"),
        ("a.off", b"OFF 3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 99999999999999999999\n", r"a\.off: not readable as OFF"),
        ("a.off", b"OFF 3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "holds no faces"),
        ("a.ply", b"\x00\x01garbage", "not readable as PLY"),
        ("a.stl", b"\x00" * 200, "not readable as STL|holds no faces"),
        ("a.glb", b"glTF garbage that is no glTF", "not readable as GLB"),
        ("a.gltf", b"{}", "not readable as GLTF|holds no faces"),
        ("a.xyz", b"1 2 3\n4 5\n", "not readable as XYZ"),
        ("a.xyz", b"1 2\n", r"points \(N, 3\) or points and normals \(N, 6\), got shape \(1, 2\)"),
        ("a.xyz", b"1 2 nan\n", "points must be finite, got 1 rows"),
        ("a.xyz", b"nan nan nan\n", "points must be finite, got 1 rows"),
        ("a.xyz", b"1 2 3 0 0 0\n", "normals must not be zero, got 1"),
        ("a.npy", b"garbage", "not readable as NPY"),
    ],
)
def test_what_cannot_be_loaded_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_source(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("columns", [3, 6])
@pytest.mark.parametrize("suffix", [".npy", ".xyz", ".ply"])
def test_points_that_a_depth_camera_did_not_see_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, columns: int
) -> None:
    seen = np.array([[0.0, 1.0, 2.0, 0.0, 0.0, 1.0], [3.0, 4.0, 5.0, 1.0, 0.0, 0.0]])[:, :columns]
    rows = np.insert(seen, [0, 1, 1], np.nan, axis=0)
    path = tmp_path / f"depth{suffix}"
    if suffix == ".npy":
        np.save(path, rows)
    else:
        names = ["x", "y", "z", "nx", "ny", "nz"][:columns]
        head = ["ply", "format ascii 1.0", f"element vertex {len(rows)}", *(f"property float {name}" for name in names)]
        lines = [" ".join(map(str, row)) for row in rows]
        path.write_text("\n".join([*head, "end_header", *lines] if suffix == ".ply" else lines) + "\n")
    loaded = load_source(path)
    assert np.array_equal(loaded.points, seen[:, :3])
    assert loaded.normals is None if columns == 3 else np.array_equal(loaded.normals, seen[:, 3:])
    assert f"{path}: 3 points have no position (NaN) and are left out" in caplog.text


def test_missing_files_folders_pickles_and_clouds_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.obj: no such file"):
        load_mesh(tmp_path / "gone.obj")
    (tmp_path / "folder.obj").mkdir()
    with pytest.raises(ValueError, match=r"folder\.obj: is not a file"):
        load_mesh(tmp_path / "folder.obj")
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"objects\.npy: not readable as NPY \(.*(allow_pickle|Python objects)"):
        load_source(tmp_path / "objects.npy")
    np.save(tmp_path / "deep.npy", np.zeros((4, 3, 3)))
    with pytest.raises(ValueError, match=r"deep\.npy: must hold points .* got shape \(4, 3, 3\)"):
        load_source(tmp_path / "deep.npy")
    with pytest.raises(ValueError, match=r"deep\.npy: the suffix must be one of \.glb"):
        load_mesh(tmp_path / "deep.npy")
