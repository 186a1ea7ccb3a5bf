"""Paired tests between two evaluations of the same items."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from trainyard.core.errors import InputError
from trainyard.report.results.item_scores import HALVES, Items
from trainyard.report.results.runs import Evaluation, read_evaluations
from trainyard.report.statistics.paired_tests import (
    FEWEST,
    SIGN_FLIP,
    PairedTest,
    compare_paired,
    compare_with_baseline,
    correct_by_holm,
    flip_signs,
    holm,
    mcnemar,
)

HELLASWAG = {"protocol": "harness", "shots": 0, "limit": None}


def answers(alone: int, other: int, both: int = 100, none: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Right and wrong answers of two models, by how many items each alone has right."""
    first = [True] * both + [True] * alone + [False] * other + [False] * none
    second = [True] * both + [False] * alone + [True] * other + [False] * none
    return np.array(first), np.array(second)


def of_values(**columns: np.ndarray) -> Items:
    return Items(np.arange(len(next(iter(columns.values())))), columns)


def result(found: PairedTest | str) -> PairedTest:
    assert isinstance(found, PairedTest), found
    return found


def both(
    results: Any, metric: str, first: dict[str, Any], second: dict[str, Any], **more: Any
) -> tuple[Evaluation, Evaluation]:
    """Two models' evaluations with these items."""
    settings = {"settings": HELLASWAG} if metric == "hellaswag" else {}
    for run, columns in (("a", first), ("b", second)):
        results.add_items(run, metric, columns, **{**settings, **more})
    one, other = read_evaluations(results.evaluations[-2:])
    return one, other


# McNemar


def test_mcnemars_p_is_the_two_sided_binomial_of_the_discordant_items() -> None:
    tail = sum(math.comb(35, k) for k in range(11)) / 2**35
    found = mcnemar(*answers(10, 25))
    assert found.p == pytest.approx(2 * tail)
    assert found.discordant == (10, 25)
    assert found.difference == pytest.approx(-15 / 185)


@pytest.mark.parametrize(
    ("alone", "other", "p"),
    [(121, 59, 0.000004), (70, 59, 0.378688), (80, 59, 0.089452), (30, 60, 0.00206), (10, 30, 0.002221), (10, 10, 1.0)],
)
def test_mcnemar_agrees_with_the_calculator_that_statsmodels_is_tested_by(alone: int, other: int, p: float) -> None:
    # Vassar College's calculator, as in statsmodels' test_mcnemar_exact (stats/tests/test_nonparametric.py)
    assert mcnemar(*answers(alone, other, both=101, none=33)).p == pytest.approx(p, abs=1e-6)


def test_the_interval_of_a_difference_of_shares_is_bonett_and_prices() -> None:
    # airway data of Fagerland, Lydersen and Laake 2014 (Statistics in Medicine 33, 2850), table V: 1 and 7 of 21
    found = mcnemar(*answers(1, 7, both=1, none=12))
    assert found.p == pytest.approx(2 * 9 / 2**8)
    assert (found.low, found.high) == pytest.approx((-0.508, -0.013), abs=5e-4)


def test_models_that_agree_on_every_item_do_not_differ() -> None:
    found = mcnemar(*answers(0, 0))
    assert (found.difference, found.p) == (0.0, 1.0)
    assert found.low == -found.high < 0  # yet the items can't exclude a small difference


def test_few_discordant_items_are_never_enough() -> None:
    assert mcnemar(*answers(5, 0)).p > 0.05 > mcnemar(*answers(6, 0)).p


def test_the_intervals_ends_are_shares() -> None:
    found = mcnemar(*answers(3, 0, both=0, none=0))
    assert -1 <= found.low <= found.high <= 1


# signs


def test_a_difference_that_is_the_same_on_every_item_is_not_tested() -> None:
    scores = np.random.default_rng(0).normal(40, 10, 100)
    found = flip_signs(of_values(x=scores + 3.0), of_values(x=scores), "x", "x")
    assert found == "the difference is the same on every item: its spread can't be estimated"


@pytest.mark.parametrize("differing", [4, 6, 9])
def test_p_is_that_of_every_choice_of_signs_where_few_rows_differ(differing: int) -> None:
    values = np.zeros(100)
    values[:differing] = np.arange(1, differing + 1)
    found = result(flip_signs(of_values(x=values), of_values(x=np.zeros(100)), "x", "x"))
    exact = stats.permutation_test(
        (values[:differing],), np.sum, permutation_type="samples", n_resamples=2**differing, vectorized=False
    )
    assert exact.pvalue == 2.0 ** (1 - differing)
    assert found.p == pytest.approx(exact.pvalue, rel=0.2)
    assert found.p >= 2.0 ** (1 - differing)
    assert (found.low <= 0) == (differing < 6)


