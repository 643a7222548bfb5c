"""Proxy meshes: a denoised surface with few faces, by quadric errors of its filtered planes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from flashmesh_core.jit import njit
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.surface.adjacency import (
    COMPILED,
    dot,
    face_areas,
    face_geometry,
    faces_at_vertices,
    manifold_twins,
)
from flashmesh_core.surface.boards import with_whole_boards
from flashmesh_core.surface.borders import WEIGHT
from flashmesh_core.surface.collapse import ALWAYS, POWER, STAYING, Collapse, collapse, start_collapse
from flashmesh_core.surface.denoising import FINE, Denoised, Progress, as_it_came, is_modelled, noisiness, typical_edge
from flashmesh_core.surface.fidelity import taken_back, watched
from flashmesh_core.surface.fitting import Fit, bends_alike, fit_of
from flashmesh_core.surface.flat_places import recut_flat_places
from flashmesh_core.surface.folds import without_folds
from flashmesh_core.surface.gaps import with_gaps_filled
from flashmesh_core.surface.loose_parts import without_crumbs
from flashmesh_core.surface.placement import Planes, move, place_on, planes_of
from flashmesh_core.surface.quadrics import WIDTH, add_faces, add_plane
from flashmesh_core.surface.reach import FAR, far_of
from flashmesh_core.surface.refinement import Refiner, refiner_of
from flashmesh_core.surface.shells import Middle, Shell, as_seen, middle_of, moved_apart, sheet_of, shell_of, with_rims
from flashmesh_core.surface.staged_collapse import STEP, Goal, run_cutting, with_holes_that_fit, with_parts_that_fit
from flashmesh_core.surface.thinning import start_thinned
from flashmesh_core.surface.threads import begun, in_threads
from flashmesh_core.surface.touching import without_touching_caps, without_touching_edges

FARTHEST = 1.5  # typical edges that placement may move a vertex, more where there is noise: else it dents thin parts
FINE_SHEET = 1 / 90  # the same for sheets, whose vertices the filtered planes place
HANDLE_EDGES, HANDLE_NOISE = 6.0, 12.0  # loops around handles below so many typical edges, or noises, are cut
MEANT_LOOP = 0.002  # the same in longest sides where edges are all meant: longer ones go only where they cost too much
FOLLOWED = (1.2, 1.5, 3.0)  # times the fewest faces: meshes of a rough surface that the next one follows
LIMB_EDGES = 2.0  # limbs of shells that such a loop holds are crumbs below so many typical edges
FEW, RIMS = 0.2, 1.3  # half thicknesses that a mesh is off if it has too few faces for both walls; for one, and rims
KEPT = 2.5  # STAYING of a shell that a remesh made, outside of the middle of its wall
IDLE, FEWEST = 0.0012, 0.92  # longest sides that faces may be off without a vertex; share of the count that stays
BEHIND = 0.003  # longest sides that they may leave a place behind by; the planes of a thin limb hold without its end
MANY = 400  # faces above which the first falls, as distances do
QUIET = 0.1  # typical edges that noise is below where it does not bend a mesh alike
STRIP = 0.6  # half thickness, in edges, of a wall whose rim is at most a face wide
FOLD, FLAT = -0.99, 0.1  # cosine of two faces that are each other's back; half thickness, in edges, of no wall
TELLING = 16  # dense faces for one of a mesh, at least, that tell the planes around its vertices


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
    cheap, for a mesh that is about as good with other vertices. One sequence of collapses makes a seed's counts; unless
    `rough`, those between the most and the fewest are made aside.
    Of a `rough` source each mesh follows the one with more faces instead of the dense surface, through those of
    FOLLOWED: its planes are the artist's already, where those of the dense surface still hold what is left of bumps.
    Thin walls may be `shells`, which remeshing puts around open sheets: their rims are not sharpened. The walls of a
    cloud are none, nor the thinnest of a rough source: see `shell_of`.
    A mesh has at most the wanted faces, and fewer, down to FEWEST, where some would carry nothing. Handles whose loops
    are below `handle_edges` typical edges are cut first, and bridges between rims where those would cost much of the
    count; longer loops and then the smallest parts go where it can't be reached otherwise. A surface of no more faces
    than wanted comes back as it is. Closed stays closed, edges stay manifold. Vertices of smooth shapes are fitted to
    the surface. Without `refine` vertices stay where the collapse left them, and no network is asked.
    Raises ValueError for a count below 4.
    """
    check_counts(counts)
    if not len(denoised.mesh.faces):
        return [[denoised.mesh for _ in counts] for _ in seeds]
    simplifier = simplifier_of(
        denoised, handle_edges=handle_edges, rough=rough, shells=shells, refine=refine, progress=progress
    )
    made = simplifier.varied(counts, seeds, progress)
    return [
        [simplifier.finished(mesh, count, of[int(np.argmax(counts))]) for mesh, count in zip(of, counts, strict=True)]
        for of in made
    ]


