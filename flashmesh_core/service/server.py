"""`python -m flashmesh_core serve`: the engine as a local process.

Prints one JSON line to stdout as soon as it listens, and nothing else there; text for people goes to stderr:

    {"event": "ready", "address": "http://127.0.0.1:41235", "token": "...", "pid": 4711, "protocol": 1,
     "version": "0.1.0"}

(on one line). Imports no torch and no engine until the first generation asks for it. protocol.py: the format.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import ipaddress
import json
import logging
import os
import re
import secrets
import socket
import stat
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flashmesh_core.service.protocol import PROTOCOL_VERSION, TOKEN_VARIABLE
from flashmesh_core.service.worker import PARALLEL, QUEUE_LIMIT, EngineFactory, EngineWorker

if TYPE_CHECKING:
    from flashmesh_core.service.connections import Limits

MIN_REMOTE_TOKEN = 16  # characters
EXIT_USAGE, EXIT_LACKS = 2, 3  # wrong arguments; a library is missing
_SERVICE_NEEDS = ("numpy", "starlette", "uvicorn")
_ENGINE_NEEDS = ("torch", "safetensors", "scipy")
_GRACE_SECONDS = 1.5  # for what runs to end by itself once the service is told to


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the `serve` command."""
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=0, help="port to listen on; 0, the default, takes a free one")
    add("--checkpoint", default="nano", help="bundled name, file or folder (default: %(default)s)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    add("--token", help=f"bearer token; default: ${TOKEN_VARIABLE}, else a random one. Other users of the "
        "machine can see command lines, not environments")  # fmt: skip
    add("--allow-remote", action="store_true", help="allow a --host other than loopback; needs a token of at "
        f"least {MIN_REMOTE_TOKEN} characters, and the traffic is not encrypted")  # fmt: skip
    add("--get-ready", action="store_true", help="load the engine at once, not when the first generation needs it")
    add("--idle-unload", type=float, metavar="SECONDS", help="drop the engine after SECONDS without work")
    add(
        "--queue",
        type=int,
        default=QUEUE_LIMIT,
        metavar="N",
        help="generations that may wait (default: %(default)s)",
    )
    add("--parallel", type=int, default=PARALLEL, metavar="N", help="generations that share the engine, pass by pass "
        "(default: %(default)s)")  # fmt: skip
    add("--deadline", type=float, metavar="SECONDS", help="end generations that name no deadline after SECONDS")
    add("--watch-stdin", action="store_true", help="end when stdin, a pipe, is closed: when the parent ends")


