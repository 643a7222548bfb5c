"""What the commands that fit the reading's small networks share: sources to samples, the learning rate, the file."""

from __future__ import annotations

import argparse
import io
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from flashmesh_core.files import write_atomic
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.sources import FAMILIES
from training.readings import ReadingKey, keys_of

WARM_UP = 200  # steps

Samples = TypeVar("Samples", bound=tuple[np.ndarray, ...])


class Fitted(Protocol):
    """A network that the engine can read."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Its layers by the names in the file."""
        ...


def learning_rate(highest: float, step: int, steps: int) -> float:
    """Of a step: linear up to `highest`, then half a cosine down to 0 at the end of `steps`."""
    return float(highest * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1.0 + np.cos(np.pi * step / steps)))


def mean_and_scale(some: Tensor) -> tuple[Tensor, Tensor]:
    """The means (C,) of inputs `some` (N, C), and one over their deviations (C,), which are 0.02 at the least."""
    return some.mean(dim=0), 1.0 / some.std(dim=0).clamp(min=0.02)


def descend(
    net: nn.Module, errors_of_batch: Callable[[], Tensor], weights: Sequence[float], *, highest: float, steps: int,
    every: int, text: str,
) -> None:  # fmt: skip
    """Fit `net` in so many steps by AdamW to the errors (E,) of a batch each, which count by `weights` (E,).

    The learning rate is that of `highest`; `every` so many steps the mean errors are printed in the places of `text`.
    """
    optimizer = torch.optim.AdamW(net.parameters(), highest, weight_decay=1e-2)
    total = np.zeros(len(weights))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(highest, step, steps)
        errors = errors_of_batch()
        optimizer.zero_grad()
        (errors * torch.tensor(weights)).sum().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        total += errors.detach().numpy()
        if (step + 1) % every == 0:
            print(f"step {step + 1}: " + text.format(*total / every), flush=True)
            total[:] = 0.0


def joined(some: Sequence[Samples]) -> Samples:
    """All samples, named tuples of arrays with a row each, in one."""
    return type(some[0])(*(np.concatenate(arrays) for arrays in zip(*some, strict=True)))


def run_fit(
    description: str,
    arguments: list[str] | None,
    samples_of: Callable[[Mesh, str, list[int]], Samples | None],
    fit: Callable[[Samples, int, int, int], Fitted],
    *,
    steps: int,
    batch: int,
    out: Path,
    families: tuple[str, ...] = FAMILIES,
) -> int:
    """Read the command line, make the samples, fit, and write the file that the engine reads; the exit status.

    `samples_of(artist, family, seed)` is called in other processes; `fit(samples, steps, batch, seed)` in this one.
    """
    parser = argparse.ArgumentParser(description=description.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", required=True, help="packed .npz, folder with meshes.npz, or folder of mesh files")
    parser.add_argument("--split", default="train")
    parser.add_argument("--sources", type=int, default=1600, help="sources that samples are made of")
    parser.add_argument("--max-faces", type=int, default=600, help="leave larger meshes out")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=str(out))
    args = parser.parse_args(arguments)
    for name in ("sources", "max_faces", "steps", "batch", "workers"):
        if not getattr(args, name) > 0:
            parser.error(f"--{name.replace('_', '-')} must be above 0, got {getattr(args, name)}")
    store = MeshStore.open(Path(args.data), args.split)
    keys = keys_of(store, families, 1, args.max_faces)
    random.Random(args.seed).shuffle(keys)
    tasks = [(Mesh(store.vertices[number], store.faces[number]), key) for number, key in keys[: args.sources]]
    with ProcessPoolExecutor(args.workers) as pool:
        results = pool.map(partial(_samples_of_task, samples_of), tasks, chunksize=2)
        made = [some for some in results if some is not None and len(some[0])]
    if not made:
        parser.error(f"--data must hold meshes whose sources show a surface, got none in {args.data}")
    samples = joined(made)
    print(f"{len(samples[0])} samples of {len(made)} sources", flush=True)
    packed = io.BytesIO()
    np.savez_compressed(packed, **fit(samples, args.steps, args.batch, args.seed).arrays())  # type: ignore[arg-type]
    write_atomic(Path(args.out), packed.getvalue())
    print(f"wrote {args.out}")
    return 0


def _samples_of_task(samples_of: Callable[..., Any], task: tuple[Mesh, ReadingKey]) -> Any:
    mesh, key = task
    return samples_of(Mesh(mesh.vertices.astype(np.float64), mesh.faces), key.family, key.seed)
