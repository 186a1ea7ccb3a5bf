from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.activations import NewGELUActivation

from trainyard.models.build import build, configuration
from trainyard.models.gelu import GELU

from .conftest import MODELS


class Operators(TorchDispatchMode):
    """Counts what is computed, by operator and precision; views don't count."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[tuple[str, torch.dtype]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and not func.is_view and func.overloadpacket.__name__ != "_to_copy":
            self.seen[func.overloadpacket.__name__, found.dtype] += 1
        return found


def operators_of_an_mlp(device: str) -> Counter[tuple[str, torch.dtype]]:
    mlp = build(MODELS["gpt2-tiny"], "gpt2-tiny", dropout=0.0, seed=1).transformer.h[0].mlp.to(device)
    x = torch.zeros(2, 3, MODELS["gpt2-tiny"].shape.width, device=device)
    with torch.no_grad(), Operators() as operators:
        mlp(x)
    return operators.seen


def test_gpt2s_feed_forward_layer_is_two_products_and_one_activation_between_them() -> None:
    assert operators_of_an_mlp("cpu") == {("addmm", torch.float32): 2, ("gelu", torch.float32): 1}


@pytest.fixture
def _cudas_autocast() -> Iterator[None]:
    """As `torch.autocast` sets it, which refuses where there is no GPU."""
    before = torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    yield
    torch.set_autocast_enabled("cuda", False)
    torch.set_autocast_dtype("cuda", before)


@pytest.mark.usefixtures("_cudas_autocast")
def test_under_cudas_autocast_it_computes_in_bf16() -> None:
    seen = {}
    for kind in (NewGELUActivation, GELU):
        with FakeTensorMode(), torch.no_grad():
            x = torch.empty(2, 3, dtype=torch.bfloat16, device="cuda")
            with Operators() as operators:
                kind()(x)
        seen[kind] = operators.seen
    assert seen[GELU] == {("gelu", torch.bfloat16): 1}
    assert seen[NewGELUActivation]["pow", torch.float32] == 1


def test_it_is_transformers_function() -> None:
    torch.manual_seed(0)
    wide = (4 * torch.randn(10_000, dtype=torch.float64)).requires_grad_()
    exact, fused = NewGELUActivation()(wide), GELU()(wide)
    torch.testing.assert_close(fused, exact, rtol=1e-12, atol=1e-13)
    gradients = [torch.autograd.grad(result.sum(), wide)[0] for result in (fused, exact)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["gpt2-tiny", "gpt2-124m"])
def test_an_export_keeps_the_name(name: str) -> None:
    assert configuration(MODELS[name]).activation_function == "gelu_new"  # pyright: ignore[reportAttributeAccessIssue]
