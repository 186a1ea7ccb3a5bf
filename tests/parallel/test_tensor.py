import pytest
import torch
from torch import nn

from trainyard.config.catalogue import Model
from trainyard.core.errors import InputError
from trainyard.models.build import build
from trainyard.parallel.pytorch.tensor import _regroup, split

from .curves import assert_agree

STEPS = 20
FAMILIES = {
    "gpt2": {"family": "gpt2"},
    "opt": {"family": "opt"},
    "opt-350m": {"family": "opt", "shape": {"post_norm": True, "embedding_width": 16}},
    "gpt2_modern": {"family": "gpt2_modern", "shape": {"key_value_heads": 2, "feed_forward": 64}},
    "llama": {"family": "llama", "shape": {"key_value_heads": 2}},
    "bart": {"family": "bart"},
    "t5": {"family": "t5"},
}
CURVES = {name: {**asked, "steps": STEPS, "max_grad_norm": None} for name, asked in FAMILIES.items()}
CURVES["clipped"] = {"family": "gpt2", "steps": STEPS, "max_grad_norm": 0.5}
CURVES["bf16"] = {"family": "gpt2", "steps": STEPS, "max_grad_norm": 0.5, "precision": "bf16"}
CURVES["fp16"] = {"family": "gpt2", "steps": STEPS, "max_grad_norm": 0.5, "precision": "fp16"}
# the masks of heads differ from one process's
DROPOUT = {
    f"dropout-{name}": FAMILIES[name] | {"steps": 5, "max_grad_norm": 0.5, "dropout": 0.2} for name in ("gpt2", "t5")
}
COPIES = ("clipped", "t5")
ORDER = [0, 1]


@pytest.fixture(scope="module")
def reference(drive):
    """Losses and norms of one process, in fp32 throughout; of two curves also summed as two copies sum them."""
    whole = {name: asked | {"precision": "fp32"} for name, asked in CURVES.items()}
    copies = {f"copies-{name}": CURVES[name] | {"options": {"ranks": 2}} for name in COPIES}
    settings = {"engine": "single", "options": {}, "precision": "fp32", "accumulation": 2}
    return drive(1, what="curves", curves=whole | copies, order=ORDER, **settings)


@pytest.fixture(scope="module")
def shared(drive):
    """What two processes found that share each matrix of one model."""
    settings = {"engine": "tensor", "options": {}, "tensor": 2, "precision": "fp32", "accumulation": 2}
    return drive(2, what="curves", curves=CURVES | DROPOUT, order=ORDER, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVES)
def test_processes_that_share_matrices_lose_what_one_process_loses(name, shared, reference):
    assert_agree(name, shared[name], reference[name], half=name in ("bf16", "fp16"))


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVES)
def test_shared_matrices_are_put_together_as_they_were_taken_apart(name, shared):
    assert shared[name]["altered"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVES | DROPOUT)
def test_what_every_process_holds_whole_stays_alike_and_tied_weights_stay_tied(name, shared):
    assert shared[name]["apart"] == []
    assert shared[name]["untied"] == []


@pytest.mark.slow
def test_two_copies_of_two_processes_each_lose_what_one_process_loses(drive, reference):
    settings = {"engine": "tensor", "options": {}, "tensor": 2, "precision": "fp32", "accumulation": 1}
    found = drive(4, what="curves", curves={name: CURVES[name] for name in COPIES}, order=ORDER, **settings)
    for name in COPIES:
        assert_agree(name, found[name], reference[f"copies-{name}"])
        assert found[name]["altered"] == found[name]["untied"] == []


class Mesh:
    """As many of a device mesh as the checks before the splitting see."""

    def __init__(self, processes):
        self.processes = processes

    def size(self):
        return self.processes


def model(family, **shape):
    shape = {"layers": 1, "width": 24, "heads": 6, "context": 8, "vocabulary": 300} | shape
    entry = Model.model_validate({"title": family, "family": family, "tokenizer": "bytes", "shape": shape})
    return build(entry, family, seed=0)


@pytest.mark.parametrize(
    ("family", "shape", "processes", "named"),
    [
        ("gpt2", {}, 4, "6 heads of this gpt2 model"),
        ("llama", {"key_value_heads": 3}, 2, "3 key-value heads of this llama model"),
        ("opt", {"feed_forward": 51}, 2, "51 outputs of fc1 of this opt model"),
    ],
)
def test_what_cannot_be_shared_evenly_is_a_users_error_that_names_it(family, shape, processes, named):
    with pytest.raises(InputError, match=f"tensor: {processes} processes can't share the {named}"):
        split(model(family, **shape), family, Mesh(processes))  # pyright: ignore[reportArgumentType]


def test_a_process_gets_the_queries_keys_and_values_of_its_own_heads():
    fused = nn.Linear(4, 12).weight.detach().T  # (4, 12): four columns each of queries, keys and values
    query, key, value = fused.chunk(3, dim=1)
    second = _regroup(fused, 3, 2).chunk(2, dim=1)[1]
    assert torch.equal(second, torch.cat([query[:, 2:], key[:, 2:], value[:, 2:]], dim=1))
    assert torch.equal(_regroup(_regroup(fused, 3, 2), 2, 3), fused)
