"""The static passes as CUDA graphs, and flash-attn, on a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flashmesh_core.runtime.cuda.decoder import StaticDecoder, StaticModel
from flashmesh_core.runtime.cuda.forward import Shape
from tests.model.builders import small_model
from tests.runtime.cuda.cases import CHANGES, LENGTH, SLACK, WIDTH, Case, case

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def on_gpu(name: str, precision: str, attention: str = "sdpa") -> tuple[Case, StaticDecoder]:
    model = small_model(**CHANGES[name]).cuda()
    static_model = StaticModel(model, precision, attention)
    return case(name), StaticDecoder(static_model, case(name).conditions.cuda(), WIDTH, SLACK)


@pytest.mark.parametrize("name", CHANGES)
def test_graphs_equal_the_full_pass(name: str) -> None:
    this, decoder = on_gpu(name, "float32")
    generator = np.random.default_rng(1)
    while decoder.lengths.min() < LENGTH:
        begins = decoder.lengths.copy()
        ends = [min(int(begin) + int(generator.choice([0, 1, 7, 18])), LENGTH) for begin in begins]
        this.check(this.feed(decoder, ends), begins, ends)
        this.feed(decoder, [min(end + int(generator.integers(0, 18)), LENGTH) for end in ends], wrong=True)
        for b in range(2):
            decoder.truncate(b, ends[b])
    assert len(decoder.workspace.graphs) >= 4


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_a_graph_equals_the_eager_pass_bit_for_bit(precision: str) -> None:
    this, decoder = on_gpu("narrow", precision)
    workspace = decoder.workspace
    shapes: list[Shape] = []
    launch = workspace.launch
    workspace.launch = lambda shape: (shapes.append(shape), launch(shape))[1]  # type: ignore[method-assign]
    for ends in ([9, 12], [27, 30], [28, 31], [45, 48], [46, 66], [60, 84]):
        this.feed(decoder, ends)
        graph, logits = workspace.graphs[shapes[-1]]
        graph.replay()
        replayed = logits.clone()
        with torch.inference_mode():
            eager = workspace.run(workspace.inputs[shapes[-1].width], shapes[-1])
        torch.testing.assert_close(replayed, eager, atol=0, rtol=0)
    assert len(set(shapes)) >= 2


@pytest.mark.parametrize("name", ["plain", "narrow"])
def test_flash_attention_equals_sdpa(name: str) -> None:
    pytest.importorskip("flash_attn")
    (this, flash), (_, sdpa) = on_gpu(name, "bf16", "flash"), on_gpu(name, "bf16", "sdpa")
    assert type(flash.static.attention) is not type(sdpa.static.attention)
    for end in (*range(1, 10), *range(18, LENGTH, 13)):
        for a, b in zip(this.feed(flash, [end, end // 2]), this.feed(sdpa, [end, end // 2]), strict=True):
            np.testing.assert_allclose(a, b, atol=0.1, rtol=0.05)


def test_a_pass_waits_for_the_device_once() -> None:
    this, decoder = on_gpu("rows", "bf16")
    this.feed(decoder, [18, 18])
    workspace = decoder.workspace
    (shape,) = workspace.graphs
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.inference_mode():
            workspace.launch(shape)  # raises where it waits
    finally:
        torch.cuda.set_sync_debug_mode("default")
    workspace.wait()
