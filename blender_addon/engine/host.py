# SPDX-License-Identifier: GPL-3.0-or-later
"""The one engine that Blender has at a time: made from the preferences, asked how it is, ended."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import bpy

from flashmesh_core.service.protocol import EngineError

from . import settings
from .backend import EngineChoice, make_engine
from .generation import Engine

_REFRESH_SECONDS = 2.0
_EXIT_SECONDS = 1.0

_choice: EngineChoice | None = None
_engine: Engine | None = None
_threads: list[threading.Thread] = []
_refresh_at = 0.0  # when the engine's health may be asked for again
message = ""  # what went wrong when it was last started, stopped or freed


def engine_choice(context: bpy.types.Context | None = None) -> EngineChoice:
    """What the preferences name; raises ValueError with a sentence where they name nothing usable."""
    wanted = settings.get_preferences(context)
    common: dict[str, Any] = {"backend": wanted.backend}
    if wanted.backend == "ADDRESS":
        return EngineChoice(
            **common, address=wanted.address, token=wanted.token, online=getattr(bpy.app, "online_access", True)
        )
    checkpoint = wanted.checkpoint.strip() or "nano"
    common |= {
        "device": wanted.device.lower(),
        "checkpoint": bpy.path.abspath(checkpoint),
        "idle_minutes": wanted.idle_minutes,
        "cache": settings.kernel_cache(inside=wanted.backend == "IN_PROCESS"),
    }
    if wanted.backend == "LOCAL":
        common["python"] = settings.resolve_engine_python(wanted)
    return EngineChoice(**common)


def problem(context: bpy.types.Context) -> str:
    """Why no engine can be had, as a sentence, or ''. Quick: for every redraw."""
    try:
        return engine_choice(context).problem()
    except (ValueError, OSError) as error:
        return str(error)


def engine(context: bpy.types.Context | None = None) -> Engine:
    """The engine of the preferences as they are; one of other preferences is ended. Raises ValueError."""
    global _choice, _engine
    wanted = engine_choice(context)
    if _engine is None or wanted != _choice:
        if _engine is not None:
            _spawn(_engine.stop)
        _engine, _choice = make_engine(wanted), wanted
    return _engine


def status() -> dict[str, Any]:
    """The state of the engine, at once; asks for its health in a thread if that is a while ago."""
    if _engine is None:
        return {"state": "stopped"}
    now = _engine.status()
    if now["state"] not in ("stopped", "starting") and time.monotonic() > _refresh_at:
        _refresh(_engine)
    return now


def trouble() -> str:
    """Why the engine last ended or could not be reached, or ''."""
    return message or (_engine.trouble if _engine is not None else "")


def act(context: bpy.types.Context, action: str) -> None:
    """START, STOP or FREE, in a thread; raises ValueError where there is no such engine."""
    global message
    wanted = engine(context)
    actions = {"START": wanted.start, "STOP": wanted.stop, "FREE": wanted.free}
    message = ""
    _spawn(actions[action])


def shutdown(timeout: float = _EXIT_SECONDS) -> None:
    """Ends the engine; waits for it, not longer than a few seconds."""
    global _choice, _engine
    ended, _engine, _choice = _engine, None, None
    if ended is not None:
        ended.stop(timeout)
    for thread in _threads:
        thread.join(timeout)
    _threads.clear()


def _spawn(action: Callable[[], Any]) -> None:
    def run() -> None:
        global message
        try:
            action()
        except EngineError as error:
            message = error.message

    _threads[:] = [thread for thread in _threads if thread.is_alive()]
    thread = threading.Thread(target=run, name="flashmesh-host", daemon=True)
    _threads.append(thread)
    thread.start()


def ask_again() -> None:
    """Sees to it that the engine's health is asked for at the next look, however soon that comes."""
    global _refresh_at
    _refresh_at = 0.0


def changing() -> bool:
    """Whether the engine's state is about to change by itself, or is being asked for."""
    state = status()["state"]
    return state in ("starting", "loading", "compiling", "busy") or any(thread.is_alive() for thread in _threads)


def _refresh(wanted: Engine) -> None:
    """Asks for the health of an engine in a thread."""
    global _refresh_at
    _refresh_at = math.inf  # one question at a time

    def ask() -> None:
        global _refresh_at
        try:
            wanted.refresh()
        finally:
            _refresh_at = time.monotonic() + _REFRESH_SECONDS

    _spawn(ask)
