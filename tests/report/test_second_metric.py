"""A metric is one descriptor: another, of which lower is better, is ranked rightly wherever the report ranks."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainyard.core.repository import SOURCE

EDITS = '''
"""Words to insert, delete or replace in a summary until it is the reference."""

from trainyard.metrics.base import Metric, ScoreKind

EDITS = Metric(
    key="edits",
    reads="pairs",
    needs_pairs=True,
    higher_is_better=False,
    scores=(ScoreKind("edits", "edits per summary", "edits"),),
    headline="edits",
    topic="Edits",
    told=("edits",),
    item="row",
    tokens_per_item=20_000,
    tested=("edits",),
    comparable=("limit",),
    item_columns=("edits",),
)

PICKS = Metric(
    key="picks",
    reads="choices",
    needs_pairs=False,
    higher_is_better=True,
    scores=(ScoreKind("picks", "share of picks right", "picks %", 1, percent=True, correct="picked"),),
    headline="picks",
    topic="Picks",
    told=("picks",),
    item="item",
    tokens_per_item=100,
    tested=("picks",),
    comparable=("limit",),
    item_columns=("picked",),
    chance=0.5,
)
'''


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the report says, by a copy of the source that differs in the metric alone."""
    folder = tmp_path_factory.mktemp("edits")
    shutil.copytree(SOURCE, folder / "src")
    metrics = folder / "src" / "trainyard" / "metrics"
    (metrics / "edits.py").write_text(EDITS)
    names = (metrics / "__init__.py").read_text()
    assert "(PERPLEXITY, HELLASWAG, ROUGE)" in names
    imported = "from trainyard.metrics.base import Metric, ScoreKind\n"
    names = names.replace("(PERPLEXITY, HELLASWAG, ROUGE)", "(PERPLEXITY, HELLASWAG, ROUGE, EDITS, PICKS)")
    names = names.replace(imported, f"{imported}from trainyard.metrics.edits import EDITS, PICKS\n")
    (metrics / "__init__.py").write_text(names)
    paths = os.pathsep.join((str(folder / "src"), str(Path(__file__).parents[1])))
    command = [sys.executable, "-m", "report.second_metric", str(folder)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, check=True)
    return json.loads((folder / "found.json").read_text())


def test_the_comparison_marks_the_lowest_as_best(found: dict[str, Any]) -> None:
    (column,) = [name for name in found["comparison"][0] if name.endswith(":edits")]
    values = {row["model"]: float(row[column]) for row in found["comparison"] if row[column]}
    assert sorted(values, key=lambda model: values[model]) == ["gpt2-1m", "gpt2-500k", "gpt2-250k"]
    cells = {model: f"{value:.2f}" for model, value in values.items()}
    marked = [part for part in found["comparison page"].split("<td")[1:] if " best" in part.partition(">")[0]]
    assert [model for model, text in cells.items() if any(text in part for part in marked)] == ["gpt2-1m"]


def test_sentences_name_the_lowest_first(found: dict[str, Any]) -> None:
    said = found["sentences"]["Edits"]
    assert "gpt2-1m has the lowest edits per summary: " in said
    assert "Second is gpt2-500k" in said
    assert "above it" in said


def test_paired_differences_call_the_lower_one_better(found: dict[str, Any]) -> None:
    rows = [row for row in found["differences"] if row["score"] == "edits"]
    pairs = {(row["first"], row["verdict"], row["second"]) for row in rows}
    order = ("gpt2-1m", "gpt2-500k", "gpt2-250k")
    assert pairs == {(first, "better", second) for first, second in itertools.combinations(order, 2)}
    assert {row["test"] for row in rows} == {"sign-flip permutation test"}


def test_quality_by_step_has_every_step_s_value(found: dict[str, Any]) -> None:
    (column,) = [name for name in found["quality"][0] if name.endswith(":edits")]
    assert len([row for row in found["quality"] if row[column]]) == 6


def test_the_terminal_prints_it(found: dict[str, Any]) -> None:
    assert "edits" in found["terminal"]
    assert "gpt2-1m" in found["terminal"]


def test_a_share_that_guessing_gets_half_of_is_judged_by_a_half(found: dict[str, Any]) -> None:
    said = found["sentences"]["Picks"]
    assert "gpt2-1m is right in 75.0 ± 2.2 % of 400 items (choices test" in said
    assert "better than chance: +25.0 points" in said
    assert "Within noise of chance: gpt2-250k." in said
    assert "Below chance on all items: gpt2-500k (37.5 ± 2.4 %); p = 2e−6, corrected for 3 tests." in said
    marked = [part for part in found["comparison page"].split("<tr") if "chance" in part.partition("</tr>")[0]]
    assert [("52.0" in part, "37.5" in part) for part in marked if "gpt2" in part] == [(True, False)]
