"""Checkpoints of the add-on: fetched from a real server that breaks off, lies and changes; listed; removed."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from addon_modules import Listener, load

downloads = load("engine.downloads")
CONFIG = json.dumps({"format": 1, "model": {"name": "tiny"}}).encode()


def weights(size: int = 400_000, fill: bytes = b"w") -> bytes:
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + fill * size


def zipped(**files: bytes) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/").replace("_json", ".json").replace("_model", "model"), data)
    return memory.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `files` by path, with ranges; breaks off after `break_after` bytes once; notes each request's Range."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ranges: list[tuple[str, str | None]] = []
        self.break_after: int | None = None
        self.with_ranges = True
        self.redirect: str | None = None
        self.stand_still_after: int | None = None  # bytes of a body; -1: even before the head
        self.go_on = threading.Event()
        self.tired_of_waiting = False

    def stand_still(self) -> None:
        self.tired_of_waiting |= not self.go_on.wait(60.0)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        asked = self.headers.get("Range")
        self.server.ranges.append((path, asked))
        data = self.server.files.get(path)
        if self.server.stand_still_after == -1:
            self.server.stand_still()
        if data is None:
            self.send_error(404)
            return
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        start = 0
        if asked and self.server.with_ranges and self.headers.get("If-Range") == tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = len(data)
        if self.server.break_after is not None:
            end, self.server.break_after = start + self.server.break_after, None
        if self.server.stand_still_after is not None and self.server.stand_still_after >= 0:
            self.wfile.write(data[start : start + self.server.stand_still_after])
            self.server.stand_still()
            return
        self.wfile.write(data[start:end])

    def log_message(self, *arguments: object) -> None:
        """Nothing on the test's output."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.files = {"/tiny/config.json": CONFIG, "/tiny/model.safetensors": weights()}
        yield running
        running.shutdown()
        thread.join()


