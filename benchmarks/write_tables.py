"""Write the tables of docs/benchmarks.md, the paper beside ours, from reports of `python -m flashmesh_core bench`.

    python -m flashmesh_core bench --data DATA --heads-table --ablation --json main.json
    python benchmarks/write_tables.py main.json [more.json ...] [--heads heads.json] [--many many.json]

The first report fills the tables, but those of draft numbers (3 and 7) come from `--heads`, the report of a checkpoint
with wider heads, and that of families from `--many`, a report of more sources, where these are given. All of them are
listed in the table of identity. Only what stands between a pair of markers, `<!-- begin NAME -->` and
`<!-- end NAME -->`, is replaced. A table whose rows the first report lacks is an error, so that no table is left behind
from an older report.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from flashmesh_core.files import write_atomic  # noqa: E402

DOCS = ROOT / "docs" / "benchmarks.md"

# The paper's figures (arXiv 2511.15618): Meshtron 1B on an NVIDIA H20.
# Table 2: configuration, our label, CD, HD, BBox-IoU, tokens a second.
PAPER_TABLE_2 = (
    ("A Meshtron 1B", "plain", 0.121, 0.269, 0.901, 95.5),
    ("B w. SP-Block", "SP", 0.122, 0.269, 0.903, 109.7),
    ("C w. SP-Block + HF-Block", "SP + HF", 0.120, 0.268, 0.904, 176.5),
    ("D w. SP-Block + HF-Block + Correction", "SP + HF + paper", 0.120, 0.267, 0.905, 180.4),
)
# Table 3: n-m, Face-Acc, Point-Acc, CD, HD, tokens a second, speed-up.
PAPER_TABLE_3 = (
    ("plain", None, None, 0.121, 0.269, 98.6, 1.00),
    ("9-9", 6.43, 6.97, 0.121, 0.270, 139.9, 1.52),
    ("27-27", 8.24, 8.39, 0.127, 0.278, 114.4, 1.16),
    ("27-9", 10.07, 7.04, 0.121, 0.269, 143.0, 1.45),
    ("18-18", 9.84, 10.35, 0.120, 0.269, 179.9, 1.82),
    ("18-12", 9.85, 9.16, 0.120, 0.266, 178.1, 1.81),
    ("18-15", 9.80, 10.04, 0.120, 0.267, 180.4, 1.83),
)
# Table 6: configuration, our label, CD, HD, BBox-IoU, tokens a second.
PAPER_TABLE_6 = (
    ("A w/o any optimizations", "none", 0.120, 0.267, 0.905, 176.0),
    ("B w. (A)", "A", 0.120, 0.267, 0.905, 178.3),
    ("C w. (A) + (B)", "A + B", 0.120, 0.267, 0.905, 180.4),
)
# Table 7, the same.
PAPER_TABLE_7 = (
    ("A Variant", "variant", 0.120, 0.268, 0.906, 166.1),
    ("B Ours", "ours", 0.120, 0.267, 0.905, 180.4),
)


def number(value: float | None, form: str = ".2f") -> str:
    """A figure, or a dash where there is none."""
    return "-" if value is None else f"{value:{form}}"


def accuracy(row: dict[str, Any], level: str) -> str:
    """ "6.40/18"."""
    value = row[f"{level}_acc"]
    return "-" if value is None else f"{value:.2f}/{row[f'{level}_of']}"


def speedup(row: dict[str, Any], key: str = "speedup") -> str:
    """ "3.10 (2.85-3.40)", median and quartiles."""
    s = row[key]
    return "-" if s["median"] is None else f"{s['median']:.2f} ({s['q1']:.2f}-{s['q3']:.2f})"


def markdown(header: list[str], lines: list[list[str]]) -> str:
    """A table, the first column to the left and the others to the right."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *lines))


