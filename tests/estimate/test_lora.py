"""What adapters take: what autograd keeps beside frozen layers, and what a process needs."""

import itertools
from dataclasses import replace

import pytest

from trainyard.config.lora import Lora
from trainyard.estimate.activations import Activations, BatchShape, activations
from trainyard.estimate.engine_memory import Workload
from trainyard.estimate.families import FAMILIES, load_family
from trainyard.estimate.frozen import count_whole
from trainyard.estimate.lora import count_adapters, target_names
from trainyard.estimate.memory import estimate_engine
from trainyard.estimate.parameters import parameters
from trainyard.models.build import build
from trainyard.models.lora import adapt

from .test_memory import MODELS, SETTINGS, model, predicted, saved_by_autograd


@pytest.mark.parametrize("family", [family for family in FAMILIES if load_family(family).adapted])
def test_activations_are_what_autograd_keeps(family: str) -> None:
    # of a first block the norm and the dropout stand below all that is trained: that matters the less the more follow
    entry = model(family, layers=10, **({"decoder_layers": 9} if family in ("bart", "t5") else {}))
    adapters = [
        Lora.model_validate({"rank": 4}),
        Lora.model_validate({"rank": 4, "targets": "all-linear"}),
        Lora.model_validate({"rank": 4, "dropout": 0.1}),
    ]
    for lora, arithmetic, dropout in itertools.product(adapters, ("fp32", "autocast", "half"), (0.0, 0.1)):
        made = build(entry, "tiny", dropout=dropout)
        adapt(made, lora, target_names(entry, lora), seed=0)
        kept = saved_by_autograd(made, arithmetic)
        found = activations(entry, BatchShape(3, 40, 24), arithmetic, dropout=dropout, lora=lora)
        assert found.kept == pytest.approx(kept, rel=0.06), (lora, arithmetic, dropout)


@pytest.mark.parametrize("parallel", ["single", "ddp", "zero1", "fsdp", "zero2", "zero3", "zero3-offload", "pipeline"])
def test_gradients_and_optimizer_are_those_of_the_adapters_alone(parallel: str) -> None:
    entry, setting, lora = MODELS["gpt2-52m"], SETTINGS[parallel], Lora.model_validate({})
    count = count_adapters(entry, lora)
    assert 0 < count < 0.01 * parameters(entry)
    load = Workload(entry, "fp32", Activations(0, 0), positions=1, options=setting.options, pipeline=setting.pipeline)
    found = estimate_engine(setting.engine, replace(load, frozen=count_whole(entry), adapters=count))
    before = estimate_engine(setting.engine, load)
    assert found is not None
    assert before is not None
    assert found.optimizer <= 16 * count
    assert max(found.gradients, found.made, found.between) <= 8 * count
    assert before.parameters < found.parameters <= before.parameters + 4 * count
    assert predicted(parallel, lora=lora).total < 0.9 * predicted(parallel).total


def test_a_higher_rank_and_more_targets_need_more() -> None:
    usual = predicted(lora=Lora.model_validate({})).total
    assert usual < predicted(lora=Lora.model_validate({"rank": 64})).total
    assert usual < predicted(lora=Lora.model_validate({"targets": "all-linear", "rank": 64})).total
