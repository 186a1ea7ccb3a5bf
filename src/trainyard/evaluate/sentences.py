"""Where sentences end, by rule: the same answer everywhere, with no model to fetch."""

import regex as re

_OPENING = "\"'(\\[\u201c\u2018\u00ab"
_CLOSING = "\"')\\]\u201d\u2019\u00bb"
_CLOSING_WIDE = f"{_CLOSING}\u300d\u300f\u3009\u300b\u3011\uff09"
# they end nothing but sentences, white space or not: the full stops, question and exclamation marks of Chinese and
# Japanese, Arabic, Urdu, the languages of India, Ethiopic, Tibetan, Burmese and Khmer
_ALWAYS = "\u3002\uff01\uff1f\uff61\u061f\u06d4\u0964\u0965\u1362\u1367\u1368\u0f0d\u0f0e\u104a\u104b\u17d4\u17d5"
_END = re.compile(
    rf"(?P<marks>[.!?\u2026]+)[{_CLOSING}]*(?=\s)|(?P<always>[{_ALWAYS}][{_ALWAYS}!?\u2026]*)[{_CLOSING_WIDE}]*"
)
# a letter that is no small one: of scripts without capitals any letter
_CAPITAL_OR_DIGIT = re.compile(rf"\s+[{_OPENING}]*[\p{{Lu}}\p{{Lt}}\p{{Lo}}\p{{N}}]")
_TITLES = "Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|Lt|Col|Gen|Capt|Sgt|Rev|Hon|Gov|Sen|Rep"
_OTHERS = "No|vs|etc|Inc|Ltd|Co|Corp|Mt|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec"
_ABBREVIATION = re.compile(rf"(?:^|[\s{_OPENING}])(?:{_TITLES}|{_OTHERS}|(?:\p{{L}}\.)*\p{{L}})\.$")


def sentences(text: str) -> list[str]:
    """Split a text into sentences, stripped of white space; none is empty.

    A line ends a sentence. So do `!`, `?` and an ellipsis before white space, and `.`
    where a capital letter (or one of a script without capitals) or a digit follows (quotes
    and brackets may stand between) and what it ends is neither a common abbreviation nor a
    single letter, as an initial is. The marks of other scripts, such as a Chinese full stop,
    end a sentence wherever they stand.
    """
    return [sentence for line in text.splitlines() for sentence in _of_line(line)]


def _of_line(line: str) -> list[str]:
    parts, begin = [], 0
    for match in _END.finditer(line):
        marks = match["marks"] or ""
        if set(marks) == {"."} and not _CAPITAL_OR_DIGIT.match(line, match.end()):
            continue
        if marks == "." and _ABBREVIATION.search(line[begin : match.end("marks")]):
            continue
        parts.append(line[begin : match.end()])
        begin = match.end()
    return [part.strip() for part in (*parts, line[begin:]) if part.strip()]
