"""Ids of the special tokens that a model must know."""

from dataclasses import dataclass

from trainyard.config.catalogue import Model
from trainyard.estimate.families import load_family


@dataclass(frozen=True)
class SpecialTokens:
    """Ids that go into a model's configuration; `pad` is None where the tokenizer has none."""

    pad: int | None
    start: int | None
    end: int


_BY_TOKENIZER = {
    "gpt2": SpecialTokens(pad=None, start=50256, end=50256),
    "opt": SpecialTokens(pad=1, start=2, end=2),
    "bart": SpecialTokens(pad=1, start=0, end=2),
    "t5": SpecialTokens(pad=0, start=None, end=1),
    "smollm2": SpecialTokens(pad=2, start=1, end=2),
}
# `bytes` and every BPE trained here begin with <pad>, <s>, </s> and <|endoftext|>
_OWN_PAIRS = SpecialTokens(pad=0, start=1, end=2)
_OWN_TEXT = SpecialTokens(pad=0, start=3, end=3)


def special_tokens(model: Model) -> SpecialTokens:
    """The special tokens of a model's tokenizer."""
    own = _OWN_PAIRS if load_family(model.family).is_encoder_decoder else _OWN_TEXT
    return _BY_TOKENIZER.get(model.tokenizer, own)
