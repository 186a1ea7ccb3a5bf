"""The words of a text in any language."""

import unicodedata

import regex

# the long vowel mark belongs to two scripts, and so to none
UNSPACED = "\N{KATAKANA-HIRAGANA PROLONGED SOUND MARK}" + (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    r"\p{Javanese}\p{Balinese}\p{Tai_Tham}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Viet}\p{Tibetan}"
)
"""The characters of scripts that put no space between words, as they are in a pattern's brackets."""
CHARACTER = rf"[{UNSPACED}]\pM*"
"""A character of such a script with its combining marks, as a pattern for RE2 and for `regex`."""

_CHARACTER = regex.compile(CHARACTER.replace(r"\pM", r"\p{M}"))
_WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{M}\p{N}]*")


def find_words(text: str) -> list[str]:
    """The words of a text: letters and digits with their combining marks, whatever the script.

    Characters that mean the same are one (Unicode's normalisation form KC), and so are
    capital and small letters (its case folding). A character of a script that puts no
    space between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan and others) is a word.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _WORD.findall(folded if folded.isascii() else _CHARACTER.sub(r" \g<0> ", folded))


def count_letters(text: str) -> int:
    """How many letters and digits a text has."""
    return sum(map(str.isalnum, text))


def count_unspaced_letters(text: str) -> int:
    """How many of a text's letters and digits are of scripts that put no space between words."""
    return 0 if text.isascii() else count_letters("".join(_CHARACTER.findall(text)))
