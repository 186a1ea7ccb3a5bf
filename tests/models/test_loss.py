import copy
import math
from operator import mul
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.trainer_pt_utils import LabelSmoother

from trainyard.estimate.families import load_family
from trainyard.models import logits as logits_module
from trainyard.models import loss as loss_module
from trainyard.models.build import build
from trainyard.models.logits import _overwrite, softmax_loss_in_place
from trainyard.models.loss import Objective, _losses_and_gradients, linear_cross_entropy

from .conftest import MODELS, batch, logits


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_loss_and_gradients_are_those_of_the_logits(tiny: str) -> None:
    model, made = build(MODELS[tiny], tiny, seed=1), batch(MODELS[tiny])
    expected = F.cross_entropy(logits(model, made).flatten(0, 1), made["labels"].flatten(), reduction="sum")
    expected.backward()
    wanted = gradients(model)
    model.zero_grad()
    loss = Objective(model)(**made)
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients(model), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["gpt2-tiny", "bart-tiny"])
def test_the_mean_equals_the_loss_of_transformers(name: str) -> None:
    model = build(MODELS[name], name, seed=1)
    kind = AutoModelForSeq2SeqLM if load_family(MODELS[name].family).is_encoder_decoder else AutoModelForCausalLM
    theirs = kind.from_config(model.config).train()
    theirs.load_state_dict(model.state_dict())
    made = batch(MODELS[name])
    inputs = {key: tensor for key, tensor in made.items() if key != "labels"}
    shift = {} if load_family(MODELS[name].family).is_encoder_decoder else {"shift_labels": made["labels"]}
    expected = theirs(**inputs, labels=made["labels"], **shift).loss
    loss = Objective(model)(**made) / (made["labels"] != -100).sum()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["gpt2-tiny", "bart-tiny"])
