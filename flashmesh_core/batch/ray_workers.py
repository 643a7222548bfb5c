"""Workers of a batch on a Ray cluster (the extra `scale`): one actor a CPU, or a GPU where the engine runs on those."""

from __future__ import annotations

import logging
from typing import Any

from flashmesh_core.batch.workers import Outcome, Remaker, WorkSettings
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import PointCloud

_LOOK_UP = 2.0  # seconds between two looks at whether the cluster has become smaller


class RayWorkers:
    """Actors on the cluster at `address`, as many as its CPUs (or GPUs) unless `count` says; see batch.workers.Workers.

    flashmesh must be installed on every node, in one version. Raises ValueError where there is no Ray or no cluster.
    """

    def __init__(self, address: str, count: int | None, settings: WorkSettings) -> None:
        try:
            import ray
        except ModuleNotFoundError:
            raise ValueError("--ray needs Ray, which is not installed: pip install 'flashmesh[scale]'") from None
        self._ray = ray
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise ValueError(f"--ray must be the address of a Ray cluster, got {address!r} ({error!s:.200})") from error
        self._kind = "GPU" if settings.device.startswith("cuda") else "CPU"
        if self._places() < 1:
            raise ValueError(f"--ray must lead to a cluster with a {self._kind}, got {address!r}, which has none")
        needs: dict[str, Any] = {"num_cpus": 1, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        self._actor: Any = ray.remote(**needs, num_gpus=int(self._kind == "GPU"))(Remaker)
        self._settings, self._count = settings, count
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[str, Any]] = {}  # by the reference to what is to come

    def _places(self) -> int:
        """How many actors the cluster has room for, which changes as nodes come and go."""
        return int(self._ray.cluster_resources().get(self._kind, 0))

    def free(self) -> int:
        """See Workers."""
        places = self._places()
        return (places if self._count is None else min(self._count, places)) - len(self._busy)

    def give(self, key: str, source: Mesh | PointCloud) -> None:
        """See Workers."""
        actor = self._idle.pop() if self._idle else self._actor.remote(self._settings)
        self._busy[actor.remake.remote(key, source)] = (key, actor)

    def wait(self) -> list[Outcome]:
        """See Workers; none after some seconds without one."""
        ready, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=_LOOK_UP)
        if not ready and len(self._idle) + len(self._busy) > self._places() and self._idle:
            self._ray.kill(self._idle.pop())  # a node is lost, and this one holds the place that another waits for
        outcomes = []
        for reference in ready:
            key, actor = self._busy.pop(reference)
            try:
                outcomes.append(self._ray.get(reference))
                self._idle.append(actor)
            except self._ray.exceptions.RayTaskError as error:  # of the engine's making: others would fare no better
                outcomes.append(Outcome(key, error=f"the worker failed: {error.cause}"))
            except self._ray.exceptions.ActorDiedError as error:
                is_lost = "raised in its creation task" not in str(error)
                why = None if is_lost else f"the engine cannot be loaded: {str(error).strip().splitlines()[-1]}"
                outcomes.append(Outcome(key, error=why))
            except self._ray.exceptions.RayError:  # its node does not answer, its result is gone with it, ...
                outcomes.append(Outcome(key))
        return outcomes

    def close(self) -> None:
        """See Workers."""
        for actor in [*self._idle, *(actor for _, actor in self._busy.values())]:
            if actor is not None:
                self._ray.kill(actor)
        self._ray.shutdown()
