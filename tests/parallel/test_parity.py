import pytest

from .curves import RANK_ORDER, assert_agree, train_references

# engine, its options, and whether micro-batches are summed over ranks before they are summed over the step
ENGINES = {
    "ddp": ("ddp", {}, False),
    "zero1": ("zero1", {}, False),
    "fsdp": ("fsdp", {}, False),
    "fsdp-offload": ("fsdp", {"offload": True}, False),
    "zero0": ("deepspeed", {"level": 0}, False),
    "zero1-deepspeed": ("deepspeed", {"level": 1}, False),
    "zero2": ("deepspeed", {"level": 2}, True),
    "zero3": ("deepspeed", {"level": 3, "persistence_threshold": 0}, True),
    "zero2-offload": ("deepspeed", {"level": 2, "offload_optimizer": "cpu"}, True),
    "zero3-offload": ("deepspeed", {"level": 3, "offload_optimizer": "cpu", "offload_parameters": "cpu"}, True),
    "torch-ddp": ("colossalai", {"plugin": "torch-ddp"}, False),
    "low-level-zero-1": ("colossalai", {"plugin": "low-level-zero", "level": 1}, False),
    "low-level-zero-1-offload": ("colossalai", {"plugin": "low-level-zero", "level": 1, "offload": True}, False),
    "low-level-zero": ("colossalai", {"plugin": "low-level-zero", "level": 2}, True),
    "low-level-zero-offload": ("colossalai", {"plugin": "low-level-zero", "level": 2, "offload": True}, True),
}
# OPT's kinks magnify any difference, the more so the longer it trains
CURVES = {
    **{
        family: {"family": family, "steps": steps, "max_grad_norm": None}
        for family, steps in (("gpt2", 30), ("opt", 100), ("bart", 30))
    },
    "clipped": {"family": "gpt2", "steps": 20, "max_grad_norm": 0.5},
}


@pytest.fixture(scope="module")
def references(drive):
    return train_references(drive, CURVES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_two_processes_with_unequal_token_counts_lose_what_one_process_loses(name, drive, references):
    engine, options, ranks_first = ENGINES[name]
    settings = {"engine": engine, "options": options, "precision": "fp32", "accumulation": 2}
    found = drive(2, what="curves", curves=CURVES, order=RANK_ORDER, **settings)
    for curve, expected in references[ranks_first].items():
        assert len(found[curve]["rows"]) == CURVES[curve]["steps"]
        assert_agree(f"{name}, {curve}", found[curve], expected)


@pytest.mark.slow
def test_gradients_that_are_not_clipped_are_long_enough_for_a_silent_clipping_at_one_to_show(references):
    assert min(norm for _, norm in references[False]["gpt2"]["rows"][:3]) > 1.1


@pytest.mark.slow
def test_the_reference_learns(references):
    rows = references[False]["opt"]["rows"]
    assert rows[-1][0] < rows[0][0] - 0.5
