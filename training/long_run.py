"""Start or resume the long run: `python -m training.long_run --state DIR --data DIR`.

Everything lives in the state folder: readings, weights, optimizer, counters, logs. Started again, the run goes on where
it was; ended in any way, it loses at most the minutes between two checkpoints. Readings that are missing are made by a
process beside it for as long as there are any, and join the run as they come. Both yield to all other work.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.state import has_state

ROOT = Path(__file__).resolve().parents[1]
STATE, DATA = "FLASHMESH_RUN", "FLASHMESH_DATA"  # environment variables
TRAINS, LAST = 10, 19  # niceness of the training's scheduling group, and of that of what makes readings
TRAINING = (
    "--preset", "nano", "--cached-only", "--max-faces", "800", "--variants", "2", "--draft-every", "0", "--compile",
    "--procedural", "0.1", "--damaged", "0.25", "--lr", "1e-3", "--muon-lr", "0.004", "--warmup", "100", "--ema",
    "0.998", "--accumulate", "2", "--steps", "1000000000", "--checkpoint-minutes", "8", "--picture-minutes", "0",
    "--validate-every", "400",
)  # fmt: skip


def commands(state: Path, data: Path, weights: str | None) -> tuple[list[str], list[str]]:
    """The command lines of the training and of what makes readings."""
    out, readings = state / "run", state / "readings"
    start = ["--resume"] if has_state(out) else (["--weights", weights] if weights else [])
    train = [sys.executable, "training/train.py", *TRAINING, "--data", str(data), "--readings", str(readings)]
    make = [sys.executable, "-m", "training.readings", "--data", str(data), "--out", str(readings)]
    make += ["--max-faces", "800", "--variants", "2", "--workers", "1"]
    return [*train, "--out", str(out), *start], make


def _yield(niceness: int, group: Path = Path("/proc/self/autogroup")) -> None:
    """Give a new session's scheduling group its niceness: on Linux, that of a process counts within its group alone."""
    if group.exists():
        group.write_text(str(niceness))


def _yield_to_training() -> None:
    """What makes readings takes what the training leaves of the processors, where the system knows such a class."""
    _yield(LAST)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def run(state: Path, data: Path, weights: str | None) -> int:
    """Until both processes have ended, or a signal ends them; the exit status of the training."""
    state.mkdir(parents=True, exist_ok=True)
    train, make = commands(state, data, weights)
    settings = {"TORCHINDUCTOR_CACHE_DIR": str(state / "compiled"), "GOMP_SPINCOUNT": "2000"}
    environment = os.environ | settings
    single = environment | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    with (state / "train.log").open("a") as said, (state / "readings.log").open("a") as made:
        started = [
            subprocess.Popen(
                train,
                cwd=ROOT,
                env=environment,
                stdout=said,
                stderr=said,
                start_new_session=True,
                preexec_fn=partial(_yield, TRAINS),
            ),
            subprocess.Popen(
                make,
                cwd=ROOT,
                env=single,
                stdout=made,
                stderr=made,
                start_new_session=True,
                preexec_fn=_yield_to_training,
            ),
        ]
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: _end(started))
        status = started[0].wait()
        _end(started[1:])
    return status


def _end(processes: list[subprocess.Popen]) -> None:
    """Ask them to end, and with them the processes that they started; the training saves its state first."""
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def main() -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--state", default=os.environ.get(STATE), help=f"folder of the run; default: ${STATE}")
    parser.add_argument("--data", default=os.environ.get(DATA), help=f"as for train.py; default: ${DATA}")
    parser.add_argument("--weights", help="a new run starts from the weights of this checkpoint")
    args = parser.parse_args()
    for flag, given, variable in (("--state", args.state, STATE), ("--data", args.data, DATA)):
        if not given:
            parser.error(f"{flag} must be given, or ${variable} be set")
    if hasattr(os, "nice"):
        os.nice(max(0, LAST - os.nice(0)))
    began = time.monotonic()
    status = run(Path(args.state).resolve(), Path(args.data).resolve(), args.weights)
    print(f"ended with status {status} after {(time.monotonic() - began) / 60:.0f} minutes")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
