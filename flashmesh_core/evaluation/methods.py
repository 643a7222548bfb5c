"""The ways to a mesh of the wanted number of faces that `evaluate` compares, one row each.

result    the engine as it is used
geometry  the mesh that the reading of the source arrives at by geometry alone
proxy     the same with the learned choice of its vertices, without the model
decimate  plain simplification of the source by quadric error; of a cloud, of what is reconstructed from it
model     the engine's model alone: no coverage guidance, nothing repaired or filled
repaired  the same with crossings and holes mended; what else fits the source stays as the model wrote it
unaided   the same, shown neither vertices nor faces of the proxy: samples of the surface are all it has
artist    the artist's own mesh: the best that figures which hold the noise of samples can be
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from flashmesh_core.evaluation.objects import Given
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.options import Options
from flashmesh_core.surface.reading import read_surface

if TYPE_CHECKING:
    from flashmesh_core.decode.engine import Engine
    from flashmesh_core.decode.results import GenerationResult

log = logging.getLogger(__name__)

METHODS = ("result", "geometry", "proxy", "decimate", "model", "repaired", "unaided", "artist")
EMPTY = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Made:
    """What a method made of a source."""

    mesh: Mesh  # in the source's space; without faces where the method failed
    seconds: float  # of wall time, from the source as it is given
    end_reason: str | None = None  # of a generation
    decoded: float | None = None  # of a generation: share of the faces that the model wrote


Method = Callable[[Given, int], Made]


def check_methods(names: Sequence[str]) -> tuple[str, ...]:
    """The methods by name, each once, in their own order. Raises ValueError for unknown or no names."""
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise ValueError(f"rows must be some of {','.join(METHODS)}, got {','.join(names)!r}")
    return tuple(name for name in METHODS if name in names)


def available_methods() -> tuple[str, ...]:
    """All methods, but decimation only where its library is installed."""
    return tuple(name for name in METHODS if name != "decimate" or find_spec("meshoptimizer"))


def methods_of(engine: Engine, names: Sequence[str], **options: Any) -> dict[str, Method]:
    """The methods by name; `options` are those of `Engine.generate`, for the result and the two of the model.

    Raises ValueError where decimation is wanted and its library is not installed.
    """
    alone = options | {"coverage_guidance": 0.0, "fill_holes": False, "watertight": False}
    ways: dict[str, Method] = {
        "result": lambda given, faces: generate(engine, given, faces, **options),
        "geometry": lambda given, faces: timed(lambda: proxy_of(given, faces, learned_choice=False)),
        "proxy": lambda given, faces: timed(lambda: proxy_of(given, faces)),
        "decimate": lambda given, faces: timed(lambda: decimate(given.dense, faces)),
        "model": lambda given, faces: generate(engine, given, faces, **alone),
        "repaired": lambda given, faces: repaired(engine, given, faces, **options),
        "unaided": lambda given, faces: unaided(engine, given, faces, **alone),
        "artist": lambda given, faces: timed(lambda: given.artist.mesh),
    }
    if "decimate" in names:
        _meshoptimizer()
    return {name: ways[name] for name in check_methods(names)}


def generate(engine: Engine, given: Given, faces: int, **options: Any) -> Made:
    """A generation with the given number of faces; an empty one, ended by "refused", where no surface shows."""
    return _made(given, lambda: engine.generate(given.surface, given.normals, faces=faces, **options))


def repaired(engine: Engine, given: Given, faces: int, *, candidates: int = 1, **options: Any) -> Made:
    """A generation without guidance whose crossings and holes are mended, and nothing else; see `mend`."""

    def write() -> GenerationResult:
        checked = Options.of(options | {"faces": faces, "coverage_guidance": 0.0, "watertight": False})
        source = engine.prepare(given.surface, given.normals, checked, candidates=candidates)
        results = engine.run([source], checked, candidates=candidates, gate=False).run().results()
        return min(results, key=lambda result: result.distance)

    return _made(given, write)


def unaided(engine: Engine, given: Given, faces: int, *, candidates: int = 1, **options: Any) -> Made:
    """The same, with nothing shown of the proxy; see `without_proxy`."""
    from flashmesh_core.decode.source import prepare_source, without_proxy

    def write() -> GenerationResult:
        checked = Options.of(options | {"faces": faces})
        source = engine.prepare(
            given.surface, given.normals, checked, candidates=candidates,
            using=lambda *given, **reading: without_proxy(prepare_source(*given, **reading), engine.config),
        )  # fmt: skip
        results = engine.run([source], checked, candidates=candidates).run().results()
        return min(results, key=lambda result: result.distance)

    return _made(given, write)


def _made(given: Given, write: Callable[[], GenerationResult]) -> Made:
    began = time.perf_counter()
    try:
        result = write()
    except ValueError as error:
        log.warning("%s, %s: %s", given.artist.name, given.family, error)
        return Made(EMPTY, time.perf_counter() - began, "refused", 0.0)
    written = len(result.mesh.faces)
    decoded = 1.0 - result.filled / written if written else 0.0
    return Made(result.mesh, time.perf_counter() - began, result.end_reason, max(decoded, 0.0))


def proxy_of(given: Given, faces: int, *, learned_choice: bool = True) -> Mesh:
    """The proxy mesh of a source, in the source's space; no faces where no surface shows."""
    try:
        reading = read_surface(given.surface, given.normals, faces=faces, learned_choice=learned_choice)
    except ValueError as error:
        log.warning("%s, %s: %s", given.artist.name, given.family, error)
        return EMPTY
    proxy = reading.proxies[0]
    return Mesh(reading.box.invert(proxy.vertices), proxy.faces.astype(np.int64))


def decimate(mesh: Mesh, faces: int) -> Mesh:
    """The mesh with at most about `faces` faces, by meshoptimizer: edges collapse onto old vertices by quadric error.

    Of the plain simplifiers at hand it is the fastest, it stays closed, and on rounded sources it is nearer to the
    artist than Blender's. A mesh of no more faces comes back as it is.
    """
    library = _meshoptimizer()
    if len(mesh.faces) <= faces:
        return mesh
    indices = np.ascontiguousarray(mesh.faces, dtype=np.uint32).ravel()
    low = mesh.vertices.min(axis=0)  # float32 holds few digits far from the origin
    positions = np.ascontiguousarray(mesh.vertices - low, dtype=np.float32)
    kept = np.zeros_like(indices)
    count = library.simplify(kept, indices, positions, target_index_count=3 * faces, target_error=1.0)
    used, renumbered = np.unique(kept[:count], return_inverse=True)
    return Mesh(mesh.vertices[used], renumbered.reshape(-1, 3).astype(np.int64))


def timed(make: Callable[[], Mesh]) -> Made:
    """What a function makes, and how long it takes."""
    began = time.perf_counter()
    mesh = make()
    return Made(mesh, time.perf_counter() - began)


def _meshoptimizer() -> Any:
    try:
        import meshoptimizer
    except ModuleNotFoundError as error:
        raise ValueError(
            "rows must leave decimate out, or meshoptimizer be installed: pip install meshoptimizer>=0.2.30a0"
        ) from error
    return meshoptimizer
