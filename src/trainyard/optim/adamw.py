"""AdamW (Loshchilov and Hutter 2019), by torch's fused kernel."""

from typing import Any

import torch
from torch import nn

from trainyard.config.train import Train


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trained parameters in AdamW's two groups: matrices decay, vectors (biases, norms) do not."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]


def build_adamw(model: nn.Module, train: Train) -> torch.optim.AdamW:
    """AdamW over the groups of `parameter_groups`, by torch's fused kernel."""
    return torch.optim.AdamW(parameter_groups(model, train.weight_decay), **adamw_arguments(train))


def adamw_arguments(train: Train) -> dict[str, Any]:
    """What AdamW is given in every engine, besides its parameters."""
    return {"lr": train.learning_rate, "betas": train.betas, "eps": train.epsilon, "fused": True}
