"""From rows to tokens: shards of documents, or pairs of source and target."""

import logging
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from trainyard.config.catalogue import LARGEST_VOCABULARY
from trainyard.config.protocols import SEPARATOR
from trainyard.core.errors import InputError, one_line
from trainyard.core.files import atomic_folder, read_json, sha256_file, write_json
from trainyard.data import gpt2_bpe
from trainyard.data.pairs import GROUP_ROWS, SCHEMA
from trainyard.data.shards import Tokens, write_shards
from trainyard.data.stored_rows import read_rows

BATCH_ROWS = 512
_ENDS = (KeyboardInterrupt, SystemExit, GeneratorExit)
_SIDES = ("source", "target")
SHARD_TOKENS = 100_000_000


class Encoder:
    """A tokenizer's folder, ready to encode many texts.

    Attributes:
        index: the folder's index.json.
        unknown: the token in place of what has none of its own; -1 where there is none.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Open the folder; `threads` encode at a time.

        Raises:
            InputError: a file is missing or isn't what was written.
        """
        self.index: dict[str, Any] = read_json(folder / "index.json")
        for name, sha256 in self.index["hashes"].items():
            if not (folder / name).is_file() or sha256_file(folder / name) != sha256:
                raise InputError(f"{folder / name}: missing or damaged; delete its folder and run again")
        self.unknown: int = -1 if self.index["unknown"] is None else self.index["unknown"]
        self._threads = threads
        # tokenizers reads these when it first encodes
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
        os.environ["RAYON_NUM_THREADS"] = str(threads)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True
        self._tiktoken = gpt2_bpe.open_gpt2(folder / gpt2_bpe.FOLDER) if self.index["kind"] == "tiktoken" else None

    def documents(self, texts: list[str]) -> list[list[int]]:
        """The tokens of each text, without special tokens: the name of one in a text is text."""
        if self._tiktoken is not None:
            return gpt2_bpe.encode(self._tiktoken, texts, self._threads)
        return [encoded.ids for encoded in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def sequences(self, texts: list[str]) -> list[list[int]]:
        """The tokens of each text with the tokenizer's own special tokens around it; the name of one in it is text."""
        return [encoded.ids for encoded in self._tokenizer.encode_batch_fast(texts, add_special_tokens=True)]

    def count_framing(self) -> tuple[int, int]:
        """How many special tokens `sequences` puts before a text, and how many after it."""
        (bare,), (framed,) = self.documents(["a"]), self.sequences(["a"])
        before = next(at for at in range(len(framed)) if framed[at : at + len(bare)] == bare)
        return before, len(framed) - len(bare) - before


class _Rows:
    """The rows of one split, by the batch, and their tokens.

    A tokenizer that fails, be it by a panic of its own, is told with the row that it fails on.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._kind = kind
        self._before = 0

    def batches(self) -> Iterator[list[dict[str, Any]]]:
        rows = read_rows(self._path, self._kind)
        while batch := list(islice(rows, BATCH_ROWS)):
            yield batch
            self._before += len(batch)

    def encode_rows(self, encode: Callable[[list[str]], list[list[int]]], texts: list[str]) -> list[list[int]]:
        """The tokens of a text of each row of this batch.

        Raises:
            InputError: the tokenizer fails on one.
        """
        try:
            return encode(texts)
        except _ENDS:
            raise
        except BaseException:  # a panic of Rust is no Exception
            logging.exception("%s, from row %d: the tokenizer fails", self._path, self._before + 1)
            for number, text in enumerate(texts, self._before + 1):
                self._try(encode, number, text)
            raise

    def _try(self, encode: Callable[[list[str]], list[list[int]]], number: int, text: str) -> None:
        try:
            encode([text])
        except _ENDS:
            raise
        except BaseException as error:
            raise InputError(
                f"{self._path}, row {number}: the tokenizer fails on its {len(text):,} characters ({one_line(error)}); "
                "cut the text, or leave the row out"
            ) from error


def _words(texts: list[str]) -> int:
    return sum(len(text.split()) for text in texts)


def _text(rows: Path, encoder: Encoder, folder: Path, shard_tokens: int) -> dict[str, Any]:
    if encoder.index["vocabulary"] > LARGEST_VOCABULARY:
        raise InputError(
            f"tokenizer {encoder.index['name']}: {encoder.index['vocabulary']} tokens don't fit shards of 16 bits "
            f"({LARGEST_VOCABULARY} at most)"
        )
    end_of_text = encoder.index["end_of_text"]
    unknown = encoder.unknown
    counts = {"rows": 0, "words": 0, "bytes": 0, "unknown": 0}

    def documents() -> Iterator[Tokens]:
        split = _Rows(rows, "text")
        for batch in split.batches():
            texts = [row["text"] for row in batch]
            counts["rows"] += len(texts)
            counts["words"] += _words(texts)
            counts["bytes"] += sum(len(text.encode()) for text in texts)
            for ids in split.encode_rows(encoder.documents, texts):
                counts["unknown"] += ids.count(unknown)
                yield np.array([end_of_text, *ids], dtype=np.uint16)

    shards = write_shards(folder, documents(), shard_tokens)
    tokens = sum(shard["tokens"] for shard in shards)
    return counts | {"tokens": tokens, "end_of_text": end_of_text, "shards": shards}


def _pairs(rows: Path, encoder: Encoder, folder: Path, prefix: str) -> dict[str, Any]:
    end = encoder.index["end"]
    special = len(encoder.sequences([""])[0])
    unknown = encoder.unknown
    counts: dict[str, Any] = {"rows": 0, **{side: {"words": 0, "tokens": 0, "unknown": 0} for side in _SIDES}}
    path = folder / "pairs.parquet"
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=False) as writer:
        split = _Rows(rows, "pairs")
        for batch in split.batches():
            sources = split.encode_rows(encoder.sequences, [prefix + row["source"] for row in batch])
            targets = split.encode_rows(encoder.sequences, [row["target"] for row in batch])
            counts["rows"] += len(batch)
            for name, encoded in (("source", sources), ("target", targets)):
                counts[name]["words"] += _words([row[name] for row in batch])
                counts[name]["tokens"] += sum(len(ids) - special for ids in encoded)
                counts[name]["unknown"] += sum(ids.count(unknown) for ids in encoded)
            targets = [ids if ids and ids[-1] == end else [*ids, end] for ids in targets]
            table = pa.table([[row["id"] for row in batch], sources, targets], schema=SCHEMA)
            writer.write_table(table, row_group_size=GROUP_ROWS)
    files = [{"file": path.name, "sha256": sha256_file(path)}]
    special_tokens = {name: encoder.index[name] for name in ("pad", "end", "end_of_text")}
    (separator,) = encoder.documents([SEPARATOR])
    framing = dict(zip(("before", "after"), encoder.count_framing(), strict=True))
    return counts | special_tokens | {"separator": separator, "framing": framing, "prefix": prefix, "files": files}


def tokenize(
    rows: Path,
    tokenizer: Path,
    output: Path,
    prefix: str = "",
    shard_tokens: int = SHARD_TOKENS,
    threads: int = 1,
) -> dict[str, Any]:
    """Encode the rows of one split; `output` holds shards or pairs and, written last, index.json.

    Text: each document after an end-of-text token, in shards of llm.c's format. Pairs: source
    and target with the tokenizer's own special tokens, untruncated; each target ends with the
    end-of-sequence token. The index says what a model without an encoder joins them with.

    Args:
        rows: the Parquet file of `download`, with its JSON beside it.
        tokenizer: the folder of `make_tokenizer`.
        output: the folder that is written, whole or not at all.
        prefix: text before each source (T5: `summarize: `).
        shard_tokens: tokens of every shard but the last.
        threads: texts encoded at a time; the result doesn't depend on it.

    Returns:
        what index.json holds.

    Raises:
        InputError: the rows or the tokenizer are damaged, or don't fit this form.
    """
    about = read_json(rows.with_suffix(".json"))
    if about["kind"] == "choices":
        raise InputError(f"{rows}: multiple-choice items are evaluated as they are, not tokenized beforehand")
    if sha256_file(rows) != about["sha256"]:
        raise InputError(f"{rows}: its SHA-256 isn't the one beside it: damaged; delete it and run again")
    encoder = Encoder(tokenizer, threads)
    with atomic_folder(output) as folder:
        if about["kind"] == "text":
            counts = _text(rows, encoder, folder, shard_tokens)
        else:
            counts = _pairs(rows, encoder, folder, prefix)
        index = {
            "kind": about["kind"],
            "dataset": about["dataset"],
            "tokenizer": encoder.index["name"],
            "split": about["split"],
            **counts,
            "vocabulary": encoder.index["vocabulary"],
            # a pair's `source` is its longer side
            ("source" if about["kind"] == "text" else "data_source"): about["source"],
            "revision": about["revision"],
            "licence": about["licence"],
        }
        write_json(folder / "index.json", index)
    return index
