"""What a pass of the backbone costs on this CPU: the reference decoder, the fast one, and its matrix products alone.

Rounds are interleaved: in each, every contender runs a few passes in a row, so that each finds the processor's caches
as its own passes leave them, and a busy moment hits all alike; medians are printed. A pass of one token is the mean
over nine tokens in a row, since inner levels run at every third and ninth only. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from flashmesh_core.bench.floor import Rows, compiled_floor, torch_floor
from flashmesh_core.checkpoint import load_model
from flashmesh_core.config import PRESETS, preset
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.runtime.cpu.decoder import DTYPES, FastDecoder, FastModel
from flashmesh_core.runtime.reference import CachedDecoder

TORCH_DTYPES = {"bf16": torch.bfloat16, "int16": torch.bfloat16, "float32": torch.float32}  # as many bytes a weight
IN_A_ROW = 5  # passes of one contender in a round; the first of them is not counted


def at_context(run: Callable[[int, int], Any], roll_back: Callable[[int], None], context: int, count: int) -> Any:
    """A pass of `count` tokens at `context`; of one token: nine such passes, whose time is divided by nine later."""

    def passes() -> None:
        roll_back(context)
        for begin in range(context, context + (9 if count == 1 else count), count):
            run(begin, begin + count)

    return passes


def floors(make: Callable[[Rows], Callable[[], None]], context: int, count: int) -> Callable[[], None]:
    """The floor of what `at_context` runs."""
    steps = range(context, context + (9 if count == 1 else count), count)
    calls = [make(tuple((b + count) // 3**level - b // 3**level for level in range(3))) for b in steps]

    def run() -> None:
        for call in calls:
            call()

    return run


def measure(contenders: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            for attempt in range(IN_A_ROW):
                start = time.perf_counter()
                run()
                if attempt:
                    seconds[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(times) for name, times in seconds.items()}


class Decoders:
    """The reference and the fast decoders of a model, on the same random tokens and slice rows."""

    def __init__(self, model: Hourglass, length: int, density: float) -> None:
        config, rng = model.config, np.random.default_rng(0)
        self.config = config
        self.tokens = rng.integers(0, config.num_bins, length)
        rows = (rng.random((length, len(config.slice_rows), config.num_bins)) < density).astype(np.uint8)
        self.rows = rows if config.slice_rows else None
        condition = model.encode(torch.rand(1, config.num_points, 7) - 0.5, torch.tensor([200.0]))
        self.reference = CachedDecoder(model, condition)
        self.fast = {dtype: FastDecoder(FastModel(model, dtype), condition) for dtype in DTYPES}

    def run_reference(self, begin: int, end: int) -> None:
        """A pass of the reference over tokens `begin` to `end`."""
        bits = None if self.rows is None else torch.from_numpy(self.rows[None, begin:end]).float()
        self.reference.extend(torch.from_numpy(self.tokens[None, begin:end]), bits)

    def run_fast(self, dtype: str, begin: int, end: int) -> None:
        """A pass of a fast decoder."""
        rows = None if self.rows is None else [self.rows[begin:end]]
        self.fast[dtype].extend([self.tokens[begin:end]], rows)

    def back(self, dtype: str, context: int) -> None:
        """Drops what a fast decoder holds beyond `context` tokens."""
        self.fast[dtype].truncate(0, context)

    def advance(self, context: int) -> None:
        """Feeds all decoders up to `context` tokens."""
        for begin in range(self.reference.length, context, 144):
            self.run_reference(begin, min(begin + 144, context))
        for dtype, decoder in self.fast.items():
            self.run_fast(dtype, int(decoder.lengths[0]), context)

    def contenders(self, context: int, count: int) -> dict[str, Callable[[], Any]]:
        """What is compared, by name: passes of `count` tokens at `context`, and their matrix products alone."""
        found = {"reference": at_context(self.run_reference, self.reference.truncate, context, count)}
        for dtype, decoder in self.fast.items():
            found[dtype] = at_context(partial(self.run_fast, dtype), partial(self.back, dtype), context, count)
            ours = partial(compiled_floor, decoder.fast)
            by_torch = partial(torch_floor, self.config, TORCH_DTYPES[dtype], "cpu")
            found[f"{dtype} products"] = floors(ours, context, count)
            found[f"{dtype} products by torch"] = floors(by_torch, context, count)
        return found


def figures(context: int, count: int, times: dict[str, float]) -> dict[str, Any]:
    """One row of the table: the milliseconds of each contender, and the fast decoders' ratios to the others."""
    row: dict[str, Any] = {"context": context, "tokens": count}
    row |= {f"{name} ms": round(time, 3) for name, time in times.items()}
    for dtype in DTYPES:
        row[f"{dtype} over products"] = round(times[dtype] / times[f"{dtype} products"], 2)
        row[f"{dtype} over products by torch"] = round(times[dtype] / times[f"{dtype} products by torch"], 2)
        row[f"{dtype} times faster"] = round(times["reference"] / times[dtype], 1)
    return row


def model_or_preset(name: str) -> Hourglass:
    """The checkpoint of this name, or the preset with random weights."""
    try:
        return load_model(name)
    except ValueError:
        if name not in PRESETS:
            raise
        return Hourglass(preset(name)).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="a checkpoint, or a preset with random weights")
    parser.add_argument("--contexts", type=int, nargs="+", default=[200, 2000], help="tokens before the pass")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1, 9, 18, 27], help="tokens of a pass")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--density", type=float, default=0.125, help="fraction of set bits in the slice rows")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch; ours runs on one")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_grad_enabled(False)
    length = 9 * (max(arguments.contexts) // 9) + 9 + max(arguments.tokens)
    decoders = Decoders(model_or_preset(arguments.model), length, arguments.density)
    table = []
    for wanted in sorted(arguments.contexts):
        context = 9 * (wanted // 9)
        decoders.advance(context)
        for count in arguments.tokens:
            repeats = 9 if count == 1 else 1
            measured = measure(decoders.contenders(context, count), arguments.rounds)
            row = figures(context, count, {name: time / repeats for name, time in measured.items()})
            table.append(row)
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        decoders.reference.truncate(context)
        for dtype in DTYPES:
            decoders.back(dtype, context)
    print(json.dumps({"model": arguments.model, "torch_threads": arguments.threads, "rows": table}))


if __name__ == "__main__":
    main()
