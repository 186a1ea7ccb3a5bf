from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from trainyard.evaluate.log_likelihood import Query, log_likelihoods
from trainyard.evaluate.packed_linear import DTYPES, PackedLinear, can_pack, pack

WORDS = 50


def make(family: str, positions: int = 24) -> Any:
    torch.manual_seed(1)
    sizes: dict[str, Any] = {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    match family:
        case "gpt2":
            config = GPT2Config(
                vocab_size=WORDS, n_embd=32, n_layer=2, n_head=4, n_positions=positions, initializer_range=0.3
            )
            config.bos_token_id = config.eos_token_id = 0
            model = GPT2LMHeadModel(config)
        case "opt":
            model = OPTForCausalLM(
                OPTConfig(**sizes, ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=positions, init_std=0.3)
            )
        case "llama":
            model = LlamaForCausalLM(
                LlamaConfig(**sizes, intermediate_size=64, num_key_value_heads=2, initializer_range=0.3)
            )
        case _:
            model = Qwen2ForCausalLM(
                Qwen2Config(**sizes, intermediate_size=64, num_key_value_heads=2, initializer_range=0.3)
            )
    return model.eval()


def alone(model: PreTrainedModel, context: np.ndarray, continuation: np.ndarray) -> float:
    ids = torch.tensor([[*context, *continuation]])
    with torch.no_grad():
        found = model(ids).logits[0, :-1].double().log_softmax(-1).gather(1, ids[0, 1:, None])
    return float(found[len(context) - 1 :].sum())


@pytest.mark.parametrize("family", ["gpt2", "opt", "llama", "qwen2"])
@pytest.mark.parametrize("batch_tokens", [1, 60, 4096])
def test_continuations_that_share_a_row_score_as_each_alone(family: str, batch_tokens: int):
    model = make(family)
    generator = np.random.default_rng(5)

    def draw(least: int, most: int) -> np.ndarray:
        return generator.integers(2, WORDS, generator.integers(least, most))

    queries = [Query(draw(1, 15), tuple(draw(1, 8) for _ in range(generator.integers(1, 6)))) for _ in range(12)]
    expected = [alone(model, query.context, tokens) for query in queries for tokens in query.continuations]
    assert log_likelihoods(model, queries, batch_tokens) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "opt", "llama", "qwen2"])
def test_single_continuations_need_no_mask(family: str):
    model = make(family)
    queries = [Query(np.arange(2, 2 + n), (np.arange(3, 3 + n),)) for n in range(1, 11)]
    expected = [alone(model, query.context, query.continuations[0]) for query in queries]
    assert log_likelihoods(model, queries, 64) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "opt", "llama", "qwen2"])
@pytest.mark.parametrize("batch_tokens", [1, 60, 4096])
def test_what_all_contexts_begin_with_is_computed_once_and_changes_nothing(family: str, batch_tokens: int):
    model = make(family, positions=64)
    generator = np.random.default_rng(5)
    beginning = generator.integers(2, WORDS, 40)

    def draw(least: int, most: int) -> np.ndarray:
        return generator.integers(2, WORDS, generator.integers(least, most))

    queries = [
        Query(np.concatenate([beginning, draw(1, 9)]), tuple(draw(1, 8) for _ in range(generator.integers(1, 4))))
        for _ in range(12)
    ]
    read = []
    hook = model.get_input_embeddings().register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].numel()))
    found = log_likelihoods(model, queries, batch_tokens)
    hook.remove()
    expected = [alone(model, query.context, tokens) for query in queries for tokens in query.continuations]
    assert found == pytest.approx(expected, rel=1e-5)
    assert read[0] in (40, 41)
    assert sum(read) < 2 * sum(query.width - 40 for query in queries) + 41 or batch_tokens == 4096


def test_the_head_sees_scored_positions_alone():
    model = make("llama")
    seen = []
    hook = model.get_output_embeddings().register_forward_hook(lambda *given: seen.append(given[-1].shape[1]))
    log_likelihoods(model, [Query(np.arange(2, 12), (np.arange(3, 6), np.arange(3, 5)))], 64)
    hook.remove()
    assert seen == [5]


def test_finished_queries_are_counted():
    counted: list[int] = []
    log_likelihoods(make("gpt2"), [Query(np.arange(2, 9), (np.arange(3, 6),))] * 5, 20, counted.append)
    assert counted == [2, 2, 1]


@pytest.mark.parametrize("family", ["gpt2", "opt", "llama", "qwen2"])
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if can_pack("cpu", dtype)])
def test_packed_layers_compute_what_the_model_computes(family: str, dtype: torch.dtype):
    model, packed = make(family).to(dtype), make(family).to(dtype)
    pack(packed)
    kinds = {type(module).__name__ for module in packed.modules()}
    assert "PackedLinear" in kinds
    assert not kinds & {"Linear", "Conv1D"}
    ids = torch.arange(2, 20)[None]
    with torch.inference_mode():
        ours, theirs = packed(ids).logits, model(ids).logits
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-5 if dtype == torch.float32 else 0.1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_are_packed_just_where_the_processor_can_multiply_them(dtype: torch.dtype):
    layer = torch.nn.Linear(8, 8).to(dtype)
    try:
        PackedLinear(layer.weight, layer.bias)(torch.zeros(1, 8, dtype=dtype))
        works = True
    except RuntimeError:
        works = False
    assert can_pack("cpu", dtype) is works
