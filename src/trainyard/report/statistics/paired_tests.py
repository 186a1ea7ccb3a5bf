"""Paired tests: whether two models that were evaluated on the same items differ.

Models of one study answer the same items, hard ones and easy ones. Their separate standard
errors hold the spread over items, which both share; a paired test looks at the differences
item by item and so finds what separate intervals hide.

HellaSwag: McNemar's test on the items that one model has right and the other wrong
(McNemar 1947, Psychometrika 12, 153-157; Dietterich 1998, Neural Computation 10, 1895-1923,
finds its error of the first kind in order for two trained models), in its exact form: under no
difference each such item is as likely to be the one model's as the other's.
The interval of the difference is Bonett and Price's (2012, Journal of Educational and
Behavioral Statistics 37, 479-488).

Perplexity and ROUGE: the paired bootstrap (Koehn 2004, EMNLP, 388-395; Efron and Tibshirani
1993, chapters 13 and 16) over whole documents or rows.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from trainyard.core.statistics import FEWEST, LEVEL, estimate_ratio
from trainyard.metrics import METRICS, SCORES
from trainyard.report.results.item_scores import RESAMPLES, Items
from trainyard.report.results.runs import Evaluation

MCNEMAR = "McNemar's exact test"
BOOTSTRAP = "paired bootstrap"
CORRECT = {key: kind.correct for key, kind in SCORES.items() if kind.correct}
UNITS = {key: kind.unit for key, kind in SCORES.items() if kind.unit}
OF_SHOTS = ("draw", "seed", "shots_rows", "held_out")  # they decide nothing where there are no shots


@dataclass(frozen=True)
class PairedTest:
    """The difference of two evaluations, first minus second.

    Attributes:
        difference: of accuracies as shares, of ROUGE in points; of a perplexity the logarithm of first
            over second, which is the difference of the loss in nats per token, word or byte.
        low: the lower end of its 95 % interval.
        high: the upper end of its 95 % interval.
        p: how likely a difference at least as large is, either way, where there is none.
        test: the name of the test.
        n: items.
        discordant: items that the first alone has right, and the second alone; None for a bootstrap.
    """

    difference: float
    low: float
    high: float
    p: float
    test: str
    n: int
    discordant: tuple[int, int] | None = None


def compare_paired(first: Evaluation, second: Evaluation, name: str, level: str = "") -> PairedTest | str:
    """Test the difference of one score; a text says why it can't be tested.

    Args:
        first: an evaluation.
        second: another.
        name: of the score in the result files.
        level: the items' level of difficulty; all items by default.
    """
    if reason := explain_unlike(first, second):
        return reason
    ours, theirs = first.items, second.items
    if isinstance(ours, str) or isinstance(theirs, str):
        return next(f"{each.run}: {each.items}" for each in (first, second) if isinstance(each.items, str))
    ours, theirs = ours.select_level(level), theirs.select_level(level)
    units = UNITS.get(name)
    if reason := _explain_unpaired(ours, theirs, units):
        return reason
    if name in CORRECT:
        return mcnemar(ours.columns[CORRECT[name]], theirs.columns[CORRECT[name]])
    column = "log_likelihood" if units else name
    return bootstrap(ours, theirs, column, column, units)


def _explain_unpaired(first: Items, second: Items, units: str | None) -> str:
    """Why items can't be paired one by one; empty where they can."""
    if not np.array_equal(first.rows, second.rows):
        return "other rows were scored"
    if len(first.rows) < 2:
        return "there are no items" if not len(first.rows) else "one item is too few for a test"
    if units and not np.array_equal(first.columns[units], second.columns[units]):
        return f"other {units} were counted in the same documents, as by another tokenizer"
    return ""


def compare_with_baseline(evaluation: Evaluation, baseline: str, name: str) -> PairedTest | str:
    """Test the difference of a ROUGE from that of a baseline on the same rows."""
    items = evaluation.items
    return items if isinstance(items, str) else bootstrap(items, items, name, f"{baseline}_{name}")


def explain_unlike(first: Evaluation, second: Evaluation) -> str:
    """Why two evaluations are not of the same items in the same manner; empty where they are."""
    one, other = first.raw, second.raw
    for key in ("metric", "dataset", "split"):
        if one[key] != other[key]:
            return f"{key}: {one[key]} and {other[key]}"
    if not (one.get("rows_sha256") and other.get("rows_sha256")):
        return "the rows' hash is not recorded: evaluate again"
    if one["rows_sha256"] != other["rows_sha256"]:
        return "the files of rows differ"
    deciding = METRICS[first.metric].comparable + (OF_SHOTS if first.shots else ())
    for key in deciding:
        ours, theirs = one["settings"].get(key), other["settings"].get(key)
        if ours != theirs:
            return f"{key}: {ours} and {theirs}"
    return ""