def run_serve(args: argparse.Namespace, factory: EngineFactory | None = None) -> int:
    """Serves until told to end; the exit status. `factory` makes the engine (default: `load_engine`)."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    lacking = missing_libraries(_SERVICE_NEEDS if factory is not None else _SERVICE_NEEDS + _ENGINE_NEEDS)
    if lacking:
        names = " ".join(lacking)
        return _complain(
            f"this Python lacks {names}; install with: {sys.executable} -m pip install {names}", EXIT_LACKS
        )
    worker = None
    try:
        token = choose_token(args.host, args.token, args.allow_remote)
        worker = EngineWorker(
            factory or load_engine,
            checkpoint=args.checkpoint,
            device=args.device,
            queue_limit=args.queue,
            parallel=args.parallel,
            deadline=args.deadline,
            idle_unload=args.idle_unload,
            get_ready=args.get_ready,
        )
        listener = listen(args.host, args.port)
    except ValueError as error:
        if worker is not None:
            worker.close()
        return _complain(str(error), EXIT_USAGE)
    service = Service(worker, listener, token=token)
    if args.watch_stdin:
        _watch_stdin(service)
    service.run(on_ready=_announce)
    if not worker.close(timeout=_GRACE_SECONDS):
        sys.stderr.flush()
        os._exit(0)  # the engine is inside a long call (loading, say) that nothing can interrupt
    return 0


class Service:
    """A worker behind HTTP on one listening socket. `run` blocks; `stop` may be called from any thread."""

    def __init__(
        self, worker: EngineWorker, listener: socket.socket, *, token: str, limits: Limits | None = None,
        **app_options: Any,
    ) -> None:  # fmt: skip
        import uvicorn

        from flashmesh_core.service.app import create_app
        from flashmesh_core.service.connections import Limits, bounded_protocol

        self.worker, self.token = worker, token
        host, port = listener.getsockname()[:2]
        self.address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.limits = limits or Limits()
        app_options |= {"hosts": host_test(host, port), "connections": self.open_connections}
        app = create_app(worker, token=token, version=version(), **app_options)
        config = uvicorn.Config(
            app,
            http=bounded_protocol(self.limits, token),
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._listener = listener
        self._server = _make_server(config, self)
        self._on_ready: Callable[[Service], None] = lambda service: None

    def run(self, on_ready: Callable[[Service], None] | None = None) -> None:
        """Serves until `stop` or a signal; calls `on_ready(self)` once it accepts connections."""
        self._on_ready = on_ready or self._on_ready
        try:
            self._server.run(sockets=[self._listener])
        except KeyboardInterrupt:  # uvicorn raises it again after a clean end
            pass
        finally:
            self.worker.close()

    def stop(self) -> None:
        """Cancels all work and ends `run` soon."""
        self._server.should_exit = True
        self.worker.close()

    def open_connections(self) -> int:
        """How many client connections there are at this moment."""
        return len(self._server.server_state.connections)

    def ready(self) -> None:
        """Tells whoever waits that connections are accepted."""
        self._on_ready(self)


def _make_server(config: Any, service: Service) -> Any:
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            service.ready()

        def handle_exit(self, sig: int, frame: Any) -> None:
            super().handle_exit(sig, frame)
            threading.Thread(target=service.stop, daemon=True).start()  # takes a lock: not within a handler

    return Server(config)


def load_engine(checkpoint: str, device: str) -> Any:
    """The engine of a bundled name, file or folder; "debug" has random weights and is for tests."""
    engine = importlib.import_module("..decode.engine", __package__)
    if checkpoint == "debug":
        return engine.Engine.random("debug", seed=0)
    return engine.load(checkpoint, device=device)


def choose_token(host: str, given: str | None, allow_remote: bool) -> str:
    """The bearer token of this launch: `given`, the environment's, or on loopback a random one.

    Raises ValueError for a host that is not loopback without `allow_remote` or without a long enough token.
    """
    token = given if given is not None else os.environ.get(TOKEN_VARIABLE)
    if token is not None and not re.fullmatch(r"[\x21-\x7e]{1,512}", token):
        raise ValueError("token must be 1 to 512 printable ASCII characters without spaces")
    if not is_loopback(host):
        if not allow_remote:
            raise ValueError(f"host must be loopback unless --allow-remote is given, got {host!r}")
        if token is None or len(token) < MIN_REMOTE_TOKEN:
            allowed = f"at least {MIN_REMOTE_TOKEN} characters where host is not loopback"
            raise ValueError(f"token must have {allowed}, got {0 if token is None else len(token)}")
    return token if token is not None else secrets.token_urlsafe(32)


def is_loopback(host: str) -> bool:
    """Whether `host` is "localhost" or a loopback address."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; ValueError if that host and port cannot be had."""
    if not 0 <= port <= 65_535:
        raise ValueError(f"port must be in [0, 65535], got {port}")
    host = "127.0.0.1" if host.lower() == "localhost" else host
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"host must be an address of this machine, got {host!r} ({error})") from None
    try:
        if sys.platform != "win32":  # there it would let another process take the port over
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ValueError(f"host and port must be free, got {host}:{port} ({error})") from None
    return listener


def host_test(host: str, port: int) -> Callable[[str], bool]:
    """The test for Host headers: the address itself with its port, and on loopback also "localhost".

    Listening on every address (0.0.0.0, ::) allows any IP address and this machine's name, with the port: a
    page in a browser can only have been led here by a name, and of those only our own is good.
    """
    literal = f"[{host}]" if ":" in host else host
    names = {literal}
    if is_loopback(host):
        names.add("localhost")
    unspecified = ipaddress.ip_address(host).is_unspecified
    if unspecified:
        names |= {"localhost", socket.gethostname().lower()}

    def allows(value: str) -> bool:
        value = value + ":80" if port == 80 and not value.endswith(":80") else value
        name, _, given = value.rpartition(":")
        if given != str(port):
            return False
        return name in names or (unspecified and _is_address(name))

    return allows


def missing_libraries(names: tuple[str, ...]) -> list[str]:
    """Those of `names` that this Python cannot find; imports none of them."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def version() -> str:
    """The version of this package, or "unknown" where it was never installed."""
    try:
        return importlib.metadata.version("flashmesh")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return True


def _announce(service: Service) -> None:
    facts = {"event": "ready", "address": service.address, "token": service.token, "pid": os.getpid()}
    line = json.dumps({**facts, "protocol": PROTOCOL_VERSION, "version": version()})
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    sys.stderr.write(f"FlashMesh serves on {service.address} (Ctrl+C ends it)\n")


def _complain(message: str, status: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return status


def _watch_stdin(service: Service) -> None:
    """Ends the service when stdin, a pipe or socket from the parent, is closed."""
    mode = os.fstat(0).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        sys.stderr.write("note: --watch-stdin has no effect, stdin is not a pipe\n")
        return
    pipe = _take_stdin()

    def watch() -> None:
        try:
            while os.read(pipe, 4096):  # not sys.stdin: its lock would be held while the interpreter ends
                pass
        except OSError:
            pass
        service.stop()
        threading.Event().wait(4 * _GRACE_SECONDS)
        os._exit(0)  # only reached if the clean end did not come

    threading.Thread(target=watch, name="flashmesh-stdin", daemon=True).start()


def _take_stdin() -> int:
    """Moves stdin to the descriptor returned, with the null device in its place.

    On Windows a library that looks at stdin while it is loaded, as those of torch and scipy do, would hang as long
    as another thread reads from it (numpy/numpy#24290, python/cpython#78961).
    """
    pipe, null = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return pipe
