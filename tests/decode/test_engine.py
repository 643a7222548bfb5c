"""The engine: streams, seeds, candidates, cancelling, ends, scale and place, and the order of what it writes."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from generated_meshes import shape

from flashmesh_core.decode.engine import Engine, GenerationEvent, GenerationResult, Options
from flashmesh_core.mesh.canonical import Mesh, quantize, vertex_keys
from flashmesh_core.mesh.metrics import nearest_distances
from flashmesh_core.mesh.sampling import sample_surface
from flashmesh_core.mesh.topology import topology_report

SHORT: dict[str, Any] = {"max_faces": 12}
CHAIR = shape(3, 80)


def cloud(mesh: Mesh = CHAIR, count: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Samples of a mesh and their normals, float64."""
    samples = sample_surface(mesh.vertices, mesh.faces, count, np.random.default_rng(1))
    return samples.points.astype(np.float64), samples.normals.astype(np.float64)


def faces_of(events: list[GenerationEvent]) -> np.ndarray:
    """All faces of one candidate's events, (F, 3, 3)."""
    return np.concatenate([np.zeros((0, 3, 3), dtype=np.float32), *(event.faces for event in events)])


def single(result: GenerationResult) -> np.ndarray:
    """The triangles of a result as events tell them, float32."""
    return result.mesh.triangles.astype(np.float32)


def as_set(triangles: np.ndarray) -> set[tuple[tuple[float, ...], ...]]:
    """Triangles as a set, each turned to begin at its least corner."""
    turned = []
    for corners in triangles.tolist():
        first = min(range(3), key=lambda k: corners[k])
        turned.append(tuple(tuple(corners[(first + k) % 3]) for k in range(3)))
    return set(turned)


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.5])
def test_the_stream_is_the_result(debug_engine: Engine, temperature: float) -> None:
    options = SHORT | {"temperature": temperature, "seed": 5}
    events = list(debug_engine.stream(CHAIR, **options))
    heard: list[GenerationEvent] = []
    result = debug_engine.generate(CHAIR, on_event=heard.append, **options)
    assert [event.kind for event in events] == ["faces"] * (len(events) - 1) + ["end"]
    assert [(e.kind, e.n_faces, e.n_tokens) for e in events] == [(e.kind, e.n_faces, e.n_tokens) for e in heard]
    np.testing.assert_array_equal(faces_of(events), faces_of(heard))
    assert as_set(faces_of(events)) == as_set(single(result))
    np.testing.assert_array_equal(events[-1].mesh.triangles, result.mesh.triangles)
    assert faces_of(events).dtype == np.float32
    assert events[-1].end_reason == result.end_reason
    assert all(event.end_reason is None for event in events[:-1])
    assert (events[-1].n_tokens, result.seed, result.candidate) == (result.n_tokens, 5, 0)
    assert all(a.n_faces < b.n_faces and a.seconds <= b.seconds for a, b in pairwise(events[:-1]))
    assert result.tokens_per_pass == result.n_tokens / result.n_passes >= 1.0
    assert result.tokens_per_second > 0.0


def test_seeds_reproduce_and_differ(debug_engine: Engine) -> None:
    again = Engine.random("debug", seed=0)
    results = [  # coverage guidance leaves random weights little choice
        e.generate(CHAIR, seed=s, coverage_guidance=0.0, **SHORT).mesh.triangles
        for e, s in ((debug_engine, 1), (again, 1), (again, 2))
    ]
    np.testing.assert_array_equal(results[0], results[1])
    assert as_set(results[0]) != as_set(results[2])


def test_greedy_decoding_does_not_depend_on_the_seed(debug_engine: Engine) -> None:
    a, b = (debug_engine.generate(CHAIR, seed=seed, temperature=0.0, **SHORT).mesh.triangles for seed in (1, 2))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("keep", [True, False])
