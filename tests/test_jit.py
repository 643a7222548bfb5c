"""Caches of compiled functions outlive the layout of the package."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType

import pytest
from numba import __version__
from numba.core.caching import IndexDataCacheFile

from flashmesh_core import jit


def index_file(folder: Path) -> IndexDataCacheFile:
    return IndexDataCacheFile(cache_path=str(folder), filename_base="f-1.py", source_stamp=(1.0, 2))


def test_an_index_that_names_a_module_that_is_gone_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert jit.refer
    gone = ModuleType("module_of_an_older_release")
    gone.Kind = type("Kind", (), {"__module__": gone.__name__})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, gone.__name__, gone)
    cache = index_file(tmp_path)
    Path(cache._index_path).write_bytes(pickle.dumps(__version__) + pickle.dumps(((1.0, 2), {gone.Kind(): "f.nbc"})))
    assert len(cache._load_index()) == 1
    monkeypatch.delitem(sys.modules, gone.__name__)
    assert cache._load_index() == {}
    cache._save_index({"kind": "f.1.nbc"})
    assert index_file(tmp_path)._load_index() == {"kind": "f.1.nbc"}
