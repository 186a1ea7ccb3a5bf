"""Parts of a model that keep their weights."""

import pytest

from trainyard.config.model_parts import parse_part
from trainyard.estimate.frozen import count_frozen
from trainyard.models.build import build
from trainyard.models.freeze import freeze, frozen_weights

from .conftest import MODELS

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
