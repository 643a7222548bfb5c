"""An hour of a GPU, in pieces: what is there is packed into one file, and each piece goes on where the last one ended.

    python -m training.gpu_hour pack --data DIR --readings CACHE --out build/gpu_hour.zip
    python -m training.gpu_hour run --pack build/gpu_hour.zip --state STATE --minutes 9

The file holds meshes and readings, so that nothing is read there. A piece of `run` unpacks it where that is not done,
resumes the run in STATE or begins one, and ends with its state saved; what lies in STATE/run is all that the next piece
needs. Mesh data belongs in no commit: keep the file where git ignores it.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from flashmesh_core.files import write_atomic
from flashmesh_core.mesh.store import MeshStore
from training.state import has_state

ROOT = Path(__file__).resolve().parents[1]
MOST_MEGABYTES = 60
MOST_FACES = 800  # of a mesh
TRAINING = (
    "--cached-only", "--draft-every", "0", "--procedural", "0.1", "--damaged", "0.25", "--muon-lr", "0.004", "--lr",
    "1e-3", "--warmup", "200", "--ema", "0.998", "--steps", "1000000000", "--checkpoint-minutes", "3",
    "--picture-minutes", "0", "--validate-every", "100000000",
)  # fmt: skip


def packed_meshes(data: Path) -> tuple[bytes, bytes]:
    """`meshes.npz` and `index.csv` of the training meshes that are small enough."""
    store = MeshStore.open(data, "train", most_faces=MOST_FACES)
    file = io.BytesIO()
    np.savez_compressed(
        file, vertices=np.concatenate(store.vertices), faces=np.concatenate(store.faces).astype(np.uint16),
        vert_offsets=np.cumsum([0, *(len(vertices) for vertices in store.vertices)]),
        face_offsets=np.cumsum([0, *(len(faces) for faces in store.faces)]),
    )  # fmt: skip
    rows = "".join(f"{name},train\n" for name in store.names)
    return file.getvalue(), f"id,split\n{rows}".encode()


def pack(data: Path, readings: Path, out: Path, megabytes: int = MOST_MEGABYTES) -> int:
    """Write the file, at most so large; how many readings it holds, by chance where not all fit."""
    meshes, index = packed_meshes(data)
    files = sorted(readings.glob("format_*/*/*.npz"))
    room = megabytes * 1_000_000 - len(meshes) - len(index)
    if not files or room <= 0:
        raise ValueError(f"readings must be in {readings}, and the meshes take less than {megabytes} MB")
    packed, count = io.BytesIO(), 0
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("data/meshes.npz", meshes)
        archive.writestr("data/index.csv", index)
        for number in np.random.default_rng(0).permutation(len(files)):
            content = files[number].read_bytes()
            room -= len(content) + 400  # of the archive's own
            if room < 0:
                break
            archive.writestr(f"readings/{files[number].relative_to(readings).as_posix()}", content)
            count += 1
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, packed.getvalue())
    return count


def command(state: Path, minutes: float, device: str, preset: str, tokens: int, workers: int) -> list[str]:
    """The training's command line for one piece."""
    out = state / "run"
    given = {
        "--data": state / "data", "--readings": state / "readings", "--out": out, "--minutes": minutes,
        "--device": device, "--preset": preset, "--batch-tokens": tokens, "--workers": workers, "--accumulate": 1,
    }  # fmt: skip
    named = [str(part) for pair in given.items() for part in pair]
    return [sys.executable, "training/train.py", *TRAINING, *named, *(["--resume"] if has_state(out) else [])]


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    packing = modes.add_parser("pack", help="meshes and readings into one file")
    packing.add_argument("--data", type=Path, required=True)
    packing.add_argument("--readings", type=Path, required=True)
    packing.add_argument("--out", type=Path, default=Path("build/gpu_hour.zip"))
    running = modes.add_parser("run", help="begin or go on for some minutes")
    running.add_argument("--pack", type=Path, default=Path("build/gpu_hour.zip"))
    running.add_argument("--state", type=Path, required=True)
    running.add_argument("--minutes", type=float, default=9.0, help="of training; starting and saving come on top")
    running.add_argument("--device", default="cuda")
    running.add_argument("--preset", default="small", help="about 57 million parameters without heads")
    running.add_argument("--batch-tokens", type=int, default=36_864, help="of a step")
    running.add_argument("--workers", type=int, default=14, help="data processes")
    args = parser.parse_args(arguments)
    if args.mode == "pack":
        print(f"{pack(args.data, args.readings, args.out)} readings in {args.out}")
        return 0
    state = args.state.resolve()
    if not (state / "data").is_dir():
        with zipfile.ZipFile(args.pack) as archive:
            archive.extractall(state)
    line = command(state, args.minutes, args.device, args.preset, args.batch_tokens, args.workers)
    return subprocess.run(line, cwd=ROOT).returncode


if __name__ == "__main__":
    raise SystemExit(main())
