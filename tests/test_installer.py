"""The engine's environment: real ones, of a tiny package without a network, interrupted in the middle."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from addon_modules import Listener, load

installer, background = (load(f"engine.{name}") for name in ("installer", "background"))
ROOT = Path(__file__).resolve().parents[1]
BACKEND = """
import socket
def build_wheel(*arguments, **keywords):
    with socket.create_connection(("127.0.0.1", {port})) as test:
        test.sendall(b"building")
        test.recv(1)  # for as long as the test wants
    raise SystemExit("the test has ended")
"""
RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from addon_modules import Listener, load
steps = [("--no-index", "--no-build-isolation", {source!r})]
load("engine.installer").install_engine(Path({folder!r}), Listener(), base={base!r}, steps=steps, modules=("slow",))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of a package `tiny`."""
    folder = tmp_path_factory.mktemp("wheels")
    info = "tiny-1.0.dist-info"
    files = {
        "tiny.py": "__version__ = '1.0'\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(text)}\n")
    files[f"{info}/RECORD"] = "".join(lines) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return folder


@pytest.fixture
def slow(tmp_path: Path):
    """A package whose build says so on a socket and then waits: its folder, and the socket to listen on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        source = tmp_path / "slow"
        source.mkdir()
        (source / "slow_backend.py").write_text(BACKEND.format(port=server.getsockname()[1]))
        build = 'requires = []\nbuild-backend = "slow_backend"\nbackend-path = ["."]\n'
        (source / "pyproject.toml").write_text(f"[build-system]\n{build}")
        yield source, server


def install(folder: Path, wheels: Path, listener: Listener | None = None, **more: object) -> Path:
    steps = [("--no-index", "--find-links", str(wheels), "tiny")]
    named = {"base": sys.executable, "steps": steps, "modules": ("tiny",), **more}
    return installer.install_engine(folder, listener or Listener(), **named)


def installed_before(folder: Path) -> Path:
    """The user folder as an earlier install has left it, as far as the next one looks."""
    (folder / "env1" / "bin").mkdir(parents=True)
    (folder / "env1" / "bin" / "python").symlink_to(sys.executable)
    (folder / "engine.json").write_text('{"environment": "env1"}')
    return folder / "env1" / "bin" / "python"


def environments(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("env*"))


def test_an_environment_that_can_be_found_and_replaced(wheels: Path, tmp_path: Path) -> None:
    folder, listener = tmp_path / "user folder", Listener()
    assert installer.installed_python(folder) is None
    python = install(folder, wheels, listener)
    assert installer.installed_python(folder) == python and environments(folder) == ["env1"]
    code = "import tiny, sys; print(tiny.__version__, sys.prefix != sys.base_prefix)"
    assert subprocess.check_output([python, "-c", code], text=True).split() == ["1.0", "True"]
    assert listener.shares == sorted(listener.shares) and listener.shares[-1] == 1.0
    assert any("tiny" in line for line in listener.lines)
    assert "Successfully installed tiny-1.0" in (folder / "install.log").read_text()

    with pytest.raises(installer.InstallError, match=r"No matching distribution found for absent.*install\.log"):
        install(folder, wheels, steps=[("--no-index", "--find-links", str(wheels), "absent")])
    assert "No matching distribution" in (folder / "install.log").read_text()
    # One that does not work in the end leaves the one before; one that does takes its place.
    with pytest.raises(installer.InstallError, match=r"Testing what was installed failed.*No module named 'huge'"):
        install(folder, wheels, modules=("huge",))
    assert installer.installed_python(folder) == python and environments(folder) == ["env1"]
    assert install(folder, wheels) == folder / "env2" / python.relative_to(folder / "env1")
    assert environments(folder) == ["env2"]
    installer.remove_engine(folder)
    assert installer.installed_python(folder) is None and environments(folder) == []


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_killed_install_leaves_no_process_and_no_half_engine(wheels: Path, slow, tmp_path: Path) -> None:
    source, server = slow
    folder = tmp_path / "user"
    before = installed_before(folder)
    named = {"tests": str(ROOT / "tests"), "source": str(source), "folder": str(folder), "base": sys.executable}
    process = subprocess.Popen([sys.executable, "-c", RUN.format(**named)])
    try:
        building, _ = server.accept()
        with building:
            building.settimeout(60)
            assert building.recv(8) == b"building"
            with pytest.raises(installer.InstallError, match="an install is running already"):
                install(folder, wheels)
            process.kill()
            assert process.wait(60) == -signal.SIGKILL
            assert building.recv(1) == b""  # pip and what it had started are gone too
    finally:
        process.kill()
        process.wait()
    assert environments(folder) == ["env1", "env2"]
    assert installer.installed_python(folder) == before
    after = install(folder, wheels)
    assert after != before and installer.installed_python(folder) == after
    assert environments(folder) == [after.relative_to(folder).parts[0]]


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_a_cancelled_install(slow, tmp_path: Path) -> None:
    source, server = slow
    folder = tmp_path / "user"
    before = installed_before(folder)
    steps = [("--no-index", "--no-build-isolation", str(source))]
    named = {"base": sys.executable, "steps": steps, "modules": ("slow",)}
    task = background.Task("the install", lambda task: installer.install_engine(folder, task, **named)).start()
    building, _ = server.accept()
    with building:
        building.settimeout(60)
        assert building.recv(8) == b"building"
        task.cancel()
        assert building.recv(1) == b""
    assert task.wait(60) and isinstance(task.error, background.TaskCancelledError)
    assert str(task.error) == "the install was cancelled"
    assert environments(folder) == ["env1"] and installer.installed_python(folder) == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"build": "rocm"}, "build must be one of cpu, cuda, got 'rocm'"),
        ({"base": "/nowhere/python"}, "must be a program that can be run, got '/nowhere/python'"),
        ({"base": "/bin/false"}, "/bin/false cannot make an environment: it ended with status 1"),
    ],
)
def test_wrong_wishes(wheels: Path, tmp_path: Path, wrong: dict, message: str) -> None:
    with pytest.raises(installer.InstallError, match=message):
        install(tmp_path, wheels, **wrong)
    assert environments(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"environment": "../env1"}', '{"environment": 3}'])
def test_a_damaged_pointer_names_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "engine.json").write_text(text)
    assert installer.installed_python(tmp_path) is None


def test_the_requirements_are_the_projects() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {*project["dependencies"], *project["optional-dependencies"]["server"]}
    assert {installer.TORCH, *installer.REQUIREMENTS} == wanted


@pytest.mark.parametrize(
    ("build", "system", "index"), [("cpu", "linux", "/cpu"), ("cuda", "win32", "/cu128"), ("cpu", "darwin", None)]
)
def test_where_torch_comes_from(build: str, system: str, index: str | None) -> None:
    torch = installer.pip_steps(build, system)[1]
    assert torch[0] == installer.TORCH
    assert torch[1:] == () if index is None else torch[2].endswith(index)


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        ("ERROR: No matching distribution found for torch>=2.6", "there is no build of torch for this Python"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("Retrying after NewConnectionError('x')", "no connection to the package index"),
        ("ERROR: Wheel is broken", "ERROR: Wheel is broken"),
    ],
)
def test_reasons(tail: str, reason: str) -> None:
    message = installer._why_failed("pip install torch", 1, [tail], Path("install.log"))
    assert message.startswith(f"pip install torch failed: {reason}") and message.endswith("is in install.log")


def test_progress_of_pip() -> None:
    """The lines of a real pip, by a clock of the test's."""
    times = iter([10.0, 12.0, 14.0, 20.0])
    progress = load("engine.pip_progress").PipProgress("Step 3 of 6: torch", clock=lambda: next(times))
    assert not progress.feed("Collecting torch>=2.6") and progress.text == "Step 3 of 6: torch, looking for torch"
    assert not progress.feed("  Downloading https://a.example/whl/cpu/torch-2.9.0%2Bcpu-cp311-linux.whl (200.0 MB)")
    assert progress.text == "Step 3 of 6: torch, downloading torch" and progress.share == 0.0
    assert progress.feed("Progress 0 of 200000000") and progress.text.endswith("torch, 0 of 200 MB")
    assert progress.feed("Progress 50000000 of 200000000") and progress.share == 0.25
    assert progress.text == "Step 3 of 6: torch, downloading torch, 50 of 200 MB, about 6 s left"
    assert progress.feed("Progress 51000000 of 200000000") and "about 12 s left" in progress.text
    assert not progress.feed("Collecting numba>=0.61") and progress.share == 0.0
    assert not progress.feed("Installing collected packages: sympy, torch")
    assert progress.text == "Step 3 of 6: torch, unpacking 2 packages"
    assert not progress.feed("Progress was made")


