"""The one form of rows that each kind of dataset has, and the checks of what goes into it."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from trainyard.config.catalogue import COLUMNS, Dataset
from trainyard.core.errors import one_line
from trainyard.data.readers import Row

ENDINGS = 4
_OPTIONAL = {"id", "level"}
_LABELS = {str(number): number for number in range(ENDINGS)}


def columns(dataset: Dataset) -> tuple[list[str], list[str]]:
    """The columns that the source must have, and those that it may have."""
    required, optional = [], []
    for name in COLUMNS[dataset.kind]:
        is_optional = name in _OPTIONAL and name not in dataset.columns
        (optional if is_optional else required).append(dataset.columns.get(name, name))
    return required, optional


def _check_encodable(row: Row, column: str, value: str) -> str:
    """The text, unless it holds half a character: JSON and some databases can, UTF-8 can't."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise row.error(f"`{column}` holds half a character ({value[error.start]!r}); fix the row") from None
    return value


def _whole(value: Any) -> Any:
    """A whole number where pandas wrote it as 2.0, for numbers of the column are missing; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _Reader:
    """Takes checked values out of rows."""

    def __init__(self, dataset: Dataset) -> None:
        self._columns = dataset.columns

    def text(self, row: Row, name: str, empty: bool = False) -> str:
        column = self._columns.get(name, name)
        value = row.values[column]
        if value is None and empty:
            return ""  # CSV has no other way to say so: some readers make null of an empty field
        if value is None:
            raise row.error(f"`{column}` is missing; fix the row or leave it out")
        if not isinstance(value, str):
            raise row.error(f"`{column}` is {type(value).__name__}, not text; write it as text")
        if not empty and not value.strip():
            raise row.error(f"`{column}` is empty; fix the row or leave it out")
        return _check_encodable(row, column, value)

    def identity(self, row: Row) -> str:
        word = self._word(row, "id")
        return str(row.number) if word is None else word

    def level(self, row: Row) -> str:
        return self._word(row, "level") or ""

    def _word(self, row: Row, name: str) -> str | None:
        """A name or number as text; None where it is missing, which pandas writes as NaN."""
        column = self._columns.get(name, name)
        value = row.values.get(column)
        if value is None or value == "" or value != value:  # noqa: PLR0124
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise row.error(f"`{column}` is {type(value).__name__}, not text or a number")
        return _check_encodable(row, column, str(_whole(value)))

    def endings(self, row: Row) -> list[str]:
        column = self._columns.get("endings", "endings")
        value = row.values[column]
        if not isinstance(value, list) or not all(isinstance(ending, str) for ending in value):
            raise row.error(f"`{column}` is {one_line(repr(value), 40)}, not a list of texts; CSV can't hold one")
        if len(value) != ENDINGS:
            raise row.error(f"`{column}` holds {len(value)} endings, not {ENDINGS}; fix the row or leave it out")
        if blank := [number for number, ending in enumerate(value) if not ending.strip()]:
            raise row.error(f"`{column}` holds no text in ending {blank[0]}; fix the row or leave it out")
        return [_check_encodable(row, column, ending) for ending in value]

    def label(self, row: Row) -> int:
        column = self._columns.get("label", "label")
        value = row.values[column]
        number = _LABELS.get(value.strip()) if isinstance(value, str) else _whole(value)
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < ENDINGS:
            raise row.error(
                f"`{column}` is {one_line(repr(value), 40)}, not a number from 0 to {ENDINGS - 1}; fix the row or "
                "leave it out"
            )
        return number


def _pairs(reader: _Reader, row: Row) -> dict[str, Any]:
    # SAMSum has a dialogue without a word: an empty source is data, an empty target is not
    source = reader.text(row, "source", empty=True)
    return {"id": reader.identity(row), "source": source, "target": reader.text(row, "target")}


def _choices(reader: _Reader, row: Row) -> dict[str, Any]:
    return {
        "id": reader.identity(row),
        "activity_label": reader.text(row, "activity_label", empty=True),
        "ctx_a": reader.text(row, "ctx_a", empty=True),
        "ctx_b": reader.text(row, "ctx_b", empty=True),
        "ctx": reader.text(row, "ctx"),
        "endings": reader.endings(row),
        "label": reader.label(row),
        "level": reader.level(row),
    }


# An article's title has one `=` a side, a section's two or more (` = = Plot = = `).
_TITLE = re.compile(r" ?= [^=\s](.*[^=\s])? = ?\n")


def _line(text: str) -> str:
    """A line of WikiText as the hub's rows have it: its end is kept, and one of white space is empty."""
    text = text.removesuffix("\n").removesuffix("\r")
    return f"{text}\n" if text.strip() else ""


def _articles(reader: _Reader, rows: Iterator[Row]) -> Iterator[dict[str, Any]]:
    """Join WikiText's lines into articles.

    A title is a line in title form with an empty row before and after it: some
    paragraphs were torn so that a line looks like a title (`= 7 / 2 ) ... ( J = `).
    """
    article: list[str] = []
    lines = (_line(reader.text(row, "text", empty=True)) for row in rows)
    previous, line = "", next(lines, None)
    while line is not None:
        following = next(lines, None)
        if _TITLE.fullmatch(line) and not previous and not following and article:
            yield {"text": "".join(article)}
            article = []
        if line:
            article.append(line)
        previous, line = line, following
    if article:
        yield {"text": "".join(article)}


def normalize_rows(dataset: Dataset, rows: Iterator[Row]) -> Iterator[dict[str, Any]]:
    """Bring a source's rows into the form of the dataset's kind.

    Raises:
        InputError: a value is missing, empty, of the wrong type or out of range; the message names file and row.
    """
    reader = _Reader(dataset)
    if dataset.kind == "text":
        if dataset.documents == "wikitext":
            return _articles(reader, rows)
        return ({"text": reader.text(row, "text")} for row in rows)
    form: Callable[[_Reader, Row], dict[str, Any]] = _pairs if dataset.kind == "pairs" else _choices
    return (form(reader, row) for row in rows)
