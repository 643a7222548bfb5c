"""The rows of the benchmark: which drafter, at which width, with which switches, and the tables they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flashmesh_core.config import ModelConfig
from flashmesh_core.drafters import DRAFTERS
from flashmesh_core.options import DEFAULT_WIDTH, OPTIONS, Drafting

WITH_HEADS = tuple(name for name, drafter in DRAFTERS.items() if drafter.uses_heads)
TABLE_3 = ((9, 9), (18, 12), (18, 15), (18, 18), (27, 9), (27, 27))  # face- and point-level tokens
PAPER = (18, 15)  # the paper's own choice of these
COORDINATE_DRAFTS = 2  # of the coordinate level, after the main token (Sec. 7.4)
COORDINATE_VARIANT = 18  # tokens of Table 7's variant, which has no other level


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A way to decode. `face_of` and `point_of` are the n and m that Face-Acc and Point-Acc are out of."""

    drafter: str
    width: int
    drafting: Drafting = field(default_factory=Drafting)
    face_of: int
    point_of: int

    @property
    def name(self) -> str:
        """A name that no other setting has."""
        if self.drafter == "none":
            return "none"
        d = self.drafting
        if d.face_tokens is None:
            return f"{self.drafter} {self.width}"
        if not d.face_tokens and not d.vertex_tokens:
            return f"{self.drafter} coordinate level {self.width}"
        parts = [f"{self.drafter} {d.face_tokens}-{d.vertex_tokens}"]
        parts += [] if d.correction == "off" else [d.correction]
        parts += [word for word, present in (("no A", d.after_face), ("no B", d.skip_first)) if not present]
        return " ".join(parts)


PLAIN = Setting(drafter="none", width=2, face_of=1, point_of=1)


@dataclass(eq=False)
class Plan:
    """The settings to run, plain decoding first, and which row of which table each is."""

    settings: list[Setting] = field(default_factory=lambda: [PLAIN])
    tables: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # (label, name of the setting)
    missing: list[dict[str, str]] = field(default_factory=list)  # table, label, reason

    def add(self, table: str, label: str, setting: Setting) -> None:
        """Make `setting` the row `label` of `table`; settings that are alike run once."""
        if setting not in self.settings:
            self.settings.append(setting)
        self.tables.setdefault(table, []).append((label, setting.name))

    def lack(self, table: str, label: str, reason: str) -> None:
        """Say why `table` has no row `label`."""
        self.missing.append({"table": table, "label": label, "reason": reason})


def trained(config: ModelConfig) -> tuple[int, int, int]:
    """Tokens that the heads of the coordinate, the point and the face level were built for."""
    return config.coordinate_drafts, 3 * config.vertex_drafts, 9 * config.face_drafts


def parse_drafters(text: str) -> tuple[str, ...]:
    """Drafters out of a comma-separated list; ValueError for an unknown or a missing one."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in DRAFTERS]
    if unknown or not names:
        raise ValueError(f"drafters must be some of {', '.join(DRAFTERS)}, got {text!r}")
    return names


def parse_widths(text: str) -> tuple[int, ...]:
    """Widths out of a comma-separated list; ValueError for anything but numbers in range."""
    try:
        widths = tuple(dict.fromkeys(int(part) for part in text.split(",") if part.strip()))
    except ValueError:
        widths = ()
    if not widths:
        raise ValueError(f"widths must be {OPTIONS['width'].describe()}, separated by commas, got {text!r}")
    for width in widths:
        OPTIONS["width"].check("widths", width)
    return widths


def make_plan(
    config: ModelConfig,
    drafters: tuple[str, ...],
    widths: tuple[int, ...],
    *,
    heads_table: bool = False,
    ablation: bool = False,
) -> Plan:
    """Every drafter at every width; and the rows of the paper's Table 3, and of its Tables 2, 6 and 7.

    Raises ValueError where heads are asked of a checkpoint that has none.
    """
    wants_heads = [name for name in drafters if name in WITH_HEADS]
    if not all(trained(config)) and (wants_heads or heads_table or ablation):
        asked = f"the drafter {wants_heads[0]!r}" if wants_heads else "a table of the draft heads"
        raise ValueError(
            f"checkpoint must have draft heads at all three levels for {asked}, got {trained(config)} tokens"
        )
    plan = Plan()
    plan.add("drafters", "none", PLAIN)
    for drafter in drafters:
        for width in widths if drafter != "none" else ():
            plan.add("drafters", f"{drafter}, {width}", free(drafter, width, config))
    if heads_table:
        _add_table_3(plan, config)
    if ablation:
        _add_ablation(plan, config)
    return plan


def free(drafter: str, width: int, config: ModelConfig) -> Setting:
    """A drafter as users have it. Where the drafts are the heads' alone, accuracies are out of what these predict."""
    _, point, face = trained(config)
    if drafter != "heads":
        point = face = width
    return Setting(drafter=drafter, width=width, face_of=min(face, width), point_of=min(point, width))


def heads_alone(
    config: ModelConfig, face: int, point: int, coordinate: int | None = None, **switches: object
) -> Setting:
    """The paper's own drafts: n-m tokens and the coordinate level's, all of them verified."""
    if coordinate is None:
        coordinate = min(COORDINATE_DRAFTS, config.coordinate_drafts)
    width = max(face, point, coordinate + 1)
    drafting = Drafting(
        face_tokens=face, vertex_tokens=point, coordinate_tokens=coordinate, min_confidence=0.0, **switches  # type: ignore[arg-type]
    )  # fmt: skip
    return Setting(drafter="heads", width=width, drafting=drafting, face_of=face or width, point_of=point or width)


def _add_table_3(plan: Plan, config: ModelConfig) -> None:
    _, most_point, most_face = trained(config)
    plan.add("table 3", "plain", PLAIN)
    for face, point in TABLE_3:
        label = f"{face}-{point}"
        if face > most_face or point > most_point:
            plan.lack("table 3", label, f"the heads of the checkpoint predict {most_face}-{most_point} at most")
            continue
        plan.add("table 3", label, heads_alone(config, face, point, correction="paper"))


def _add_ablation(plan: Plan, config: ModelConfig) -> None:
    coordinate, point, face = trained(config)
    face, point = min(face, PAPER[0]), min(point, PAPER[1])
    plan.add("table 2", "plain", PLAIN)
    plan.add("table 2", "SP", heads_alone(config, 0, 0))
    plan.add("table 2", "SP + HF", heads_alone(config, face, point))
    for correction in ("paper", "joint"):
        plan.add("table 2", f"SP + HF + {correction}", heads_alone(config, face, point, correction=correction))
    for drafter, width in (("half_edge", 18), ("half_edge", DEFAULT_WIDTH), ("united", 18), ("united", DEFAULT_WIDTH)):
        plan.add("table 2", f"{drafter}, {width}", free(drafter, width, config))
    for label, after_face, skip_first in (("none", False, False), ("A", True, False), ("A + B", True, True)):
        switches: dict[str, Any] = {"correction": "paper", "after_face": after_face, "skip_first": skip_first}
        plan.add("table 6", label, heads_alone(config, face, point, **switches))
    if coordinate < COORDINATE_VARIANT - 1:
        reason = f"the coordinate-level heads of the checkpoint predict {coordinate} tokens"
        plan.lack("table 7", "variant", reason)
        return
    plan.add("table 7", "variant", heads_alone(config, 0, 0, COORDINATE_VARIANT - 1))
    plan.add("table 7", "ours", heads_alone(config, face, point, correction="paper"))
