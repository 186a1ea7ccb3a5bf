"""AdamW (Loshchilov and Hutter 2019), by torch's fused kernel."""

from typing import Any, Protocol

import torch
from torch import nn


class AdamWSettings(Protocol):
    """The settings of a training that AdamW is made of."""

    @property
    def learning_rate(self) -> float:
        """The highest rate."""
        ...

    @property
    def weight_decay(self) -> float:
        """Of parameters of two or more dimensions."""
        ...

    @property
    def betas(self) -> tuple[float, float]:
        """The decay rates of the first and second moment."""
        ...

    @property
    def epsilon(self) -> float:
        """What is added to the denominator."""
        ...


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trained parameters in AdamW's two groups: matrices decay, vectors (biases, norms) do not."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]


def adamw(model: nn.Module, settings: AdamWSettings) -> torch.optim.AdamW:
    """AdamW over the groups of `parameter_groups`, by torch's fused kernel."""
    return torch.optim.AdamW(parameter_groups(model, settings.weight_decay), **adamw_arguments(settings))


def adamw_arguments(settings: AdamWSettings) -> dict[str, Any]:
    """What AdamW is given in every engine, besides its parameters."""
    return {"lr": settings.learning_rate, "betas": settings.betas, "eps": settings.epsilon, "fused": True}
