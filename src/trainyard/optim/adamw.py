"""AdamW (Loshchilov and Hutter 2019), by torch's fused kernel."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from trainyard.config.train import Train


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trained parameters in AdamW's two groups: matrices decay, vectors (biases, norms) do not.

    None is empty but where nothing is trained, as in a stage of a pipeline that is frozen. Each says under `decays`
    which it is, in checkpoints too: a rate of 0 tells nothing.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {
            "params": [parameter for parameter in parameters if parameter.ndim >= 2],
            "weight_decay": weight_decay,
            "decays": True,
        },
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0, "decays": False},
    ]
    return [group for group in groups if group["params"]] or groups[:1]


def build_adamw(model: nn.Module, train: Train) -> torch.optim.AdamW:
    """AdamW over the groups of `parameter_groups`, by torch's fused kernel."""
    return torch.optim.AdamW(parameter_groups(model, train.weight_decay), **adamw_arguments(train))


def adamw_arguments(train: Train) -> dict[str, Any]:
    """What AdamW is given in every engine, besides its parameters."""
    return {"lr": train.learning_rate, "betas": train.betas, "eps": train.epsilon, "fused": True}


def set_hyperparameters(groups: Iterable[dict[str, Any]], train: Train, learning_rate: float) -> None:
    """Give an optimizer's groups what a step is taken with.

    A checkpoint brings the groups that it was saved with, and a run that begins from another one's state has settings
    of its own: so they are set at each step. Groups that a checkpoint brings without `decays` keep their weight decay.
    """
    for group in groups:
        group |= {"lr": learning_rate, "betas": train.betas, "eps": train.epsilon}
        if "decays" in group:
            group["weight_decay"] = train.weight_decay if group["decays"] else 0.0