def test_p_is_no_less_than_the_halves_can_tell() -> None:
    differences = 3.0 + np.arange(40) / 1e6
    found = result(flip_signs(of_values(x=differences), of_values(x=np.zeros(40)), "x", "x"))
    assert found.p == 2 / (HALVES + 1)


def test_the_interval_of_a_mean_is_the_normal_one_where_items_are_many() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.normal(0.1, 1, 2000), generator.normal(0, 1, 2000)
    found = result(flip_signs(of_values(x=first), of_values(x=second), "x", "x"))
    half = 1.96 * np.std(first - second, ddof=1) / math.sqrt(2000)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.03)


def test_a_perplexitys_difference_is_the_logarithm_of_first_over_second(empty: Any) -> None:
    generator = np.random.default_rng(2)
    tokens = generator.integers(5, 50, 80)
    likelihoods = -2.0 * tokens + generator.normal(0, 3, (2, 80))
    first, second = both(
        empty, "perplexity", *({"log_likelihood": each, "tokens": tokens, "words": tokens} for each in likelihoods)
    )
    found = result(compare_paired(first, second, "perplexity_word"))
    logs = [math.log(each.scores["perplexity_word"].value) for each in (first, second)]
    assert found.difference == pytest.approx(logs[0] - logs[1])
    assert found.low < found.difference < found.high
    assert result(compare_paired(first, second, "perplexity_token")).p == found.p


def test_whole_documents_are_drawn_so_a_long_one_counts_for_its_length() -> None:
    short = np.full(40, 10)
    sizes = np.where(np.arange(40) == 0, 4000, short)
    losses = np.random.default_rng(3).normal(0, 1, (2, 40))
    losses[0, 0] += 200
    items = [of_values(loss=each, units=sizes) for each in losses]
    found = result(flip_signs(items[0], items[1], "loss", "loss", "units"))
    assert found.low < -0.01  # the long document, drawn twice
    assert found.high > -0.02  # or not at all
    assert found.p > 0.05


def test_p_is_below_the_level_where_the_interval_leaves_zero_out() -> None:
    generator = np.random.default_rng(4)
    values = generator.normal(0.2, 1, (60, 50))
    zero = np.zeros(50)
    for row in values:
        found = result(flip_signs(of_values(x=row), of_values(x=zero), "x", "x"))
        if not 0.045 < found.p < 0.055:
            assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_halves_are_the_same_in_every_process() -> None:
    values = np.random.default_rng(5).normal(0, 1, 100)
    first, second = (of_values(x=values).half_sums["x"] for _ in range(2))
    assert np.array_equal(first, second)
    drawn = np.frombuffer(np.random.Generator(np.random.PCG64(1)).bytes(3 * 13), dtype=np.uint8).reshape(3, 13)
    chosen = np.unpackbits(drawn, axis=1, count=100).astype(bool)
    assert first[:3] == pytest.approx([values[half].sum() for half in chosen])


def test_items_beyond_what_memory_holds_at_once_are_drawn_in_parts() -> None:
    values = np.random.default_rng(6).normal(0, 1, 1000)  # 2,097 halves at a time
    sums = of_values(x=values).half_sums["x"]
    assert sums.shape == (HALVES,)
    assert sums.std() == pytest.approx(math.sqrt((values**2).sum()) / 2, rel=0.03)


def test_the_interval_is_the_test_turned_round() -> None:
    generator = np.random.default_rng(14)
    values = generator.normal(0.3, 1, 60)
    found = result(flip_signs(of_values(x=values), of_values(x=np.zeros(60)), "x", "x"))
    for end in (found.low, found.high):
        moved = result(flip_signs(of_values(x=values - end), of_values(x=np.zeros(60)), "x", "x"))
        assert moved.p == pytest.approx(0.05, abs=0.001)


# calibration


@pytest.mark.parametrize("count", [FEWEST, 200])
def test_where_there_is_no_difference_five_percent_are_called_one(count: int) -> None:
    generator = np.random.default_rng(7)
    cases = 400
    values = generator.normal(0, 1, (2 * cases, count)) + generator.normal(0, 2, count)  # items are hard or easy
    items = of_values(**{str(index): column for index, column in enumerate(values)})
    p = [result(flip_signs(items, items, str(2 * case), str(2 * case + 1))).p for case in range(cases)]
    # 20 of 400 are expected; 8 to 34 hold 99.7 % of binomial draws
    assert 8 <= sum(each < 0.05 for each in p) <= 34


