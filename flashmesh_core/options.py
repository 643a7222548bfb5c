"""What a generation can be asked for: every option's type, range and default, once. Standard library only.

The engine, the service, its clients and the command lines check by `OPTIONS`, and take their defaults from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from flashmesh_core.drafters import DRAFTER_NAMES
from flashmesh_core.errors import InputError

MAX_FACES = 10_000
MAX_WIDTH = 64
MAX_SEED = 2**32 - 1
DEFAULT_FACE_LIMIT = 2_000
AUTO_CHOICES = {"auto": None, "on": True, "off": False}  # as command lines name what is a bool or None
OLD_NAMES = {"guidance": "coverage_guidance"}  # what options were called before
CORRECTIONS = ("off", "paper", "joint")


@dataclass(frozen=True)
class OptionSpec:
    """What an option may be: its type, range and default. Where the default is None, None is allowed."""

    kind: type
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()  # of a text; low and high then say nothing
    default: Any = None

    @property
    def nullable(self) -> bool:
        """Whether None is allowed."""
        return self.default is None

    def check(self, name: str, value: Any) -> Any:
        """`value` in its type, or an InputError that names the option, the range and the value given.

        Scalars of numpy count as what they hold.
        """
        if hasattr(value, "item") and not hasattr(value, "__len__"):
            value = value.item()
        if value is None and self.nullable:
            return None
        fits = isinstance(value, (int, float) if self.kind is float else self.kind)
        if isinstance(value, bool) and self.kind is not bool:
            fits = False
        if fits and self.kind in (int, float):
            fits = self.low <= value <= self.high  # false for NaN
        if fits and self.kind is str:
            fits = value in self.choices if self.choices else self.low <= len(value) <= self.high
        if not fits:
            raise InputError(f"{name} must be {self.describe()}, got {value!r:.80}", field=name)
        return self.kind(value)

    def describe(self) -> str:
        """The allowed values in words, as for "faces must be ..."."""
        words = {
            bool: "true or false",
            int: f"an integer in [{self.low:,}, {self.high:,}]",
            float: f"a number in [{self.low:g}, {self.high:g}]",
            str: " or ".join(self.choices) if self.choices else f"a text of {self.low:g} to {self.high:g} characters",
        }[self.kind]
        return words + (" or null" if self.nullable else "")


def _option(default: Any, kind: type, low: float = 0, high: float = 0, choices: tuple[str, ...] = ()) -> Any:
    """A field of `Options` with its default, type and range."""
    return field(default=default, metadata={"spec": OptionSpec(kind, low, high, choices, default)})


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a generation can be asked for. Raises InputError, a ValueError that names field, range and value."""

    faces: int | None = _option(None, int, 1, MAX_FACES)  # wanted number; None leaves it to the model
    seed: int = _option(0, int, 0, MAX_SEED)
    temperature: float = _option(0.5, float, 0.0, 2.0)  # 0 is greedy
    surface: bool = _option(True, bool)  # keep vertices near the input surface
    manifold: bool | None = _option(None, bool)  # use a directed edge once; None: where the source does
    watertight: bool = _option(False, bool)  # close openings of the source too; what it has closed is closed anyway
    fill_holes: bool = _option(True, bool)  # repair what the model left open or wrote badly from the proxy mesh
    clean_up: bool = _option(True, bool)  # without strays and insides of the source, its seams and small holes closed
    keep_vertices: bool | None = _option(None, bool)  # the source's own; None: if it has few faces
    coverage_guidance: float = _option(6.0, float, 0.0, 20.0)  # nats against faces off the uncovered surface; 0 is off
    max_faces: int | None = _option(None, int, 1, MAX_FACES)  # decoding ends here; None: see `face_limit`
    surface_tolerance: int | None = _option(None, int, 0, 64)  # bins; None: 1 around a mesh, more around sparse points
    drafter: str = _option("auto", str, choices=DRAFTER_NAMES)  # changes the speed alone
    width: int = _option(54, int, 2, MAX_WIDTH)  # tokens that a pass verifies at most, the main one included

    @staticmethod
    def of(options: Mapping[str, Any]) -> Options:
        """The options of a mapping, in which old names are taken too."""
        return Options(**current_names(options))

    def __post_init__(self) -> None:
        for option in fields(self):
            value = OPTIONS[option.name].check(option.name, getattr(self, option.name))
            object.__setattr__(self, option.name, value)

    @property
    def face_limit(self) -> int:
        """The number of faces at which decoding ends: `max_faces`, or 1.5 times the wanted number, or 2,000."""
        if self.max_faces is not None:
            return self.max_faces
        return DEFAULT_FACE_LIMIT if self.faces is None else min(MAX_FACES, self.faces * 3 // 2 + 32)

    def seeds(self, candidates: int) -> tuple[int, ...]:
        """The seed of each of so many candidates: `seed` and those that follow it."""
        return tuple((self.seed + number) % (MAX_SEED + 1) for number in range(candidates))

    @property
    def closing_limit(self) -> int:
        """The number of faces up to which a finished mesh is closed: with `watertight` only `max_faces` binds."""
        return MAX_FACES if self.watertight and self.max_faces is None else self.face_limit


OPTIONS: dict[str, OptionSpec] = {option.name: option.metadata["spec"] for option in fields(Options)} | {
    # of a request, beside those of one generation
    "candidates": OptionSpec(int, 1, 16, default=1),
    "checkpoint": OptionSpec(str, 1, 256),  # one of /v1/checkpoints; None: the service's own
    "deadline": OptionSpec(float, 0.1, 86_400),  # seconds from the request to its end; None: the service's own
}
DEFAULT_WIDTH: int = OPTIONS["width"].default
DEFAULT_COVERAGE_GUIDANCE: float = OPTIONS["coverage_guidance"].default


def current_names(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options by their present names. Raises InputError where one is given by its old name and by its new one."""
    named: dict[str, Any] = {}
    for name, value in options.items():
        current = OLD_NAMES.get(name, name)
        if current in named:
            raise InputError(f"{current} must be given once, got {current!r} and its old name too", field=current)
        named[current] = value
    return named


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options in their types, by present names. Raises InputError for an unknown name or a value out of range."""
    checked = {}
    for name, value in current_names(options).items():
        if name not in OPTIONS:
            raise InputError(f"options must be among {', '.join(OPTIONS)}, got {name!r:.80}", field="options")
        checked[name] = OPTIONS[name].check(name, value)
    return checked


@dataclass(frozen=True, kw_only=True)
class Drafting:
    """The switches of speculation that only measurements need; none of them changes the output.

    `face_tokens` and `vertex_tokens` are the n-m of the paper's Table 3, `coordinate_tokens` those of the coordinate
    level after the main one; None: as many as the heads were trained for.
    """

    face_tokens: int | None = None
    vertex_tokens: int | None = None
    coordinate_tokens: int | None = None
    fusion: bool = True  # HF-Blocks
    after_face: bool = True  # optimisation A of Sec. 7.4
    skip_first: bool = True  # optimisation B
    correction: str = "off"  # of the heads' drafts: off, paper or joint
    min_confidence: float = 0.4  # drafting stops where the chance of all drafts so far falls below; 0: never

    def __post_init__(self) -> None:
        if self.correction not in CORRECTIONS:
            raise InputError(f"correction must be one of {CORRECTIONS}, got {self.correction!r}", field="correction")
        if not 0.0 <= self.min_confidence < 1.0:
            raise InputError(f"min_confidence must be in [0, 1), got {self.min_confidence}", field="min_confidence")
