"""Muon for the hidden matrices beside Adam for the rest (measured against Adam alone in docs/log.md)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def orthogonalize(update_PRC: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices, by a quintic Newton-Schulz iteration in bfloat16; (..., R, C)."""
    x = update_PRC.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, for parameters of two axes and for stacks of matrices of three.

    torch.optim.Muon takes single matrices only; the draft heads keep theirs stacked, and equal shapes are
    orthogonalised in one batch here, which is what makes the step cheap at small widths.
    """

    def __init__(
        self, params: list[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        """One update of every parameter with a gradient."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[tuple[nn.Parameter, Tensor]]] = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1.0 - group["momentum"])
                update = parameter.grad.lerp(state["momentum"], group["momentum"])
                by_shape.setdefault(tuple(parameter.shape[-2:]), []).append((parameter, update))
            for (rows, columns), entries in by_shape.items():
                stacked = torch.cat([update.reshape(-1, rows, columns) for _, update in entries])
                whole = orthogonalize(stacked).float() * max(1.0, rows / columns) ** 0.5
                at = 0
                for parameter, update in entries:
                    count = update.numel() // (rows * columns)
                    parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                    parameter.sub_(whole[at : at + count].view_as(parameter), alpha=group["lr"])
                    at += count


def make_optimizers(
    model: nn.Module, name: str, lr: float, muon_lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """`adam`: Adam (0.9, 0.99) as in the paper (Sec. 10); `muon`: Muon for hidden matrices, Adam for the rest.

    Parameters that need no gradient are left out.
    """
    if name not in ("adam", "muon"):
        raise ValueError(f"optimizer must be 'adam' or 'muon', got {name!r}")
    matrices, rest = [], []
    for key, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        hidden = parameter.ndim >= 2 and not any(
            part in key
            for part in (
                "embed",
                "latents",
                "slices",
                "head.weight",
                "label",
                "copy_gates",
                "point_in",
                "count_in",
            )
        )
        (matrices if hidden and name == "muon" else rest).append(parameter)
    adam = torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay)
    return [adam, Muon(matrices, muon_lr, weight_decay=weight_decay)] if matrices else [adam]
