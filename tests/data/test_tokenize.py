import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter
from tokenizers import Tokenizer as WordTokenizer
from tokenizers import models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from trainyard.config.catalogue import Dataset, Tokenizer
from trainyard.config.protocols import SEPARATOR
from trainyard.core.errors import InputError
from trainyard.data.download import download
from trainyard.data.pairs import PairsReader
from trainyard.data.shards import TokenStream, verify
from trainyard.data.statistics import statistics
from trainyard.data.tokenize import tokenize
from trainyard.data.tokenizers import make_tokenizer

TEXTS = ["one two", "caf\u00e9", "the third document"]
PAIRS = [("a b c", "a"), ("", "b b"), ("d", "e f")]


def make_rows(folder: Path, kind: str, items: list[dict[str, Any]]) -> Path:
    path = folder / "source.jsonl"
    path.write_text("\n".join(json.dumps(item) for item in items))
    given = {
        "title": "Some data",
        "kind": kind,
        "source": {"files": {"train": str(path)}},
        "splits": {"train": "train"},
        "licence": "CC0",
    }
    output = folder / "rows/train.parquet"
    download("some", Dataset.model_validate(given), "train", output)
    return output


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    entry = TypeAdapter(Tokenizer).validate_python({"title": "T", "kind": "bytes", "vocabulary": 260})
    make_tokenizer("bytes", entry, tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return make_rows(tmp_path, "text", [{"text": text} for text in TEXTS])


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return make_rows(tmp_path, "pairs", [{"id": n, "source": s, "target": t} for n, (s, t) in enumerate(PAIRS)])


def test_each_document_follows_an_end_of_text_token(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    index = tokenize(texts, tokenizer, tmp_path / "train", shard_tokens=10)
    assert index == verify(tmp_path / "train")
    stream = TokenStream(tmp_path / "train")
    expected = [token for text in TEXTS for token in [3, *(4 + byte for byte in text.encode())]]
    assert stream.read(0, 1000).tolist() == expected
    assert (index["rows"], index["words"], index["tokens"], index["bytes"]) == (3, 6, 33, 30)
    assert [shard["tokens"] for shard in index["shards"]] == [10, 10, 10, 3]
    assert (index["dataset"], index["tokenizer"], index["split"], index["end_of_text"]) == ("some", "bytes", "train", 3)


@pytest.mark.parametrize("kind", ["text", "pairs"])
def test_what_the_tokenizer_does_not_know_is_counted(tmp_path: Path, kind: str) -> None:
    words = WordTokenizer(models.WordLevel({"a": 0, "<unk>": 1, "</s>": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", unk_token="<unk>")
    made.save_pretrained(tmp_path / "model")
    entry = TypeAdapter(Tokenizer).validate_python({"title": "T", "kind": "model", "model": "m", "vocabulary": 3})
    make_tokenizer("words", entry, tmp_path / "tokenizer", pretrained=tmp_path / "model")
    items = [{"id": "1", "text": "a other a", "source": "a other", "target": "other"}] * 2
    tokenize(make_rows(tmp_path, kind, items), tmp_path / "tokenizer", tmp_path / "train")
    found = statistics("Some data", "CC0", {"train": tmp_path / "train"}, tmp_path / "statistics.json")
    assert found["splits"]["train"]["unknown"] == (2 if kind == "text" else 4)


def test_the_number_of_threads_changes_nothing(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    one = tokenize(texts, tokenizer, tmp_path / "one", threads=1)
    assert tokenize(texts, tokenizer, tmp_path / "two", threads=2) == one


def test_pairs_keep_their_whole_length_and_end(tmp_path: Path, pairs: Path, tokenizer: Path) -> None:
    index = tokenize(pairs, tokenizer, tmp_path / "train", prefix="s: ")
    assert index == verify(tmp_path / "train")
    assert (index["rows"], index["pad"], index["end"], index["prefix"]) == (3, 0, 2, "s: ")
    assert (index["end_of_text"], index["framing"]) == (3, {"before": 0, "after": 1})
    assert bytes(token - 4 for token in index["separator"]).decode() == SEPARATOR
    assert index["source"] == {"words": 4, "tokens": 5 + 0 + 1 + 3 * 3, "unknown": 0}
    assert index["target"] == {"words": 5, "tokens": 1 + 3 + 3, "unknown": 0}
    reader = PairsReader(tmp_path / "train")
    for number, (source, target) in enumerate(PAIRS):
        ids, labels = reader[number]
        assert ids.tolist() == [*(4 + byte for byte in f"s: {source}".encode()), 2]
        assert labels.tolist() == [*(4 + byte for byte in target.encode()), 2]
    assert pq.read_table(tmp_path / "train/pairs.parquet").column_names == ["id", "source_ids", "target_ids"]


def test_statistics_hold_counts_and_means_a_row(tmp_path: Path, texts: Path, pairs: Path, tokenizer: Path) -> None:
    tokenize(pairs, tokenizer, tmp_path / "pairs")
    found = statistics("Some data", "CC0", {"train": tmp_path / "pairs"}, tmp_path / "statistics.json")
    assert found == json.loads((tmp_path / "statistics.json").read_text())
    assert (found["dataset"], found["tokenizer"], found["kind"]) == ("some", "bytes", "pairs")
    split = found["splits"]["train"]
    assert (split["rows"], split["words"], split["tokens"]) == (3, 9, 13)
    means = [split[name] for name in ("source_words", "source_tokens", "target_words", "target_tokens")]
    assert means == pytest.approx([4 / 3, 2, 5 / 3, 7 / 3])


def test_many_pairs_are_read_by_the_group(tmp_path: Path, tokenizer: Path) -> None:
    items = [{"id": n, "source": f"s{n}", "target": f"t{n}"} for n in range(1000)]
    tokenize(make_rows(tmp_path, "pairs", items), tokenizer, tmp_path / "train")
    reader = PairsReader(tmp_path / "train")
    for number in (0, 127, 128, 511, 512, 640, 999):
        assert bytes((reader[number][0][:-1] - 4).astype(np.uint8)).decode() == f"s{number}"
    assert len(reader) == 1000


def test_rows_changed_since_their_download_are_refused(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    texts.write_bytes(texts.read_bytes() + b"\0")
    with pytest.raises(InputError, match=r"train\.parquet: its SHA-256"):
        tokenize(texts, tokenizer, tmp_path / "train")
    assert not (tmp_path / "train").exists()


def test_tokens_that_need_more_than_16_bits_are_refused(tmp_path: Path, texts: Path, tokenizer: Path) -> None:
    index = json.loads((tokenizer / "index.json").read_text())
    (tokenizer / "index.json").write_text(json.dumps(index | {"vocabulary": 65_537}))
    with pytest.raises(InputError, match="65537 tokens don't fit shards of 16 bits"):
        tokenize(texts, tokenizer, tmp_path / "train")


def test_items_are_not_tokenized(tmp_path: Path, tokenizer: Path) -> None:
    item = {"id": 1, "activity_label": "", "ctx_a": "A", "ctx_b": "", "ctx": "A", "endings": list("abcd"), "label": 0}
    with pytest.raises(InputError, match="evaluated as they are"):
        tokenize(make_rows(tmp_path, "choices", [item]), tokenizer, tmp_path / "train")


@pytest.mark.parametrize("kind", ["text", "pairs"])
def test_a_row_that_the_tokenizer_fails_on_is_named(tmp_path: Path, kind: str) -> None:
    """A tokenizer of words has no token for another one, unless it has one for all others."""
    words = WordTokenizer(models.WordLevel({"a": 0, "b": 1, "</s>": 2}))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained(tmp_path / "model")
    entry = TypeAdapter(Tokenizer).validate_python({"title": "T", "kind": "model", "model": "m", "vocabulary": 3})
    make_tokenizer("words", entry, tmp_path / "tokenizer", pretrained=tmp_path / "model")
    items = [{"text": "a b", "source": "a", "target": "b"}] * 600
    items += [{"text": "b other", "source": "b", "target": "other"}, *items[:5]]
    said = (
        r"train\.parquet, row 601: the tokenizer fails on its \d characters \(WordLevel error.*; cut the text, or leave"
    )
    with pytest.raises(InputError, match=said):
        tokenize(make_rows(tmp_path, kind, items), tmp_path / "tokenizer", tmp_path / "train")
    assert not (tmp_path / "train").exists()
