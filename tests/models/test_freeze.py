"""Parts of a model that keep their weights."""

import pytest
from torch import Tensor

from trainyard.config.model_parts import parse_part
from trainyard.estimate.frozen import count_frozen
from trainyard.models.blocks import find_blocks
from trainyard.models.build import build
from trainyard.models.freeze import freeze, frozen_weights
from trainyard.models.loss import Objective

from .conftest import MODELS, batch

PARTS = {
    "gpt2-tiny": ["embeddings", "blocks.0", "blocks.0-1"],
    "gpt2-modern-tiny": ["embeddings", "blocks.1"],
    "opt-tiny": ["embeddings", "blocks.0"],
    "llama-tiny": ["embeddings", "blocks.0"],
    "bart-tiny": ["embeddings", "encoder", "decoder", "encoder.blocks.0", "decoder.blocks.0-1"],
    "t5-tiny": ["embeddings", "encoder", "decoder", "encoder.blocks.0", "decoder.blocks.1"],
}
CASES = [(name, part) for name, parts in PARTS.items() for part in parts if name in MODELS]


def frozen(name: str, *parts: str) -> dict[str, int]:
    model = build(MODELS[name], name, seed=1)
    freeze(model, parts)
    return {name: parameter.numel() for name, parameter in model.named_parameters() if not parameter.requires_grad}


def test_every_family_has_a_case(tiny: str) -> None:
    assert tiny in PARTS


@pytest.mark.parametrize(("name", "part"), CASES)
def test_what_a_name_freezes_is_what_the_arithmetic_counts(name: str, part: str) -> None:
    counted = count_frozen(MODELS[name], [part])
    norms = 0.03 * sum(frozen(name, part).values())  # of encoder or decoder, outside of their blocks
    assert sum(frozen(name, part).values()) == pytest.approx(counted.parameters, abs=norms)


def test_a_head_that_shares_the_embedding_is_frozen_with_it_under_both_names() -> None:
    model = build(MODELS["gpt2-tiny"], "gpt2-tiny", seed=1)
    freeze(model, ["embeddings"])
    assert set(frozen_weights(model)) == {"transformer.wte.weight", "transformer.wpe.weight", "lm_head.weight"}


def test_the_embedding_that_a_decoder_shares_is_trained_though_the_encoder_is_frozen() -> None:
    assert not [name for name in frozen("bart-tiny", "encoder") if "decoder" in name or "shared" in name]
    assert [name for name in frozen("bart-tiny", "encoder") if "encoder.embed_positions" in name]


@pytest.mark.parametrize(
    ("parts", "idle"),
    [
        (["blocks.0"], (0, 0)),  # the embeddings below it are trained
        (["embeddings", "blocks.0"], (1, 0)),
        (["embeddings", "blocks.1"], (0, 0)),
    ],
)
def test_blocks_below_all_that_is_trained_are_idle(parts: list[str], idle: tuple[int, int]) -> None:
    assert count_frozen(MODELS["gpt2-tiny"], parts).idle_blocks == idle


def test_of_an_encoder_decoder_the_frozen_encoder_is_idle_and_the_decoder_as_far_as_it_is_frozen() -> None:
    shape = MODELS["bart-tiny"].shape
    found = count_frozen(MODELS["bart-tiny"], ["embeddings", "encoder", "decoder.blocks.0"])
    assert found.idle_blocks == (shape.layers, 1)


@pytest.mark.parametrize(
    "name", ["", "head", "blocks", "blocks.", "blocks.2-1", "encoder.blocks", "blocks.-1", "Blocks.0"]
)
def test_a_name_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name or "no part"):
        parse_part(name)


def has_backward_pass(name: str, checkpointing: bool) -> bool:
    """Whether the first block has, where it and the embeddings are frozen."""
    model = build(MODELS[name], name, dropout=0.0, seed=1, activation_checkpointing=checkpointing)
    encodes, found = model.config.is_encoder_decoder, []
    freeze(model, ["embeddings", "encoder.blocks.0" if encodes else "blocks.0"])
    first = next(find_blocks(model.base_model.encoder if encodes else model))
    first.register_forward_hook(lambda _module, _given, made: found.append(made))
    Objective(model)(**batch(MODELS[name])).backward()
    return (found[0] if isinstance(found[0], Tensor) else found[0][0]).requires_grad


def test_checkpoints_give_a_frozen_block_no_backward_pass(tiny: str) -> None:
    assert has_backward_pass(tiny, checkpointing=True) == has_backward_pass(tiny, checkpointing=False)


def test_a_frozen_block_at_the_bottom_has_none() -> None:
    assert not has_backward_pass("gpt2-tiny", checkpointing=False)
