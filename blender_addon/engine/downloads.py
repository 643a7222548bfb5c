# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints: which are there, and how one is fetched from a URL. No Blender here; `requests` only to fetch.

A checkpoint is a folder with config.json and model.safetensors. A URL names either a .zip of these two or the
.safetensors file, beside which config.json lies. What has come is kept in a .part file, so that the next try goes
on from there; the folder appears under its name only when everything in it has been checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import re
import shutil
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from .engine_python import Reporter

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
EXTRA_FILES = ("README.md", "LICENSE", "LICENSE.txt", "NOTICE")  # taken along from a zip
FOLDER = "checkpoints"  # below the user folder
MAX_BYTES, MAX_CONFIG_BYTES, MAX_HEADER_BYTES = 64 << 30, 1 << 20, 100 << 20
_CHUNK = 1 << 18
_LOOK_UP = 0.1  # seconds between two looks at whether the user has given up
_TIMEOUT = 30.0  # seconds to connect, and of silence
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class DownloadError(Exception):
    """What went wrong and what to do, to be shown as it stands."""


@dataclass(frozen=True)
class CheckpointEntry:
    """One row of the list: what to show, and what the preference `checkpoint` is set to."""

    name: str
    value: str
    size: int  # bytes of weights
    bundled: bool


def list_checkpoints(bundled: Path, user_folder: Path) -> list[CheckpointEntry]:
    """The bundled checkpoints (subfolders of `bundled`), then the user's own, each sorted by name."""
    entries = []
    for folder, is_bundled in ((bundled, True), (user_folder / FOLDER, False)):
        for path in sorted(folder.glob(f"[!.]*/{CONFIG_FILE}")):
            weights = path.with_name(WEIGHTS_FILE)
            if weights.is_file():
                name = path.parent.name
                value = name if is_bundled else str(path.parent)
                entries.append(CheckpointEntry(name, value, weights.stat().st_size, is_bundled))
    return entries


def name_from_url(url: str) -> str:
    """A name for the checkpoint of a URL: of the file, or of what lies above where the file says nothing."""
    parts = [unquote(part) for part in urlsplit(url).path.split("/") if part]
    words = [re.sub(r"\.(zip|safetensors)$", "", part, flags=re.IGNORECASE) for part in reversed(parts)]
    for word in words:
        word = re.sub(r"[^A-Za-z0-9._-]+", "-", word).strip("-._")[:64]
        if word.lower() not in ("", "model", "main", "master", "resolve", "raw", "download", "blob"):
            return word
    return "checkpoint"


def check_request(url: str, name: str, sha256: str) -> tuple[str, str, str]:
    """The URL, name and hash in their usual form; a DownloadError names the field, what it may be and its value."""
    url, name, sha256 = url.strip(), name.strip(), re.sub(r"^sha256:", "", sha256.strip().lower())
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host:
        raise DownloadError(f"URL must begin with https://, got {url!r:.200}")
    if not parts.path.lower().endswith((".zip", ".safetensors")):
        raise DownloadError(f"URL must end in .zip or .safetensors, got {url!r:.200}")
    if sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise DownloadError(f"SHA-256 must be 64 hexadecimal digits, got {sha256!r:.80}")
    if parts.scheme == "http" and not sha256 and host not in ("127.0.0.1", "::1", "localhost"):
        raise DownloadError("SHA-256 must be given for a URL that begins with http://, which anyone may alter")
    name = name or name_from_url(url)
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise DownloadError(f"Name must be 1 to 64 letters, digits, dots, dashes or underscores, got {name!r:.80}")
    return url, name, sha256


def download_checkpoint(user_folder: Path, url: str, task: Reporter, *, name: str = "", sha256: str = "") -> Path:
    """Fetches the checkpoint of `url` and returns its folder.

    `sha256` is of the file that the URL names; empty: not checked. Raises DownloadError, or what `task.check`
    raises; what has come until then is kept for the next try with the same URL.
    """
    url, name, sha256 = check_request(url, name, sha256)
    target = user_folder / FOLDER / name
    if target.exists():
        raise DownloadError(f"Name must be a new one, got {name!r}, which is in {target.parent}: remove it or rename")
    target.parent.mkdir(parents=True, exist_ok=True)
    kind = ".zip" if urlsplit(url).path.lower().endswith(".zip") else ".safetensors"
    part = target.parent / f".{name}{kind}.part"
    fetch(url, part, task)
    if sha256:
        task.tell("Checking SHA-256", None)
        got = file_sha256(part, task)
        if got != sha256:
            _forget(part)
            raise DownloadError(f"SHA-256 of {url} must be {sha256}, got {got}; what was downloaded is removed")
    staging = target.parent / f".{name}.new"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        if kind == ".zip":
            _unpack(part, staging, task)
        else:
            try:
                check_weights(part)
            except DownloadError as error:
                _forget(part)  # the same bytes would fail again
                raise DownloadError(f"{error}; what was downloaded is removed, try again") from None
            config = _fetch_small(_beside(url, CONFIG_FILE), task)
            (staging / CONFIG_FILE).write_bytes(config)
            check_config(staging / CONFIG_FILE)
            os.replace(part, staging / WEIGHTS_FILE)
        check_config(staging / CONFIG_FILE)
        check_weights(staging / WEIGHTS_FILE)
        os.replace(staging, target)
    except DownloadError:
        if kind == ".zip" or not part.exists():
            _forget(part)  # the same bytes would fail again
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _forget(part)
    task.tell(f"Checkpoint {name} is ready", 1.0)
    return target