@pytest.mark.parametrize("differing", [4, 5, 8, 20])
def test_where_few_rows_differ_no_more_than_five_percent_are_called_a_difference(differing: int) -> None:
    generator = np.random.default_rng(15)
    cases = 400
    values = np.zeros((cases, 100))
    values[:, :differing] = generator.choice([-1.0, 1.0], (cases, differing))
    items = of_values(zero=np.zeros(100), **{str(index): column for index, column in enumerate(values)})
    found = [flip_signs(items, items, str(case), "zero") for case in range(cases)]
    # 20 of 400 at most are expected: the paired bootstrap calls up to 13 percent one
    assert sum(result(each).p < 0.05 for each in found) <= 34


def test_mcnemar_calls_no_more_than_five_percent_of_equal_models_different() -> None:
    generator = np.random.default_rng(8)
    hard = generator.random(1000)
    draws = generator.random((400, 2, 1000)) < hard
    # exact, so below the level: 20 of 400 at most are expected
    assert sum(mcnemar(first, second).p < 0.05 for first, second in draws) <= 34


def test_a_real_difference_is_found() -> None:
    generator = np.random.default_rng(9)
    hard = generator.random((200, 1000)) * 0.8
    found = [mcnemar(*(generator.random((2, 1000)) < np.stack([items + 0.1, items]))) for items in hard]
    assert sum(each.p < 0.05 and each.difference > 0 for each in found) >= 190
    items = generator.normal(0, 3, 300)
    better = of_values(base=items, **{str(case): items + 0.5 + generator.normal(0, 1, 300) for case in range(100)})
    p = [result(flip_signs(better, better, str(case), "base")).p for case in range(100)]
    assert sum(each < 0.05 for each in p) >= 95


def test_intervals_hold_the_true_difference() -> None:
    generator = np.random.default_rng(10)
    hard = generator.random((400, 500)) * 0.9
    held = 0
    for items in hard:
        truth = np.stack([np.minimum(1.0, items + 0.05), items])
        found = mcnemar(*(generator.random((2, 500)) < truth))
        held += found.low <= np.mean(truth[0] - truth[1]) <= found.high
    assert held >= 367  # of 380 expected: three standard deviations below


# what is compared


@pytest.mark.parametrize(
    ("metric", "column", "name"),
    [("perplexity", "log_likelihood", "perplexity_byte"), ("rouge", "rouge1", "rougeLsum")],
)
def test_models_with_equal_items_are_said_to_be_equal(empty: Any, metric: str, column: str, name: str) -> None:
    values = np.random.default_rng(11).normal(-30, 5, 50)
    assert (
        compare_paired(*both(empty, metric, {column: values}, {column: values}), name) == "they are equal on every item"
    )


@pytest.mark.parametrize("name", ["acc", "acc_norm"])
def test_models_with_equal_answers_do_not_differ(empty: Any, name: str) -> None:
    same = {"correct": np.random.default_rng(11).random(50) > 0.5}
    found = result(compare_paired(*both(empty, "hellaswag", same, same), name))
    assert (found.difference, found.p) == (0.0, 1.0)


def test_one_item_is_no_test(empty: Any) -> None:
    one = {"correct": np.array([True])}, {"correct": np.array([False])}
    assert compare_paired(*both(empty, "hellaswag", *one), "acc") == "one item is too few for a test"


@pytest.mark.parametrize(("metric", "column", "name"), [("hellaswag", "correct", "acc"), ("rouge", "rouge1", "rouge1")])
def test_the_order_of_items_changes_nothing(empty: Any, metric: str, column: str, name: str) -> None:
    generator = np.random.default_rng(12)
    values = generator.normal(40, 10, (2, 60))
    first, second = values > 40 if metric == "hellaswag" else values
    straight = compare_paired(*both(empty, metric, {column: first}, {column: second}), name)
    order = generator.permutation(60)
    shuffled = compare_paired(*both(empty, metric, {column: first}, {column: second[order], "row": order}), name)
    assert shuffled == straight


def test_signs_of_too_few_items_are_not_tested(empty: Any) -> None:
    few = {"rouge1": np.arange(FEWEST - 1.0)}
    said = compare_paired(*both(empty, "rouge", few, few), "rouge1")
    assert said == "5 items are too few for a test of signs: 6 at least"


