"""Attention within a window under every engine: it learns as in one process."""

import pytest

from .curves import RANK_ORDER, assert_agree, train_references
from .test_parity import ENGINES

# As many steps as another order of sums in one process bears: T5's scores have no scale, and from its seventh step on
# one process alone is up to 1.9e-5 nats from itself with its micro-batches in another order.
CURVES = {
    family: {"family": family, "window": 3, "steps": steps, "max_grad_norm": None}
    for family, steps in (("gpt2", 10), ("bart", 10), ("t5", 5))
}
# one setting of each way to lay out weights; `make test-long` runs the others
SOME = ("ddp", "fsdp", "zero3")
# ColossalAI's are unsupported (trainyard.plan.capabilities)
TAKEN = [name for name, (engine, *_) in ENGINES.items() if engine != "colossalai"]


@pytest.fixture(scope="module")
def references(drive):
    return train_references(drive, CURVES)


@pytest.mark.slow
@pytest.mark.parametrize("curve", CURVES)
def test_one_process_is_as_near_to_itself_in_another_order_of_sums(curve, references):
    assert_agree(curve, references[True][curve], references[False][curve])


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in SOME else pytest.mark.long) for name in TAKEN])
def test_two_processes_lose_what_one_process_loses(name, drive, references):
    engine, options, ranks_first = ENGINES[name]
    settings = {"engine": engine, "options": options, "precision": "fp32", "accumulation": 2}
    found = drive(2, what="curves", curves=CURVES, order=RANK_ORDER, **settings)
    for curve, expected in references[ranks_first].items():
        assert_agree(f"{name}, {curve}", found[curve], expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "family"),
    [("tensor", "gpt2"), ("tensor", "t5"), ("tensor", "gpt2_modern"), ("pipeline", "gpt2"), ("pipeline", "llama")],
)
def test_processes_of_one_copy_lose_what_one_process_loses(engine, family, drive):
    shape = {"feed_forward": 64} if family == "gpt2_modern" else {}  # that two processes can share
    curves = {family: {"family": family, "window": 3, "steps": 10, "max_grad_norm": None, "shape": shape}}
    settings = {"what": "curves", "curves": curves, "precision": "fp32", "options": {}, "accumulation": 2}
    settings["order"] = [0, 1]
    expected = drive(1, engine="single", **settings)[family]
    assert_agree(engine, drive(2, engine=engine, **{engine: 2}, **settings)[family], expected)
