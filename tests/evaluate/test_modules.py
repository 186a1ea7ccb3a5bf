from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from evaluate.loading import init_dynamic_modules

import evaluate
from trainyard.evaluate import hellaswag, intervals, perplexity, rouge
from trainyard.evaluate.hellaswag_items import Item
from trainyard.evaluate.write import Names

MODULES = Path(rouge.__file__).parent / "modules"
Load = Callable[[str], Any]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """A module of the repository, with every cache in the test's own folder and every socket refused."""
    name = f"modules_of_{tmp_path.name}"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("evaluate.loading.init_dynamic_modules", lambda: init_dynamic_modules(name, tmp_path))

    def refuse(*_: object) -> None:
        raise AssertionError("a metric reached for the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    return lambda name: evaluate.load(str(MODULES / name), cache_dir=str(tmp_path / "cache"))


def test_the_rouge_module_gives_our_values(load: Load):
    predictions, targets = ["Ben took a ball. Ada left.", "A dog."], ["Ada left. Ben took the ball.", "A dog runs."]
    found = load("rouge").compute(predictions=predictions, references=targets, resamples=40, seed=3)
    assert found == intervals.flat(rouge.estimates(rouge.score(predictions, targets), 40, 3))
    assert found["rougeLsum"] > found["rougeL"]


def test_the_hellaswag_module_gives_our_values(load: Load):
    sums, counts = [[-1.0, -2.0, -3.0, -4.0], [-5.0, -4.0, -6.0, -7.0]], [[1, 2, 9, 4], [9, 4, 1, 1]]
    found = load("hellaswag").compute(predictions=sums, references=[0, 0], lengths=counts)
    items = [Item("", "", "", [], 0)] * 2
    assert found == intervals.flat(hellaswag.estimates(hellaswag.score(items, np.array(sums), np.array(counts))))
    assert (found["acc"], found["acc_norm"]) == (0.5, 0.5)


def test_the_perplexity_module_gives_the_values_of_an_evaluation(
    load: Load, causal_folder: Path, write_rows: Callable[..., Path], names: Names
):
    texts = ["Ada is in the kitchen.", "Ben took the red ball to the garden."]
    path = write_rows([{"text": text} for text in texts])
    perplexity.run(causal_folder, path, {}, path.with_name("out.json"), names)
    items = pq.read_table(path.with_name("out.parquet")).to_pylist()
    found = load("perplexity").compute(
        predictions=[item["log_likelihood"] for item in items],
        references=texts,
        tokens=[item["tokens"] for item in items],
    )
    assert found == intervals.flat(perplexity.estimates(items))
