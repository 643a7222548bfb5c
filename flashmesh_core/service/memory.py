"""Memory of this process: how much there is, and giving back what is no longer used."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path


def drop_memory() -> None:
    """Collects garbage, that of a dropped engine too, and gives memory back; other threads stand still meanwhile."""
    gc.unfreeze()
    gc.collect()
    give_back_memory()


def give_back_memory() -> None:
    """Returns freed memory to the system, which the allocator would keep for later; other threads go on."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):  # of glibc only
            ctypes.CDLL(None).malloc_trim(0)


def memory_in_use(has_engine: bool) -> dict[str, int | None]:
    """Bytes resident in this process, and bytes held on the CUDA device once an engine is loaded."""
    resident = None
    with contextlib.suppress(OSError, ValueError, IndexError):  # Linux; elsewhere the peak, or unknown
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        resident = pages * os.sysconf("SC_PAGE_SIZE")
    if resident is None and sys.platform == "darwin":
        import resource

        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    torch = sys.modules.get("torch") if has_engine else None
    on_cuda = torch is not None and torch.cuda.is_initialized()
    return {
        "resident_bytes": resident,
        "cuda_bytes": torch.cuda.memory_reserved() if torch and on_cuda else None,
    }
