from pathlib import Path
from typing import Any

import pytest
import torch

from trainyard.config.catalogue import Model
from trainyard.config.yaml_entries import parse_entries
from trainyard.estimate.blocks import decoder_layers, head_width
from trainyard.estimate.families import FAMILIES, load_family
from trainyard.estimate.parameters import (
    flops_per_pair,
    flops_per_token,
    megatron_flops,
    parameters,
    parameters_without_embeddings,
)
from trainyard.models.build import build

MODELS: dict[str, Model] = parse_entries(Model, Path(__file__).parents[2] / "config/models.yaml")


@pytest.mark.parametrize("name", MODELS)
def test_arithmetic_counts_what_is_built(name: str) -> None:
    with torch.device("meta"):
        model = build(MODELS[name], name)
    assert parameters(MODELS[name]) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt2-52m", 51_475_968),
        ("gpt2-83m", 82_056_320),
        ("gpt2-124m", 124_439_808),
        ("gpt2-355m", 354_823_168),
        ("opt-125m", 125_239_296),
        ("opt-350m", 331_196_416),
        ("opt-1.3b", 1_315_758_080),
        ("gpt2-modern-124m", 116_491_776),
        ("gpt2-modern-350m", 328_337_408),
        ("smollm2-135m", 134_515_008),
        ("bart-large", 406_291_456),
        ("t5-large", 737_668_096),
        ("t5-3b", 2_851_598_336),
    ],
)
def test_published_models_have_their_known_sizes(name: str, expected: int) -> None:
    assert parameters(MODELS[name]) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_a_shape_with_every_option_is_counted(family: str) -> None:
    own = {"head_width": 24, "embedding_width": 20, "key_value_heads": 2, "decoder_layers": 3}
    options: dict[str, Any] = {key: value for key, value in own.items() if key in load_family(family).shape_keys}
    shape = {"layers": 2, "width": 48, "heads": 4, "context": 32, "vocabulary": 70, "feed_forward": 50, **options}
    entry = Model.model_validate({"title": "all", "family": family, "tokenizer": "bytes", "shape": shape})
    assert parameters(entry) == sum(parameter.numel() for parameter in build(entry, "all").parameters())


def test_scaling_laws_count_neither_tokens_nor_positions() -> None:
    shape = MODELS["gpt2-124m"].shape
    kaplan = 12 * shape.layers * shape.width**2
    assert parameters_without_embeddings(MODELS["gpt2-124m"]) == 85_056_000
    assert abs(parameters_without_embeddings(MODELS["gpt2-124m"]) / kaplan - 1) < 0.002


def test_flops_a_token_are_those_of_nanogpt() -> None:
    # 6 N + 12 L h Q T at 124M and a sequence of 1,024
    assert flops_per_token(MODELS["gpt2-124m"], 1024) == 6 * 124_439_808 + 12 * 12 * 12 * 64 * 1024
    assert round(flops_per_token(MODELS["gpt2-124m"], 1024) / 1e9, 3) == 0.860


@pytest.mark.parametrize("name", ["bart-large", "t5-large"])
def test_flops_of_a_pair_are_those_of_each_stack_on_its_tokens(name: str) -> None:
    entry = MODELS[name]
    shape, n = entry.shape, parameters(entry)
    attention = 12 * shape.heads * head_width(shape)
    # as long a target as a source: every parameter meets as many tokens
    both = 6 * n * 64 + attention * (shape.layers + 2 * decoder_layers(shape)) * 64**2
    assert flops_per_pair(entry, 64, 64) == pytest.approx(both, rel=1e-12)
    with torch.device("meta"):
        encoder = build(entry, name).get_encoder()
    blocks = sum(each.numel() for part, each in encoder.named_parameters() if "embed_tokens" not in part)
    of_the_source = flops_per_pair(entry, 64, 0) - attention * shape.layers * 64**2
    assert of_the_source / (6 * 64) == pytest.approx(blocks, rel=0.02)  # its share of positions and last norms apart


def test_flops_of_a_step_are_those_of_megatron() -> None:
    entry = MODELS["opt-125m"]
    work = 24 * 3 * 8 * 1024 * 12 * 768**2 * (1 + 1024 / (6 * 768) + 50272 / (16 * 12 * 768))
    assert megatron_flops(entry, 8, 1024, activation_checkpointing=False) == pytest.approx(work, rel=1e-12)
    assert megatron_flops(entry, 8, 1024, activation_checkpointing=True) == pytest.approx(work * 4 / 3, rel=1e-12)
