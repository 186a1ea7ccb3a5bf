"""Attention within a window: what dense attention gives under the same mask, in memory that grows with the length."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.utils._python_dispatch import TorchDispatchMode

from trainyard.config.catalogue import Model
from trainyard.models.build import build
from trainyard.models.loss import Objective
from trainyard.models.window import attend_in_window
from trainyard.models.window_flex import attend_by_flex, window_blocks
from trainyard.models.window_shape import find_reach, is_visible, spread_bias

from .conftest import MODELS, batch

WINDOWS = (1, 2, 3, 4, 7, 8, 64)
LENGTHS = (1, 5, 8, 16, 21)
CASES = [(causal, window, time) for causal in (True, False) for window in WINDOWS for time in LENGTHS]
HEADS, WIDTH = 2, 4


def distances(time: int) -> Tensor:
    return torch.arange(time)[None, :] - torch.arange(time)[:, None]


def heads(time: int, seed: int = 0, width: int = WIDTH) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, HEADS, time, width, generator=generator, dtype=torch.float64) for _ in range(3)]


def padding(time: int) -> Tensor:
    """Rows of all, of half and of one position."""
    return torch.arange(time)[None, :] < torch.tensor([[time], [(time + 1) // 2], [1]])


def biases(window: int, causal: bool) -> Tensor:
    return torch.randn(1, HEADS, sum(find_reach(window, causal)) + 1, dtype=torch.float64)


def dense(made: list[Tensor], window: int, causal: bool, real: Tensor | None = None, bias: Tensor | None = None) -> Any:
    """What torch's attention gives of whole squares under the mask that the window is."""
    distance = distances(made[0].shape[2])
    mask = is_visible(distance, window, causal, None if real is None else real[:, None, None, :])
    if bias is not None:
        mask = torch.where(mask, spread_bias(bias, distance, causal), -torch.inf)
    return F.scaled_dot_product_attention(*made, attn_mask=mask)


