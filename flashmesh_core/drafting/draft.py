"""The drafts of one pass, from the main token on, with everything that verification needs at each position.

Drafts come from the half-edge table (suggestions, weighed by a small scorer), from the learned heads' distributions, or
from both: suggestions from the table, chosen by scorer and heads together, new vertices from the heads.
A draft is the arg max of its log probability over the temperature plus the very noise that the backbone's choice will
meet, so drafts match samples nearly as often as they match greedy choices. Whatever is drafted, verification is exact.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.drafters import DRAFT_GIVEN, DRAFT_HALF_EDGE, DRAFT_HEADS, DRAFT_NOTHING, DRAFT_UNITED
from flashmesh_core.drafting.buffers import DraftBuffers, Rules
from flashmesh_core.drafting.features import write_features
from flashmesh_core.drafting.scorer import Scorer, score
from flashmesh_core.jit import njit
from flashmesh_core.state.arrays import Surface, Table
from flashmesh_core.state.coverage_guidance import count_places, write_bias
from flashmesh_core.state.half_edges import push
from flashmesh_core.state.masks import write_allowed
from flashmesh_core.state.slice_rows import prepare, write_rows
from flashmesh_core.state.suggestions import agrees, written
from flashmesh_core.token_choice import choose_token, probability_of

HEAD_POWER = 0.4  # of the heads' distributions beside the scorer's
TINY = 1e-6
LOG_TINY = float(np.log(TINY))
LOG_END = -30.0  # of EOS: only coverage guidance tells where the end may be
NEGLIGIBLE = 1e-4  # probability of a new vertex below which none is thought of
FITTED_AT = 0.5  # the temperature at which the scorer's samples were written


@njit(cache=True)
def _fill(surface: Surface, table: Table, buffers: DraftBuffers, rules: Rules, position: int) -> None:
    """What verification needs of the next token: rows, masks, bias, after the tokens pushed so far."""
    guided = rules.coverage_guidance > 0.0
    prepare(surface, table, guided)
    write_rows(surface, table, buffers.rows[position])
    buffers.dropped[position] = write_allowed(surface, table, rules.masks, buffers.allowed[position])
    if guided:
        write_bias(surface, table, rules.coverage_guidance, buffers.bias[position])


@njit(cache=True)
def _is_last(surface: Surface, table: Table, buffers: DraftBuffers, rules: Rules, position: int) -> bool:
    """Whether nothing is drafted after this position: the pass is full, or the mesh is, or likely ends here."""
    plan = buffers.plan[0]
    if position == plan.width - 1 or plan.mode == DRAFT_NOTHING or table.n[0].faces >= rules.max_faces:
        return True
    at_face_start = table.n[0].begun == 0
    return at_face_start and rules.coverage_guidance > 0.0 and buffers.bias[position, surface.size] == 0.0


@njit(cache=True)
def _weigh(
    surface: Surface, table: Table, scorer: Scorer, buffers: DraftBuffers, heads: np.ndarray, at: int
) -> int:  # fmt: skip
    """Weights of the suggestions of the vertex begun and of a new one, not yet cut to the coordinates written.

    `heads[at]` is the heads' distribution of the next coordinate; rows of coordinates already written are not read.
    """
    slot = table.n[0].begun // 3
    count = write_features(surface, table, buffers.chosen, buffers.features)
    score(scorer, slot, buffers, count)
    for number in range(count):
        weight = buffers.weights[number]
        bins = table.bins[buffers.chosen[number]]
        for coordinate in range(table.n[0].begun % 3, 3):
            row = at + coordinate - table.n[0].begun % 3
            if row < len(heads):
                weight += HEAD_POWER * np.log(heads[row, bins[2 - coordinate]] + 1e-4)
        buffers.weights[number] = np.exp(weight)
    weight = buffers.weights[count]
    if at < len(heads):
        weight += HEAD_POWER * 3.0 * np.log(0.3)
    buffers.weights[count] = np.exp(weight)
    return count


@njit(cache=True)
def _spread_new(
    surface: Surface, table: Table, heads: np.ndarray, at: int, allowed: np.ndarray, out: np.ndarray
) -> None:  # fmt: skip
    """The distribution of a new vertex's next coordinate: the heads', else that of coverage guidance's places."""
    size = surface.size
    total = 0.0
    for value in range(size):
        out[value] = heads[at, value] if at < len(heads) and allowed[value] else 0.0
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
def _mix(table: Table, buffers: DraftBuffers, count: int, new_weight: float) -> None:
    """`log_p` of the next coordinate, from `count` weighed suggestions and `fresh`, that of a new vertex."""
    log_p, fresh = buffers.log_p, buffers.fresh
    axis = 2 - table.n[0].begun % 3
    z, y = written(table)
    for value in range(len(fresh)):
        log_p[value] = new_weight * fresh[value]
    for number in range(count):
        bins = table.bins[buffers.chosen[number]]
        if agrees(z, y, bins):
            log_p[bins[axis]] += buffers.weights[number]
    for value in range(len(fresh)):
        log_p[value] = np.log(log_p[value] + TINY) if log_p[value] > 0.0 else LOG_TINY


