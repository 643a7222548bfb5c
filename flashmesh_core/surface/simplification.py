"""Proxy meshes: a denoised surface with few faces, by quadric errors of its filtered planes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import (
    COMPILED,
    compact,
    face_geometry,
    manifold_twins,
    parts_of,
)
from flashmesh_core.surface.borders import WEIGHT
from flashmesh_core.surface.bridges import cut_bridges, knots
from flashmesh_core.surface.collapse import FACES, POWER, SEED, Collapse, collapse, next_cost, start_collapse
from flashmesh_core.surface.denoising import COARSE, Denoised, Progress, noisiness, typical_edge
from flashmesh_core.surface.fidelity import taken_back
from flashmesh_core.surface.flat_places import recut_flat_places
from flashmesh_core.surface.gaps import with_gaps_filled
from flashmesh_core.surface.handles import cut_handles, without_touching_caps
from flashmesh_core.surface.loose_parts import costs_of_parts, without_crumbs
from flashmesh_core.surface.placement import Planes, place_on, planes_of
from flashmesh_core.surface.quadrics import WIDTH, add_plane
from flashmesh_core.surface.reach import FAR, far_of
from flashmesh_core.surface.refinement import Refiner, refiner_of
from flashmesh_core.surface.shells import Middle, Shell, middle_of, moved_apart, sheet_of, shell_of

FARTHEST = 1.5  # typical edges that placement may move a vertex, more where there is noise: else it dents thin parts
FINE = 1 / 58  # a typical edge longer than this: few faces tell a plane, the quadrics' own places are better
FINE_SHEET = 1 / 90  # the same for sheets, whose vertices the filtered planes place
HANDLE_EDGES, HANDLE_NOISE = 6.0, 12.0  # loops around handles below so many typical edges, or noises, are cut
LIMB_EDGES = 2.0  # limbs of shells that such a loop holds are crumbs below so many typical edges
MAX_LOOP = 0.4  # perimeter of a loop that may be cut where the count is not reached otherwise
CROWDED, PART_FACES, CARD_FACES = 1.1, 8, 2  # times the count above which parts go; faces for each, and for a sheet
FEW, RIMS = 0.2, 1.3  # half thicknesses that a mesh is off if it has too few faces for both walls; for one, and rims
KNOT_FACES, KNOTTED = 4.0, 0.25  # faces that a bridge costs; share of the count for them above which they are cut
BRIDGE = 0.5  # length of a bridge that may be cut, of the loops that may
HANDLE_FACES = 4_000  # that handles are first looked for at
IDLE, FEWEST = 0.0012, 0.92  # longest sides that faces may be off without a vertex; share of the count that stays
STEPS = 0.6, 0.3, 0.12, 0.0  # of the way left to half the faces, at which parts are looked at, and late on handles
LATE = 2.0  # times the count up to which handles go whose cut is cheaper than an edge
LOOP = 50.0  # cube of the perimeter of a loop over what its cut costs
STEP = 40_000  # entries of the queue looked at between two reports


def proxies(denoised: Denoised, counts: Sequence[int], *, seed: int = 0, **settings: Any) -> list[Mesh]:
    """The surface with about each of `counts` faces, in their order; `seed` and the rest as in `varied_proxies`."""
    return varied_proxies(denoised, counts, (seed,), **settings)[0]


def varied_proxies(
    denoised: Denoised,
    counts: Sequence[int],
    seeds: Sequence[int],
    *,
    handle_edges: float = HANDLE_EDGES,
    rough: bool = False,
    shells: bool = True,
    refine: bool = True,
    progress: Progress | None = None,
) -> list[list[Mesh]]:
    """For each of `seeds` the surface with about each of `counts` faces, in their order.

    With the seed 0 the cheapest edge collapses first; with any other chance makes edges up to 1.4 times as dear or as
    cheap, for a mesh that is about as good with other vertices. One sequence of collapses makes a seed's counts.
    Of a `rough` source each mesh follows the one with more faces instead of the dense surface: its planes are the
    artist's already, where those of the dense surface still hold what is left of bumps.
    Thin walls may be `shells`, which remeshing puts around open sheets: their rims are not sharpened. The walls of a
    cloud are none, nor the thinnest of a rough source: see `shell_of`.
    A mesh has at most the wanted faces, and fewer, down to FEWEST, where some would carry nothing. Handles whose loops
    are below `handle_edges` typical edges are cut first, and bridges between rims where those would cost much of the
    count; longer loops and then the smallest parts go where it can't be reached otherwise. A surface of no more faces
    than wanted comes back as it is. Closed stays closed, edges stay manifold. Without `refine` vertices stay where the
    collapse left them, and no network is asked.
    Raises ValueError for a count below 4.
    """
    check_counts(counts)
    if not len(denoised.mesh.faces):
        return [[denoised.mesh for _ in counts] for _ in seeds]
    simplifier = simplifier_of(
        denoised, handle_edges=handle_edges, rough=rough, shells=shells, refine=refine, progress=progress
    )
    made = simplifier.varied(counts, seeds, progress)
    return [[simplifier.finished(mesh, count) for mesh, count in zip(of, counts, strict=True)] for of in made]


def check_counts(counts: Sequence[int]) -> None:
    """Raises ValueError for a count below 4."""
    if any(count < 4 for count in counts):
        raise ValueError(f"counts must be at least 4, got {min(counts)}")


def simplifier_of(
    denoised: Denoised,
    *,
    handle_edges: float,
    rough: bool,
    shells: bool = True,
    refine: bool = True,
    progress: Progress | None = None,
) -> Simplifier:
    """A dense surface, ready to be simplified; settings as in `varied_proxies`."""
    denoised = without_crumbs(denoised)
    planes, edge = planes_of(denoised), typical_edge(denoised.mesh)
    refiner = None
    if refine and edge < FINE:
        refiner = refiner_of(denoised, partial(progress, "simplify", 0.0) if progress else None)
    shell = shell_of(planes, edge, rough=rough) if shells and refiner is not None else None
    longest = 0.0 if edge > COARSE else max(handle_edges * edge, HANDLE_NOISE * denoised.noise)
    crumb = 0.0 if shell is None else LIMB_EDGES * edge
    return Simplifier(denoised, planes, edge, longest, crumb, refiner, rough, shell)


def _report_part(progress: Progress, number: int, of: int, stage: str, share: float) -> None:
    """Tells of the share of one of several equal parts as that of them all."""
    progress(stage, (number + share) / of)


class Simplifier(NamedTuple):
    """A dense surface, ready to be simplified by any seed; made by `simplifier_of`."""

    denoised: Denoised
    planes: Planes
    edge: float
    longest: float  # perimeter of loops around handles below which they are cut first
    crumb: float  # size of limbs that go with such loops
    refiner: Refiner | None
    rough: bool
    shell: Shell | None  # the dense surface where that is one, whose vertices stay on it
    middle: Middle | None = None  # of that shell, if it is simplified there

    def in_the_middle(self, far: float) -> tuple[Simplifier, float] | None:
        """The same simplified in the middle of its wall, and how far what that makes may lie from it.

        None where it is no shell of a remesh, and where a mesh shows that both walls have faces, by how `far` it lies.
        Distances are means there and back together.
        """
        shell = self.shell
        if shell is None or not shell.even or self.rough or far < FEW * shell.half:
            return None
        return self._replace(middle=middle_of(self.planes, shell)), far + RIMS * shell.half

    def varied(self, counts: Sequence[int], seeds: Sequence[int], progress: Progress | None) -> list[list[Mesh]]:
        """For each of `seeds` what the collapse leaves at each of `counts`: not finished yet."""
        made = []
        for number, seed in enumerate(seeds):
            part = None if progress is None else partial(_report_part, progress, number, len(seeds))
            found = self._collapsed(sorted(set(counts), reverse=True), seed, part)
            made.append([found[count] for count in counts])
        return made

    def finished(self, mesh: Mesh, count: int) -> Mesh:
        """A mesh of `varied` for this count, its vertices where they belong, gaps filled and flat places cut anew."""
        if mesh is self.denoised.mesh:
            return mesh
        vertices, faces = mesh.vertices, mesh.faces.astype(np.int32)
        if self.middle is None:
            if not self.rough:
                vertices, faces = self._placed(vertices, faces, count)
            if self.shell is not None:
                vertices = self.shell.settled(vertices, faces)
        vertices, faces = without_touching_caps(vertices, faces)
        vertices, faces = with_gaps_filled(vertices, faces, count, self.planes, self.edge, self.denoised.noise)
        return Mesh(vertices, recut_flat_places(vertices, faces).astype(np.int64))

    def _collapsed(self, counts: list[int], seed: int, progress: Progress | None) -> dict[int, Mesh]:
        """The meshes of `counts` faces, which fall; those of a rough surface are placed, and the next follows them."""
        planes = self.planes
        found = dict.fromkeys(counts, self.denoised.mesh)
        far = far_of(float(planes.weights.sum()), counts[-1])
        state = self._started(seed, far)
        for count in counts:
            if len(planes.faces) <= count:
                continue
            state = _with_parts_that_fit(state, count)
            state = _run_cutting(state, count, counts[-1], self.longest, self.crumb, progress)
            used, faces = compact(state.faces[state.alive], len(state.positions))
            vertices = state.positions[used]
            if self.middle is not None:
                vertices = moved_apart(vertices, faces, self.middle.half)
            elif self.rough:
                placed = self._placed(vertices, faces, count)
                if placed[1] is not faces:  # not a sheet's
                    state = _own_collapse(*placed, seed, far)
                vertices, faces = placed
            found[count] = Mesh(vertices, faces.astype(np.int64))
        return found

    def _started(self, seed: int, far: float) -> Collapse:
        planes, middle = self.planes, self.middle
        if middle is None:
            return start_collapse(planes.vertices, planes.faces, _quadrics(*planes[:5]), seed, far=far)
        sides, _, _ = face_geometry(planes.vertices, planes.faces)  # faces of rims have none in the middle
        rows = _quadrics(middle.vertices, planes.faces, middle.centers, planes.normals, planes.weights)
        return start_collapse(middle.vertices, planes.faces, rows, seed, sides=sides, staying=True, far=far)

    def _placed(self, vertices: np.ndarray, faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (V, 3) where the planes around them say; of a shell with the same faces, else without idle ones."""
        if self.refiner is None:
            return vertices, faces
        if self.shell is not None and sheet_of(vertices, faces, self.edge):
            return self._sheet_placed(vertices, faces), faces
        least = int(np.ceil(FEWEST * count))
        return _refined(vertices, faces, self.planes, self.edge, self.refiner, least)

    def _sheet_placed(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """The vertices (V, 3) of a sheet on the filtered planes, where these are fine enough to tell."""
        if self.edge >= FINE_SHEET:
            return vertices
        farthest = FARTHEST * self.edge * (1.0 + noisiness(self.denoised.noise, self.edge))
        return place_on(vertices, faces, self.planes, farthest)


def _refined(
    before: np.ndarray, faces: np.ndarray, planes: Planes, edge: float, refiner: Refiner, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """What the collapse left, (V, 3) and (F, 3), its vertices refined, without idle faces but at least so many."""
    sides, _, _ = face_geometry(before, faces)
    vertices = refiner.refine(before, faces, planes, sides)
    vertices = taken_back(vertices, before, faces, planes, edge, sides)
    return _without_idle_faces(_own_collapse(vertices, faces), least)


def _own_collapse(vertices: np.ndarray, faces: np.ndarray, seed: int = 0, far: float = FAR) -> Collapse:
    """A collapse of a mesh by the planes of its own faces."""
    normals, areas, centers = face_geometry(vertices, faces)
    return start_collapse(vertices, faces, _quadrics(vertices, faces, centers, normals, areas), seed, far=far)


def _without_idle_faces(state: Collapse, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and faces (F, 3) of a mesh less those that carry nothing, but at least so many.

    An edge carries nothing if its end can be left out with its faces nowhere further than IDLE from their planes.
    """
    _, areas, _ = face_geometry(state.positions, state.faces)
    around = 6.0 * float(areas.sum()) / max(len(areas), 1)  # weight of the planes at the ends of an edge, about
    collapse(state, least + 1, STEP, IDLE * IDLE * around**POWER)  # an edge takes two faces with it
    used, faces = compact(state.faces[state.alive], len(state.positions))
    return state.positions[used], faces


def _run(state: Collapse, count: int, least: int, progress: Progress | None, dearest: float = np.inf) -> None:
    """Collapse down to `count` faces while edges cost at most `dearest`, reporting how far it is to `least`."""
    total = len(state.faces)
    while collapse(state, count, STEP, dearest) == 1:
        if progress:
            progress("simplify", (total - int(state.numbers[FACES])) / max(total - least, 1))


def _run_cutting(
    state: Collapse, count: int, least: int, longest: float, crumb: float, progress: Progress | None
) -> Collapse:
    """Collapse down to `count` faces by halves; of what is left after each, loops below `longest` are cut.

    Where the topology still keeps more faces than wanted, longer and longer loops are, up to MAX_LOOP.
    """
    while longest > 0.0 and state.numbers[FACES] > count:
        before = int(state.numbers[FACES])
        stage = max(count, min(before // 2, HANDLE_FACES))
        for share in STEPS:
            state = _run_giving_up(state, int(stage + share * (before - stage)), count, least, progress)
            if share > 0.0 and state.numbers[FACES] <= LATE * count:
                state = _without_handles(state, max(longest, _cheap_loop(state)), crumb)
        state = _without_handles(state, longest, crumb)
        if KNOT_FACES * knots(state.faces[state.alive]) > KNOTTED * count:
            state = _without_bridges(state, BRIDGE * longest)
        if state.numbers[FACES] >= before:
            if longest >= MAX_LOOP:
                break
            longest = min(2.0 * longest, MAX_LOOP)
    if state.numbers[FACES] > CROWDED * count:
        faces = state.faces[state.alive]
        label, size = parts_of(state.positions, faces)
        state = _with_large_parts(state, faces, label, size, np.full(len(size), PART_FACES), count)
    _run(state, count, least, progress)
    return state


def _cheap_loop(state: Collapse) -> float:
    """The perimeter of a loop whose cut costs what the next edge does; 0 where none can go."""
    price = next_cost(state)
    return min((LOOP * price) ** (1 / 3), MAX_LOOP) if price < np.inf else 0.0


def _run_giving_up(state: Collapse, target: int, count: int, least: int, progress: Progress | None) -> Collapse:
    """Collapse down to `target` faces; parts that cost less than the next edge go instead while `count` are left."""
    if state.numbers[FACES] > HANDLE_FACES:
        _run(state, target, least, progress)
        return state
    before = -1
    while state.numbers[FACES] > target and state.numbers[FACES] != before:
        before = int(state.numbers[FACES])
        _run(state, target, least, progress, float(_costs_of_parts(state, count)[2].min()))
        if state.numbers[FACES] > target:
            faces, label, cost = _costs_of_parts(state, count)
            if cost.min() < next_cost(state):
                state = _restarted(state, state.positions, state.quadrics, faces[label != cost.argmin()])
    return state


def _costs_of_parts(state: Collapse, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The faces (F, 3) that are left, their parts (F,), and what each costs that may go with `count` faces left."""
    faces = state.faces[state.alive]
    label, size = parts_of(state.positions, faces)
    if len(size) < 2:
        return faces, label, np.full(1, np.inf)
    cost = costs_of_parts(
        state.positions, faces, state.quadrics[:, WIDTH - 1], label, power=POWER, reach=state.options[5]
    )
    cost[len(faces) - np.bincount(label) < count] = np.inf
    return faces, label, cost


def _with_parts_that_fit(state: Collapse, count: int) -> Collapse:
    """The largest parts where all of them do not fit with two faces each, as cards that are a tree's leaves have.

    There is room for as many faces of each as its share of the area says, but for eight or all that it has at least.
    """
    faces = state.faces[state.alive]
    label, size = parts_of(state.positions, faces)
    own = np.bincount(label)
    if np.minimum(own, CARD_FACES).sum() <= count:
        return state
    _, areas, _ = face_geometry(state.positions, faces)
    share = np.bincount(label, areas) / areas.sum()
    return _with_large_parts(state, faces, label, size, np.minimum(own, np.maximum(share * count, PART_FACES)), count)


def _with_large_parts(
    state: Collapse, faces: np.ndarray, label: np.ndarray, size: np.ndarray, room: np.ndarray, count: int
) -> Collapse:
    """The collapse of `faces` started anew on the largest parts, of sizes (P,), whose `room` (P,) is in `count`."""
    largest = np.argsort(-size, kind="stable")
    stays = np.zeros(len(size), dtype=bool)
    stays[largest[: max(int((np.cumsum(room[largest]) <= count).sum()), 1)]] = True
    return state if stays.all() else _restarted(state, state.positions, state.quadrics, faces[stays[label]])


def _without_handles(state: Collapse, longest: float, crumb: float) -> Collapse:
    """The collapse started anew on the mesh as it is now, its small handles cut and its crumbs left out."""
    used, faces = compact(state.faces[state.alive], len(state.positions))
    positions, quadrics, cut = cut_handles(state.positions[used], state.quadrics[used], faces, longest, crumb)
    return state if cut is faces else _restarted(state, positions, quadrics, cut)


def _without_bridges(state: Collapse, longest: float) -> Collapse:
    """The collapse started anew on the mesh as it is now, cut along short edges between two rims."""
    used, faces = compact(state.faces[state.alive], len(state.positions))
    positions, quadrics, cut = cut_bridges(state.positions[used], state.quadrics[used], faces, longest)
    return state if len(positions) == used.sum() else _restarted(state, positions, quadrics, cut)


def _restarted(state: Collapse, positions: np.ndarray, quadrics: np.ndarray, faces: np.ndarray) -> Collapse:
    """A new collapse of `faces` (F, 3), the other vertices left out, by the same chance."""
    used, faces = compact(faces, len(positions))
    rows, staying, far = np.ascontiguousarray(quadrics[used]), bool(state.options[4]), float(state.options[5])
    return start_collapse(positions[used], faces, rows, int(state.numbers[SEED]), staying=staying, far=far)


@njit(**COMPILED)
def _quadrics(vertices, faces, centers, normals, weights):
    """Rows (V, 14) of the vertices: a third of each face's plane, upright planes along borders, and their places."""
    result = np.zeros((len(vertices), WIDTH + 3))
    result[:, WIDTH:] = vertices
    for f in range(len(faces)):
        for k in range(3):
            add_plane(
                result[faces[f, k]], normals[f, 0], normals[f, 1], normals[f, 2],
                centers[f, 0], centers[f, 1], centers[f, 2], weights[f] / 3.0,
            )  # fmt: skip
    twin = manifold_twins(faces, len(vertices))
    for h in range(len(twin)):
        if twin[h] >= 0:
            continue
        f = h // 3
        a, b = faces[f, h % 3], faces[f, (h + 1) % 3]
        x, y, z = (
            vertices[b, 0] - vertices[a, 0],
            vertices[b, 1] - vertices[a, 1],
            vertices[b, 2] - vertices[a, 2],
        )
        u, v, w = normals[f, 0], normals[f, 1], normals[f, 2]
        sx, sy, sz = y * w - z * v, z * u - x * w, x * v - y * u
        length = np.sqrt(sx * sx + sy * sy + sz * sz)
        if length > 0.0:
            weight = WEIGHT * (x * x + y * y + z * z)
            for end in (a, b):
                add_plane(
                    result[end], sx / length, sy / length, sz / length,
                    vertices[a, 0], vertices[a, 1], vertices[a, 2], weight,
                )  # fmt: skip
    return result
