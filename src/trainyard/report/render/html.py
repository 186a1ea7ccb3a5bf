"""Tables, as self-contained HTML pages and as CSV with raw numbers."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import jinja2
from markupsafe import Markup

from trainyard.core.files import write_text
from trainyard.core.statistics import Score, z_score
from trainyard.report.render.format import NONE

TEMPLATES = Path(__file__).parent / "templates"
Raw = str | int | float | bool | None


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what is read.
        value: the raw value, for sorting and for the CSV.
        more: further raw values for the CSV, by the end of their column's name (`standard_error`, `n`).
        tip: what a reader sees when pointing at it.
        detail: what is small below the text, a line each: its uncertainty, its interval, a remark.
        kind: a class of the style sheet: `good`, `bad`, `warn`, `plain` (badges), `muted`, `code`, `path`.
        rivals: only cells with the same word compete for the best of their column.
    """

    text: str
    value: Raw = None
    more: dict[str, Raw] = field(default_factory=dict)
    tip: str = ""
    kind: str = ""
    rivals: str = ""
    detail: str = ""
    noise: bool | None = None


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: its name in the CSV.
        title: its heading.
        group: a heading over neighbouring columns that share it.
        best: which end is best; the best value is set in bold.
        tip: what a reader sees when pointing at the heading.
        text: whether it holds words rather than numbers.
        shown: whether the page has it too, not the CSV only.
    """

    key: str
    title: str
    group: str = ""
    best: Literal["high", "low"] | None = None
    tip: str = ""
    text: bool = False
    shown: bool = True


@dataclass
class Row:
    """Cells by their column's key, in a section of the table; `` is the main one."""

    cells: dict[str, Cell]
    section: str = ""


@dataclass
class Table:
    """A table with its title and the remarks below it.

    Attributes:
        competing: the section whose cells compete for the best of a column.
        main: a heading over the main section, where it isn't the first.
    """

    title: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    empty: str = "Nothing to show."
    competing: str = ""
    main: str = ""


def missing_cell(tip: str = "") -> Cell:
    """A cell for a value that there is not, with the reason."""
    return Cell(NONE, None, tip=tip, kind="muted")


def find_best_cells(table: Table) -> tuple[set[int], set[int]]:
    """The cells (by id) that are the best of their column, and those that can't be told from it.

    A column competes where it says which end is best and two or more rivals have a number, and the best is a
    figure of which something tells how certain it is. What can't be told from the best is what a test says, or
    else what lies within two combined standard errors.
    """
    best: set[int] = set()
    near: set[int] = set()
    for column in table.columns:
        if column.best is None:
            continue
        by_rivals: dict[str, list[Cell]] = {}
        for row in table.rows:
            cell = row.cells.get(column.key)
            if row.section == table.competing and cell and isinstance(cell.value, int | float):
                by_rivals.setdefault(cell.rivals, []).append(cell)
        for cells in by_rivals.values():
            values = [float(cell.value) for cell in cells if cell.value is not None]
            top = max(values) if column.best == "high" else min(values)
            if len(cells) < 2 or len(set(values)) == 1:
                continue
            winner = next(cell for cell in cells if cell.value == top)
            tested = any(cell.noise is not None for cell in cells)
            if "standard_error" in winner.more and _score(winner).effective_error is None and not tested:
                continue  # of one item, or of items that all agree, nothing tells how far the best lies ahead
            for cell, value in zip(cells, values, strict=True):
                errors = z_score(_score(cell), _score(winner))
                if value == top:
                    best.add(id(cell))
                elif cell.noise or (cell.noise is None and errors is not None and abs(errors) < 2):
                    near.add(id(cell))
    return best, near


def _score(cell: Cell) -> Score:
    error, low, high = (
        float(part) if isinstance(part := cell.more.get(name), int | float) else None
        for name in ("standard_error", "low", "high")
    )
    return Score(float(cell.value or 0.0), error, low, high)


def make_environment() -> jinja2.Environment:
    """The templates of the report: everything that comes from data is escaped."""
    jinja = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters["together"] = join_units
    return jinja


def join_units(text: str) -> str:
    """The text with each number held on one line with its unit and its error."""
    return re.sub(r"(?<=\d) (±) (?=\d)|(?<=\d) (?=(?:%|±|s|min|h|nats|[KMG]iB)(?!\w))", _join_match, text)


def _join_match(match: re.Match[str]) -> str:
    return "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}" if match[1] else "\N{NO-BREAK SPACE}"


def render(template: str, **values: Any) -> str:
    """Fill one template, with the style sheet and the script inline."""
    inline = {
        "style": Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),  # noqa: S704 (our own file)
        "script": Markup((TEMPLATES / "table.js").read_text(encoding="utf-8")),  # noqa: S704 (our own file)
    }
    return make_environment().get_template(template).render(**inline, **values)


def render_fragment(table: Table) -> Markup:
    """The table alone, to go into another page."""
    best, near = find_best_cells(table)
    columns = [column for column in table.columns if column.shown]
    groups = [(name, len(list(members))) for name, members in groupby(columns, key=lambda column: column.group)]
    sections = [(name, list(rows)) for name, rows in groupby(table.rows, key=lambda row: row.section)]
    text = (
        make_environment()
        .get_template("table.html")
        .render(
            table=table,
            columns=columns,
            groups=groups if any(name for name, _ in groups) else [],
            sections=sections,
            blank=missing_cell(),
            best=best,
            near=near,
            identity=id,
        )
    )
    return Markup(text)  # noqa: S704 (rendered with autoescape)


def write_table(table: Table, study_title: str, html: Path, numbers: Path) -> None:
    """Write a table twice: as a page to read and as CSV to compute with."""
    page = render("page.html", title=table.title, study_title=study_title, body=render_fragment(table))
    write_text(html, page)
    write_text(numbers, to_csv(table))


def to_csv(table: Table) -> str:
    """The raw values: each column, and after it what its cells hold more (`acc`, `acc_standard_error`, `acc_n`).

    Rows outside the main section say so in a last column `section`. A text that a spreadsheet would take for a
    formula has a `'` before it.
    """
    header: list[tuple[str, Callable[[Row], Raw]]] = []
    for column in table.columns:
        key = column.key
        header.append((key, lambda row, key=key: _raw(row.cells.get(key))))
        for more in _more(row.cells.get(key) for row in table.rows):
            header.append((f"{key}_{more}", lambda row, key=key, more=more: _raw_more(row.cells.get(key), more)))
    if any(row.section for row in table.rows):
        header.append(("section", lambda row: row.section))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_to_csv_value(name) for name, _ in header])
    writer.writerows([[_to_csv_value(read(row)) for _, read in header] for row in table.rows])
    return buffer.getvalue()


def _to_csv_value(raw: Raw) -> str | int | float:
    if isinstance(raw, str) and raw.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{raw}"
    return "" if raw is None else raw


def _raw(cell: Cell | None) -> Raw:
    return cell.value if cell else None


def _raw_more(cell: Cell | None, name: str) -> Raw:
    return cell.more.get(name) if cell else None


def _more(cells: Iterable[Cell | None]) -> Sequence[str]:
    return list(dict.fromkeys(name for cell in cells if cell for name in cell.more))
