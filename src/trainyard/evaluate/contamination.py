"""Items that share an n-gram of words with the text that a model was trained on.

An item is contaminated if one of its n-grams of words occurs in the training text
(Brown et al., Language Models are Few-Shot Learners, appendix C; n is 13 there and in
lm-evaluation-harness). A word is what is between white space once the text is in
lower case and without punctuation, as in lm-evaluation-harness (lm_eval/decontamination/janitor.py,
for ASCII alone); here punctuation is every character of Unicode's categories P and S.
A character of a script that puts no space between words is a word.
No n-gram goes from one text into the next.

The n-grams of the items are held, the training text streams by. Both are looked through
as numbers: a word is its place in the vocabulary of the items, an n-gram a hash of 64
bits. What agrees by its hash is compared word by word, so that nothing rests on hashes.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.compute import ReplaceSubstringOptions, SetLookupOptions, call_function

from trainyard.core.errors import InputError
from trainyard.core.files import atomic_file, write_json
from trainyard.evaluate.rows import open_parquet, read_rows, rows_sha256
from trainyard.evaluate.words import CHARACTER
from trainyard.launch.progress import progress

NORMALISATION = (
    "lower case; every character of Unicode's categories P (punctuation) and S (symbols) is deleted; "
    "words are split at white space; a character of a script that puts no space between words is a word"
)
PUNCTUATION = ReplaceSubstringOptions(r"[\pP\pS]", "")
CHARACTERS = ReplaceSubstringOptions(f"({CHARACTER})", r" \1 ")
TEXTS = {
    "choices": "context and the right ending, as one text",
    "pairs": "source and target, each a text",
    "text": "the document",
}
BATCH_ROWS = 4096
BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2^64
INVERSE = np.uint64(pow(int(BASE), -1, 2**64))
FIELD = 16  # places of the table that hashes are looked up in first, for each n-gram
SCHEMA = pa.schema(
    {
        "row": pa.int64(),
        "ngrams": pa.int64(),
        "overlapping": pa.int64(),
        "contaminated": pa.bool_(),
        "example": pa.string(),
    }
)

Ids = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


def find_contamination(
    training: Path, items: Path, output: Path, *, trained_on: str, dataset: str, split: str, ngram: int, threads: int
) -> dict[str, Any]:
    """Look for the n-grams of every item in a training text; write `output` (JSON) and the items beside it (Parquet).

    Memory grows only with the items: of the training text each thread holds one batch of rows.

    Args:
        training: parquet rows of kind text or pairs; each text is looked through alone.
        items: parquet rows of any kind.
        output: the JSON file; the items are beside it, one row each: row (from 0), ngrams (how many it has),
            overlapping (how many of these occur in the training text), contaminated, and example (the first of them).
        trained_on: name of the training text's dataset, for the record.
        dataset: name of the items' dataset.
        split: its split.
        ngram: words of an n-gram.
        threads: batches looked through at a time; the result doesn't depend on it.

    Returns:
        what the JSON holds.

    Raises:
        InputError: a file is missing, damaged or empty, or holds nothing to look through.
    """
    kind, texts = _texts(items)
    index = NgramIndex(texts, ngram)
    rows, words, hits = _scan(training, index, threads)
    result = index.items(hits)
    ngrams, overlapping = result["ngrams"].to_numpy(), result["overlapping"].to_numpy()
    contaminated, long = int((overlapping > 0).sum()), ngrams > 0
    with atomic_file(output.with_suffix(".parquet")) as draft:
        pq.write_table(result, draft)
    about = {
        "training": trained_on,
        "dataset": dataset,
        "split": split,
        "ngram": ngram,
        "n": len(result),
        "contaminated": contaminated,
        "share": contaminated / len(result) if long.any() else None,
        "short": int((~long).sum()),
        "overlap": float(np.mean(overlapping[long] / ngrams[long])) if long.any() else None,
        "reason": None if long.any() else f"every item is shorter than an n-gram of {ngram} words; make ngram smaller",
        "texts": TEXTS[kind],
        "normalisation": NORMALISATION,
        "training_rows": rows,
        "training_words": words,
        "training_sha256": rows_sha256(training),
        "rows_sha256": rows_sha256(items),
    }
    write_json(output, about)
    return about


def _texts(path: Path) -> tuple[str, list[list[str]]]:
    """The kind of the rows, and the texts of each item."""
    columns = _columns(path)
    if "endings" in columns:
        rows = read_rows(path, ["ctx", "endings", "label"])
        return "choices", [[f"{row['ctx']} {row['endings'][row['label']]}"] for row in rows]
    if "source" in columns:
        return "pairs", [[row["source"], row["target"]] for row in read_rows(path, ["source", "target"])]
    return "text", [[row["text"]] for row in read_rows(path, ["text"])]


def _columns(path: Path) -> list[str]:
    with open_parquet(path) as file:
        return file.schema_arrow.names


def split_words(texts: pa.Array) -> tuple[pa.Array, Ids]:
    """The words of all texts one after another, and where each text begins among them, shape `(texts + 1,)`.

    A text without words has an empty one.
    """
    bare = call_function("replace_substring_regex", [call_function("utf8_lower", [texts])], PUNCTUATION)
    bare = call_function("replace_substring_regex", [bare], CHARACTERS)
    # pyarrow 26 splits white space at the end of a text by the bytes that happen to be behind it
    bare = call_function("utf8_trim_whitespace", [bare])
    lists = call_function("utf8_split_whitespace", [bare])
    return lists.values, lists.offsets.to_numpy().astype(np.int64)


def window_hashes(keys: Hashes, ngram: int) -> Hashes:
    """A hash of each `ngram` neighbouring keys, shape `(len(keys) - ngram + 1,)`: the sum of key k times BASE^k.

    Modulo 2^64, by differences of running sums, in the same time for any `ngram`.
    """
    count = len(keys) - ngram + 1
    if count < 1:
        return np.empty(0, np.uint64)
    powers = np.full(len(keys), BASE, np.uint64)
    powers[0] = 1
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(keys * np.cumprod(powers, dtype=np.uint64))])
    inverses = np.full(count, INVERSE, np.uint64)
    inverses[0] = 1
    return (sums[ngram:] - sums[:-ngram]) * np.cumprod(inverses, dtype=np.uint64)


class NgramIndex:
    """The n-grams of all items, ready to be looked for.

    Attributes:
        size: how many different n-grams there are.
    """

    def __init__(self, items: Sequence[Sequence[str]], ngram: int) -> None:
        """Take the n-grams of `items`, each the texts of one item."""
        self._ngram = ngram
        self._count = len(items)
        owners = np.repeat(np.arange(len(items)), [len(texts) for texts in items])
        words, begins = split_words(pa.array([text for texts in items for text in texts], pa.string()))
        vocabulary = words.unique()
        self._vocabulary = vocabulary.filter(call_function("not_equal", [vocabulary, ""]))
        self._words = self._ids(words)
        # every place where an n-gram begins, the item that it belongs to, and which of the different ones it is
        places = np.flatnonzero(_whole(self._words >= 0, ngram))
        text = np.searchsorted(begins, places, side="right") - 1
        places, text = (each[places + ngram <= begins[text + 1]] for each in (places, text))
        self._owners = owners[text]
        self._index_ngrams(places)
        self.size = len(self._hashes)

    def _ids(self, words: pa.Array) -> Ids:
        """Each word's place in the vocabulary, -1 for a word that no item has."""
        ids = call_function("index_in", [words], SetLookupOptions(self._vocabulary))
        return ids.fill_null(-1).to_numpy().astype(np.int64)

    def _index_ngrams(self, places: Ids) -> None:
        """Number the different n-grams, with keys for words under which no two of them share a hash."""
        for seed in range(100):
            keys = np.random.default_rng(seed).integers(2**64, size=len(self._vocabulary) + 1, dtype=np.uint64)
            hashes = window_hashes(keys[self._words], self._ngram)[places]
            self._hashes, firsts, self._which = np.unique(hashes, return_index=True, return_inverse=True)
            self._places = places[firsts]
            if self._matches(self._words, places, self._which).all():
                break
        else:
            raise AssertionError("a hundred draws of keys gave two n-grams the same hash: the hash is broken")
        self._keys = keys
        bits = max(16, (FIELD * len(self._hashes)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(2**bits, bool)
        self._table[self._hashes >> self._shift] = True

    def _matches(self, words: Ids, places: Ids, which: Ids) -> npt.NDArray[np.bool_]:
        """Whether the words from `places` on are those of the held n-grams `which`."""
        same = np.ones(len(places), bool)
        for word in range(self._ngram):
            same &= words[places + word] == self._words[self._places[which] + word]
        return same

    def find(self, texts: pa.Array) -> tuple[int, Ids]:
        """How many words some texts have, and which of the different n-grams."""
        words, begins = split_words(texts)
        ids = self._ids(words)
        hashes = window_hashes(self._keys[ids], self._ngram)
        places = np.flatnonzero(self._table[hashes >> self._shift])
        which = np.searchsorted(self._hashes, hashes[places])
        which[which == self.size] = 0
        alike = self._hashes[which] == hashes[places]
        places, which = places[alike], which[alike]
        first, last = (np.searchsorted(begins, each, side="right") for each in (places, places + self._ngram - 1))
        present = (first == last) & self._matches(ids, places, which)
        empty = int(np.count_nonzero(call_function("equal", [words, ""]).to_numpy(zero_copy_only=False)))
        return len(words) - empty, np.unique(which[present])

    def items(self, found_mask: npt.NDArray[np.bool_]) -> pa.Table:
        """The table of items, given which of the different n-grams were found."""
        hit_mask = found_mask[self._which]
        ngrams = np.bincount(self._owners, minlength=self._count)
        overlapping = np.bincount(self._owners[hit_mask], minlength=self._count)
        examples: list[str | None] = [None] * self._count
        hits = np.flatnonzero(hit_mask)
        for owner, hit in zip(*np.unique(self._owners[hits], return_index=True), strict=True):
            start = self._places[self._which[hits[hit]]]
            words = self._vocabulary.take(pa.array(self._words[start : start + self._ngram]))
            examples[owner] = " ".join(words.to_pylist())
        columns = [np.arange(self._count), ngrams, overlapping, overlapping > 0, pa.array(examples, pa.string())]
        return pa.table(columns, schema=SCHEMA)


def _whole(good: npt.NDArray[np.bool_], ngram: int) -> npt.NDArray[np.bool_]:
    """Whether each window of `ngram` neighbours is good throughout."""
    bad = np.concatenate([[0], np.cumsum(~good)])
    return bad[ngram:] == bad[:-ngram] if len(good) >= ngram else np.zeros(0, bool)


def _scan(path: Path, index: NgramIndex, threads: int) -> tuple[int, int, npt.NDArray[np.bool_]]:
    """Rows and words of a training text, and which of the held n-grams it has."""
    columns = [name for name in ("text", "source", "target") if name in _columns(path)]
    if not columns:
        raise InputError(f"{path}: no column text, source or target; multiple-choice items are not training text")
    with open_parquet(path) as file:
        groups, total = file.num_row_groups, file.metadata.num_rows
    if not total:
        raise InputError(f"{path}: no rows to scan")
    hits = np.zeros(index.size, bool)
    lock = threading.Lock()
    words, began = 0, time.monotonic()
    with progress(f"scanning {path}", total) as counter, ThreadPoolExecutor(threads) as pool:

        def share(first: int) -> None:
            nonlocal words
            for batch in _batches(path, columns, range(first, groups, threads)):
                for texts in batch.columns:
                    count, which = index.find(texts)
                    with lock:
                        words += count
                        hits[which] = True
                with lock:
                    counter.update(batch.num_rows)

        list(pool.map(share, range(min(threads, groups))))
    rate = words / max(time.monotonic() - began, 1e-9) / 1e6
    logging.info("%s: %d rows, %d words, %.2f million words per second", path, total, words, rate)
    return total, words, hits


def _batches(path: Path, columns: list[str], groups: Sequence[int]) -> Iterator[pa.RecordBatch]:
    with open_parquet(path) as file:
        yield from file.iter_batches(BATCH_ROWS, row_groups=list(groups), columns=columns, use_threads=False)
