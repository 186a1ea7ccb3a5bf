"""Which parameters an optimizer steps, and how."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from trainyard.config.catalogue import Model
from trainyard.config.train import Train
from trainyard.models.build import build
from trainyard.models.loss import Objective
from trainyard.optim.optimizers import build_optimizer, set_hyperparameters

SHAPE = {"layers": 2, "width": 32, "heads": 4, "context": 16, "vocabulary": 64}
TOKENS = torch.arange(32).reshape(2, 16)


def train(optimizer: str, **more: Any) -> Train:
    settings = {"steps": 4, "batch": 2, "learning_rate": 1e-2, "optimizer": optimizer, **more}
    return Train.model_validate(settings)


def objective(family: str) -> Objective:
    """A small model with gradients."""
    more = {"key_value_heads": 2} if family in ("llama", "gpt2_modern") else {}
    entry = Model.model_validate({"title": "t", "family": family, "tokenizer": "bytes", "shape": SHAPE | more})
    made = Objective(build(entry, family, dropout=0.0, seed=0))
    made(input_ids=TOKENS, labels=TOKENS.roll(-1, 1)).backward()
    return made


def changes(made: Objective, before: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: parameter.detach() - before[name] for name, parameter in made.named_parameters()}


@pytest.mark.parametrize("family", ["gpt2", "opt", "gpt2_modern", "llama"])
def test_muon_steps_the_matrices_of_the_blocks_and_adamw_all_else(family: str) -> None:
    made = objective(family)
    before = {name: parameter.detach().clone() for name, parameter in made.named_parameters()}
    blocks = [p for name, p in made.named_parameters() if p.ndim == 2 and (".layers." in name or ".h." in name)]
    inside = {id(parameter) for parameter in blocks}
    others = [parameter for parameter in made.parameters() if id(parameter) not in inside]
    twins = [[copy.deepcopy(p).requires_grad_() for p in part] for part in (blocks, others)]
    for part, copied in zip((blocks, others), twins, strict=True):
        for parameter, twin in zip(part, copied, strict=True):
            assert parameter.grad is not None
            twin.grad = parameter.grad.clone()
    settings = train("muon", weight_decay=0.0)
    optimizer = build_optimizer(made, settings)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(before)
    optimizer.step()
    torch.optim.Muon(twins[0], lr=1e-2, weight_decay=0.0, adjust_lr_fn="match_rms_adamw").step()
    torch.optim.AdamW(twins[1], lr=1e-2, betas=(0.9, 0.95), weight_decay=0.0, fused=True).step()
    for parameter, twin in zip([*blocks, *others], [*twins[0], *twins[1]], strict=True):
        assert torch.equal(parameter, twin)
    assert all(change.any() for change in changes(made, before).values())


@pytest.mark.parametrize("name", ["adamw", "muon", "adafactor"])
def test_matrices_alone_decay(name: str) -> None:
    made = objective("gpt2")
    optimizer = build_optimizer(made, train(name, weight_decay=0.5))
    for group in optimizer.param_groups:
        assert all((parameter.ndim >= 2) == group["decays"] for parameter in group["params"])
        assert group["weight_decay"] == (0.5 if group["decays"] else 0.0)


@pytest.mark.parametrize("name", ["adamw", "muon", "adafactor"])
def test_a_step_is_taken_with_the_rate_of_its_step(name: str) -> None:
    made = objective("gpt2")
    before = {name: parameter.detach().clone() for name, parameter in made.named_parameters()}
    settings = train(name)
    optimizer = build_optimizer(made, settings)
    set_hyperparameters(optimizer.param_groups, settings, 0.0)
    optimizer.step()
    assert not any(change.any() for change in changes(made, before).values())


def test_muon_goes_on_from_its_state() -> None:
    first, settings = objective("gpt2"), train("muon")
    optimizer = build_optimizer(first, settings)
    optimizer.step()
    second = copy.deepcopy(first)
    for parameter, other in zip(second.parameters(), first.parameters(), strict=True):
        parameter.grad = None if other.grad is None else other.grad.clone()
    fresh = build_optimizer(second, settings)
    fresh.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    optimizer.step()
    fresh.step()
    for parameter, other in zip(second.parameters(), first.parameters(), strict=True):
        assert torch.equal(parameter, other)
    held = [set(state) for state in fresh.state.values()]
    assert held.count({"momentum_buffer"}) == 8  # four matrices of each of two blocks
    assert len(held) == len(list(second.parameters()))


def test_a_frozen_model_has_an_optimizer_that_does_nothing() -> None:
    made = objective("gpt2")
    made.requires_grad_(False)
    build_optimizer(made, train("muon")).step()
