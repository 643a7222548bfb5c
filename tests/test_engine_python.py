"""The Pythons that may run the engine: found, asked what they lack, tried out, and ended with who asked."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from addon_modules import Listener, load

engine_python, background = (load(f"engine.{name}") for name in ("engine_python", "background"))
ROOT = Path(__file__).resolve().parents[1]
WAITING = """
import socket
with socket.create_connection(("127.0.0.1", {port})) as test:
    test.sendall(b"compiles")
    test.recv(1)  # for as long as the test wants
"""
WARM_UP = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from addon_modules import Listener, load
load("engine.engine_python").warm_up(sys.executable, Path({core!r}), "", Listener())
"""


def test_a_base_python_is_found() -> None:
    assert engine_python.find_base_python("", Listener()).is_file()


def test_a_python_with_all_that_the_engine_needs() -> None:
    report = engine_python.probe(sys.executable, ROOT, Listener())
    assert report.ok, report.problems
    assert report.python == ".".join(map(str, sys.version_info[:3]))
    lines = report.lines
    assert [line.split()[0] for line in lines] == ["Python", "torch", "numba", "flashmesh_core", "Device:"]


def test_the_engine_is_tried_out_and_compiled(tmp_path: Path) -> None:
    listener = Listener()
    engine_python.warm_up(sys.executable, ROOT, "", listener)
    broken = tmp_path / "flashmesh_core" / "service"
    broken.mkdir(parents=True)
    (broken / "server.py").write_text("import os\nprint(os.environ['NUMBA_CACHE_DIR'])\nraise OSError('no kernel')")
    with pytest.raises(engine_python.InstallError, match="the engine does not work there: OSError: no kernel"):
        engine_python.warm_up(sys.executable, tmp_path, str(tmp_path / "cache"), listener)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("end", ["cancel", "kill"])
def test_compiling_ends_with_who_wanted_it(tmp_path: Path, end: str) -> None:
    """Cancelled, or left alone by a process that is killed."""
    core = tmp_path / "flashmesh_core" / "service"
    core.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        (core / "server.py").write_text(WAITING.format(port=server.getsockname()[1]))
        code = WARM_UP.format(tests=str(ROOT / "tests"), core=str(tmp_path))
        named = {"python": sys.executable, "core": tmp_path, "cache": ""}
        task = background.Task("the install", lambda task: engine_python.warm_up(task=task, **named))
        other = None if end == "cancel" else subprocess.Popen([sys.executable, "-c", code])
        if other is None:
            task.start()
        try:
            compiling, _ = server.accept()
            with compiling:
                compiling.settimeout(60)
                assert compiling.recv(8) == b"compiles"
                if other is None:
                    task.cancel()
                else:
                    other.kill()
                assert compiling.recv(1) == b""
        finally:
            task.cancel()
            if other is not None:
                other.kill()
                other.wait()
    assert other is not None or (task.wait(60) and isinstance(task.error, background.TaskCancelledError))


def test_a_python_that_lacks_things(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = engine_python.python_in(tmp_path / "bare")
    (tmp_path / "torch.py").write_text("raise OSError('a library of torch is broken')")
    report = engine_python.probe(str(python), tmp_path, Listener())
    assert not report.ok and report.problems["torch"] == "OSError: a library of torch is broken"
    text = "\n".join(report.lines)
    assert "torch does not load: OSError: a library of torch is broken" in text
    assert "Missing: numba, numpy, scipy, safetensors, starlette, uvicorn, flashmesh_core" in text


@pytest.mark.parametrize(
    ("program", "message"), [("/nowhere/python", "cannot be started"), ("/bin/false", "did not answer as a Python")]
)
def test_what_is_no_python(program: str, message: str) -> None:
    with pytest.raises(engine_python.InstallError, match=message):
        engine_python.probe(program, ROOT, Listener())


def test_a_python_that_hangs(tmp_path: Path) -> None:
    code = "import os\nprint('here', flush=True)\nos.read(0, 1)\n"
    lines: list[str] = []
    with pytest.raises(engine_python.InstallError, match=r"did not answer in 0\.2 s"):
        engine_python.run_lines([sys.executable, "-c", code], lines.append, Listener(), timeout=0.2)


def test_blenders_own_variables_are_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/opt/blender/python")
    monkeypatch.setenv("PYTHONPATH", "/opt/blender/modules")
    environment = engine_python.clean_environment()
    assert not {"PYTHONHOME", "PYTHONPATH"} & set(environment) and environment["PATH"] == os.environ["PATH"]
