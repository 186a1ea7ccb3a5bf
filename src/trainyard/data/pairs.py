"""Tokenized source/target pairs: a Parquet file in small row groups, read by the group."""

from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.core.errors import InputError, one_line
from trainyard.data.shards import read_index

# A random row costs one group: small groups, so that a loader needs neither memory nor time.
GROUP_ROWS = 128
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("target_ids", pa.list_(pa.int32()), nullable=False),
    ]
)

_UNREADABLE = (OSError, pa.ArrowException, ValueError)  # the last of names that are no UTF-8, too
_REMEDY = "delete its folder and run again"

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
        end_of_text: the token before and after a text, for a model without an encoder.
        separator: what such a model reads between source and target.
        framing: how many special tokens are before and after each source and target.
    """

    def __init__(self, folder: Path) -> None:
        """Open `folder`.

        Raises:
            InputError: a file is missing, damaged, or not as long as the index says.
        """
        index = read_index(folder)
        if index["kind"] != "pairs":
            raise InputError(f"{folder}: contains {index['kind']}, not pairs")
        self._path = Path(folder) / index["files"][0]["file"]
        self.pad, self.end, self.end_of_text = (int(index[name]) for name in ("pad", "end", "end_of_text"))
        self.separator = np.array(index["separator"], dtype=np.int64)
        self.framing: tuple[int, int] = index["framing"]["before"], index["framing"]["after"]
        try:
            self._file = pq.ParquetFile(self._path, memory_map=True)
            columns = self._file.schema_arrow
        except _UNREADABLE as error:
            raise InputError(f"{self._path}: can't be read ({one_line(error)}); {_REMEDY}") from None
        if not columns.equals(SCHEMA):
            actual = one_line(columns.to_string(show_field_metadata=False))
            raise InputError(f"{self._path}: its columns are {actual}; {_REMEDY}")
        if self._file.metadata.num_rows != index["rows"]:
            raise InputError(
                f"{self._path}: contains {self._file.metadata.num_rows} pairs, index.json says {index['rows']}; "
                f"{_REMEDY}"
            )
        self._group = lru_cache(maxsize=128)(self._read)

    def __len__(self) -> int:
        return self._file.metadata.num_rows

    def _read(self, group: int) -> list[tuple[Ids, Ids]]:
        first = group * GROUP_ROWS
        rows = f"rows {first} to {min(first + GROUP_ROWS, len(self)) - 1}"
        try:
            table = self._file.read_row_group(group, columns=["source_ids", "target_ids"], use_threads=False)
            pairs = list(zip(_lists(table["source_ids"]), _lists(table["target_ids"]), strict=True))
        except _UNREADABLE as error:
            raise InputError(f"{self._path}, {rows}: damaged ({one_line(error)}); {_REMEDY}") from None
        if len(pairs) != min(GROUP_ROWS, len(self) - first):
            raise InputError(f"{self._path}, {rows}: there are {len(pairs)} in their group; {_REMEDY}")
        return pairs

    def read_lengths(self) -> tuple[Ids, Ids]:
        """How many tokens each source and each target has, both shapes `(rows,)`."""
        groups = [self._read(group) for group in range(-(-len(self) // GROUP_ROWS))]
        lengths = np.array([[len(ids) for ids in pair] for group in groups for pair in group], dtype=np.int64)
        return lengths[:, 0], lengths[:, 1]

    def __getitem__(self, row: int) -> tuple[Ids, Ids]:
        group, index = divmod(row, GROUP_ROWS)
        return self._group(group)[index]
