"""HellaSwag by the protocol `completion` is what karpathy/llm.c's dev/data/hellaswag.py defines."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainyard.core.files import read_json
from trainyard.evaluate.run import run

from .conftest import NAMES, Row, Subject, write_parquet


@torch.no_grad()
def token_losses(model: Any, tokenizer: Any, context: str, ending: str) -> torch.Tensor:
    """The loss of each token of an ending: context and " " + ending encoded apart, joined, one row at a time."""
    before = tokenizer.encode(context, add_special_tokens=False)
    after = tokenizer.encode(" " + ending, add_special_tokens=False)
    logits = model(torch.tensor([before + after])).logits[0, len(before) - 1 : -1]
    return functional.cross_entropy(logits, torch.tensor(after), reduction="none")


def choices_of(model: Any, tokenizer: Any, row: Row) -> tuple[list[float], list[int], int, int]:
    """Log-likelihoods and tokens of the endings; the choice by the least loss, and by the least mean loss per token."""
    losses = [token_losses(model, tokenizer, row["ctx"], ending) for ending in row["endings"]]
    sums, means = ([float(one(loss)) for loss in losses] for one in (torch.sum, torch.mean))
    return [-total for total in sums], [len(loss) for loss in losses], sums.index(min(sums)), means.index(min(means))


def test_choices_are_those_of_llm_c_s_definition(subject: Subject, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(subject.model, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(subject.model)
    rows = write_parquet(subject.items, tmp_path / "rows.parquet")
    run("hellaswag", subject.model, rows, {"protocol": "completion"}, tmp_path / "ours.json", NAMES)
    items = pq.read_table(tmp_path / "ours.parquet").to_pylist()
    right = right_norm = 0
    for row, item in zip(subject.items, items, strict=True):
        sums, lengths, chosen, chosen_norm = choices_of(model, tokenizer, row)
        assert item["log_likelihoods"] == pytest.approx(sums, rel=0, abs=1e-3)
        assert item["lengths"] == lengths
        assert (item["chosen"], item["chosen_norm"]) == (chosen, chosen_norm)
        right += chosen == row["label"]
        right_norm += chosen_norm == row["label"]
    values = read_json(tmp_path / "ours.json")["values"]
    assert values["acc"]["value"] == right / len(subject.items)
    assert values["acc_norm"]["value"] == right_norm / len(subject.items)
