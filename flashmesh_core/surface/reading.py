"""The door of this package: any mesh or cloud to one surface without noise, its proxy meshes, and how noisy it was.

The engine and the training read every source through `read_surface`: the model learns to live with its mistakes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from flashmesh_core.errors import InputError
from flashmesh_core.mesh.canonical import Mesh, Normalization, check_faces, check_points
from flashmesh_core.mesh.topology import is_manifold_and_closed
from flashmesh_core.surface.adjacency import compact
from flashmesh_core.surface.cavities import without_crossed_cavities, without_thin_cavities
from flashmesh_core.surface.choice.simplify import chosen_proxy
from flashmesh_core.surface.cleaning import SAME_PLACE, clean
from flashmesh_core.surface.denoising import (
    FINE,
    Denoised,
    Progress,
    as_it_came,
    denoise,
    is_modelled,
    noisiness,
    typical_edge,
)
from flashmesh_core.surface.depth_steps import without_steps
from flashmesh_core.surface.enclosed import without_enclosed_parts
from flashmesh_core.surface.isolated import without_isolated_pieces
from flashmesh_core.surface.layers import are_layers, samples_of_layers
from flashmesh_core.surface.nearest_proxies import nearest_proxies, trimmed_proxies
from flashmesh_core.surface.pinholes import close_pinholes
from flashmesh_core.surface.point_normals import random_part
from flashmesh_core.surface.reconstruction import reconstruct
from flashmesh_core.surface.seams import join_seams
from flashmesh_core.surface.simplification import HANDLE_EDGES, proxies_of_own_vertices
from flashmesh_core.surface.spikes import without_spikes
from flashmesh_core.surface.strays import on_surfaces
from flashmesh_core.surface.threads import begun, reported
from flashmesh_core.surface.viewpoint import sight

MIN_POINTS, MAX_POINTS = 16, 2_000_000
MAX_REACH = 1e38  # source units: the largest coordinate that float32 holds
GRID = 2.0**28
MIN_FACES = 4  # of a proxy; a closed surface has no fewer
CLEANED, FILLED = 0.5, 0.7  # of cleaning up, done once the mesh is clean and once its pinholes are closed
ALONE = 0.9  # of the box that the mesh has without isolated pieces, below which it gets a box of its own
ROUGH, ROUGH_CLOUD = 0.5, 0.2  # noisiness of a mesh, noise of a cloud over the typical edge of its surface
FINEST = 1 / 256  # a typical edge shorter than this: three rounds of filtering reach no bevel that matters
CLOUD_HANDLE_EDGES = 24.0  # noise makes handles; a mesh has those that somebody made
RICHER = (1, 2)  # times the wanted faces: the proxies that are made
WITH_DENSE = (1, 2, 4)  # the same where a model or a learned choice is shown candidates of all of them
LEARNED_CHOICE = False  # whether the first proxy is a learned choice, where nobody says
TRIMMED, TRIMMED_OF_CLOUD = (1.5,), (1.5, 2)  # times the wanted faces: meshes that are trimmed to these


@dataclass(frozen=True, eq=False)
class Reading:
    """A source as the engine reads it. Everything is in the unit box of the source: longest side 1, centered on 0.

    `proxies[i]` has about `richer[i]` times the wanted faces; with `kept` vertices these are the source's own.
    """

    box: Normalization  # from the source's space into its unit box
    surface: Mesh  # dense, oriented, without noise
    noise: float  # standard deviation of what was noise
    proxies: tuple[Mesh, ...]
    is_manifold: bool  # of the source; True for a cloud, which cannot tell
    is_closed: bool  # no open edges, pinholes aside: of the source's mesh, or of the one made of a cloud
    kept: bool = False
    strays: int = 0  # left out: points of a cloud on no surface; isolated and hidden pieces of a mesh, its spikes
    gashes: int = 0  # holes of a mesh that were closed, where a scanner saw nothing


def read_surface(
    source: Mesh | np.ndarray,
    normals: np.ndarray | None = None,
    *,
    faces: int,
    keep_vertices: bool | None = None,
    clean_up: bool = True,
    richer: Sequence[int] = RICHER,
    learned_choice: bool = LEARNED_CHOICE,
    progress: Progress | None = None,
) -> Reading:
    """The reading of `read_varied` for the seed 0."""
    return read_varied(
        source, normals, faces=faces, keep_vertices=keep_vertices, clean_up=clean_up, richer=richer,
        learned_choice=learned_choice, progress=progress,
    )[0]  # fmt: skip


def read_varied(
    source: Mesh | np.ndarray,
    normals: np.ndarray | None = None,
    *,
    faces: int,
    seeds: Sequence[int] = (0,),
    keep_vertices: bool | None = None,
    clean_up: bool = True,
    richer: Sequence[int] = RICHER,
    learned_choice: bool = LEARNED_CHOICE,
    progress: Progress | None = None,
) -> list[Reading]:
    """The surface that a mesh, or a cloud (N, 3) with unit `normals` (N, 3) or None, shows, for as many wanted `faces`.

    There is one reading for each of `seeds`: the same surface with other proxies, see `varied_proxies`.

    `keep_vertices` takes a mesh's own vertices, as they are, and its faces as far as these are wanted; None: where it
    has no more faces than that.
    `clean_up` leaves strays and what is hidden out, joins seams, closes gashes (pinholes.py), and reads layers of scans
    as the cloud of their vertices, unless vertices are kept.
    `richer` are the multiples of the wanted faces that proxies are made of, the first of which is 1.
    With a `learned_choice` the first proxy is chosen from those of WITH_DENSE, see choice/simplify.py.
    `progress(stage, fraction)` is called several times a second and may raise to cancel: the work, in a thread of its
    own, then ends by itself.
    Of a cloud of more than MAX_POINTS a random part is read. One that a camera took from the origin faces that place
    (viewpoint.py), and its depths are evened out where they are steps (depth_steps.py). Raises ValueError for wrong
    shapes, non-finite values, a cloud of fewer than 16 points, and a source that shows no surface.
    """
    made = (*richer, *(times for times in WITH_DENSE if times not in richer)) if learned_choice else richer
    counts = [times * max(faces, MIN_FACES) for times in made]

    def read(report: Progress) -> list[Reading]:
        if isinstance(source, Mesh):
            report("clean", 0.0)
            return _read_mesh(_checked_mesh(source), counts, seeds, keep_vertices, clean_up, report)
        report("reading", 0.0)
        points = check_points("points", source, minimum=MIN_POINTS)
        return _read_cloud(points, normals, counts, seeds, clean_up, report)

    found = read(_unheard) if progress is None else reported(read, progress)
    return [_with_choice(one, made, len(richer), counts[0]) for one in found] if learned_choice else found


def _with_choice(reading: Reading, made: Sequence[int], richer: int, wanted: int) -> Reading:
    """The reading with as many proxies as `richer`, of those `made`, the first a learned choice unless it is kept."""
    proxies = list(reading.proxies)
    if not reading.kept:
        proxies[0] = chosen_proxy([proxies[list(made).index(times)] for times in WITH_DENSE], wanted)
    return replace(reading, proxies=tuple(proxies[:richer]))


def dense_surface(source: Mesh | np.ndarray, normals: np.ndarray | None = None) -> tuple[Normalization, Mesh]:
    """The box of a source and the dense surface in it that `read_surface` takes the noise off, with its noise.

    Arguments and errors are those of `read_surface`; a cloud's surface is the one that is made of it.
    """
    if isinstance(source, Mesh):
        cleaned = _clean_mesh(_checked_mesh(source), _unheard)
        box, _, mesh, _, _ = _mended(source, _joined(cleaned, _unheard))
        return box, without_thin_cavities(mesh)[0]
    box, _, _, mesh = _mesh_of_cloud(check_points("points", source, minimum=MIN_POINTS), normals, True, _unheard)
    return box, mesh


def _unheard(stage: str, share: float) -> None:
    """Progress that nobody asked for."""


Cleaned = tuple[Normalization, tuple[bool, bool], Mesh]


def _clean_mesh(source: Mesh, report: Progress) -> Cleaned:
    """The source's box, whether it is manifold and closed, and the clean mesh in the box."""
    box = Normalization.of_points(source.vertices)
    unit = _on_grid(box.apply(source.vertices))
    told = begun(is_manifold_and_closed, unit, source.faces)
    mesh = clean(unit, source.faces, progress=lambda share: report("clean", CLEANED * share))
    manifold, closed = told(partial(report, "clean", CLEANED))
    report("clean", CLEANED)
    if not len(mesh.faces) or typical_edge(mesh) == 0.0:
        raise InputError(f"source must have a face with area, got {len(source.faces)} faces without", field="source")
    return box, (manifold, closed), mesh