class Report:
    """A bench report, asked by table and label."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.report = report
        self.rows = {row["name"]: row for row in report["rows"]}

    @staticmethod
    def read(path: Path) -> Report:
        """The report in a JSON file."""
        return Report(json.loads(path.read_text(encoding="utf-8")))

    def table(self, table: str) -> dict[str, dict[str, Any]]:
        """The rows of a table by their label; ValueError where the report was made without it."""
        lines = self.report["tables"].get(table)
        if lines is None:
            option = {"table 3": "--heads-table", "drafters": "--drafters"}.get(table, "--ablation")
            raise ValueError(f"the first report must have the rows of {table}: run bench with {option}")
        return {line["label"]: self.rows[line["row"]] for line in lines}

    def missing(self, table: str) -> dict[str, str]:
        """Why a table lacks rows."""
        return {lack["label"]: lack["reason"] for lack in self.report["missing"] if lack["table"] == table}


def conditions(report: Report) -> str:
    """A sentence on how the first report was measured."""
    r = report.report
    row = r["rows"][0]
    stop = "" if r["stop_at"] is None else f", ended at {r['stop_at']} faces at the latest"
    of = "the bundled examples" if r["data"] == "examples" else f"whole objects of the {r['data']} split"
    sources = f"{r['meshes']} sources ({families(r)}) of {of} of {r['min_faces']} to {r['max_faces']} faces"
    return (
        f"Measured on {r['machine']} ({r['device']}, {r['cores']} cores, {r['threads']} torch thread(s), torch "
        f"{r['torch']}):\ncheckpoint `{r['checkpoint']}`, {r['precision']}, {sources}{stop}, temperature "
        f"{r['temperature']:g}, seed {r['seed']}; {row['tokens']:,} tokens a row."
    )


def families(r: dict[str, Any]) -> str:
    """Which kinds of sources a report is of."""
    return "as given" if r["sources"] == ["given"] else ", ".join(r["sources"])


def by_family(report: Report) -> str:
    """Every half-edge row of a report by family."""
    rows = [row for row in report.report["rows"] if row["drafter"] == "half_edge"]
    figures = ("tokens/pass", "speed-up")
    header = ["family", "sources", *(f"width {row['width']}: {figure}" for row in rows for figure in figures)]
    lines = [
        [
            family, str(of["sources"]),
            *(text for row in rows for text in (
                number(row["families"][family]["tokens_per_pass"]), speedup(row["families"][family]),
            )),
        ]
        for family, of in rows[0]["families"].items()
    ]  # fmt: skip
    every = [text for row in rows for text in (number(row["tokens_per_pass"]), speedup(row))]
    large = [text for row in rows for text in ("", speedup(row, "speedup_from_100_faces"))]
    lines += [["all", str(rows[0]["meshes"]), *every], ["from 100 faces", "", *large]]
    return markdown(header, lines)


def drafters(report: Report) -> str:
    """Every drafter and width."""
    header = [
        "drafter, width", "tokens/pass", "Face-Acc", "Point-Acc", "passes/s", "tokens/s", "faces/s", "speed-up",
        "from 100 faces", "first face s", "pass ms", "products ms", "ratio", "identical",
    ]  # fmt: skip
    lines = [
        [
            label, number(row["tokens_per_pass"]), accuracy(row, "face"), accuracy(row, "point"),
            number(row["passes_per_second"], ".0f"), number(row["tokens_per_second"], ".0f"),
            number(row["faces_per_second"], ".0f"), speedup(row), speedup(row, "speedup_from_100_faces"),
            number(row["first_face_seconds"]), number(row["pass_ms"]), number(row["matmul_ms"]),
            number(row["pass_over_matmul"]), "yes" if row["identical"] else "no",
        ]
        for label, row in report.table("drafters").items()
    ]  # fmt: skip
    return markdown(header, lines)


def quality(row: dict[str, Any]) -> list[str]:
    """CD, HD and BBox-IoU."""
    return [number(row[f"mean_{name}"], ".3f") for name in ("chamfer", "hausdorff", "bbox_iou")]


def quality_table(report: Report, table: str, paper: tuple) -> str:
    """A table of the paper with CD, HD, BBox-IoU and TPS, ours beside it; rows that are ours alone come last."""
    header = [
        "configuration", "paper CD", "HD", "BBox-IoU", "TPS", "times its first", "ours CD", "HD", "BBox-IoU", "TPS",
        "speed-up", "tokens/pass", "identical",
    ]  # fmt: skip
    rows = report.table(table)
    first = paper[0][5]
    shown = {label: [name, *(f"{v:.3f}" for v in values[:3]), f"{values[3]:.1f}", f"{values[3] / first:.2f}"]
             for name, label, *values in paper}  # fmt: skip
    lines = []
    for label, row in rows.items():
        left = shown.get(label, [label, *["-"] * 5])
        tps = number(row["tokens_per_second"], ".0f")
        identical = "yes" if row["identical"] else "no"
        lines.append([*left, *quality(row), tps, speedup(row), number(row["tokens_per_pass"]), identical])
    return markdown(header, lines)


def table_3(report: Report) -> str:
    """The draft numbers."""
    header = [
        "n-m", "paper Face-Acc", "Point-Acc", "CD", "HD", "TPS", "speed-up", "ours Face-Acc", "Point-Acc", "CD", "HD",
        "TPS", "speed-up", "tokens/pass", "identical",
    ]  # fmt: skip
    rows, missing = report.table("table 3"), report.missing("table 3")
    lines = []
    for label, face, point, *values in PAPER_TABLE_3:
        n, _, m = label.partition("-")
        line = [label, "-" if face is None else f"{face:.2f}/{n}", "-" if point is None else f"{point:.2f}/{m}"]
        line += [f"{values[0]:.3f}", f"{values[1]:.3f}", f"{values[2]:.1f}", f"{values[3]:.2f}"]
        row = rows.get(label)
        if row is None:
            lines.append([*line, "not trained", *["-"] * 7])
            continue
        line += [accuracy(row, "face"), accuracy(row, "point"), *quality(row)[:2]]
        line += [number(row["tokens_per_second"], ".0f"), speedup(row), number(row["tokens_per_pass"])]
        lines.append([*line, "yes" if row["identical"] else "no"])
    notes = "".join(f"\n\n`{label}`: {reason}." for label, reason in missing.items())
    return markdown(header, lines) + notes


def table_7(report: Report) -> str:
    """The variant of the coordinate level alone, or why it was not measured."""
    missing = report.missing("table 7")
    if missing:
        return "\n".join(f"`{label}`: {reason}." for label, reason in missing.items())
    return quality_table(report, "table 7", PAPER_TABLE_7)


def masks(r: dict[str, Any]) -> str:
    """What was set otherwise than by default of the grammar."""
    off = [] if r.get("surface", True) else ["surface off"]
    off += [] if r.get("manifold", "auto") == "auto" else [f"manifold {r['manifold']}"]
    guided = r["coverage_guidance"] if "coverage_guidance" in r else r["guidance"]  # of reports made before
    off += ["closure" if not guided else "closed at the end"] if r.get("watertight") else []
    off += [] if guided else ["coverage guidance off"]
    return ", ".join(off) or "default"


def identity(reports: list[Report]) -> str:
    """Whether the rows are plain decoding's, report by report."""
    header = [
        "weights", "families", "masks", "temperature", "seed", "candidates", "sources", "drafters", "widths", "rows",
        "identical", "differ", "near-ties",
    ]  # fmt: skip
    lines = []
    for report in reports:
        r = report.report
        speculative = [row for row in r["rows"] if row["drafter"] != "none"]
        found = [d for row in speculative for d in row["divergences"]]
        same = sum(row["identical"] for row in speculative)
        lines.append([
            r["precision"], families(r), masks(r), f"{r['temperature']:g}",
            str(r["seed"]), str(r["candidates"]), str(r["meshes"]),
            ", ".join(sorted({row["drafter"] for row in speculative})),
            ", ".join(map(str, sorted({row["width"] for row in speculative}))),
            str(len(speculative)), f"{same} of {len(speculative)}", str(len(found)),
            str(sum(d["near_tie"] for d in found)),
        ])  # fmt: skip
    return markdown(header, lines)


