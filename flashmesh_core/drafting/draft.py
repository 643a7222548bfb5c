"""The drafts of one pass, from the main token on, with everything that verification needs at each position.

Drafts come from the half-edge table (suggestions, weighed by a small scorer), from the learned heads' distributions, or
from both: suggestions from the table, chosen by scorer and heads together, new vertices from the heads.
A draft is the arg max of its log probability over the temperature plus the very noise that the backbone's choice will
meet, so drafts match samples nearly as often as they match greedy choices. Whatever is drafted, verification is exact.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.drafters import DRAFT_GIVEN, DRAFT_HEADS, DRAFT_NOTHING
from flashmesh_core.drafting.buffers import DraftBuffers
from flashmesh_core.drafting.features import write_features
from flashmesh_core.drafting.scorer import Scorer, score
from flashmesh_core.jit import njit
from flashmesh_core.state.arrays import Surface, Table
from flashmesh_core.state.coverage_guidance import count_places, write_bias
from flashmesh_core.state.half_edges import push
from flashmesh_core.state.masks import write_allowed
from flashmesh_core.state.slice_rows import prepare, write_rows
from flashmesh_core.state.suggestions import agrees, written
from flashmesh_core.token_choice import NOISE_RANGE, noise_at, noise_key

HEAD_POWER = 0.4  # of the heads' distributions beside the scorer's
TINY = 1e-6
LOG_TINY = float(np.log(TINY))
NEGLIGIBLE = 1e-4  # probability of a new vertex below which none is thought of
FITTED_AT = 0.5  # the temperature at which the scorer's samples were written


@njit(cache=True)
def _weigh(
    surface: Surface, table: Table, scorer: Scorer, buffers: DraftBuffers, heads: np.ndarray, n_heads: int, at: int
) -> int:
    """Weights of the suggestions of the vertex begun and of a new one, not yet cut to the coordinates written.

    `heads[at]` is the heads' distribution of the next coordinate; rows of what is already written are not asked.
    """
    slot = table.n[0].begun // 3
    count = write_features(surface, table, buffers.chosen, buffers.features)
    score(scorer, slot, buffers, count)
    for number in range(count):
        weight = buffers.weights[number]
        bins = table.bins[buffers.chosen[number]]
        for coordinate in range(table.n[0].begun % 3, 3):
            row = at + coordinate - table.n[0].begun % 3
            if row < n_heads:
                weight += HEAD_POWER * np.log(heads[row, bins[2 - coordinate]] + 1e-4)
        buffers.weights[number] = np.exp(weight)
    weight = buffers.weights[count]
    if at < n_heads:
        weight += HEAD_POWER * 3.0 * np.log(0.3)
    buffers.weights[count] = np.exp(weight)
    return count


@njit(cache=True)
def _spread_new(
    surface: Surface, table: Table, heads: np.ndarray, n_heads: int, at: int, allowed: np.ndarray, out: np.ndarray
) -> None:
    """The distribution of a new vertex's next coordinate: the heads', else that of coverage guidance's places."""
    size = surface.size
    total = 0.0
    for value in range(size):
        out[value] = heads[at, value] if at < n_heads and allowed[value] else 0.0
        total += out[value]
    if total < 1e-3:
        count_places(surface, table, table.distance)
        for value in range(size):
            out[value] = table.distance[value] if allowed[value] else 0.0
            total += out[value]
    if total > 0.0:
        for value in range(size):
            out[value] /= total


@njit(cache=True)
def _pick(log_p: np.ndarray, allowed: np.ndarray, temperature: float, seed: int, position: int) -> tuple[int, float]:
    """The draft, -1 where nothing is allowed, and its probability under the temperature."""
    best, top = -1, -np.inf
    floored = max(temperature, 0.05)
    for token in range(len(log_p)):
        if allowed[token] and log_p[token] > top:
            best, top = token, log_p[token]
    if best < 0:
        return -1, 0.0
    if temperature > 0.0:
        key, best_score = noise_key(seed, position), -np.inf
        for token in range(len(log_p)):
            if allowed[token] and log_p[token] >= top - NOISE_RANGE * temperature:
                score = log_p[token] / temperature + noise_at(key, token)
                if score > best_score:
                    best, best_score = token, score
    total = 0.0
    for token in range(len(log_p)):
        if allowed[token] and log_p[token] > top - 12.0 * floored:  # the others' probabilities are nothing
            total += np.exp((log_p[token] - top) / floored)
    return best, np.exp((log_p[best] - top) / floored) / total


