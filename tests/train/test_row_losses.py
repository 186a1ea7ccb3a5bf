"""The losses by row that a run leaves of its held-out data."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from trainings import Job
from transformers import AutoModelForCausalLM

from trainyard.config.train import Train
from trainyard.core.files import read_json
from trainyard.data.loader import Loader
from trainyard.train.row_losses import RowLosses, load_row_losses, save_row_losses, write_row_losses

Specify = Callable[..., dict[str, Any]]
NewJob = Callable[[str, dict[str, Any]], Job]


def mean(columns: dict[str, list], name: str) -> float:
    return math.fsum(columns[name]) / sum(columns["tokens"])


def test_their_means_are_the_best_and_the_last_validation_loss(baseline: Job) -> None:
    summary, columns = read_json(baseline.output / "summary.json"), baseline.validation()
    assert columns["row"] == list(range(12))  # of 16 tokens each, 200 at most
    assert set(columns["tokens"]) == {16}
    assert mean(columns, "best") == summary["best"]["validation_loss"]
    assert mean(columns, "last") == summary["validation_loss"]


@pytest.mark.parametrize("name", ["best", "last"])
def test_the_model_that_is_kept_loses_as_much_on_each_row(baseline: Job, name: str) -> None:
    train = Train.model_validate(baseline.specification["train"])
    loader = Loader(Path(baseline.specification["data"]["validation"]), train, seed=1)
    model = AutoModelForCausalLM.from_pretrained(baseline.output / "models" / name, local_files_only=True).eval()
    losses = []
    for _, batch in loader.validation_batches(1, train.validation_tokens, rank=0, world=1):
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"]).logits
        losses.append(F.cross_entropy(logits[0], batch["labels"][0], reduction="sum").item())
    assert baseline.validation()[name] == pytest.approx(losses, rel=1e-5)


def test_they_are_the_same_for_one_process_and_for_several(specification: Specify, new_job: NewJob) -> None:
    settings = {"steps": 4, "validate_every": 2, "dropout": 0.0, "batch": 6, "micro_batch": None}
    alone, spread = (new_job(str(processes), specification(processes=processes, **settings)) for processes in (1, 3))
    for job in (alone, spread):
        job.run()
    ours, theirs = alone.validation(), spread.validation()
    assert ours["tokens"] == theirs["tokens"]
    for name in ("best", "last"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-6)


def test_of_pairs_each_row_has_the_tokens_of_its_target(pairs_specification: Specify, new_job: NewJob) -> None:
    job = new_job("pairs", pairs_specification(steps=2, dropout=0.0))
    summary = job.run()
    columns = job.validation()
    assert set(columns["tokens"]) == {5}
    assert mean(columns, "last") == summary["validation_loss"]


def test_a_run_without_held_out_data_has_none(specification: Specify, new_job: NewJob) -> None:
    asked = specification(steps=2)
    job = new_job("none", asked | {"data": asked["data"] | {"validation": None}})
    job.run()
    assert job.validation() == {"row": [], "tokens": [], "best": [], "last": []}


def test_a_validation_whose_rows_were_not_kept_is_empty_beside_one_whose_were(tmp_path: Path) -> None:
    save_row_losses(tmp_path, 20, RowLosses([1.0, 2.0], [4, 4]))
    last, best = load_row_losses(tmp_path, 20), load_row_losses(tmp_path, 10)
    assert best is None
    assert last is not None
    assert last.mean == 0.375
    write_row_losses(tmp_path / "results" / "validation.parquet", {"last": last})
    job = Job(tmp_path, {})
    assert job.validation() == {"row": [0, 1], "tokens": [4, 4], "best": [None, None], "last": [1.0, 2.0]}
