"""How far places are from the very triangles of the proxy mesh; samples tell it only to about a bin."""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit, njit_no_refcount

FACET_CELLS = 32  # cells an axis of the index
REACH = 1.5  # bins within which a facet is found
OFF = 3.0  # bins: what counts for a place without one


@njit_no_refcount
def _to_segment(px: float, py: float, pz: float, a: np.ndarray, b: np.ndarray) -> float:
    """The squared distance of a point from a segment between bins a and b (3,)."""
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    dx, dy, dz = px - a[0], py - a[1], pz - a[2]
    length = ux * ux + uy * uy + uz * uz
    t = min(max((dx * ux + dy * uy + dz * uz) / length, 0.0), 1.0)
    dx, dy, dz = dx - t * ux, dy - t * uy, dz - t * uz
    return dx * dx + dy * dy + dz * dz


@njit_no_refcount
def _to_facet(px: float, py: float, pz: float, facet: np.ndarray, normal: np.ndarray, nearest: float) -> float:
    """The squared distance of a point from a triangle (3, 3), or something not below `nearest`."""
    a, b, c = facet[0], facet[1], facet[2]
    dx, dy, dz = px - a[0], py - a[1], pz - a[2]
    height = dx * normal[0] + dy * normal[1] + dz * normal[2]
    if height * height >= nearest:
        return nearest
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    s = (dy * vz - dz * vy) * normal[0] + (dz * vx - dx * vz) * normal[1] + (dx * vy - dy * vx) * normal[2]
    t = (uy * dz - uz * dy) * normal[0] + (uz * dx - ux * dz) * normal[1] + (ux * dy - uy * dx) * normal[2]
    area = (uy * vz - uz * vy) * normal[0] + (uz * vx - ux * vz) * normal[1] + (ux * vy - uy * vx) * normal[2]
    if s >= 0.0 and t >= 0.0 and s + t <= area:
        return height * height
    return min(_to_segment(px, py, pz, a, b), _to_segment(px, py, pz, b, c), _to_segment(px, py, pz, c, a))


@njit_no_refcount
def distance_to_facets(
    facets: np.ndarray, normals: np.ndarray, start: np.ndarray, listed: np.ndarray, factor: float,
    place: tuple[float, float, float], facing: tuple[float, float, float], least: float,
) -> float:  # fmt: skip
    """Bins from a place to the nearest facet whose normal has at least the cosine `least` to `facing`, else OFF."""
    x, y, z = place
    i, j, k = int((x + 0.5) * factor), int((y + 0.5) * factor), int((z + 0.5) * factor)
    cell = (k * FACET_CELLS + j) * FACET_CELLS + i
    nearest = REACH * REACH
    found = False
    for at in range(start[cell], start[cell + 1]):
        normal = normals[listed[at]]
        if normal[0] * facing[0] + normal[1] * facing[1] + normal[2] * facing[2] < least:
            continue
        far = _to_facet(x, y, z, facets[listed[at]], normal, nearest)
        if far < nearest:
            nearest, found = far, True
    return np.sqrt(nearest) if found else OFF


@njit(cache=True)
def _list_cells(facets: np.ndarray, normals: np.ndarray, factor: float, start: np.ndarray, listed: np.ndarray) -> None:
    """Count the facets near each cell in `start` (cells + 1,), or list them where `listed` has room."""
    side = 1.0 / factor
    reach = REACH + 0.5 * np.sqrt(3.0) * side
    for number in range(len(facets)):
        low, high = np.empty(3, np.int64), np.empty(3, np.int64)
        for axis in range(3):
            column = facets[number, :, axis]
            low[axis] = max(int((column.min() - REACH + 0.5) * factor), 0)
            high[axis] = min(int((column.max() + REACH + 0.5) * factor), FACET_CELLS - 1)
        for k in range(low[2], high[2] + 1):
            for j in range(low[1], high[1] + 1):
                for i in range(low[0], high[0] + 1):
                    x, y, z = (i + 0.5) * side - 0.5, (j + 0.5) * side - 0.5, (k + 0.5) * side - 0.5
                    if _to_facet(x, y, z, facets[number], normals[number], reach * reach) < reach * reach:
                        cell = (k * FACET_CELLS + j) * FACET_CELLS + i
                        if len(listed):
                            listed[start[cell]] = number
                            start[cell] += 1
                        else:
                            start[cell + 1] += 1


def index_facets(proxy_bins: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Facets (T, 3, 3) float64 with area out of `proxy_bins` (F, 3, 3) of `size` an axis, their unit normals, and an
    index: those near cell c are listed[start[c]] to listed[start[c + 1] - 1]."""
    facets = np.asarray(proxy_bins, dtype=np.float64).reshape(-1, 3, 3)
    normals = np.cross(facets[:, 1] - facets[:, 0], facets[:, 2] - facets[:, 0])
    length = np.linalg.norm(normals, axis=1)
    facets, normals = facets[length > 0], normals[length > 0] / length[length > 0, None]
    start = np.zeros(FACET_CELLS**3 + 1, dtype=np.int32)
    _list_cells(facets, normals, FACET_CELLS / size, start, np.zeros(0, dtype=np.int32))
    np.cumsum(start, out=start)
    listed = np.zeros(start[-1], dtype=np.int32)
    if len(listed):
        _list_cells(facets, normals, FACET_CELLS / size, start[:-1].copy(), listed)
    return np.ascontiguousarray(facets), np.ascontiguousarray(normals), start, listed