def replace_block(text: str, name: str, content: str) -> str:
    """`text` with `content` between the markers of `name`; ValueError where they are missing."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the document must have the markers {begin!r} and {end!r}")
    return f"{head}{begin}\n{content}\n{end}{tail}"


def write(paths: list[Path], docs: Path, wide: Path | None = None, many: Path | None = None) -> None:
    """Fill every block of `docs` from the reports, the first one first; `wide` is the one of the wider heads, `many`
    the one of more sources."""
    reports = [Report.read(path) for path in paths]
    main = heads = most = reports[0]
    if wide is not None:
        heads = Report.read(wide)
        reports.append(heads)
    if many is not None:
        most = Report.read(many)
        reports.append(most)
    text = docs.read_text(encoding="utf-8")
    blocks = {
        "conditions": conditions(main), "drafters": drafters(main),
        "table 2": quality_table(main, "table 2", PAPER_TABLE_2), "table 3": table_3(heads),
        "table 6": quality_table(main, "table 6", PAPER_TABLE_6), "table 7": table_7(heads),
        "conditions of the heads": conditions(heads), "conditions of the families": conditions(most),
        "families": by_family(most), "identity": identity(reports),
    }  # fmt: skip
    for name, content in blocks.items():
        text = replace_block(text, name, content)
    write_atomic(docs, text.encode())


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="+", help="JSON files of bench; the first one fills the tables")
    parser.add_argument("--heads", type=Path, help="the JSON file of a checkpoint with wider heads, for tables 3 and 7")
    parser.add_argument("--many", type=Path, help="the JSON file of more sources, for the table of families")
    parser.add_argument("--docs", type=Path, default=DOCS, help="document to fill (default: docs/benchmarks.md)")
    args = parser.parse_args()
    try:
        write(args.reports, args.docs, args.heads, args.many)
    except (ValueError, KeyError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
