"""Pictures of an evaluation: artist, source, result and Decimate side by side, with figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from flashmesh_core.evaluation.methods import Made
from flashmesh_core.evaluation.objects import Given
from flashmesh_core.evaluation.report import Row
from flashmesh_core.mesh.canonical import Mesh
from flashmesh_core.mesh.io import PointCloud
from flashmesh_core.picture import Cell, Frame, fit_frame, picture_grid, render_mesh, render_points

SIZE = (300, 300)  # pixels


class Pictures:
    """Pages of meshes side by side, `per_page` lines a PNG, in a folder."""

    def __init__(self, folder: Path, header: Sequence[str], per_page: int = 8, stem: str = "page") -> None:
        self.folder, self.header, self.per_page, self.stem = folder, [*header, ""], per_page, stem
        self.cells: list[list[Cell]] = []
        self.page = 0
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, shown: Sequence[Mesh | PointCloud], text: Sequence[str]) -> None:
        """Append a line of meshes or clouds, in the frame of the first, and text; write the page when it is full."""
        first = shown[0]
        frame = fit_frame(first.vertices if isinstance(first, Mesh) else first.points, SIZE)
        self.cells.append([*(_render(shape, frame) for shape in shown), list(text)])
        if len(self.cells) == self.per_page:
            self.flush()

    def add_source(self, given: Given, made: Mapping[str, tuple[Made, Row]]) -> None:
        """Append artist, source and what each method made of it; the header names the same methods."""
        artist = given.artist
        text = [f"{artist.name}: {given.family}", f"{len(artist.mesh.faces)} faces by the artist"]
        for name, (_, row) in made.items():
            text += [
                f"{name}: {row['faces']} faces",
                f"  F1 of edges {row['edge_f1']:.2f}, vertices {row['vertex_f1']:.2f}",
                f"  CD {row['chamfer']:.3f}, HD {row['hausdorff']:.3f}, {row['open_edges']} open edges",
            ]
        self.add([artist.mesh, given.source, *(one.mesh for one, _ in made.values())], text)

    def flush(self) -> None:
        """Write what is left as a last page."""
        if self.cells:
            path = self.folder / f"{self.stem}_{self.page:03d}.png"
            picture_grid(self.cells, path, header=self.header)
            self.page, self.cells = self.page + 1, []


def _render(shape: Mesh | PointCloud, frame: Frame) -> np.ndarray:
    if isinstance(shape, Mesh):
        return render_mesh(shape.vertices, shape.faces, size=SIZE, frame=frame)
    return render_points(shape.points, shape.normals, size=SIZE, frame=frame)
