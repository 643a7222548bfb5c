"""Model configurations and the presets (paper Tab. 8). The checkpoint's JSON is this dataclass."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

# Rows of `num_bins` bits over the next coordinate that the decoder may be shown; see slices.py.
SLICE_ROWS = (
    "surface",  # the input surface
    "crease",  # where the input surface bends sharply
    "open",  # earlier vertices that still have an open half-edge
    "strong",  # what the half-edge table names first for this slot
    "weak",  # what it names second
    "corner",  # corners of the input surface
    "seen",  # every earlier vertex
    "supported_corner",  # corners not yet used that, with the face begun, lie along the surface
    "supported_seen",  # earlier vertices of which the same is true
    "proxy",  # vertices with which the face begun is, or can become, a face of the proxy mesh
    # The rest is in candidate_rows.py.
    "near",  # vertices of the proxy mesh, to two bins, where the mesh has none yet
    "richer",  # the same of the proxy mesh of twice the faces
    "beside",  # vertices of the proxy mesh that it joins to those at v0 and v1, to two bins
    "level",  # coordinates of earlier vertices
    "line",  # coordinates of earlier vertices on the line that the vertex begun lies on
    "mirror",  # mirror images of earlier vertices
)
NUMBERS_OF_ROWS = (0, 9, 10, 16)  # that a model may be shown: none, all but the proxy's faces, all of slices.py, all
PRECISIONS = ("auto", "bf16", "int16", "float32", "torch")  # of the weights on a CPU, see `Engine.load`


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of a model. Checked once, here; a ValueError names the field, the range and the value."""

    name: str
    num_bins: int = 128  # bins an axis
    dim: int = 256  # width of every level
    heads: int = 4  # attention heads of every level
    coordinate_layers: tuple[int, int] = (1, 1)  # before and after the inner levels
    vertex_layers: tuple[int, int] = (2, 2)  # before and after the face level
    face_layers: int = 6
    cross_attention: tuple[bool, bool, bool] = (True, True, True)  # coordinate, vertex, face level
    ffn_ratio: float = 8.0 / 3.0  # hidden width of the gated FFN over dim
    window: int = 18_432  # tokens that self-attention sees; a multiple of 9
    level_windows: tuple[int, int, int] | None = None  # the same by level (coordinate, vertex, face) where they differ
    num_points: int = 2048  # surface samples the condition encoder reads
    num_latents: int = 128  # condition tokens beside the face-count token
    encoder_layers: int = 3  # self-attention layers over the latents
    fourier_bands: int = 8  # octaves of the point features
    slice_rows: tuple[str, ...] = ()  # the first of SLICE_ROWS, as many as NUMBERS_OF_ROWS says
    coordinate_drafts: int = 2  # tokens drafted at the coordinate level, after the main token
    vertex_drafts: int = 5  # vertices drafted at the vertex level, the main token's own included
    face_drafts: int = 2  # faces drafted at the face level, the main token's own included
    draft_ffn_ratio: float = 1.0  # hidden width of an HF-Block's per-position FFN over dim

    def __post_init__(self) -> None:
        for field in ("coordinate_layers", "vertex_layers", "cross_attention", "slice_rows"):
            object.__setattr__(self, field, _tuple(field, getattr(self, field)))
        if self.level_windows is not None:
            object.__setattr__(self, "level_windows", _tuple("level_windows", self.level_windows))
        ranges: dict[str, tuple[float, float]] = {
            "num_bins": (2, 4096), "dim": (16, 16384), "heads": (1, 256), "face_layers": (1, 256),
            "ffn_ratio": (0.25, 16.0), "window": (9, 10_000_000), "num_points": (16, 1_000_000),
            "num_latents": (1, 65_536), "encoder_layers": (0, 64), "fourier_bands": (1, 32),
            "coordinate_drafts": (0, 64), "vertex_drafts": (0, 64), "face_drafts": (0, 64),
            "draft_ffn_ratio": (0.05, 16.0),
        }  # fmt: skip
        if not isinstance(self.name, str) or not 1 <= len(self.name) <= 64:
            raise ValueError(f"name must be a text of 1 to 64 characters, got {self.name!r:.80}")
        for field, (low, high) in ranges.items():
            value, kind = getattr(self, field), int if isinstance(low, int) else (int, float)
            if not isinstance(value, kind) or isinstance(value, bool):
                word = "an integer" if kind is int else "a number"
                raise ValueError(f"{field} must be {word} in [{low}, {high}], got {value!r:.80}")
            if not low <= value <= high:
                raise ValueError(f"{field} must be in [{low}, {high}], got {value}")
        if self.dim % self.heads or (self.dim // self.heads) % 2:
            raise ValueError(f"dim must be heads times an even number, got dim {self.dim}, heads {self.heads}")
        if self.window % 9:
            raise ValueError(f"window must be a multiple of 9, got {self.window}")
        narrow = self.level_windows
        if narrow is not None and (
            len(narrow) != 3 or any(type(w) is not int or w % 9 or not 9 <= w <= self.window for w in narrow)
        ):
            raise ValueError(f"level_windows must be three multiples of 9 in [9, window = {self.window}], got {narrow}")
        for field in ("coordinate_layers", "vertex_layers"):
            pair = getattr(self, field)
            whole = all(type(count) is int for count in pair)
            if len(pair) != 2 or not whole or not (0 <= pair[0] <= 64 and 1 <= pair[1] <= 64):
                raise ValueError(f"{field} must be a pair of integers from (0, 1) to (64, 64), got {pair!r:.80}")
        if len(self.cross_attention) != 3 or any(type(given) is not bool for given in self.cross_attention):
            raise ValueError(f"cross_attention must be three of true and false, got {self.cross_attention!r:.80}")
        if self.slice_rows not in [SLICE_ROWS[:count] for count in NUMBERS_OF_ROWS]:
            raise ValueError(f"slice_rows must be the first {NUMBERS_OF_ROWS} of {SLICE_ROWS}, got {self.slice_rows}")

    @property
    def eos(self) -> int:
        """The end token, the last class of the logits."""
        return self.num_bins

    @property
    def bos(self) -> int:
        """The begin token; never predicted."""
        return self.num_bins + 1

    @property
    def pad(self) -> int:
        """The filler of batches; never predicted, never a target."""
        return self.num_bins + 2

    @property
    def num_classes(self) -> int:
        """Width of the logits: the bins and EOS."""
        return self.num_bins + 1

    def level_window(self, level: int) -> int:
        """Positions of a level (0 coordinate, 1 vertex, 2 face) that its self-attention and draft heads see."""
        return (self.level_windows or (self.window,) * 3)[level] // 3**level

    @property
    def layer_string(self) -> str:
        """Layers per level as the paper writes them, for example 4-8-12."""
        return f"{sum(self.coordinate_layers)}-{sum(self.vertex_layers)}-{self.face_layers}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`; unknown or missing fields are a ValueError."""
        if not isinstance(data, dict):
            raise ValueError(f"config must be an object, got {data!r:.80}")
        known = {field.name for field in dataclasses.fields(ModelConfig)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise ValueError(f"config has unknown fields {unknown}; known are {sorted(known)}")
        if "name" not in data:
            raise ValueError("config must have a field 'name'")
        return ModelConfig(**data)


def _tuple(field: str, value: Any) -> tuple:
    """A short list as a tuple; a ValueError for anything else."""
    if not isinstance(value, (list, tuple)) or len(value) > 64:
        raise ValueError(f"{field} must be a list of at most 64 entries, got {value!r:.80}")
    return tuple(value)


def _presets() -> dict[str, ModelConfig]:
    paper = {"coordinate_layers": (2, 2), "vertex_layers": (4, 4), "face_layers": 12, "encoder_layers": 5}
    paper |= {"num_points": 8192, "num_latents": 1024, "num_bins": 1024}
    big = {"coordinate_layers": (2, 2), "vertex_layers": (5, 5), "face_layers": 18}
    configs = [
        ModelConfig(
            name="debug", dim=48, heads=2, coordinate_layers=(1, 1), vertex_layers=(1, 1), face_layers=1,
            cross_attention=(False, True, True), ffn_ratio=2.0, window=1152, level_windows=(144, 288, 1152),
            num_points=256, num_latents=16, encoder_layers=1, fourier_bands=6, slice_rows=SLICE_ROWS[:10],
            draft_ffn_ratio=0.5,
        ),
        ModelConfig(
            name="nano", dim=256, heads=4, coordinate_layers=(1, 1), vertex_layers=(2, 2), face_layers=6,
            cross_attention=(False, True, True), ffn_ratio=2.0, window=2304, level_windows=(288, 576, 2304),
            num_points=1024, num_latents=64, encoder_layers=2, slice_rows=SLICE_ROWS, draft_ffn_ratio=0.25,
        ),
        ModelConfig(
            name="small", dim=512, heads=8, coordinate_layers=(1, 1), vertex_layers=(2, 2), face_layers=6,
            cross_attention=(False, True, True), ffn_ratio=2.0, window=2304, level_windows=(288, 576, 2304),
            num_points=1024, num_latents=64, encoder_layers=2, slice_rows=SLICE_ROWS, draft_ffn_ratio=0.25,
        ),
        ModelConfig(name="meshtron-0.5b", dim=768, heads=8, window=18_432, **paper),  # type: ignore[arg-type]
        ModelConfig(name="meshtron-1b", dim=1536, heads=16, window=18_432, **paper),  # type: ignore[arg-type]
        ModelConfig(name="mesh-rft", dim=1536, heads=16, window=36_864, **paper),  # type: ignore[arg-type]
        ModelConfig(name="meshtron-2b", dim=2048, heads=16, window=18_432, **(paper | big)),  # type: ignore[arg-type]
    ]  # fmt: skip
    return {config.name: config for config in configs}


PRESETS = _presets()

# Billions of parameters that the paper gives, without and with the draft heads (Tab. 1, Tab. 8).
PAPER_PARAMETERS = {
    "meshtron-0.5b": (0.5, 0.8),
    "meshtron-1b": (1.1, 1.6),
    "mesh-rft": (1.1, 1.6),
    "meshtron-2b": (2.3, 3.4),
}


def preset(name: str) -> ModelConfig:
    """The preset `name`, or a ValueError that lists the names."""
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {sorted(PRESETS)}, got {name!r}")
    return PRESETS[name]