def test_smoothed_labels_give_the_loss_of_transformers_smoother_in_training_and_none_by_row(name: str) -> None:
    made = batch(MODELS[name])
    predicted = (made["labels"] != -100).sum()
    smoothed = Objective(build(MODELS[name], name, dropout=0.0, seed=1), label_smoothing=0.1)
    plain = Objective(build(MODELS[name], name, dropout=0.0, seed=1))
    with torch.no_grad():
        expected = LabelSmoother(epsilon=0.1)({"logits": logits(smoothed.model, made)}, made["labels"])
        torch.testing.assert_close(smoothed(**made) / predicted, expected, rtol=1e-6, atol=0)
        assert torch.equal(smoothed(**made, by_row=True), plain(**made, by_row=True))
    torch.testing.assert_close(smoothed(**made) / predicted, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("at_once", [1, 97, 5 * 97, 6 * 97 + 1])
def test_slices_and_padding_change_neither_loss_nor_gradients(
    at_once: int, multiple: int, smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(23, 8, requires_grad=True), torch.randn(97, 8, requires_grad=True)
    labels = torch.randint(0, 97, (23,))
    labels[::4] = -100
    expected = F.cross_entropy(hidden @ weight.T, labels, reduction="sum", label_smoothing=smoothing)
    wanted = torch.autograd.grad(expected * 0.5, (hidden, weight))
    monkeypatch.setattr(loss_module, "_LOGITS_AT_ONCE", {"cpu": at_once})
    monkeypatch.setattr(loss_module, "_MULTIPLE", {("cpu", 4): multiple})
    monkeypatch.setattr(logits_module, "_ROWS_IN_CACHE", 2)
    loss = linear_cross_entropy(hidden, weight, labels, smoothing)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(torch.autograd.grad(loss * 0.5, (hidden, weight)), wanted, rtol=1e-5, atol=1e-6)


def test_a_compiler_leaves_it_as_it_is() -> None:
    def double(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        return linear_cross_entropy(hidden * 2, weight, labels)

    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> torch.fx.GraphModule:
        graphs.append(graph)
        return graph

    torch.manual_seed(0)
    hidden, weight = torch.randn(23, 8, requires_grad=True), torch.randn(97, 8, requires_grad=True)
    labels = torch.randint(0, 97, (23,))
    labels[::4] = -100
    expected = double(hidden, weight, labels)
    wanted = torch.autograd.grad(expected, (hidden, weight))
    torch._dynamo.reset()
    loss = torch.compile(double, backend=keep)(hidden, weight, labels)  # pyright: ignore[reportArgumentType]
    assert torch.equal(loss, expected)
    assert all(map(torch.equal, torch.autograd.grad(loss, (hidden, weight)), wanted))
    assert [node.target for graph in graphs for node in graph.graph.nodes if node.op == "call_function"] == [mul]


def test_no_predicted_token_gives_no_loss_and_no_gradient(tiny: str) -> None:
    made = batch(MODELS[tiny])
    made["labels"] = torch.full_like(made["labels"], -100)
    model = build(MODELS[tiny], tiny, seed=1)
    loss = Objective(model)(**made)
    loss.backward()
    assert loss.item() == 0
    assert all(not gradient.any() for gradient in gradients(model).values())


def test_on_a_cpu_the_head_costs_what_is_predicted() -> None:
    hidden, weight = torch.randn(12, 8), torch.randn(50, 8, requires_grad=True)
    labels = torch.arange(12)
    labels[3:] = -100
    with FlopCounterMode(display=False) as counter:
        linear_cross_entropy(hidden.requires_grad_(), weight, labels).backward()
    assert counter.get_total_flops() == 3 * 2 * 3 * 8 * 50  # logits and two gradients of 3 positions


def test_bf16_keeps_the_loss_in_fp32_and_near(tiny: str) -> None:
    made, model = batch(MODELS[tiny]), build(MODELS[tiny], tiny, seed=1)
    exact = Objective(model)(**made)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = Objective(model)(**made)
    rounded.backward()
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=5e-3, atol=0)
    assert {gradient.dtype for gradient in gradients(model).values()} == {torch.float32}


def test_under_autocast_the_head_multiplies_in_its_precision() -> None:
    hidden, weight = torch.randn(12, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16), Products() as products:
        linear_cross_entropy(hidden, weight, torch.arange(12)).backward()
        with torch.no_grad():
            linear_cross_entropy(hidden, weight, torch.arange(12))
    assert products.kinds == products.given == [torch.bfloat16] * (3 + 1)


def test_under_autocast_no_matrix_of_a_model_is_multiplied_in_fp32(tiny: str) -> None:
    made, objective = batch(MODELS[tiny]), Objective(build(MODELS[tiny], tiny, seed=1))
    with Products() as products:
        with torch.autocast("cpu", torch.bfloat16):
            loss = objective(**made)
        loss.backward()
    assert set(products.kinds) == set(products.given) == {torch.bfloat16}


def test_without_gradients_the_loss_is_the_same_bit_by_bit(tiny: str) -> None:
    whole = Objective(build(MODELS[tiny], tiny, seed=1))
    made = batch(MODELS[tiny])
    with torch.no_grad():
        alone = whole(**made)
    assert not alone.requires_grad
    assert alone.item() == whole(**made).item()


def test_a_frozen_model_still_passes_the_gradient_through_its_head() -> None:
    hidden, weight = torch.randn(5, 8, requires_grad=True), torch.randn(97, 8)
    labels = torch.randint(0, 97, (5,))
    linear_cross_entropy(hidden, weight, labels).backward()
    assert hidden.grad is not None
    assert weight.grad is None


def test_activation_checkpointing_changes_no_gradient(tiny: str) -> None:
    made = batch(MODELS[tiny])
    plain = build(MODELS[tiny], tiny, dropout=0.2, seed=1)
    saved = build(MODELS[tiny], tiny, dropout=0.2, seed=1, activation_checkpointing=True)
    torch.manual_seed(3)
    loss = Objective(plain)(**made)
    loss.backward()
    torch.manual_seed(3)
    again = Objective(saved)(**made)
    again.backward()
    assert again.item() == loss.item()
    torch.testing.assert_close(gradients(saved), gradients(plain), rtol=0, atol=0)


def test_the_head_still_gives_logits(tiny: str) -> None:
    model, made = build(MODELS[tiny], tiny, seed=1), batch(MODELS[tiny])
    expected = logits(model, made)
    names = list(model.state_dict())
    untouched = copy.deepcopy(model.state_dict())
    Objective(model)
    torch.testing.assert_close(logits(model, made), expected, rtol=0, atol=0)
    assert list(model.state_dict()) == names
    torch.testing.assert_close(dict(model.state_dict()), dict(untouched), rtol=0, atol=0)


def test_in_fp16_a_gradient_that_the_loss_scale_makes_small_is_finite_whatever_its_sum_was() -> None:
    """65,536 positions that push one weight alike, and an outlier among them: their sum is beyond fp16."""
    positions, tokens = 2**16, 8
    torch.manual_seed(0)
    exact = torch.ones(positions, 4)
    exact[17] = 30_000.0
    weight = 1e-4 * torch.randn(tokens, 4)
    labels = torch.zeros(positions, dtype=torch.int64)
    gradients = []
    for dtype in (torch.float32, torch.float16):
        hidden, matrix = exact.to(dtype).requires_grad_(), weight.to(torch.float16).to(dtype).requires_grad_()
        loss = linear_cross_entropy(hidden, matrix, labels)
        # a mean, scaled by less than the sum, and by more than fp16 can hold
        gradients += [
            torch.autograd.grad(loss * scale / positions, (hidden, matrix), retain_graph=True)
            for scale in (4.0, 2.0**17)
        ]
    small, large, small_half, large_half = gradients
    assert small[1].abs().max() * positions / 4 > torch.finfo(torch.float16).max
    for exact_gradients, found in ((small, small_half), (large, large_half)):
        for expected, half in zip(exact_gradients, found, strict=True):
            assert half.dtype == torch.float16
            fits = expected.abs() < torch.finfo(torch.float16).max
            assert torch.isfinite(half[fits]).all()
            torch.testing.assert_close(half.float()[fits], expected[fits], rtol=3e-3, atol=1e-3)
    assert torch.isfinite(small_half[1]).all()


class Products(TorchDispatchMode):
    """Notes the strides of what is multiplied, and the precisions of products and of what they are of."""

    def __init__(self) -> None:
        super().__init__()
        self.strides: list[tuple[int, ...]] = []
        self.kinds: list[torch.dtype] = []
        self.given: list[torch.dtype] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in ("mm", "addmm", "addmm_"):
            factors = [given for given in args if isinstance(given, torch.Tensor)][-2:]
            self.strides += [tensor.stride() for tensor in (*factors, found)]
            self.kinds.append(found.dtype)
            self.given.append(factors[0].dtype)
        return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("vocabulary", [50_257, 50_304])
def test_on_a_gpu_every_product_has_strides_of_whole_16_bytes(dtype: torch.dtype, vocabulary: int) -> None:
    """On `meta`, which goes a GPU's way and has no value that could be read."""
    positions, width = 5_000, 64
    hidden = torch.empty(positions, width, device="meta")
    weight = torch.empty(vocabulary, width, device="meta")
    labels = torch.empty(positions, dtype=torch.int64, device="meta")
    with Products() as products:
        losses, of_hidden, of_weight = _losses_and_gradients(hidden, weight, labels, dtype, (True, True), 0.0)
    assert (losses.shape, losses.dtype) == ((positions,), torch.float32)
    assert of_hidden is not None
    assert of_weight is not None
    assert (of_hidden.shape, of_weight.shape) == (hidden.shape, weight.shape)
    assert len(products.kinds) == 3 * math.ceil(positions * vocabulary / 2**26)
    assert all(stride == 1 or stride % 8 == 0 for strides in products.strides for stride in strides)
    assert set(products.kinds) == {dtype} | ({torch.float32} if dtype == torch.float16 else set())


def test_a_torch_without_products_of_fp16_in_fp32_sums_in_fp32_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch 2.5, which knows no `out_dtype`."""
    slope, inputs = (torch.empty(256, width, dtype=torch.float16, device="meta") for width in (384, 64))
    results = []
    for sums_in_fp32 in (True, False):
        monkeypatch.setattr(loss_module, "_SUMS_IN_FP32", sums_in_fp32)
        with Products() as products:
            result = loss_module._sum_over_rows(slope, inputs)
        results.append((result.shape, result.dtype, products.given))
    assert results == [
        ((384, 64), torch.float32, [torch.float16]),
        ((384, 64), torch.float32, [torch.float32]),
    ]


@pytest.mark.slow
# torch 2.13's compiler imports what torch itself has deprecated
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_compiled_kernel_gives_what_the_plain_one_does(smoothing: float) -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(24, 97), torch.randint(0, 97, (24, 1))
    padded = torch.cat([logits, torch.randn(24, 31)], dim=1)
    losses = torch.compile(_overwrite)(padded, targets, 97, smoothing)
    expected, slope = softmax_loss_in_place(logits, targets, 97, smoothing)
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(padded[:, :97], slope, rtol=1e-5, atol=1e-7)
    assert not padded[:, 97:].any()