class Index(ThreadingHTTPServer):
    """A package index with the wheels of a folder, and a list of what was asked of it."""

    def __init__(self, wheels: Path) -> None:
        asked = self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                found = wheels / self.path.rpartition("/")[2]
                links = "".join(f'<a href="/files/{path.name}">{path.name}</a>' for path in wheels.glob("*.whl"))
                body = found.read_bytes() if self.path.startswith("/files/") else links.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html" if body[:2] == b"<a" else "application/zip")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Nothing on the test's output."""

        super().__init__(("127.0.0.1", 0), Handler)


def test_the_ordinary_index_is_asked_where_the_own_one_cannot_be(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}/simple"  # closed below: nothing answers there
    listener = Listener()
    with Index(wheels) as index:
        thread = threading.Thread(target=index.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{index.server_address[1]}/simple")
        monkeypatch.delenv("PIP_NO_INDEX", raising=False)
        steps = [("tiny", "--index-url", nowhere, "--retries", "0", "--timeout", "5")]
        try:
            python = install(tmp_path / "user", wheels, listener, steps=steps)
        finally:
            index.shutdown()
            thread.join()
    assert subprocess.run([python, "-c", "import tiny"], check=False).returncode == 0
    assert "/simple/tiny/" in index.asked
    assert "The first package index did not answer: trying the ordinary one" in listener.lines
    assert any(line.startswith("Step 2 of 4: tiny, downloading tiny") for line in listener.lines)


@pytest.mark.skipif(sys.platform in installer.ONE_BUILD, reason="the ordinary index has the small build")
def test_the_larger_build_needs_room(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is downloaded: on Linux the ordinary index has torch for graphics cards."""
    monkeypatch.setitem(installer.SPACE, "cuda", 1 << 60)
    steps = [(installer.TORCH, "--index-url", "http://127.0.0.1:9/simple", "--retries", "0", "--timeout", "5")]
    with pytest.raises(installer.InstallError, match=r"must have 1073741824 GiB free, got \d+\.\d GiB"):
        install(tmp_path / "user", wheels, steps=steps)
    assert environments(tmp_path / "user") == []


def test_a_large_build_is_known_as_such(tmp_path: Path) -> None:
    (tmp_path / "lib" / "python3.13" / "site-packages" / "nvidia").mkdir(parents=True)
    assert installer._measure(tmp_path)["build"] == "cuda" and "build" not in installer._measure(tmp_path / "none")


def test_what_is_installed_is_known_after_a_restart(wheels: Path, tmp_path: Path) -> None:
    """Read from the disk alone. What an older add-on left behind says less."""
    assert installer.installed(tmp_path) is None
    python = install(tmp_path, wheels)
    found = installer.installed(tmp_path)
    assert found.python == python and found.build == "cpu" and found.gigabytes > 0.001
    assert re.fullmatch(r"Installed: the engine, for the processor, 0\.\d GB, since \d{4}-\d\d-\d\d", found.text)
    installed_before(tmp_path / "older")
    assert installer.installed(tmp_path / "older").text == "Installed: the engine"
    installer.remove_engine(tmp_path)
    assert installer.installed(tmp_path) is None


def test_an_install_is_foretold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, fits = installer.forecast(tmp_path / "not" / "there", "cpu")
    free = shutil.disk_usage(tmp_path).free
    assert f"takes 1.3 GB on disk ({free / 1e9:.0f} GB free)" in lines[0] and fits == (free >= 3 << 30)
    assert not any("small build" in line for line in installer.forecast(tmp_path, "cpu", "darwin")[0])
    large = "Where the small build cannot be had: 3 GB, and 6.5 GB on disk"
    assert large in installer.forecast(tmp_path, "cpu", "linux")[0]
    monkeypatch.setitem(installer.SPACE, "cpu", 1 << 60)
    lines, fits = installer.forecast(tmp_path, "cpu")
    assert not fits and lines[-1].startswith("Needs 1152921505 GB free")
