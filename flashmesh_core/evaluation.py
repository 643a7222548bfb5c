"""Evaluation on unseen meshes: distances to the source, a row a mesh, pictures (paper Sec. 4.1)."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from flashmesh_core.decode.engine import Engine, GenerationResult
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.metrics import compare_meshes
from flashmesh_core.mesh.sampling import sample_cloud
from flashmesh_core.mesh.store import MeshStore
from flashmesh_core.mesh.topology import topology_report
from flashmesh_core.picture import Cell


def choose_meshes(store: MeshStore, max_faces: int | None, limit: int | None) -> list[int]:
    """Numbers of the meshes of at most `max_faces` faces; of these, `limit` spread evenly over the store."""
    if max_faces is not None and max_faces < 1:
        raise ValueError(f"max_faces must be at least 1, got {max_faces}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    chosen = [n for n in range(len(store)) if max_faces is None or len(store.faces[n]) <= max_faces]
    if not chosen:
        raise ValueError(f"data must hold meshes of at most {max_faces} faces, got none")
    if limit is not None and limit < len(chosen):
        chosen = [chosen[int(k)] for k in np.linspace(0, len(chosen) - 1, limit)]
    return chosen


def evaluate(
    engine: Engine,
    store: MeshStore,
    *,
    numbers: list[int],
    candidates: int = 1,
    ask_faces: bool = True,
    clouds: bool = False,
    on_row: Callable[[dict[str, object], Mesh, GenerationResult], None] | None = None,
    **options: Any,
) -> dict[str, object]:
    """Generate every chosen mesh again from its surface and measure (metrics.py). Returns the report.

    With `ask_faces` the source's own face count is the wanted one; with `clouds` the engine is given samples and their
    normals (`sample_cloud`) instead of the mesh, whose vertices it would know. The report has `median_chamfer`,
    `median_hausdorff`, `mean_bbox_iou`, the options, and `rows`.
    """
    rows: list[dict[str, object]] = []
    for number in numbers:
        mesh = Mesh(store.vertices[number], store.faces[number])
        wanted = len(mesh.faces) if ask_faces else None
        given: Mesh | np.ndarray = mesh
        normals = None
        if clouds:
            samples = sample_cloud(mesh)
            given, normals = samples.points, samples.normals
        result = engine.generate(given, normals, candidates=candidates, faces=wanted, **options)
        compared = compare_meshes(mesh, result.mesh)
        topology = topology_report(result.mesh.vertices, result.mesh.faces) if len(result.mesh.faces) else None
        row = {
            "name": store.names[number], "source_faces": len(mesh.faces), "faces": len(result.mesh.faces),
            "chamfer": compared.chamfer, "hausdorff": compared.hausdorff, "bbox_iou": compared.bbox_iou,
            "end_reason": result.end_reason, "seconds": result.seconds, "tokens": result.n_tokens,
            "candidate": result.candidate, "filled": result.filled,
            "watertight": bool(topology and topology.is_watertight),
            "boundary_edge_ratio": topology.boundary_edge_ratio if topology else None,
        }  # fmt: skip
        rows.append(row)
        if on_row is not None:
            on_row(row, mesh, result)
    return summarize(rows) | {
        "candidates": candidates,
        "ask_faces": ask_faces,
        "clouds": clouds,
        "options": dict(options),
        "rows": rows,
    }


def summarize(rows: list[dict[str, object]]) -> dict[str, object]:
    """Medians and means over the rows of a report."""

    def values(name: str) -> list[float]:
        return [float(row[name]) for row in rows]  # type: ignore[arg-type]

    return {
        "meshes": len(rows),
        "median_chamfer": statistics.median(values("chamfer")),
        "median_hausdorff": statistics.median(values("hausdorff")),
        "mean_bbox_iou": statistics.fmean(values("bbox_iou")),
        "watertight_share": statistics.fmean(values("watertight")),
        "filled_share": sum(values("filled")) / max(1.0, sum(values("faces"))),
        "ended_share": statistics.fmean(row["end_reason"] == "eos" for row in rows),
        "median_face_ratio": statistics.median(
            face / source for face, source in zip(values("faces"), values("source_faces"), strict=True)
        ),
    }


class Pictures:
    """Grids of source, result and figures, `per_page` meshes a PNG, in a folder."""

    def __init__(self, folder: Path, per_page: int = 8, stem: str = "page") -> None:
        self.folder, self.per_page, self.stem = folder, per_page, stem
        self.cells: list[list[Cell]] = []
        self.page = 0
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, row: dict[str, object], source: Mesh, result: GenerationResult) -> None:
        """Append a mesh and write the page when it is full."""
        from flashmesh_core.picture import fit_frame, render_mesh

        size = (300, 300)
        frame = fit_frame(source.vertices, size)
        text = [
            str(row["name"]),
            f"{row['source_faces']} -> {row['faces']} faces ({row['end_reason']})",
            f"Chamfer {row['chamfer']:.3f}",
            f"Hausdorff {row['hausdorff']:.3f}",
            f"BBox-IoU {row['bbox_iou']:.2f}",
        ]
        self.cells.append([
            render_mesh(source.vertices, source.faces, size=size, frame=frame),
            render_mesh(result.mesh.vertices, result.mesh.faces, size=size, frame=frame),
            text,
        ])  # fmt: skip
        if len(self.cells) == self.per_page:
            self.flush()

    def flush(self) -> None:
        """Write what is left as a last page."""
        from flashmesh_core.picture import picture_grid

        if self.cells:
            picture_grid(self.cells, self.folder / f"{self.stem}_{self.page:03d}.png", header=["source", "result", ""])
            self.page, self.cells = self.page + 1, []
