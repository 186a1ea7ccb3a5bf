"""Tokenized source/target pairs: a Parquet file in small row groups, read by the group."""

from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.data.shards import read_index
from trainyard.errors import InputError

# A random row costs one group: small groups, so that a loader needs neither memory nor time.
GROUP_ROWS = 128
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("target_ids", pa.list_(pa.int32()), nullable=False),
    ]
)

Ids = npt.NDArray[np.int64]


def _lists(column: pa.ChunkedArray) -> list[Ids]:
    lists = column.combine_chunks()
    offsets = lists.offsets.to_numpy()
    values = lists.values.to_numpy()
    return [values[first:last].astype(np.int64) for first, last in pairwise(offsets)]


class PairsReader:
    """Random access to the pairs of a folder, mapped into memory.

    Attributes:
        pad: the token that fills short rows.
        end: the token that ends a row.
    """

    def __init__(self, folder: Path) -> None:
        """Open `folder`.

        Raises:
            InputError: a file is missing, damaged, or not as long as the index says.
        """
        index = read_index(folder)
        if index["kind"] != "pairs":
            raise InputError(f"{folder}: holds {index['kind']}, not pairs")
        self._path = Path(folder) / index["files"][0]["file"]
        self.pad, self.end = int(index["pad"]), int(index["end"])
        try:
            self._file = pq.ParquetFile(self._path, memory_map=True)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{self._path}: can't be read ({error}); delete its folder and run again") from None
        if self._file.metadata.num_rows != index["rows"]:
            raise InputError(
                f"{self._path}: holds {self._file.metadata.num_rows} pairs, index.json says {index['rows']}; "
                "delete its folder and run again"
            )
        self._group = lru_cache(maxsize=128)(self._read)

    def __len__(self) -> int:
        return self._file.metadata.num_rows

    def _read(self, group: int) -> list[tuple[Ids, Ids]]:
        try:
            table = self._file.read_row_group(group, columns=["source_ids", "target_ids"], use_threads=False)
        except (OSError, pa.ArrowException) as error:
            rows = f"rows {group * GROUP_ROWS} to {(group + 1) * GROUP_ROWS - 1}"
            raise InputError(f"{self._path}, {rows}: damaged ({error}); delete its folder and run again") from None
        return list(zip(_lists(table["source_ids"]), _lists(table["target_ids"]), strict=True))

    def __getitem__(self, row: int) -> tuple[Ids, Ids]:
        group, place = divmod(row, GROUP_ROWS)
        return self._group(group)[place]
