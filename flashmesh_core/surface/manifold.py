"""Triangles to an edge-manifold, oriented mesh: windings, branching edges and vertices, insides, slivers."""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.surface.adjacency import (
    COMPILED,
    edge_order,
    face_area,
    face_components,
    next_half_edge,
    opposite_pairs,
    previous_half_edge,
)
from flashmesh_core.surface.solid_angles import winding_at

FURNISHED = 0.1  # share of a room's volume that is full of things, at most
MAX_CAVITIES = 64  # parts inside others whose insides are looked at; beyond, all parts wind outwards


@njit(**COMPILED)
def oriented(vertices, faces):
    """`faces` with windings that agree over edges of two faces; in each patch the larger area keeps its winding."""
    n = len(faces)
    order, first, _, _ = edge_order(faces, len(vertices))
    flat = faces.ravel()
    link = np.full(3 * n, -1, dtype=np.int32)
    agree = True
    for e in range(len(first) - 1):
        if first[e + 1] - first[e] == 2:
            h, g = order[first[e]], order[first[e] + 1]
            link[h], link[g] = g, h
            agree = agree and flat[h] != flat[g]
    if agree:
        return faces
    turned = np.full(n, -1, dtype=np.int8)
    queue = np.empty(n, dtype=np.int32)
    for seed in range(n):
        if turned[seed] >= 0:
            continue
        turned[seed], queue[0] = 0, seed
        done, count, balance = 0, 1, 0.0
        while done < count:
            f = queue[done]
            done += 1
            balance += (1.0 - 2.0 * turned[f]) * face_area(vertices, faces, f)
            for h in range(3 * f, 3 * f + 3):
                g = link[h] // 3 if link[h] >= 0 else -1
                if g >= 0 and turned[g] < 0:
                    turned[g] = turned[f] ^ (1 if flat[h] == flat[link[h]] else 0)
                    queue[count] = g
                    count += 1
        if balance < 0.0:
            for i in range(count):
                turned[queue[i]] ^= 1
    result = faces.copy()
    for f in range(n):
        if turned[f] == 1:
            result[f, 1], result[f, 2] = faces[f, 2], faces[f, 1]
    return result


@njit(**COMPILED)
def _square(vertices, a, b):
    """The squared distance of vertices a and b."""
    x, y, z = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
    return x * x + y * y + z * z


@njit(**COMPILED)
def paired(vertices, faces):
    """The half-edge (3F,) on the other side of each one, -1 where none is left.

    Where more than two faces meet, a face is paired with the next one that bounds the same inside; so parts that touch
    come apart. Faces that run the same way are never paired.
    """
    order, first, low, high = edge_order(faces, len(vertices))
    twin = opposite_pairs(faces, order, first)
    for e in range(len(first) - 1):
        if first[e + 1] - first[e] > 2:
            group = order[first[e] : first[e + 1]]
            _pair_by_angle(vertices, faces.ravel(), twin, group, low[group[0]], high[group[0]])
    return twin


@njit(**COMPILED)
def _pair_by_angle(vertices, flat, twin, group, low, high):
    """Pair the half-edges `group` of the edge from `low` to `high` by their faces' angles around it."""
    m = len(group)
    axis = vertices[high] - vertices[low]
    length = np.sqrt((axis * axis).sum())
    axis = axis / max(length, 1e-300)
    least = np.argmin(np.abs(axis))
    x = -axis * axis[least]
    x[least] += 1.0
    x /= np.sqrt((x * x).sum())
    y = np.array([axis[1] * x[2] - axis[2] * x[1], axis[2] * x[0] - axis[0] * x[2], axis[0] * x[1] - axis[1] * x[0]])
    angle = np.empty(m)
    for i in range(m):
        h = group[i]
        tip = flat[h + 2 if h % 3 == 0 else h - 1]
        d = vertices[tip] - vertices[low]
        angle[i] = np.arctan2((d * y).sum(), (d * x).sum())
        angle[i] += -1e-7 if flat[h] == low else 1e-7  # of two walls back to back, each bounds its own side
    ring = np.argsort(angle)
    stack, depth = np.empty(2 * m, dtype=np.int32), 0
    for i in range(2 * m):  # twice around: a face that runs from low to high has its inside before it
        h = group[ring[i % m]]
        if twin[h] >= 0:
            continue
        if depth and flat[h] == low and flat[stack[depth - 1]] != low:
            g = stack[depth - 1]
            if twin[g] < 0:
                twin[h], twin[g] = g, h
            depth -= 1
        elif i < m:
            stack[depth] = h
            depth += 1
        else:
            stack[0], depth = h, 1
    i, j = 0, 0  # what is left: any two that run opposite ways
    while i < m and j < m:
        if twin[group[i]] >= 0 or flat[group[i]] != low:
            i += 1
        elif twin[group[j]] >= 0 or flat[group[j]] == low:
            j += 1
        else:
            twin[group[i]], twin[group[j]] = group[j], group[i]