def fetch(url: str, part: Path, task: Reporter) -> None:
    """Fetches `url` into `part`, going on where an earlier try ended if the file there has not changed since."""
    have = part.stat().st_size if part.is_file() else 0
    validator = _read_state(part).get("validator", "") if _read_state(part).get("url") == url else ""
    if not have or not validator:
        have = 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with _requests_errors(url), Watched(url, headers, task) as watched:
        response = watched.response
        _check_redirect(url, response.url)
        if response.status_code == 416:  # all of it is here already, or what is here is of another file
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            if total == str(have):
                return
            _forget(part)
            raise DownloadError(f"the file at {url} has changed: try again")
        if response.status_code not in (200, 206):
            raise DownloadError(f"{url} answered {response.status_code} {response.reason}")
        resumed = response.status_code == 206 and _starts_at(response.headers.get("Content-Range", ""), have)
        if response.status_code == 206 and not resumed:
            raise DownloadError(f"{url} answered with another part than the one asked for: try again")
        have = have if resumed else 0
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdigit() else None
        _check_room(url, part, total, have)
        tag = response.headers.get("ETag", "")
        validator = response.headers.get("Last-Modified", "") if tag.startswith("W/") or not tag else tag
        _write_state(part, {"url": url, "validator": validator})
        task.tell(f"Going on at {have / 1e6:.1f} MB" if have else f"Downloading {url}", have / total if total else None)
        with open(part, "ab" if resumed else "wb") as file:
            for chunk in watched:
                have += len(chunk)
                if have > MAX_BYTES:
                    raise DownloadError(f"{url} must be at most {MAX_BYTES >> 30} GiB")
                file.write(chunk)
                task.tell("", have / total if total else None)
    if total is not None and have != total:
        raise DownloadError(f"the connection broke after {have} of {total} bytes: try again, it goes on from there")


class Watched:
    """A response that is read in a thread of its own, so that giving up takes effect while nothing comes.

    Iterating gives the body in pieces as they come. Raises what `task.check` and requests raise.
    """

    def __init__(self, url: str, headers: dict[str, str], task: Reporter) -> None:
        self._url, self._headers, self._task = url, headers, task
        self._pieces: queue.Queue[Any] = queue.Queue(maxsize=8)
        self._ended = threading.Event()
        self.response: Any = None

    def __enter__(self) -> Watched:
        threading.Thread(target=self._read, name="flashmesh-download", daemon=True).start()
        self.response = self._next()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()  # the thread closes the response: here that would wait for what it reads

    def __iter__(self) -> Iterator[bytes]:
        while (piece := self._next()) is not None:
            yield piece

    def _next(self) -> Any:
        while True:
            self._task.check()
            with contextlib.suppress(queue.Empty):
                piece = self._pieces.get(timeout=_LOOK_UP)
                if isinstance(piece, BaseException):
                    raise piece
                return piece

    def _read(self) -> None:
        import requests

        try:
            with requests.get(self._url, headers=self._headers, stream=True, timeout=_TIMEOUT) as response:
                self._put(response)
                read = getattr(response.raw, "read1", response.raw.read)
                while piece := read(_CHUNK):
                    self._put(piece)
                    if self._ended.is_set():
                        return
                self._put(None)
        except BaseException as error:  # the caller raises it
            self._put(error)

    def _put(self, piece: Any) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                self._pieces.put(piece, timeout=_LOOK_UP)
                return


def check_config(config: Path) -> None:
    """Raises DownloadError unless the file is a configuration."""
    try:
        model = json.loads(config.read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}"
        raise DownloadError(f"{CONFIG_FILE} is not a FlashMesh configuration ({why})") from None
    if not isinstance(model, dict):
        raise DownloadError(f'{CONFIG_FILE} must have an object "model", got {type(model).__name__}')