@njit(cache=True)
def draft(
    surface: Surface,
    table: Table,
    scorer: Scorer,
    buffers: DraftBuffers,
    pending: int,
    width: int,
    mode: int,
    masks: int,
    strength: float,
    temperature: float,
    min_confidence: float,
    max_faces: int,
    seed: int,
    first: int,
    heads: np.ndarray,
    n_heads: int,
    given: np.ndarray,
) -> int:
    """Draft up to `width` - 1 tokens and push them; the number of positions filled in.

    The table ends with the `pending` main token, which the backbone has not seen yet; it fills the first position.

    `first` is the absolute position of the token after the main one, `heads` (P, Q + 1) the heads' distributions from
    that token on, `n_heads` of its rows valid; `given` are the drafts of DRAFT_GIVEN. Drafting stops at a token that
    can't be, at the face limit, at the likely end, and where the chance of everything drafted so far falls under
    `min_confidence`.
    """
    size = surface.size
    token = pending
    scored = np.int64(-1)
    count = 0
    log_p = np.empty(size + 1, dtype=np.float64)
    fresh = np.empty(size, dtype=np.float64)
    new_weight = 0.0
    confidence = 1.0
    for position in range(width):
        buffers.tokens[position] = token
        if position > 0:
            push(surface, table, token)
        prepare(surface, table, strength > 0.0)
        write_rows(surface, table, buffers.rows[position])
        allowed = buffers.allowed[position]
        buffers.dropped[position] = write_allowed(surface, table, masks, allowed)
        if strength > 0.0:
            write_bias(surface, table, strength, buffers.bias[position])
        if position == width - 1 or mode == DRAFT_NOTHING or table.n[0].faces >= max_faces:
            return position + 1
        if table.n[0].begun == 0 and strength > 0.0 and buffers.bias[position, size] == 0.0:
            return position + 1
        if mode == DRAFT_GIVEN:
            token = given[position] if position < len(given) else -1
            if token < 0 or not allowed[token]:
                return position + 1
            continue
        if mode == DRAFT_HEADS:
            if position >= n_heads:
                return position + 1
            log_p[size] = -30.0
            for value in range(size):
                log_p[value] = np.log(heads[position, value] + TINY)
        else:
            vertex = table.n[0].listed
            if scored != vertex:
                scored = vertex
                count = _weigh(surface, table, scorer, buffers, heads, n_heads, position)
                new_weight = buffers.weights[count]
            if new_weight < NEGLIGIBLE:
                fresh[:] = 0.0
            else:
                _spread_new(surface, table, heads, n_heads, position, allowed, fresh)
            axis = 2 - table.n[0].begun % 3
            z, y = written(table)
            for value in range(size):
                log_p[value] = new_weight * fresh[value]
            for number in range(count):
                bins = table.bins[buffers.chosen[number]]
                if agrees(z, y, bins):
                    log_p[bins[axis]] += buffers.weights[number]
            for value in range(size):
                log_p[value] = np.log(log_p[value] + TINY) if log_p[value] > 0.0 else LOG_TINY
            log_p[size] = -30.0
        own_temperature = temperature if mode == DRAFT_HEADS else temperature / FITTED_AT
        token, probability = _pick(log_p, allowed, own_temperature, seed, first + position)
        confidence *= probability
        if token < 0 or token == size or confidence < min_confidence:
            return position + 1
        if mode != DRAFT_HEADS:
            new_weight *= fresh[token]
    return width
