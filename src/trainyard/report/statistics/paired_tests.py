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

Perplexity and ROUGE: the permutation test that flips the signs of the differences of whole documents or rows
(Fisher 1935, The Design of Experiments, section 21), and the interval that it gives when it is turned round
(Hartigan 1969, Journal of the American Statistical Association 64, 1303-1317).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from trainyard.core.statistics import LEVEL, ROUNDING, estimate_ratio, simultaneous_level
from trainyard.metrics import METRICS, SCORES
from trainyard.report.results.item_scores import COUNT, HALVES, Items
from trainyard.report.results.runs import Evaluation

MCNEMAR = "McNemar's exact test"
FEWEST = 6  # items: the signs of five can give no p below 0.05
SIGN_FLIP = "sign-flip permutation test"
FLOOR = 2 / (HALVES + 1)  # the least p that it gives
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
        discordant: items that the first alone has right, and the second alone; None where the test is not of answers.
    """

    difference: float
    low: float
    high: float
    p: float
    test: str
    n: int
    discordant: tuple[int, int] | None = None

    def correct(self, tests: int) -> "PairedTest":
        """The test with p corrected for so many tests by Bonferroni's inequality."""
        return replace(self, p=min(1.0, tests * self.p))


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
    return compare_items(ours.select_level(level), theirs.select_level(level), name)


def compare_items(ours: Items, theirs: Items, name: str) -> PairedTest | str:
    """Test the difference of one score of items; a text says why they can't be paired."""
    units = UNITS.get(name)
    if reason := explain_unpaired(ours, theirs, units):
        return reason
    if name in CORRECT:
        return mcnemar(ours.columns[CORRECT[name]], theirs.columns[CORRECT[name]])
    column = "log_likelihood" if units else name
    return flip_signs(ours, theirs, column, column, units)


def contrast_items(added: Sequence[Items], taken: Sequence[Items], name: str) -> PairedTest | str:
    """Test the sum of some models' scores minus that of as many others by the signs of whole items.

    An item's part of it is no right or wrong answer any more, so accuracies are tested by signs too.
    """
    every, units = [*added, *taken], UNITS.get(name)
    for other in every[1:]:
        if reason := explain_unpaired(every[0], other, units):
            return reason
    column = "log_likelihood" if units else CORRECT.get(name, name)
    shared = {units: every[0].columns[units]} if units else {}

    def add_up(side: Sequence[Items]) -> Items:
        total = np.sum([each.columns[column].astype(np.float64) for each in side], axis=0)
        return Items(every[0].rows, {column: total, **shared})

    return flip_signs(add_up(added), add_up(taken), column, column, units)


def explain_unpaired(first: Items, second: Items, units: str | None) -> str:
    """Why items can't be paired one by one; empty where they can."""
    if not np.array_equal(first.rows, second.rows):
        return "other rows were scored"
    if len(first.rows) < 2:
        return "there are no items" if not len(first.rows) else "one item is too few for a test"
    if units and not np.array_equal(first.columns[units], second.columns[units]):
        return f"other {units} were counted in the same documents, as by another tokenizer"
    return ""


def compare_with_baseline(evaluation: Evaluation, baseline: str, name: str, tests: int = 1) -> PairedTest | str:
    """Test the difference of a ROUGE from that of a baseline on the same rows, corrected for so many tests."""
    items = evaluation.items
    if isinstance(items, str):
        return items
    test = flip_signs(items, items, name, f"{baseline}_{name}", level=simultaneous_level(tests))
    return test if isinstance(test, str) else test.correct(tests)


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


def item_sums(items: Items, name: str) -> tuple[np.ndarray, np.ndarray]:
    """What the score is a ratio of the sums of, for each item: shapes `(n,)`."""
    ones = np.ones(len(items.rows))
    if name in CORRECT:
        return items.columns[CORRECT[name]].astype(np.float64), ones
    if name in UNITS:
        return -items.columns["log_likelihood"], items.columns[UNITS[name]].astype(np.float64)
    return items.columns[name], ones


