"""The loss of packed crops is that of the same crops in sequences of their own, and so are its gradients."""

from __future__ import annotations

import torch

from flashmesh_core.config import preset
from flashmesh_core.model.hourglass import Hourglass
from training.data import DataConfig, MeshBatches
from training.losses import backbone_loss, joint_loss


def one_by_one(batch: dict[str, torch.Tensor], pad: int) -> list[dict[str, torch.Tensor]]:
    """The crops of a packed micro-batch, each a micro-batch of a sequence without padding."""
    found = []
    each = len(batch["points"]) // len(batch["crops"])
    for lane, owner in enumerate(batch["crops"]):
        for number in range(int(owner.max()) + 1):
            at = (owner == number).repeat_interleave(9)
            own = slice(lane * each + number, lane * each + number + 1)
            found.append({
                "tokens": batch["tokens"][lane, at][None], "rows": batch["rows"][lane, at][None],
                "targets": batch["targets"][lane, : len(at)][at][None],
                "points": batch["points"][own], "face_count": batch["face_count"][own],
            })  # fmt: skip
    return found


def test_packed_crops_train_as_each_would_alone() -> None:
    torch.manual_seed(0)
    config = preset("debug")
    model = Hourglass(config)
    batch = MeshBatches(config, DataConfig(seed=1, batch_tokens=1152, packed=True), None, [])[3]
    total, count = backbone_loss(model, batch)
    (total / count).backward()
    packed = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    alone = one_by_one(batch, config.pad)
    assert len(alone) > 1
    summed = torch.zeros(())
    for crop in alone:
        parts = joint_loss(model, crop, None)
        summed = summed + parts.total * parts.values["main_count"]
    (summed / count).backward()
    torch.testing.assert_close(total, summed, rtol=1e-4, atol=1e-2)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, packed[name], rtol=1e-2, atol=1e-4, msg=name)
