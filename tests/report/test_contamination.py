"""What training text gave away: shares, affected items, and scores on the clean ones."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainyard.core.statistics import estimate_proportion, estimate_ratio
from trainyard.report.pages import comparison, contamination, overview, sources
from trainyard.report.results.contamination import describe_overlaps, read_overlaps
from trainyard.report.results.item_scores import Items
from trainyard.report.statistics.decontaminated import StratifiedTest, compare_within_strata, make_strata, score_clean

from .reading import csv_rows

HARNESS = {"protocol": "harness", "shots": 0}


@pytest.fixture
def outputs(outputs: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """With the clean scores' and the affected items' CSV beside."""
    return outputs | {"scores": tmp_path / "scores.csv", "affected": tmp_path / "items.csv"}


def overlap(results: Any, affected: dict[int, str], n: int, dataset: str = "tinyworld-endings", **more: Any) -> Path:
    """What the rule leaves: `affected` is the shared n-gram by row; each item has 10 n-grams and shares 4."""
    path = results.folder / "contamination" / "tinyworld" / f"{dataset}-test.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    items = [
        {"row": row, "ngrams": 10, "overlapping": 4 * there, "contaminated": there, "example": affected.get(row)}
        for row in range(n)
        for there in [row in affected]
    ]
    schema = pa.schema(
        {
            "row": pa.int64(),
            "ngrams": pa.int64(),
            "overlapping": pa.int64(),
            "contaminated": pa.bool_(),
            "example": pa.string(),
        }
    )
    pq.write_table(pa.Table.from_pylist(items, schema=schema), path.with_suffix(".parquet"))
    found = {
        "training": "tinyworld",
        "dataset": dataset,
        "split": "test",
        "ngram": 13,
        "n": n,
        "contaminated": len(affected),
        "share": len(affected) / n,
        "short": 1,
        "overlap": 0.4 * len(affected) / n,
        "texts": "context and the right ending, as one text",
        "training_rows": 50_000,
        "training_words": 2_589_028,
        "training_sha256": "ab" * 32,
        "rows_sha256": "cd" * 32,
        **more,
    }
    path.write_text(json.dumps(found))
    return path


def scored(results: Any, run: str, correct: list[bool], **more: Any) -> Path:
    """A HellaSwag result with its items."""
    share = sum(correct) / len(correct)
    error = math.sqrt(share * (1 - share) / (len(correct) - 1))
    path = results.add_evaluation(
        run, "hellaswag", {"acc": (share, error), "acc_norm": (share, error)}, settings=HARNESS, n=len(correct), **more
    )
    columns = {"row": range(len(correct)), "correct": correct, "correct_norm": correct}
    pq.write_table(pa.table({name: list(column) for name, column in columns.items()}), path.with_suffix(".parquet"))
    return path


def tabulated(results: Any, found: list[Path], outputs: dict[str, Path]) -> str:
    contamination.tabulate(
        results.study, runs=results.runs, evaluations=results.evaluations, contamination=found, **outputs
    )
    return outputs["table"].read_text()


def test_a_score_stands_again_on_the_clean_items_alone(empty: Any, outputs: dict[str, Path]) -> None:
    empty.add_run("r")
    scored(empty, "r", [True] * 6 + [False] * 4)
    tabulated(empty, [overlap(empty, {0: "a b", 1: "c d", 9: "e f"}, 10)], outputs)
    first, second = csv_rows(outputs["scores"])
    kept = estimate_proportion(np.array([True] * 4 + [False] * 3))
    assert (first["all"], first["n"], first["n_clean"]) == ("0.6", "10", "7")
    assert float(first["clean"]) == kept.value == 4 / 7
    assert (float(first["clean_low"]), float(first["clean_high"])) == (kept.low, kept.high)
    assert float(first["clean_standard_error"]) == kept.standard_error
    # one score of the evaluation is compared: 2 of 3 contaminated items are right, 4 of 7 clean ones
    assert (first["difference"], first["verdict"]) == ("", "")
    assert float(second["difference"]) == pytest.approx(2 / 3 - 4 / 7)
    assert second["verdict"] == "within noise"


def test_only_what_was_scored_counts_and_only_affected_evaluations_stand_again(
    empty: Any, outputs: dict[str, Path]
) -> None:
    """Rows past the limit are affected, those before it are not."""
    empty.add_run("r")
    scored(empty, "r", [True, False, True])
    page = tabulated(empty, [overlap(empty, {3: "a b", 4: "c d"}, 5)], outputs)
    assert csv_rows(outputs["scores"]) == []
    assert "No item that was scored is contaminated." in page
    assert csv_rows(outputs["numbers"])[0]["contaminated"] == "2"


def test_where_every_item_is_contaminated_there_is_no_clean_score(empty: Any, outputs: dict[str, Path]) -> None:
    empty.add_run("r")
    scored(empty, "r", [True, False])
    page = tabulated(empty, [overlap(empty, {0: "a", 1: "b"}, 2)], outputs)
    assert [(row["clean"], row["n_clean"]) for row in csv_rows(outputs["scores"])] == [("", "0"), ("", "0")]
    assert "every item is contaminated" in page


def test_a_clean_perplexity_that_a_number_cannot_hold_says_so(empty: Any, outputs: dict[str, Path]) -> None:
    """A clean document that is one word of many tokens, beside a contaminated one of many words."""
    empty.add_run("r")
    columns = {"log_likelihood": [-100.0, -2000.0], "words": [1000, 1], "tokens": [1000, 500], "bytes": [5000, 2000]}
    empty.add_items("r", "perplexity", columns, dataset="pages")
    page = tabulated(empty, [overlap(empty, {0: "a b"}, 2, dataset="pages")], outputs)
    clean_scores = {row["score"]: row["clean"] for row in csv_rows(outputs["scores"])}
    assert clean_scores["perplexity_word"] == ""
    assert float(clean_scores["perplexity_token"]) == pytest.approx(math.exp(4))
    assert "too large for a number" in page


def test_every_affected_item_is_in_the_csv_and_the_first_fifty_on_the_page(
    empty: Any, outputs: dict[str, Path]
) -> None:
    page = tabulated(empty, [overlap(empty, {row: f"the <b>words</b> & of {row}." for row in range(60)}, 100)], outputs)
    table = csv_rows(outputs["affected"])
    assert [row["row"] for row in table] == [str(row) for row in range(60)]
    assert (table[7]["ngrams"], table[7]["overlapping"], table[7]["share"]) == ("10", "4", "0.4")
    assert table[7]["example"] == "the <b>words</b> & of 7."
    assert "the &lt;b&gt;words&lt;/b&gt; &amp; of 49." in page
    assert "of 50." not in page
    assert "<b>words" not in page


def test_the_share_stands_with_what_was_looked_through(empty: Any, outputs: dict[str, Path]) -> None:
    page = tabulated(empty, [overlap(empty, {2: "a b"}, 8)], outputs)
    assert csv_rows(outputs["numbers"]) == [
        {
            "items": "tinyworld-endings test",
            "training": "tinyworld",
            "contaminated": "1",
            "share": "0.125",
            "share_standard_error": "0.125",  # the square root of 1/8 x 7/8 / 7
            "share_low": "0.02241749145005667",  # Wilson's interval, by scipy
            "share_high": "0.4708881822128535",
            "overlap": "0.05",
            "n": "8",
            "short": "1",
            "ngram": "13",
            "training_rows": "50000",
            "training_words": "2589028",
        }
    ]
    assert "context and the right ending, as one text; rows cdcd" in page


def test_what_was_not_looked_through_says_why(empty: Any, outputs: dict[str, Path]) -> None:
    empty.add_run("r")
    empty.add_run("s", dataset="other")
    scored(empty, "r", [True, False])
    scored(empty, "s", [True, False])
    empty.add_evaluation("gpt2-1m", "hellaswag", None, checkpoint="pretrained", settings=HARNESS)
    tabulated(empty, [overlap(empty, {0: "a b"}, 2)], outputs)
    assert [(row["training"], row["share_reason"]) for row in csv_rows(outputs["numbers"])] == [
        ("tinyworld", ""),
        ("other", "not requested by the study: evaluate.contamination"),
        ("that of gpt2-1m", "trained elsewhere: its training text is not available"),
    ]
    assert len(csv_rows(outputs["scores"])) == 2


def test_the_comparison_and_the_overview_say_the_share_and_where_more_stands(
    empty: Any, outputs: dict[str, Path], tmp_path: Path
) -> None:
    empty.add_run("r")
    scored(empty, "r", [True, False])
    found = [overlap(empty, {0: "a b"}, 2), overlap(empty, {}, 8, "tinyworld")]
    said = (
        "50.0 % of the items of tinyworld-endings test (tinyworld) and 0.0 % of the items of tinyworld test "
        "(tinyworld) share an n-gram of 13 words with the training data (in brackets); see Contamination."
    )
    assert describe_overlaps(read_overlaps(found)) == [said]
    both = {"runs": empty.runs, "evaluations": empty.evaluations, "parity": [], "contamination": found}
    comparison.tabulate(empty.study, **both, table=outputs["table"], numbers=outputs["numbers"])
    assert said in outputs["table"].read_text()
    more = {"cells": [], "shortcuts": [], "models": empty.models, "figures": {}}
    overview.write(empty.study, **both, **more, output=tmp_path / "overview.html")
    assert said in (tmp_path / "overview.html").read_text()


def test_it_leads_back_to_both_inputs(empty: Any, outputs: dict[str, Path]) -> None:
    path = overlap(empty, {0: "a b"}, 2)
    log = empty.root / "logs" / "demo" / "contamination" / "tinyworld" / "tinyworld-endings-test.log"
    log.parent.mkdir(parents=True)
    log.touch()
    sources.tabulate(
        empty.study,
        runs=[],
        evaluations=[],
        parity=[],
        cells=[],
        shortcuts=[],
        statistics=[],
        contamination=[path],
        table=outputs["table"],
        numbers=outputs["numbers"],
    )
    data = empty.root / "results" / "data"
    assert [(row["path"], row["sha256"]) for row in csv_rows(outputs["numbers"])] == [
        (str(path), ""),
        (str(path.with_suffix(".parquet")), ""),
        (str(data / "tinyworld" / "rows" / "train.parquet"), "ab" * 32),
        (str(data / "tinyworld-endings" / "rows" / "test.parquet"), "cd" * 32),
        (str(log), ""),
    ]


def documents(count: int) -> Items:
    draw = np.random.default_rng(5)
    tokens = draw.integers(5, 200, count)
    columns = {
        "tokens": tokens,
        "words": tokens // 2 + 1,
        "bytes": 4 * tokens,
        "log_likelihood": -tokens * draw.normal(3, 0.4, count),
        "rouge1": draw.uniform(0, 60, count),
        "correct": draw.random(count) < 0.4,
    }
    return Items(np.arange(count), columns)


def test_a_clean_perplexity_is_the_ratio_over_clean_documents() -> None:
    items = documents(50)
    kept = np.arange(50) % 3 > 0
    losses = -items.columns["log_likelihood"]
    expected = estimate_ratio(losses[kept], items.columns["words"][kept].astype(float)).exp()
    found = score_clean(items, kept, "perplexity_word", {})
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    bits = score_clean(items, kept, "bits_per_byte", {}).value
    assert bits == pytest.approx(losses[kept].sum() / items.columns["bytes"][kept].sum() / math.log(2))


def test_a_clean_rouge_is_the_mean_of_clean_rows_with_the_evaluations_own_bootstrap() -> None:
    items = documents(50)
    kept = np.arange(50) < 20
    found = score_clean(items, kept, "rouge1", {"resamples": 500, "seed": 3})
    assert found.value == pytest.approx(items.columns["rouge1"][:20].mean())
    assert found == score_clean(items, kept, "rouge1", {"resamples": 500, "seed": 3})
    assert found.low is not None
    assert found.low < found.value


def test_a_difference_between_levels_is_none_within_them() -> None:
    # 90 % of the hard items are contaminated and 10 % of the easy ones; within a level they are as often right
    levels = np.repeat(np.array(["easy", "hard"], dtype=object), 500)
    contaminated = np.tile(np.arange(500) % 10 == 0, 2)
    contaminated[500:] = ~contaminated[500:]
    right = np.tile(np.arange(50) % 2 == 0, 20)
    right[:500] |= np.arange(500) % 50 < 40
    right[500:] &= np.arange(500) % 50 >= 40
    items = Items(np.arange(1000), {"correct": right}, levels)
    raw = right[contaminated].mean() - right[~contaminated].mean()
    assert raw < -0.5
    found = compared(items, contaminated, "acc")
    assert abs(found.difference) < 0.05
    assert found.low < 0 < found.high
    assert found.p > 0.05
    assert found.strata == 2


def test_a_difference_within_levels_is_found() -> None:
    generator = np.random.default_rng(2)
    levels = np.repeat(np.array(["easy", "hard"], dtype=object), 500)
    contaminated = generator.random(1000) < 0.3
    right = generator.random(1000) < np.where(levels == "easy", 0.6, 0.3) + 0.2 * contaminated
    found = compared(Items(np.arange(1000), {"correct": right}, levels), contaminated, "acc")
    assert 0 < found.low < 0.2 < found.high
    assert found.p == 1 / 2000


def test_items_without_levels_are_compared_with_others_of_their_length() -> None:
    lengths = np.arange(100)
    strata = make_strata(Items(np.arange(100), {}), lengths)
    assert np.bincount(strata).tolist() == [20] * 5
    assert set(make_strata(Items(np.arange(100), {}), np.zeros(100))) == {1}
    assert len(make_strata(Items(np.arange(0), {}), np.zeros(0))) == 0


@pytest.mark.parametrize(
    ("name", "count", "some"), [("acc", 1000, 20), ("perplexity_word", 200, 8), ("rouge1", 200, 8)]
)
def test_contamination_that_makes_no_difference_is_called_one_in_five_percent(name: str, count: int, some: int) -> None:
    """Of 100 cases 5 are expected; up to 12 are 99.8 % of binomial draws. Two normal errors called 36 % one."""
    generator = np.random.default_rng(3)
    found = []
    for _ in range(100):
        tokens = generator.integers(5, 200, count)
        items = Items(
            np.arange(count),
            {
                "words": tokens,
                "log_likelihood": -tokens * generator.lognormal(1, 0.4, count),
                "rouge1": np.where(generator.random(count) < 0.7, 100.0, 100 * generator.random(count)),
                "correct": generator.random(count) < 0.95,
            },
        )
        contaminated = np.isin(np.arange(count), generator.choice(count, some, replace=False))
        found.append(compared(items, contaminated, name, tokens))
    assert sum(each.p < 0.05 for each in found) <= 12
    if name == "acc":
        assert sum(each.low <= 0 <= each.high for each in found) >= 88


@pytest.mark.parametrize(("strata", "size", "some"), [(4, 100, 5), (5, 3, 1)])
def test_strata_whose_items_are_alike_by_place_are_permuted_independently(strata: int, size: int, some: int) -> None:
    generator = np.random.default_rng(4)
    found = []
    for _ in range(100):
        ease = generator.normal(0, 1, size)
        # of every other stratum the hard items are where the easy ones of the one before it are
        values = np.concatenate([ease * (-1) ** stratum + generator.normal(0, 0.3, size) for stratum in range(strata)])
        items = Items(np.arange(strata * size), {"rouge1": values}, np.repeat(np.arange(strata).astype(object), size))
        chosen = [generator.choice(size, some, replace=False) + size * stratum for stratum in range(strata)]
        found.append(compared(items, np.isin(np.arange(strata * size), np.concatenate(chosen)), "rouge1"))
    assert sum(each.p < 0.05 for each in found) <= 12
    assert sum(each.low <= 0 <= each.high for each in found) >= 88


def test_strata_of_two_items_leave_the_interval_open() -> None:
    items = Items(np.arange(8), {"rouge1": np.arange(8.0)}, np.repeat(np.arange(4).astype(object), 2))
    found = compared(items, np.arange(8) % 2 == 0, "rouge1")
    assert (found.difference, found.low, found.high) == (-1, -math.inf, math.inf)


def compared(items: Items, contaminated: np.ndarray, name: str, lengths: np.ndarray | None = None) -> StratifiedTest:
    strata = make_strata(items, np.zeros(len(items.rows)) if lengths is None else lengths)
    found = compare_within_strata(items, contaminated, strata, name)
    assert not isinstance(found, str)
    return found
