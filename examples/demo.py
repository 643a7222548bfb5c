"""One object becomes an artist-like mesh: `python examples/demo.py` writes demo_out/result.glb and result.png.

The source is a voxel remesh of a chair. The picture shows it, the result, and plain decimation to the same number of
faces where meshoptimizer is installed; the last line printed gives the figures.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # before torch loads; docs/log.md says why

import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

import flashmesh_core  # noqa: E402
from flashmesh_core.decode.engine import GenerationEvent  # noqa: E402
from flashmesh_core.drafters import AUTO_DRAFTER  # noqa: E402
from flashmesh_core.evaluation.methods import available_methods, decimate  # noqa: E402
from flashmesh_core.mesh.canonical import Mesh  # noqa: E402
from flashmesh_core.mesh.io import PointCloud, load_source, save_mesh  # noqa: E402
from flashmesh_core.mesh.topology import topology_report  # noqa: E402
from flashmesh_core.picture import fit_frame, picture_grid, render_mesh, render_points  # noqa: E402

SIZE = (480, 480)  # pixels of each picture
KEPT_FACES = 300  # a mesh of at most this many faces is made again with as many
FEWER_FACES = 200  # asked for instead of anything denser


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    chair = ROOT / "examples" / "chair_remesh.ply"
    parser.add_argument("--input", type=Path, default=chair, help="mesh or point cloud")
    parser.add_argument("--out", type=Path, default=ROOT / "demo_out", help="folder for result.glb and result.png")
    parser.add_argument("--checkpoint", default="nano", help="bundled name, folder or .safetensors")
    parser.add_argument("--candidates", type=int, default=1, help="meshes to make; the best is kept")
    parser.add_argument(
        "--faces", type=int, help=f"wanted faces; default: the source's, or {FEWER_FACES} if it has over {KEPT_FACES}"
    )
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same mesh")
    return parser.parse_args(arguments)


def wanted_faces(source: Mesh | PointCloud) -> int:
    """How many faces to ask for if the user does not say."""
    if isinstance(source, Mesh) and len(source.faces) <= KEPT_FACES:
        return len(source.faces)
    return FEWER_FACES


def picture(source: Mesh | PointCloud, result: Mesh, path: Path) -> None:
    """Write source, result and plain decimation side by side, all in the source's frame."""
    if isinstance(source, Mesh):
        frame = fit_frame(source.vertices, SIZE)
        dense = len(source.faces) > 20 * KEPT_FACES  # then the wireframe would only be grey
        left = render_mesh(source.vertices, source.faces, size=SIZE, frame=frame, wireframe=not dense)
        label = f"source, {len(source.faces):,} faces"
    else:
        frame = fit_frame(source.points, SIZE)
        left = render_points(source.points, source.normals, size=SIZE, frame=frame)
        label = f"source, {len(source.points):,} points"
    right = render_mesh(result.vertices, result.faces, size=SIZE, frame=frame)
    cells, header = [left, right], [label, f"result, {len(result.faces):,} faces"]
    if isinstance(source, Mesh) and len(source.faces) > len(result.faces) and "decimate" in available_methods():
        plain = decimate(source, len(result.faces))
        cells.append(render_mesh(plain.vertices, plain.faces, size=SIZE, frame=frame))
        header.append(f"plain decimation, {len(plain.faces):,} faces")
    picture_grid([cells], path, header=header)


def run(args: argparse.Namespace) -> None:
    """Load, generate, write, and print the figures."""
    source = load_source(args.input)
    engine = flashmesh_core.load(args.checkpoint)
    print("getting ready; the first run on a machine compiles for a minute or two", flush=True)
    engine.warm_up(drafters=(AUTO_DRAFTER,))  # so that the seconds told below are those of every other mesh
    faces = args.faces if args.faces is not None else wanted_faces(source)
    given = (source,) if isinstance(source, Mesh) else (source.points, source.normals)
    counts = np.zeros(max(args.candidates, 0), dtype=np.int64)
    began = time.perf_counter()
    with tqdm(desc=f"{args.input.name}, {args.candidates} candidates", unit=" faces", disable=None) as bar:

        def progress(event: GenerationEvent) -> None:
            counts[event.candidate] = event.n_faces
            bar.update(int(counts.sum()) - bar.n)

        result = engine.generate(*given, candidates=args.candidates, faces=faces, seed=args.seed, on_event=progress)
    seconds = time.perf_counter() - began
    if not len(result.mesh.faces):
        raise ValueError("no face was generated; try another --seed")
    args.out.mkdir(parents=True, exist_ok=True)
    save_mesh(args.out / "result.glb", result.mesh)
    picture(source, result.mesh, args.out / "result.png")
    topology = topology_report(result.mesh.vertices, result.mesh.faces)
    print(f"{args.out / 'result.glb'} and result.png beside it")
    print(
        f"{args.input.name}: {len(result.mesh.faces)} faces ({faces} wanted), best of {args.candidates} in "
        f"{seconds:.1f} s, Chamfer {result.chamfer:.4f}, Hausdorff {result.hausdorff:.4f}, "
        f"{result.filled} faces repaired, "
        f"{'watertight' if topology.is_watertight else f'{topology.boundary_edge_ratio:.0%} of edges open'}, "
        f"ended by {result.end_reason}"
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; wrong input is one line on stderr and exit status 2."""
    try:
        run(parse_arguments(arguments))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
