"""A real service under load: mixed requests of several clients, and cancelling while four million triangles are read.

    python benchmarks/service_load.py [--requests 500] [--clients 8] [--triangles 4000000] [--cancels 5]

Ends with one JSON line: what the requests came to, the slowest answers of /health (beside the load, and while the large
source is sent and read), how long cancelling took, and the service's memory before, at its height, and after `unload`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flashmesh_core.client import EngineClient, EngineError, EngineProcess
from flashmesh_core.service import protocol


def watch_health(address: str, token: str, ended: Any, results: Any) -> None:
    """Asks for /health ten times a second; gives the seconds of each answer and the most memory. A process's own work,
    since this one is busy with packing arrays."""
    client, seconds, most = EngineClient(address, token), [], 0
    client.health()  # the first one imports what it needs
    while not ended.wait(0.1):
        began = time.monotonic()
        health = client.health()
        seconds.append(time.monotonic() - began)
        most = max(most, health["memory"]["resident_bytes"] or 0)
    results.put((seconds, most))


@contextmanager
def watched(client: EngineClient, token: str, told: dict[str, Any], name: str) -> Iterator[None]:
    """Watches /health meanwhile; figures in milliseconds."""
    context = multiprocessing.get_context("spawn")
    ended, results = context.Event(), context.Queue()
    process = context.Process(target=watch_health, args=(client.address, token, ended, results))
    process.start()
    try:
        yield
    finally:
        ended.set()
        seconds, most = results.get()
        process.join()
        values = np.sort(seconds) * 1000
        picks = {"median": 0.5, "p99": 0.99, "most": 1.0}
        at = {pick: min(int(share * len(values)), len(values) - 1) for pick, share in picks.items()}
        told[f"health_ms_{name}"] = {"answers": len(values)} | {
            pick: round(float(values[number]), 1) for pick, number in at.items()
        }
        told[f"memory_most_{name}"] = most


def torus(triangles: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and triangles of a torus with noise, as a scan has it."""
    side = int((triangles / 2) ** 0.5)
    u, v = np.meshgrid(*(np.arange(side) * 2 * np.pi / side,) * 2, indexing="ij")
    tube = 0.4 + np.random.default_rng(0).normal(0.0, 5e-4, u.shape)
    ring = 1.0 + tube * np.cos(v)
    vertices = np.stack([ring * np.cos(u), ring * np.sin(u), tube * np.sin(v)], axis=-1).reshape(-1, 3)
    a = np.arange(side * side).reshape(side, side)
    b, d = np.roll(a, -1, 0), np.roll(a, -1, 1)
    c = np.roll(b, -1, 1)
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return vertices.astype(np.float32), faces.astype(np.int32)


def one_request(client: EngineClient, token: str, chance: random.Random) -> str:
    """One of several kinds of request; what it came to."""
    kind = chance.choice(["mesh", "mesh", "cloud", "cloud", "cancel", "leave", "option", "garbage", "token", "health"])
    points = np.random.default_rng(chance.randrange(10**6)).normal(size=(chance.choice([16, 64, 500]), 3))
    vertices, faces = torus(chance.choice([50, 200, 5_000]))
    options = {
        "max_faces": chance.choice([2, 8, 40]),
        "seed": chance.randrange(100),
        "candidates": chance.choice([1, 1, 3]),
    }
    try:
        if kind == "health":
            return f"health {client.health()['state'] != ''}"
        if kind == "token":
            return f"token {requests.get(f'{client.address}/health', timeout=30).status_code}"
        if kind == "garbage":
            headers = {"Authorization": f"Bearer {token}", "Content-Type": protocol.CONTENT_TYPE}
            data = chance.randbytes(chance.randint(0, 5_000))
            answer = requests.post(f"{client.address}/v1/generate", data, headers=headers, timeout=60)
            return f"garbage {answer.status_code}"
        if kind == "option":
            client.generate(points, faces=0)
        given = {"triangles": faces} if kind != "cloud" else {}
        with client.generate(vertices if given else points, **given, **options) as stream:
            for number, event in enumerate(stream):
                if kind == "leave" and number == 2:
                    return "leave"
                if kind == "cancel" and number == 2:
                    stream.cancel()
                if event["kind"] == "end":
                    return f"{kind} end"
        return f"{kind} without an end"
    except EngineError as error:
        return f"{kind} {error.status}"


def load(client: EngineClient, token: str, count: int, clients: int) -> dict[str, int]:
    """`count` requests of `clients` threads; how often each came to what."""
    results: Counter[str] = Counter()
    numbers = iter(range(count))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            came_to = one_request(client, token, random.Random(number))
            with lock:
                results[came_to] += 1

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return dict(sorted(results.items()))


def cancel_while_reading(client: EngineClient, surface: tuple[np.ndarray, np.ndarray], cancels: int) -> list[float]:
    """Seconds from a cancel to the end of its stream, each after another time of reading."""
    vertices, faces = surface
    took = []
    for number in range(cancels):
        with client.generate(vertices, triangles=faces, faces=500) as stream:
            next(event for event in stream if event["kind"] == "encoding")
            time.sleep(4.0 * number)  # into another stage of the reading
            began = time.monotonic()
            stream.cancel()
            list(stream)
            took.append(round(time.monotonic() - began, 2))
    return took


def main() -> int:
    """Runs all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--triangles", type=int, default=4_000_000)
    parser.add_argument("--cancels", type=int, default=5)
    args = parser.parse_args()
    told: dict[str, Any] = {}
    with EngineProcess.start(checkpoint="debug", timeout=300.0, arguments=("--queue", "64")) as process:
        client = process.client
        vertices, faces = torus(200)
        with client.generate(vertices, triangles=faces, max_faces=2) as stream:
            list(stream)  # loads and compiles
        told["memory_before"] = client.health()["memory"]["resident_bytes"]
        if args.requests:
            with watched(client, process.token, told, "under_load"):
                began = time.monotonic()
                told["requests"] = load(client, process.token, args.requests, args.clients)
                told["seconds"] = round(time.monotonic() - began)
        if args.cancels:
            surface = torus(args.triangles)
            with watched(client, process.token, told, "while_reading"):
                told["cancel_seconds"] = cancel_while_reading(client, surface, args.cancels)
            time.sleep(2.0)
            told["memory_after_reading"] = client.health()["memory"]["resident_bytes"]
        health = client.health()
        told |= {"restarts": health["restarts"], "state": health["state"], "queued": health["queued"]}
        client.unload()
        told["memory_unloaded"] = client.health()["memory"]["resident_bytes"]
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
