"""Broken files, frames, checkpoints, configs and surfaces for some minutes: anything but a sentence is a finding.

    python benchmarks/fuzz.py --minutes 20 [--seed 0] [--only files]

Valid inputs are cut, spliced, filled and flipped, and read by the code that reads them in use. A case passes if it is
read, or refused by a ValueError (RequestError is one). Ends with one JSON line: cases and refusals by target, findings,
the slowest case, and the memory of the process after a tenth of the time and at the end, freed memory given back
before. Exit status 1 with findings.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flashmesh_core.checkpoint import load_model, save_checkpoint
from flashmesh_core.config import ModelConfig, preset
from flashmesh_core.decode.source import prepare_source
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import CLOUD_SUFFIXES, MESH_SUFFIXES, PointCloud, load_source, save_mesh, save_points
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.service import protocol
from flashmesh_core.service.memory import drop_memory, memory_in_use

HANG_SECONDS = 30
TARGETS = ("surfaces", "files", "frames", "checkpoints", "configs")
NUMBERS = [0, 1, -1, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1]
VALUES: list[Any] = [None, True, -1, 0, 1, 2**31, 2**64, 1e308, -0.0, "", "x" * 99, [], [[]], {}, {"a": 1}, [1, 2, 3]]


class Hang(BaseException):
    """A case that took too long."""


def mutate(data: bytes, chance: random.Random) -> bytes:
    """One to four changes of one kind or another."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(7)
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del changed[at:]
        elif kind == 2:
            del changed[at : at + chance.randint(1, 64)]
        elif kind == 3:
            changed[at:at] = chance.randbytes(chance.randint(1, 32))
        elif kind == 4:
            changed[at : at + 4] = struct.pack("<I", chance.choice(NUMBERS) & 0xFFFFFFFF)
        elif kind == 5:
            begin = chance.randrange(len(changed) + 1)
            changed[at:at] = changed[begin : begin + chance.randint(1, 200)]
        else:
            digits = [i for i, byte in enumerate(changed[:4000]) if 48 <= byte <= 57]
            if digits:
                where = chance.choice(digits)
                changed[where : where + 1] = str(chance.choice(NUMBERS)).encode()
    return bytes(changed)


def seed_files(folder: Path, mesh: Mesh, cloud: PointCloud) -> dict[str, bytes]:
    """A whole file of every format that is read, by name; written to `folder`."""
    files: dict[str, bytes] = {}
    for suffix in MESH_SUFFIXES:
        save_mesh(folder / f"mesh{suffix}", mesh)
        files[f"mesh{suffix}"] = (folder / f"mesh{suffix}").read_bytes()
    for suffix in CLOUD_SUFFIXES:
        save_points(folder / f"cloud{suffix}", cloud)
        files[f"cloud{suffix}"] = (folder / f"cloud{suffix}").read_bytes()
    return files


def checkpoint_target(folder: Path) -> Callable[[random.Random], None]:
    """Reads a tiny checkpoint, written to `folder`, of which config or header are broken."""
    tiny = preset("debug").to_dict() | {"name": "tiny", "dim": 16, "heads": 1, "face_layers": 1, "window": 9}
    tiny |= {"level_windows": None, "num_points": 16, "num_latents": 1, "encoder_layers": 0, "num_bins": 8}
    save_checkpoint(folder, Hourglass(ModelConfig.from_dict(tiny)))
    config, weights = (folder / name for name in ("config.json", "model.safetensors"))
    kept = config.read_bytes(), weights.read_bytes()
    load_model(folder)  # what is whole is read

    def checkpoint(chance: random.Random) -> None:
        config.write_bytes(kept[0] if chance.random() < 0.6 else mutate(kept[0], chance))
        head = 8 + struct.unpack("<Q", kept[1][:8])[0]
        weights.write_bytes(kept[1] if chance.random() < 0.2 else mutate(kept[1][:head], chance) + kept[1][head:])
        load_model(folder)

    return checkpoint


def break_fields(chance: random.Random) -> None:
    """Reads a config or options of which some fields have values that they should not have."""
    data: dict[str, Any] = preset("debug").to_dict()
    for _ in range(chance.randint(1, 3)):
        data[chance.choice([*data, "unknown"])] = chance.choice(VALUES)
    if chance.random() < 0.5:
        ModelConfig.from_dict(data)
        return
    protocol.check_options({chance.choice(["faces", "seed", "width", "deadline", "x"]): chance.choice(VALUES)})


def read_surface(chance: random.Random) -> None:
    """Prepares a source as none should be."""
    source = hostile_surface(chance)
    given = (source, None) if isinstance(source, Mesh) else (source.points, source.normals)
    prepare_source(*given, preset("debug"), faces=chance.choice([4, 50, 500]))


