"""The engine's compiled functions: made once for all tests, and lent to copies of the core that a test installs.

python -m tests.kernels    # compiles; CI does so before the tests, whose processes would all do it otherwise
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numba.core.caching import IndexDataCacheFile, UserProvidedCacheLocator

from flashmesh_core import kernel_cache
from tests.surface.shapes import sphere

CORE = Path(__file__).resolve().parents[1] / "flashmesh_core"
CHECKPOINTS = ("debug", "nano")


def compile_all() -> None:
    """What an engine of either checkpoint compiles before it is asked for anything; nothing where that is done."""
    from flashmesh_core.service.server import load_engine

    for checkpoint in CHECKPOINTS:
        load_engine(checkpoint, "cpu").warm_up()


def compile_passes() -> None:
    """The backbone's pass in every precision, with narrow heads and wide ones, whose caches differ."""
    from flashmesh_core.decode.engine import Engine
    from flashmesh_core.runtime.cpu.decoder import DTYPES, FastDecoder, FastModel

    for checkpoint in CHECKPOINTS:
        model = Engine.random(checkpoint).model
        condition = torch.zeros(1, 8, model.config.dim)
        rows = [np.zeros((1, len(model.config.slice_rows), model.config.num_bins), dtype=np.uint8)]
        for dtype in DTYPES:
            FastDecoder(FastModel(model, dtype), condition).extend([np.array([model.config.bos])], rows)


def compile_rest() -> None:
    """What is left of what many tests use: clouds and drafting by heads."""
    from flashmesh_core.decode.engine import Engine

    cloud = sphere(64, 32).vertices
    Engine.load("nano", device="cpu", precision="float32").generate(cloud, drafter="heads", faces=8, max_faces=4)


def main() -> None:
    """All of it."""
    engines = multiprocessing.get_context("spawn").Process(target=compile_all)
    engines.start()
    compile_passes()
    engines.join()
    if engines.exitcode:
        raise SystemExit(engines.exitcode)
    compile_rest()


def lend(core: Path, cache: Path, without: str = "") -> list[str]:
    """Puts what is compiled here where a copy of the package looks, given its kernels' folder; the names of the files.

    A copy in the zip imports by other names, so that numba would not know its kernels: they get its stamp. Files that
    differ in more get nothing, nor does the module `without`, so that there is something left to compile.
    """
    kernel_cache.install()  # which reads and writes an index as the engine does
    own, lent = os.environ.get("NUMBA_CACHE_DIR"), []
    subfolder = UserProvidedCacheLocator.get_suitable_cache_subpath
    for path in sorted(CORE.rglob("*.py")):
        copy = core / path.relative_to(CORE)
        if path.stem == without or not copy.is_file() or _body(copy) != _body(path):
            continue
        here = Path(own) / subfolder(str(path)) if own else path.parent / "__pycache__"
        there = cache / subfolder(str(copy))
        there.mkdir(parents=True, exist_ok=True)
        for index in here.glob(f"{path.stem}.*.nbi"):
            kept = IndexDataCacheFile(str(here), index.stem, _stamp(path))._load_index()
            lent += [shutil.copy(here / name, there / name).name for name in kept.values() if (here / name).is_file()]
            IndexDataCacheFile(str(there), index.stem, _stamp(copy))._save_index(kept)
        for picked in here.glob("dtype-*.txt"):  # see pick_dtype
            shutil.copy(picked, there / picked.name)
    return sorted(lent)


def _body(path: Path) -> list[str]:
    """The lines of a source that import nothing."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not re.match(r"\s*(from|import) ", line)]


def _stamp(path: Path) -> Any:
    """How numba tells whether a source has changed since its functions were compiled."""
    return UserProvidedCacheLocator.get_source_stamp(SimpleNamespace(_py_file=str(path)))


if __name__ == "__main__":
    main()
