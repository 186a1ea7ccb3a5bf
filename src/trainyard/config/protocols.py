"""What a study and an evaluation both know of a protocol; apart from the study, whose other keys change no score."""

from typing import Literal

ROWS_FOR_SHOTS = 100
"""Of a split that shots are drawn from itself: its last rows, which are not scored."""

RougeTokenizer = Literal["ascii", "unicode"]


def uses_stemmer(tokenizer: RougeTokenizer, stemmer: bool | None) -> bool:
    """Whether ROUGE compares words without their endings: by default those of the tokenizer for English.

    Raises:
        ValueError: the stemmer is asked for beside a tokenizer for any language.
    """
    if stemmer and tokenizer != "ascii":
        raise ValueError("stemmer: Porter's is for English only; leave it out, or set `tokenizer: ascii`")
    return tokenizer == "ascii" if stemmer is None else stemmer


SEPARATOR = "\nTL;DR:\n"
"""Between source and target in the one text that a model without an encoder reads and writes.

GPT-2's own words for it (Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 3.6).
"""
