"""Parquet with columns of other types, and with damage."""

import datetime
import decimal
from pathlib import Path
from typing import Any

import odd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rows_of
from hypothesis import strategies as st
from taking import take

from trainyard.evaluate.rows import count_rows, read_rows, stream_rows

TYPES = {
    "large": lambda values: pa.array(values, pa.large_string()),
    "dictionary": lambda values: pa.array(values, pa.string()).dictionary_encode(),
    "binary": lambda values: pa.array([value.encode() for value in values], pa.binary()),
    "not UTF-8": lambda values: pa.array([b"\xff\xfe"] * len(values), pa.binary()).view(pa.string()),
    "numbers": lambda values: pa.array(range(len(values)), pa.int64()),
    "nothing": lambda values: pa.nulls(len(values)),
    "some nothing": lambda values: pa.array([None for _ in values[:1]] + values[1:], pa.string()),
    "lists": lambda values: pa.array([[value] for value in values]),
    "structures": lambda values: pa.array([{"a": value} for value in values]),
    "maps": lambda values: pa.array([[("a", value)] for value in values], pa.map_(pa.string(), pa.string())),
    "not a number": lambda values: pa.array([float("nan")] * len(values)),
    "beyond the calendar": lambda values: pa.array([2**62] * len(values), pa.timestamp("us")),
    "days": lambda values: pa.array([datetime.date(2001, 1, 1)] * len(values)),
    "decimals": lambda values: pa.array([decimal.Decimal("1e30")] * len(values)),
    "truth": lambda values: pa.array([True] * len(values)),
    "unsigned": lambda values: pa.array([2**64 - 1] * len(values), pa.uint64()),
}


@st.composite
def table(draw: st.DrawFn, kind: str) -> pa.Table:
    """Rows that work, in which columns are of another type, or missing, or there twice."""
    good = [rows_of.GOOD[kind]] * draw(st.integers(0, 4))
    columns = {name: [row[name] for row in good] for name in rows_of.GOOD[kind]}
    made = {name: pa.array(values) for name, values in columns.items()}
    for name in draw(st.lists(st.sampled_from(list(made)), max_size=2)):
        deed = draw(st.sampled_from([*TYPES, "missing", "twice"]))
        if deed == "missing":
            made.pop(name, None)
        elif deed != "twice":
            made[name] = TYPES[deed](["x"] * len(good))
        else:
            return pa.table([*made.values(), made[name]] if name in made else [], [*made, name] if name in made else [])
    return pa.table(made)


def parquet(value: pa.Table) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(value, buffer)
    return buffer.getvalue().to_pybytes()


@pytest.mark.parametrize("kind", rows_of.KINDS)
def test_a_table_is_taken_whole_or_refused_by_its_row(fuzz: Any, refused: Any, folder: Path, kind: str) -> None:
    path = folder / "rows.parquet"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        take(path, kind, refused)
        columns = list(rows_of.GOOD[kind])
        for read in (lambda: read_rows(path, columns), lambda: count_rows(path), lambda: list(stream_rows(path, []))):
            refused(read, rf"{path}: \S")

    whole = table(kind).map(parquet)
    fuzz(whole | whole.flatmap(odd.damaged), check, 600)