@njit(**COMPILED)
def split_fans(vertices, faces, twin):
    """Vertices and faces so that twins join all faces at each vertex: a vertex of several fans becomes several."""
    n = 3 * len(faces)
    flat = faces.ravel()
    result, count = np.full(n, -1, dtype=np.int32), 0
    for h in range(n):
        if result[h] >= 0:
            continue
        result[h] = count
        g = twin[previous_half_edge(h)]
        while g >= 0 and g != h:
            result[g] = count
            g = twin[previous_half_edge(g)]
        if g < 0:  # a border: the other way around as well
            g = twin[h]
            while g >= 0:
                g = next_half_edge(g)
                result[g] = count
                g = twin[g]
        count += 1
    positions = np.empty((count, 3))
    for h in range(n):
        for axis in range(3):
            positions[result[h], axis] = vertices[flat[h], axis]
    return positions, result.reshape(-1, 3)


@njit(**COMPILED)
def halve_doubled(vertices, faces, twin):
    """Vertices and faces with edges halved that join the same two vertices as another one does, and whether any was.

    Two fans may share both ends of an edge and still be one fan at each; halving keeps what is closed closed.
    """
    n = 3 * len(faces)
    order, first, _, _ = edge_order(faces, len(vertices))
    halved = np.full(n, -1, dtype=np.int32)
    touched = np.zeros(len(faces), dtype=np.bool_)
    count = 0
    for e in range(len(first) - 1):
        h = order[first[e]]
        for g in order[first[e] + 1 : first[e + 1]]:
            other = twin[g]
            fresh = not touched[g // 3] and (other < 0 or not touched[other // 3])
            if g != twin[h] and halved[g] < 0 and fresh:
                halved[g], touched[g // 3] = count, True
                if other >= 0:
                    halved[other], touched[other // 3] = count, True
                count += 1
    positions = np.empty((len(vertices) + count, 3))
    positions[: len(vertices)] = vertices
    result, more = np.empty((len(faces) + touched.sum(), 3), dtype=np.int32), len(faces)
    result[: len(faces)] = faces
    for h in range(n):
        if halved[h] >= 0:
            f, k = h // 3, h % 3
            a, b, c = faces[f, k], faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]
            middle = len(vertices) + halved[h]
            positions[middle] = 0.5 * (vertices[a] + vertices[b])
            result[f, 0], result[f, 1], result[f, 2] = a, middle, c
            result[more, 0], result[more, 1], result[more, 2] = middle, b, c
            more += 1
    return positions, result, count > 0


# ---------------------------------------------------------------- inside and outside


def turn_outwards(vertices: np.ndarray, faces: np.ndarray, twin: np.ndarray) -> None:
    """Reverse, in place, closed parts that wind inwards; but not cavities of a part that winds outwards.

    A part that winds inwards around small ones that wind outwards is a room: all stay as they are.
    """
    label, count = face_components(faces, twin)
    closed, volume = volumes_of(vertices, faces, twin, label, count)
    if not closed.any():
        return
    largest = np.argmax(np.where(closed, np.abs(volume), -1.0))
    sign = np.sign(volume[largest]) or 1.0
    if sign < 0.0 and _is_room(vertices, faces, label, np.where(closed, volume, 0.0), largest):
        return
    inward = closed & (volume * sign < 0.0)
    if 0 < inward.sum() <= MAX_CAVITIES:
        for part in np.flatnonzero(inward):
            inward[part] = not _is_cavity(vertices, faces, label, closed & (volume * sign > 0.0), part)
    turned = closed & (inward ^ (sign < 0.0))
    if turned.any():
        _reverse(faces, twin, turned[label])


@njit(**COMPILED)
def volumes_of(vertices, faces, twin, label, count):
    """Whether each part (P,) is closed, and six times the volume (P,) that it then holds, below 0 if wound inwards."""
    closed, volume = np.ones(count, dtype=np.bool_), np.zeros(count)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x = vertices[b, 1] * vertices[c, 2] - vertices[b, 2] * vertices[c, 1]
        y = vertices[b, 2] * vertices[c, 0] - vertices[b, 0] * vertices[c, 2]
        z = vertices[b, 0] * vertices[c, 1] - vertices[b, 1] * vertices[c, 0]
        volume[label[f]] += vertices[a, 0] * x + vertices[a, 1] * y + vertices[a, 2] * z
        if twin[3 * f] < 0 or twin[3 * f + 1] < 0 or twin[3 * f + 2] < 0:
            closed[label[f]] = False
    return closed, volume


def _is_room(
    vertices: np.ndarray, faces: np.ndarray, label: np.ndarray, volume: np.ndarray, room: np.signedinteger
) -> bool:
    """Whether parts of positive `volume` (P,) are in `room`, and too small for the hollow of a reversed body."""
    things = np.flatnonzero(volume > 0.0)
    things = things[np.argsort(-volume[things])][:MAX_CAVITIES]
    walls = np.arange(len(volume)) == room
    inside = [part for part in things if _is_cavity(vertices, faces, label, walls, part)]
    return bool(inside) and float(volume[inside].sum()) < FURNISHED * -float(volume[room])


def _is_cavity(
    vertices: np.ndarray, faces: np.ndarray, label: np.ndarray, others: np.ndarray, part: np.signedinteger
) -> bool:
    """Whether a vertex of `part` lies inside exactly one more of the closed parts `others` than outside."""
    here = faces[label == part]
    point, low, high = vertices[here[0, 0]], vertices[here].min(axis=(0, 1)), vertices[here].max(axis=(0, 1))
    around = others[label]
    corners = vertices[faces[around]]
    if len(corners) == 0 or (corners.min(axis=(0, 1)) > low).any() or (corners.max(axis=(0, 1)) < high).any():
        return False
    return abs(winding_at(corners, point)) > 0.5


@njit(**COMPILED)
def _reverse(faces, twin, turned):
    """Reverse the faces where `turned` (F,), whole parts at a time, and name their half-edges anew."""
    for f in range(len(faces)):
        if turned[f]:
            faces[f, 1], faces[f, 2] = faces[f, 2], faces[f, 1]
            twin[3 * f], twin[3 * f + 2] = twin[3 * f + 2], twin[3 * f]
            for h in range(3 * f, 3 * f + 3):
                twin[h] += 2 - 2 * (twin[h] % 3)


# ---------------------------------------------------------------- slivers


@njit(**COMPILED)
def flip_slivers(vertices, faces, twin, flat):
    """`faces` with the longest edges of flat ones turned, and whether any was; flat faces at a border go.

    A face is flat if its height is below `flat` of its longest edge. Nothing opens: the neighbor covers the same place.
    """
    faces, kept, changed = faces.copy(), np.ones(len(faces), dtype=np.bool_), False
    touched = np.zeros(len(faces), dtype=np.bool_)
    for f in range(len(faces)):
        if touched[f]:
            continue
        side, longest = 0, 0.0
        for k in range(3):
            square = _square(vertices, faces[f, k], faces[f, (k + 1) % 3])
            if square > longest:
                side, longest = k, square
        if 2.0 * face_area(vertices, faces, f) > flat * longest:
            continue
        other = twin[3 * f + side]
        if other < 0:
            border = twin[3 * f + (side + 1) % 3] >= 0 and twin[3 * f + (side + 2) % 3] >= 0
            kept[f], changed = not border, changed or border
            touched[f] = True
            continue
        changed = turn_edge(faces, twin, touched, 3 * f + side) or changed
    return faces[kept], changed


@njit(**COMPILED)
def turn_edge(faces, twin, touched, h):
    """Turns the edge of half-edge h in `faces`, and whether it could; marks the faces whose twins are wrong then.

    It stays where a face beside it was touched in this round, and where the new edge is there already.
    """
    f, g = h // 3, twin[h] // 3
    a, b, c = faces[f, h % 3], faces[f, (h + 1) % 3], faces[f, (h + 2) % 3]
    d = faces[g, (twin[h] + 2) % 3]
    if touched[f] or touched[g] or c == d or are_joined(faces, twin, 3 * f + (h + 2) % 3, d):
        return False
    faces[f, 0], faces[f, 1], faces[f, 2] = a, d, c
    faces[g, 0], faces[g, 1], faces[g, 2] = d, b, c
    touched[f], touched[g] = True, True
    for face in (f, g):  # twins are only right again after the round: leave the neighbors alone
        for k in range(3 * face, 3 * face + 3):
            if twin[k] >= 0:
                touched[twin[k] // 3] = True
    return True


@njit(**COMPILED)
def are_joined(faces, twin, h, other):
    """Whether an edge joins the origin of half-edge h with the vertex `other`; looks at the fan around the origin."""
    flat = faces.ravel()
    g = h
    while True:
        if flat[next_half_edge(g)] == other or flat[previous_half_edge(g)] == other:
            return True
        before = previous_half_edge(g)
        g = twin[before]
        if g == h:
            return False
        if g < 0:
            break
    g = h
    while twin[g] >= 0:
        there = twin[g]
        g = next_half_edge(there)
        if flat[next_half_edge(g)] == other or flat[previous_half_edge(g)] == other:
            return True
        if g == h:
            return False
    return False