def mcnemar(first: np.ndarray, second: np.ndarray, level: float = LEVEL) -> PairedTest:
    """McNemar's exact test of two columns of right and wrong answers, shapes `(n,)`, n above zero.

    With b items that the first alone has right and c that the second alone has, p is the
    two-sided binomial one of b in b + c at 1/2, and 1 where b + c = 0. The interval adds one
    item to b and one to c: d ± z sqrt((b' + c' - d²) / (n + 2)) with b' = (b + 1) / (n + 2),
    c' = (c + 1) / (n + 2) and d = b' - c' (Bonett and Price 2012). `level` is the interval's.
    """
    ours, theirs = first.astype(bool), second.astype(bool)
    count, b, c = len(ours), int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    p = float(stats.binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0
    more, less = (b + 1) / (count + 2), (c + 1) / (count + 2)
    middle = more - less
    half = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt((more + less - middle**2) / (count + 2))
    return PairedTest((b - c) / count, max(-1.0, middle - half), min(1.0, middle + half), p, MCNEMAR, count, (b, c))


def flip_signs(
    first: Items, second: Items, ours: str, theirs: str, units: str | None = None, level: float = LEVEL
) -> PairedTest | str:
    """Test the difference of the means of two columns, or of their negated sums over that of `units`, which both share.

    Under no difference an item's difference has either sign with equal chances. The sum of differences whose signs
    are flipped on a random half of the items reaches the sum as it is where that half's own sum is not above zero;
    so p is twice the smaller share of halves whose sum lies on either side of zero, the items as they are counted
    among them: (b + 1) / (halves + 1) a side (Phipson and Smyth 2010). It is never below 2^(1 - m), m being the items
    that differ: the least that any test of m signs can give. The interval holds the differences that the test
    doesn't reject, and these lie between the quantiles of the means of random halves (Hartigan 1969). `level` is the
    interval's.
    """
    count = len(first.rows)
    if count < FEWEST:
        few = "1 item is" if count == 1 else f"{count} items are"
        return f"{few} too few for a test of signs: {FEWEST} at least"
    differences, sizes = first.columns[ours] - second.columns[theirs], first.columns[units] if units else np.ones(count)
    if not differences.any():
        return "they are equal on every item"
    if estimate_ratio(differences, sizes).standard_error is None:
        return "the difference is the same on every item: its spread can't be estimated"
    sums = first.half_sums[ours] - second.half_sums[theirs]
    sums[np.abs(sums) <= ROUNDING * (np.abs(first.columns[ours]) + np.abs(second.columns[theirs])).sum()] = 0.0
    side = min(int((sums <= 0).sum()), int((sums >= 0).sum()))
    p = min(1.0, max(2 * (side + 1) / (HALVES + 1), 2.0 ** (1 - int(np.count_nonzero(differences)))))
    weights = first.half_sums[units or COUNT]
    # an empty half is as extreme as can be, on either side: so the interval leaves zero out where p is below 1 - level
    means = np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0)
    difference = float(differences.sum() / sizes.sum())
    ends = (
        np.quantile(np.where(weights > 0, means, side * math.inf), share, method="nearest")
        for side, share in ((-1, (1 - level) / 2), (1, (1 + level) / 2))
    )
    low, high = (float(end) for end in ends)
    if units:  # a loss is the negative log-likelihood
        difference, low, high = -difference, -high, -low
    return PairedTest(difference, low, high, p, SIGN_FLIP, count)


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


def correct_by_holm(tests: Sequence[PairedTest | str]) -> list[PairedTest | str]:
    """A family of tests with p adjusted; what could not be tested stays as it is."""
    adjusted = iter(holm([test.p for test in tests if isinstance(test, PairedTest)]))
    return [replace(test, p=next(adjusted)) if isinstance(test, PairedTest) else test for test in tests]