def mcnemar(first: np.ndarray, second: np.ndarray) -> PairedTest:
    """McNemar's exact test of two columns of right and wrong answers, shapes `(n,)`, n above zero.

    With b items that the first alone has right and c that the second alone has, p is the
    two-sided binomial one of b in b + c at 1/2, and 1 where b + c = 0. The interval adds one
    item to b and one to c: d ± z sqrt((b' + c' - d²) / (n + 2)) with b' = (b + 1) / (n + 2),
    c' = (c + 1) / (n + 2) and d = b' - c' (Bonett and Price 2012).
    """
    ours, theirs = first.astype(bool), second.astype(bool)
    count, b, c = len(ours), int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    p = float(stats.binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0
    more, less = (b + 1) / (count + 2), (c + 1) / (count + 2)
    middle = more - less
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * math.sqrt((more + less - middle**2) / (count + 2))
    return PairedTest((b - c) / count, max(-1.0, middle - half), min(1.0, middle + half), p, MCNEMAR, count, (b, c))


def bootstrap(first: Items, second: Items, ours: str, theirs: str, units: str | None = None) -> PairedTest | str:
    """Paired bootstrap of the mean of a column of each, or of its negated sum over that of `units`, which both share.

    Plain percentiles are too narrow for few items: the interval is Hesterberg's expanded percentile one
    (2015, The American Statistician 69, 371-386), whose tails are Φ(-√(n / (n - 1)) t) with t the quantile of
    Student's t with n - 1 degrees. p is turned round from it: from the smaller share q of resampled differences on
    either side of zero (zero included, the sample itself counted: Davison and Hinkley 1997, chapter 4), to
    twice the tail of t beyond √((n - 1) / n) Φ⁻¹(1 - q). So p is below 0.05 where the interval leaves zero out.
    Where no resampled difference crosses zero, the difference over its bootstrap standard error stands for
    Φ⁻¹(1 - q) if it is larger, which makes p that of the paired t-test. It is never below 2^(1 - n), the least
    that any test of n signs can give.
    """
    count = len(first.rows)
    if count < FEWEST:
        return f"{count} items are too few for a bootstrap: {FEWEST} at least"
    differences, sizes = first.columns[ours] - second.columns[theirs], first.columns[units] if units else np.ones(count)
    if not differences.any():
        return "they are equal on every item"
    if estimate_ratio(differences, sizes).standard_error is None:
        return "the difference is the same on every item: its spread can't be estimated"
    resampled_differences = first.resampled_sums[ours] - second.resampled_sums[theirs]
    difference = float(first.columns[ours].sum() - second.columns[theirs].sum())
    if units:
        resampled_differences, difference = (
            -resampled_differences / first.resampled_sums[units],
            -difference / float(first.columns[units].sum()),
        )
    else:
        resampled_differences, difference = resampled_differences / count, difference / count
    stretch, degrees = math.sqrt(count / (count - 1)), count - 1
    tail = float(stats.norm.cdf(-stretch * stats.t.ppf((1 + LEVEL) / 2, degrees)))
    low, high = (float(end) for end in np.quantile(resampled_differences, [tail, 1 - tail]))
    fewer = min(int((resampled_differences <= 0).sum()), int((resampled_differences >= 0).sum()))
    away = float(stats.norm.isf((fewer + 1) / (RESAMPLES + 1)))
    if not fewer:
        away = max(away, abs(difference) / float(resampled_differences.std()))
    p = 2 * float(stats.t.sf(away / stretch, degrees))
    return PairedTest(difference, low, high, min(1.0, max(p, 2.0 ** (1 - count))), BOOTSTRAP, count)


def holm(values: list[float], tests: int | None = None) -> list[float]:
    """p-values of one family of tests, adjusted by Holm's method (1979, Scandinavian Journal of Statistics 6, 65-70).

    The smallest is multiplied by the number of tests, the next by one less, and so on; none falls below one
    before it. Then the chance of any false "better" in the family stays within the level.

    Args:
        values: the p-values.
        tests: how many tests the family has, where these are some of them; as many as values by default.
    """
    adjusted = [0.0] * len(values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        highest = max(highest, min(1.0, ((tests or len(values)) - rank) * values[index]))
        adjusted[index] = highest
    return adjusted
