"""The cache of compiled functions, made to survive: damaged files are made anew, and a full disk stops nothing.

numba keeps compiled functions beside the package or in the user's cache folder. A folder that cannot be written, a full
disk or a truncated file are errors to it, each of which would stop every start. Here they cost a compilation.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from numba.core.caching import Cache, CacheImpl, IndexDataCacheFile, UserProvidedCacheLocator

_MARK = b"FMSHA256"  # before the checksum at the end of a file; files of numba's own making have none
_TAIL = len(_MARK) + hashlib.sha256().digest_size

logger = logging.getLogger(__name__)


@cache
def say_once(message: str) -> None:
    """One warning for each message; of those that name no file, one in all."""
    logger.warning(message)


@lru_cache(maxsize=1)
def private_folder() -> str:
    """A folder of this process alone, which is removed at its end."""
    folder = tempfile.mkdtemp(prefix="flashmesh-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    say_once(f"compiled functions cannot be kept beside the package nor at home: for this run they go to {folder}")
    return folder


class PrivateLocator(UserProvidedCacheLocator):
    """The last resort: the private folder."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        self._py_file, self._lineno = py_file, py_func.__code__.co_firstlineno
        self._cache_path = os.path.join(private_folder(), self.get_suitable_cache_subpath(py_file))

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> PrivateLocator | None:
        """The locator, or None where there is no source file."""
        if not os.path.exists(py_file):
            return None
        try:
            return cls(py_func, py_file)  # whether it can be written shows when something is saved
        except OSError:
            return None


def sealed(data: bytes) -> bytes:
    """The bytes of a file with their checksum."""
    return data + _MARK + hashlib.sha256(data).digest()


def unsealed(data: bytes) -> bytes:
    """The bytes without their checksum; a ValueError where it is wrong. Bytes without a mark come back as given."""
    if data[-_TAIL : -_TAIL + len(_MARK)] != _MARK:
        return data
    if hashlib.sha256(data[:-_TAIL]).digest() != data[-_TAIL + len(_MARK) :]:
        raise ValueError("its checksum is wrong")
    return data[:-_TAIL]


def _forgiving_index(load: Callable) -> Callable:
    """Reading a cache's index, where one that is damaged or names what has moved counts as stale.

    An index holds the types of its functions by the modules they were in. numba compares ages only after reading it, so
    without this a class that moves breaks every installation that is updated in place.
    """

    def load_index(self: Any) -> Any:
        try:
            return load(self)
        except (ImportError, AttributeError):
            return {}
        except Exception as error:  # of unpickling: anything
            say_once(f"{self._index_path} is damaged ({type(error).__name__}); it is made anew")
            return {}

    return load_index


def _load_data(self: Any, name: str) -> Any:
    from numba.core.caching import pickle  # what numba itself reads with

    path = Path(self._data_path(name))
    data = path.read_bytes()
    try:
        return pickle.loads(unsealed(data))
    except Exception as error:  # of unpickling: anything
        say_once(f"{path} is damaged ({type(error).__name__}); it is made anew")
        return None


def _save_data(self: Any, name: str, data: Any) -> None:
    with self._open_for_write(self._data_path(name)) as file:
        file.write(sealed(self._dump(data)))


def _forgiving_load(load: Callable) -> Callable:
    """A function that cannot be made of what was kept is compiled anew."""

    def load_overload(self: Any, sig: Any, target_context: Any) -> Any:
        try:
            return load(self, sig, target_context)
        except Exception as error:
            say_once(f"compiled functions in {self.cache_path} can't be used ({type(error).__name__}); made anew")
            return None

    return load_overload


def _forgiving_save(save: Callable) -> Callable:
    """What cannot be kept is compiled again by the next process."""

    def save_overload(self: Any, sig: Any, data: Any) -> None:
        try:
            save(self, sig, data)
        except OSError as error:
            say_once(f"compiled functions cannot be kept in {self.cache_path}: {error.strerror or error}")

    return save_overload


def install() -> None:
    """Makes numba's cache forgiving, once for the process."""
    if PrivateLocator in CacheImpl._locator_classes:
        return
    CacheImpl._locator_classes = [*CacheImpl._locator_classes, PrivateLocator]
    index: Any = IndexDataCacheFile
    index._load_index = _forgiving_index(index._load_index)
    index._load_data, index._save_data = _load_data, _save_data
    cache: Any = Cache
    cache.load_overload = _forgiving_load(cache.load_overload)
    cache.save_overload = _forgiving_save(cache.save_overload)
