"""Beam search gives the ids of transformers' own `generate`, whatever the settings, family and company in a batch."""

import random
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LogitsProcessorList,
    MistralConfig,
    MistralForCausalLM,
    NoRepeatNGramLogitsProcessor,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from trainyard.evaluate.generation import Search, generate
from trainyard.models.window import use_window

VOCABULARY, END, PAD = 13, 2, 1
SHAPE: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": END, "pad_token_id": PAD}
LLAMA = SHAPE | {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.5,
}


def bart(**more: Any) -> Any:
    sides: dict[str, Any] = {f"{side}_{name}": count for side in ("encoder", "decoder") for name, count in BART.items()}
    model = BartForConditionalGeneration(BartConfig(**SHAPE, **sides, **more, d_model=16, init_std=0.5))
    model.generation_config.update(forced_bos_token_id=0, forced_eos_token_id=END)
    model.final_logits_bias[0, END] = 20
    return model


def t5(**more: Any) -> Any:
    model = T5ForConditionalGeneration(
        T5Config(**SHAPE, **more, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    )
    model.generation_config.update(decoder_start_token_id=PAD)
    return model


BART = {"layers": 2, "attention_heads": 2, "ffn_dim": 32}
MODELS = {
    "bart": bart,
    "t5": t5,
    "bart with a window": lambda: bart(attention_window=4),
    "t5 with a window": lambda: t5(attention_window=4),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(**SHAPE, n_positions=64, n_embd=16, n_layer=2, n_head=2, initializer_range=0.5)
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**LLAMA)),
    "opt": lambda: OPTForCausalLM(
        OPTConfig(
            **SHAPE,
            hidden_size=16,
            ffn_dim=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
            init_std=0.5,
            word_embed_proj_dim=16,
        )
    ),
    "llama with a window, exported as mistral": lambda: MistralForCausalLM(MistralConfig(**LLAMA, sliding_window=4)),
    "gpt2_modern, exported as qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**LLAMA)),
    "gpt2_modern with a window, exported as qwen2": lambda: Qwen2ForCausalLM(
        Qwen2Config(**LLAMA, use_sliding_window=True, sliding_window=4, max_window_layers=0)
    ),
}


def make(family: str) -> Any:
    """A model of random weights, in double precision so that no rounding chooses between beams."""
    torch.manual_seed(1)
    model = MODELS[family]().double().eval()
    use_window(model)
    model.get_output_embeddings().weight.data[END] *= 3  # it ends often
    return model


class WithoutSource(NoRepeatNGramLogitsProcessor):
    """Bans n-grams of the summary alone."""

    def __init__(self, size: int, source: int) -> None:
        super().__init__(size)
        self._source = source

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        return super().__call__(input_ids[:, self._source :], scores)


def by_transformers(model: Any, source: list[int], search: Search) -> list[int]:
    """The same search of one source, by `generate`."""
    encoder = model.config.is_encoder_decoder
    lengths = (
        {"min_length": search.min_length, "max_length": search.max_length}
        if encoder
        else {"min_new_tokens": search.min_length - 1, "max_new_tokens": search.max_length - 1}
    )
    own = model.generation_config
    several = {"length_penalty": search.length_penalty, "early_stopping": search.early_stopping}
    config = GenerationConfig(
        **{name: getattr(own, name) for name in ("bos_token_id", "decoder_start_token_id")},
        forced_bos_token_id=own.forced_bos_token_id,
        forced_eos_token_id=own.forced_eos_token_id,
        eos_token_id=END,
        pad_token_id=PAD,
        num_beams=search.beams,
        do_sample=False,
        no_repeat_ngram_size=search.no_repeat_ngram if encoder else 0,
        **lengths,
        **(several if search.beams > 1 else {}),
    )
    banned = [] if encoder or not search.no_repeat_ngram else [WithoutSource(search.no_repeat_ngram, len(source))]
    ids = torch.tensor([source])
    found = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        generation_config=config,
        logits_processor=LogitsProcessorList(banned),
    )[0].tolist()
    return found if encoder else found[len(source) - 1 :]


@pytest.mark.parametrize("family", MODELS)
def test_it_finds_what_transformers_finds_for_each_source_alone(family: str) -> None:
    model, draw = make(family), random.Random(family)
    ends = 0
    for _ in range(12):
        search = Search(
            beams=draw.choice([1, 2, 3, 6]),
            min_length=draw.choice([1, 3, 8]),
            max_length=draw.choice([9, 16]),
            no_repeat_ngram=draw.choice([0, 2, 3]),
            length_penalty=draw.choice([0.0, 0.6, 1.0, 2.0]),
            early_stopping=draw.choice([True, False]),
        )
        sources = [[draw.randrange(3, VOCABULARY) for _ in range(draw.randrange(1, 20))] for _ in range(7)]
        expected = [by_transformers(model, source, search) for source in sources]
        assert generate(model, sources, search, [END], batch=4) == expected, search
        ends += sum(len(ids) < search.max_length for ids in expected)
    assert ends > 10  # not all were cut


@pytest.mark.parametrize("family", ["t5", "gpt2"])
def test_a_source_that_has_ended_costs_no_more_steps(family: str) -> None:
    model = make(family)
    search = Search(3, 1, 40, no_repeat_ngram=0, length_penalty=1.0, early_stopping=True)
    sources = [[3 + (start * step) % 10 for step in range(4)] for start in range(1, 9)]
    given = rows_given(model, sources, search)
    assert given[0] == 8 * search.beams
    assert given[-1] < given[0] / 2
    lengths = [len(ids) - 1 for ids in generate(model, sources, search, [END], batch=8)]
    assert len(given) == max(lengths)
    assert sum(given) < 0.8 * len(given) * given[0]


def rows_given(model: Any, sources: list[list[int]], search: Search) -> list[int]:
    """How many beams the model goes on with at each step."""
    steps = []

    def count(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        steps.append(len(kwargs.get("decoder_input_ids", kwargs.get("input_ids", ()))))

    with model.register_forward_pre_hook(count, with_kwargs=True):
        generate(model, sources, search, [END], batch=8)
    # an encoder's keys and values are made in a step of their own, a row a source
    return steps[1:] if model.config.is_encoder_decoder else steps