def _joined(cleaned: Cleaned, report: Progress, *, seams: bool = True) -> Cleaned:
    """The same with pinholes closed, and with `seams` joined."""
    box, (manifold, closed), mesh = cleaned
    if seams and not closed:
        mesh = join_seams(mesh)
    mesh, _ = close_pinholes(mesh)
    report("clean", FILLED)
    return box, (manifold, closed or is_manifold_and_closed(mesh.vertices, mesh.faces)[1]), mesh


def _without_strays(source: Mesh, cleaned: Cleaned) -> tuple[Normalization, tuple[bool, bool], Mesh, int]:
    """The same without isolated pieces and spikes, and how many these are.

    Where they made the rest small, the source's faces in the rest's box are cleaned again.
    """
    box, (manifold, closed), mesh = cleaned
    mesh, spikes = without_spikes(mesh)
    rest, pieces = without_isolated_pieces(mesh)
    if not spikes + pieces:
        return *cleaned, 0
    low, high = rest.vertices.min(axis=0), rest.vertices.max(axis=0)
    if float((high - low).max()) < ALONE:
        unit, margin = box.apply(source.vertices), 2.0 * SAME_PLACE
        inside = ((unit >= low - margin) & (unit <= high + margin)).all(axis=1)[source.faces].all(axis=1)
        used, numbers = compact(source.faces[inside], len(source.vertices))
        again = Mesh(source.vertices[used], numbers.astype(np.int64))
        cleaned = _joined(_clean_mesh(again, _unheard), _unheard)
        box, (manifold, closed), rest, _ = _without_strays(again, cleaned)
    return box, (manifold, closed or is_manifold_and_closed(rest.vertices, rest.faces)[1]), rest, spikes + pieces


