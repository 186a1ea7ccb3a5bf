"""Tokenized folders."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainyard.data.pairs import GROUP_ROWS, SCHEMA
from trainyard.data.shards import write_shards


def _text_folder(folder: Path, tokens: int, shard_tokens: int = 1000) -> Path:
    """Tokens 0, 1, 2 ... in documents of 97."""
    folder.mkdir(parents=True)
    numbers = np.arange(tokens, dtype=np.uint16)
    shards = write_shards(folder, (numbers[first : first + 97] for first in range(0, tokens, 97)), shard_tokens)
    (folder / "index.json").write_text(json.dumps({"kind": "text", "shards": shards}))
    return folder


def _pairs_folder(folder: Path, pairs: list[tuple[list[int], list[int]]]) -> Path:
    """Pairs whose padding is 1 and whose end is 2."""
    folder.mkdir(parents=True)
    sources, targets = [list(side) for side in zip(*pairs, strict=True)]
    table = pa.table([[str(number) for number in range(len(pairs))], sources, targets], schema=SCHEMA)
    pq.write_table(table, folder / "pairs.parquet", row_group_size=GROUP_ROWS)
    sha256 = hashlib.sha256((folder / "pairs.parquet").read_bytes()).hexdigest()
    index: dict[str, Any] = {"kind": "pairs", "rows": len(pairs), "pad": 1, "end": 2, "end_of_text": 3}
    index |= {"separator": [8, 9], "framing": {"before": 1, "after": 1}}
    index["files"] = [{"file": "pairs.parquet", "sha256": sha256}]
    (folder / "index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture
def text_folder() -> Callable[..., Path]:
    return _text_folder


@pytest.fixture
def pairs_folder() -> Callable[..., Path]:
    return _pairs_folder
