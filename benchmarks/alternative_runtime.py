"""The matrix products of a pass by our kernel, by torch and by OpenVINO, all in bfloat16: is another runtime worth it?

Needs `pip install openvino`. Each contender makes the same products (`bench.floor.shapes`) for the rows of a pass of 1,
9, 18 and 27 tokens, every product on its own input. Rounds are interleaved; medians are printed, in milliseconds. The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from flashmesh_core.bench.floor import Rows, compiled_floor, shapes, torch_floor
from flashmesh_core.checkpoint import load_model
from flashmesh_core.config import ModelConfig
from flashmesh_core.runtime.cpu.decoder import FastModel

COUNTS = (1, 9, 18, 27)


def openvino_floor(config: ModelConfig, rows: Rows, threads: int) -> Callable[[], None]:
    """The products as one OpenVINO network with bfloat16 arithmetic."""
    try:
        import openvino as ov
        from openvino import opset13 as ops
    except ImportError:
        raise SystemExit("openvino is missing: pip install openvino") from None

    inputs: dict[tuple[int, int], ov.Node] = {}
    outputs = []
    for number, (k, n, m) in enumerate(shapes(config, rows)):
        x = inputs.setdefault((m, k), ops.parameter([m, k], np.float32))
        weight = np.random.default_rng(number).standard_normal((n, k), dtype=np.float32) * 0.01
        outputs.append(ops.matmul(x, ops.constant(weight), False, True))
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }  # fmt: skip
    compiled = ov.Core().compile_model(ov.Model(outputs, list(inputs.values())), "CPU", settings)
    request = compiled.create_infer_request()
    for place, (m, k) in enumerate(inputs):
        request.set_input_tensor(place, ov.Tensor(np.ones((m, k), np.float32)))
    return request.infer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.checkpoint, torch.device("cpu"))
    fast = FastModel(model, "bf16")
    found: dict[str, dict[str, float]] = {}
    for count in COUNTS:
        rows = (count, max(1, count // 3), max(1, count // 9))
        contenders = {
            "ours": compiled_floor(fast, rows),
            "torch": torch_floor(model.config, torch.bfloat16, "cpu", rows),
            "openvino": openvino_floor(model.config, rows, arguments.threads),
        }
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        with torch.inference_mode():
            for _ in range(arguments.rounds):
                for name, run in contenders.items():
                    run()
                    start = time.perf_counter()
                    run()
                    seconds[name].append(time.perf_counter() - start)
        found[str(count)] = {name: 1e3 * statistics.median(times) for name, times in seconds.items()}
        print(f"{count:3d} tokens: " + ", ".join(f"{name} {ms:.3f}" for name, ms in found[str(count)].items()))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
