"""Files of tokenizers: vocabularies, merges and tokenizer.json with damage."""

import json
from pathlib import Path
from typing import Any

import odd
from hypothesis import strategies as st

from trainyard.config.catalogue import ModelTokenizer
from trainyard.data.byte_level_bpe import make_byte_tokenizer
from trainyard.data.tokenizer_layouts import from_tokenizer_file, from_vocabulary
from trainyard.data.tokenizers import make_tokenizer

TOKENS = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "ab": 6}
MERGES = b"#version: 0.2\na b\n"


def test_a_vocabulary_is_taken_or_refused_by_its_file(fuzz: Any, refused: Any, folder: Path) -> None:
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"

    def check(data: tuple[bytes, bytes]) -> None:
        vocabulary.write_bytes(data[0])
        merges.write_bytes(data[1])
        refused(lambda: from_vocabulary("opt", vocabulary, merges), rf"{vocabulary}( and {merges})?: \S")

    good = json.dumps(TOKENS).encode()
    tables = odd.changed(TOKENS).map(lambda value: json.dumps(value).encode()) | odd.damaged(good) | st.just(good)
    fuzz(st.tuples(tables, st.just(MERGES) | odd.damaged(MERGES)), check, 1000)


def test_a_tokenizer_file_is_taken_or_refused_by_its_file(fuzz: Any, refused: Any, folder: Path) -> None:
    make_byte_tokenizer().save_pretrained(folder)
    path = folder / "tokenizer.json"
    good = json.loads(path.read_text())
    good["model"]["vocab"] = dict(list(good["model"]["vocab"].items())[:20])
    entry = ModelTokenizer(title="t", kind="model", model="m", vocabulary=260)

    def check(data: bytes) -> None:
        path.write_bytes(data)
        refused(lambda: from_tokenizer_file("t5", path), rf"{path}: \S")
        refused(lambda: make_tokenizer("own", entry, folder / "out", pretrained=folder), rf"{folder}|tokenizer \w+: ")
        assert not (folder / "out").exists()

    whole = json.dumps(good).encode()
    fuzz(odd.changed(good).map(lambda value: json.dumps(value).encode()) | odd.damaged(whole), check, 400)
