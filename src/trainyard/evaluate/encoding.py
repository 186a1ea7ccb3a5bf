"""Texts to token ids, as evaluation needs them."""

import functools
from collections.abc import Sequence
from typing import Any

from trainyard.data.tokenizer_layouts import END_OF_TEXT


def encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of each text, with no special token added and nothing cut.

    The name of a special token in a text is text, as it is when the model is trained: `load_tokenizer` sees to it.
    """
    return _encode(tokenizer, texts)


def encode_as_harness(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of each text as lm-evaluation-harness encodes it.

    With the special tokens that the tokenizer frames a text with, if any, unless the
    text begins with the start token as it is. The name of a special token in a text is that token.
    """
    start = harness_start_token(tokenizer)
    bare = [start is not None and text.startswith(tokenizer.decode(start)) for text in texts]
    as_harness = functools.partial(_encode, tokenizer, split_special_tokens=False)
    to_frame = [text for text, is_bare in zip(texts, bare, strict=True) if not is_bare]
    framed = iter(as_harness(to_frame, add_special_tokens=True))
    return [as_harness([text])[0] if is_bare else next(framed) for text, is_bare in zip(texts, bare, strict=True)]


def start_token(tokenizer: Any) -> int | None:
    """The token before a text: end-of-text, which documents are trained on with, else the harness's."""
    if END_OF_TEXT in tokenizer.all_special_tokens:
        return tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    return harness_start_token(tokenizer)


def harness_start_token(tokenizer: Any) -> int | None:
    """The token that lm-evaluation-harness puts before a text: beginning-of-sequence, else end.

    It differs from `start_token` for chat models, whose beginning-of-sequence opens a turn.
    """
    return tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id


def _encode(tokenizer: Any, texts: Sequence[str], add_special_tokens: bool = False, **more: bool) -> list[list[int]]:
    if not texts:
        return []
    encoded = tokenizer(
        list(texts), add_special_tokens=add_special_tokens, return_attention_mask=False, verbose=False, **more
    )
    return encoded["input_ids"]
