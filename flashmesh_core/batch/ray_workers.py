"""Workers of a batch on a Ray cluster (the extra `scale`): one actor a CPU, or a GPU where the engine runs on those."""

from __future__ import annotations

import logging
from typing import Any

from flashmesh_core.batch.workers import Outcome, Remaker, WorkSettings
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import PointCloud


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
        kind = "GPU" if settings.device.startswith("cuda") else "CPU"
        total = int(ray.cluster_resources().get(kind, 0))
        if total < 1:
            raise ValueError(f"--ray must lead to a cluster with a {kind}, got {address!r}, which has none")
        needs: dict[str, Any] = {"num_cpus": 1, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        self._actor: Any = ray.remote(**needs, num_gpus=int(kind == "GPU"))(Remaker)
        self._settings = settings
        self._idle: list[Any] = [None] * min(count or total, total)
        self._busy: dict[Any, tuple[str, Any]] = {}  # by the reference to what is to come

    def free(self) -> int:
        """See Workers."""
        return len(self._idle)

    def give(self, key: str, source: Mesh | PointCloud) -> None:
        """See Workers."""
        actor = self._idle.pop() or self._actor.remote(self._settings)
        self._busy[actor.remake.remote(key, source)] = (key, actor)

    def wait(self) -> list[Outcome]:
        """See Workers."""
        ready, _ = self._ray.wait(list(self._busy), num_returns=1)
        outcomes = []
        for reference in ready:
            key, actor = self._busy.pop(reference)
            try:
                outcomes.append(self._ray.get(reference))
                self._idle.append(actor)
            except self._ray.exceptions.RayTaskError as error:  # of the engine's making: others would fare no better
                outcomes.append(Outcome(key, error=f"the worker failed: {error.cause}"))
                self._idle.append(None)
            except self._ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None) or error
                is_lost = not isinstance(error, self._ray.exceptions.ActorDiedError) or "__init__" not in str(error)
                outcomes.append(Outcome(key, error=None if is_lost else f"the engine cannot be loaded: {cause!s:.500}"))
                self._idle.append(None)
        return outcomes

    def close(self) -> None:
        """See Workers."""
        for actor in [*self._idle, *(actor for _, actor in self._busy.values())]:
            if actor is not None:
                self._ray.kill(actor)
        self._ray.shutdown()
