"""From the runs to the figures of the rows; what each figure is, the package's docstring says."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flashmesh_core.bench.settings import Setting
from flashmesh_core.bench.sources import Subject
from flashmesh_core.bench.trace import Run, TopTwo

# Share of the two scores' own size under which their difference is rounding's: a few units in the last place, grown
# through the layers, of 8 bits (bf16) or of 24 (float32).
NEAR_TIES = {"bf16": 2.0**-5, "int16": 2.0**-5, "float32": 2.0**-15}
LARGE = 100  # faces of a source from which the target for the speed-up counts


@dataclass(frozen=True, eq=False)
class Divergence:
    """Where a row's sequence first differs from plain decoding's, and the two best scores there in both runs."""

    mesh: str
    candidate: int
    token: int
    plain: TopTwo | None
    other: TopTwo | None

    def is_near_tie(self, dtype: str) -> bool:
        """Whether both runs weigh the same two tokens, whose scores differ by rounding alone."""
        if self.plain is None or self.other is None or set(self.plain.tokens) != set(self.other.tokens):
            return False
        return all(
            top.scores[0] - top.scores[1] <= NEAR_TIES[dtype] * max(1.0, *(abs(score) for score in top.scores))
            for top in (self.plain, self.other)
        )

    def as_dict(self, dtype: str) -> dict[str, Any]:
        """For the report: tokens and differences of the two best scores, in logits."""
        report: dict[str, Any] = {"mesh": self.mesh, "candidate": self.candidate, "token": self.token}
        for name, top in (("plain", self.plain), ("other", self.other)):
            if top is not None:
                report |= {f"{name}_tokens": list(top.tokens), f"{name}_gap": top.scores[0] - top.scores[1]}
        return report | {"near_tie": self.is_near_tie(dtype)}


@dataclass(frozen=True, eq=False)
class Measured:
    """A run of one setting on one source, and what was measured beside it."""

    subject: Subject
    run: Run
    plain: Run
    prepare_seconds: float
    floor_seconds: float  # of the products of every forward pass but the first
    quality: tuple[float, float, float] | None  # Chamfer, Hausdorff, BBox-IoU against a mesh
    divergences: tuple[Divergence, ...]

    @property
    def speedup(self) -> float:
        """Plain seconds a token over this run's; NaN where nothing was written."""
        if not self.run.n_tokens or not self.plain.n_tokens:
            return math.nan
        return (self.plain.seconds / self.plain.n_tokens) / (self.run.seconds / self.run.n_tokens)

    @property
    def over_products(self) -> float:
        """Seconds of the passes over those of their products; NaN for a single pass."""
        return self.run.loop_seconds / self.floor_seconds if self.floor_seconds else math.nan


def first_difference(a: Run, b: Run) -> list[tuple[int, int]]:
    """(candidate, token) of the first difference of each candidate that differs; an end counts as a token."""
    found = []
    for number, (left, right) in enumerate(zip(a.tokens, b.tokens, strict=True)):
        common = min(len(left), len(right))
        wrong = np.flatnonzero(left[:common] != right[:common])
        if len(wrong):
            found.append((number, int(wrong[0])))
        elif len(left) != len(right) or a.end_reasons[number] != b.end_reasons[number]:
            found.append((number, common))
    return found


def accuracy(runs: Sequence[Run], level: str, out_of: int) -> float | None:
    """Face-Acc or Point-Acc: mean tokens that stand, main token included and at most `out_of`, of fresh predictions."""
    places = {"face": (0,), "point": (3, 6)}[level]
    stood = [
        min(1 + p.accepted, out_of) for run in runs for p in run.passes if p.number and p.length % 9 in places
    ]  # fmt: skip
    return statistics.fmean(stood) if stood else None


def by_place(runs: Sequence[Run]) -> dict[str, list[int]]:
    """Passes, and tokens that stood in them, main ones included, by the place of the main token among a face's nine."""
    passes, tokens = [0] * 9, [0] * 9
    for run in runs:
        for p in run.passes:
            if p.number:
                passes[p.length % 9] += 1
                tokens[p.length % 9] += 1 + p.accepted
    return {"passes": passes, "tokens": tokens}


def middle(values: Sequence[float | None]) -> float | None:
    """The median of the values that are numbers, None without any."""
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.median(numbers) if numbers else None


def spread(values: Sequence[float]) -> dict[str, float | None]:
    """Median and quartiles of the values that are numbers."""
    numbers = [value for value in values if math.isfinite(value)]
    if not numbers:
        return {"median": None, "q1": None, "q3": None}
    q1, median, q3 = (float(q) for q in np.quantile(numbers, (0.25, 0.5, 0.75)))
    return {"median": median, "q1": q1, "q3": q3}


