"""The data of a study: rows, words and tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainyard.config.study import Study
from trainyard.report.render.format import decimal, short, truncate
from trainyard.report.render.html import Cell, Column, Row, Table, write_table
from trainyard.report.results.runs import read_all

COLUMNS = [
    Column("dataset", "dataset", text=True),
    Column("title", "title", text=True),
    Column("split", "split", text=True),
    Column("rows", "rows"),
    Column("duplicates", "in training rows", tip="rows whose text also appears in the training split"),
    Column("words", "words", "total"),
    Column("tokens", "tokens", "total"),
    Column("tokens_per_word", "tokens per word", "overall"),
    Column("unknown", "unknown tokens", "total", tip="in place of what the tokenizer has no token for"),
    Column("source_words", "words", "source, mean per row"),
    Column("source_tokens", "tokens", "source, mean per row"),
    Column("target_words", "words", "target, mean per row"),
    Column("target_tokens", "tokens", "target, mean per row"),
    Column("tokenizer", "tokenizer", text=True),
    Column("licence", "licence", text=True),
]


def tabulate(
    study: Study, *, statistics: Sequence[Path], duplicates: Sequence[Path], table: Path, numbers: Path
) -> None:
    """Write rows, words and tokens of each split as HTML and CSV.

    Args:
        study: gives the title.
        statistics: statistics.json of each dataset under each tokenizer.
        duplicates: rows/duplicates/*.json of the datasets that were trained on.
        table: the HTML page.
        numbers: the CSV.
    """
    duplicate_counts = {
        (each["training"], each["dataset"], each["split"]): each["duplicates"] for each in read_all(duplicates)
    }
    rows = [
        _row(data, split, counts, duplicate_counts.get((data["dataset"], data["dataset"], split)))
        for data in read_all(statistics)
        for split, counts in data["splits"].items()
    ]
    used = {key for row in rows for key in row.cells}
    page = Table("Data", [column for column in COLUMNS if column.key in used], rows, empty="This study reads no data.")
    write_table(page, study.title, table, numbers)


def _row(data: dict[str, Any], split: str, counts: dict[str, Any], duplicates: int | None) -> Row:
    cells = {key: Cell(data[key], data[key]) for key in ("dataset", "tokenizer", "licence")}
    cells["title"] = Cell(truncate(data["title"], 48), data["title"], tip=data["title"])
    cells |= {"split": Cell(split, split), "rows": Cell(f"{counts['rows']:,}", counts["rows"])}
    if duplicates is not None:
        cells["duplicates"] = Cell(f"{duplicates:,}", duplicates, kind="warn" if duplicates else "")
    for key in ("words", "tokens"):
        if counts.get(key) is not None:
            cells[key] = Cell(short(counts[key]), counts[key], tip=f"{counts[key]:,}")
        for name in (f"source_{key}", f"target_{key}"):
            if name in counts:
                cells[name] = Cell(decimal(counts[name], 1), counts[name])
    if counts.get("unknown"):
        cells["unknown"] = Cell(f"{counts['unknown']:,}", counts["unknown"], kind="warn")
    if "tokens" in cells and counts.get("words"):
        ratio = counts["tokens"] / counts["words"]
        cells["tokens_per_word"] = Cell(decimal(ratio, 2), ratio)
    return Row(cells)
