"""Mesh <-> tokens, and the arithmetic of slots and levels.

A sequence is 9 BOS, 9 tokens a face (z, y, x of its three vertices), 9 EOS. Position n holds token t_n; the
feature at n predicts t_(n+1). Vertex v is complete at n = 3v + 2, face f at n = 9f + 8, where the BOS group is
vertices 0 to 2 and face 0.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.mesh.canonical import CanonicalMesh, canonicalize_bins, check_num_bins

TOKENS_PER_VERTEX = 3
TOKENS_PER_FACE = 9


def eos_token(num_bins: int) -> int:
    """The end token at `num_bins` bins."""
    return num_bins


def bos_token(num_bins: int) -> int:
    """The begin token at `num_bins` bins."""
    return num_bins + 1


def face_tokens(mesh: CanonicalMesh) -> np.ndarray:
    """The faces as tokens, (F, 9) int64: z, y, x of v0, v1, v2."""
    return mesh.vertices[mesh.faces][:, :, ::-1].reshape(-1, TOKENS_PER_FACE)


def encode(mesh: CanonicalMesh) -> np.ndarray:
    """The whole sequence of a canonical mesh, (9F + 18,) int64."""
    begin = np.full(TOKENS_PER_FACE, bos_token(mesh.num_bins), dtype=np.int64)
    end = np.full(TOKENS_PER_FACE, eos_token(mesh.num_bins), dtype=np.int64)
    return np.concatenate([begin, face_tokens(mesh).reshape(-1), end])


def decode(tokens: np.ndarray, num_bins: int) -> CanonicalMesh:
    """The mesh of a sequence: leading BOS are skipped, the first EOS ends it, an unfinished face is dropped.

    Raises ValueError for a token outside the vocabulary or a BOS or EOS inside a face.
    """
    num_bins = check_num_bins(num_bins)
    tokens = np.asarray(tokens, dtype=np.int64).reshape(-1)
    if tokens.size and (tokens.min() < 0 or tokens.max() > bos_token(num_bins)):
        raise ValueError(f"tokens must be in [0, {bos_token(num_bins)}], got {tokens.min()} to {tokens.max()}")
    not_bos = np.flatnonzero(tokens != bos_token(num_bins))
    tokens = tokens[not_bos[0] :] if len(not_bos) else tokens[:0]
    ends = np.flatnonzero(tokens == eos_token(num_bins))
    tokens = tokens[: ends[0]] if len(ends) else tokens
    if len(ends) and len(tokens) % TOKENS_PER_FACE:
        raise ValueError(f"EOS must stand at a face start, got it after {len(tokens)} coordinates")
    tokens = tokens[: len(tokens) // TOKENS_PER_FACE * TOKENS_PER_FACE]
    if (tokens >= num_bins).any():
        raise ValueError(f"a face must hold coordinates in [0, {num_bins - 1}], got BOS inside one")
    bins = tokens.reshape(-1, 3)[:, ::-1]
    return canonicalize_bins(bins, np.arange(len(bins)).reshape(-1, 3), num_bins)


def first_occurrence(keys: np.ndarray) -> np.ndarray:
    """For every entry of `keys` (N,), the index of the first entry equal to it, (N,) int64."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return first[inverse.reshape(-1)]


def bos_prefix(num_bins: int) -> np.ndarray:
    """The 9 BOS tokens every sequence begins with, (9,) int64."""
    return np.full(TOKENS_PER_FACE, bos_token(num_bins), dtype=np.int64)
