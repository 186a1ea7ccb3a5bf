"""What adapters take: what autograd keeps beside frozen layers, and what a process needs."""

import itertools
from typing import Any

import pytest

from trainyard.config.lora import Lora
from trainyard.estimate.activations import BatchShape, activations
from trainyard.estimate.families import FAMILIES, load_family
from trainyard.estimate.lora import count_adapters, target_names
from trainyard.estimate.parameters import parameters
from trainyard.models.build import build
from trainyard.models.lora import adapt

from .test_memory import MODELS, model, predicted, saved_by_autograd


@pytest.mark.parametrize("family", [family for family in FAMILIES if load_family(family).adapted])
def test_activations_are_what_autograd_keeps(family: str) -> None:
    # of a first block the norm and the dropout stand below all that is trained: that matters the less the more follow
    entry = model(family, layers=10, **({"decoder_layers": 9} if family in ("bart", "t5") else {}))
    adapters = [Lora(rank=4), Lora(rank=4, targets="all-linear"), Lora(rank=4, dropout=0.1)]
    for lora, arithmetic, dropout in itertools.product(adapters, ("fp32", "autocast", "half"), (0.0, 0.1)):
        made = build(entry, "tiny", dropout=dropout)
        adapt(made, lora, target_names(entry, lora), seed=0)
        kept = saved_by_autograd(made, arithmetic)
        found = activations(entry, BatchShape(3, 40, 24), arithmetic, dropout=dropout, lora=lora)
        assert found.kept == pytest.approx(kept, rel=0.06), (lora, arithmetic, dropout)


@pytest.mark.parametrize("parallel", ["single", "ddp", "zero1", "fsdp", "zero2", "zero3", "pipeline"])
def test_gradients_and_optimizer_are_those_of_the_adapters_alone(parallel: str) -> None:
    lora = Lora()
    count, whole = count_adapters(MODELS["gpt2-52m"], lora), parameters(MODELS["gpt2-52m"])
    usual: dict[str, Any] = {"processes": 1 if parallel == "single" else 2}
    with_adapters, without = predicted(parallel, lora=lora, **usual), predicted(parallel, **usual)
    assert with_adapters.optimizer <= 16 * count < 0.01 * without.optimizer
    assert with_adapters.gradients <= 16 * count
    assert with_adapters.parameters <= without.parameters + 8 * count
    assert with_adapters.total < 0.8 * without.total
    assert count < 0.01 * whole


def test_a_higher_rank_and_more_targets_need_more() -> None:
    usual = predicted(lora=Lora()).total
    assert usual < predicted(lora=Lora(rank=64)).total
    assert usual < predicted(lora=Lora(targets="all-linear", rank=64)).total
