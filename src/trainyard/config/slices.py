"""Slices of splits, such as `train[:95%]+test`: their syntax, and what can be said of them before any row is read.

The syntax is that of the datasets library (`datasets.ReadInstruction.from_spec`), which takes a second to import and
cuts the rows when they are there.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_NUMBER = r"(-?[\d_]*\d[\d_]*)"
_PATTERN = re.compile(rf"(\w+(?:\.\w+)*)(\[(?:{_NUMBER}(%)?)?:(?:{_NUMBER}(%)?)?\])?(?:\(([^)]*)\))?")
_ONE_BOUND = re.compile(r"([\w.]+)\[(-?\d+%?)\]")
_ROUNDINGS = ("closest", "pct1_dropremainder")
_MANY = 1000  # rows, of which one percent is several


@dataclass(frozen=True)
class Slice:
    """Rows `start` to `stop` (None: from the first, to the last) of a split; below 0 they count from its end.

    Attributes:
        split: the source's split.
        start: the first row.
        stop: the row after the last.
        percent: whether both are shares of the split, in percent.
        rounding: how percentages become rows.
    """

    split: str
    start: int | None = None
    stop: int | None = None
    percent: bool = False
    rounding: str = "closest"

    def rows(self, total: int) -> range:
        """The rows that it names of a split of `total` rows."""
        first, last = (
            default if bound is None else self._row(bound, total)
            for bound, default in ((self.start, 0), (self.stop, total))
        )
        return range(first, last)

    def _row(self, bound: int, total: int) -> int:
        if self.percent and self.rounding == "closest":
            bound = round(bound * total / 100)
        elif self.percent:
            bound *= total // 100
        return min(max(bound + total if bound < 0 else bound, 0), total)


def parse_slices(specification: str) -> list[Slice]:
    """The slices that `specification` adds up, such as `train[10:20]` or `train[:5%]+test`.

    Raises:
        ValueError: it can't be read.
    """
    slices = [_parse(part) for part in re.split(r"\s*\+\s*", specification)]
    if len({part.rounding for part in slices if part.percent}) > 1:
        raise ValueError(f"{specification!r} rounds percentages in two ways; give one")
    return slices


def _parse(part: str) -> Slice:
    match = _PATTERN.fullmatch(part)
    if one := _ONE_BOUND.fullmatch(part):
        split, bound = one.groups()
        raise ValueError(
            f"{part!r} has no colon; write '{split}[{bound}:]' (from there on) or '{split}[:{bound}]' (up to there)"
        )
    if match is None:
        raise ValueError(
            f"{part!r} is not a split with a slice; write 'train', 'train[:95%]', 'train[100:200]' or 'train[-5%:]'"
        )
    split, bounds, start, start_percent, stop, stop_percent, rounding = match.groups()
    percent = bool(start_percent or stop_percent)
    if rounding is not None and (not percent or rounding not in _ROUNDINGS):
        raise ValueError(f"{part!r}: only a slice in percent is rounded, by {' or '.join(_ROUNDINGS)}")
    first, last = (int(bound) if bound else None for bound in (start, stop))
    if percent and any(abs(bound) > 100 for bound in (first, last) if bound is not None):
        raise ValueError(f"{part!r}: a percentage lies between -100 and 100")
    result = Slice(split, first, last, percent, rounding or "closest")
    if bounds and not any(result.rows(total) for total in _totals([result])):
        raise ValueError(f"{part!r} names no rows, however many the split has")
    return result


def split_names(specification: str) -> list[str]:
    """The source's splits that `specification` names, each once."""
    return list(dict.fromkeys(part.split for part in parse_slices(specification)))


def share_rows(one: Slice, other: Slice, total: int | None = None) -> bool:
    """Whether two slices of one split hold a row in common.

    Args:
        one: a slice.
        other: another of the same split.
        total: rows of that split. Without it the answer holds for every number of rows under which neither is empty,
            and is False where it depends on that number (`train[:1000]` and `train[1%:]`).
    """
    # of few rows a percentage may round to none
    numbers = [number for number in _totals([one, other]) if number >= _MANY] if total is None else [total]
    pairs = [(first, second) for number in numbers if (first := one.rows(number)) and (second := other.rows(number))]
    return bool(pairs) and all(max(a.start, b.start) < min(a.stop, b.stop) for a, b in pairs)


def _totals(slices: Iterable[Slice]) -> Iterator[int]:
    """Numbers of rows on both sides of each at which two bounds of `slices` pass one another, and between those."""
    # a bound lies at share * total + offset
    lines = {(0.0, 0), (1.0, 0)}
    for part in slices:
        for bound in (part.start, part.stop):
            if bound is not None:
                from_end = 1.0 if bound < 0 else 0.0
                lines.add((from_end + bound / 100, 0) if part.percent else (from_end, bound))
    crossings = {
        round((other_offset - offset) / (share - other_share))
        for share, offset in lines
        for other_share, other_offset in lines
        if share != other_share
    }
    marks = sorted({_MANY, *(max(1, crossing) for crossing in crossings)})
    near = {max(1, mark + step) for mark in marks for step in (-1, 0, 1)}
    between = {(low + high) // 2 for low, high in zip(marks, [*marks[1:], 100 * marks[-1]], strict=True)}
    yield from sorted(near | between)
