"""Text of records, pages and the terminal: tables, and the time."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table, without a line break at its end; a cell may be of several lines and hold `|`."""
    lines = [_line(headings), "|---" * len(headings) + "|", *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[object]) -> str:
    escaped = (" ".join(str(cell).splitlines()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def align_columns(columns: Sequence[tuple[str, bool, list[str]]]) -> str:
    """Columns of (heading, whether they hold numbers, values) as lines."""
    widths = [max(len(title), *(len(value) for value in values)) for title, _, values in columns]
    lines = [[title for title, _, _ in columns], ["─" * width for width in widths]]
    lines += [list(line) for line in zip(*(values for _, _, values in columns), strict=True)]
    return "\n".join(
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, (_, number, _) in zip(line, widths, columns, strict=True)
        ).rstrip()
        for line in lines
    )


def utc_now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
