"""Tokenized pairs to summarise: their Parquet and their index."""

import json
from pathlib import Path
from typing import Any

import odd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from trainyard.config.train import Train
from trainyard.core.files import sha256_file
from trainyard.data.loader import Loader
from trainyard.data.pairs import GROUP_ROWS, SCHEMA
from trainyard.data.shards import verify

TRAIN = Train.model_validate({"steps": 1, "batch": 2, "source_length": 4, "target_length": 4, "learning_rate": 1e-3})


def parquet(rows: dict[str, list[Any]], schema: pa.Schema | None = SCHEMA, group: int = GROUP_ROWS) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(rows, schema=schema), buffer, row_group_size=group)
    return buffer.getvalue().to_pybytes()


GOOD = {"id": ["1", "2", "3"], "source_ids": [[5, 6, 2]] * 3, "target_ids": [[5, 2]] * 3}
OTHERS = [
    parquet({name: column for name, column in GOOD.items() if name != "target_ids"}, None),
    parquet(GOOD | {"source_ids": ["a", "b", "c"]}, None),
    parquet(GOOD | {"source_ids": [1, 2, 3]}, None),
    parquet(GOOD | {"source_ids": [[0.5], [1.5], [2.5]]}, None),
    parquet(GOOD | {"source_ids": [["a"], ["b"], ["c"]]}, None),
    parquet(GOOD | {"source_ids": [[5], None, [6]]}, None),
    parquet(GOOD | {"source_ids": [[5], [None], [6]]}, None),
    parquet(GOOD | {"source_ids": [[2**40]] * 3}, None),
    parquet(GOOD | {"source_ids": [[], [], []], "target_ids": [[], [], []]}),
    parquet(GOOD, group=1),
    parquet(GOOD).replace(b"source_ids", b"source\xe9ids"),
]


def test_pairs_are_read_or_refused_by_file_and_row(fuzz: Any, refused: Any, folder: Path) -> None:
    path, data = folder / "pairs.parquet", parquet(GOOD)
    path.write_bytes(data)
    files = [{"file": path.name, "sha256": sha256_file(path)}]
    index = {"kind": "pairs", "rows": 3, "pad": 1, "end": 2, "end_of_text": 3, "files": files}
    index |= {"separator": [8], "framing": {"before": 0, "after": 1}}
    place = rf"{folder}(/index\.json|/[\w.-]+(, rows \d+ to \d+)?)?: \S"

    def check(value: tuple[Any, bytes]) -> None:
        (folder / "index.json").write_text(json.dumps(value[0]))
        path.write_bytes(value[1])
        refused(lambda: verify(folder), place)
        refused(lambda: Loader(folder, TRAIN, 1, start_token=2).micro_batches(1, 0, 1), place)

    tables = st.sampled_from([data, *OTHERS]) | odd.damaged(data)
    fuzz(st.tuples(st.just(index), tables) | st.tuples(odd.changed(index), st.just(data)), check, 1200)
