"""The optimizers of a training, over torch's: AdamW, Muon with AdamW beside it, Adafactor."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from typing_extensions import override

from trainyard.config.train import Train


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trained parameters in two groups: matrices decay, vectors (biases, norms) do not.

    None is empty but where nothing is trained, as in a stage of a pipeline that is frozen. Each says under `decays`
    which it is, in checkpoints too: a rate of 0 tells nothing.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return _split_by_decay(parameters, weight_decay)


def build_optimizer(objective: nn.Module, train: Train) -> torch.optim.Optimizer:
    """The optimizer of a training.

    Adafactor (Shazeer and Stern 2018) takes the rate that it is given as a part of each matrix's own size.

    Args:
        objective: a model, or a part of one, with its loss; its `model` is one of transformers.
        train: the settings.
    """
    if train.optimizer == "muon":
        return Muon(objective, train)
    groups = parameter_groups(objective, train.weight_decay)
    if train.optimizer == "adafactor":
        return torch.optim.Adafactor(groups, lr=train.learning_rate)
    return torch.optim.AdamW(groups, **adamw_arguments(train))


def adamw_arguments(train: Train) -> dict[str, Any]:
    """What AdamW (Loshchilov and Hutter 2019) is given besides its parameters, in every engine: a fused kernel."""
    return {"lr": train.learning_rate, "betas": train.betas, "eps": train.epsilon, "fused": True}


def set_hyperparameters(groups: Iterable[dict[str, Any]], train: Train, learning_rate: float) -> None:
    """Give an optimizer's groups what a step is taken with.

    A checkpoint brings the groups that it was saved with, and a run that begins from another one's state has settings
    of its own: so they are set at each step. Groups that a checkpoint brings without `decays` keep their weight decay.
    """
    for group in groups:
        group["lr"] = learning_rate
        if "betas" in group:  # AdamW's
            group |= {"betas": train.betas, "eps": train.epsilon}
        if "decays" in group:
            group["weight_decay"] = train.weight_decay if group["decays"] else 0.0


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for the matrices of the blocks, AdamW for tables of tokens and positions and vectors.

    Both take the same rate and weight decay: Muon's step has the size of AdamW's (Liu et al. 2025, Muon is Scalable
    for LLM Training, section 2.2).
    """

    def __init__(self, objective: nn.Module, train: Train) -> None:
        """Take the trained parameters; arguments as of `build_optimizer`."""
        tables = _find_tables(objective)
        trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        blocks = [parameter for parameter in trained if parameter.ndim == 2 and id(parameter) not in tables]
        others = [parameter for parameter in trained if parameter.ndim != 2 or id(parameter) in tables]
        muon_group = {"params": blocks, "weight_decay": train.weight_decay, "decays": True}
        muon = torch.optim.Muon([muon_group], lr=train.learning_rate, adjust_lr_fn="match_rms_adamw")
        adamw = torch.optim.AdamW(_split_by_decay(others, train.weight_decay), **adamw_arguments(train))
        self._parts = (muon, adamw)
        super().__init__([group for part in self._parts for group in part.param_groups], {})
        self._share()

    @override
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Take a step of both."""
        for part in self._parts:
            part.step()

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the state of both, which is one here."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        """Let both parts have these groups, which are in their order, and this state."""
        count = 0
        for part in self._parts:
            part.param_groups = self.param_groups[count : count + len(part.param_groups)]
            part.state = self.state
            count += len(part.param_groups)


def _find_tables(objective: nn.Module) -> set[int]:
    """The parameters, by their ids, of tables of tokens and positions and of the head, where this process has it."""
    model: Any = objective.model
    tables = [module for module in objective.modules() if isinstance(module, nn.Embedding)]
    tables += [head for head in [model.get_output_embeddings()] if head is not None]
    return {id(parameter) for table in tables for parameter in table.parameters(recurse=False)}


def _split_by_decay(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = [
        {
            "params": [parameter for parameter in parameters if parameter.ndim >= 2],
            "weight_decay": weight_decay,
            "decays": True,
        },
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0, "decays": False},
    ]
    return [group for group in groups if group["params"]] or groups[:1]
