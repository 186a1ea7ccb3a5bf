"""metrics.jsonl, one row per step, and what it is made of."""

import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from trainyard.core.files import report_write_errors

Row = dict[str, Any]


def format_row(row: Row) -> str:
    """A row as it is in the file."""
    return json.dumps(row, allow_nan=False) + "\n"


def finite_or_none(value: float) -> float | None:
    """The value, or None where JSON has no word for it."""
    return value if math.isfinite(value) else None


def _rows_of(path: Path) -> list[Row]:
    """The rows of steps 1, 2, 3 ... as far as they are whole, and as we write them."""
    if not path.exists():
        return []
    rows: list[Row] = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            row = json.loads(line)
            whole = line == format_row(row).encode()
        except (ValueError, RecursionError):
            break
        if not whole or not isinstance(row, dict) or row.get("step") != len(rows) + 1:
            break
        rows.append(row)
    return rows


class MetricsFile:
    """The growing metrics.jsonl of the working folder; on rank 0 only has one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows = _rows_of(path)
        self._file = path.open("ab", buffering=0)

    def __enter__(self) -> "MetricsFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def cut(self, step: int) -> None:
        """Forget every row after `step`."""
        self.rows = self.rows[:step]
        self._file.truncate(sum(len(format_row(row)) for row in self.rows))

    def append(self, row: Row) -> None:
        """Add the row of the next step; one write, so that a reader sees whole lines.

        Raises:
            InputError: the disk is full.
        """
        self.rows.append(row)
        with report_write_errors(self._path):
            rest = format_row(row).encode()
            while rest:  # a disk with a little room takes a part, and says so by the next write
                rest = rest[self._file.write(rest) :]

    def sync(self) -> None:
        """Wait until the rows are on the disk.

        Raises:
            InputError: the disk is full.
        """
        with report_write_errors(self._path):
            os.fsync(self._file.fileno())
