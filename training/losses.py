"""The joint loss (paper Eq. 6 to 8): main and draft tokens, and the vertex labels with weight gamma."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from flashmesh_core.model.draft_heads import LABEL_HISTORICAL, LABEL_INTRA_BATCH, LABEL_NEW
from flashmesh_core.model.hourglass import Hourglass, LevelStates
from flashmesh_core.model.packing import make_packing
from training.data import NO_VERTEX
from training.mistakes import IGNORE

GAMMA = 0.3


@dataclass
class LossParts:
    """Sums and counts, so that micro-batches add up: nats of main tokens, drafts per level and labels."""

    total: Tensor
    values: dict[str, float]


def _sum(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    loss = F.cross_entropy(logits.float().flatten(0, -2), targets.flatten(), ignore_index=IGNORE, reduction="sum")
    return loss, (targets != IGNORE).sum()


def draft_targets(targets_BN: Tensor, groups_BS: Tensor, width: int, first: int, count: int) -> Tensor:
    """Tokens that the split nodes of face groups draft, (B, S * 9 / width, count).

    A node of a level with `width` tokens a node ends at n = node * width + width - 1; its first draft is the token at
    n + 1 + first. `targets_BN[n]` is the token at n + 1.
    """
    nodes = 9 // width
    node = groups_BS[:, :, None] * nodes + torch.arange(nodes, device=groups_BS.device)
    start = node.flatten(1) * width + width - 1 + first
    index = start[:, :, None] + torch.arange(count, device=groups_BS.device)
    return torch.gather(targets_BN, 1, index.flatten(1)).view(index.shape)


def label_targets(first_BV: Tensor, groups_BS: Tensor, nodes: int, count: int) -> Tensor:
    """Labels of the `count` vertices after each vertex-level (nodes = 3) or face-level (nodes = 1) split node."""
    width = 3 // nodes
    node = groups_BS[:, :, None] * nodes + torch.arange(nodes, device=groups_BS.device)
    start = (node.flatten(1) + 1) * width
    vertex = start[:, :, None] + torch.arange(count, device=groups_BS.device)
    first = torch.gather(first_BV, 1, vertex.flatten(1)).view(vertex.shape)
    label = torch.where(first < start[:, :, None], LABEL_HISTORICAL, LABEL_INTRA_BATCH)
    label = torch.where(first == vertex, LABEL_NEW, label)
    return torch.where(first == NO_VERTEX, IGNORE, label)


def states_of(model: Hourglass, batch: dict[str, Tensor]) -> tuple[Tensor, LevelStates]:
    """The condition of a micro-batch and the backbone's states; of packed sequences where it holds `crops`."""
    condition = model.encode(batch["points"], batch["face_count"])
    packing, owner = None, batch.get("crops")
    if owner is not None:
        sequences, each = len(owner), len(condition) // len(owner)
        packing = make_packing(model.config, owner, each, condition.shape[1])
        condition = condition.view(sequences, -1, condition.shape[2])
    return condition, model.states(batch["tokens"], condition, batch.get("rows"), packing)


def backbone_loss(model: Hourglass, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Nats of the main tokens and how many they are; plain tensors, for a compiled step."""
    logits = states_of(model, batch)[1].logits_BNC
    return _sum(logits, batch["targets"][:, : logits.shape[1]])


def joint_loss(
    model: Hourglass, batch: dict[str, Tensor], groups_BS: Tensor | None, draft_weight: float = 1.0
) -> LossParts:
    """L_coord + gamma * L_label of one micro-batch.

    `groups_BS` are the face groups whose split nodes train the draft heads (None: no drafts). L_coord is the average
    over main and drafted tokens, a drafted token counting `draft_weight`.
    """
    config = model.config
    condition, states = states_of(model, batch)
    length = batch["tokens"].shape[1]
    main, main_count = _sum(states.logits_BNC, batch["targets"][:, :length])
    values = {"main_sum": main.item(), "main_count": float(main_count)}
    if groups_BS is None:
        return LossParts(main / main_count.clamp(min=1), values)

    drafts = model.drafts.draft_all(states.coordinate_BND, states.vertex_BVD, states.face_BFD, condition, groups_BS)
    total, count = main, main_count.float()
    levels = (
        ("coordinate", drafts.coordinate_BSPD, 1, 1, config.coordinate_drafts),
        ("vertex", drafts.vertex_BSPD, 3, 0, 3 * config.vertex_drafts),
        ("face", drafts.face_BSPD, 9, 0, 9 * config.face_drafts),
    )
    for name, state, width, first, drafted in levels:
        if state is None:
            continue
        logits = model.head(model.out_norm(state))
        loss, number = _sum(logits, draft_targets(batch["targets"], groups_BS, width, first, drafted))
        total, count = total + draft_weight * loss, count + draft_weight * number
        values |= {f"{name}_sum": loss.item(), f"{name}_count": float(number)}
    loss = total / count.clamp(min=1)

    label_sum = torch.zeros((), device=loss.device)
    label_count = torch.zeros((), device=loss.device)
    for labels, nodes, drafted in (
        (drafts.vertex_labels_BSPC, 3, config.vertex_drafts),
        (drafts.face_labels_BSPC, 1, 3 * config.face_drafts),
    ):
        if labels is not None:
            part, number = _sum(labels, label_targets(batch["first"], groups_BS, nodes, drafted))
            label_sum, label_count = label_sum + part, label_count + number
    values |= {"label_sum": label_sum.item(), "label_count": float(label_count)}
    return LossParts(loss + GAMMA * label_sum / label_count.clamp(min=1), values)