def check_weights(weights: Path) -> None:
    """Raises DownloadError unless the file has all the weights that its header promises."""
    size = weights.stat().st_size
    try:
        with open(weights, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(MAX_HEADER_BYTES, size):
                raise ValueError("its header is too long")
            header = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        needed = 8 + length + max(ends)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise DownloadError(f"the weights are no safetensors file: {error}") from None
    if size != needed:
        raise DownloadError(f"the weights must have {needed} bytes as their header says, got {size}")


def file_sha256(path: Path, task: Reporter) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    digest, size, done = hashlib.sha256(), max(1, path.stat().st_size), 0
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            task.check()
            digest.update(block)
            done += len(block)
            task.tell("", done / size)
    return digest.hexdigest()


def remove_checkpoint(user_folder: Path, value: str) -> None:
    """Removes a downloaded checkpoint; a DownloadError for any other folder."""
    path = Path(value)
    if path.parent != user_folder / FOLDER or not (path / CONFIG_FILE).is_file():
        raise DownloadError(f"checkpoint must be one of those in {user_folder / FOLDER}, got {value!r}")
    shutil.rmtree(path)


def _unpack(archive: Path, folder: Path, task: Reporter) -> None:
    """The files of a checkpoint out of a zip, wherever in it they lie; nothing else of it is written."""
    try:
        with zipfile.ZipFile(archive) as opened:
            inside = {item.filename: item for item in opened.infolist() if not item.is_dir()}
            configs = [name for name in inside if name.rpartition("/")[2] == CONFIG_FILE]
            if len(configs) != 1:
                raise DownloadError(f"the zip must have one {CONFIG_FILE}, got {len(configs)}")
            base = configs[0].rpartition("/")
            prefix = base[0] + base[1]
            if prefix + WEIGHTS_FILE not in inside:
                raise DownloadError(f"the zip must have {WEIGHTS_FILE} beside {CONFIG_FILE}, got none")
            wanted = [inside[prefix + name] for name in (CONFIG_FILE, WEIGHTS_FILE)]
            wanted += [inside[prefix + name] for name in EXTRA_FILES if prefix + name in inside]
            for item in wanted:
                limit = MAX_BYTES if item.filename.endswith(WEIGHTS_FILE) else MAX_CONFIG_BYTES
                if item.file_size > limit:
                    raise DownloadError(f"{item.filename} must have at most {limit} bytes, got {item.file_size}")
                with opened.open(item) as source, open(folder / item.filename.rpartition("/")[2], "wb") as file:
                    while block := source.read(1 << 20):
                        task.check()
                        file.write(block)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise DownloadError(f"the zip can't be read: {error}; what was downloaded is removed, try again") from None


def _fetch_small(url: str, task: Reporter) -> bytes:
    with _requests_errors(url), Watched(url, {"Accept-Encoding": "identity"}, task) as watched:
        response = watched.response
        _check_redirect(url, response.url)
        if response.status_code != 200:
            why = f"{response.status_code} {response.reason}"
            raise DownloadError(f"{url} must be there, beside the weights, got {why}")
        data = b""
        for chunk in watched:
            data += chunk
            if len(data) > MAX_CONFIG_BYTES:
                raise DownloadError(f"{url} must have at most {MAX_CONFIG_BYTES} bytes")
        return data


@contextlib.contextmanager
def _requests_errors(url: str) -> Iterator[None]:
    import requests
    import urllib3

    try:
        yield
    except requests.Timeout:
        raise DownloadError(f"{url} did not answer in {_TIMEOUT:g} s: try again, it goes on from there") from None
    except requests.exceptions.SSLError as error:
        raise DownloadError(f"the certificate of {url} is not trusted: {error}") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise DownloadError(f"the download of {url} broke: {error}. Try again, it goes on from there") from None


def _check_redirect(url: str, final: str) -> None:
    if url.startswith("https://") and not final.startswith("https://"):
        raise DownloadError(f"{url} leads to {final}, which is not encrypted")


def _check_room(url: str, part: Path, total: int | None, have: int) -> None:
    if total is not None and total > MAX_BYTES:
        raise DownloadError(f"{url} must be at most {MAX_BYTES >> 30} GiB, got {total} bytes")
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise DownloadError(f"{part.parent} must have {total - have} bytes free, got {free}")


def _starts_at(content_range: str, position: int) -> bool:
    return re.match(rf"bytes {position}-\d+/", content_range) is not None


def _beside(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rpartition('/')[0]}/{name}"))


def _state_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_state(part: Path) -> dict[str, Any]:
    try:
        state = json.loads(_state_file(part).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


def _write_state(part: Path, state: dict[str, Any]) -> None:
    _state_file(part).write_text(json.dumps(state), encoding="utf-8")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _state_file(part).unlink(missing_ok=True)
