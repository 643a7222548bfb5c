"""What the tests share: one thread, examples without time limits, the shared mesh data if any, a small engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Read when numpy and torch load, so they must be set first; child processes inherit them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import pytest
from hypothesis import settings

from flashmesh_core.mesh.store import MeshStore

if TYPE_CHECKING:
    from flashmesh_core.decode.engine import Engine

settings.register_profile("busy", deadline=None)  # a neighbour on the same cores must not fail an example
settings.load_profile("busy")

ROOT = Path(__file__).resolve().parents[1]
# `make test ARGS="-m quick"`: what neither loads an engine nor compiles kernels nor starts a process, nor goes through
# all shared meshes or a split of them.
QUICK = (
    "bench/test_figures.py", "drafting/test_correction.py", "mesh/test_canonical.py", "mesh/test_half_edge.py",
    "mesh/test_io.py", "mesh/test_metrics.py", "mesh/test_open_half_edges.py", "mesh/test_sampling.py",
    "mesh/test_topology.py", "model/test_hourglass.py", "model/test_layers.py", "oracles/test_grammar.py",
    "oracles/test_prefix.py", "service/test_protocol.py", "test_build_addon.py", "test_config.py",
    "test_docs.py", "test_duplicates.py", "test_files.py",
    "test_imports.py", "test_jit.py", "test_picture.py", "test_sizes.py", "test_tokenizer.py",
)  # fmt: skip


# What takes longest (100 to 20 CPU seconds a file): begun first, so that several processes end together.
LONGEST = (
    "gui/", "blender/test_batch.py", "blender/test_operator.py", "training/test_train.py", "blender/test_shapes.py",
    "blender/test_backend.py", "blender/test_results.py", "training/test_state.py", "blender/test_session.py",
    "decode/test_speculation.py", "surface/test_reconstruction.py", "blender/test_extension.py",
    "drafting/test_heads.py", "service/test_survival.py",
)  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`--dist loadfile`, in the order below; the tests in the window are as one file, since they share an install."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "tests/gui" if file.startswith("tests/gui/") else file

    config.option.loadscopereorder = False  # by how many tests a file has, which says little
    return ByFile(config, log)


def place(item: pytest.Item) -> int:
    """Where a test stands in LONGEST, or behind it."""
    file = item.path.relative_to(ROOT / "tests").as_posix()
    return next((number for number, start in enumerate(LONGEST) if file.startswith(start)), len(LONGEST))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the quick tests; where several processes share the tests, the longest files come first."""
    if hasattr(config, "workerinput"):
        items.sort(key=place)
    for item in items:
        whole_data = {"all_meshes", "test_split"} & set(getattr(item, "fixturenames", ()))
        if item.path.relative_to(ROOT / "tests").as_posix() in QUICK and not whole_data:
            item.add_marker(pytest.mark.quick)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the shared artist meshes: $FLASHMESH_DATA or ../shared/data; the test skips without it."""
    folder = Path(os.environ.get("FLASHMESH_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "meshes.npz").is_file():
        pytest.skip(f"no meshes.npz in {folder}")
    return folder


@pytest.fixture(scope="session")
def all_meshes(data_dir: Path) -> MeshStore:
    """Every shared mesh."""
    return MeshStore.open(data_dir)


@pytest.fixture(scope="session")
def test_split(data_dir: Path) -> MeshStore:
    """The shared meshes held out for tests."""
    return MeshStore.open(data_dir, "test")


@pytest.fixture(scope="session")
def debug_engine() -> Engine:
    """The smallest preset with random weights, on the CPU in float32 and one thread."""
    import torch

    from flashmesh_core.decode.engine import Engine

    torch.set_num_threads(1)
    return Engine.random("debug", seed=0)


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint that always takes the lowest token it may: it ends at the face limit, minutes from its start.

    One channel of the state outweighs all others, and the logits fall along it from token to token.
    """
    import torch

    from flashmesh_core.checkpoint import save_checkpoint
    from flashmesh_core.decode.engine import Engine

    folder = tmp_path_factory.mktemp("checkpoints") / "endless"
    model = Engine.random("debug").model
    with torch.no_grad():
        model.embed.weight[:, 0] = 1000.0
        model.head.weight.zero_()
        model.head.weight[:, 0] = -10.0 * torch.arange(model.config.num_classes)
        model.copy_gates.weight.zero_()
    save_checkpoint(folder, model)
    return str(folder)
