"""Counts of the service: kept by the worker, told as Prometheus text (version 0.0.4)."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

_RECENT = 64  # generations whose waits are told

_COUNTERS = {
    "submitted": "Generations that were taken into the queue.",
    "refused": "Generations refused because the queue was full.",
    "ended": "Generations that ended with a mesh.",
    "cancelled": "Generations that were cancelled.",
    "failed": "Generations that ended with an error.",
    "restarts": "Times that the engine's thread was started anew.",
    "faces": "Faces of the generations that are over.",
    "tokens": "Tokens of the generations that are over.",
}
_GAUGES = {
    "queued": "Generations that wait.",
    "queue_limit": "Generations that may wait.",
    "parallel": "Generations that may share the engine.",
    "longest_wait_seconds": "Seconds for which the first of those that wait has waited.",
    "mean_wait_seconds": "Mean wait of the last 64 generations that started.",
    "silent_seconds": "Seconds since the engine's thread last finished a step, while it works.",
}


class Counts:
    """What has happened since the service was started. Not locked: the worker's lock guards it."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter(dict.fromkeys(_COUNTERS, 0))
        self.wait_seconds = 0.0
        self._waits: deque[float] = deque(maxlen=_RECENT)

    def add(self, name: str, number: int = 1) -> None:
        """Counts something under one of the names above."""
        self.totals[name] += number

    def waited(self, seconds: float) -> None:
        """Notes how long a generation waited that starts."""
        self.wait_seconds += seconds
        self._waits.append(seconds)

    @property
    def mean_wait(self) -> float:
        """Seconds, of the last 64 generations that started; 0 before the first."""
        return sum(self._waits) / len(self._waits) if self._waits else 0.0


def prometheus_text(status: dict[str, Any], counts: Counts, memory: dict[str, int | None], connections: int) -> str:
    """All figures in the text format that Prometheus reads."""
    lines: list[str] = []

    def tell(name: str, kind: str, about: str, value: float) -> None:
        lines.extend((f"# HELP flashmesh_{name} {about}", f"# TYPE flashmesh_{name} {kind}"))
        lines.append(f"flashmesh_{name} {value:g}" if isinstance(value, float) else f"flashmesh_{name} {value}")

    for name, about in _COUNTERS.items():
        tell(f"{name}_total", "counter", about, counts.totals[name])
    tell("wait_seconds_total", "counter", "Seconds that generations waited before they started.", counts.wait_seconds)
    for name, about in _GAUGES.items():
        tell(name, "gauge", about, status[name])
    tell("running", "gauge", "Generations that share the engine now.", len(status["running"]))
    tell("engine_loaded", "gauge", "Whether an engine is in memory.", int(status["checkpoint"] is not None))
    tell("connections", "gauge", "Open connections.", connections)
    for name, value in memory.items():
        if value is not None:
            tell(f"memory_{name}", "gauge", f"Memory in use: {name.replace('_', ' ')}.", value)
    return "\n".join(lines) + "\n"
