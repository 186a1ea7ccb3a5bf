"""Numbers and names as the report writes them."""

import math
from collections.abc import Sequence

from trainyard.metrics import METRICS, SCORES
from trainyard.metrics.base import ScoreKind

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EM DASH}"
SHARE = "share"
"""The name of a share that is no metric's score: of the peak, of items, or right of a shortcut."""
_KINDS = {**SCORES, SHARE: ScoreKind(SHARE, SHARE, SHARE, 1, percent=True)}
TITLES = {
    "training_loss": "training loss",
    "validation_loss": "validation loss",
    **{key: kind.title for key, kind in SCORES.items()},
}
HEADINGS = {**TITLES, **{key: kind.heading for key, kind in SCORES.items()}}
SHORT_TITLES = {**TITLES, **{key: kind.short_title for key, kind in SCORES.items()}}
BOUNDED = frozenset(key for key, kind in _KINDS.items() if kind.is_bounded)
POINTS = frozenset(key for key, kind in SCORES.items() if kind.points)
PERCENT = frozenset(key for key, kind in _KINDS.items() if kind.percent)
TABLE_SCORES = {name: tuple(kind.key for kind in metric.scores if kind.tabulated) for name, metric in METRICS.items()}
"""The scores of each metric that tables have."""


def decimal(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals; a dash for none; three significant digits from 10,000 up."""
    if value is None or not math.isfinite(value):
        return NONE
    if abs(value) >= 1e6:
        return f"{value:.2e}".replace("-", MINUS)
    if abs(value) >= 1e4:
        digits = 0
    return f"{value:,.{digits}f}".replace("-", MINUS)


def significant(value: float) -> str:
    """A quantity of any size with three significant digits, as a plain decimal: `0.0999`, `0.000123`, `152`."""
    if value == 0 or not math.isfinite(value):
        return decimal(value, 0)
    return decimal(value, min(9, max(0, 2 - math.floor(math.log10(abs(value))))))


def score(name: str, value: float | None, digits: int | None = None) -> str:
    """A score in the unit of its title: accuracies in percent, ROUGE in points."""
    if value is None:
        return NONE
    if name in PERCENT:
        value *= 100
    if digits is None:
        digits = _KINDS[name].decimals if name in _KINDS else 2
    return decimal(value, digits)


def percent(value: float, error: float | None) -> str:
    """A share as `54.2 ± 1.1 %`."""
    return f"{decimal(100 * value, 1)}{f' ± {decimal(100 * error, 1)}' if error else ''} %"


def change_of_ratio(ratio: float) -> str:
    """A ratio as the change that it is, in percent: `+1.5 %`."""
    change = 100 * (ratio - 1)
    digits = 0 if abs(change) >= 10 else 1
    rounded = round(change, digits) + 0.0  # no zero with a sign
    return f"{'+' if rounded > 0 else ''}{decimal(rounded, digits)} %"


def scientific(value: float | None) -> str:
    """A small number such as `2.4e-7` or `1e-6`; zero is `0`."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}".replace("-", MINUS)


def short(value: float | None) -> str:
    """A large number with a letter: `12.3k`, `1.20M`, `10.0B`."""
    if value is None or not math.isfinite(value):
        return NONE
    for limit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * limit:
            scaled = value / limit
            return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f}{letter}"
    return f"{value:.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.1f}"


def tick(value: float) -> str:
    """A number beside an axis: `0.5`, `50k`, `1.2M`."""
    for limit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.4g}{letter}".replace("-", MINUS)
    return f"{value:.4g}".replace("-", MINUS)


def size(value: float | None) -> str:
    """Bytes in binary units."""
    if value is None:
        return NONE
    for limit, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(value) >= limit:
            return f"{value / limit:.2f} {unit}" if limit == 2**30 else f"{value / limit:.0f} {unit}"
    return f"{value:.0f} B"


def duration(seconds: float | None) -> str:
    """Seconds as `42 s`, `3 min 20 s` or `5 h 12 min`."""
    if seconds is None:
        return NONE
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def truncate(text: str, length: int) -> str:
    """The text, cut to `length` characters with an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"


def join_words(words: list[str]) -> str:
    """Words as `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def probe_noun(parallels: Sequence[str]) -> str:
    """What a number of probes counts, given each probe's parallel setting: settings, if each was probed once."""
    return "parallel settings" if len(set(parallels)) == len(parallels) else "probes"


def plural(number: int, noun: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
