"""Files of rows: JSON lines, CSV, plain text and Parquet, from the source to the rows that an evaluation reads."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import odd
import pytest
import rows_of
from hypothesis import strategies as st
from taking import take

from trainyard.data.readers import count

LINES = st.sampled_from(
    [
        *(b"", b"{", b"null", b"\xff", b"\0", b"\r", b"\x1e", b"\xef\xbb\xbf{}", b"[" * 20_000),
        *(b'{"text": NaN}', b'{"text": "\\ud800"}', b'{"text": "a", "text": 1}', b'{"text": ' + b"9" * 5_000 + b"}"),
        b'{"text": "' + b"x" * 2_000_000 + b'"}',
    ]
)


def json_line(row: Any) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")


def json_lines(kind: str) -> st.SearchStrategy[bytes]:
    lines = st.lists(rows_of.row(kind).map(json_line) | LINES, max_size=4)
    whole = lines.map(b"\n".join)
    return whole | whole.flatmap(odd.damaged)


def csv_text(rows: list[Any]) -> bytes:
    buffer = io.StringIO(newline="")
    named = [row for row in rows if isinstance(row, dict)]
    writer = csv.writer(buffer)
    writer.writerow(named[0] if named else ["text"])
    for row in rows:
        writer.writerow(row.values() if isinstance(row, dict) else [row])
    return buffer.getvalue().encode("utf-8", "surrogatepass")


def comma_separated(kind: str) -> st.SearchStrategy[bytes]:
    whole = rows_of.rows(kind).map(csv_text)
    return whole | whole.flatmap(odd.damaged) | st.binary(max_size=60)


def plain_text(_kind: str) -> st.SearchStrategy[bytes]:
    lines = st.lists(odd.TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")) | LINES, max_size=5)
    return lines.map(b"\n".join) | st.binary(max_size=60)


FORMS = {"jsonl": json_lines, "json": json_lines, "csv": comma_separated, "txt": plain_text}


@pytest.mark.parametrize("kind", rows_of.KINDS)
@pytest.mark.parametrize("suffix", FORMS)
def test_a_file_is_taken_whole_or_refused_by_its_row(
    fuzz: Any, refused: Any, folder: Path, suffix: str, kind: str
) -> None:
    path = folder / f"rows.{suffix}"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        take(path, kind, refused)
        refused(lambda: count(path), str(path))

    fuzz(FORMS[suffix](kind), check, 400)
