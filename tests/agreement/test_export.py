"""What a run exports can be checked by anyone: lm-evaluation-harness loads it and gets our figures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from lm_eval.api.instance import Instance
from tokenizers import Tokenizer
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from trainyard.config.catalogue import BytesTokenizer, Model
from trainyard.config.yaml_entries import parse_entries
from trainyard.core.files import read_json
from trainyard.data.tokenizer_layouts import add_template
from trainyard.data.tokenizers import make_tokenizer
from trainyard.evaluate.run import run
from trainyard.models.build import build
from trainyard.models.export import export

from .conftest import CONFIG, NAMES, Row, Subject, write_lines, write_parquet
from .harness import DEFINITIONS, evaluate, hellaswag, load, no_network, wikitext

MODELS: dict[str, Model] = parse_entries(Model, CONFIG / "models.yaml")


@pytest.mark.slow
def test_the_harness_s_command_gets_our_accuracy_of_a_run_s_best_model(tiny: Subject, tmp_path: Path) -> None:
    write_lines(tiny.items, tmp_path / "items.jsonl")
    task = f"""
        include: {DEFINITIONS}/hellaswag/hellaswag.yaml
        task: hellaswag_local
        dataset_path: json
        dataset_kwargs:
          data_files: {{validation: {tmp_path}/items.jsonl}}
        training_split: null
    """
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/hellaswag_local.yaml").write_text(task)
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf"]
    command += ["--model_args", f"pretrained={tiny.model},dtype=float32", "--device", "cpu", "--batch_size", "8"]
    command += ["--include_path", tmp_path / "tasks", "--tasks", "hellaswag_local", "--output_path", tmp_path / "out"]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache"), "PYTHONPATH": ""}
    subprocess.run(command, cwd=tmp_path, env=os.environ | offline, check=True, capture_output=True, timeout=300)
    (found,) = (tmp_path / "out").rglob("results_*.json")
    theirs = json.loads(found.read_text())["results"]["hellaswag_local"]
    run(
        "hellaswag", tiny.model, write_parquet(tiny.items, tmp_path / "rows.parquet"), {}, tmp_path / "ours.json", NAMES
    )
    ours = read_json(tmp_path / "ours.json")["values"]
    assert {name: ours[name]["value"] for name in ours} == {name: theirs[f"{name},none"] for name in ours}
    assert {name: ours[name]["standard_error"] for name in ours} == pytest.approx(
        {name: theirs[f"{name}_stderr,none"] for name in ours}
    )


@pytest.mark.parametrize("template", ["$A </s>", "<|endoftext|> $A"], ids=["as-trained-here", "as-opt-s"])
@pytest.mark.parametrize("name", ["opt-tiny", "gpt2-tiny", "gpt2-modern-tiny", "llama-tiny"])
@pytest.mark.slow
def test_every_family_s_export_loads_there_and_gets_the_same_likelihoods(
    choices: list[Row], pages: list[str], tmp_path: Path, name: str, template: str
) -> None:
    """Whether the tokenizer was made to put a token after a text, or as OPT's and Llama's before it."""
    folder, model = tmp_path / "tokenizer", tmp_path / "model"
    make_tokenizer("bytes", BytesTokenizer(title="Bytes", kind="bytes", vocabulary=260), folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    add_template(tokenizer, template)
    tokenizer.save(str(folder / "tokenizer.json"))
    export(MODELS[name], build(MODELS[name], name, seed=1).state_dict(), model, folder)
    items, texts = choices[:8], [{"page": page} for page in pages[-2:]]
    found = evaluate(
        model,
        {
            "items": hellaswag(write_lines(items, tmp_path / "items.jsonl"), tmp_path / "items.jsonl", 0),
            "pages": wikitext(write_lines(texts, tmp_path / "pages.jsonl")),
        },
    )
    rows = write_parquet(items, tmp_path / "items.parquet")
    run("hellaswag", model, rows, {}, tmp_path / "scored.json", NAMES)
    mine = [row["log_likelihoods"] for row in pq.read_table(tmp_path / "scored.parquet").to_pylist()]
    assert np.array(mine) == pytest.approx(np.array(found["items"].log_likelihoods), rel=0, abs=1e-3)
    rows = write_parquet([{"text": text["page"]} for text in texts], tmp_path / "pages.parquet")
    run("perplexity", model, rows, {"protocol": "harness"}, tmp_path / "scored.json", NAMES)
    mine = [[row["log_likelihood"]] for row in pq.read_table(tmp_path / "scored.parquet").to_pylist()]
    assert np.array(mine) == pytest.approx(np.array(found["pages"].log_likelihoods), rel=1e-4)


@pytest.mark.parametrize("name", ["bart-tiny", "t5-tiny"])
@pytest.mark.slow
def test_a_summariser_s_export_loads_there_and_gives_its_own_likelihoods(tmp_path: Path, name: str) -> None:
    folder, model = tmp_path / "tokenizer", tmp_path / "model"
    make_tokenizer("bytes", BytesTokenizer(title="Bytes", kind="bytes", vocabulary=260), folder)
    export(MODELS[name], build(MODELS[name], name, seed=1).state_dict(), model, folder)
    pair = ("Ada: Where is the ball? Ben: In the garden.", "The ball is in the garden.")
    with no_network():
        ((theirs, _),) = load(model).loglikelihood([Instance("loglikelihood", {}, pair, 0)], disable_tqdm=True)
    ours, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(model).eval(), AutoTokenizer.from_pretrained(model)
    source = tokenizer(pair[0], return_tensors="pt")["input_ids"]
    target = tokenizer(pair[1], add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        loss = ours(input_ids=source, labels=target).loss
    assert -float(loss) * target.shape[1] == pytest.approx(theirs, rel=1e-5)
