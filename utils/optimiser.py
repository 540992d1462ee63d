"""What drives the weights: the learning rate over a training, which weights decay, the scale of losses in half precision."""

import math
from types import SimpleNamespace
from typing import Any, Dict, List

import torch
from torch import nn


def learning_rate(settings: SimpleNamespace, progress: float) -> float:
    """Linear rise, then a cosine to a hundredth of the peak; progress from 0 to 1."""
    if progress < settings.warmup:
        return settings.learning_rate * max(progress / settings.warmup, 0.01)
    return settings.learning_rate * (
        0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - settings.warmup) / (1 - settings.warmup)))
    )


def weight_decay_groups(model: nn.Module, decay: float) -> List[Dict[str, Any]]:
    """Decay for matrices; none for biases, norms and scales."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def grad_scaler(enabled: bool) -> Any:
    """torch's GradScaler, which moved between torch 1.13 and 2.x."""
    scaler = getattr(torch.amp, "GradScaler", None) or torch.cuda.amp.GradScaler
    return scaler(enabled=enabled)
