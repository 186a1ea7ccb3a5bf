import pytest

from trainyard.config.catalogue import Model
from trainyard.core.errors import InputError
from trainyard.models.build import build
from trainyard.parallel.pytorch.pipeline import Stage, _bounds

from .curves import assert_agree

STEPS = 20
CURVES = {
    "gpt2": {"family": "gpt2", "steps": STEPS, "max_grad_norm": None},
    "opt": {"family": "opt", "steps": STEPS, "max_grad_norm": None},
    "opt-350m": {
        "family": "opt",
        "shape": {"post_norm": True, "embedding_width": 16, "layers": 3},
        "steps": STEPS,
        "max_grad_norm": None,
    },
    "gpt2_modern": {"family": "gpt2_modern", "shape": {"feed_forward": 64}, "steps": STEPS, "max_grad_norm": None},
    "llama": {"family": "llama", "shape": {"key_value_heads": 2}, "steps": STEPS, "max_grad_norm": None},
    "clipped": {"family": "gpt2", "steps": STEPS, "max_grad_norm": 0.5},
    "checkpointed": {"family": "gpt2", "steps": 10, "max_grad_norm": 0.5, "checkpointing": True},
    "checkpointed-modern": {"family": "gpt2_modern", "steps": 10, "max_grad_norm": 0.5, "checkpointing": True},
    "bf16": {"family": "gpt2", "steps": STEPS, "max_grad_norm": 0.5, "precision": "bf16"},
    "fp16": {"family": "gpt2", "steps": STEPS, "max_grad_norm": 0.5, "precision": "fp16"},
}
# of two copies, with one micro-batch each, which is cut in two
COPIES = {f"copies-{name}": CURVES[name] | {"order": [0, 1]} for name in ("clipped", "opt-350m")}
ORDER = [0, 1, 2, 3]


@pytest.fixture(scope="module")
def reference(drive):
    """Losses and norms of one process, in fp32 throughout, by curve."""
    whole = {name: asked | {"precision": "fp32"} for name, asked in CURVES.items()}
    copies = {name: asked | {"options": {"ranks": 2}, "accumulation": 2} for name, asked in COPIES.items()}
    settings = {"engine": "single", "options": {}, "precision": "fp32", "accumulation": 4}
    return drive(1, what="curves", curves=whole | copies, order=ORDER, **settings)


@pytest.fixture(scope="module")
def laid_out(drive):
    """What two processes found among which the blocks of one model are laid."""
    settings = {"engine": "pipeline", "options": {}, "pipeline": 2, "precision": "fp32", "accumulation": 4}
    return drive(2, what="curves", curves=CURVES, order=ORDER, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVES)
def test_processes_that_share_the_blocks_lose_what_one_process_loses(name, laid_out, reference):
    assert_agree(name, laid_out[name], reference[name], half=name in ("bf16", "fp16"))


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVES)
def test_the_blocks_are_put_together_as_they_were_and_the_head_keeps_the_embeddings_weight(name, laid_out):
    assert laid_out[name]["altered"] == []
    assert laid_out[name]["untied"] == []


@pytest.mark.slow
def test_two_copies_with_less_micro_batches_than_processes_lose_what_one_process_loses(drive, reference):
    settings = {"engine": "pipeline", "options": {}, "pipeline": 2, "precision": "fp32", "accumulation": 1}
    found = drive(4, what="curves", curves=COPIES, order=ORDER, **settings)
    for name in COPIES:
        assert_agree(name, found[name], reference[name])
        assert found[name]["altered"] == found[name]["untied"] == []


def model():
    shape = {"layers": 3, "width": 32, "heads": 4, "context": 8, "vocabulary": 300}
    entry = Model.model_validate({"title": "gpt2", "family": "gpt2", "tokenizer": "bytes", "shape": shape})
    return build(entry, "gpt2", seed=0)


def test_a_process_holds_its_own_blocks_alone_under_the_models_names():
    laid = [model(), model()]
    for index in range(2):
        Stage(laid[index], "gpt2", index, 2, lambda: pytest.fail("nothing computes here"))
    first, last = (set(part.state_dict()) for part in laid)
    assert not first & last
    assert first | last == set(model().state_dict())
    assert {"transformer.wte.weight", "transformer.h.1.ln_1.weight"} <= first
    assert {"transformer.h.2.ln_1.weight", "transformer.ln_f.weight", "lm_head.weight"} <= last


def test_blocks_are_laid_evenly_and_less_blocks_than_processes_are_a_users_error():
    assert _bounds(12, 4) == [(0, 3), (3, 6), (6, 9), (9, 12)]
    assert _bounds(5, 2) == [(0, 3), (3, 5)]
    with pytest.raises(InputError, match="pipeline: 3 processes can't share 2 blocks"):
        _bounds(2, 3)