def test_candidate_i_is_what_seed_plus_i_makes_alone(debug_engine: Engine, keep: bool) -> None:
    heard: list[GenerationEvent] = []
    wish = {"keep_vertices": keep, "faces": 40, **SHORT}
    results = debug_engine.generate_all(CHAIR, candidates=3, seed=10, on_event=heard.append, **wish)
    distances = [result.chamfer + 0.1 * result.hausdorff for result in results]
    assert distances == sorted(distances)
    assert sorted(result.seed for result in results) == [10, 11, 12]
    for result in results:
        assert result.seed == 10 + result.candidate
        alone = debug_engine.generate(CHAIR, seed=result.seed, **wish)
        np.testing.assert_array_equal(result.mesh.triangles, alone.mesh.triangles)
        assert (result.end_reason, result.n_tokens, result.chamfer) == (alone.end_reason, alone.n_tokens, alone.chamfer)
        own = [event for event in heard if event.candidate == result.candidate]
        assert as_set(faces_of(own)) == as_set(single(result))
        assert own[-1].kind == "end"
    best = debug_engine.generate(CHAIR, candidates=3, seed=10, **wish)
    np.testing.assert_array_equal(best.mesh.triangles, results[0].mesh.triangles)


def test_the_last_seed_wraps_around(debug_engine: Engine) -> None:
    results = debug_engine.generate_all(CHAIR, candidates=2, seed=2**32 - 1, max_faces=1)
    assert sorted(result.seed for result in results) == [0, 2**32 - 1]


def test_cancelling_ends_within_a_pass(debug_engine: Engine) -> None:
    cancel = threading.Event()
    stream = debug_engine.stream(CHAIR, cancel=cancel, seed=1, drafter="none")
    seen = [next(stream), next(stream)]
    cancel.set()
    rest = list(stream)
    assert [event.kind for event in rest] == ["end"]
    assert rest[0].end_reason == "cancelled"
    assert rest[0].n_tokens - seen[-1].n_tokens <= 1
    assert rest[0].n_faces == seen[-1].n_faces == 2


def test_cancelling_from_another_thread(endless_engine: Engine) -> None:
    cancel, begun = threading.Event(), threading.Event()

    def watch() -> None:
        begun.wait(timeout=60)
        cancel.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = endless_engine.generate(
        CHAIR,
        cancel=cancel,
        candidates=2,
        max_faces=10_000,
        temperature=1.0,
        on_event=lambda event: begun.set() if event.n_faces >= 2 else None,
    )
    watcher.join()
    assert result.end_reason == "cancelled"
    assert 0 < len(result.mesh.faces) < 10_000


def test_cancelled_before_the_start(debug_engine: Engine) -> None:
    cancel = threading.Event()
    cancel.set()
    result = debug_engine.generate(CHAIR, cancel=cancel)
    assert (result.end_reason, len(result.mesh.faces), result.chamfer) == ("cancelled", 0, float("inf"))


@pytest.mark.parametrize("limit", [1, 7])
def test_the_face_limit_ends_it(debug_engine: Engine, limit: int) -> None:
    events = list(debug_engine.stream(CHAIR, max_faces=limit, temperature=2.0))
    assert (events[-1].end_reason, events[-1].n_faces, events[-1].n_tokens) == ("face_limit", limit, 9 * limit)


def biased_engine(towards_bins: float) -> Engine:
    """Random weights, but every bin that a slice row names is liked by so much, and EOS not at all."""
    engine = Engine.random("debug", seed=0)
    engine.model.head.weight[-1] = 0.0
    engine.model.copy_gates.weight.fill_(0.0)
    engine.model.copy_gates.bias.fill_(towards_bins)
    return engine


@pytest.fixture(scope="module")
def endless_engine() -> Engine:
    """Practically never writes EOS."""
    return biased_engine(5.0)


def test_eos_ends_it() -> None:
    """A model that wants EOS above all writes it at once; where the mesh must be closed first, after that."""
    engine = biased_engine(-30.0)
    engine.model.head.weight[:-1] = 0.0
    result = engine.generate(CHAIR, temperature=0.0, surface_tolerance=0)
    assert (result.end_reason, len(result.mesh.faces), result.n_tokens) == ("eos", 0, 0)
    assert result.chamfer == float("inf")


@pytest.mark.parametrize(
    ("options", "limit"),
    [({}, 2000), ({"faces": 100}, 182), ({"faces": 10_000}, 10_000), ({"faces": 100, "max_faces": 9}, 9)],
)
def test_the_face_limit_follows_from_what_is_wanted(options: dict[str, Any], limit: int) -> None:
    assert Options(**options).face_limit == limit


