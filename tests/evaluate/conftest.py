"""Tiny models with a real tokenizer, made in place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from trainyard.evaluate.result_files import Names

CORPUS = [
    "Roof shingle removal: A man is sitting on a roof. He starts pulling up roofing on a roof.",
    "Ada is in the kitchen. Ben took the red ball to the garden, and then he went home.",
    "A woman is outside with a bucket and a dog. The dog is running around, trying to avoid a bath.",
]


def make_tokenizer(special: dict[str, str], frame: tuple[str, str] | None = None) -> PreTrainedTokenizerFast:
    """A byte-level BPE of the corpus; `frame` are the tokens around an encoded text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=sorted(set(special.values())),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if frame:
        ends = [(token, tokenizer.token_to_id(token)) for token in frame]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{frame[0]} $A {frame[1]}", special_tokens=ends
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """The id of one token."""
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


@pytest.fixture(scope="session")
def causal_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of random weights, large enough that its likelihoods differ, with positions for 64 tokens."""
    folder = tmp_path_factory.mktemp("causal") / "best"
    tokenizer = make_tokenizer({"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"})
    torch.manual_seed(0)
    end = token_id(tokenizer, "<|endoftext|>")
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=2,
        initializer_range=0.3,
        bos_token_id=end,
        eos_token_id=end,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bart_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BART of random weights with positions for 64 tokens."""
    folder = tmp_path_factory.mktemp("bart") / "best"
    tokenizer = make_tokenizer({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}, ("<s>", "</s>"))
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=64,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        init_std=0.3,
        bos_token_id=token_id(tokenizer, "<s>"),
        eos_token_id=token_id(tokenizer, "</s>"),
        pad_token_id=token_id(tokenizer, "<pad>"),
        decoder_start_token_id=token_id(tokenizer, "</s>"),
        forced_eos_token_id=token_id(tokenizer, "</s>"),
    )
    BartForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def t5_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 of random weights, whose positions have no end."""
    folder = tmp_path_factory.mktemp("t5") / "best"
    tokenizer = make_tokenizer({"eos_token": "</s>", "pad_token": "<pad>"})
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=1,
        num_heads=2,
        pad_token_id=token_id(tokenizer, "<pad>"),
        eos_token_id=token_id(tokenizer, "</s>"),
    )
    config.decoder_start_token_id = token_id(tokenizer, "<pad>")
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def names() -> Names:
    """What the evaluations of these tests are called."""
    return Names("demo", "tiny", "an-evaluation", "best", "a-dataset", "validation")


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Rows to a Parquet file."""

    def write(rows: list[dict[str, Any]], name: str = "rows.parquet") -> Path:
        path = tmp_path / name
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path

    return write
