"""Rows of local files (Parquet, JSON lines, CSV, plain text), one after another in constant memory."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.errors import InputError, one_line

BATCH_ROWS = 1000
# what pyarrow raises, and Python where a column's value is none of its own (a date after the year 9999)
_UNREADABLE = (OSError, pa.ArrowException, ValueError, OverflowError)


class Row(NamedTuple):
    """A row of a source, and where it stands; rows count from 1."""

    place: str
    number: int
    values: dict[str, Any]

    def error(self, message: str) -> InputError:
        """An error that names this row."""
        return InputError(f"{self.place}, row {self.number}: {message}")


def missing_columns(place: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    """Raise an InputError if a wanted column isn't there."""
    missing = [name for name in wanted if name not in there]
    if missing:
        raise InputError(
            f"{place}: no column {', '.join(missing)}; it has {one_line(', '.join(there)) or 'none'}. "
            "Map ours to the source's with `columns` in config/datasets.yaml"
        )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InputError(f"{path}, line {number}: not UTF-8 ({error.reason}); convert the file") from None


def _parquet(path: Path, required: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    number = 0
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            there = file.schema_arrow.names
            missing_columns(str(path), required, there)
            columns = [*required, *(name for name in optional if name in there)]
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns, use_threads=False):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(str(path), number, values)
    except _UNREADABLE as error:
        where = f", after row {number}" if number else ""
        raise InputError(f"{path}{where}: damaged or truncated Parquet ({one_line(error)}); fetch it again") from None


def _csv(path: Path, required: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader((line for _, line in _lines(path)), strict=True)
    number = 0
    try:
        header = next(reader, [])
        missing_columns(str(path), required, header)
        for fields in reader:
            if not fields:
                continue
            number += 1
            row = Row(str(path), number, dict(zip(header, fields, strict=False)))
            if len(fields) != len(header):
                raise row.error(f"{len(fields)} fields (up to line {reader.line_num}), the header has {len(header)}")
            yield row
    except csv.Error as error:
        where = f"row {number + 1} (line {reader.line_num})"
        raise InputError(f"{path}, {where}: damaged CSV ({one_line(error)})") from None


def _json_lines(path: Path, required: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    for number, line in _lines(path):
        row = Row(str(path), number, {})
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise row.error(f"not valid JSON ({one_line(error)})") from None
        if not isinstance(values, dict):
            raise row.error("not a JSON object")
        missing_columns(f"{path}, row {number}", required, list(values))
        yield Row(str(path), number, values)


def _text(path: Path, required: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    missing_columns(str(path), required, ["text"])
    for number, line in _lines(path):
        yield Row(str(path), number, {"text": line.rstrip("\r\n")})


_READERS: dict[str, Callable[[Path, Sequence[str], Sequence[str]], Iterator[Row]]] = {
    ".parquet": _parquet,
    ".jsonl": _json_lines,
    ".json": _json_lines,
    ".csv": _csv,
    ".txt": _text,
}
SUFFIXES = tuple(_READERS)


def read(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
    """Yield the rows of a file with (at least) the required columns, and the optional ones that it has.

    Raises:
        InputError: the file is missing, empty, damaged, of an unknown kind, or lacks a column.
    """
    if path.suffix not in _READERS:
        raise InputError(f"{path}: unknown kind of file; known are {', '.join(_READERS)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if not path.stat().st_size:
        raise InputError(f"{path}: empty")
    return _READERS[path.suffix](path, required, optional)


def count(path: Path) -> int:
    """The number of rows of a file.

    Raises:
        InputError: as `read`.
    """
    rows = read(path, [])
    if path.suffix == ".parquet":
        try:
            return pq.read_metadata(path).num_rows
        except _UNREADABLE as error:
            raise InputError(f"{path}: damaged or truncated Parquet ({one_line(error)}); fetch it again") from None
    return sum(1 for _ in rows)
