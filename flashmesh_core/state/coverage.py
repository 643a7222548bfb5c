"""Which samples of the surface the faces so far cover, and how well the surface backs an edge or a triangle.

The compiled twins of `mesh/support.py`, which is the reference, and the account of uncovered samples that guidance
reads.
"""

from __future__ import annotations

import numpy as np

from flashmesh_core.jit import njit_no_refcount
from flashmesh_core.mesh.support import INTERIOR, MAP_CELLS, THIN
from flashmesh_core.state.arrays import Surface, Table

COVER_DISTANCE = 2.0  # bins between a sample and the plane of the face that covers it
COVER_MARGIN = 0.3  # bins that a face covers beyond its edges
COVER_COSINE = 0.5  # of their normals
APART = 2  # bins; a new vertex nearer than this to a known one would be a slip of the pen
EDGE_STEPS = 8  # an edge is tested at 1/8 .. 7/8

_INTERIOR = INTERIOR.astype(np.int64)


@njit_no_refcount
def _cell_of(place: float, factor: int, cells: int) -> int:
    return min(max(int(np.floor(place + 0.5)) // factor, 0), cells - 1)


@njit_no_refcount
def count_uncovered(place: np.ndarray, factor: int, cells: int, uncovered_count: np.ndarray, change: int) -> None:
    """Count an uncovered sample at `place` in its cell and the 26 around it."""
    x, y, z = _cell_of(place[0], factor, cells), _cell_of(place[1], factor, cells), _cell_of(place[2], factor, cells)
    for c in range(max(z - 1, 0), min(z + 2, cells)):
        for b in range(max(y - 1, 0), min(y + 2, cells)):
            for a in range(max(x - 1, 0), min(x + 2, cells)):
                at = (c * cells + b) * cells + a
                uncovered_count[at] = uncovered_count[at] + change


@njit_no_refcount
def _gather_directions(surface: Surface, table: Table, first: int, last: int) -> None:
    """Gather the directions of the cells of newly covered samples anew, from the uncovered samples there."""
    for number in range(first, last):
        cell = surface.home[table.cover_stack[number]]
        if number > first and cell == surface.home[table.cover_stack[number - 1]]:
            continue
        directions = np.uint32(0)
        for other in range(surface.cell_start[cell], surface.cell_start[cell + 1]):
            if not table.covered[other]:
                directions |= surface.own[other]
        table.uncovered_directions[cell] = directions


@njit_no_refcount
def take_places(surface: Surface, table: Table, vertex: int, change: int) -> None:
    """Leave the places around a known vertex to it, or give them back."""
    if len(surface.loose) == 0:
        return
    factor, most = surface.mark_factor, surface.size - 1
    cells = len(surface.marks)
    x, y, z = table.bins[vertex, 0], table.bins[vertex, 1], table.bins[vertex, 2]
    for c in range(max(z - APART, 0) // factor, min(z + APART, most) // factor + 1):
        for b in range(max(y - APART, 0) // factor, min(y + APART, most) // factor + 1):
            for a in range(max(x - APART, 0) // factor, min(x + APART, most) // factor + 1):
                cell = (c * cells + b) * cells + a
                for at in range(surface.loose_start[cell], surface.loose_start[cell + 1]):
                    place = surface.loose_number[at]
                    near = abs(surface.loose[place, 0] - x) <= APART
                    near &= abs(surface.loose[place, 1] - y) <= APART
                    near &= abs(surface.loose[place, 2] - z) <= APART
                    if near:
                        table.taken[place] += change


@njit_no_refcount
def _row_of_cells(low: float, high: float, middle: float, slope: float, reach: float) -> tuple[float, float]:
    """Where low..high meets the values at which |middle + slope * (value)| is at most `reach`."""
    if abs(slope) < 1e-6:
        return (low, high) if abs(middle) <= reach else (1.0, 0.0)
    first, second = (-middle - reach) / slope, (-middle + reach) / slope
    return max(low, min(first, second)), min(high, max(first, second))


@njit_no_refcount
def cover(surface: Surface, table: Table, face: int) -> None:
    """Mark the samples that lie on a face and face its way."""
    places, normals = surface.places, surface.normals
    count = table.n[0].covered
    a = table.bins[table.faces[face, 0]]
    b = table.bins[table.faces[face, 1]]
    c = table.bins[table.faces[face, 2]]
    ux, uy, uz = float(b[0] - a[0]), float(b[1] - a[1]), float(b[2] - a[2])
    vx, vy, vz = float(c[0] - a[0]), float(c[1] - a[1]), float(c[2] - a[2])
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    area = np.sqrt(nx * nx + ny * ny + nz * nz)
    if area > 1e-9 and len(places) > 0:
        nx, ny, nz = nx / area, ny / area, nz / area
        longest = max(np.sqrt(ux * ux + uy * uy + uz * uz), np.sqrt(vx * vx + vy * vy + vz * vz))
        margin = COVER_MARGIN * longest / area
        low_x, high_x = min(a[0], b[0], c[0]) - COVER_DISTANCE, max(a[0], b[0], c[0]) + COVER_DISTANCE
        low_y, high_y = min(a[1], b[1], c[1]) - COVER_DISTANCE, max(a[1], b[1], c[1]) + COVER_DISTANCE
        low_z, high_z = min(a[2], b[2], c[2]) - COVER_DISTANCE, max(a[2], b[2], c[2]) + COVER_DISTANCE
        factor, cells = surface.mark_factor, len(surface.marks)
        covered, cell_start = table.covered, surface.cell_start
        half = 0.5 * factor
        reach = COVER_DISTANCE + (abs(ny) + abs(nz)) * half + 1e-6
        for c_z in range(_cell_of(low_z, factor, cells), _cell_of(high_z, factor, cells) + 1):
            for c_y in range(_cell_of(low_y, factor, cells), _cell_of(high_y, factor, cells) + 1):
                middle = (c_y * factor + half - 0.5 - a[1]) * ny + (c_z * factor + half - 0.5 - a[2]) * nz
                first_x, last_x = _row_of_cells(low_x - a[0], high_x - a[0], middle, nx, reach)
                if first_x > last_x:
                    continue
                row = (c_z * cells + c_y) * cells
                begin = cell_start[row + _cell_of(first_x + a[0], factor, cells)]
                for sample in range(begin, cell_start[row + _cell_of(last_x + a[0], factor, cells) + 1]):
                    x, y, z = places[sample, 0], places[sample, 1], places[sample, 2]
                    if covered[sample] or x < low_x or x > high_x or y < low_y or y > high_y or z < low_z or z > high_z:
                        continue
                    dx, dy, dz = x - a[0], y - a[1], z - a[2]
                    if abs(dx * nx + dy * ny + dz * nz) > COVER_DISTANCE:
                        continue
                    if normals[sample, 0] * nx + normals[sample, 1] * ny + normals[sample, 2] * nz < COVER_COSINE:
                        continue
                    s = ((dy * vz - dz * vy) * nx + (dz * vx - dx * vz) * ny + (dx * vy - dy * vx) * nz) / area
                    t = ((uy * dz - uz * dy) * nx + (uz * dx - ux * dz) * ny + (ux * dy - uy * dx) * nz) / area
                    if s >= -margin and t >= -margin and s + t <= 1.0 + margin:
                        covered[sample] = True
                        table.cover_stack[count] = sample
                        count += 1
                        count_uncovered(places[sample], surface.factor, len(surface.support), table.uncovered_count, -1)
    _gather_directions(surface, table, table.n[0].covered, count)
    table.n[0].covered = count
    table.cover_end[face + 1] = count


@njit_no_refcount
def uncover(surface: Surface, table: Table, face: int) -> None:
    """Take back what `cover` marked for the last face."""
    before = table.cover_end[face]
    for at in range(before, table.n[0].covered):
        sample = table.cover_stack[at]
        table.covered[sample] = False
        count_uncovered(surface.places[sample], surface.factor, len(surface.support), table.uncovered_count, 1)
        table.uncovered_directions[surface.home[sample]] |= surface.own[sample]
    table.n[0].covered = before


@njit_no_refcount
def quotient(number: int, part: float) -> int:
    """`number` // n for a small natural number and part = 1 / n; exact, as half a unit is far above a rounding."""
    return np.intp((number + 0.5) * part)


@njit_no_refcount
def center_is_uncovered(uncovered_count: np.ndarray, cells: int, part: float, x: int, y: int, z: int) -> bool:
    """Whether a triangle's center lies by uncovered samples: the first test of `triangle_is_uncovered`, fast for many.

    x, y, z are sums of its corners' bins, `part` is 1 / (6 * factor).
    """
    a, b, c = quotient(2 * x + 3, part), quotient(2 * y + 3, part), quotient(2 * z + 3, part)
    return uncovered_count[(c * cells + b) * cells + a] > 0


@njit_no_refcount
def middle_on_surface(support: np.ndarray, factor: int, x: int, y: int, z: int) -> bool:
    """Whether an edge's middle lies on the surface: the first test of `edge_on_surface`; x, y, z are sums of bins."""
    double = 2 * factor
    return support[(z + 1) // double, (y + 1) // double, (x + 1) // double]


@njit_no_refcount
def edge_on_surface(surface: Surface, a: np.ndarray, b: np.ndarray) -> bool:
    """Whether seven points between bins a and b (3,) all lie on the ground."""
    part = 1.0 / (2 * EDGE_STEPS * surface.factor)
    return line_on_surface(surface.support, part, a[0], a[1], a[2], b[0], b[1], b[2])


@njit_no_refcount
def line_on_surface(
    support: np.ndarray, part: float, ax: int, ay: int, az: int, bx: int, by: int, bz: int
) -> bool:  # fmt: skip
    """`edge_on_surface` in single numbers, fast for many; `part` is 1 / (2 * EDGE_STEPS * factor)."""
    ax, ay, az, bx, by, bz = 2 * ax + 1, 2 * ay + 1, 2 * az + 1, 2 * bx + 1, 2 * by + 1, 2 * bz + 1
    for step in (4, 2, 6, 1, 3, 5, 7):
        other = EDGE_STEPS - step
        z = quotient(az * other + bz * step, part)
        y = quotient(ay * other + by * step, part)
        if not support[z, y, quotient(ax * other + bx * step, part)]:
            return False
    return True


@njit_no_refcount
def inner_on_surface(surface: Surface, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> bool:
    """Whether seven inner points of a triangle all lie on the ground."""
    part = 1.0 / (24 * surface.factor)
    for k in range(7):
        p, q, r = _INTERIOR[k, 0], _INTERIOR[k, 1], _INTERIOR[k, 2]
        x = quotient((2 * a[0] + 1) * p + (2 * b[0] + 1) * q + (2 * c[0] + 1) * r, part)
        y = quotient((2 * a[1] + 1) * p + (2 * b[1] + 1) * q + (2 * c[1] + 1) * r, part)
        z = quotient((2 * a[2] + 1) * p + (2 * b[2] + 1) * q + (2 * c[2] + 1) * r, part)
        if not surface.support[z, y, x]:
            return False
    return True


@njit_no_refcount
def backing_of(surface: Surface, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> int:
    """The directions that back a triangle's normal, as bits; all for a triangle too thin to ask."""
    ux, uy, uz = np.float32(b[0] - a[0]), np.float32(b[1] - a[1]), np.float32(b[2] - a[2])
    vx, vy, vz = np.float32(c[0] - a[0]), np.float32(c[1] - a[1]), np.float32(c[2] - a[2])
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    area = np.sqrt(nx * nx + ny * ny + nz * nz)
    wx, wy, wz = vx - ux, vy - uy, vz - uz
    longest = np.sqrt(max(ux * ux + uy * uy + uz * uz, vx * vx + vy * vy + vz * vz, wx * wx + wy * wy + wz * wz))
    if area < np.float32(THIN) * longest:
        return np.uint32(0xFFFFFFFF)
    half = np.float32(0.5 * MAP_CELLS)
    one = np.float32(1.0)
    i = min(int((nx / area + one) * half), MAP_CELLS - 1)
    j = min(int((ny / area + one) * half), MAP_CELLS - 1)
    k = min(int((nz / area + one) * half), MAP_CELLS - 1)
    return surface.backing[(k * MAP_CELLS + j) * MAP_CELLS + i]


@njit_no_refcount
def center_cell(surface: Surface, a: np.ndarray, b: np.ndarray, c: np.ndarray, axis: int) -> int:
    """The cell of `marks` that a triangle's center is in, along one axis."""
    return quotient(2 * (a[axis] + b[axis] + c[axis]) + 3, 1.0 / (6 * surface.mark_factor))


@njit_no_refcount
def faces_like_surface(surface: Surface, a: np.ndarray, b: np.ndarray, c: np.ndarray, backing: int) -> bool:
    """Whether some sample near the triangle's center faces its way."""
    if backing == np.uint32(0xFFFFFFFF):
        return True
    x, y, z = center_cell(surface, a, b, c, 0), center_cell(surface, a, b, c, 1), center_cell(surface, a, b, c, 2)
    return (surface.marks[z, y, x] & backing) != 0


@njit_no_refcount
def faces_like_uncovered(
    surface: Surface, table: Table, a: np.ndarray, b: np.ndarray, c: np.ndarray, backing: int
) -> bool:
    """Whether some uncovered sample near the triangle's center faces its way."""
    if backing == np.uint32(0xFFFFFFFF):
        return True
    cells = len(surface.marks)
    x, y, z = center_cell(surface, a, b, c, 0), center_cell(surface, a, b, c, 1), center_cell(surface, a, b, c, 2)
    for k in range(max(z - 1, 0), min(z + 2, cells)):
        for j in range(max(y - 1, 0), min(y + 2, cells)):
            for i in range(max(x - 1, 0), min(x + 2, cells)):
                if table.uncovered_directions[(k * cells + j) * cells + i] & backing != 0:
                    return True
    return False


@njit_no_refcount
def inner_is_uncovered(surface: Surface, table: Table, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> bool:
    """Whether the center and at least half of seven inner points of a triangle lie by uncovered samples."""
    part = 1.0 / (24 * surface.factor)
    cells = len(surface.support)
    found = 0
    for k in range(7):
        p, q, r = _INTERIOR[k, 0], _INTERIOR[k, 1], _INTERIOR[k, 2]
        x = quotient((2 * a[0] + 1) * p + (2 * b[0] + 1) * q + (2 * c[0] + 1) * r, part)
        y = quotient((2 * a[1] + 1) * p + (2 * b[1] + 1) * q + (2 * c[1] + 1) * r, part)
        z = quotient((2 * a[2] + 1) * p + (2 * b[2] + 1) * q + (2 * c[2] + 1) * r, part)
        if table.uncovered_count[(z * cells + y) * cells + x] > 0:
            found += 1
            if found >= 4:
                return True
        elif k == 0:
            return False
    return False


@njit_no_refcount
def triangle_is_uncovered(surface: Surface, table: Table, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> bool:
    """Whether a triangle lies on surface that is uncovered and faces its way."""
    if not inner_is_uncovered(surface, table, a, b, c):
        return False
    return faces_like_uncovered(surface, table, a, b, c, backing_of(surface, a, b, c)) and inner_on_surface(
        surface, a, b, c
    )
