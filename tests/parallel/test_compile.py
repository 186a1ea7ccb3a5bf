"""Training through torch.compile, by every engine that takes it, loses what it does without.

Not among them: ColossalAI's gemini, which wants a GPU, and hybrid, which takes the model apart before it is compiled.
"""

import pytest

from .test_parity import ENGINES

# one setting of each way to lay out weights; `make test-long` runs the others
SOME = ("ddp", "fsdp", "zero2", "low-level-zero")

STEPS = 5
TOLERANCE = 1e-5  # nats; as on a GPU: fused kernels add in another order, and each step magnifies what that rounds
SHARED = {"tensor": ("tensor", {"tensor": 2}), "pipeline": ("pipeline", {"pipeline": 2})}


def compiled_and_not(drive, processes, family, layers=1, **settings):
    asked = {"family": family, "steps": STEPS, "max_grad_norm": 0.5, "shape": {"layers": layers}}
    curves = {"compiled": {**asked, "compile": True}, "eager": asked}
    found = drive(processes, what="curves", curves=curves, precision="fp32", **settings)
    return found["compiled"], found["eager"]


def assert_close(found, expected):
    assert len(found["rows"]) == STEPS
    losses, norms = zip(*found["rows"], strict=True)
    expected_losses, expected_norms = zip(*expected["rows"], strict=True)
    assert losses == pytest.approx(expected_losses, abs=TOLERANCE, rel=0)
    assert norms == pytest.approx(expected_norms, rel=TOLERANCE)
    assert found["held_out"] == pytest.approx(expected["held_out"], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "opt", "gpt2_modern", "llama", "bart", "t5"])
def test_every_family_loses_compiled_what_it_does_eagerly(family, drive):
    single = {"engine": "single", "options": {}, "accumulation": 2, "order": [0, 1]}
    found, expected = compiled_and_not(drive, 1, family, **single)
    assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SOME else pytest.mark.long) for name in ENGINES]
)
def test_every_engine_loses_compiled_what_it_does_eagerly(name, drive):
    engine, options, _ = ENGINES[name]
    settings = {"engine": engine, "options": options, "accumulation": 2, "order": [0, 1, 2, 3]}
    found, expected = compiled_and_not(drive, 2, "gpt2", **settings)
    assert_close(found, expected)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", SHARED)
def test_processes_of_one_copy_lose_compiled_what_they_do_eagerly(name, drive):
    engine, processes = SHARED[name]
    settings = {"engine": engine, "options": {}, "accumulation": 2, "order": [0, 1]}
    found, expected = compiled_and_not(drive, 2, "gpt2", layers=2, **settings, **processes)
    assert_close(found, expected)
