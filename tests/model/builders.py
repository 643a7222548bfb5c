"""Small models and random inputs for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flashmesh_core.config import ModelConfig
from flashmesh_core.model.hourglass import Hourglass


def small_config(**changes: Any) -> ModelConfig:
    """A few thousand parameters, every part present, two layers where a level may have several."""
    base: dict[str, Any] = {
        "name": "small", "num_bins": 6, "dim": 16, "heads": 2, "coordinate_layers": (1, 2), "vertex_layers": (1, 2),
        "face_layers": 2, "ffn_ratio": 1.0, "window": 1152, "num_points": 16, "num_latents": 3, "encoder_layers": 1,
        "fourier_bands": 2, "coordinate_drafts": 2, "vertex_drafts": 2, "face_drafts": 2, "draft_ffn_ratio": 0.5,
    }  # fmt: skip
    return ModelConfig(**(base | changes))


def small_model(seed: int = 0, **changes: Any) -> Hourglass:
    """A small model with random weights larger than at the start of training, so that every part matters."""
    model = Hourglass(small_config(**changes)).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    model.reset_parameters(generator)
    for name, parameter in model.named_parameters():
        if "embed" in name or name == "slices" or parameter.ndim < 2:
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model


def windows(window: int | tuple[int, int, int]) -> dict[str, Any]:
    """The fields of a configuration for one window, or for one a level."""
    return {"window": window} if isinstance(window, int) else {"window": max(window), "level_windows": window}


def random_inputs(model: Hourglass, length: int, batch: int = 1, seed: int = 0) -> tuple[Tensor, Tensor, Tensor | None]:
    """Tokens (B, N) that begin with BOS, a condition (B, S, D) and, where the model reads them, rows (B, N, R, Q)."""
    config = model.config
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, config.num_bins, (batch, length), generator=generator)
    tokens[:, :9] = config.bos
    points = torch.randn(batch, config.num_points, 7, generator=generator) * 0.3
    condition = model.encode(points, torch.tensor([100.0, 0.0, 7.0])[:batch])
    rows = None
    if config.slice_rows:
        shape = (batch, length, len(config.slice_rows), config.num_bins)
        rows = (torch.rand(shape, generator=generator) < 0.3).float()
    return tokens, condition, rows
