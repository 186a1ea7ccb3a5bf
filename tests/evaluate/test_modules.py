import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from evaluate.loading import init_dynamic_modules

import evaluate
from trainyard.core import statistics
from trainyard.core.repository import SOURCE
from trainyard.evaluate import hellaswag, perplexity, rouge, scorer
from trainyard.evaluate.hellaswag_items import Item
from trainyard.evaluate.result_files import Names
from trainyard.evaluate.run import run

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
    assert found == statistics.flatten_estimates(
        rouge.estimate_scores(rouge.score(predictions, targets, stemmer=True), 40, 3)
    )
    assert found["rougeLsum"] > found["rougeL"]


def test_the_hellaswag_module_gives_our_values(load: Load):
    sums, counts = [[-1.0, -2.0, -3.0, -4.0], [-5.0, -4.0, -6.0, -7.0]], [[1, 2, 9, 4], [9, 4, 1, 1]]
    found = load("hellaswag").compute(predictions=sums, references=[0, 0], lengths=counts)
    scored = hellaswag.score([Item("", "", "", [], 0)] * 2, np.array(sums), np.array(counts))
    right, right_norm = (np.array([item[name] for item in scored]) for name in ("correct", "correct_norm"))
    assert found == statistics.flatten_estimates(hellaswag.estimate_scores(right, right_norm))
    assert (found["acc"], found["acc_norm"]) == (0.5, 0.5)


def test_the_perplexity_module_gives_the_values_of_an_evaluation(
    load: Load, causal_folder: Path, write_rows: Callable[..., Path], names: Names
):
    texts = ["Ada is in the kitchen.", "Ben took the red ball to the garden."]
    path = write_rows([{"text": text} for text in texts])
    run("perplexity", causal_folder, path, {}, path.with_name("out.json"), names)
    items = pq.read_table(path.with_name("out.parquet")).to_pydict()
    found = load("perplexity").compute(
        predictions=items["log_likelihood"], **{name: items[name] for name in perplexity.COUNTS}
    )
    columns = {name: np.array(values) for name, values in items.items()}
    assert found == statistics.flatten_estimates(perplexity.estimate_scores(columns))


def test_the_rouge_module_gives_the_scores_of_each_row_when_asked(load: Load):
    predictions, targets = ["Ben took a ball.", "A dog."], ["Ben took the ball.", "A dog runs."]
    found = load("rouge").compute(predictions=predictions, references=targets, by_row=True)
    assert found["by_row"] == rouge.score(predictions, targets, stemmer=True).tolist()


def doubled(metric: str, folder: Path, name: str, double: str) -> str:
    """A copy of a metric's module, in which an imported function's result is doubled; the package of modules."""
    package = f"changed_{folder.name}"
    changed = folder / package / metric / f"{metric}.py"
    changed.parent.mkdir(parents=True)
    text = (MODULES / metric / f"{metric}.py").read_text().replace(f" {name}\n", f" {name} as as_it_is\n")
    changed.write_text(f"{text}\n\n{double}\n")
    return package


@pytest.mark.parametrize("metric", ["perplexity", "hellaswag"])
def test_headline_values_are_those_that_the_module_computes(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str
):
    """A module whose every value is doubled doubles the values of an evaluation."""
    _ = load  # for its caches

    def headline() -> statistics.Estimates:
        if metric == "perplexity":
            columns = {"log_likelihood": np.array([-5.0, -6.5]), **dict.fromkeys(perplexity.COUNTS, np.array([3, 4]))}
            return perplexity.compute_scores(columns)
        return hellaswag.compute_scores(
            {
                "log_likelihoods": np.array([[-1.0, -2.0], [-3.0, -1.0]]),
                "label": np.array([0, 1]),
                "lengths": np.ones((2, 2), dtype=np.int64),
            }
        )

    before = headline()
    flat, scaled = statistics.flatten_estimates.__name__, statistics.Estimate.scale.__name__
    double = f"def {flat}(found):\n    return as_it_is({{name: each.{scaled}(2) for name, each in found.items()}})"
    monkeypatch.setattr(scorer, "MODULES", doubled(metric, tmp_path, flat, double))
    assert headline() == {name: estimate.scale(2) for name, estimate in before.items()}


def test_scores_of_summaries_are_those_that_the_module_computes(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _ = load  # for its caches
    texts = ["Ben took a ball.", "A dog."], ["Ben has it.", "A dog runs."]
    before = rouge.score_rows(*texts, stemmer=True, tokenizer="ascii")
    double = "def score(*given):\n    return 2 * as_it_is(*given)"
    monkeypatch.setattr(scorer, "MODULES", doubled("rouge", tmp_path, "score", double))
    assert rouge.score_rows(*texts, stemmer=True, tokenizer="ascii") == (2 * np.array(before)).tolist()


def test_a_metric_is_computed_where_the_cache_of_the_hub_can_not_be_written() -> None:
    program = (
        "from trainyard.evaluate.scorer import compute;"
        "print(compute('rouge', predictions=['A dog.'], references=['A dog.'], by_row=True)['by_row'])"
    )
    refused = dict.fromkeys(("HOME", "HF_HOME", "HF_MODULES_CACHE", "XDG_CACHE_HOME", "MPLCONFIGDIR"), "/proc/none")
    environment = os.environ | {"PYTHONPATH": str(SOURCE)} | refused
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "100.0" in done.stdout


def test_flat_values_and_estimates_are_the_same():
    estimates = {"a": statistics.Estimate(1.0, 0.5, 0.0, 2.0), "b": statistics.Estimate(3.0)}
    assert statistics.unflatten_estimates(statistics.flatten_estimates(estimates), estimates) == estimates
