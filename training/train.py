"""Train a FlashMesh model: `python training/train.py --preset nano --data PATH --out runs/nano --minutes 60`.

Without --data it trains on procedural shapes, so that it needs nothing. Stop it with Ctrl-C or SIGTERM at any time;
`--resume` goes on bit for bit. See `--help` for every option.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# Two OpenMP threads that spin at their barriers beside a busy neighbour made steps ten times slower; docs/log.md.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import torch
from torch.utils.data import DataLoader

from flashmesh_core.checkpoint import save_checkpoint
from flashmesh_core.config import ModelConfig, preset
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.model.hourglass import Hourglass
from flashmesh_core.model.layers import Block
from training.data import DataConfig, MeshBatches
from training.ledger import AHEAD, Ledger
from training.log import Log, means
from training.losses import LossParts, backbone_loss, joint_loss, states_of
from training.optimizer import make_optimizers
from training.options import parse_arguments
from training.readings import keys_of
from training.samples import draw_samples
from training.state import (
    NEWEST,
    LossGuard,
    check_alone,
    check_finite,
    check_settings,
    check_unused,
    load_state,
    save_state,
    settings_of,
)
from training.transfer import parse_drafts, transfer


def fast_precision(device: str) -> str:
    """bf16 where the device has instructions for it; elsewhere it is emulated, 2.5 times as slow as float32."""
    if torch.device(device).type != "cpu":
        return "bf16"
    return "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "float32"


class Trainer:
    """Everything a run holds: model, averaged weights, optimisers, step, and what has been counted."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.out = Path(args.out)
        if not args.resume:
            check_unused(self.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.config: ModelConfig = preset(args.preset)
        if args.drafts:
            self.config = parse_drafts(args.drafts, self.config)
        torch.manual_seed(args.seed)
        self.model = Hourglass(self.config).to(args.device)
        if args.weights:
            from flashmesh_core.checkpoint import load_model

            transfer(load_model(args.weights), self.model)
        if args.freeze_backbone:
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(name.startswith("drafts."))
        self.averaged = {name: tensor.detach().clone() for name, tensor in self.model.named_parameters()}
        self.optimizers = make_optimizers(self.model, args.optimizer, args.lr, args.muon_lr, args.weight_decay)
        self.base_rates = [[group["lr"] for group in o.param_groups] for o in self.optimizers]
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.guard = LossGuard()
        self.ledger: Ledger | None = None
        if args.resume:
            self.resume()
        else:
            args.precision = args.precision or fast_precision(args.device)
        self.backbone_loss = backbone_loss
        if args.compile and args.draft_every:
            compile_blocks(self.model)
        elif args.compile:
            self.backbone_loss = torch.compile(backbone_loss, dynamic=False)

    def state(self) -> dict:
        """All that a run goes on from."""
        return {
            "config": self.config.to_dict(), "settings": settings_of(self.args), "model": self.model.state_dict(),
            "averaged": self.averaged, "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step, "tokens": self.tokens, "seconds": self.seconds, "skipped": self.guard.skipped,
        }  # fmt: skip

    def save(self) -> None:
        """Write the whole state and the exported weights, each file whole or not at all; see `save_state`."""
        check_finite(self.model.state_dict())
        check_finite(self.averaged)
        save_state(self.out, self.state())
        self.export(self.out / "checkpoint")

    def take_new_readings(self) -> None:
        """From a little later on the run draws from what has come to the cache as well."""
        if self.ledger is not None:
            first = self.step * self.args.accumulate
            count = self.ledger.extend(first + AHEAD if first else 0)
            print(f"step {self.step}: {count} readings", file=sys.stderr)

    def export(self, folder: Path) -> None:
        """The averaged weights as a checkpoint folder that the engine loads."""
        extra = {"steps": self.step, "tokens": self.tokens, "hours": round(self.seconds / 3600, 3)}
        save_checkpoint(folder, self.averaged_model(), extra, dtype=torch.bfloat16)

    def averaged_model(self) -> Hourglass:
        """A model of the averaged weights, on the CPU."""
        model = Hourglass(self.config)
        model.load_state_dict(self.averaged)
        return model

    def resume(self) -> None:
        """Take up the newest whole state; a ValueError where there is none or it is of another run's settings."""
        state = load_state(self.out, self.args.device)
        if ModelConfig.from_dict(state["config"]) != self.config:
            raise ValueError(f"{self.out / NEWEST} is of another configuration than preset and drafts say")
        settings = state.get("settings") or {}
        if self.args.precision is None:
            self.args.precision = settings.get("precision", "bf16")  # older states name none
        check_settings(settings, self.args)
        self.take_weights(state)
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        self.guard.skipped = state.get("skipped", 0)

    def take_weights(self, state: dict) -> None:
        """The weights, averages and optimizers of a state; the count of steps goes on, and with it the data."""
        self.model.load_state_dict(state["model"])
        self.averaged = state["averaged"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def set_rate(self) -> float:
        """Warm up, hold, and fall to zero over the last `cooldown` steps; returns the factor."""
        args = self.args
        factor = min(1.0, (self.step + 1) / max(args.warmup, 1))
        if args.cooldown:
            factor = min(factor, max(0.0, (args.steps - self.step) / args.cooldown))
        for optimizer, rates in zip(self.optimizers, self.base_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        return factor

    def draft_groups(self, batch: dict[str, torch.Tensor], micro: int) -> torch.Tensor | None:
        """The random face groups whose split nodes train the heads in this micro-batch, (B, S), or None."""
        args = self.args
        number = self.step * args.accumulate + micro
        if not args.draft_every or number % args.draft_every:
            return None
        groups = batch["tokens"].shape[1] // 9
        valid = (batch["tokens"] != self.config.pad).sum(dim=1).float() / 9.0
        generator = torch.Generator().manual_seed(args.seed * 1_000_003 + number)
        count = max(1, int(groups * args.draft_probability))
        pick = torch.rand((len(valid), count), generator=generator).to(valid.device) * valid[:, None]
        return pick.long().clamp(max=groups - 1)

    def train_step(self, batches: list[dict[str, torch.Tensor]]) -> dict[str, float]:
        """One optimiser step over the micro-batches; returns sums and counts per loss, none where it was skipped."""
        self.set_rate()
        sums: dict[str, float] = {}
        for micro, batch in enumerate(batches):
            batch = {name: tensor.to(self.args.device) for name, tensor in batch.items()}
            enabled = self.args.precision == "bf16"
            with torch.autocast(self.args.device.split(":")[0], torch.bfloat16, enabled=enabled):
                parts = self.loss(batch, micro)
            (parts.total / len(batches)).backward()
            for name, value in parts.values.items():
                sums[name] = sums.get(name, 0.0) + value
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if not torch.isfinite(norm):
            return self.skip_step()
        self.guard.good()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            decay = min(self.args.ema, (1.0 + self.step) / (10.0 + self.step))
            for name, parameter in self.model.named_parameters():
                self.averaged[name].lerp_(parameter.detach(), 1.0 - decay)
        self.step += 1
        self.tokens += int(sums["main_count"])
        return sums

    def loss(self, batch: dict[str, torch.Tensor], micro: int) -> LossParts:
        """The loss of a micro-batch: of the backbone alone where no heads are trained, which can be compiled."""
        if self.args.draft_every:
            return joint_loss(self.model, batch, self.draft_groups(batch, micro), self.args.draft_weight)
        total, count = self.backbone_loss(self.model, batch)
        return LossParts(total / count.clamp(min=1), {"main_sum": total.item(), "main_count": float(count)})

    def skip_step(self) -> dict[str, float]:
        """Leave out a step whose gradients are not finite; go back to the last good state if that repeats."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        goes_back = self.guard.bad(self.step)
        if goes_back:
            self.take_weights(load_state(self.out, self.args.device))
        back = ", back to the last good state" if goes_back else ""
        print(f"step {self.step}: the loss is not finite, skipped ({self.guard.skipped} so far){back}", file=sys.stderr)
        return {}


def compile_blocks(model: Hourglass) -> None:
    """Compile the transformer blocks, one graph for each shape: three levels by the padded lengths."""
    torch._dynamo.config.recompile_limit = 64
    for module in model.modules():
        if isinstance(module, Block):
            module.compile(dynamic=False)


@torch.no_grad()
def validate(trainer: Trainer, batches: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    """Nats a token of the averaged weights on fixed, un-augmented crops: in all, and per vertex slot."""
    model = trainer.averaged_model().to(trainer.args.device).eval()
    total = torch.zeros(9, 2)
    for batch in batches:
        enabled = trainer.args.precision == "bf16"
        with torch.autocast(trainer.args.device.split(":")[0], torch.bfloat16, enabled=enabled):
            logits = states_of(model, batch)[1].logits_BNC
        length = batch["tokens"].shape[1]
        targets = batch["targets"][:, :length]
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-100, reduction="none")
        for slot in range(9):
            at = slice((slot + 8) % 9, None, 9)
            total[slot, 0] += loss[:, at].sum().cpu()
            total[slot, 1] += (targets[:, at] != -100).sum().cpu()
    mean = total[:, 0] / total[:, 1].clamp(min=1)
    result = {"val": (total[:, 0].sum() / total[:, 1].sum()).item()}
    return result | {f"val_v{vertex}": mean[3 * vertex : 3 * vertex + 3].mean().item() for vertex in range(3)}


def start_worker(_: int) -> None:
    """Data processes compute on one thread and leave signals to the main process."""
    torch.set_num_threads(1)
    for name in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group, they must not end the workers first
        signal.signal(name, signal.SIG_IGN)


def make_loader(args: argparse.Namespace, trainer: Trainer) -> tuple[DataLoader, list[dict[str, torch.Tensor]]]:
    """The micro-batches that are left to do, and the fixed ones for validation; tells how much data there is."""
    store = MeshStore.open(Path(args.data), "train") if args.data else None
    cache = None if args.readings is None else Path(args.readings)
    data = DataConfig(
        seed=args.seed, procedural=args.procedural, damaged=args.damaged, batch_tokens=args.batch_tokens,
        readings=cache, packed=not args.draft_every,
    )  # fmt: skip
    keys = []
    if store is not None:
        print(f"{len(store)} training meshes, {store.skipped} left out (over 10,000 faces or unreadable)")
        if store.without_area:
            print(f"left out, for they have no area: {', '.join(store.without_area)}", file=sys.stderr)
        keys = keys_of(store, args.families, args.variants, args.max_faces)
        if args.cached_only:
            trainer.ledger = Ledger(trainer.out / "readings.txt", Path(args.readings), keys)
            trainer.take_new_readings()
        print(f"{len(keys)} readings of {len({number for number, _ in keys})} meshes")
    first = trainer.step * args.accumulate
    loader = DataLoader(
        MeshBatches(trainer.config, data, store, keys, trainer.ledger), batch_size=None,
        sampler=range(first, args.steps * args.accumulate), num_workers=args.workers,
        prefetch_factor=4 if args.workers else None, worker_init_fn=start_worker if args.workers else None,
    )  # fmt: skip
    return loader, validation_batches(args, trainer.config, data)


class Progress:
    """What a run tells and keeps between its steps: rows of the log, checkpoints and pictures, each at its time."""

    def __init__(self, trainer: Trainer, fixed: list[dict[str, torch.Tensor]]) -> None:
        from tqdm import tqdm

        self.trainer, self.fixed, args = trainer, fixed, trainer.args
        self.samples_from = None if args.data is None else MeshStore.open(Path(args.data), "val")
        self.log = Log(trainer.out)
        self.saved = self.drawn = self.mark = time.monotonic()
        self.tokens = 0  # since `mark`
        self.sums: dict[str, float] = {}
        self.bar = tqdm(total=args.steps, initial=trainer.step, unit="step", smoothing=0.05, mininterval=5.0)

    def add(self, sums: dict[str, float], tokens: int) -> None:
        """Counts a step: its losses, and the tokens of its micro-batches."""
        self.tokens += tokens
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.bar.update()

    def keep(self, done: bool) -> None:
        """Writes what is due, and all of it in the end."""
        trainer, args, now = self.trainer, self.trainer.args, time.monotonic()
        if trainer.step % 20 == 0 or done:
            self.write_row(done, now)
        if done or now - self.saved > args.checkpoint_minutes * 60:
            trainer.save()
            trainer.take_new_readings()
            self.saved = time.monotonic()
        if args.picture_minutes and (done or now - self.drawn > args.picture_minutes * 60):
            model = trainer.averaged_model().to(args.device)
            draw_samples(model, trainer.out / "pictures", f"step_{trainer.step:06d}", self.samples_from)
            self.drawn = time.monotonic()

    def write_row(self, done: bool, now: float) -> None:
        """A row of the log: mean losses and speed since the last one, and now and then a validation."""
        trainer = self.trainer
        row = {"step": trainer.step, "tokens": trainer.tokens, "seconds": round(trainer.seconds, 1)}
        row |= {"tokens_per_second": round(self.tokens / (now - self.mark))} | means(self.sums)
        if self.fixed and (trainer.step % trainer.args.validate_every == 0 or done):
            row |= validate(trainer, self.fixed)
        told = {name: f"{row[name]:.3f}" for name in ("loss", "face", "val") if name in row}
        self.bar.set_postfix(told | {"tok/s": row["tokens_per_second"]})
        self.log.write(row)
        self.sums, self.tokens, self.mark = {}, 0, time.monotonic()


def run(args: argparse.Namespace) -> int:
    """Train until steps, minutes or a signal end it; the exit status."""
    check_alone()
    if args.threads:
        torch.set_num_threads(args.threads)
    trainer = Trainer(args)
    loader, fixed = make_loader(args, trainer)
    if not args.resume:  # all that was given is good: wrong data leaves no state behind
        save_state(trainer.out, trainer.state())  # what the first steps may have to go back to
    stop: list[int] = []
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda number, _: stop.append(number))
    progress, began = Progress(trainer, fixed), time.monotonic()
    pending: list[dict[str, torch.Tensor]] = []
    for batch in loader:
        pending.append(batch)
        if len(pending) < args.accumulate:
            continue
        before = time.monotonic()
        sums = trainer.train_step(pending)
        trainer.seconds += time.monotonic() - before
        progress.add(sums, sum(batch["tokens"].numel() for batch in pending))
        pending = []
        done = trainer.step >= args.steps or bool(stop) or time.monotonic() - began > args.minutes * 60
        progress.keep(done)
        if done:
            break
    progress.bar.close()
    print(f"step {trainer.step}, {trainer.tokens:,} tokens, checkpoint in {trainer.out / 'checkpoint'}")
    return 0


def validation_batches(
    args: argparse.Namespace, config: ModelConfig, data: DataConfig
) -> list[dict[str, torch.Tensor]]:
    """Eight fixed micro-batches of the validation split (of other procedural shapes without data)."""
    from dataclasses import replace

    fixed = replace(data, augment=False, seed=data.seed + 1_000_000, procedural=0.0)
    store = None
    if args.data:
        store = MeshStore.open(Path(args.data), "val")
        if not len(store):
            return []
    keys = keys_of(store, args.families, 1, args.max_faces) if store is not None else []
    if args.cached_only and store is not None:
        keys = [(number, key) for number, key in keys if key.file(Path(args.readings)).is_file()]
        if not keys:
            return []
    batches = MeshBatches(config, fixed, store, keys)
    return [batches[number] for number in range(8)]


def main(arguments: list[str] | None = None) -> int:
    """The command line; a ValueError becomes one line on stderr and exit status 2."""
    try:
        return run(parse_arguments(arguments))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
