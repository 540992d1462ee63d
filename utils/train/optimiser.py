"""Learning rate schedule, parameter groups, and the scaling of losses in half precision."""

import math
from types import SimpleNamespace
from typing import Any, Dict, List

import torch
from torch import nn


def learning_rate(settings: SimpleNamespace, progress: float) -> float:
    """Linear warm-up, then a cosine down to a hundredth of the peak. progress: from 0 to 1."""
    if progress < settings.warmup:
        return settings.learning_rate * max(progress / settings.warmup, 0.01)
    return settings.learning_rate * (
        0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - settings.warmup) / (1 - settings.warmup)))
    )


def parameter_groups(model: nn.Module, settings: SimpleNamespace) -> List[Dict[str, Any]]:
    """Parameter groups: weight decay for matrices, none for biases, norms and scales.

    `scale`, a factor of the learning rate, is 1 except in pre-trained layers, where it is `layer_decay` to the power of how far
    the layer is below the heads (Howard and Ruder 2018, section 3.2: discriminative fine-tuning).
    """
    depths: Dict[nn.Parameter, int] = getattr(model.front, "depths", dict)()
    groups = []
    for depth in sorted({0, *depths.values()}):
        here = [p for p in model.parameters() if depths.get(p, 0) == depth]
        for matrices, decay in ((True, settings.weight_decay), (False, 0.0)):
            chosen = [p for p in here if (p.dim() > 1) == matrices]
            groups.append({"params": chosen, "weight_decay": decay, "scale": settings.layer_decay**depth})
    return groups


def grad_scaler(enabled: bool) -> Any:
    """torch's GradScaler; torch 2.x has it in another module than 1.13."""
    scaler = getattr(torch.amp, "GradScaler", None) or torch.cuda.amp.GradScaler
    return scaler(enabled=enabled)