def test_the_wanted_number_of_faces_reaches_the_model(debug_engine: Engine) -> None:
    options = SHORT | {"temperature": 1.0, "coverage_guidance": 0.0}
    a, b = (debug_engine.generate(CHAIR, faces=faces, **options) for faces in (20, 5000))
    assert as_set(a.mesh.triangles) != as_set(b.mesh.triangles)


@pytest.mark.parametrize("seed", range(3))
def test_the_result_moves_with_the_source(debug_engine: Engine, seed: int) -> None:
    """Scale and place of the source are those of the result."""
    rng = np.random.default_rng(seed)
    scale, shift = float(np.exp(rng.uniform(-5, 5))), rng.uniform(-3, 3, 3)
    points, normals = cloud()
    near = debug_engine.generate(points, normals, seed=seed, **SHORT)
    far = debug_engine.generate((points + shift) * scale, normals, seed=seed, **SHORT)
    assert len(near.mesh.faces) > 0
    np.testing.assert_array_equal(far.mesh.faces, near.mesh.faces)
    np.testing.assert_allclose(far.mesh.vertices, (near.mesh.vertices + shift) * scale, atol=1e-5 * scale)
    assert far.chamfer == pytest.approx(near.chamfer, rel=1e-6)


@pytest.mark.parametrize("scale", [0.001, 37.0])
def test_the_result_moves_with_a_mesh(debug_engine: Engine, scale: float) -> None:
    """Also far from the origin, where float32 samples would be coarse. No vertex may lie on the edge of a bin here."""
    shift = np.array([1000.0, -2000.0, 500.0])
    vertices = CHAIR.vertices + np.random.default_rng(0).normal(0.0, 0.01, CHAIR.vertices.shape)
    near = debug_engine.generate(Mesh(vertices, CHAIR.faces), seed=2, **SHORT)
    far = debug_engine.generate(Mesh((vertices + shift) * scale, CHAIR.faces), seed=2, **SHORT)
    np.testing.assert_array_equal(far.mesh.faces, near.mesh.faces)
    np.testing.assert_allclose(far.mesh.vertices / scale - shift, near.mesh.vertices, atol=1e-3)


@pytest.mark.parametrize("kind", ["mesh", "cloud", "bare cloud"])
def test_the_result_lies_on_the_source(debug_engine: Engine, kind: str) -> None:
    """Each vertex is within the tolerance of the source, whatever the source is given as."""
    points, normals = cloud(count=20_000)
    source = {"mesh": (CHAIR,), "cloud": (points, normals), "bare cloud": (points,)}[kind]
    result = debug_engine.generate(*source, temperature=1.0, surface_tolerance=2, **SHORT)
    size = float(np.ptp(CHAIR.vertices, axis=0).max())
    dense = cloud(count=50_000)[0]
    gap = np.abs(result.mesh.vertices[:, None] - dense[None]).max(axis=2).min(axis=1)
    assert len(gap) > 0
    assert gap.max() < 4.0 / 128 * size
    made = sample_surface(result.mesh.vertices, result.mesh.faces, 5000, np.random.default_rng(0)).points
    forth, back = nearest_distances(dense / size, made / size)
    assert 0.0 < result.chamfer < forth.mean() + back.mean()  # which the noise of samples adds to


def test_without_the_surface_mask_vertices_may_lie_anywhere(debug_engine: Engine) -> None:
    result = debug_engine.generate(CHAIR, temperature=2.0, surface=False, **SHORT)
    gap = np.abs(result.mesh.vertices[:, None] - cloud(count=20_000)[0][None]).max(axis=2).min(axis=1)
    assert gap.max() > 8.0 / 128 * float(np.ptp(CHAIR.vertices, axis=0).max())


