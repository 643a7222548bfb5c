"""Time and memory a face over a forced long run: the end token is forbidden until the face limit is reached.

The source is a dense uneven ball, plain and speculative decoding run one after the other. Prints, for every stretch of
faces, the processor time of a face in milliseconds, tokens a pass, and the process's memory. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import torch

from flashmesh_core.decode.engine import Engine, Options
from flashmesh_core.mesh.canonical import Mesh


def ball(rings: int) -> Mesh:
    """A closed ball of 4 rings (rings - 1) triangles with bumps."""
    around = 2 * rings
    polar, turn = np.meshgrid(np.arange(1, rings) * np.pi / rings, np.arange(around) * np.pi / rings, indexing="ij")
    radius = 1.0 + 0.1 * np.sin(3 * turn) * np.sin(5 * polar)
    sides = [radius * np.sin(polar) * np.cos(turn), radius * np.sin(polar) * np.sin(turn), radius * np.cos(polar)]
    vertices = np.concatenate([np.stack(sides, axis=-1).reshape(-1, 3), [[0, 0, 1], [0, 0, -1]]])
    north, south = len(vertices) - 2, len(vertices) - 1
    faces = []
    for k in range(around):
        following = (k + 1) % around
        faces += [(north, k, following), (south, (rings - 2) * around + following, (rings - 2) * around + k)]
        for ring in range(rings - 2):
            a, b = ring * around + k, ring * around + following
            faces += [(a, a + around, b), (b, a + around, b + around)]
    return Mesh(vertices, np.array(faces))


class Endless:
    """A decoder whose logits never speak for the end."""

    def __init__(self, decoder, end: int) -> None:  # type: ignore[no-untyped-def]
        self.decoder, self.end = decoder, end
        self.truncate = decoder.truncate

    def extend(self, chunks, rows):  # type: ignore[no-untyped-def]
        answers = self.decoder.extend(chunks, rows)
        for logits in answers:
            logits[:, self.end] = -1e9
        return answers


class EndlessEngine(Engine):
    """An engine whose meshes end at the face limit alone."""

    def make_decoder(self, conditions, width):  # type: ignore[no-untyped-def]
        return Endless(super().make_decoder(conditions, width), self.config.num_bins)


def memory_mb() -> float:
    """Resident memory now, or the most so far where the system does not tell."""
    status = Path("/proc/self/statm")
    if status.is_file():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def run(engine: Engine, source: Mesh, drafter: str, marks: list[int]) -> list[dict[str, float]]:
    options = Options(faces=marks[-1], max_faces=marks[-1], drafter=drafter, coverage_guidance=0.0)
    prepared = engine.prepare(source, None, options)
    running = engine.run([prepared], options)
    stretches = []
    tally, start, spent, passes, left = running.candidates[0].tally, 0, time.thread_time(), 0, list(marks)
    for event in running:
        if left and event.n_faces >= left[0]:
            now = time.thread_time()
            tokens = 9 * (event.n_faces - start)
            stretches.append({
                "faces": event.n_faces, "ms_a_face": 1e3 * (now - spent) / (event.n_faces - start),
                "tokens_per_pass": tokens / max(1, tally.passes - passes), "memory_mb": memory_mb(),
            })  # fmt: skip
            start, spent, passes = event.n_faces, now, tally.passes
            left.pop(0)
    return stretches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--faces", type=int, nargs="+", default=[100, 200, 400, 1000, 2000, 4000, 6000, 8000, 10_000])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    loaded = Engine.load(arguments.checkpoint, device="cpu", precision="bf16")
    engine = EndlessEngine(loaded.model, loaded.name, "bf16")
    engine.warm_up()
    source = ball(51)
    found = {}
    for drafter in ("none", "half_edge"):
        found[drafter] = run(engine, source, drafter, sorted(arguments.faces))
        print(drafter)
        for row in found[drafter]:
            cost = f"{row['ms_a_face']:.2f} ms a face, {row['tokens_per_pass']:.2f} tokens a pass"
            print(f"  to {row['faces']:6.0f} faces: {cost}, {row['memory_mb']:.0f} MB")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
