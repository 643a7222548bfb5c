"""Speculative decoding writes what plain decoding writes, token for token, whatever drafts, masks or company it has."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from generated_meshes import shape

from flashmesh_core.config import SLICE_ROWS, preset
from flashmesh_core.decode.engine import Drafting, Engine, Options
from flashmesh_core.decode.results import GenerationResult
from flashmesh_core.drafters import DRAFTER_NAMES, DRAFTERS
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.sampling import sample_cloud
from flashmesh_core.model.hourglass import Hourglass

SPECULATIVE = [name for name in DRAFTERS if name != "none"]
FACES = 14


@cache
def engine(precision: str = "float32") -> Engine:
    return Engine.load("nano", device="cpu", precision=precision)


@cache
def plain(seed: int, **options: object) -> GenerationResult:
    return engine().generate(shape(seed, 120), drafter="none", max_faces=FACES, seed=seed, **options)


def assert_same(result: GenerationResult, reference: GenerationResult) -> None:
    np.testing.assert_array_equal(result.mesh.vertices, reference.mesh.vertices)
    np.testing.assert_array_equal(result.mesh.faces, reference.mesh.faces)
    assert (result.n_tokens, result.end_reason) == (reference.n_tokens, reference.end_reason)


@pytest.mark.parametrize("width", [9, 18, 27])
@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("drafter", SPECULATIVE)
def test_every_drafter_width_and_temperature(drafter: str, temperature: float, width: int) -> None:
    seed = 1 + width // 9
    result = engine().generate(
        shape(seed, 120), drafter=drafter, width=width, temperature=temperature, max_faces=FACES, seed=seed
    )
    assert_same(result, plain(seed, temperature=temperature))
    assert result.n_passes < result.n_tokens
    accepted = int(result.tally.accepted_at.sum())
    assert accepted <= result.n_tokens <= accepted + result.n_passes


@pytest.mark.parametrize("masks", range(16))
def test_every_mask_on_and_off(masks: int) -> None:
    options = {
        "surface": bool(masks & 1), "manifold": bool(masks & 2), "watertight": bool(masks & 4),
        "coverage_guidance": 6.0 if masks & 8 else 0.0,
    }  # fmt: skip
    result = engine().generate(shape(5, 120), drafter="half_edge", max_faces=FACES, seed=5, **options)
    assert_same(result, plain(5, **options))


@pytest.mark.parametrize("drafter", SPECULATIVE)
def test_company_changes_nothing(drafter: str) -> None:
    """Several objects in the same passes, each with its own accepted length, and several candidates of one."""
    sources = [shape(seed, 120) for seed in (2, 3, 4)]
    together = engine().generate_batch(sources, drafter=drafter, max_faces=FACES, seed=7)
    for source, result in zip(sources, together, strict=True):
        assert_same(result, engine().generate(source, drafter="none", max_faces=FACES, seed=7))
    candidates = engine().generate_all(sources[0], candidates=3, drafter=drafter, max_faces=FACES, seed=11)
    for result in candidates:
        alone = engine().generate(sources[0], drafter="none", max_faces=FACES, seed=result.seed)
        assert_same(result, alone)


@pytest.mark.parametrize("drafting", [
    Drafting(correction="paper"), Drafting(correction="joint"), Drafting(after_face=False, skip_first=False),
    Drafting(fusion=False), Drafting(face_tokens=9, vertex_tokens=9), Drafting(min_confidence=0.0),
], ids=lambda drafting: str(drafting)[9:-1])  # fmt: skip
def test_no_switch_of_drafting_changes_the_output(drafting: Drafting) -> None:
    source = shape(3, 120)
    for drafter in ("heads", "united"):
        result = engine().generate(source, drafter=drafter, max_faces=FACES, seed=3, drafting=drafting)
        assert_same(result, plain(3))


@pytest.mark.parametrize("drafter", SPECULATIVE)
def test_a_model_that_is_shown_candidates(drafter: str) -> None:
    """All sixteen rows, those of candidate_rows.py included, which the bundled model does not read."""
    torch.manual_seed(1)
    shown = Engine(Hourglass(replace(preset("debug"), slice_rows=SLICE_ROWS)), "debug", "float32")
    for source in (shape(4, 120), sample_cloud(shape(5, 120), 3_000).points):
        options: dict[str, object] = {"max_faces": FACES, "seed": 4}
        assert_same(
            shown.generate(source, drafter=drafter, **options), shown.generate(source, drafter="none", **options)
        )


@pytest.mark.parametrize("precision", ["bf16", "int16"])
def test_other_weights_are_exact_too(precision: str) -> None:
    source = shape(6, 120)
    results = [
        engine(precision).generate(source, drafter=drafter, max_faces=2 * FACES, seed=1)
        for drafter in ("none", "half_edge")
    ]
    assert_same(*results)


def test_the_reference_backbone_writes_the_same() -> None:
    """torch's decoder at float32: sums in another order, so only the first faces are asked for."""
    result = engine("torch").generate(shape(2, 120), drafter="half_edge", max_faces=4, seed=2)
    reference = engine().generate(shape(2, 120), drafter="none", max_faces=4, seed=2)
    assert_same(result, reference)


