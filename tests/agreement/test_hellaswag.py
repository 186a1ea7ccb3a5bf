"""HellaSwag by the protocol `harness` is lm-evaluation-harness's own task on the same rows."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api.samplers import get_sampler
from lm_eval.tasks.hellaswag import utils

from trainyard.core.files import read_json
from trainyard.evaluate.hellaswag_items import Draw, Item, Shots, preprocess
from trainyard.evaluate.run import run

from .conftest import HELD_OUT, NAMES, ROWS, Subject, read_lines, write_lines, write_parquet
from .harness import SEED, Found, evaluate, hellaswag

SAMPLERS: dict[Draw, str] = {"random": "default", "first_n": "first_n"}
SETTINGS: list[tuple[int, Draw]] = [(0, "random"), (2, "random"), (5, "random"), (2, "first_n"), (5, "first_n")]


@pytest.fixture(scope="module")
def theirs(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """Every setting in the harness, in one call."""
    folder = tmp_path_factory.mktemp("harness")
    held_out = write_lines(subject.held_out, folder / "held_out.jsonl")
    files = {some: write_lines(subject.items[:some], folder / f"{some}.jsonl") for some in _counts(subject)}
    tasks = {
        f"{draw}-{shots}": hellaswag(files[_count(subject, shots)], held_out, shots, SAMPLERS[draw])
        for shots, draw in SETTINGS
    }
    return evaluate(subject.model, tasks, batch_size=4)


def _count(subject: Subject, shots: int) -> int:
    return subject.few if shots else len(subject.items)


def _counts(subject: Subject) -> set[int]:
    return {_count(subject, shots) for shots, _ in SETTINGS}


def ours(model: Path, rows: list[dict[str, Any]], folder: Path, **settings: object) -> tuple[dict[str, Any], list[Any]]:
    output = folder / "ours.json"
    run("hellaswag", model, write_parquet(rows, folder / "rows.parquet"), settings, output, NAMES)
    return read_json(output), pq.read_table(output.with_suffix(".parquet")).to_pylist()


@pytest.mark.parametrize(("shots", "draw"), SETTINGS)
def test_choices_and_likelihoods_are_the_harness_s(
    subject: Subject, theirs: dict[str, Found], tmp_path: Path, shots: int, draw: str
) -> None:
    count, found = _count(subject, shots), theirs[f"{draw}-{shots}"]
    rows = subject.items[:count] + (subject.held_out if shots else [])
    settings = {"protocol": "harness", "shots": shots, "draw": draw, "seed": SEED, "held_out": HELD_OUT}
    result, items = ours(subject.model, rows, tmp_path, **settings)
    assert result["n"] == len(found.log_likelihoods) == count
    for item, expected in zip(items, found.log_likelihoods, strict=True):
        assert item["log_likelihoods"] == pytest.approx(expected, rel=0, abs=1e-3)
    for name in ("acc", "acc_norm"):
        assert result["values"][name]["value"] == found.metrics[name]


@given(st.lists(st.sampled_from(["[title]", "[step] ", "[", "]", "  ", " ", "\n", "a.", "b"])).map("".join))
def test_a_text_is_cleaned_of_marks_as_there(text: str) -> None:
    assert preprocess(text) == utils.preprocess(text)


@pytest.mark.parametrize("draw", SAMPLERS)
@given(st.integers(0, 4), st.integers(0, 9), st.integers(0, 2**32))
def test_shots_are_drawn_as_there_item_by_item(draw: Draw, shots: int, more: int, seed: int) -> None:
    """An item is never its own shot."""
    pool = [Item(str(number), "", f"Context {number}", ["right", "wrong"], 0) for number in range(shots + 1 + more)]
    others = [Item(f"other {number}", "", "Another", ["right", "wrong"], 0) for number in range(3)]
    sampler: Any = get_sampler(SAMPLERS[draw])  # typed for rows as dictionaries alone
    theirs = sampler(pool, rnd=seed)
    mine = Shots(pool, shots, draw, seed)
    for position, item in enumerate([*others, *pool, *others]):
        assert mine.before(position, item) == list(theirs.sample(shots, eval_doc=item))


@pytest.mark.slow
def test_shots_from_rows_of_their_own_are_the_held_out_ones(tiny: Subject, tmp_path: Path) -> None:
    settings = {"shots": 2, "seed": SEED, "limit": 9}
    _, held_out = ours(tiny.model, tiny.items + tiny.held_out, tmp_path, **settings)
    shots_rows = write_parquet(tiny.held_out, tmp_path / "shots.parquet")
    _, apart = ours(tiny.model, tiny.items, tmp_path, **settings, shots_rows=shots_rows)
    assert apart == held_out


@pytest.mark.slow
def test_the_tiny_model_has_learnt_what_it_read(tiny: Subject, tmp_path: Path) -> None:
    """Otherwise agreement on its choices would be agreement on noise."""
    result, _ = ours(tiny.model, read_lines(ROWS / "choices.jsonl"), tmp_path)
    assert result["values"]["acc_norm"]["value"] > 0.5
