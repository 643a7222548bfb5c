"""The state of a run on disk: two generations with checksums, and what may not change when a run goes on."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

from flashmesh_core.files import write_atomic

NEWEST, OLDER = "state.pt", "state.previous.pt"
SUMS = "state.sums.json"  # of both generations; written before they are moved, so that it always holds them
# What the steps of a run depend on, beside the data. The ends (--steps, --minutes, --cooldown) may change.
FIXED = (
    "seed", "optimizer", "lr", "muon_lr", "weight_decay", "warmup", "accumulate", "batch_tokens", "draft_every",
    "draft_probability", "draft_weight", "procedural", "damaged", "precision", "ema", "freeze_backbone", "families",
    "variants", "max_faces",
)  # fmt: skip

FORMER_NAMES = {"draft_share": "draft_probability"}  # of options, in the states of older runs


def has_state(folder: Path) -> bool:
    """Whether a folder holds the state of a run, of either generation."""
    return any((folder / name).is_file() for name in (NEWEST, OLDER))


def check_unused(folder: Path) -> None:
    """A ValueError where a folder holds the state of a run, which a new one would write over."""
    if has_state(folder):
        raise ValueError(f"--out must be a new folder, or --resume be given: {folder} holds the state of another run")


def check_alone() -> None:
    """A ValueError where several processes were started, as torchrun does."""
    count = os.environ.get("WORLD_SIZE", "1")
    if count != "1":
        raise ValueError(f"training runs in one process, got WORLD_SIZE {count}: start it without torchrun")


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """The options that must stay as they are, in plain types."""
    given = {name: getattr(args, name) for name in FIXED}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}


def check_settings(saved: dict[str, Any] | None, args: argparse.Namespace) -> None:
    """A ValueError that names the first option that is not as the run was started with; older states name none."""
    known = {FORMER_NAMES.get(name, name): value for name, value in (saved or {}).items()}
    for name, value in settings_of(args).items():
        was = known.get(name, value)
        if was != value:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} must be {was}, as the run was started with, to go on with --resume, got {value}")


def check_finite(weights: dict[str, torch.Tensor]) -> None:
    """A ValueError that names the first tensor with NaN or infinity."""
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"the weights must be finite to be saved, got NaN or infinity in {name}")


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a state as the newest generation; the one before stays. A ValueError says why it can't be written.

    At any moment at least one whole generation is there, whatever ends the process.
    """
    part, newest = folder / "state.part", folder / NEWEST
    try:
        torch.save(state, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        sums = {NEWEST: checksum(part), OLDER: checksum(newest) if newest.is_file() else None}
        write_atomic(folder / SUMS, json.dumps({"sha256": list(filter(None, sums.values()))}).encode())
        if newest.is_file():
            os.replace(newest, folder / OLDER)
        os.replace(part, newest)
    except (OSError, RuntimeError) as error:  # torch tells a full disk as a RuntimeError
        part.unlink(missing_ok=True)
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error).split("\n")[0]
        raise ValueError(
            f"the state of the run can't be written to {folder}: {why}; the one before is whole"
        ) from error


def load_state(folder: Path, device: str) -> dict[str, Any]:
    """The newest whole generation; says on stderr which were damaged. A ValueError where there is none."""
    names = [name for name in (NEWEST, OLDER) if (folder / name).is_file()]
    if not names:
        raise ValueError(f"--resume needs {folder / NEWEST}, which does not exist")
    known = _known_sums(folder)
    damaged = []
    for name in names:
        path = folder / name
        try:
            if known and checksum(path) not in known:
                raise ValueError("its checksum is wrong")
            state = torch.load(path, map_location=device, weights_only=True)
            if damaged:
                print(f"{'; '.join(damaged)}: going on from {path}, step {state['step']}", file=sys.stderr)
            return state
        except Exception as error:  # a damaged file makes the reader raise anything
            damaged.append(f"{path} is damaged ({str(error).splitlines()[0] if str(error) else type(error).__name__})")
    raise ValueError(f"--resume needs a whole state: {'; '.join(damaged)}")


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: Any) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 22):
        digest.update(block)
    return digest.hexdigest()


def _known_sums(folder: Path) -> set[str]:
    """The checksums of whole generations; none where a run of an older version wrote them."""
    try:
        return set(json.loads((folder / SUMS).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


class LossGuard:
    """Counts steps whose gradients are not finite, which are skipped, and says when to go back or to stop."""

    BACK, STOP = 3, 9  # in a row: every third goes back to the last good state, the ninth ends the run

    def __init__(self) -> None:
        self.skipped, self.in_a_row = 0, 0

    def good(self) -> None:
        """Notes a step that was taken."""
        self.in_a_row = 0

    def bad(self, step: int) -> bool:
        """Notes a step that was skipped; whether to go back to the last good state. A ValueError once it stays."""
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row >= self.STOP:
            raise ValueError(
                f"the loss is not a finite number at step {step}, {self.in_a_row} steps in a row and after going back "
                "to the last good state, which is kept: lower the learning rate, or look at the data"
            )
        return self.in_a_row % self.BACK == 0
