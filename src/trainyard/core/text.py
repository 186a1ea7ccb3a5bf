"""Text of records and pages: tables in Markdown, and the time."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table, without a line break at its end; a cell may be of several lines and hold `|`."""
    lines = [_line(headings), "|---" * len(headings) + "|", *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[object]) -> str:
    escaped = (" ".join(str(cell).splitlines()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def utc_now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
