"""Crops, targets, labels and mistakes of training samples, and the batches they make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flashmesh_core.config import preset
from flashmesh_core.mesh.canonical import CanonicalMesh, Mesh, canonicalize, vertex_keys
from flashmesh_core.mesh.io import save_mesh
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface.overlap import first_over
from flashmesh_core.tokenizer import encode, face_tokens
from tests.mesh.shapes import box
from training.damaged import damaged_reading, with_split_edges
from training.data import NO_VERTEX, DataConfig, MeshBatches, crop, wanted_mesh
from training.ledger import Ledger
from training.losses import draft_targets, label_targets
from training.mistakes import IGNORE, make_mistakes
from training.readings import ReadingKey, keys_of, load_reading
from training.shapes import make_shape, random_shape

CONFIG = preset("debug")


def shape(seed: int = 0) -> CanonicalMesh:
    mesh = random_shape(np.random.default_rng(seed), max_faces=120)
    return canonicalize(mesh.vertices, mesh.faces, CONFIG.num_bins)


def test_a_whole_mesh_is_its_sequence_and_the_token_after_each() -> None:
    mesh = shape()
    sample = crop(mesh, face_tokens(mesh), CONFIG, 0, len(mesh.faces) + 3)
    sequence = np.where(encode(mesh) == CONFIG.num_bins + 1, CONFIG.bos, encode(mesh))
    used = 9 * (len(mesh.faces) + 1)
    np.testing.assert_array_equal(sample.tokens[:used], sequence[:used])
    assert (sample.tokens[used:] == CONFIG.pad).all()
    np.testing.assert_array_equal(sample.targets[8:used], sequence[9 : used + 1])
    assert sample.targets[used - 1] == CONFIG.eos
    assert (sample.targets[:8] == IGNORE).all() and (sample.targets[used:] == IGNORE).all()


def test_a_crop_starts_at_a_face_and_looks_ahead() -> None:
    mesh = shape(3)
    body = face_tokens(mesh).reshape(-1)
    sample = crop(mesh, face_tokens(mesh), CONFIG, 2, 4)
    np.testing.assert_array_equal(sample.tokens, body[18:54])
    ahead = body[19:]
    np.testing.assert_array_equal(sample.targets[: len(ahead)][:72], ahead[:72])


@pytest.mark.parametrize("start", [0, 2])
def test_labels_tell_earlier_new_and_repeated_vertices(start: int) -> None:
    mesh = shape(5)
    groups = 6
    sample = crop(mesh, face_tokens(mesh), CONFIG, start, groups)
    keys = vertex_keys(mesh.vertices, mesh.num_bins)[mesh.faces].reshape(-1).tolist()
    labels = label_targets(torch.from_numpy(sample.first)[None], torch.arange(groups)[None], 1, 6)[0]
    for group in range(groups):
        for offset in range(6):
            at = 3 * (group + 1) + offset  # position in the crop
            absolute = at - 3 if start == 0 else at + 3 * start
            batch = 3 * (group + 1) - 3 if start == 0 else 3 * (group + 1) + 3 * start
            if absolute >= len(keys):
                assert labels[group, offset] == IGNORE
            elif keys[absolute] in keys[:batch]:
                assert labels[group, offset] == 0
            elif keys[absolute] in keys[batch:absolute]:
                assert labels[group, offset] == 2
            else:
                assert labels[group, offset] == 1
    if start == 0:
        assert (sample.first[:3] == NO_VERTEX).all()


def test_draft_targets_are_the_tokens_after_each_split_node() -> None:
    targets = torch.arange(100, 200)[None]  # targets[n] is the token at n + 1, here 101 + n - 1
    groups = torch.tensor([[1]])
    token = {n + 1: int(targets[0, n]) for n in range(100)}
    coordinate = draft_targets(targets, groups, 1, 1, 2)[0]
    assert coordinate.tolist() == [[token[n + 2], token[n + 3]] for n in range(9, 18)]
    vertex = draft_targets(targets, groups, 3, 0, 6)[0]
    assert vertex.tolist() == [[token[n + 1 + k] for k in range(6)] for n in (11, 14, 17)]
    face = draft_targets(targets, groups, 9, 0, 18)[0]
    assert face.tolist() == [[token[18 + k] for k in range(18)]]


@pytest.mark.parametrize("seed", range(8))
def test_mistakes_keep_the_order_and_aim_at_the_right_tokens(seed: int) -> None:
    mesh = shape(seed)
    written, wanted = make_mistakes(mesh, np.random.default_rng(seed))
    keys = vertex_keys(written.vertices, written.num_bins)[written.faces]
    faces = [tuple(face) for face in keys.tolist()]
    assert faces == sorted(set(faces)) and (keys[:, 0] < keys[:, 1:].min(axis=1)).all()
    truth = {tuple(row) for row in face_tokens(mesh).tolist()}
    tokens = face_tokens(written)
    assert tokens.shape == wanted.shape
    for row, aim in zip(tokens, wanted, strict=True):
        if (aim == row).all():
            assert tuple(row.tolist()) in truth
        else:
            first_wrong = int((aim != row).argmax())
            assert aim[first_wrong] != IGNORE and (aim[first_wrong + 1 :] == IGNORE).all()
            assert any((right[: first_wrong + 1] == tuple(aim[: first_wrong + 1].tolist())) for right in truth)


def test_what_a_mistake_blocks_is_not_asked_for() -> None:
    """No face shares an edge with a wrong one that comes before it, and none that is asked for lies under one."""
    mistakes = 0
    for seed in range(12):
        written, wanted = make_mistakes(shape(seed), np.random.default_rng(seed))
        corners = written.vertices[written.faces].astype(np.int64)
        keys = vertex_keys(written.vertices, written.num_bins)[written.faces].tolist()
        right = (wanted == face_tokens(written)).all(axis=1)
        mistakes += int((~right).sum())
        used: set[tuple[int, int]] = set()
        for number, (a, b, c) in enumerate(keys):
            edges = {(a, b), (b, c), (c, a)}
            assert not edges & used
            if right[number]:
                before = corners[:number][~right[:number]]
                assert first_over(before, corners[number : number + 1]) == len(before)
            else:
                used |= edges
    assert mistakes >= 12


def test_batches_depend_on_their_number_alone() -> None:
    data = DataConfig(seed=3, batch_tokens=2304)
    first, again = (MeshBatches(CONFIG, data, None, []) for _ in range(2))
    again[0]
    for name, tensor in first[4].items():
        assert torch.equal(tensor, again[4][name]), name
    other = MeshBatches(CONFIG, replace(data, seed=4), None, [])[4]
    assert other["tokens"].shape != first[4]["tokens"].shape or not torch.equal(other["tokens"], first[4]["tokens"])


def test_the_model_is_to_write_the_artists_mesh() -> None:
    """A reading that is off by half a bin moves nothing; a face that it lacks is left out."""
    corners, sides = box()
    vertices = 0.45 * corners / np.abs(corners).max()
    inside = np.array([[0.0, 0.0, 0.0], [0.02, 0.0, 0.0], [0.0, 0.02, 0.0]])
    faces = np.concatenate([sides, [np.arange(3) + len(vertices)]])
    made = wanted_mesh(Mesh(np.concatenate([vertices, inside]), faces), Mesh(vertices + 0.004, sides), 128)
    assert corners_of(made) == corners_of(canonicalize(vertices, sides, 128))


def test_a_sheet_faces_as_its_reading_does() -> None:
    corners, sides = box()
    vertices, sheet = 0.45 * corners / np.abs(corners).max(), sides[:2]
    made = wanted_mesh(Mesh(vertices, sheet), Mesh(vertices, sheet[:, ::-1]), 128)
    assert corners_of(made) == corners_of(canonicalize(vertices, sheet[:, ::-1], 128))


def corners_of(mesh: CanonicalMesh) -> list[tuple[int, ...]]:
    """The bins of each face, in order."""
    return [tuple(face) for face in mesh.vertices[mesh.faces].reshape(-1, 9).tolist()]


@pytest.mark.parametrize("seed", range(4))
def test_a_stand_in_keeps_the_surface_and_its_edges(seed: int) -> None:
    """Nothing opens where vertices are lost or added, and the counts are those of a reading."""
    mesh = make_shape("box", np.random.default_rng(seed))
    reading = damaged_reading(mesh, np.random.default_rng(seed))
    assert len(reading.proxies) == 3
    counts = [len(proxy.faces) for proxy in reading.proxies]
    assert counts[0] <= counts[1] <= counts[2] and counts[0] >= 4
    split = with_split_edges(mesh, 0.5, np.random.default_rng(seed))
    assert len(split.faces) > len(mesh.faces)
    assert is_manifold_and_closed(split.vertices, split.faces) == is_manifold_and_closed(mesh.vertices, mesh.faces)


def test_packed_batches_are_full_and_end_what_they_begin() -> None:
    data = DataConfig(seed=3, batch_tokens=2304, packed=True)
    batch, again = (MeshBatches(CONFIG, data, None, [])[5] for _ in range(2))
    for name, tensor in batch.items():
        assert torch.equal(tensor, again[name]), name
    owner, tokens = batch["crops"], batch["tokens"]
    used = (tokens != CONFIG.pad).view(len(tokens), -1, 9).any(dim=2)
    assert torch.equal(used, owner >= 0) and used.float().mean() > 0.9
    numbers = owner[owner >= 0]
    assert (numbers.diff() >= 0).all() and len(batch["points"]) == data.crops * len(tokens)
    ends = (batch["targets"][:, : tokens.shape[1]] == CONFIG.eos).sum()
    assert 1 <= ends <= data.crops


def test_readings_join_a_run_from_a_later_batch_on(tmp_path: Path) -> None:
    keys = [(number, ReadingKey(f"mesh_{number}", "cloud", 0)) for number in range(3)]
    for _, key in keys[:2]:
        key.file(tmp_path).parent.mkdir(parents=True, exist_ok=True)
        key.file(tmp_path).write_bytes(b"")
    ledger = Ledger(tmp_path / "readings.txt", tmp_path, keys)
    assert ledger.extend(0) == 2
    other = Ledger(tmp_path / "readings.txt", tmp_path, keys)  # as in a data process
    assert other.keys_at(0) == keys[:2]
    keys[2][1].file(tmp_path).write_bytes(b"")
    assert ledger.extend(100) == 3
    assert other.keys_at(99) == keys[:2] and other.keys_at(100) == keys


def test_readings_are_kept_and_the_same_again(tmp_path: Path) -> None:
    mesh = make_shape("box", np.random.default_rng(0))
    mesh = Mesh(mesh.vertices / np.ptp(mesh.vertices, axis=0).max() * 0.98, mesh.faces)
    key = ReadingKey("box", "cloud", 0)
    made = load_reading(mesh, key, tmp_path)
    assert made is not None and key.file(tmp_path).is_file()
    kept = load_reading(mesh, key, tmp_path)
    key.file(tmp_path).write_bytes(b"torn")
    anew = load_reading(mesh, key, tmp_path)
    assert kept is not None and anew is not None
    for one, other in zip(kept.proxies, anew.proxies, strict=True):
        np.testing.assert_array_equal(one.vertices, other.vertices)
        np.testing.assert_array_equal(one.faces, other.faces)
    assert [file.name for file in key.file(tmp_path).parent.iterdir()] == ["box_0.npz"]


def test_open_meshes_have_no_readings_of_remeshes() -> None:
    mesh = make_shape("box", np.random.default_rng(0))
    store = MeshStore([mesh.vertices, mesh.vertices], [mesh.faces, mesh.faces[1:]], ["closed", "open"])
    keys = keys_of(store, ("remesh", "cloud"), 2, 1_000)
    assert sum(key.name == "closed" for _, key in keys) == 4
    assert {key.family for _, key in keys if key.name == "open"} == {"cloud"}


def test_a_folder_of_files_is_a_store_and_unreadable_ones_are_counted(tmp_path: Path) -> None:
    for seed in range(3):
        save_mesh(tmp_path / f"shape_{seed}.ply", random_shape(np.random.default_rng(seed)))
    (tmp_path / "broken.obj").write_text("v 0 0\n")
    store = MeshStore.open(tmp_path)
    assert len(store) == 3 and store.skipped == 1
    for vertices in store.vertices:
        assert np.ptp(vertices, axis=0).max() == pytest.approx(1.0, abs=1e-6)
    keys = keys_of(store, ("cloud",), 1, 10_000)
    batch = MeshBatches(CONFIG, DataConfig(batch_tokens=2304, procedural=0.0), store, keys)[0]
    assert (batch["targets"] == CONFIG.eos).any()


def test_meshes_over_ten_thousand_faces_are_left_out(tmp_path: Path) -> None:
    faces = np.zeros((10_001, 3), dtype=np.uint16) + np.arange(3, dtype=np.uint16)
    np.savez(
        tmp_path / "packed.npz", vertices=np.eye(3, dtype=np.float32), faces=faces,
        vert_offsets=[0, 3], face_offsets=[0, 10_001],
    )  # fmt: skip
    store = MeshStore.open(tmp_path / "packed.npz")
    assert len(store) == 0 and store.skipped == 1


def test_bad_data_options_name_the_range() -> None:
    with pytest.raises(ValueError, match=r"procedural must be in \[0, 1\], got 2"):
        DataConfig(procedural=2)
    with pytest.raises(ValueError, match="multiples of 9"):
        DataConfig(lengths=(100,), length_weights=(1.0,))
