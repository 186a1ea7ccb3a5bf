"""Tokenizers built from their plain files, with the ids that each family's models expect."""

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from trainyard.core.errors import InputError, one_line

Layout = Literal["gpt2", "opt", "bart", "t5"]

END_OF_TEXT = "<|endoftext|>"


def unknown_token(tokenizer: Any) -> int | None:
    """The id of the token in place of what has none of its own; None where that token has another role as well.

    GPT-2's is its end of text, which no text of its bytes is encoded to.
    """
    others = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return None if tokenizer.unk_token_id in others else tokenizer.unk_token_id


class _Layout(NamedTuple):
    ids: dict[str, int]
    roles: dict[str, str]
    template: str | None


_BART_IDS = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 50264}
_LAYOUTS: dict[Layout, _Layout] = {
    "gpt2": _Layout(
        {END_OF_TEXT: 50256}, {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "unk_token": END_OF_TEXT}, None
    ),
    # OPT begins every text with </s>, and ends none
    "opt": _Layout(
        {"<pad>": 1, "</s>": 2},
        {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"},
        "</s> $A",
    ),
    "bart": _Layout(
        _BART_IDS,
        {
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": "<pad>",
            "cls_token": "<s>",
            "sep_token": "</s>",
            "mask_token": "<mask>",
        },
        "<s> $A </s>",
    ),
    "t5": _Layout(
        {"<pad>": 0, "</s>": 1, "<unk>": 2},
        {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
        None,  # its own file has one
    ),
}


def _check_ids(tokenizer: Tokenizer, ids: dict[str, int], location: str) -> None:
    for token, expected in ids.items():
        actual = tokenizer.token_to_id(token)
        if actual != expected:
            raise InputError(f"{location}: {token} has the id {actual}, not {expected}: the files of another tokenizer")


def add_template(tokenizer: Tokenizer, template: str) -> None:
    """Let `tokenizer` put special tokens around a text (`$A`), as in `<s> $A </s>`."""
    named = dict.fromkeys(part for part in template.split() if part != "$A")
    ids = [(token, tokenizer.token_to_id(token)) for token in named]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=ids)


def make_byte_level(tokenizer: Tokenizer, split_words: bool = True) -> None:
    """Let `tokenizer` work on bytes, within words as GPT-2 splits them or over the whole text."""
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split_words)
    tokenizer.decoder = decoders.ByteLevel()


def wrap_tokenizer(tokenizer: Tokenizer, roles: dict[str, str]) -> PreTrainedTokenizerFast:
    """A tokenizer of transformers whose special tokens have these roles (`eos_token` and so on)."""
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **roles)


def from_vocabulary(layout: Layout, vocabulary: Path, merges: Path) -> PreTrainedTokenizerFast:
    """A byte-level BPE from a vocabulary (`vocab.json`) and its merges (`merges.txt`).

    Raises:
        InputError: a file is damaged, or isn't of this layout.
    """
    try:
        tokens = json.loads(vocabulary.read_text(encoding="utf-8"))
        if len(set(tokens.values())) < len(tokens):
            raise ValueError("two tokens have one id")
        lines = merges.read_text(encoding="utf-8").split("\n")
        pairs = [(line.split(" ")[0], line.split(" ")[1]) for line in lines if line and not line.startswith("#version")]
        tokenizer = Tokenizer(models.BPE(vocab=tokens, merges=pairs))
    except Exception as error:  # tokenizers raises plain Exception
        reason = one_line(error)
        raise InputError(f"{vocabulary} and {merges}: not a byte-level BPE ({reason}); fetch them again") from None
    settings = _LAYOUTS[layout]
    make_byte_level(tokenizer)
    _check_ids(tokenizer, settings.ids, str(vocabulary))
    for role, name in settings.roles.items():
        # the mask takes the space before it, as the models were trained
        tokenizer.add_special_tokens([AddedToken(name, lstrip=role == "mask_token", special=True)])
    _check_ids(tokenizer, settings.ids, str(vocabulary))
    if settings.template:
        add_template(tokenizer, settings.template)
    return wrap_tokenizer(tokenizer, settings.roles)


def from_tokenizer_file(layout: Layout, path: Path) -> PreTrainedTokenizerFast:
    """A tokenizer from `tokenizer.json`, without the truncation and padding that such files carry.

    Raises:
        InputError: the file is damaged, or isn't of this layout.
    """
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise InputError(f"{path}: not a tokenizer ({one_line(error)}); fetch it again") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    settings = _LAYOUTS[layout]
    _check_ids(tokenizer, settings.ids, str(path))
    return wrap_tokenizer(tokenizer, settings.roles)