def make_targets(folder: Path) -> dict[str, Callable[[random.Random], None]]:
    """What is fuzzed, by name: a function that makes and reads one broken input."""
    x = np.random.default_rng(0)
    mesh = Mesh(x.normal(size=(12, 3)), np.array([[a, (a + 1) % 12, (a + 2) % 12] for a in range(12)]))
    cloud = PointCloud(x.normal(size=(40, 3)), np.tile([0.0, 0.0, 1.0], (40, 1)))
    seeds = seed_files(folder, mesh, cloud)
    frames = [
        protocol.encode_request(cloud.points, cloud.normals, {"faces": 100}),
        protocol.encode_request(mesh.vertices, None, {"seed": 1}, mesh.faces),
    ]

    def files(chance: random.Random) -> None:
        name = chance.choice(sorted(seeds))
        path = folder / f"broken{Path(name).suffix}"
        path.write_bytes(mutate(seeds[name], chance))
        load_source(path)

    def frame(chance: random.Random) -> None:
        protocol.decode_request(mutate(chance.choice(frames), chance))

    checkpoint = checkpoint_target(folder / "tiny")
    return dict(zip(TARGETS, (read_surface, files, frame, checkpoint, break_fields), strict=True))


def hostile_surface(chance: random.Random) -> Mesh | PointCloud:
    """A small source as none should be: points on a line, a plane or one place; soups, fans, copies, far away."""
    x = np.random.default_rng(chance.randrange(10**9))
    count = chance.choice([3, 16, 100, 1000])
    points = x.normal(size=(count, 3))
    kind = chance.randrange(6)
    if kind == 0:
        points[:, chance.randrange(3) :] = 0.0
    elif kind == 1:
        points = np.round(points * chance.choice([0, 1, 3]))
    elif kind == 2:
        points *= 10.0 ** chance.choice([-30, -8, 8, 30, 37])
    elif kind == 3:
        points = np.repeat(points[: count // 8 + 1], 8, axis=0)[:count]
    elif kind == 4:
        points += 10.0 ** chance.choice([3, 6, 12])
    if chance.random() < 0.4:
        return PointCloud(points, x.normal(size=(count, 3)) if chance.random() < 0.5 else None)
    faces = x.integers(0, len(points), (chance.choice([1, 20, 2000]), 3))
    if chance.random() < 0.3:
        faces[:, 0] = 0  # a fan of all of them
    if chance.random() < 0.3:
        faces[:, :2] = [0, 1]  # a book
    if chance.random() < 0.3:
        faces = np.concatenate([faces, faces[:, ::-1], faces])
    return Mesh(points, faces)


def compile_reading() -> None:
    """Compiles what reads surfaces, before the clock of a case runs."""
    for number in range(20):
        with contextlib.suppress(ValueError):
            read_surface(random.Random(number))


def resident() -> int | None:
    """Bytes in use, without garbage and what the allocator keeps."""
    drop_memory()
    return memory_in_use(False)["resident_bytes"]


def on_alarm(number: int, frame: object) -> None:
    """The handler of a case that hangs."""
    raise Hang


def main() -> int:
    """Fuzzes until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=TARGETS, help="one target alone")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    signal.signal(signal.SIGALRM, on_alarm)
    cases: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    findings: dict[str, str] = {}
    slowest, early = 0.0, None
    with tempfile.TemporaryDirectory() as folder:
        targets = make_targets(Path(folder))
        names = [args.only] if args.only else list(TARGETS)
        if "surfaces" in names:
            compile_reading()
        number, began = args.seed * 10**9, time.monotonic()
        while time.monotonic() - began < 60.0 * args.minutes:
            number += 1
            name = names[number % len(names)]
            start = time.monotonic()
            signal.alarm(HANG_SECONDS)
            try:
                targets[name](random.Random(number))
            except ValueError:
                refused[name] += 1
            except BaseException as error:
                findings.setdefault(f"{name}: {type(error).__name__}: {str(error)[:200]}", f"case {number}")
            signal.alarm(0)
            cases[name] += 1
            slowest = max(slowest, time.monotonic() - start)
            if early is None and time.monotonic() - began > 6.0 * args.minutes:
                early = resident()
    memory = {"early": early, "end": resident()}
    told = {
        "seconds": round(time.monotonic() - began),
        "cases": cases,
        "refused": refused,
        "slowest": round(slowest, 2),
    }
    print(json.dumps({**told, "resident_bytes": memory, "findings": findings}))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