def row_of(setting: Setting, measured: Sequence[Measured], dtype: str) -> dict[str, Any]:
    """The figures of a setting over all sources. Counts and seconds are sums."""
    runs = [m.run for m in measured]
    tokens, faces = sum(run.n_tokens for run in runs), sum(run.n_faces for run in runs)
    passes, seconds = sum(run.n_passes for run in runs), sum(run.seconds for run in runs)
    drafting = setting.drafting
    large = [m.speedup for m in measured if (m.subject.answer_faces or 0) >= LARGE]
    divergences = [d.as_dict(dtype) for m in measured for d in m.divergences]
    speculative = setting.drafter != "none"

    def mean(index: int) -> float | None:
        known = [m.quality[index] for m in measured if m.quality is not None and math.isfinite(m.quality[index])]
        return statistics.fmean(known) if known else None

    return {
        "name": setting.name, "drafter": setting.drafter, "width": setting.width if speculative else 1,
        "face_drafts": drafting.face_tokens, "point_drafts": drafting.vertex_tokens,
        "correction": drafting.correction, "fusion": drafting.fusion, "after_face": drafting.after_face,
        "skip_first": drafting.skip_first, "min_confidence": drafting.min_confidence,
        "meshes": len(measured), "tokens": tokens, "faces": faces, "passes": passes, "seconds": seconds,
        "tokens_per_pass": tokens / passes if passes else None,
        "face_acc": accuracy(runs, "face", setting.face_of) if speculative else None,
        "face_of": setting.face_of if speculative else None,
        "point_acc": accuracy(runs, "point", setting.point_of) if speculative else None,
        "point_of": setting.point_of if speculative else None,
        "by_place": by_place(runs), "passes_per_second": passes / seconds if seconds else None,
        "tokens_per_second": tokens / seconds if seconds else None,
        "faces_per_second": faces / seconds if seconds else None,
        "speedup": spread([m.speedup for m in measured]), f"speedup_from_{LARGE}_faces": spread(large),
        "first_face_seconds": middle([
            None if m.run.first_face is None else m.prepare_seconds + m.run.first_face for m in measured
        ]),
        "pass_ms": middle([1e3 * m.run.loop_seconds / max(1, len(m.run.loop_rows())) for m in measured]),
        "matmul_ms": middle([1e3 * m.floor_seconds / max(1, len(m.run.loop_rows())) for m in measured]),
        "pass_over_matmul": middle([m.over_products for m in measured]),
        "families": by_family(measured), "identical": not divergences, "divergences": divergences,
        "mean_chamfer": mean(0), "mean_hausdorff": mean(1), "mean_bbox_iou": mean(2),
    }  # fmt: skip


def by_family(measured: Sequence[Measured]) -> dict[str, dict[str, Any]]:
    """Sources, tokens a pass and speed-up of each family."""
    families: dict[str, list[Measured]] = {}
    for m in measured:
        families.setdefault(m.subject.family, []).append(m)
    return {
        family: {
            "sources": len(of), "speedup": spread([m.speedup for m in of]),
            "tokens_per_pass": sum(m.run.n_tokens for m in of) / max(1, sum(m.run.n_passes for m in of)),
        }
        for family, of in families.items()
    }  # fmt: skip


def mesh_figures(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """A line a source, for the JSON file."""
    return [
        {
            "mesh": m.subject.name, "family": m.subject.family, "answer_faces": m.subject.answer_faces,
            "wanted": m.subject.wanted,
            "faces": m.run.n_faces, "tokens": m.run.n_tokens, "passes": m.run.n_passes, "seconds": m.run.seconds,
            "speedup": m.speedup, "pass_over_matmul": m.over_products, "identical": not m.divergences,
        }
        for m in measured
    ]  # fmt: skip


# ---------------------------------------------------------------- words

_Column = tuple[str, Callable[[dict[str, Any]], str]]


def _number(name: str, form: str = ".1f", out_of: str | None = None) -> Callable[[dict[str, Any]], str]:
    def text(row: dict[str, Any]) -> str:
        value = row[name]
        if value is None:
            return "-"
        return f"{value:{form}}" + (f"/{row[out_of]}" if out_of else "")

    return text


def speedup_text(row: dict[str, Any]) -> str:
    """ "3.12 (2.90-3.41)", the median and the quartiles."""
    s = row["speedup"]
    return "-" if s["median"] is None else f"{s['median']:.2f} ({s['q1']:.2f}-{s['q3']:.2f})"


COLUMNS: tuple[_Column, ...] = (
    ("row", lambda row: row["name"]),
    ("tokens/pass", _number("tokens_per_pass", ".2f")),
    ("Face-Acc", _number("face_acc", ".2f", "face_of")),
    ("Point-Acc", _number("point_acc", ".2f", "point_of")),
    ("passes/s", _number("passes_per_second")),
    ("tokens/s", _number("tokens_per_second", ".0f")),
    ("faces/s", _number("faces_per_second")),
    ("speed-up", speedup_text),
    ("first face s", _number("first_face_seconds", ".2f")),
    ("pass ms", _number("pass_ms", ".2f")),
    ("products ms", _number("matmul_ms", ".2f")),
    ("ratio", _number("pass_over_matmul", ".2f")),
    ("identical", lambda row: "yes" if row["identical"] else f"NO, {len(row['divergences'])} differ"),
)


def table_text(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in aligned columns."""
    cells = [[title for title, _ in COLUMNS], *([text(row) for _, text in COLUMNS] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def divergence_text(row: dict[str, Any]) -> list[str]:
    """A line for each mesh of the row that is not plain decoding's."""
    lines = []
    for d in row["divergences"]:
        kind = "a near-tie" if d["near_tie"] else "NOT a near-tie"
        gaps = ", ".join(f"{name} {d[f'{name}_gap']:.2g}" for name in ("plain", "other") if f"{name}_gap" in d)
        lines.append(f"{row['name']}: {d['mesh']} differs from token {d['token']} on, {kind} (two best scores: {gaps})")
    return lines
