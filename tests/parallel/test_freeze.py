"""Frozen parts stay as they were under every engine, and the rest learns as in one process."""

import pytest

from .curves import RANK_ORDER, assert_agree, train_references
from .test_parity import ENGINES

STEPS = 10
CURVES = {
    "gpt2": {"family": "gpt2", "freeze": ["embeddings", "blocks.0"]},
    "bart": {"family": "bart", "freeze": ["encoder", "decoder.blocks.1"]},
}
CURVES = {name: {**asked, "steps": STEPS, "max_grad_norm": None} for name, asked in CURVES.items()}
FROZEN = {
    "gpt2": ("transformer.wte.", "transformer.wpe.", "transformer.h.0.", "lm_head."),
    "bart": (
        "model.encoder.layers.",
        "model.encoder.embed_positions.",
        "model.encoder.layernorm_",
        "model.decoder.layers.1.",
    ),
}
# one setting of each way to lay out weights; `make test-long` runs the others
SOME = ("ddp", "zero1", "fsdp", "zero2", "zero3", "torch-ddp", "low-level-zero")


def assert_frozen(found):
    for name, asked in FROZEN.items():
        assert found[name]["changed"]
        assert [weight for weight in found[name]["changed"] if weight.startswith(asked)] == []


@pytest.fixture(scope="module")
def references(drive):
    return train_references(drive, CURVES)


@pytest.mark.slow
def test_in_one_process_all_that_is_not_frozen_changes(references):
    found = references[False]
    assert_frozen(found)
    assert {"transformer.h.1.attn.c_attn.weight", "transformer.ln_f.weight"} <= set(found["gpt2"]["changed"])
    assert {"model.shared.weight", "model.decoder.layers.0.fc1.weight"} <= set(found["bart"]["changed"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SOME else pytest.mark.long) for name in ENGINES]
)
def test_two_processes_lose_what_one_process_loses(name, drive, references):
    engine, options, ranks_first = ENGINES[name]
    settings = {"engine": engine, "options": options, "precision": "fp32", "accumulation": 2}
    found = drive(2, what="curves", curves=CURVES, order=RANK_ORDER, **settings)
    assert_frozen(found)
    for curve, expected in references[ranks_first].items():
        assert_agree(f"{name}, {curve}", found[curve], expected)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tensor", "pipeline"])
def test_processes_of_one_copy_lose_what_one_process_loses(engine, drive):
    curves = {"gpt2": CURVES["gpt2"]}
    settings = {
        "what": "curves",
        "curves": curves,
        "precision": "fp32",
        "options": {},
        "accumulation": 2,
        "order": [0, 1],
    }
    expected = drive(1, engine="single", **settings)["gpt2"]
    found = drive(2, engine=engine, **{engine: 2}, **settings)["gpt2"]
    assert [weight for weight in found["changed"] if weight.startswith(FROZEN["gpt2"])] == []
    assert_agree(engine, found, expected)
