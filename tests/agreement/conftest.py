"""Models and rows that lm-evaluation-harness and we both score: a tiny model trained here, and SmolLM2-135M."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainyard.config.catalogue import BpeTokenizer, Dataset
from trainyard.core.files import read_json
from trainyard.data import tinyworld
from trainyard.data.download import download
from trainyard.data.tokenize import tokenize
from trainyard.data.tokenizers import make_tokenizer
from trainyard.evaluate.result_files import Names
from trainyard.models.pretrained import fetch_model
from trainyard.plan.configuration import read_catalogues
from trainyard.train.job import train

ROWS = Path(__file__).parent / "rows"
CONFIG = Path(__file__).resolve().parents[2] / "config"
NAMES = Names("agreement", "run", "an-evaluation", "best", "a-dataset", "validation")
HELD_OUT = 100

Row = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """A model, and rows for it: the first `few` items are scored with shots too."""

    model: Path
    items: list[Row]
    held_out: list[Row]
    few: int
    pages: list[str]
    context: int


def write_parquet(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Rows as our evaluations read them."""
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    return path


def write_lines(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Rows as the harness reads them."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def pages() -> list[str]:
    """Pages in WikiText's form, with every mark that its detokenizer knows."""
    return [row["page"] for row in read_lines(ROWS / "pages.jsonl")]


@pytest.fixture(scope="session")
def choices() -> list[Row]:
    """Items with WikiHow's marks, double spaces, no ctx_b, contexts that end in a space; then some of tinyworld."""
    return [*read_lines(ROWS / "choices.jsonl"), *tinyworld.rows("endings", "validation", 134, 1)]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, choices: list[Row], pages: list[str]) -> Path:
    """What the training of a run exports: a small GPT-2 that read stories and our rows."""
    folder = tmp_path_factory.mktemp("trained")
    ours = [f"{row['ctx']} {row['endings'][row['label']]}" for row in choices] + pages
    texts = [row["text"] for row in tinyworld.rows("stories", "train", 500, 1)] + 10 * ours
    files = {}
    for split, some in (("train", texts), ("validation", texts[:100])):
        files[split] = str(write_lines([{"text": text} for text in some], folder / f"{split}.jsonl"))
    stories = {"title": "Stories", "kind": "text", "source": {"files": files}, "licence": "CC0"}
    dataset = Dataset.model_validate({**stories, "splits": {split: split for split in files}})
    for split in files:
        download("stories", dataset, split, folder / f"{split}.parquet")
    bpe = BpeTokenizer(title="BPE", kind="bpe", vocabulary=512)
    make_tokenizer("bpe-512", bpe, folder / "tokenizer", rows=folder / "train.parquet")
    for split in files:
        tokenize(folder / f"{split}.parquet", folder / "tokenizer", folder / "tokens" / split)
    train(_specification(folder), folder / "results", folder / "work", folder / "train.log", "code")
    assert read_json(folder / "results/summary.json")["outcome"] == "finished"
    return folder / "results/models/best"


def _specification(folder: Path) -> dict[str, Any]:
    shape = {"layers": 2, "width": 64, "heads": 4, "context": 512, "vocabulary": 512, "dropout": 0.0}
    return {
        "study": "agreement",
        "run": "tiny",
        "kind": "run",
        "task": "language-modelling",
        "dataset": "stories",
        "model": {"name": "tiny", "title": "Tiny", "family": "gpt2", "tokenizer": "bpe-512", "shape": shape},
        "parallel": {"name": "single", "title": "One", "engine": "single", "precision": ["fp32"]},
        "processes": 1,
        "threads": 1,
        "device": "cpu",
        "precision": "fp32",
        "recipe": "base",
        "seed": 1,
        "train": {
            "steps": 200,
            "batch": 8,
            "sequence_length": 128,
            "learning_rate": 5e-3,
            "warmup_steps": 20,
            "validate_every": 200,
            "validation_tokens": 2048,
            "checkpoint_every": 200,
        },
        "data": {
            "train": str(folder / "tokens/train"),
            "validation": str(folder / "tokens/validation"),
            "tokenizer": str(folder / "tokenizer"),
            "weights": None,
        },
    }


@pytest.fixture(scope="session")
def tiny(trained: Path, choices: list[Row], pages: list[str]) -> Subject:
    """The model trained here, which takes 512 tokens: five shots don't fit each item."""
    return Subject(trained, choices[:-HELD_OUT], choices[-HELD_OUT:], len(choices) - HELD_OUT, pages, 512)


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """SmolLM2-135M with rows of HellaSwag and pages of WikiText-2."""
    mirror = os.environ.get("TRAINYARD_MIRROR")
    assert mirror, "set TRAINYARD_MIRROR to a folder in the hub's layout with Rowan/hellaswag and Salesforce/wikitext"
    folder, catalogues = tmp_path_factory.mktemp("smollm2"), read_catalogues(CONFIG)
    fetch_model("smollm2-135m", catalogues.models["smollm2-135m"], folder / "model")
    for name, split in (("hellaswag", "validation"), ("wikitext-2-raw", "test")):
        download(name, catalogues.datasets[name], split, folder / f"{name}.parquet", Path(mirror))
    choices = pq.read_table(folder / "hellaswag.parquet").to_pylist()
    pages = [row["text"] for row in pq.read_table(folder / "wikitext-2-raw.parquet").to_pylist()]
    # the first items are captions of films, the last are WikiHow's with their marks
    films, wikihow = choices[:30], choices[-HELD_OUT - 30 : -HELD_OUT]
    items = [item for pair in zip(films, wikihow, strict=True) for item in pair]
    return Subject(folder / "model", items, choices[-HELD_OUT:], 6, pages[:3], 1024)


@pytest.fixture(
    scope="session",
    params=[pytest.param("tiny", marks=pytest.mark.slow), pytest.param("smollm2", marks=pytest.mark.long)],
)
def subject(request: pytest.FixtureRequest) -> Subject:
    return request.getfixturevalue(request.param)