def _mended(source: Mesh, cleaned: Cleaned) -> tuple[Normalization, tuple[bool, bool], Mesh, int, int]:
    """The same without strays and parts inside of others, and gashes closed; how many it were of each."""
    box, (manifold, closed), mesh, strays = _without_strays(source, cleaned)
    gashes = 0
    if not closed:
        mesh, gashes = close_pinholes(mesh, gashes=True)
        closed = is_manifold_and_closed(mesh.vertices, mesh.faces)[1]
    mesh, hidden = without_enclosed_parts(mesh)
    return box, (manifold, closed), mesh, strays + hidden, gashes


def _read_mesh(
    source: Mesh, counts: list[int], seeds: Sequence[int], keep: bool | None, clean_up: bool, report: Progress
) -> list[Reading]:
    box, (_, closed), mesh = cleaned = _clean_mesh(source, report)
    kept = len(mesh.faces) <= counts[0] if keep is None else keep
    if clean_up and not kept and not closed and are_layers(mesh):
        points, normals = samples_of_layers(mesh)
        return _read_cloud(box.invert(points), normals, counts, seeds, clean_up, report)
    box, (manifold, closed), mesh = cleaned = _joined(cleaned, report, seams=clean_up and not kept)
    if kept:
        return _kept(Reading(box, mesh, 0.0, (mesh,) * len(counts), manifold, closed, kept=True), counts, seeds, report)
    strays = gashes = 0
    if clean_up:
        box, (manifold, closed), mesh, strays, gashes = _mended(source, cleaned)
    mesh, hollows = without_thin_cavities(mesh, clean_up=clean_up)
    denoised, made = _with_proxies(mesh, counts, seeds, None, report)
    if clean_up:
        mesh, crossed = without_crossed_cavities(mesh, made[0][0])
        hollows += crossed
        if crossed:
            denoised, made = _with_proxies(mesh, counts, seeds, None, report)
    strays += hollows
    return [
        Reading(box, denoised.mesh, denoised.noise, of, manifold, closed, strays=strays, gashes=gashes) for of in made
    ]


def _kept(reading: Reading, counts: list[int], seeds: Sequence[int], report: Progress) -> list[Reading]:
    """The reading of a mesh whose vertices are kept for each of `seeds`: the same one where it has so few faces."""
    mesh = reading.surface
    if len(mesh.faces) <= counts[0]:
        return [reading] * len(seeds)
    made = proxies_of_own_vertices(mesh, counts, seeds, report)
    return [replace(reading, proxies=tuple(of)) for of in made]


def _read_cloud(
    points: np.ndarray,
    normals: np.ndarray | None,
    counts: list[int],
    seeds: Sequence[int],
    clean_up: bool,
    report: Progress,
) -> list[Reading]:
    box, noise, strays, mesh = _mesh_of_cloud(points, normals, clean_up, report)
    denoised, made = _with_proxies(mesh, counts, seeds, noise, report)
    closed = is_manifold_and_closed(mesh.vertices, mesh.faces)[1]
    return [Reading(box, denoised.mesh, noise, of, True, closed, strays=strays) for of in made]