MASKS = [{}, {"surface": False}, {"surface": False, "manifold": True}, {"watertight": True, "manifold": True}]


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_sampled_meshes_obey_the_order(endless_engine: Engine, temperature: float, masks: dict[str, Any]) -> None:
    """Faces strictly increase, v0 is the lowest, no vertex twice; with the manifold mask no directed edge twice."""
    heard: list[GenerationEvent] = []
    endless_engine.generate(
        CHAIR, candidates=6, seed=20, temperature=temperature, max_faces=40, on_event=heard.append, **masks
    )
    box = endless_engine.prepare(CHAIR, None, Options()).normalization
    bins = endless_engine.config.num_bins
    for number in range(6):
        corners = faces_of([event for event in heard if event.candidate == number])
        faces = [tuple(face) for face in vertex_keys(quantize(box.apply(corners), bins), bins).tolist()]
        assert len(faces) > 3
        assert all(before < after for before, after in pairwise(faces))
        assert all(a < min(b, c) and b != c for a, b, c in faces)
        if masks.get("manifold") and not masks.get("watertight"):  # near a surface it may be dropped to go on at all
            edges = [edge for a, b, c in faces for edge in ((a, b), (b, c), (c, a))]
            assert len(set(edges)) == len(edges)


@pytest.mark.parametrize("manifold", [True, False])
def test_watertight_never_hangs(endless_engine: Engine, debug_engine: Engine, manifold: bool) -> None:
    for engine in (endless_engine, debug_engine):
        results = engine.generate_all(
            CHAIR, candidates=4, temperature=1.0, watertight=True, manifold=manifold, max_faces=100
        )
        assert {result.end_reason for result in results} <= {"eos", "face_limit"}
        assert all(result.n_tokens <= 900 for result in results)


@pytest.mark.parametrize("fill_holes", [True, False])
@pytest.mark.parametrize("mesh", [CHAIR, Mesh(CHAIR.vertices, CHAIR.faces[5:])], ids=["closed", "open"])
def test_what_was_to_be_watertight_is(debug_engine: Engine, mesh: Mesh, fill_holes: bool) -> None:
    results = debug_engine.generate_all(mesh, candidates=4, watertight=True, faces=100, fill_holes=fill_holes)
    ended = [result for result in results if result.end_reason == "eos"]
    assert ended
    assert mesh is CHAIR or all(result.filled for result in ended)
    for result in ended:
        report = topology_report(result.mesh.vertices, result.mesh.faces)
        assert report.is_watertight and report.flipped_edge_ratio == 0.0
        assert result.tally.gave_up_closure == 0


def test_a_repair_keeps_to_the_face_limit(debug_engine: Engine) -> None:
    """By default a closed source gives a closed mesh; not where that takes more faces than the user allows.

    Random weights need more guidance than trained ones to come that far.
    """
    whole = debug_engine.generate(CHAIR, faces=100, seed=3, coverage_guidance=13.0)
    assert whole.end_reason == "eos" and whole.quality.open_edges == 0 and whole.quality.faults == ()
    cut = debug_engine.generate(CHAIR, faces=100, seed=3, max_faces=12, coverage_guidance=13.0)
    assert (len(cut.mesh.faces), cut.filled) == (12, 0)
    assert cut.quality.open_edges > 0 and len(cut.quality.faults) == 2
    assert whole.verdict == "complete" or "not within 10%" in whole.verdict
    told = cut.told()
    assert told["verdict"] == "; ".join([*cut.quality.faults, "it has 12 faces, not within 10% of the 100 wanted"])
    assert (told["repaired"], told["wanted"]) == (0, 100)
    assert (told["open_edges"], told["gap"]) == (cut.quality.open_edges, cut.quality.gap)


def test_how_many_faces_closing_may_make() -> None:
    assert Options(faces=100, watertight=True).closing_limit == 10_000
    assert Options(faces=100, watertight=True, max_faces=120).closing_limit == 120
    assert Options(faces=100).closing_limit == Options(faces=100).face_limit