def left(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


DONE = {"checkpoints/tiny/config.json", "checkpoints/tiny/model.safetensors"}


def test_weights_and_the_configuration_beside_them(server: Server, tmp_path: Path) -> None:
    listener = Listener()
    url = server.url("/tiny/model.safetensors")
    digest = hashlib.sha256(weights()).hexdigest().upper()
    folder = downloads.download_checkpoint(tmp_path, url, listener, sha256=f"sha256:{digest}")
    assert folder == tmp_path / "checkpoints" / "tiny" and left(tmp_path) == DONE
    assert (folder / "model.safetensors").read_bytes() == weights()
    assert listener.shares == sorted(listener.shares[:3]) + listener.shares[3:] and listener.shares[-1] == 1.0
    assert listener.lines[-1] == "Checkpoint tiny is ready"


def test_a_broken_download_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.break_after = 300_000
    url = server.url("/tiny/model.safetensors")
    with pytest.raises(downloads.DownloadError, match=r"[Tt]ry again"):
        downloads.download_checkpoint(tmp_path, url, Listener())
    have = (tmp_path / "checkpoints" / ".tiny.safetensors.part").stat().st_size
    assert 0 < have <= 300_000
    assert downloads.list_checkpoints(tmp_path / "none", tmp_path) == []
    downloads.download_checkpoint(tmp_path, url, Listener())
    assert server.ranges[1] == ("/tiny/model.safetensors", f"bytes={have}-")
    assert left(tmp_path) == DONE
    assert (tmp_path / "checkpoints" / "tiny" / "model.safetensors").read_bytes() == weights()


def test_a_cancelled_download_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    class GivesUp(Listener):
        def tell(self, line: str, progress: float | None = None) -> None:
            self.give_up = progress is not None and 0 < progress < 1

    url = server.url("/tiny/model.safetensors")
    with pytest.raises(KeyboardInterrupt):
        downloads.download_checkpoint(tmp_path, url, GivesUp())
    downloads.download_checkpoint(tmp_path, url, Listener())
    assert server.ranges[1][1] is not None and left(tmp_path) == DONE


@pytest.mark.parametrize("with_ranges", [True, False])
def test_a_file_that_changed_meanwhile_is_fetched_anew(server: Server, tmp_path: Path, with_ranges: bool) -> None:
    server.break_after = 300_000
    url = server.url("/tiny/model.safetensors")
    with pytest.raises(downloads.DownloadError):
        downloads.download_checkpoint(tmp_path, url, Listener())
    server.with_ranges = with_ranges
    server.files["/tiny/model.safetensors"] = weights(fill=b"n")
    folder = downloads.download_checkpoint(tmp_path, url, Listener())
    assert (folder / "model.safetensors").read_bytes() == weights(fill=b"n")


def test_all_had_come_but_the_configuration(server: Server, tmp_path: Path) -> None:
    """The weights are not fetched twice when only the small file failed."""
    url = server.url("/tiny/model.safetensors?download=true")
    del server.files["/tiny/config.json"]
    with pytest.raises(downloads.DownloadError, match=r"config\.json.* must be there, beside the weights, got 404"):
        downloads.download_checkpoint(tmp_path, url, Listener())
    server.files["/tiny/config.json"] = CONFIG
    size = len(weights())
    downloads.download_checkpoint(tmp_path, url, Listener())
    assert ("/tiny/model.safetensors", f"bytes={size}-") in server.ranges and left(tmp_path) == DONE


def test_a_wrong_hash_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(downloads.DownloadError, match=f"SHA-256 of .* must be {'0' * 64}, got [0-9a-f]{{64}}"):
        downloads.download_checkpoint(tmp_path, server.url("/tiny/model.safetensors"), Listener(), sha256="0" * 64)
    assert left(tmp_path) == set()


def test_a_zip(server: Server, tmp_path: Path) -> None:
    """Only what belongs to a checkpoint is taken, from whichever folder; a path that leads out is not followed."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("x/config.json", CONFIG)
        archive.writestr("x/model.safetensors", weights())
        archive.writestr("x/README.md", "about")
        archive.writestr("../../evil.py", "raise SystemExit")
        archive.writestr("x/run.exe", "no")
    server.files["/some%20model!.zip"] = memory.getvalue()
    folder = downloads.download_checkpoint(tmp_path, server.url("/some%20model!.zip"), Listener())
    assert folder.name == "some-model"
    assert left(tmp_path) == {
        f"checkpoints/some-model/{name}" for name in ("config.json", "model.safetensors", "README.md")
    }
    assert not (tmp_path.parent / "evil.py").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no zip", "the zip can't be read"),
        (zipped(config_json=CONFIG), "must have model.safetensors beside config.json"),
        (zipped(readme=b"x"), "must have one config.json, got 0"),
    ],
)
def test_a_wrong_zip_leaves_nothing(server: Server, tmp_path: Path, data: bytes, message: str) -> None:
    server.files["/a.zip"] = data
    with pytest.raises(downloads.DownloadError, match=message):
        downloads.download_checkpoint(tmp_path, server.url("/a.zip"), Listener())
    assert left(tmp_path) == set()


@pytest.mark.parametrize(
    ("config", "data", "message"),
    [
        (b"{}", weights(), "config.json is not a FlashMesh configuration"),
        (b'{"model": 3}', weights(), 'must have an object "model", got int'),
        (CONFIG, weights()[:-1], r"the weights must have \d+ bytes as their header says, got \d+"),
        (CONFIG, b"<html>no such file</html>", "the weights are no safetensors file"),
        (CONFIG, b"abc", "the weights are no safetensors file"),
    ],
)
def test_what_is_no_checkpoint_is_refused(
    server: Server, tmp_path: Path, config: bytes, data: bytes, message: str
) -> None:
    server.files = {"/tiny/config.json": config, "/tiny/model.safetensors": data}
    with pytest.raises(downloads.DownloadError, match=message):
        downloads.download_checkpoint(tmp_path, server.url("/tiny/model.safetensors"), Listener())
    assert not (tmp_path / "checkpoints" / "tiny").exists()
    assert not (tmp_path / "checkpoints" / ".tiny.new").exists()


def test_giving_up_takes_effect_while_nothing_comes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server sends a head and some bytes, then stands still until it is told to go on."""
    monkeypatch.setattr(downloads, "_TIMEOUT", 600.0)
    url = server.url("/tiny/model.safetensors")
    server.stand_still_after = 1_000

    class GivesUp(Listener):
        def tell(self, line: str, progress: float | None = None) -> None:
            self.give_up = self.give_up or (progress or 0) > 0

    with pytest.raises(KeyboardInterrupt):
        downloads.download_checkpoint(tmp_path, url, GivesUp())
    assert not server.tired_of_waiting
    server.go_on.set()
    server.stand_still_after = None
    downloads.download_checkpoint(tmp_path, url, Listener())
    assert left(tmp_path) == DONE


def test_giving_up_takes_effect_before_the_head_comes(server: Server, tmp_path: Path) -> None:
    server.stand_still_after = -1
    listener = Listener()
    threading.Timer(0.2, lambda: setattr(listener, "give_up", True)).start()
    with pytest.raises(KeyboardInterrupt):
        downloads.download_checkpoint(tmp_path, server.url("/tiny/model.safetensors"), listener)
    assert not server.tired_of_waiting
    server.go_on.set()


def test_damaged_archives_are_errors_with_a_remedy_and_the_next_try_starts_clean(
    server: Server, tmp_path: Path
) -> None:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", CONFIG)
        archive.writestr("model.safetensors", weights())
    whole, url = memory.getvalue(), server.url("/tiny.zip")
    for at in range(40, len(whole), max(1, len(whole) // 60)):
        broken = bytearray(whole)
        broken[at] ^= 0x5A
        server.files["/tiny.zip"] = bytes(broken)
        try:
            downloads.download_checkpoint(tmp_path, url, Listener())
        except downloads.DownloadError as error:
            assert left(tmp_path) == set(), error
        else:  # the byte is one that nothing depends on
            downloads.remove_checkpoint(tmp_path, str(tmp_path / "checkpoints" / "tiny"))
    server.files["/tiny.zip"] = whole
    downloads.download_checkpoint(tmp_path, url, Listener())
    assert left(tmp_path) == DONE


def test_nested_json_is_an_error_and_weights_that_fail_are_fetched_anew(server: Server, tmp_path: Path) -> None:
    nested = b"[" * 200_000
    url = server.url("/tiny/model.safetensors")
    server.files["/tiny/config.json"] = nested
    with pytest.raises(downloads.DownloadError, match=r"config\.json is not a FlashMesh configuration"):
        downloads.download_checkpoint(tmp_path, url, Listener())
    server.files["/tiny/config.json"] = CONFIG
    server.files["/tiny/model.safetensors"] = struct.pack("<Q", len(nested)) + nested
    with pytest.raises(downloads.DownloadError, match=r"no safetensors file.*what was downloaded is removed"):
        downloads.download_checkpoint(tmp_path / "other", url, Listener())
    assert left(tmp_path / "other") == set()
    server.files["/tiny/model.safetensors"] = weights()
    downloads.download_checkpoint(tmp_path / "other", url, Listener())
    assert left(tmp_path / "other") == DONE


@pytest.mark.parametrize(
    ("url", "name", "sha256", "message"),
    [
        ("", "", "", "URL must begin with https://, got ''"),
        ("ftp://host/a.zip", "", "", "URL must begin with https://"),
        ("file:///etc/a.zip", "", "", "URL must begin with https://"),
        ("https://host/a.bin", "", "", r"URL must end in \.zip or \.safetensors"),
        ("http://host.example/a.zip", "", "", "SHA-256 must be given"),
        ("https://host/a.zip", "", "abc", "SHA-256 must be 64 hexadecimal digits, got 'abc'"),
        ("https://host/a.zip", "../up", "", "Name must be 1 to 64 letters"),
        ("https://host/a.zip", "a.", "", "Name must be 1 to 64 letters"),
    ],
)
def test_wrong_requests(url: str, name: str, sha256: str, message: str) -> None:
    with pytest.raises(downloads.DownloadError, match=message):
        downloads.check_request(url, name, sha256)


def test_no_answer_and_a_name_that_is_taken(server: Server, tmp_path: Path) -> None:
    with pytest.raises(downloads.DownloadError, match="answered 404"):
        downloads.download_checkpoint(tmp_path, server.url("/none/model.safetensors"), Listener())
    downloads.download_checkpoint(tmp_path, server.url("/tiny/model.safetensors"), Listener())
    with pytest.raises(downloads.DownloadError, match="Name must be a new one, got 'tiny'"):
        downloads.download_checkpoint(tmp_path, server.url("/tiny/model.safetensors"), Listener())
    server.shutdown()
    server.server_close()
    with pytest.raises(downloads.DownloadError, match="broke"):
        downloads.download_checkpoint(tmp_path, server.url("/a.zip"), Listener())


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/org/chairs-2/resolve/main/model.safetensors", "chairs-2"),
        ("https://host/big%20one.zip?x=1", "big-one"),
        ("https://host/nano.safetensors", "nano"),
        ("https://host/model.safetensors", "checkpoint"),
    ],
)
def test_names(url: str, name: str) -> None:
    assert downloads.name_from_url(url) == name


def test_the_list(tmp_path: Path) -> None:
    bundled, user = tmp_path / "core", tmp_path / "user"
    for folder in (
        bundled / "nano",
        user / "checkpoints" / "b",
        user / "checkpoints" / "a",
        user / "checkpoints" / ".x",
    ):
        folder.mkdir(parents=True)
        (folder / "config.json").write_bytes(CONFIG)
        (folder / "model.safetensors").write_bytes(weights(10))
    (bundled / "half").mkdir()
    (bundled / "half" / "config.json").write_bytes(CONFIG)
    entries = downloads.list_checkpoints(bundled, user)
    assert [(entry.name, entry.bundled) for entry in entries] == [("nano", True), ("a", False), ("b", False)]
    assert entries[0].value == "nano" and entries[1].value == str(user / "checkpoints" / "a")
    with pytest.raises(downloads.DownloadError, match="checkpoint must be one of those in"):
        downloads.remove_checkpoint(user, str(bundled / "nano"))
    downloads.remove_checkpoint(user, entries[1].value)
    assert [entry.name for entry in downloads.list_checkpoints(bundled, user)] == ["nano", "b"]
