"""The engine that a worker holds: made when it is needed, compiled once, dropped with its memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from flashmesh_core.drafters import AUTO_DRAFTER
from flashmesh_core.service.generation import Generation
from flashmesh_core.service.memory import drop_memory
from flashmesh_core.service.reading import SMALL, Readers

EngineFactory = Callable[[str, str], Any]  # (checkpoint, device) -> an Engine


class EngineHolder:
    """At most one engine. Its fields may be read from any thread, its methods are the worker's own thread's."""

    def __init__(self, factory: EngineFactory, device: str) -> None:
        self.engine: Any = None
        self.checkpoint: str | None = None  # that `engine` was made from
        self.is_warm = False  # whether it has compiled what it runs
        self._factory, self._device = factory, device

    @property
    def device(self) -> str:
        """Where the engine's weights are, or where they are wanted."""
        engine = self.engine
        return self._device if engine is None else str(engine.device)

    def load(self, checkpoint: str) -> None:
        """Makes the engine of a checkpoint, after the present one is dropped."""
        self.drop()
        self.engine, self.is_warm = self._factory(checkpoint, self._device), False
        self.checkpoint = checkpoint

    def warm_up(self, readers: Readers, generation: Generation | None = None) -> None:
        """Lets the engine compile what a generation runs, or all generations where none is given.

        What reads large sources is compiled by the process that does so, which is then ready, too.
        """
        if generation is None:
            self.engine.warm_up()
            self.engine.warm_up_reading(readers.prepare_apart)
        else:
            using = readers.prepare_apart if generation.rows > SMALL else readers.prepare
            self.engine.warm_up(using, (generation.options.get("drafter") or AUTO_DRAFTER,))
        self.is_warm = True
        gc.freeze()  # looking through all that is loaded takes a third of a second, in which nobody is answered

    def forget(self) -> bool:
        """Lets go of the engine; whether there was one."""
        had_one = self.engine is not None
        self.engine, self.checkpoint = None, None
        return had_one

    def drop(self) -> bool:
        """As `forget`, and gives its memory back."""
        had_one = self.forget()
        if had_one:
            drop_memory()
        return had_one
