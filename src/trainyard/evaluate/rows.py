"""The rows that an evaluation reads."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.core.errors import InputError, one_line
from trainyard.core.files import read_json, sha256_file


def stream_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file one by one, with the given columns; a part of the file is in memory at a time.

    Raises:
        InputError: the file is missing or damaged, or lacks a column.
    """
    with open_parquet(path) as file:
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise InputError(f"{path}: no column {missing[0]}; it has {', '.join(file.schema_arrow.names)}")
        for batch in file.iter_batches(batch_size=1024, columns=list(columns)):
            yield from batch.to_pylist()


def read_rows(path: Path, columns: Sequence[str], limit: int | None = None) -> list[dict[str, Any]]:
    """The first `limit` rows (all of them by default) of a Parquet file, with the given columns.

    Raises:
        InputError: the file is missing, damaged or empty, or lacks a column.
    """
    rows: list[dict[str, Any]] = []
    for row in stream_rows(path, columns):
        rows.append(row)
        if len(rows) == limit:
            break
    if not rows:
        raise InputError(f"{path}: no rows to evaluate")
    return rows


def count_rows(path: Path) -> int:
    """How many rows a Parquet file has.

    Raises:
        InputError: the file is missing, damaged or empty.
    """
    with open_parquet(path) as file:
        if not file.metadata.num_rows:
            raise InputError(f"{path}: no rows to evaluate")
        return file.metadata.num_rows


def rows_sha256(rows: Path) -> str:
    """The SHA-256 of a Parquet file, from the record that its download left beside it, if there is one."""
    record = rows.with_suffix(".json")
    return read_json(record)["sha256"] if record.is_file() else sha256_file(rows)


@contextmanager
def open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file, to be read part by part.

    Raises:
        InputError: the file is missing, or proves damaged while the body reads it.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:  # else all of the file is read at once
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({one_line(error)}); delete it and run again") from None


CHARACTERS = 100_000  # of text in a block, at least: enough batches of it to sort, few enough to lose in a kill


@dataclass(frozen=True)
class Block:
    """Neighbouring rows.

    Attributes:
        index: its place among the blocks.
        first: the place of its first row in the file.
        rows: the rows, with the columns that the metric reads.
    """

    index: int
    first: int
    rows: list[dict[str, Any]]


def blocks(path: Path, columns: Sequence[str], stop: int) -> Iterator[Block]:
    """Cut the first `stop` rows of a Parquet file into blocks, which depend only on the rows."""
    index = first = size = 0
    buffer: list[dict[str, Any]] = []
    for row_number, row in enumerate(stream_rows(path, columns)):
        if row_number == stop:
            break
        buffer.append(row)
        size += sum(_characters(value) for value in row.values())
        if size >= CHARACTERS:
            yield Block(index, first, buffer)
            index, first, size, buffer = index + 1, row_number + 1, 0, []
    if buffer:
        yield Block(index, first, buffer)


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    return sum(map(_characters, value)) if isinstance(value, list) else 0
