"""How large a tokenized dataset is, by split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainyard.core.files import write_json
from trainyard.data.shards import read_index


def _of_split(index: dict[str, Any]) -> dict[str, float]:
    """Counts of a split; of pairs also the means a row, in words and tokens."""
    rows = index["rows"]
    if index["kind"] == "text":
        return {
            **{name: index[name] for name in ("rows", "words", "tokens", "bytes", "unknown")},
            "shards": len(index["shards"]),
        }
    sides = ("source", "target")
    return {
        "rows": rows,
        "words": sum(index[side]["words"] for side in sides),
        "tokens": sum(index[side]["tokens"] for side in sides),
        "unknown": sum(index[side]["unknown"] for side in sides),
        **{f"{side}_{unit}": index[side][unit] / rows for side in sides for unit in ("words", "tokens")},
    }


def statistics(title: str, licence: str, folders: Mapping[str, Path], output: Path) -> dict[str, Any]:
    """Write the statistics of a tokenized dataset to `output` (JSON).

    Text: rows (documents), words (between white space), tokens (one end-of-text a document
    included), bytes (UTF-8) and unknown (tokens in place of what has none of its own). Pairs:
    rows, words, tokens and unknown of both sides together, and source_words, source_tokens,
    target_words and target_tokens as means a row; special tokens aren't counted, a prefix is.

    Args:
        title: the dataset's title.
        licence: its licence.
        folders: the folder of `tokenize` for each split.
        output: the JSON file.

    Raises:
        InputError: a folder's index is missing or damaged.
    """
    indexes = {split: read_index(folder) for split, folder in folders.items()}
    first = next(iter(indexes.values()))
    value = {
        "dataset": first["dataset"],
        "title": title,
        "licence": licence,
        "kind": first["kind"],
        "tokenizer": first["tokenizer"],
        "splits": {split: _of_split(index) for split, index in indexes.items()},
    }
    write_json(output, value)
    return value
