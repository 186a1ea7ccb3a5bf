"""Texts to token ids, as evaluation needs them."""

from collections.abc import Sequence
from typing import Any


def encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of each text, with no special token added and nothing cut."""
    if not texts:
        return []
    return tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]


def start_token(tokenizer: Any) -> int | None:
    """The token before a text: beginning-of-sequence, else end-of-text, as lm-evaluation-harness has it."""
    return tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