@pytest.mark.parametrize(("causal", "window", "seen"), [(True, 3, [3, 4, 5]), (False, 4, [3, 4, 5, 6, 7])])
def test_a_position_sees_what_the_window_says(causal: bool, window: int, seen: list[int]) -> None:
    assert is_visible(distances(10), window, causal)[5].nonzero().flatten().tolist() == seen


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("causal", "window", "time"), CASES)
def test_blocks_give_what_dense_attention_gives_under_the_same_mask_and_its_gradients(
    causal: bool, window: int, time: int, biased: bool, padded: bool
) -> None:
    real, bias = padding(time) if padded else None, biases(window, causal) if biased else None
    learned = [*heads(time), *([] if bias is None else [bias])]
    for tensor in learned:
        tensor.requires_grad_()
    query, key, value, *_ = learned
    found = attend_in_window(query, key, value, window, causal=causal, real=real, bias=bias)
    expected = dense(learned[:3], window, causal, real, bias)
    torch.testing.assert_close(found, expected)
    weight = torch.randn(found.shape, dtype=found.dtype)
    gradients = [torch.autograd.grad((result * weight).sum(), learned) for result in (found, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("causal", [True, False])
def test_a_window_as_long_as_the_rows_changes_no_bit(causal: bool) -> None:
    query, key, value = heads(12)
    found = attend_in_window(query, key, value, 24, causal=causal)
    if causal:
        assert torch.equal(found, F.scaled_dot_product_attention(query, key, value, is_causal=True))
    else:
        torch.testing.assert_close(found, F.scaled_dot_product_attention(query, key, value))


def test_dropout_leaves_out_what_a_position_sees_and_nothing_else_is_let_in() -> None:
    torch.manual_seed(0)
    query, key, _ = heads(16)
    who = torch.eye(16, dtype=torch.float64).expand(3, HEADS, 16, 16)
    weights = attend_in_window(query, key, who, 4, causal=True, dropout=0.5)
    visible = is_visible(distances(16), 4, True)
    assert not weights[..., ~visible].any()
    assert 0.2 < float((weights[..., visible] == 0).double().mean()) < 0.8


class Largest(TorchDispatchMode):
    """The most elements of a tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        storages = [
            each.untyped_storage()
            for each in (made if isinstance(made, tuple | list) else [made])
            if isinstance(each, Tensor)
        ]
        self.elements = max([self.elements, *(storage.nbytes() for storage in storages)])
        return made


def longest(name: str) -> Model:
    entry = MODELS[name]
    return entry.model_copy(update={"shape": entry.shape.model_copy(update={"context": 4096, "vocabulary": 512})})


def most_bytes(name: str, time: int) -> int:
    """Of a tensor that a step of a model within a window of 16 makes, on rows of `time` tokens."""
    objective = Objective(build(longest(name), name, dropout=0.0, seed=1, window=16))
    made = batch(longest(name), rows=1, time=24)
    for key, tensor in made.items():
        # a target stays short: its attention to the source is dense
        if key in ("input_ids", "attention_mask") or "decoder_input_ids" not in made:
            made[key] = tensor[:, :1].expand(1, time).contiguous()
    with Largest() as largest:
        objective(**made).backward()
    return largest.elements


def test_no_tensor_grows_faster_than_the_length(tiny: str) -> None:
    assert most_bytes(tiny, 2048) <= 2.1 * most_bytes(tiny, 1024)


def with_squares(objective: Objective, made: dict[str, Tensor], window: int, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """The loss by dense attention under the same mask."""

    def square(query: Tensor, key: Tensor, value: Tensor, window: int, **given: Any) -> Tensor:
        assert not given["dropout"]
        distance = distances(query.shape[2])
        real, bias, causal = given.get("real"), given.get("bias"), given["causal"]
        mask = is_visible(distance, window, causal, None if real is None else real[:, None, None, :])
        if bias is not None:
            mask = torch.where(mask, spread_bias(bias, distance, causal), -torch.inf)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=given.get("scale"))

    for module in ("window", "gpt2_modern"):
        monkeypatch.setattr(f"trainyard.models.{module}.attend_in_window", square)
    return objective(**made)


@pytest.mark.parametrize("window", [1, 3, 4])
def test_a_model_loses_and_learns_what_it_does_by_dense_attention_under_the_same_mask(
    tiny: str, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, made = Objective(build(MODELS[tiny], tiny, dropout=0.0, seed=1, window=window)), batch(MODELS[tiny])
    loss = objective(**made)
    loss.backward()
    learned = [parameter for parameter in objective.parameters() if parameter.grad is not None]
    gradients = [parameter.grad for parameter in learned]
    squared = with_squares(objective, made, window, monkeypatch)
    torch.testing.assert_close(loss, squared, rtol=1e-6, atol=0)
    assert loss != Objective(build(MODELS[tiny], tiny, dropout=0.0, seed=1))(**made)
    expected = torch.autograd.grad(squared, learned)
    torch.testing.assert_close(gradients, list(expected), rtol=1e-4, atol=1e-5)


def test_a_window_as_long_as_the_rows_loses_what_no_window_does(tiny: str) -> None:
    made = batch(MODELS[tiny])
    losses = [Objective(build(MODELS[tiny], tiny, dropout=0.0, seed=1, window=window))(**made) for window in (None, 24)]
    torch.testing.assert_close(*losses, rtol=1e-6, atol=0)


def test_what_is_recomputed_is_what_was_kept(tiny: str) -> None:
    made, found = batch(MODELS[tiny]), []
    for checkpointing in (False, True):
        model = build(MODELS[tiny], tiny, dropout=0.0, seed=1, activation_checkpointing=checkpointing, window=3)
        objective = Objective(model)
        loss = objective(**made)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in objective.parameters() if p.grad is not None)])
    # without a gradient to make, torch takes another kernel for a bias
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


def test_what_comes_before_the_loss_reads_no_value_of_a_device(tiny: str) -> None:
    objective = Objective(build(MODELS[tiny], tiny, dropout=0.1, seed=1, window=4)).to("meta")
    inputs = {name: tensor.to("meta") for name, tensor in batch(MODELS[tiny]).items() if name != "labels"}
    objective._hidden_states(inputs).sum().backward()


def test_a_compiler_takes_it_in_one_graph(tiny: str) -> None:
    inputs = {name: tensor for name, tensor in batch(MODELS[tiny]).items() if name != "labels"}
    objective = Objective(build(MODELS[tiny], tiny, dropout=0.0, seed=1, window=4))
    plain = objective._hidden_states(inputs)
    torch._dynamo.reset()
    traced = torch.compile(objective._hidden_states, backend="eager", fullgraph=True)(inputs)
    torch.testing.assert_close(traced, plain, rtol=1e-6, atol=0)


# of FlexAttention a CPU runs what its kernels compute, without their speed: the forward pass, operator by operator
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("causal", "window"), [(True, 1), (True, 40), (False, 1), (False, 41), (True, 300)])
def test_flex_attention_gives_the_same(causal: bool, window: int, biased: bool, padded: bool) -> None:
    made = [tensor.float() for tensor in heads(200, width=16)]
    real, bias = padding(200) if padded else None, biases(window, causal).float() if biased else None
    query, key, value = made
    found = attend_by_flex(query, key, value, window, causal=causal, real=real, bias=bias, attention=flex_attention)
    torch.testing.assert_close(found, dense(made, window, causal, real, bias), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("causal", "window", "time"), [(True, 1, 128), (True, 200, 700), (False, 130, 650), (False, 5, 64)]
)
def test_the_blocks_that_flex_attention_visits_are_those_that_hold_a_visible_pair(
    causal: bool, window: int, time: int
) -> None:
    def sees(_row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return is_visible(key - query, window, causal)

    expected = create_block_mask(sees, None, None, time, time, device="cpu").to_dense()
    assert torch.equal(window_blocks(time, window, causal, torch.device("cpu")).to_dense(), expected)
