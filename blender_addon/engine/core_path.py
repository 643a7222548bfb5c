# SPDX-License-Identifier: GPL-3.0-or-later
"""Where flashmesh_core is: in the add-on's own lib/ folder, or beside the add-on in the repository.

In lib/ it is a part of the add-on, which imports it relatively: build_addon.py sees to that.
"""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent.parent  # the add-on
_CORE = "flashmesh_core"
_added: list[str] = []  # what ensure_core put on sys.path, so that release_core takes away no more


def core_folder() -> Path:
    """The folder that holds flashmesh_core; raises ImportError if the add-on was built without it."""
    for folder in (_HERE / "lib", _HERE.parent):
        if (folder / _CORE / "__init__.py").is_file():
            return folder
    raise ImportError(
        f"flashmesh_core must be in {_HERE / 'lib'} or {_HERE.parent}, got neither: install the zip of build_addon.py"
    )


def ensure_core() -> Path:
    """Makes flashmesh_core importable here, if it is no part of the add-on.

    Returns the folder to put on an engine child's PYTHONPATH.
    """
    folder = core_folder()
    if folder.parent != _HERE and str(folder) not in sys.path:
        sys.path.append(str(folder))
        _added.append(str(folder))
    return folder


def release_core() -> None:
    """Undoes ensure_core: the path goes, and with it the modules, so that an updated add-on loads its own core."""
    for entry in _added:
        if entry in sys.path:
            sys.path.remove(entry)
        prefix = str(Path(entry) / _CORE)
        for name in [name for name in sys.modules if name.split(".")[0] == _CORE]:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(prefix):
                del sys.modules[name]
    _added.clear()