def _mesh_of_cloud(
    points: np.ndarray, normals: np.ndarray | None, clean_up: bool, report: Progress
) -> tuple[Normalization, float, int, Mesh]:
    """The cloud's box, its noise in it, how many strays were left out, and the clean mesh that is made of the rest."""
    _check_reach("points", points)
    normals = _checked_normals(normals, points)
    if len(points) > MAX_POINTS:
        part = random_part(len(points), MAX_POINTS)
        points, normals = points[part], None if normals is None else normals[part]
    seen = sight(points)
    if seen.sees_all:
        points, normals = without_steps(points, normals)
    stays = on_surfaces(points, report) if clean_up else np.ones(len(points), dtype=np.bool_)
    points, normals = points[stays], None if normals is None else normals[stays]
    box = Normalization.of_points(points)
    viewpoint = box.apply(np.zeros(3)) if seen.sees_several else None
    made = reconstruct(_on_grid(box.apply(points)), normals, viewpoint=viewpoint, progress=report)
    mesh = close_pinholes(clean(made.mesh.vertices, made.mesh.faces))[0] if made is not None else None
    if made is None or mesh is None or not len(mesh.faces):
        raise InputError(f"points must lie on a surface, got {len(points)} of which none can be made", field="points")
    return box, made.noise, int((~stays).sum()), mesh


def _with_proxies(
    mesh: Mesh, counts: list[int], seeds: Sequence[int], cloud_noise: float | None, report: Progress
) -> tuple[Denoised, list[tuple[Mesh, ...]]]:
    """The surface without noise, and its proxies by each seed; `cloud_noise` is that of the cloud that it is made of.

    A mesh with little noise is read without filtering, too. One that is finer than FINEST shows everything to both.
    """
    denoised, edge = denoise(mesh, wanted=counts[0], progress=report), typical_edge(mesh)
    rough = noisiness(denoised.noise, edge) > ROUGH and edge < FINE
    ways, handle_edges, shells = [denoised], HANDLE_EDGES, cloud_noise is None
    if cloud_noise is not None:
        rough, handle_edges = rough or cloud_noise > ROUGH_CLOUD * edge, CLOUD_HANDLE_EDGES
    elif not rough and edge > FINEST and not is_modelled(mesh, edge):
        ways.append(as_it_came(mesh, denoised.noise))
    if rough:
        made = nearest_proxies(
            mesh, ways, counts, seeds, handle_edges=handle_edges, rough=True, shells=shells, progress=report
        )
    else:
        more = [int(np.ceil(times * counts[0])) for times in (TRIMMED if shells else TRIMMED_OF_CLOUD)]
        made = trimmed_proxies(
            mesh, ways, counts, seeds, more=more, handle_edges=handle_edges, shells=shells, progress=report
        )
    return denoised, [tuple(of) for of in made]


def _on_grid(points: np.ndarray) -> np.ndarray:
    """Unit-box positions rounded to 1 / GRID: what rounding a far or large source leaves must not decide anything."""
    return np.round(points * GRID) / GRID


def _checked_mesh(mesh: Mesh) -> Mesh:
    """The mesh without vertices that no face uses; a ValueError for what no surface can be."""
    vertices = check_points("source vertices", mesh.vertices, minimum=3)
    faces = check_faces("source faces", mesh.faces, len(vertices))
    _check_reach("source vertices", vertices)
    if not len(faces):
        raise InputError("source must have at least 1 face, got 0", field="source")
    used, numbers = compact(faces, len(vertices))
    return Mesh(vertices[used], numbers.astype(np.int64))


def _checked_normals(normals: np.ndarray | None, points: np.ndarray) -> np.ndarray | None:
    """Unit normals (N, 3), or None; a ValueError for another shape, non-finite or zero rows."""
    if normals is None:
        return None
    normals = np.asarray(normals, dtype=np.float64)
    if normals.shape != points.shape:
        raise InputError(f"normals must have the shape of points, {points.shape}, got {normals.shape}", field="normals")
    if not np.isfinite(normals).all():
        raise InputError("normals must be finite, got NaN or infinity", field="normals")
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    if (length < 1e-9).any():
        raise InputError(f"normals must not be zero, got {int((length < 1e-9).sum())} zero rows", field="normals")
    return normals / length


def _check_reach(name: str, points: np.ndarray) -> None:
    """A ValueError where a coordinate is so large that the result, which is float32, could not hold it."""
    reach = float(np.abs(points).max())
    if reach > MAX_REACH:
        raise InputError(
            f"{name} must be within {MAX_REACH:g} of the origin, got a coordinate of size {reach:.3g}", field=name
        )
