# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan of quads carried out on a mesh: materials, UV maps and marked edges stay with their places."""

from __future__ import annotations

from collections.abc import Sequence

import bmesh
import numpy as np

from flashmesh_core.mesh.quads import Quads

SAME_PLACE = 1e-5  # of a UV map: two corners that are nearer lie on each other


def apply_quads(work: bmesh.types.BMesh, quads: Quads, places: np.ndarray) -> None:
    """Changes the triangles of `work` as `quads` says; `places` (W, 3) are the plan's vertices as the mesh has them."""
    verts, maps = list(work.verts), work.loops.layers.uv.values()
    for kind, a, b in quads.steps:
        edge = work.edges.get((verts[a], verts[b]))
        if edge is None:
            raise RuntimeError(f"the plan asks to {kind} an edge that is not there")
        if kind == "turn":
            bmesh.utils.edge_rotate(edge)
        elif kind == "join":
            _join(work, verts[a], verts[b], maps)
        elif kind == "merge":
            _slide(edge, verts[b], places[len(verts)], maps)
            _join(work, verts[a], verts[b], maps)
            verts.append(verts[b])
        else:
            verts.append(_cut(edge, verts[a], places[len(verts)]))
    joints = [work.edges.get((verts[a], verts[b])) for a, b in quads.joints.tolist()]
    bmesh.ops.dissolve_edges(work, edges=[e for e in joints if e is not None], use_verts=False, use_face_split=False)


def holds(edge: bmesh.types.BMEdge, maps: Sequence[bmesh.types.BMLayerItem]) -> bool:
    """Whether an edge is a seam or sharp, or one of the UV `maps` does not go on from one of its faces to the other."""
    if edge.seam or not edge.smooth:
        return True
    if len(edge.link_loops) != 2 or not maps:
        return False
    here, there = edge.link_loops
    ends = ((here, there.link_loop_next), (here.link_loop_next, there))
    return any((one[uv].uv - other[uv].uv).length > SAME_PLACE for one, other in ends for uv in maps)


def _cut(edge: bmesh.types.BMEdge, start: bmesh.types.BMVert, place: np.ndarray) -> bmesh.types.BMVert:
    """A new vertex in an edge, joined to the third corners of its two faces."""
    _, vert = bmesh.utils.edge_split(edge, start, _share(edge, start, place))
    for face in list(vert.link_faces):
        loop = next(loop for loop in face.loops if loop.vert == vert)
        bmesh.utils.face_split(face, vert, loop.link_loop_next.link_loop_next.vert)
    vert.co = place
    return vert


def _share(edge: bmesh.types.BMEdge, start: bmesh.types.BMVert, place: np.ndarray) -> float:
    """Where along an edge, from its end `start` on, a place is nearest: 0 to 1."""
    along = np.array(edge.other_vert(start).co) - np.array(start.co)
    share = float((place - np.array(start.co)) @ along / max(along @ along, 1e-30))
    return min(max(share, 0.0), 1.0)


def _slide(
    edge: bmesh.types.BMEdge, vert: bmesh.types.BMVert, place: np.ndarray, maps: Sequence[bmesh.types.BMLayerItem]
) -> None:
    """Moves an end of an edge to a place beside that edge, in UV maps along the edge alone."""
    share = _share(edge, vert, place)
    loop = edge.link_loops[0]
    here, there = (loop, loop.link_loop_next) if loop.vert == vert else (loop.link_loop_next, loop)
    for uv in maps:
        moved = here[uv].uv.lerp(there[uv].uv, share)
        for corner in vert.link_loops:
            corner[uv].uv = moved
    vert.co = place


def _join(
    work: bmesh.types.BMesh,
    gone: bmesh.types.BMVert,
    stays: bmesh.types.BMVert,
    maps: Sequence[bmesh.types.BMLayerItem],
) -> None:
    """Takes the edge between two vertices away. Corners of faces at `gone` become as those at `stays` beside them."""
    edge = work.edges.get((gone, stays))
    for loop in edge.link_loops:
        model = loop if loop.vert == stays else loop.link_loop_next
        _spread(loop.face, gone, edge, model, maps)
    marks = {}  # welding may take those of either edge that become one
    for side in (*stays.link_edges, *gone.link_edges):
        end = side.other_vert(stays if stays in side.verts else gone)
        seam, smooth = marks.get(end, (False, True))
        marks[end] = seam or side.seam, smooth and side.smooth
    bmesh.ops.weld_verts(work, targetmap={gone: stays})
    for side in stays.link_edges:
        side.seam, side.smooth = marks[side.other_vert(stays)]


def _spread(
    start: bmesh.types.BMFace,
    gone: bmesh.types.BMVert,
    edge: bmesh.types.BMEdge,
    model: bmesh.types.BMLoop,
    maps: Sequence[bmesh.types.BMLayerItem],
) -> None:
    """Gives the corners at `gone` what `model` has, from the face `start` on as far as no edge holds, nor `edge`."""
    seen, waiting = {start}, [start]
    while waiting:
        face = waiting.pop()
        for side in face.edges:
            if gone in side.verts and side is not edge and not holds(side, maps):
                beyond = {other for other in side.link_faces if other.material_index == face.material_index} - seen
                seen |= beyond
                waiting += beyond
    for face in seen:
        next(loop for loop in face.loops if loop.vert == gone).copy_from(model)