def test_events_tell_of_the_same_faces() -> None:
    source = shape(4, 120)
    faces = [
        np.concatenate([event.faces for event in engine().stream(source, drafter=drafter, max_faces=FACES, seed=2)])
        for drafter in ("none", "half_edge")
    ]
    np.testing.assert_array_equal(*faces)


def test_an_unknown_drafter_and_a_width_out_of_range_are_named() -> None:
    mesh: Mesh = shape(1, 60)
    with pytest.raises(ValueError, match=f"drafter must be {' or '.join(DRAFTER_NAMES)}, got 'ngram'"):
        engine().generate(mesh, drafter="ngram")
    with pytest.raises(ValueError, match=r"width must be an integer in \[2, 64\], got 65"):
        engine().generate(mesh, width=65)


@cache
def without_rows() -> Engine:
    """A model that reads no slice rows, as the paper's presets are."""
    torch.manual_seed(3)
    model = Hourglass(replace(preset("debug"), slice_rows=()))
    with torch.no_grad():
        model.head.weight[model.config.eos] = 0.0  # the end is never likely
    return Engine(model, "no rows", "float32")


@pytest.mark.parametrize("kind", ["mesh", "cloud"])
@pytest.mark.parametrize("drafter", DRAFTERS)
def test_a_model_without_slice_rows(drafter: str, kind: str) -> None:
    mesh = shape(4, 120)
    given = (mesh, None) if kind == "mesh" else (sample_cloud(mesh, 4096).points, None)
    options = {"max_faces": FACES, "seed": 5, "watertight": True}
    reference = without_rows().generate(*given, drafter="none", **options)
    result = without_rows().generate(*given, drafter=drafter, **options)
    assert_same(result, reference)
    assert result.n_tokens >= 9 * 4


def test_a_model_of_before_the_proxys_faces_were_shown() -> None:
    """Checkpoints with nine rows go on as they were."""
    torch.manual_seed(3)
    model = Hourglass(replace(preset("debug"), slice_rows=SLICE_ROWS[:9]))
    with torch.no_grad():
        model.head.weight[model.config.eos] = 0.0  # the end is never likely
    engine = Engine(model, "nine rows", "float32")
    options = {"max_faces": FACES, "seed": 5}
    plain, drafted = (engine.generate(shape(4, 120), drafter=drafter, **options) for drafter in ("none", "half_edge"))
    assert_same(drafted, plain)
    assert plain.n_tokens >= 9 * 3


def test_a_mesh_is_closed_without_slice_rows() -> None:
    """Nothing is known of the surface then; `watertight` closes what is open whatever it looks like."""
    options = Options(max_faces=40, fill_holes=False)
    source = without_rows().prepare(shape(4, 120), None, options)
    enough = threading.Event()
    decoding = without_rows().run([source], options, cancel=enough)
    for event in decoding:
        if event.n_faces >= 6:
            enough.set()
    (candidate,) = decoding.candidates
    candidate.end_reason = "eos"
    candidate.close(limit=40)
    assert len(candidate.closing)
