"""What a generation can be asked for, and how its tokens are drafted."""

from __future__ import annotations

from dataclasses import dataclass, fields

from flashmesh_core.service.protocol import DEFAULT_GUIDANCE, DEFAULT_WIDTH, MAX_FACES, OPTIONS

DEFAULT_FACE_LIMIT = 2_000
CORRECTIONS = ("off", "paper", "joint")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a generation can be asked for. Checked once, here, by protocol.OPTIONS; scalars of numpy are taken too.

    A ValueError names field, range and value.
    """

    faces: int | None = None  # wanted number of faces; None leaves it to the model
    seed: int = 0
    temperature: float = 0.5  # 0 is greedy
    surface: bool = True  # keep vertices near the input surface
    manifold: bool | None = None  # use a directed edge once; None: where the source does
    watertight: bool = False  # close openings of the source too; what the source has closed is closed anyway
    fill_holes: bool = True  # repair what the model left open or wrote badly from the proxy mesh
    keep_vertices: bool | None = None  # the source's own vertices; None: where it has no more faces than are wanted
    guidance: float = DEFAULT_GUIDANCE  # nats against faces off the surface that is still bare; 0 is off
    max_faces: int | None = None  # decoding ends here; None: 1.5 times the wanted number, else 2,000
    surface_tolerance: int | None = None  # bins; None: 1 around a mesh, more around sparse points
    drafter: str = "auto"  # "none" is plain autoregressive decoding; the output is the same with each
    width: int = DEFAULT_WIDTH  # tokens that a pass verifies at most, the main one included

    def __post_init__(self) -> None:
        for option in fields(self):
            value = OPTIONS[option.name].check(option.name, getattr(self, option.name))
            object.__setattr__(self, option.name, value)

    @property
    def face_limit(self) -> int:
        """The number of faces at which decoding ends."""
        if self.max_faces is not None:
            return self.max_faces
        return DEFAULT_FACE_LIMIT if self.faces is None else min(MAX_FACES, self.faces * 3 // 2 + 32)

    @property
    def closing_limit(self) -> int:
        """The number of faces up to which a finished mesh is closed: with `watertight` only `max_faces` binds."""
        return MAX_FACES if self.watertight and self.max_faces is None else self.face_limit


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
            raise ValueError(f"correction must be one of {CORRECTIONS}, got {self.correction!r}")
        if not 0.0 <= self.min_confidence < 1.0:
            raise ValueError(f"min_confidence must be in [0, 1), got {self.min_confidence}")
