"""Muon and Adafactor train alike wherever processes hold whole matrices, and go on from a checkpoint bitwise."""

import pytest

from .curves import RANK_ORDER, assert_agree, train_references

OPTIMIZERS = ("muon", "adafactor")
CURVES = {
    name: {"family": "gpt2", "optimizer": name, "steps": 10, "max_grad_norm": None, "shape": {"layers": 2}}
    for name in OPTIMIZERS
}
MUON_TOLERANCE = 1e-4
"""Nats. Muon's step is a polynomial of matrices in bf16, whose last bit a last bit of the gradient in fp32 may turn."""


def assert_learns_alike(name, found, expected):
    """As any curve in fp32, but for what Muon rounds."""
    if not name.endswith("muon"):
        assert_agree(name, found, expected)
        return
    losses, norms = zip(*found["rows"], strict=True)
    expected_losses, expected_norms = zip(*expected["rows"], strict=True)
    assert losses == pytest.approx(expected_losses, abs=MUON_TOLERANCE, rel=0)
    assert norms == pytest.approx(expected_norms, rel=1e-3)
    assert found["held_out"] == pytest.approx(expected["held_out"], rel=1e-4)


@pytest.fixture(scope="module")
def references(drive):
    return train_references(drive, CURVES)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_loses(name, references):
    first, *_, last = (loss for loss, _ in references[False][name]["rows"])
    assert last < first - 0.01


@pytest.mark.slow
def test_two_processes_lose_what_one_process_loses(drive, references):
    settings = {"engine": "ddp", "options": {}, "precision": "fp32", "accumulation": 2}
    found = drive(2, what="curves", curves=CURVES, order=RANK_ORDER, **settings)
    for curve, expected in references[True].items():
        assert_learns_alike(f"ddp, {curve}", found[curve], expected)


@pytest.mark.slow
def test_processes_that_share_the_blocks_lose_what_one_process_loses(drive):
    asked = {"what": "curves", "curves": CURVES, "precision": "fp32", "options": {}, "accumulation": 2, "order": [0, 1]}
    expected = drive(1, engine="single", **asked)
    found = drive(2, engine="pipeline", pipeline=2, **asked)
    for curve in CURVES:
        assert_learns_alike(f"pipeline, {curve}", found[curve], expected[curve])


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("engine", "processes"), [("single", 1), ("ddp", 2), ("pipeline", 2)])
def test_steps_saved_loaded_and_taken_on_are_bitwise_those_taken_straight(engine, processes, optimizer, drive):
    settings = {"engine": engine, "options": {}, "accumulation": 2 if engine == "ddp" else 4, "order": [0, 1, 2, 3]}
    if engine == "pipeline":
        settings["pipeline"] = 2
    asked = {"what": "resume", "family": "gpt2", "steps": 4, "precision": "bf16", "optimizer": optimizer}
    found = drive(processes, **asked, **settings)
    assert found["again"] == found["on"]
    assert found["different"] == []
    assert found["moved"] > 1e-3
