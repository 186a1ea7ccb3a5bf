"""Tokenizers that need no files: bytes, and a small byte-level BPE trained on the data itself."""

import re
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from trainyard.data.tokenizer_layouts import END_OF_TEXT, add_template, make_byte_level, wrap_tokenizer

SPECIALS = ("<pad>", "<s>", "</s>", END_OF_TEXT)
# As in GPT-2's, a document begins with the token that also ends the one before. Sources and targets end with </s>.
_ROLES = {"pad_token": "<pad>", "bos_token": END_OF_TEXT, "eos_token": "</s>"}
_TEMPLATE = "$A </s>"
# Merges within a word cost the square of its length, so that a genome without a space would take days to learn from.
_LONG = re.compile(r"\S{1000}(?=\S)")


def _add_special_tokens(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIALS])
    add_template(tokenizer, _TEMPLATE)
    return wrap_tokenizer(tokenizer, _ROLES)


def make_byte_tokenizer() -> PreTrainedTokenizerFast:
    """UTF-8 bytes: the ids 0 to 3 are `SPECIALS`, byte b is 4 + b."""
    alphabet = bytes_to_unicode()
    vocabulary = {token: number for number, token in enumerate([*SPECIALS, *(alphabet[b] for b in range(256))])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    make_byte_level(tokenizer, split_words=False)
    return _add_special_tokens(tokenizer)


def train_bpe(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `vocabulary` tokens at most: `SPECIALS`, the 256 bytes, then merges learnt from `texts`.

    Texts of few words, each a token by then, have no more to merge and give fewer. Nothing
    is learnt across every thousandth character of a run without white space.
    """
    tokenizer = Tokenizer(models.BPE())
    make_byte_level(tokenizer)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((_LONG.sub(r"\g<0> ", text) for text in texts), trainer)
    return _add_special_tokens(tokenizer)
