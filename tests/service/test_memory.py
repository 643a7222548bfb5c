"""Memory goes back to the system once it is no longer used."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest

from flashmesh_core.service.memory import drop_memory, give_back_memory, memory_in_use

MEGABYTE = 1 << 20


def resident() -> int:
    return memory_in_use(False)["resident_bytes"] or 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc only")
def test_what_was_freed_goes_back() -> None:
    """Blocks too small to be mapped one by one stay with the allocator, below a last one that is still used."""
    blocks = [bytearray(60_000) for _ in range(4_000)]
    last = bytearray(60_000)
    full = resident()
    del blocks
    give_back_memory()
    assert resident() < full - 150 * MEGABYTE and len(last) == 60_000


def test_garbage_of_what_was_frozen_is_collected() -> None:
    class Engine:
        pass

    engine = Engine()
    engine.itself = engine
    gone = weakref.ref(engine)
    gc.freeze()
    del engine
    gc.collect()
    assert gone() is not None
    drop_memory()
    assert gone() is None
