"""Where sentences end, by rule: the same answer everywhere, with no model to fetch."""

import re

_OPENING = "\"'(\\[\u201c\u2018"
_CLOSING = "\"')\\]\u201d\u2019"
_END = re.compile(rf"([.!?\u2026]+)[{_CLOSING}]*(?=\s)")
_CAPITAL_OR_DIGIT = re.compile(rf"\s+[{_OPENING}]*[^\Wa-z_]")
_TITLES = "Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|Lt|Col|Gen|Capt|Sgt|Rev|Hon|Gov|Sen|Rep"
_OTHERS = "No|vs|etc|Inc|Ltd|Co|Corp|Mt|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec"
_ABBREVIATION = re.compile(rf"(?:^|[\s{_OPENING}])(?:{_TITLES}|{_OTHERS}|(?:[A-Za-z]\.)*[A-Za-z])\.$")


def sentences(text: str) -> list[str]:
    """Split a text into sentences, stripped of white space; none is empty.

    A line ends a sentence. So do `!`, `?` and an ellipsis before white space, and `.`
    where a capital letter or a digit follows (quotes and brackets may stand between)
    and what it ends is neither a common abbreviation nor a single letter, as an initial is.
    """
    return [sentence for line in text.splitlines() for sentence in _of_line(line)]


def _of_line(line: str) -> list[str]:
    parts, begin = [], 0
    for match in _END.finditer(line):
        marks = match.group(1)
        if set(marks) == {"."} and not _CAPITAL_OR_DIGIT.match(line, match.end()):
            continue
        if marks == "." and _ABBREVIATION.search(line[begin : match.end(1)]):
            continue
        parts.append(line[begin : match.end()])
        begin = match.end()
    return [part.strip() for part in (*parts, line[begin:]) if part.strip()]
