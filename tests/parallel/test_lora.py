"""Adapters learn under every engine as in one process, beside weights that stay as they were to the last bit."""

import pytest

from .curves import RANK_ORDER, assert_agree, train_references
from .test_parity import ENGINES

STEPS = 10
CURVES = {
    "gpt2": {"family": "gpt2", "lora": {"rank": 4}},
    "bart": {"family": "bart", "lora": {"rank": 4, "targets": "all-linear", "alpha": 8.0}},
}
CURVES = {name: {**asked, "steps": STEPS, "max_grad_norm": None} for name, asked in CURVES.items()}
OURS = {name: values for name, values in ENGINES.items() if values[0] != "colossalai"}
# one setting of each way to lay out weights; `make test-long` runs the others
SOME = ("ddp", "zero1", "fsdp", "zero2", "zero3")


def assert_only_adapters_learn(found, adapters):
    """Both factors of each adapter have changed, and nothing else."""
    assert found["altered"] == []
    assert [name for name in found["changed"] if ".lora_" not in name] == []
    assert len(found["changed"]) == 2 * adapters


@pytest.fixture(scope="module")
def references(drive):
    return train_references(drive, CURVES)


@pytest.mark.slow
def test_adapters_learn(references):
    found = references[False]
    assert_only_adapters_learn(found["gpt2"], adapters=2)
    assert_only_adapters_learn(found["bart"], adapters=2 * (6 + 10))
    first, *_, last = (loss for loss, _ in found["gpt2"]["rows"])
    assert last < first


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in SOME else pytest.mark.long) for name in OURS])
def test_two_processes_lose_what_one_process_loses(name, drive, references):
    engine, options, ranks_first = OURS[name]
    settings = {"engine": engine, "options": options, "precision": "fp32", "accumulation": 2}
    found = drive(2, what="curves", curves=CURVES, order=RANK_ORDER, **settings)
    for curve, expected in references[ranks_first].items():
        assert sorted(found[curve]["changed"]) == sorted(expected["changed"])
        assert found[curve]["altered"] == []
        assert_agree(f"{name}, {curve}", found[curve], expected)


@pytest.mark.slow
def test_processes_that_share_the_blocks_lose_what_one_process_loses(drive):
    asked = {"what": "curves", "curves": {"gpt2": CURVES["gpt2"]}, "precision": "fp32", "options": {}}
    settings = {**asked, "accumulation": 2, "order": [0, 1]}
    expected = drive(1, engine="single", **settings)["gpt2"]
    found = drive(2, engine="pipeline", pipeline=2, **settings)["gpt2"]
    assert sorted(found["changed"]) == sorted(expected["changed"])
    assert_agree("pipeline", found, expected)
