"""WikiText's pages as lm-evaluation-harness's task `wikitext` reads them (lm_eval/tasks/wikitext, version 2.0)."""

import re

# in this order: what the corpus's tokenizer took apart, and how it is joined again
_POSSESSIVE = ("s '", "s'")
# meant for years after an apostrophe, but its slashes are part of the pattern
_YEARS = (re.compile("/' [0-9]/"), "/'[0-9]/")
_JOINED = (
    (" @-@ ", "-"),
    (" @,@ ", ","),
    (" @.@ ", "."),
    *((f" {mark} ", f"{mark} ") for mark in ":;.!?,"),
)
_WITHIN = tuple(
    (re.compile(rf"{first}\s*([^{last}]*?)\s*{last}"), rf"{opening}\1{closing}")
    for first, last, opening, closing in (
        (r"\(", r"\)", "(", ")"),
        (r"\[", r"\]", "[", "]"),
        ("{", "}", "{", "}"),
        ('"', '"', '"', '"'),
        ("'", "'", "'", "'"),
    )
)
_LAST = (
    ("= = = =", "===="),
    ("= = =", "==="),
    ("= =", "=="),
    (" \N{DEGREE SIGN} ", "\N{DEGREE SIGN}"),
    (" \n", "\n"),
    ("\n ", "\n"),
    (" N ", " 1 "),
    (" 's", "'s"),
)


def detokenize(page: str) -> str:
    """A page with its marks joined to its words again, as the harness's `wikitext_detokenizer` does."""
    pattern, joined = _YEARS
    page = pattern.sub(joined, page.replace(*_POSSESSIVE))
    for apart, joined in _JOINED:
        page = page.replace(apart, joined)
    for pattern, joined in _WITHIN:
        page = pattern.sub(joined, page)
    for apart, joined in _LAST:
        page = page.replace(apart, joined)
    return page


def count_as_harness(page: str) -> dict[str, int]:
    """Words and bytes of a page as the harness counts them: what is empty at an end counts as a word."""
    return {"words": len(re.split(r"\s+", page)), "bytes": len(page.encode())}
