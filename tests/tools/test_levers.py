"""Taking a lever away brings back what stood there before it, and nothing of that stays."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers.activations import NewGELUActivation

from trainyard.config.catalogue import Model
from trainyard.models import logits, loss
from trainyard.models.attention import MASKLESS
from trainyard.models.build import build
from trainyard.models.gelu import GELU
from trainyard.tools.gpu_check.levers import without

SHAPE = {"layers": 1, "width": 16, "heads": 2, "context": 8, "vocabulary": 260}
ENTRY = Model.model_validate({"title": "t", "family": "gpt2", "tokenizer": "bytes", "shape": SHAPE})


def trained() -> nn.Module:
    return build(ENTRY, "t", seed=0)


def kinds(model: nn.Module) -> set[type]:
    return {type(module) for module in model.modules()}


def test_without_attention_of_ours_transformers_has_its_own() -> None:
    def implementation() -> str:
        config: Any = trained().config
        return config._attn_implementation

    with without("attention without a mask"):
        assert implementation() == "sdpa"
    assert implementation() == MASKLESS


def test_without_a_fused_gelu_it_is_that_of_transformers() -> None:
    with without("fused GELU"):
        assert NewGELUActivation in kinds(trained())
    assert kinds(trained()) & {GELU, NewGELUActivation} == {GELU}


def test_without_padding_there_are_as_many_logits_as_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    columns: list[int] = []

    def seen(slices: torch.Tensor, targets: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
        columns.append(slices.shape[1])
        return torch.empty(targets.shape, device="meta"), slices

    monkeypatch.setattr(loss, "softmax_loss_in_place", seen)
    # on `meta`, which goes a GPU's way
    hidden, weight = torch.empty(4, 16, device="meta"), torch.empty(260, 16, device="meta")
    labels = torch.empty(4, dtype=torch.int64, device="meta")
    arguments = (hidden, weight, labels, torch.float32, (False, False), 0.0)
    with without("padded logits"):
        loss._losses_and_gradients(*arguments)
    loss._losses_and_gradients(*arguments)
    assert columns == [260, 384]


def test_without_a_fused_loss_nothing_is_compiled() -> None:
    usual = logits._can_compile()
    with without("fused loss"):
        assert not logits._can_compile()
    assert logits._can_compile() == usual