WRONG: list[tuple[str, Any]] = [
    ("faces", 0), ("faces", 10_001), ("faces", 2.5), ("faces", "12"), ("faces", True),
    ("seed", -1), ("seed", 2**32), ("seed", None), ("seed", 0.5),
    ("temperature", -0.1), ("temperature", 2.1), ("temperature", float("nan")), ("temperature", None),
    ("temperature", "hot"), ("temperature", float("inf")),
    ("max_faces", 0), ("max_faces", 10_001), ("surface_tolerance", -1), ("surface_tolerance", 65),
    ("surface", None), ("surface", 1), ("watertight", "yes"), ("manifold", 0),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_wrong_option_names_field_range_and_value(debug_engine: Engine, field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{field} must be ") as error:
        next(debug_engine.stream(CHAIR, **{field: value}))
    assert str(error.value).endswith(f"got {value!r}")


@pytest.mark.parametrize("candidates", [0, 17, True, 1.5, None])
def test_a_wrong_number_of_candidates_is_named(debug_engine: Engine, candidates: Any) -> None:
    with pytest.raises(ValueError, match=r"^candidates must be .*1.*16.*, got"):
        debug_engine.generate(CHAIR, candidates=candidates)


def test_scalars_of_numpy_are_options_too(debug_engine: Engine) -> None:
    options = {"seed": np.int64(3), "temperature": np.float32(0.5), "max_faces": np.int32(2)}
    plain = debug_engine.generate(CHAIR, seed=3, temperature=0.5, max_faces=2)
    np.testing.assert_array_equal(debug_engine.generate(CHAIR, **options).mesh.triangles, plain.mesh.triangles)


POINTS, NORMALS = cloud(count=100)
BAD_SOURCES: dict[str, tuple[tuple[Any, ...], str]] = {
    "too few points": ((POINTS[:15],), r"points must have shape \(N, 3\) with N >= 16, got \(15, 3\)"),
    "two columns": ((POINTS[:, :2],), r"points must have shape \(N, 3\) with N >= 16, got \(100, 2\)"),
    "NaN": ((np.where(np.eye(100, 3) > 0, np.nan, POINTS),), "points must be finite, got 3 rows with NaN or infinity"),
    "infinity": ((np.where(np.eye(100, 3) > 0, np.inf, POINTS),), "points must be finite, got 3 rows"),
    "other normals": ((POINTS, NORMALS[:50]), r"normals must have the shape of points, \(100, 3\), got \(50, 3\)"),
    "NaN normals": ((POINTS, NORMALS * np.nan), "normals must be finite"),
    "zero normals": ((POINTS, NORMALS * 0.0), "normals must not be zero, got 100 zero rows"),
    "NaN vertices": ((Mesh(CHAIR.vertices * np.nan, CHAIR.faces),), "source vertices must be finite"),
    "no faces": ((Mesh(CHAIR.vertices, CHAIR.faces[:0]),), "source must have at least 1 face, got 0"),
    "bad index": ((Mesh(CHAIR.vertices[:5], CHAIR.faces),), r"source faces must hold indices in \[0, 4\]"),
    "far vertices": (
        (Mesh(CHAIR.vertices * 1e200, CHAIR.faces),),
        r"source vertices must be within 1e\+38 of the origin",
    ),
    "far points": (
        (POINTS + 1e39, NORMALS),
        r"points must be within 1e\+38 of the origin, got a coordinate of size 1e\+39",
    ),
    "no area": ((Mesh(CHAIR.vertices * 0.0, CHAIR.faces),), r"source must have a face with area, got \d+ faces"),
}


@pytest.mark.parametrize("name", BAD_SOURCES)
def test_a_bad_source_says_what_is_wrong(debug_engine: Engine, name: str) -> None:
    arguments, message = BAD_SOURCES[name]
    with pytest.raises(ValueError, match=message):
        next(debug_engine.stream(*arguments))


def test_degenerate_faces_of_a_source_do_no_harm(debug_engine: Engine) -> None:
    """Faces that name a vertex twice have no surface, so they change nothing."""
    faces = np.concatenate([CHAIR.faces, [[0, 0, 1], [2, 3, 3]]])
    a, b = (debug_engine.generate(Mesh(CHAIR.vertices, f), **SHORT).mesh.triangles for f in (CHAIR.faces, faces))
    np.testing.assert_array_equal(a, b)


def test_an_unknown_device_lists_what_there_is() -> None:
    from flashmesh_core.decode.engine import resolve_device

    with pytest.raises(ValueError, match=r"device must be one of \['auto', 'cpu'.*\], got 'quantum'"):
        resolve_device("quantum")
    assert str(resolve_device("cpu")) == "cpu"
