"""Starting weights for a model that has more draft heads, or fewer, or more slice rows than the checkpoint it starts
from."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from flashmesh_core.config import ModelConfig
from flashmesh_core.model.hourglass import Hourglass

DRAFTS = ("coordinate_drafts", "vertex_drafts", "face_drafts")
WEIGHTLESS = ("name", "window", "level_windows")  # fields that change no shape of a weight


def parse_drafts(text: str, config: ModelConfig) -> ModelConfig:
    """`config` with the heads that "n-m" or "n-m-c" names: tokens of the face, the vertex and the coordinate level.

    Raises ValueError for anything but multiples of 9, multiples of 3 and numbers, each within ModelConfig's ranges.
    """
    parts = text.split("-")
    if len(parts) not in (2, 3) or not all(part.isdecimal() for part in parts):
        raise ValueError(f"drafts must be n-m or n-m-c, such as 18-15 or 27-27-17, got {text!r}")
    face, vertex, *rest = (int(part) for part in parts)
    coordinate = rest[0] if rest else config.coordinate_drafts
    if face % 9 or vertex % 3:
        raise ValueError(f"drafts must be a multiple of 9 and a multiple of 3, then any number, got {text!r}")
    return dataclasses.replace(config, face_drafts=face // 9, vertex_drafts=vertex // 3, coordinate_drafts=coordinate)


def transfer(source: Hourglass, target: Hourglass) -> None:
    """Copy all weights of `source` into `target`; a head that only `target` has starts as the last one of its block,
    what reads a slice row that only it is shown starts at zero.

    Raises ValueError where the two differ in more than the numbers of drafts, the windows of attention and the rows.
    """
    mine, theirs = target.config.to_dict(), source.config.to_dict()
    same = (*DRAFTS, *WEIGHTLESS, "slice_rows") if _has_more_rows(target, source) else (*DRAFTS, *WEIGHTLESS)
    other = [field for field in mine if field not in same and mine[field] != theirs[field]]
    if other:
        said = ", ".join(f"{field} is {theirs[field]} there, {mine[field]} here" for field in other)
        raise ValueError(f"weights must be of the same model but for its numbers of drafts and its windows: {said}")
    given = _with_rows(source, target.config)
    taken = {
        name: _resized(name, given[name], tensor, target.config.dim)
        for name, tensor in target.state_dict().items()
        if name in given
    }
    target.load_state_dict(taken, strict=False)


def _has_more_rows(target: Hourglass, source: Hourglass) -> bool:
    return 0 < len(source.config.slice_rows) < len(target.config.slice_rows)


def _with_rows(source: Hourglass, config: ModelConfig) -> dict[str, Tensor]:
    """The weights of `source`, with zeros for the slice rows that only `config` has."""
    given = source.state_dict()
    have, more = len(source.config.slice_rows), len(config.slice_rows) - len(source.config.slice_rows)
    if have and more > 0:
        given["slices"] = F.pad(given["slices"], (0, 0, 0, more * config.num_bins))
        for name in ("copy_gates.weight", "copy_gates.bias"):
            gates = given[name].unflatten(0, (2, have))
            given[name] = F.pad(gates, (0, 0) * (gates.ndim - 2) + (0, more)).flatten(0, 1)
    return given


def _resized(name: str, given: Tensor, like: Tensor, dim: int) -> Tensor:
    """`given` with as many drafts as `like`: the axis of drafts is the first, within the fused matrices in units of
    `dim` rows, keys before values."""
    if given.shape == like.shape:
        return given
    parts = 2 if "kv." in name else 1
    stacked = given if given.ndim == 3 else given.view(parts, -1, dim, dim)
    wanted = len(like) if given.ndim == 3 else len(like) // (parts * dim)
    axis = 0 if given.ndim == 3 else 1
    have = stacked.shape[axis]
    index = torch.arange(wanted).clamp(max=have - 1)
    return stacked.index_select(axis, index).reshape(like.shape)