def test_perplexities_a_token_of_other_tokenizers_are_not_compared(empty: Any) -> None:
    first = {"log_likelihood": np.linspace(-20.0, -22.0, 30), "tokens": np.full(30, 10)}
    second = {"log_likelihood": np.full(30, -20.0), "tokens": np.full(30, 12)}
    pair = both(empty, "perplexity", first, second)
    assert "by another tokenizer" in str(compare_paired(*pair, "perplexity_token"))
    assert isinstance(compare_paired(*pair, "perplexity_word"), PairedTest)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rows_sha256": "cd" * 32}, "the files of rows differ"),
        ({"rows_sha256": None}, "the rows' hash is not recorded"),
        ({"settings": HELLASWAG | {"limit": 50}}, "limit: None and 50"),
        ({"settings": HELLASWAG | {"protocol": "completion"}}, "protocol: harness and completion"),
        ({"settings": HELLASWAG | {"shots": 5}}, "shots: 0 and 5"),
        ({"split": "validation"}, "split: test and validation"),
    ],
)
def test_other_items_or_another_protocol_are_not_compared(empty: Any, change: dict[str, Any], reason: str) -> None:
    pair = both(empty, "hellaswag", {"correct": [True] * 30}, {"correct": [True] * 30})
    pair[1].raw.update(change)
    assert reason in str(compare_paired(*pair, "acc"))


def test_the_draw_of_shots_matters_where_there_are_shots_alone(empty: Any) -> None:
    right = {"correct": [True] * 30}
    for shots, reason in ((0, ""), (5, "seed: 1 and 2")):
        pair = both(empty, "hellaswag", right, right, settings=HELLASWAG | {"shots": shots, "seed": 1})
        pair[1].raw["settings"] = pair[1].raw["settings"] | {"seed": 2}
        found = compare_paired(*pair, "acc")
        assert (found == reason) if reason else isinstance(found, PairedTest)


def test_speed_settings_do_not_matter(empty: Any) -> None:
    right = {"correct": [True] * 30}
    pair = both(empty, "hellaswag", right, right)
    pair[1].raw["settings"] = pair[1].raw["settings"] | {"batch_tokens": 8192, "device": "cuda", "dtype": "bfloat16"}
    assert isinstance(compare_paired(*pair, "acc"), PairedTest)


def test_other_rows_are_not_compared(empty: Any) -> None:
    pair = both(empty, "hellaswag", {"correct": [True] * 3}, {"correct": [True] * 3, "row": [0, 1, 3]})
    assert compare_paired(*pair, "acc") == "other rows were scored"


def test_missing_items_are_said(empty: Any) -> None:
    pair = both(empty, "hellaswag", {"correct": [True] * 3}, {"correct": [True] * 3})
    pair[1].path.with_suffix(".parquet").unlink()
    assert "b: there is no " in str(compare_paired(*pair, "acc"))


def test_items_of_an_earlier_version_are_said(empty: Any) -> None:
    pair = both(empty, "hellaswag", {"correct": [True] * 3}, {"correct": [True] * 3})
    pq.write_table(pa.table({"correct": [True]}), pair[1].path.with_suffix(".parquet"))
    assert "has no column row, correct_norm: evaluate again" in str(compare_paired(*pair, "acc"))


@pytest.mark.parametrize("damage", ["torn", "twice"])
def test_damaged_items_are_an_error(empty: Any, damage: str) -> None:
    pair = both(empty, "hellaswag", {"correct": [True] * 3}, {"correct": [True] * 3})
    path: Path = pair[1].path.with_suffix(".parquet")
    if damage == "torn":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        pq.write_table(pa.table({"row": [0, 0], "correct": [True] * 2, "correct_norm": [True] * 2}), path)
    with pytest.raises(InputError, match=r"\.parquet: .*evaluate again"):
        compare_paired(*pair, "acc")


def test_a_summary_is_compared_with_its_baseline_on_the_same_rows(empty: Any) -> None:
    generator = np.random.default_rng(13)
    scores = generator.normal(40, 5, 50)
    empty.add_items("a", "rouge", {"rouge1": scores, "lead3": scores - generator.normal(5, 1, 50)})
    found = result(compare_with_baseline(read_evaluations(empty.evaluations)[0], "lead3", "rouge1"))
    assert found.low < 5 < found.high
    assert found.test == SIGN_FLIP


def test_holms_method_is_that_of_rs_p_adjust() -> None:
    # p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") in R
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([0.01, 0.04], 6) == pytest.approx([0.06, 0.2])


def test_a_family_of_tests_is_adjusted_and_what_could_not_be_tested_stays() -> None:
    test = mcnemar(np.array([1] * 6 + [0] * 4), np.zeros(10))
    adjusted = correct_by_holm([replace(test, p=0.02), "other rows were scored", replace(test, p=0.03)])
    assert [each if isinstance(each, str) else each.p for each in adjusted] == [0.04, "other rows were scored", 0.04]
