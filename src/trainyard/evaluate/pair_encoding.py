"""Sources and targets as token ids, as the model that summarises was trained on them."""

from collections.abc import Sequence
from typing import Any, Protocol

from trainyard.config.protocols import SEPARATOR
from trainyard.core.errors import InputError
from trainyard.evaluate.encoding import encode, start_token

Ids = list[list[int]]


class PairEncoding(Protocol):
    """How a model reads a source and ends a target.

    Attributes:
        ends: the tokens that end a summary.
    """

    ends: list[int]

    def encode_sources(self, texts: Sequence[str], longest: int) -> tuple[Ids, Ids]:
        """The tokens of each source, and what the model reads of it, cut to `longest` tokens."""
        ...

    def encode_targets(self, texts: Sequence[str]) -> Ids:
        """The tokens of each target, with the special ones that a search's length counts."""
        ...


class _WithEncoder:
    """A source and a target each stand alone, framed as their tokenizer frames a text."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.ends = _own_ends(model)

    def encode_sources(self, texts: Sequence[str], longest: int) -> tuple[Ids, Ids]:
        full = self._tokenizer(list(texts), verbose=False)["input_ids"]
        return full, self._tokenizer(list(texts), truncation=True, max_length=longest)["input_ids"]

    def encode_targets(self, texts: Sequence[str]) -> Ids:
        return self._tokenizer(text_target=list(texts), verbose=False)["input_ids"]


class _WithoutEncoder:
    """Source, separator and target are one text, between end-of-text tokens."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        start = start_token(tokenizer)
        if start is None:
            raise InputError(f"{tokenizer.name_or_path}: the tokenizer has no token that begins and ends a text")
        self._start, self._tokenizer = start, tokenizer
        (self._separator,) = encode(tokenizer, [SEPARATOR])
        self.ends = sorted({start, *_own_ends(model)})

    def encode_sources(self, texts: Sequence[str], longest: int) -> tuple[Ids, Ids]:
        full = encode(self._tokenizer, texts)
        return full, [[self._start, *ids[:longest], *self._separator] for ids in full]

    def encode_targets(self, texts: Sequence[str]) -> Ids:
        return [[self._start, *ids, self._start] for ids in encode(self._tokenizer, texts)]


def make_pair_encoding(model: Any, tokenizer: Any) -> PairEncoding:
    """How this model of transformers reads pairs.

    Raises:
        InputError: it has no encoder, and its tokenizer nothing that begins a text.
    """
    return (_WithEncoder if model.config.is_encoder_decoder else _WithoutEncoder)(model, tokenizer)


def _own_ends(model: Any) -> list[int]:
    own = model.generation_config.eos_token_id
    return own if isinstance(own, list) else [] if own is None else [own]
