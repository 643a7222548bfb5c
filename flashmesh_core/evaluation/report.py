"""Evaluates objects, families and methods against the artists' meshes; summaries and a table of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from flashmesh_core.evaluation.methods import Made, Method
from flashmesh_core.evaluation.objects import ArtistObject, Given, given
from flashmesh_core.mesh.canonical import Mesh, Normalization
from flashmesh_core.mesh.distance import TriangleTree
from flashmesh_core.mesh.figures import measure
from flashmesh_core.mesh.metrics import DEFAULT_SAMPLES, has_area

Row = dict[str, object]
NEAR_WANTED = 0.1  # of the wanted faces
# Columns of the table: heading, key of a summary, format.
COLUMNS = (
    ("edge F1", "edge_f1", "{:.2f}"),
    ("vertex F1", "vertex_f1", "{:.2f}"),
    ("all edges F1", "all_edges_f1", "{:.2f}"),
    ("faces F1", "faces_f1", "{:.2f}"),
    ("good quads", "good_quads", "{:.2f}"),
    ("thin", "thin_share", "{:.1%}"),
    ("CD", "median_chamfer", "{:.4f}"),
    ("HD", "median_hausdorff", "{:.3f}"),
    ("ECD", "median_edge_chamfer", "{:.3f}"),
    ("NC", "normal_consistency", "{:.3f}"),
    ("faces/wanted", "median_face_ratio", "{:.2f}"),
    ("within 10 %", "near_wanted_share", "{:.0%}"),
    ("watertight", "watertight_share", "{:.0%}"),
    ("open edges", "mean_open_edges", "{:.1f}"),
    ("flipped", "mean_flipped", "{:.1f}"),
    ("doubled", "mean_doubled", "{:.1f}"),
    ("gap", "median_source_gap", "{:.4f}"),
    ("seconds", "median_seconds", "{:.1f}"),
    ("ended", "ended_share", "{:.0%}"),
    ("decoded", "decoded_share", "{:.0%}"),
)


def evaluate(
    objects: Sequence[ArtistObject],
    families: Sequence[str],
    methods: Mapping[str, Method],
    *,
    seed: int = 0,
    ask_faces: Callable[[ArtistObject], int] = lambda artist: len(artist.mesh.faces),
    cache: Path | None = None,
    on_source: Callable[[Given, dict[str, tuple[Made, Row]]], None] | None = None,
) -> dict[str, object]:
    """Every method on the source of every object in every family: the report, see `summarize_rows`, and its `rows`.

    `ask_faces` gives the wanted number of faces, by default the artist's own. `on_source` is called with what the
    methods made of each source. `seed` is that of the sources; `cache` a folder that keeps them. Objects of which a
    family can't make a source, as closed sheets without thickness in `remesh`, are left out of it and listed, with the
    reason, under `left_out`. Raises ValueError where no source is left.
    """
    rows: list[Row] = []
    left_out: list[dict[str, str]] = []
    for artist in objects:
        for family in families:
            try:
                source = given(artist, family, seed=seed, cache=cache)
            except ValueError as error:
                left_out.append({"name": artist.name, "family": family, "reason": str(error)})
                continue
            made = {name: _row(source, name, method, ask_faces(artist)) for name, method in methods.items()}
            rows += [row for _, row in made.values()]
            if on_source is not None:
                on_source(source, made)
    if not rows:
        raise ValueError(f"no source could be made of {len(objects)} objects; of the first: {left_out[0]['reason']}")
    return summarize_rows(rows) | {
        "objects": len(objects), "source_seed": seed, "rows": rows, "left_out": left_out,
    }  # fmt: skip


def _row(source: Given, name: str, method: Method, wanted: int) -> tuple[Made, Row]:
    made = method(source, wanted)
    artist = source.artist
    row: Row = {
        "name": artist.name, "family": source.family, "method": name, "closed": artist.closed, "wanted": wanted,
        "seconds": made.seconds, "end_reason": made.end_reason, "decoded": made.decoded,
        "source_gap": largest_gap(source.surface, made.mesh),
    }  # fmt: skip
    return made, row | measure(artist.mesh, made.mesh, wanted=wanted).as_dict()


def largest_gap(surface: Mesh | np.ndarray, result: Mesh) -> float:
    """The largest distance from a source to a result, exact, over the source's longest side; inf for an empty result.

    From at most 5,000 vertices of a mesh, or points (N, 3), spread over their order. That of a cloud holds its noise.
    """
    points = surface.vertices[np.unique(surface.faces)] if isinstance(surface, Mesh) else surface
    unit = Normalization.of_points(points)
    vertices = unit.apply(result.vertices)
    if not has_area(vertices, result.faces):
        return float("inf")
    spread = np.linspace(0, len(points) - 1, min(len(points), DEFAULT_SAMPLES)).astype(np.int64)
    return float(TriangleTree.of_mesh(vertices, result.faces).distance(unit.apply(points[spread])).max())


def summarize_rows(rows: Sequence[Row]) -> dict[str, object]:
    """The report of rows: figures of the `result` rows over all families (of all rows where there is no result), and by
    family.

    `families[family]` holds the same figures, those of every other method under its name; `closed_families` and
    `open_families` the same of closed and of open objects alone, where there are any.
    """
    report: dict[str, object] = dict(summarize(_of_method(rows, "result") or rows))
    report["families"] = _by_family(rows)
    for kind, closed in (("closed_families", True), ("open_families", False)):
        some = [row for row in rows if row["closed"] == closed]
        if some:
            report[kind] = _by_family(some)
    return report


def _by_family(rows: Sequence[Row]) -> dict[str, dict[str, object]]:
    families: dict[str, dict[str, object]] = {}
    for family in _in_order(row["family"] for row in rows):
        of_family = [row for row in rows if row["family"] == family]
        figures: dict[str, object] = {}
        for method in _in_order(row["method"] for row in of_family):
            summary = summarize(_of_method(of_family, method))
            if method == "result":
                figures |= summary
            else:
                figures[method] = summary
        families[family] = figures
    return families


def summarize(rows: Sequence[Row]) -> dict[str, float | int | None]:
    """Means of F1, NC, shares and counts, medians of distances, over rows of one method; infinities stay."""

    def values(name: str) -> list[float]:
        return [float(row[name]) for row in rows if row[name] is not None]  # type: ignore[arg-type]

    faces = sum(values("faces"))
    decoded = [float(row["decoded"]) * float(row["faces"]) for row in rows if row["decoded"] is not None]  # type: ignore[arg-type]
    ends = [row["end_reason"] for row in rows if row["end_reason"] is not None]
    near = [abs(ratio - 1.0) <= NEAR_WANTED for ratio in values("face_ratio")]
    return {
        "sources": len(rows),
        "edge_f1": statistics.fmean(values("edge_f1")),
        "vertex_f1": statistics.fmean(values("vertex_f1")),
        "all_edges_f1": statistics.fmean(values("all_edges_f1")),
        "faces_f1": statistics.fmean(values("faces_f1")),
        "good_quads": statistics.fmean(values("good_quads")),
        "thin_share": statistics.fmean(values("thin")),
        "median_chamfer": statistics.median(values("chamfer")),
        "median_hausdorff": statistics.median(values("hausdorff")),
        "mean_bbox_iou": statistics.fmean(values("bbox_iou")),
        "median_edge_chamfer": statistics.median(values("edge_chamfer")),
        "normal_consistency": statistics.fmean(values("normal_consistency")),
        "median_gap_max": statistics.median(values("gap_max")),
        "median_gap_mean": statistics.median(values("gap_mean")),
        "median_excess_max": statistics.median(values("excess_max")),
        "median_source_gap": statistics.median(values("source_gap")),
        "largest_source_gap": max(values("source_gap")),
        "median_face_ratio": statistics.median(values("face_ratio")),
        "near_wanted_share": statistics.fmean(near),
        "watertight_share": statistics.fmean(values("watertight")),
        "mean_open_edges": statistics.fmean(values("open_edges")),
        "mean_flipped": statistics.fmean(values("flipped")),
        "mean_doubled": statistics.fmean(values("doubled")),
        "median_seconds": statistics.median(values("seconds")),
        "ended_share": statistics.fmean(reason == "eos" for reason in ends) if ends else None,
        "decoded_share": sum(decoded) / faces if decoded and faces else None,
    }


def format_table(rows: Sequence[Row], methods: Sequence[str] | None = None) -> str:
    """A Markdown table of a line a family and method, one of closed and one of open objects where there are both."""
    parts = []
    for title, closed in (("Closed objects", True), ("Open objects", False)):
        some = [row for row in rows if row["closed"] == closed]
        if not some:
            continue
        count = len({row["name"] for row in some})
        lines = [f"{title} ({count}); means of F1, NC and counts, medians of distances, faces and seconds.", ""]
        lines.append("| " + " | ".join(["family", "", *(heading for heading, _, _ in COLUMNS)]) + " |")
        lines.append("|" + "---|" * (len(COLUMNS) + 2))
        for family in _in_order(row["family"] for row in some):
            of_family = [row for row in some if row["family"] == family]
            for method in methods or _in_order(row["method"] for row in of_family):
                lines.append(_line(family, method, summarize(_of_method(of_family, method))))
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _line(family: str, method: str, summary: Mapping[str, object]) -> str:
    cells = ["" if summary[key] is None else form.format(summary[key]) for _, key, form in COLUMNS]
    return "| " + " | ".join([family, method, *cells]) + " |"


def _of_method(rows: Sequence[Row], method: str) -> list[Row]:
    return [row for row in rows if row["method"] == method]


def _in_order(names: Iterable[object]) -> list[str]:
    """Names, each once, in the order in which they come first."""
    return [str(name) for name in dict.fromkeys(names)]
