"""Checkpoints that ship: a folder with `config.json`, `model.safetensors` and a model card.

Found by name in the package's own `checkpoints/` folder, or by the path of the folder or of its safetensors file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from flashmesh_core.config import ModelConfig
from flashmesh_core.errors import InputError
from flashmesh_core.files import write_atomic
from flashmesh_core.model.hourglass import Hourglass

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
BUNDLED = Path(__file__).with_name("checkpoints")


def bundled_names() -> list[str]:
    """Names of the checkpoints that ship inside the package."""
    if not BUNDLED.is_dir():
        return []
    return sorted(folder.name for folder in BUNDLED.iterdir() if (folder / CONFIG_FILE).is_file())


def find_checkpoint(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of a checkpoint, or a ValueError that says where was looked and which names exist."""
    path = Path(name_or_path)
    if (BUNDLED / str(name_or_path) / CONFIG_FILE).is_file() and len(path.parts) == 1:
        return BUNDLED / str(name_or_path)
    folder = path.parent if path.suffix == ".safetensors" else path
    if (folder / CONFIG_FILE).is_file() and (folder / WEIGHTS_FILE).is_file():
        return folder
    raise InputError(
        f"checkpoint must be one of {bundled_names()} or a folder with {CONFIG_FILE} and {WEIGHTS_FILE}, "
        f"got {os.fspath(name_or_path)!r}",
        field="checkpoint",
    )


def save_checkpoint(
    folder: str | os.PathLike[str],
    model: Hourglass,
    extra: dict | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write config and weights (in `dtype`, else as they are) into `folder`; each file appears whole or not at all.

    `extra` is kept in the config file under "training" for the reader's information.
    """
    from safetensors.torch import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().to("cpu", dtype or tensor.dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    write_atomic(folder / WEIGHTS_FILE, save(weights))
    data = {"format": 1, "model": model.config.to_dict(), "training": extra or {}}
    write_atomic(folder / CONFIG_FILE, json.dumps(data, indent=2).encode())


def load_config(folder: str | os.PathLike[str]) -> ModelConfig:
    """The configuration of a checkpoint folder."""
    path = Path(folder) / CONFIG_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return ModelConfig.from_dict(data["model"])
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError, MemoryError) as error:
        raise InputError(
            f"checkpoint config {path} can't be read: {error or type(error).__name__}", field="checkpoint"
        ) from error


def load_model(
    name_or_path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Hourglass:
    """The model of a checkpoint in evaluation mode; a ValueError names the file when weights and config disagree."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = find_checkpoint(name_or_path)
    config = load_config(folder)
    try:
        weights = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"checkpoint weights {folder / WEIGHTS_FILE} can't be read: {error}", field="checkpoint"
        ) from error
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            path = folder / WEIGHTS_FILE
            raise InputError(f"checkpoint weights {path} must be finite, got NaN or infinity in {name}", "checkpoint")
    with torch.device("meta"):
        model = Hourglass(config)
    try:
        model.load_state_dict({name: tensor.to(dtype) for name, tensor in weights.items()}, assign=True)
    except RuntimeError as error:
        raise InputError(f"checkpoint {folder} does not fit its config: {error}", field="checkpoint") from error
    return model.to(device).eval().requires_grad_(False)
