"""The options of `train.py`: what a run learns from, how it steps, and when it saves and ends."""

from __future__ import annotations

import argparse
import math

from flashmesh_core.config import PRESETS
from flashmesh_core.evaluation.objects import check_families
from flashmesh_core.mesh.store import MAX_FACES
from flashmesh_core.sources import FAMILIES

RANGES = (
    ("steps", 1, 10**9), ("accumulate", 1, 4096), ("draft_every", 0, 10**6), ("draft_probability", 0.001, 1.0),
    ("minutes", 0.0, math.inf), ("ema", 0.0, 0.99999), ("procedural", 0.0, 1.0), ("damaged", 0.0, 1.0),
    ("workers", 0, 64),
    ("cooldown", 0, 10**9), ("warmup", 0, 10**9), ("lr", 1e-8, 1.0), ("muon_lr", 1e-8, 1.0),
    ("draft_weight", 0.0, 100.0), ("batch_tokens", 576, 10**7),
)  # fmt: skip


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """What the model learns from."""
    parser.add_argument(
        "--data", help="packed .npz, folder with meshes.npz, or folder of mesh files; default: procedural"
    )
    parser.add_argument("--readings", help="cache of readings of real sources (python -m training.readings)")
    parser.add_argument("--families", default=",".join(FAMILIES), help="of sources that readings are made of")
    parser.add_argument("--variants", type=int, default=1, help="readings of each family and mesh")
    parser.add_argument("--max-faces", type=int, default=MAX_FACES, help="leave larger meshes out")
    parser.add_argument("--cached-only", action="store_true", help="draw only from readings that are in the cache")
    parser.add_argument("--procedural", type=float, default=0.15, help="share of procedural shapes beside --data")
    stand_ins = "share of meshes that stand-ins for readings are made of"
    parser.add_argument("--damaged", type=float, default=0.0, help=stand_ins)
    parser.add_argument("--batch-tokens", type=int, default=4608, help="tokens of a micro-batch")
    parser.add_argument("--workers", type=int, default=1, help="data processes")


def add_step_arguments(parser: argparse.ArgumentParser) -> None:
    """What a step does: weights, optimizer, losses."""
    parser.add_argument("--weights", help="start from the weights of this checkpoint (a new run: fresh optimiser)")
    parser.add_argument("--drafts", metavar="N-M[-C]", help="tokens that the face, vertex and coordinate level draft")
    parser.add_argument("--freeze-backbone", action="store_true", help="train the draft heads alone")
    parser.add_argument("--optimizer", default="muon", choices=("muon", "adam"))
    parser.add_argument("--lr", type=float, default=2e-3, help="Adam's learning rate (the paper: 1e-4 at 30k steps)")
    parser.add_argument("--muon-lr", type=float, default=1.5e-2, help="Muon's learning rate")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--warmup", type=int, default=50, help="steps of linear warm-up")
    parser.add_argument("--cooldown", type=int, default=0, help="last steps over which the rate falls to zero")
    parser.add_argument("--accumulate", type=int, default=2, help="micro-batches a step")
    parser.add_argument("--draft-every", type=int, default=2, help="every n-th micro-batch trains the heads; 0: none")
    probability = "with which a split node trains them"
    parser.add_argument("--draft-probability", type=float, default=0.125, help=probability)
    add_former_name(parser, "--draft-share", "draft_probability")
    parser.add_argument("--draft-weight", type=float, default=1.0, help="weight of a drafted token (the paper: 1)")
    parser.add_argument("--precision", choices=("bf16", "float32"), help="default: bf16 where the device multiplies it")
    parser.add_argument("--ema", type=float, default=0.998, help="decay of the averaged weights that are exported")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Where a run goes, when it ends, and what it tells."""
    parser.add_argument("--out", default="runs/train", help="where checkpoints, logs and pictures go")
    parser.add_argument("--steps", type=int, default=100_000, help="optimiser steps in all")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this many minutes of this run")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in --out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint-minutes", type=float, default=5.0)
    parser.add_argument("--picture-minutes", type=float, default=15.0, help="between sample pictures; 0: none")
    parser.add_argument("--validate-every", type=int, default=200, help="steps between validations")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch's choice")
    parser.add_argument("--compile", action="store_true", help="torch.compile with static shapes")


def add_former_name(parser: argparse.ArgumentParser, flag: str, name: str) -> None:
    """`flag`, which help does not show, sets the number `name`."""
    parser.add_argument(flag, dest=name, type=float, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of a run, checked; ends the process with a message where one is wrong, as argparse does."""
    parser = argparse.ArgumentParser(description="Train a FlashMesh model")
    parser.add_argument("--preset", default="debug", choices=sorted(PRESETS), help="model preset")
    add_data_arguments(parser)
    add_step_arguments(parser)
    add_run_arguments(parser)
    args = parser.parse_args(arguments)
    for name, low, high in RANGES:
        if not low <= getattr(args, name) <= high:
            parser.error(f"--{name.replace('_', '-')} must be in [{low}, {high}], got {getattr(args, name)}")
    try:
        args.families = check_families(args.families.split(","))
    except ValueError as error:
        parser.error(f"--families: {error}")
    if args.cached_only and not args.readings:
        parser.error("--cached-only must come with --readings, got no cache")
    if args.freeze_backbone and args.draft_every != 1:
        parser.error(f"--draft-every must be 1 with --freeze-backbone, got {args.draft_every}")
    return args
