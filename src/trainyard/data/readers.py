"""Rows of local files (Parquet, JSON, CSV, plain text), one after another in constant memory."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from trainyard.core.errors import InputError, one_line
from trainyard.data.json_values import Repeating, values
from trainyard.data.lines import lines

BATCH_ROWS = 1000
# what pyarrow raises, and Python where a column's value is none of its own (a date after the year 9999)
_UNREADABLE = (OSError, pa.ArrowException, ValueError, OverflowError)


class Row(NamedTuple):
    """A row of a source, and where it is; rows count from 1."""

    place: str
    number: int
    values: dict[str, Any]

    def error(self, message: str) -> InputError:
        """An error that names this row."""
        return InputError(f"{self.place}, row {self.number}: {message}")


_MAP = "Map ours to the source's with `columns` in config/datasets.yaml"


def check_columns(location: str, required: Sequence[str], present: Sequence[str], remedy: str = "") -> None:
    """Raise an InputError if a wanted column isn't there; its remedy is to map it, unless another is known."""
    missing = [name for name in required if name not in present]
    if missing:
        raise InputError(
            f"{location}: no column {', '.join(missing)}; it has {one_line(', '.join(present)) or 'none'}. "
            f"{remedy or _MAP}"
        )


def _refuse_twice(location: str, required: Iterable[str], present: Iterable[str]) -> None:
    """Raise an InputError if a column that is read appears twice: which of the two is meant?"""
    counts = Counter(present)
    if twice := [name for name in required if counts[name] > 1]:
        raise InputError(f"{location}: the column {', '.join(twice)} appears twice; give one of the two another name")


def _parquet(path: Path, required: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    number = 0
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            present = file.schema_arrow.names
            check_columns(str(path), required, present)
            columns = list(dict.fromkeys([*required, *(name for name in optional if name in present)]))
            _refuse_twice(str(path), columns, present)
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns, use_threads=False):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(str(path), number, values)
    except _UNREADABLE as error:
        where = f", after row {number}" if number else ""
        raise InputError(f"{path}{where}: damaged or truncated Parquet ({one_line(error)}); fetch it again") from None


def _csv(path: Path, required: Sequence[str], optional: Sequence[str], delimiter: str = ",") -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader((line for _, line in lines(path)), strict=True, delimiter=delimiter)
    number = 0
    try:
        header = next(filter(None, reader), [])
        other = next((mark for mark in ",;\t|" if mark != delimiter and len(header) == 1 and mark in header[0]), None)
        remedy = f"Its columns are between {other!r}: write it with {delimiter!r} between them" if other else ""
        check_columns(str(path), required, header, remedy)
        _refuse_twice(str(path), [*required, *optional], header)
        for fields in reader:
            if not fields:
                continue
            number += 1
            row = Row(str(path), number, dict(zip(header, fields, strict=False)))
            if len(fields) != len(header):
                raise row.error(
                    f"{len(fields)} fields (up to line {reader.line_num}), the header has {len(header)}; "
                    f"put a field that holds {delimiter!r} in quotes"
                )
            yield row
    except csv.Error as error:
        where = f"row {number + 1} (line {reader.line_num})"
        raise InputError(
            f"{path}, {where}: damaged CSV ({one_line(error)}); close each quoted field, and double a quote within one"
        ) from None


def _json(path: Path, required: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    """An object a line, or a list of objects."""
    for number, read in enumerate(values(path), 1):
        row = Row(str(path), number, read)
        if not isinstance(read, dict):
            raise row.error("not a JSON object")
        inside = next((name for name, value in read.items() if _are_objects(value)), None)
        remedy = f"If the rows are the list in `{inside}`, write only that list to the file" if inside else ""
        check_columns(f"{path}, row {number}", required, list(read), remedy)
        if isinstance(read, Repeating):
            _refuse_twice(f"{path}, row {number}", [*required, *optional], read.names)
        yield row


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _text(path: Path, required: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
    check_columns(str(path), required, ["text"])
    for number, line in lines(path):
        yield Row(str(path), number, {"text": line.rstrip("\r\n")})


_Reader = Callable[[Path, Sequence[str], Sequence[str]], Iterator[Row]]
_READERS: dict[str, _Reader] = {
    ".parquet": _parquet,
    ".jsonl": _json,
    ".ndjson": _json,
    ".json": _json,
    ".csv": _csv,
    ".tsv": partial(_csv, delimiter="\t"),
    ".txt": _text,
}
SUFFIXES = tuple(_READERS)
_PARQUET = b"PAR1"
_STARTS = {
    b"version https://git-lfs.": ("what Git LFS leaves in place of the data", "fetch that: git lfs pull"),
    b"\x1f\x8b": ("compressed by gzip", "unpack it"),
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "unpack it, or save the sheet as CSV in UTF-8"),
    _PARQUET: ("Parquet under another name", "name it .parquet"),
}
"""By its first bytes, what a file is whose name says otherwise, and what helps."""


def _reader(path: PurePath) -> _Reader | None:
    return _READERS.get(path.suffix.lower())


def check_kind(location: str, names: Sequence[str]) -> None:
    """Raise an InputError unless files are read in one and the same way, each once; `location` is what holds them."""
    kinds = {_reader(PurePath(name)): name for name in reversed(names)}
    if unknown := kinds.get(None):
        raise InputError(
            f"{location}: {unknown} can't be read; known are {', '.join(SUFFIXES)}: unpack it, or write it as one of "
            f"them"
        )
    if len(kinds) > 1:
        raise InputError(f"{location}: {', '.join(kinds.values())} are data of different kinds; leave one")
    first: dict[PurePath, str] = {}
    for name in names:
        if (other := first.setdefault(PurePath(name).with_suffix(""), name)) != name:
            raise InputError(f"{location}: {other} and {name} look like one file in two forms; leave one")


def read(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Row]:
    """Yield the rows of a file with (at least) the required columns, and the optional ones that it has.

    Raises:
        InputError: the file is missing, empty, damaged, of an unknown kind, lacks a column, or has one twice.
    """
    reader = _reader(path)
    if reader is None:
        raise InputError(f"{path}: unknown kind of file; known are {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if not path.stat().st_size:
        raise InputError(f"{path}: empty")
    _check_start(path, reader)
    return reader(path, required, optional)


def _check_start(path: Path, reader: _Reader) -> None:
    """Raise an InputError if a file isn't what its name says, and would be taken for text."""
    with path.open("rb") as file:
        start = file.read(max(map(len, _STARTS)))
    for mark, (kind, remedy) in _STARTS.items():
        if start.startswith(mark) and not (mark == _PARQUET and reader is _parquet):
            raise InputError(f"{path}: {kind}; {remedy}")


def count(path: Path) -> int:
    """The number of rows of a file.

    Raises:
        InputError: as `read`.
    """
    rows = read(path, [])
    if _reader(path) is _parquet:
        try:
            return pq.read_metadata(path).num_rows
        except _UNREADABLE as error:
            raise InputError(f"{path}: damaged or truncated Parquet ({one_line(error)}); fetch it again") from None
    return sum(1 for _ in rows)