@njit(cache=True)
def _from_table(
    surface: Surface, table: Table, scorer: Scorer, buffers: DraftBuffers, heads: np.ndarray, position: int,
    weighed: tuple[int, int, float],
) -> tuple[int, int, float]:  # fmt: skip
    """`log_p` from the half-edge table; `weighed` is the vertex whose suggestions were weighed, how many there are, and
    the weight of a new vertex."""
    vertex, count, new_weight = weighed
    if vertex != table.n[0].listed:
        vertex, count = table.n[0].listed, _weigh(surface, table, scorer, buffers, heads, position)
        new_weight = buffers.weights[count]
    if new_weight < NEGLIGIBLE:
        buffers.fresh[:] = 0.0
    else:
        _spread_new(surface, table, heads, position, buffers.allowed[position], buffers.fresh)
    _mix(table, buffers, count, new_weight)
    return vertex, count, new_weight


@njit(cache=True)
def _from_heads(heads: np.ndarray, position: int, log_p: np.ndarray) -> None:
    for value in range(len(log_p) - 1):
        log_p[value] = np.log(heads[position, value] + TINY)


@njit(cache=True)
def draft(
    surface: Surface,
    table: Table,
    scorer: Scorer,
    buffers: DraftBuffers,
    rules: Rules,
    heads: np.ndarray,
    given: np.ndarray,
) -> int:
    """Draft tokens by `buffers.plan` and push them; the number of positions filled in, the main token's included.

    `heads` (P, Q + 1) are the heads' distributions from the token after the main one on, `given` the drafts of
    DRAFT_GIVEN. Drafting stops at a token that can't be, at the face limit, at the likely end, and, but for drafts that
    are given, where the probability of everything drafted so far falls under `plan.min_confidence`.
    """
    plan = buffers.plan[0]
    temperature = rules.temperature if plan.mode == DRAFT_HEADS else rules.temperature / FITTED_AT
    token, confidence = plan.pending, 1.0
    weighed = np.int64(-1), np.int64(0), 0.0
    buffers.log_p[surface.size] = LOG_END
    for position in range(plan.width):
        buffers.tokens[position] = token
        if position > 0:
            push(surface, table, token)
        _fill(surface, table, buffers, rules, position)
        if _is_last(surface, table, buffers, rules, position):
            return position + 1
        allowed = buffers.allowed[position]
        if plan.mode == DRAFT_GIVEN:
            token = given[position] if position < len(given) else -1
            if token < 0 or not allowed[token]:
                return position + 1
            continue
        if plan.mode == DRAFT_HEADS:
            if position >= len(heads):
                return position + 1
            _from_heads(heads, position, buffers.log_p)
        elif plan.mode == DRAFT_HALF_EDGE or plan.mode == DRAFT_UNITED:
            weighed = _from_table(surface, table, scorer, buffers, heads, position, weighed)
        else:  # a mode that nothing drafts for
            return position + 1
        token = choose_token(buffers.log_p, buffers.no_bias, allowed, temperature, rules.seed, plan.first + position)
        if token < 0 or token == surface.size:
            return position + 1
        confidence *= probability_of(token, buffers.log_p, allowed, temperature)
        if confidence < plan.min_confidence:
            return position + 1
        if plan.mode != DRAFT_HEADS:
            weighed = weighed[0], weighed[1], weighed[2] * buffers.fresh[token]
    return plan.width
