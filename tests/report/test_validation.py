"""Validation losses of runs compared row by row."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainyard.report.pages import differences
from trainyard.report.results.runs import Run, read_runs
from trainyard.report.statistics.paired_tests import PairedTest
from trainyard.report.statistics.recipes import RecipeTest
from trainyard.report.statistics.validation import compare_validation, compare_validation_of_recipes

from .reading import csv_rows, sentences


def write_rows(folder: Path, losses: np.ndarray) -> None:
    """Rows of 16 tokens with these losses a token."""
    sums = 16 * losses
    table = {"row": np.arange(len(sums)), "tokens": np.full(len(sums), 16), "best": sums, "last": sums}
    pq.write_table(pa.table(table), folder / "validation.parquet")


@pytest.fixture
def two(empty: Any) -> list[Run]:
    """Two runs a hundredth of a nat apart on rows that are a whole nat apart."""
    generator = np.random.default_rng(0)
    hard = generator.normal(0, 1, 160)
    for name, recipe, loss in (("a", "base", 3.00), ("b", "other", 3.01)):
        write_rows(empty.add_run(name, recipe=recipe, end=loss), loss + hard + generator.normal(0, 0.02, 160))
    return read_runs(empty.runs)


def test_pairing_finds_what_the_spread_over_rows_hides(two: list[Run]) -> None:
    test = compare_validation(*two)
    assert isinstance(test, PairedTest)
    assert test.difference == pytest.approx(-0.01, abs=0.005)
    assert test.p < 0.001
    assert test.low < test.difference < test.high < 0


def test_its_error_of_the_first_kind_is_its_level_at_a_studys_number_of_rows(empty: Any) -> None:
    # windows of 1,024 tokens, as many as validation_tokens has by default; two runs of one distribution of row losses
    generator = np.random.default_rng(1)
    runs = [Run(empty.add_run(name), {}, {}) for name in ("a", "b")]
    runs = read_runs(run.folder for run in runs)
    found, draws = 0, 100
    for _ in range(draws):
        hard = generator.normal(0, 1, 160)
        for run in runs:
            write_rows(run.folder, 3 + hard + 0.02 * generator.standard_t(4, 160))
            run.__dict__.pop("validation_rows", None)
        test = compare_validation(*runs)
        assert isinstance(test, PairedTest)
        found += test.p < 0.05
    assert found <= 12  # 5 are expected; 99.9 % of binomial draws are no more than 12


def test_seeds_and_rows_are_both_chance(empty: Any) -> None:
    generator = np.random.default_rng(2)
    hard = generator.normal(0, 1, 160)
    for recipe, loss in (("base", 3.0), ("other", 3.2)):
        for seed in (1, 2, 3):
            folder = empty.add_run(f"{recipe}{seed}", recipe=recipe, seed=seed, end=loss + 0.01 * seed)
            write_rows(folder, loss + 0.01 * seed + hard + generator.normal(0, 0.02, 160))
    runs = read_runs(empty.runs)
    test = compare_validation_of_recipes(runs[:3], runs[3:], "last")
    assert isinstance(test, RecipeTest)
    assert (test.items, test.n) == (160, (3, 3))
    assert test.p < 0.001


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"dataset": "other"}, "dataset: tinyworld and other"),
        ({"train": {"sequence_length": 128}}, "sequence_length: None and 128"),
        ({"train": {"validation_tokens": 10}}, "validation_tokens: None and 10"),
    ],
)
def test_other_rows_are_not_paired_and_the_reason_is_told(two: list[Run], changed: dict[str, Any], said: str) -> None:
    two[1].specification.update(changed)
    assert compare_validation(*two) == said


def test_a_run_whose_rows_were_not_kept_is_not_tested(two: list[Run]) -> None:
    path = two[1].folder / "validation.parquet"
    table = pq.read_table(path)
    column = pa.nulls(table.num_rows, pa.float64())
    pq.write_table(table.set_column(table.schema.get_field_index("best"), "best", column), path)
    assert compare_validation(*two) == "b: the code of that step kept no losses by row"


def test_sentence_and_table_have_the_test(two: list[Run], empty: Any, outputs: dict[str, Any]) -> None:
    assert "Second is other with 3.071, above it (lowest against second, row by row: " in sentences(empty)["Training"]
    differences.tabulate(empty.study, runs=empty.runs, evaluations=[], **outputs)
    (row,) = csv_rows(outputs["numbers"])
    assert (row["section"], row["score"], row["first"], row["verdict"], row["second"]) == (
        "tinyworld validation (bpe-512 tokens)",
        "validation_loss",
        "base",
        "better",
        "other",
    )
    assert (row["difference_unit"], row["test_n"], row["test"]) == ("nats", "160", "sign-flip permutation test")