def proxies_of_own_vertices(
    mesh: Mesh, counts: Sequence[int], seeds: Sequence[int], progress: Progress | None = None
) -> list[list[Mesh]]:
    """As `varied_proxies` of a clean mesh, but that all vertices are some of its own, and no handle is cut.

    Where its handles need more faces than are wanted, a mesh has these; parts go where they do not all fit.
    """
    check_counts(counts)
    as_is = as_it_came(mesh, 0.0)
    planes = begun(planes_of, as_is)(partial(progress, "simplify", 0.0) if progress else None)
    simplifier = Simplifier(as_is, planes, typical_edge(mesh), 0.0, 0.0, None, rough=False, shell=None, staying=ALWAYS)
    return simplifier.varied(counts, seeds, progress)


def trimmed(mesh: Mesh, count: int) -> Mesh:
    """A proxy of more faces collapsed on to `count` by the planes of its own, as it would have been finished.

    More are left where the topology keeps them.
    """
    state = _own_collapse(mesh.vertices, mesh.faces.astype(np.int32))
    while collapse(state, count, STEP) == 1:
        continue
    used, faces = state.left()
    vertices, faces = _without_idle_faces(state.positions[used], faces, count)
    return Mesh(vertices, recut_flat_places(vertices, without_folds(vertices, faces)).astype(np.int64))


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
    edge = typical_edge(denoised.mesh)
    refines = refine and edge < FINE
    refiner = begun(refiner_of, denoised) if refines else None
    tell = partial(progress, "simplify", 0.0) if progress else None
    planes = begun(planes_of, denoised)(tell)
    shell = begun(partial(shell_of, planes, edge, rough=rough))(tell) if shells and refines else None
    modelled, made = is_modelled(denoised.mesh, edge), shell is not None and shell.remeshed
    if shell is not None and shell.half < STRIP * edge:
        planes = with_rims(planes, shell)
    if made:
        planes = begun(as_seen, planes, edge)(tell)
    staying = KEPT if made and not rough else 0.0
    longest = MEANT_LOOP if modelled else max(handle_edges * edge, HANDLE_NOISE * denoised.noise)
    crumb = 0.0 if shell is None else LIMB_EDGES * edge
    return Simplifier(
        denoised, planes, edge, longest, crumb, refiner, rough, shell, fits=refine and not made, modelled=modelled,
        staying=staying,
    )  # fmt: skip


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
    refiner: Callable[..., Refiner] | None  # waits until it is made
    rough: bool
    shell: Shell | None  # the dense surface where that is one; vertices end on it if a remesh made it
    middle: Middle | None = None  # of that shell, if it is simplified there
    fits: bool = False  # vertices of smooth shapes to the surface
    modelled: bool = False  # holes in sheets are closed where they cost too much
    staying: float = 0.0  # of two vertices that are joined one stays, see `start_collapse`

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

    def finished(self, mesh: Mesh, count: int, finest: Mesh) -> Mesh:
        """A mesh of `varied` for this count, its vertices where they belong, gaps filled and flat places cut anew.

        `finest` is the one with the most faces.
        """
        if mesh is self.denoised.mesh:
            return mesh
        vertices, faces = mesh.vertices, mesh.faces.astype(np.int32)
        if self.middle is None:
            fit = self._fit(count, finest, vertices, faces)
            if not self.rough:
                vertices, faces = self._placed(vertices, faces, count, fit)
            if fit is not None:
                vertices = fit.fitted(vertices, faces)
            elif self.shell is not None and self.shell.remeshed:
                vertices = self.shell.settled(vertices, faces)
        if self.shell is not None and not self.rough:  # bumps hide whether its rims are those of a plate
            vertices = self.shell.thinned(vertices, faces)
        vertices, faces = without_touching_caps(vertices, faces)
        vertices, faces = with_gaps_filled(vertices, faces, count, self.planes, self.edge, self.denoised.noise)
        faces = recut_flat_places(vertices, without_folds(vertices, faces))
        vertices = with_whole_boards(vertices, faces, self.planes)
        vertices = vertices if self.modelled else without_touching_edges(vertices, faces)
        return Mesh(vertices, faces.astype(np.int64))

    def _collapsed(self, counts: list[int], seed: int, progress: Progress | None) -> dict[int, Mesh]:
        """The meshes of `counts` faces, which fall; those of a rough surface are placed, and the next follows them.

        Meshes of FOLLOWED are made on the way: each vertex is placed the better the nearer it was. Where it is not
        rough those between the first and the last are made aside: what they give up for their count is not lost.
        """
        planes, aside = self.planes, counts[1:-1]
        if self.rough:
            more = (int(np.ceil(times * counts[-1])) for times in FOLLOWED)
            counts, aside = sorted({*counts, *more}, reverse=True), []
        found = dict.fromkeys(counts, self.denoised.mesh)
        far = far_of(float(planes.weights.sum()), counts[-1])
        goal = Goal(counts[0], counts[-1], len(planes.faces), self.crumb, self.modelled, progress)
        state = self._started(seed, far, goal)
        for count in counts:
            if len(planes.faces) <= count:
                continue
            made = Collapse(*map(np.copy, state)) if count in aside else state
            made = with_holes_that_fit(with_parts_that_fit(made, count), count)
            made = run_cutting(made, goal._replace(faces=count), self.longest)
            used, faces = made.left()
            vertices = made.positions[used]
            if self.middle is not None:
                vertices = moved_apart(vertices, faces, self.middle.half)
            elif self.rough:
                placing = begun(self._placed, vertices, faces, count, self._fit(count, None, vertices, faces))
                placed = placing(partial(goal.report, len(faces)))
                if placed[1] is not faces:  # not a sheet's
                    made = _own_collapse(*placed, seed, far)
                vertices, faces = placed
            found[count] = Mesh(vertices, faces.astype(np.int64))
            state = state if count in aside else made
        return found

    def _started(self, seed: int, far: float, goal: Goal) -> Collapse:
        planes, middle = self.planes, self.middle
        if middle is None:
            folds = self.shell is not None and self.shell.half < FLAT * self.edge
            start = partial(
                start_thinned, planes.vertices, planes.faces, rows_of(*planes[:5], folds=folds), staying=self.staying
            )
        else:
            sides, _, _ = face_geometry(planes.vertices, planes.faces)  # faces of rims have none in the middle
            rows = rows_of(middle.vertices, planes.faces, middle.centers, planes.normals, planes.weights)
            start = partial(start_thinned, middle.vertices, planes.faces, rows, sides=sides, staying=STAYING)
        return start(seed, count=goal.faces, far=far, report=goal.report)

    def _fit(self, count: int, finest: Mesh | None, vertices: np.ndarray, faces: np.ndarray) -> Fit | None:
        """What this mesh of so many faces is fitted to, if it is; a coarse surface shows no rounding by remeshing."""
        if not self.fits:
            return None
        noise = self.denoised.noise if self.edge < FINE else 0.0
        fit = fit_of(self.planes, min(self.edge, FINE), noise, finest, count)
        alike = self.denoised.noise < QUIET * self.edge and bends_alike(vertices, faces, folds=not self.rough)
        return None if self.shell is not None and not alike else fit._replace(every=alike)

    def _placed(
        self, vertices: np.ndarray, faces: np.ndarray, count: int, fit: Fit | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (V, 3) where the planes around them say; of a shell with the same faces, else without idle ones.

        Those of smooth shapes stay, and all where hardly a dense face is left for each.
        """
        if self.refiner is None or len(self.planes.faces) < TELLING * len(faces):
            return vertices, faces
        if self.shell is not None and sheet_of(vertices, faces, self.edge):
            return self._sheet_placed(vertices, faces), faces
        return _refined(vertices, faces, self.planes, self.edge, self.refiner, fit, count)

    def _sheet_placed(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """The vertices (V, 3) of a sheet on the filtered planes, where these are fine enough to tell."""
        if self.edge >= FINE_SHEET:
            return vertices
        farthest = FARTHEST * self.edge * (1.0 + noisiness(self.denoised.noise, self.edge))
        return place_on(vertices, faces, self.planes, farthest)


def _refined(
    before: np.ndarray,
    faces: np.ndarray,
    planes: Planes,
    edge: float,
    refiner: Callable[..., Refiner],
    fit: Fit | None,
    count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """What the collapse left for `count` faces, (V, 3) and (F, 3), its vertices refined, and without idle faces.

    Vertices that a fit says are of a smooth shape stay; so do all faces of a mesh that bends alike: each carries some.
    """
    smooth = np.zeros(len(before), dtype=np.bool_) if fit is None else fit.smooth(before, faces)
    if fit is not None and fit.every and smooth.all():
        return before, faces
    seen = begun(watched, before, faces, planes)
    sides, _, _ = face_geometry(before, faces)
    vertices = refiner().refine(before, faces, planes, sides)
    if smooth.any():
        targets, vertices = np.where(smooth[:, None], before, vertices), before.copy()
        move(vertices, faces, *faces_at_vertices(faces, len(vertices)), targets, sides)
    vertices = taken_back(vertices, faces, seen(), edge, sides)
    return _without_idle_faces(vertices, faces, count)


def _own_collapse(vertices: np.ndarray, faces: np.ndarray, seed: int = 0, far: float = FAR) -> Collapse:
    """A collapse of a mesh by the planes of its own faces."""
    normals, areas, centers = face_geometry(vertices, faces)
    return start_collapse(vertices, faces, rows_of(vertices, faces, centers, normals, areas), seed, far=far)


def _without_idle_faces(vertices: np.ndarray, faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and faces (F, 3) of a mesh less those that carry nothing, but at least FEWEST of `count`.

    An edge carries nothing if its end can be left out with its faces nowhere further than IDLE from their planes, or
    less than that where so many faces are wanted that most would be no further.
    """
    state = _own_collapse(vertices, faces, far=BEHIND)
    areas = face_areas(vertices, faces)
    around = 6.0 * float(areas.sum()) / max(len(areas), 1)  # weight of the planes at the ends of an edge, about
    off = IDLE * min(1.0, MANY / count)
    least = int(np.ceil(FEWEST * count))
    collapse(state, least + 1, STEP, off * off * around**POWER)  # an edge takes two faces with it
    used, faces = state.left()
    return state.positions[used], faces


def rows_of(
    vertices: np.ndarray,
    faces: np.ndarray,
    centers: np.ndarray,
    normals: np.ndarray,
    weights: np.ndarray,
    folds: bool = False,
) -> np.ndarray:
    """Rows (V, 14) of the vertices: a third of each face's plane, upright planes along borders, and their places.

    With `folds` edges between faces that are each other's back are borders, too: those around a wall without thickness.
    """
    rows = np.zeros((len(vertices), WIDTH + 3))
    rows[:, WIDTH:] = vertices
    in_threads(add_faces, len(rows), *faces_at_vertices(faces, len(vertices)), centers, normals, weights, rows)
    _add_borders(vertices, faces, normals, manifold_twins(faces, len(vertices)), FOLD if folds else -np.inf, rows)
    return rows


@njit(**COMPILED)
def _add_borders(vertices, faces, normals, twin, fold, rows):
    """Add upright planes along borders and folds, whose cosine is below `fold`, to the rows (V, 14) of their ends."""
    for h in range(len(twin)):
        f = h // 3
        if twin[h] >= 0 and dot(normals, f, normals, twin[h] // 3) >= fold:
            continue
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
                    rows[end], sx / length, sy / length, sz / length,
                    vertices[a, 0], vertices[a, 1], vertices[a, 2], weight,
                )  # fmt: skip
