import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from trainyard.evaluate import hellaswag, log_likelihood, perplexity, rouge
from trainyard.evaluate.batch_size import choose_batch_tokens, choose_sources
from trainyard.evaluate.log_likelihood import Query, log_likelihoods
from trainyard.evaluate.result_files import Names
from trainyard.evaluate.run import run

GIB = 2**30


def test_on_a_cpu_the_batches_are_what_they_were():
    assert {each.Settings.model_validate({}).batch_tokens for each in (perplexity, hellaswag)} == {2048}
    assert rouge.Settings.model_validate({}).batch == 16
    assert log_likelihood.LOSSES["cpu"] == 64


@pytest.mark.parametrize(
    ("memory", "tokens", "sources"),
    [
        (None, 2048, 16),
        (4 * GIB, 2048, 16),
        (int(14.6 * GIB), 4096, 16),  # a T4
        (int(22.1 * GIB), 8192, 16),  # an A10G
        (int(39.4 * GIB), 16384, 16),  # an A100
        (int(79.1 * GIB), 32768, 32),  # an H100
        (int(139.7 * GIB), 32768, 64),  # an H200
    ],
)
def test_on_a_gpu_they_grow_with_its_memory(memory: int | None, tokens: int, sources: int):
    assert (choose_batch_tokens(memory), choose_sources(memory)) == (tokens, sources)


def test_a_setting_of_the_study_counts_before_the_device():
    assert perplexity.Settings.model_validate({"device": "cuda", "batch_tokens": 7}).batch_tokens == 7
    assert rouge.Settings.model_validate({"device": "cuda", "batch": 3}).batch == 3


def test_the_result_says_which_batch_was_used(
    causal_folder: Path, write_rows: Callable[..., Path], names: Names, tmp_path: Path
):
    rows: list[dict[str, Any]] = [{"text": "A man is sitting on a roof."}]
    run("perplexity", causal_folder, write_rows(rows), {}, tmp_path / "result.json", names)
    assert json.loads((tmp_path / "result.json").read_text())["settings"]["batch_tokens"] == 2048


def test_figures_of_one_model_agree_within_the_stated_bound_whatever_the_batch(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    config = GPT2Config(n_layer=4, n_embd=256, n_head=4, vocab_size=5000, n_positions=256, initializer_range=0.1)
    model = GPT2LMHeadModel(config).eval()
    generator = np.random.default_rng(0)
    documents = [generator.integers(0, 5000, length) for length in generator.integers(20, 250, 60)]
    queries = [Query(ids[:1], (ids[1:],)) for ids in documents]
    small = log_likelihoods(model, queries, 2048)
    monkeypatch.setitem(log_likelihood.LOSSES, "cpu", log_likelihood.LOSSES["cuda"])
    large = log_likelihoods(model, queries, 32768)
    assert large == pytest.approx(small, rel=1e-5)
    assert not np.array_equal(large, small)  # or the bound would be of nothing
