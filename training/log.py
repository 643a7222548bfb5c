"""The log of a training run."""

from __future__ import annotations

import csv
from pathlib import Path

LEVELS = ("main", "coordinate", "vertex", "face", "label")


class Log:
    """CSV always, TensorBoard where it is installed."""

    def __init__(self, out: Path) -> None:
        self.path = out / "log.csv"
        self.fields = [
            "step",
            "tokens",
            "seconds",
            "tokens_per_second",
            "loss",
            *LEVELS[1:],
            "val",
            "val_v0",
            "val_v1",
            "val_v2",
        ]
        if not self.path.exists():
            with self.path.open("w", newline="") as file:
                csv.writer(file).writerow(self.fields)
        try:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(out / "tensorboard"))
        except ImportError:
            self.writer = None

    def write(self, row: dict[str, float]) -> None:
        """Append a row; what it lacks stays empty."""
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow([row.get(field, "") for field in self.fields])
        if self.writer is not None:
            for name, value in row.items():
                self.writer.add_scalar(name, value, int(row["step"]))


def means(sums: dict[str, float]) -> dict[str, float]:
    """Sums and counts to nats a token (the main tokens' under "loss") and a label."""
    result = {}
    for level in LEVELS:
        if sums.get(f"{level}_count"):
            result["loss" if level == "main" else level] = sums[f"{level}_sum"] / sums[f"{level}_count"]
    return result
