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

from trainyard.evaluate.score import Query, log_likelihoods

WORDS = 50


def make(family: str) -> PreTrainedModel:
    torch.manual_seed(1)
    sizes: dict[str, Any] = {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    match family:
        case "gpt2":
            config = GPT2Config(vocab_size=WORDS, n_embd=32, n_layer=2, n_head=4, n_positions=24, initializer_range=0.3)
            config.bos_token_id = config.eos_token_id = 0
            model = GPT2LMHeadModel(config)
        case "opt":
            model = OPTForCausalLM(
                OPTConfig(**sizes, ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=24, init_std=0.3)
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
    assert log_likelihoods(model, queries, batch_tokens, "") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "opt", "llama", "qwen2"])
def test_single_continuations_need_no_mask(family: str):
    model = make(family)
    queries = [Query(np.arange(2, 2 + n), (np.arange(3, 3 + n),)) for n in range(1, 11)]
    expected = [alone(model, query.context, query.continuations[0]) for query in queries]
    assert log_likelihoods(model, queries, 64, "") == pytest.approx(expected, rel=1e-5)
